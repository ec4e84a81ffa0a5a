//! Shows the PID namespace hierarchy of a Linux host as text, data or a picture.
//!
//! This library is only for the program `pidns`, and its API is not stable. Semantic versioning
//! covers the command line and the documents (see the README and `schemas/`).
//!
//! Modules do not import each other in cycles. Data passes through these stages in order:
//!
//! | stage | module |
//! |---|---|
//! | arguments | [`cli`] |
//! | subcommand | [`commands`]; [`mod@run`] supervises the command that `pidns run` runs |
//! | snapshot | [`collect`] reads the live kernel; [`document`] reads a document; both return types of [`model`] |
//! | graph | [`graph`] |
//! | query | [`query`]: selection, translation, comparison, check |
//! | English phrases | `wording` |
//! | output bytes | [`emit`] has one module per format; [`document`] has the types of the JSON document |
//! | standard output, errors, exit status | [`output`], [`error`], [`exit`] |

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
pub mod watch;
mod wording;

use std::ffi::OsString;

use cli::{Command, Parsed};
use error::Error;
use exit::Exit;

/// Runs the program with these arguments, and writes the result and the warnings.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<Exit, Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if run::launch::is_asked_for(&arguments) {
        return Err(run::launch::launch(&arguments).of_run());
    }
    if let Some(exit) = commands::complete(&arguments)? {
        return Ok(exit);
    }
    let cli = match cli::parse(arguments)? {
        Parsed::Run(cli) => cli,
        Parsed::Print(text) => return output::print_colored(&text),
    };
    if !matches!(cli.command, Some(Command::Run(_))) {
        run::raw_signals::reap_inherited_children();
    }
    collect::when_blocked(|error| output::warn(Error::from(error).one_line()));
    match &cli.command {
        None => commands::show(&cli),
        Some(Command::Translate(arguments)) => commands::translate(arguments),
        Some(Command::Limits(arguments)) => commands::limits(arguments),
        Some(Command::Check(arguments)) => commands::check(arguments),
        Some(Command::Diff(arguments)) => commands::diff(arguments),
        Some(Command::Watch(arguments)) => commands::watch(arguments),
        Some(Command::Run(arguments)) => {
            commands::run(arguments, cli.input.origin.collector).map_err(Error::of_run)
        }
        Some(Command::Schema { of }) => commands::schema(*of),
        Some(Command::Completions { shell }) => output::print(shell.script().as_bytes()),
        Some(Command::Man { page }) => {
            output::write(|out| cli::man(page.as_deref(), out)).map(|_| Exit::Success)
        }
    }
}
