//! The program: the one line about an error, and the exit status. All else is
//! in the library.

use std::error::Error as _;
use std::process::ExitCode;

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
    pidns::output::warn(line);
    error.exit().into()
}
