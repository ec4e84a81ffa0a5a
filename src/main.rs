//! The program: standard error and the exit status; all else is in the library.

use std::error::Error as _;
use std::io::Write as _;
use std::process::ExitCode;

use pidns::emit::Sanitized;

fn main() -> ExitCode {
    let error = match pidns::run(std::env::args_os()) {
        Ok(exit) => return exit.into(),
        Err(error) => error,
    };
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        line.push_str(": ");
        line.push_str(&source.to_string());
        cause = source.source();
    }
    // Nothing is left to do where standard error is gone.
    let _ = writeln!(std::io::stderr(), "pidns: {}", Sanitized(line));
    error.exit().into()
}
