//! The program: the one line about an error, and the exit status. All else is
//! in the library.

mod startup;

use std::process::ExitCode;

fn main() -> ExitCode {
    startup::with_enough_stack(run)
}

fn run() -> ExitCode {
    match pidns::run(std::env::args_os()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            pidns::output::warn(error.one_line());
            error.exit().into()
        }
    }
}
