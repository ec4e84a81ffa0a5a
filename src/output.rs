//! Standard output and standard error of the program. Nobody else writes to
//! them, and nothing here knows what is written.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::fd::AsFd as _;

use anstream::{AutoStream, ColorChoice};
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
    // A descriptor of its own goes around the line buffer of `io::Stdout`.
    outcome(io::stdout().as_fd().try_clone_to_owned().and_then(|stdout| {
        let mut out = BufWriter::with_capacity(64 * 1024, File::from(stdout));
        emit(&mut out)?;
        out.flush()
    }))
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
    outcome(AutoStream::auto(io::stdout()).write_all(text.as_bytes())).map(|_| Exit::Success)
}

/// Whether standard output is a terminal.
#[must_use]
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// How many columns standard output has; `None` where it is no terminal.
#[must_use]
pub fn width() -> Option<usize> {
    const UNSAID: usize = 80;
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| tcgetwinsize(&stdout))?;
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    // A serial line, say, does not know.
    Some(if columns == 0 { UNSAID } else { columns })
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
    // Nothing is left to do where standard error is gone.
    let _ = writeln!(io::stderr(), "pidns: {}", Sanitized(message));
}

/// A closed pipe is no trouble.
fn outcome(written: io::Result<()>) -> Result<Outcome, Error> {
    match written {
        Ok(()) => Ok(Outcome::Taken),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Outcome::Closed),
        Err(error) => Err(Error::Write(error)),
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
