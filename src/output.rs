//! Standard output and standard error of the program. Nobody else writes to
//! them, and nothing here knows what is written.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::fd::AsFd as _;

use anstream::{AutoStream, ColorChoice};

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
