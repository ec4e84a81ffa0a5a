//! All writes to standard output and standard error go through this module.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::fd::{AsFd as _, BorrowedFd};

use anstream::{AutoStream, ColorChoice};
use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::tcgetwinsize;

use crate::emit::Sanitized;
use crate::error::Error;
use crate::exit::Exit;

/// The result of writing to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was written.
    Taken,
    /// The reader closed the pipe early, which is not an error.
    Closed,
    /// pidns stopped waiting for a slow reader (only in [`write_until`]).
    Stopped,
}

/// Number of bytes that a writable pipe accepts without blocking (`PIPE_BUF`).
const PIPE_BYTES: usize = 4096;

/// Writes to standard output through a buffer.
pub fn write(emit: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Outcome, Error> {
    write_to(Unbuffered::new(io::stdout().as_fd()), emit)
}

/// Like [`write()`], but stops waiting for a slow reader as soon as `stop` is readable.
pub fn write_until(
    stop: BorrowedFd<'_>,
    emit: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<Outcome, Error> {
    write_to(Unbuffered { stop: Some(stop), ..Unbuffered::new(io::stdout().as_fd()) }, emit)
}

/// Writes to a file, but stops waiting for a slow reader as soon as `stop` is readable.
///
/// # Errors
///
/// Returns an error if writing fails, or if `stop` ends the wait.
pub fn write_file_until(
    file: BorrowedFd<'_>,
    stop: BorrowedFd<'_>,
    emit: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    write_buffered(Unbuffered { stop: Some(stop), ..Unbuffered::new(file) }, emit)
}

/// Returns `true` if standard output accepts a line without blocking.
#[must_use]
pub fn is_writable() -> bool {
    let stdout = io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::OUT)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

fn write_to(
    out: Unbuffered<'_>,
    emit: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<Outcome, Error> {
    match write_buffered(out, emit) {
        Ok(()) => Ok(Outcome::Taken),
        Err(error) => match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(Outcome::Closed),
            _ if StoppedWaiting::is_in(&error) => Ok(Outcome::Stopped),
            _ => Err(Error::Write(error)),
        },
    }
}

fn write_buffered(
    out: Unbuffered<'_>,
    emit: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(64 * 1024, out);
    let written = emit(&mut out).and_then(|()| out.flush());
    // Discard the rest of the buffer, so that `drop` does not write it again.
    let _ = out.into_parts();
    written
}

/// Writes text to standard output.
pub fn print(text: &[u8]) -> Result<Exit, Error> {
    write(|out| out.write_all(text)).map(|_| Exit::Success)
}

/// Writes text that contains ANSI colours to standard output, and removes the colours if coloured
/// output is off.
pub fn print_colored(text: &str) -> Result<Exit, Error> {
    let mut out = AutoStream::new(Vec::new(), AutoStream::choice(&io::stdout()));
    out.write_all(text.as_bytes()).map_err(Error::Write)?;
    print(&out.into_inner())
}

/// Returns `true` if standard output is a terminal.
#[must_use]
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Returns the width of the terminal in columns, or `None` if standard output is not a terminal.
#[must_use]
pub fn width() -> Option<usize> {
    columns(io::stdout().as_fd())
}

/// Returns the width of the terminal in columns, or `None` if standard error is not a terminal.
#[must_use]
pub fn error_width() -> Option<usize> {
    columns(io::stderr().as_fd())
}

fn columns(terminal: BorrowedFd<'_>) -> Option<usize> {
    // Number of columns assumed for a terminal that does not report its size, such as a serial
    // line.
    const DEFAULT: usize = 80;
    let size = terminal.is_terminal().then(|| tcgetwinsize(terminal))?;
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    Some(if columns == 0 { DEFAULT } else { columns })
}

/// Returns `true` if the character set of the locale (`locale(7)`) is UTF-8.
#[must_use]
pub fn is_utf8() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
    locale.is_some_and(|locale| is_utf8_locale(&locale.to_string_lossy()))
}

/// Returns `true` if a locale name, such as `de_DE.UTF-8@euro`, specifies UTF-8.
fn is_utf8_locale(locale: &str) -> bool {
    let Some((_, charset)) = locale.split_once('.') else { return false };
    let charset = charset.split('@').next().unwrap_or_default();
    charset.eq_ignore_ascii_case("UTF-8") || charset.eq_ignore_ascii_case("utf8")
}

/// Returns `true` if output should be coloured.
#[must_use]
pub fn is_colored(choice: ColorChoice) -> bool {
    let choice = match choice {
        // Detects a terminal, and reads `NO_COLOR` and similar environment variables.
        ColorChoice::Auto => AutoStream::choice(&io::stdout()),
        choice => choice,
    };
    choice != ColorChoice::Never
}

/// Writes a message to standard error, as one line.
pub fn warn(message: impl fmt::Display) {
    // Ignore errors, because they cannot be reported anywhere.
    let _ = Unbuffered::new(io::stderr().as_fd()).write_all(&line(message));
}

/// Like [`warn`], but stops waiting for a slow reader as soon as `stop` is readable.
pub fn warn_until(stop: BorrowedFd<'_>, message: impl fmt::Display) {
    warn_in_full_until(stop, &line(message));
}

/// Writes text to standard error, but stops waiting for a slow reader if `stop` is readable.
pub fn warn_in_full_until(stop: BorrowedFd<'_>, text: &[u8]) {
    // Ignore errors, because they cannot be reported anywhere.
    let _ =
        Unbuffered { stop: Some(stop), ..Unbuffered::new(io::stderr().as_fd()) }.write_all(text);
}

/// Formats a message as one line, so that a single write can print it.
fn line(message: impl fmt::Display) -> Vec<u8> {
    format!("pidns: {}\n", Sanitized(message)).into_bytes()
}

/// The error that [`Unbuffered`] returns after it stops waiting for a slow reader.
#[derive(Debug)]
struct StoppedWaiting;

impl fmt::Display for StoppedWaiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped waiting for a slow reader")
    }
}

