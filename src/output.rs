//! Standard output and standard error of the program. Nobody else writes to
//! them, and nothing here knows what is written.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::fd::{AsFd as _, BorrowedFd};

use anstream::{AutoStream, ColorChoice};
use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::tcgetwinsize;

use crate::emit::Sanitized;
use crate::error::Error;
use crate::exit::Exit;

/// What became of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was taken.
    Taken,
    /// Its reader closed the pipe before the end, which is no error.
    Closed,
}

/// Writes to standard output through one buffer, which is flushed when it is
/// full and at the end, not line by line.
///
/// # Errors
/// Standard output does not take it, other than by a closed pipe.
pub fn write(emit: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Outcome, Error> {
    let stdout = io::stdout();
    let mut out = BufWriter::with_capacity(64 * 1024, Unbuffered::new(stdout.as_fd()));
    match emit(&mut out).and_then(|()| out.flush()) {
        Ok(()) => Ok(Outcome::Taken),
        Err(error) => {
            // What is left in the buffer would be written once more on drop.
            let _ = out.into_parts();
            match error.kind() {
                io::ErrorKind::BrokenPipe => Ok(Outcome::Closed),
                _ => Err(Error::Write(error)),
            }
        }
    }
}

/// Writes a text that is ready to standard output.
///
/// # Errors
/// Standard output does not take it, as with [`write()`].
pub fn print(text: &[u8]) -> Result<Exit, Error> {
    write(|out| out.write_all(text)).map(|_| Exit::Success)
}

/// Writes a text with colours (ANSI) to standard output, without them where it
/// is no terminal, or none are wanted.
///
/// # Errors
/// Standard output does not take it, as with [`write()`].
pub fn print_colored(text: &str) -> Result<Exit, Error> {
    let mut out = AutoStream::new(Vec::new(), AutoStream::choice(&io::stdout()));
    out.write_all(text.as_bytes()).map_err(Error::Write)?;
    print(&out.into_inner())
}

/// Whether standard output is a terminal.
#[must_use]
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Number of columns of standard output, or `None` if it isn't a terminal.
#[must_use]
pub fn width() -> Option<usize> {
    columns(io::stdout().as_fd())
}

/// Number of columns of standard error, or `None` if it isn't a terminal.
#[must_use]
pub fn error_width() -> Option<usize> {
    columns(io::stderr().as_fd())
}

fn columns(terminal: BorrowedFd<'_>) -> Option<usize> {
    // Used if the terminal does not know its size, such as a serial line.
    const DEFAULT: usize = 80;
    let size = terminal.is_terminal().then(|| tcgetwinsize(terminal))?;
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    Some(if columns == 0 { DEFAULT } else { columns })
}

/// Whether the locale (`locale(7)`) says that text is in UTF-8.
#[must_use]
pub fn is_utf8() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
    locale.is_some_and(|locale| is_utf8_locale(&locale.to_string_lossy()))
}

/// Whether a locale such as `de_DE.UTF-8@euro` has UTF-8 as its character set.
fn is_utf8_locale(locale: &str) -> bool {
    let Some((_, charset)) = locale.split_once('.') else { return false };
    let charset = charset.split('@').next().unwrap_or_default();
    charset.eq_ignore_ascii_case("UTF-8") || charset.eq_ignore_ascii_case("utf8")
}

/// Whether standard output gets colours. Where the choice is left to the
/// program, a terminal does unless its environment says otherwise.
#[must_use]
pub fn is_colored(choice: ColorChoice) -> bool {
    let choice = match choice {
        ColorChoice::Auto => AutoStream::choice(&io::stdout()),
        choice => choice,
    };
    choice != ColorChoice::Never
}

/// One line on standard error, whatever is in the message.
pub fn warn(message: impl fmt::Display) {
    // In one piece, so that lines of other programs do not come between.
    warn_in_full(format!("pidns: {}\n", Sanitized(message)).as_bytes());
}

/// A text on standard error that is ready, such as a report of several lines.
pub fn warn_in_full(text: &[u8]) {
    // Nothing is left to do where standard error is gone.
    let _ = Unbuffered::new(io::stderr().as_fd()).write_all(text);
}

/// A standard descriptor without the buffer of the standard library, which goes
/// by lines and takes a closed descriptor for one that takes everything.
struct Unbuffered<'fd>(BorrowedFd<'fd>);

impl<'fd> Unbuffered<'fd> {
    /// From here on a file that may not grow (`RLIMIT_FSIZE`) is an error of
    /// `write(2)`, `EFBIG`. Beside that the kernel sends SIGXFSZ to the thread
    /// that writes, and its default action would end the program without a
    /// word; blocked, it stays pending. Programs that are started from here get
    /// an empty mask of blocked signals from the standard library.
    fn new(fd: BorrowedFd<'fd>) -> Self {
        // Only an invalid argument could fail, and there is none.
        let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
        Self(fd)
    }

    /// Waits until there is room again.
    fn wait(&self) -> io::Result<()> {
        match poll(&mut [PollFd::from_borrowed_fd(self.0, PollFlags::OUT)], None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Write for Unbuffered<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(self.0, bytes) {
                // Whoever shares the open file made it non-blocking (O_NONBLOCK),
                // such as the program at the other end of a terminal or a socket.
                // It is full for now; a reader that has gone wakes the wait, too.
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
    fn the_character_set_of_a_locale_is_known() {
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
