//! Runs the program, prints an error as one line, and sets the exit status.

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
