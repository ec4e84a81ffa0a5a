//! The PID namespace hierarchy of a Linux host, for people and programs.
//!
//! This library exists for the program of the same name, and to be read: it
//! makes no promise of API stability (semver) of its own. What is promised is
//! the command line and the document (see the README and `schemas/`).
//!
//! Data walks one way, and the imports of the rooms make no circle:
//!
//! | stage | room |
//! |---|---|
//! | arguments | [`cli`] |
//! | command | [`commands`], [`run`] for one that runs another program |
//! | snapshot of the kernel, or a saved one | [`collect`] or [`document`] into [`model`] |
//! | graph | [`graph`] |
//! | the part of it that is selected, and other questions | [`query`] |
//! | emitter to bytes | [`emit`], its wire types in [`document`] |
//! | standard output, exit status | [`output`], [`error`], [`exit`] |

pub mod cli;
pub mod collect;
pub mod commands;
pub mod document;
pub mod emit;
pub mod error;
pub mod exit;
pub mod graph;
pub mod model;
pub mod output;
pub mod query;
pub mod run;
#[cfg(test)]
mod testing;
mod wording;

use std::ffi::OsString;

use cli::{Command, Parsed};
use error::Error;
use exit::Exit;

/// Runs the program: arguments in, output on standard output, warnings on
/// standard error.
///
/// # Errors
/// Nothing could be shown, or not all of it.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<Exit, Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if run::launch::is_asked_for(&arguments) {
        return Err(run::launch::launch(&arguments));
    }
    if let Some(exit) = commands::complete(&arguments)? {
        return Ok(exit);
    }
    let cli = match cli::parse(arguments)? {
        Parsed::Run(cli) => cli,
        Parsed::Print(text) => return output::print_colored(&text),
    };
    match &cli.command {
        None => commands::show(&cli),
        Some(Command::Translate(arguments)) => commands::translate(arguments),
        Some(Command::Check(arguments)) => commands::check(arguments),
        Some(Command::Diff(arguments)) => commands::diff(arguments),
        Some(Command::Run(arguments)) => commands::run(arguments),
        Some(Command::Schema { of }) => commands::schema(*of),
        Some(Command::Completions { shell }) => output::print(shell.script().as_bytes()),
        Some(Command::Man { page }) => {
            output::write(|out| cli::man(page.as_deref(), out)).map(|_| Exit::Success)
        }
    }
}