impl std::error::Error for StoppedWaiting {}

impl StoppedWaiting {
    fn is_in(error: &io::Error) -> bool {
        let Some(inner) = error.get_ref() else { return false };
        inner.is::<Self>()
    }
}

/// An unbuffered writer that reports closed descriptors (`EBADF`). The standard library's `Stdout`
/// and `Stderr` ignore closed descriptors, and `Stdout` flushes each line.
struct Unbuffered<'fd> {
    fd: BorrowedFd<'fd>,
    /// While this descriptor is readable, a write that would have to wait for a slow reader fails
    /// instead.
    stop: Option<BorrowedFd<'fd>>,
}

impl<'fd> Unbuffered<'fd> {
    /// Creates a writer, and blocks SIGXFSZ, so that writes beyond `RLIMIT_FSIZE` return an error.
    fn new(fd: BorrowedFd<'fd>) -> Self {
        // Blocking a signal fails only for invalid arguments.
        let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
        Self { fd, stop: None }
    }

    /// Waits until the descriptor accepts more output.
    fn wait(&self) -> io::Result<()> {
        let mut polled = vec![PollFd::from_borrowed_fd(self.fd, PollFlags::OUT)];
        polled.extend(self.stop.map(|stop| PollFd::from_borrowed_fd(stop, PollFlags::IN)));
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |polled: &PollFd<'_>| !polled.revents().is_empty();
        match polled.as_slice() {
            [out, stop] if is_ready(stop) && !is_ready(out) => {
                Err(io::Error::other(StoppedWaiting))
            }
            _ => Ok(()),
        }
    }
}

impl Write for Unbuffered<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut bytes = bytes;
        if self.stop.is_some() {
            // `stop` cannot interrupt a blocking write, so write no more than a pipe accepts.
            if let Some(first) = bytes.get(..PIPE_BYTES) {
                // End at a line break, so that output of other programs does not split a line.
                let end =
                    first.iter().rposition(|&byte| byte == b'\n').map_or(PIPE_BYTES, |at| at + 1);
                bytes = bytes.get(..end).unwrap_or(bytes);
            }
            self.wait()?;
        }
        loop {
            match rustix::io::write(self.fd, bytes) {
                // Another program has set O_NONBLOCK on the shared open file description.
                Err(Errno::AGAIN) => self.wait()?,
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_utf_8_locales() {
        for (locale, expected) in [
            ("C.UTF-8", true),
            ("en_US.utf8", true),
            ("de_DE.UTF-8@euro", true),
            ("C", false),
            ("POSIX", false),
            ("de_DE@euro", false),
            ("ja_JP.eucJP", false),
        ] {
            assert_eq!(is_utf8_locale(locale), expected, "{locale}");
        }
    }
}
