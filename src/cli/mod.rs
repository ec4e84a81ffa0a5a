//! The command line, and nothing that reads the kernel or a file, or writes
//! output: what a user may ask for, and in which words. The only room that
//! parses arguments.

// Help texts speak of pid:[INODE], which is no link.
#![allow(rustdoc::broken_intra_doc_links)]

mod args;
mod completions;
mod explain;
mod help;
mod leading;
mod man;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::error::Error;
use help::{
    ABOUT, CHECK_EXIT_STATUS, DIFF, DIFF_EXIT_STATUS, LONG_ABOUT, RUN, RUN_EXIT_STATUS, RUN_USAGE,
    STYLES, TRANSLATE, after_help, check_about,
};

pub use args::{
    Check, Color, Diff, Filter, Folding, Formats, Input, NamespaceArg, Origin, Output, Run, Schema,
    Select, Translate,
};
pub use completions::Shell;
pub use man::man;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "pidns",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_help = after_help(),
    styles = STYLES,
    args_override_self = true,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do instead of showing the hierarchy.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to read.
    #[command(flatten)]
    pub input: Input,
    /// What to show of it.
    #[command(flatten)]
    pub select: Select,
    /// How to show it.
    #[command(flatten)]
    pub output: Output,
    /// What may share a line.
    #[command(flatten)]
    pub folding: Folding,
}

/// What else pidns does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print PIDs of processes in another PID namespace
    #[command(long_about = TRANSLATE, args_override_self = true)]
    Translate(Translate),
    /// Say what is wrong on this host, and fail if it must not be
    #[command(long_about = check_about(), after_help = CHECK_EXIT_STATUS, args_override_self = true)]
    Check(Check),
    /// Say what came, went and changed between two views
    #[command(long_about = DIFF, after_help = DIFF_EXIT_STATUS, args_override_self = true)]
    Diff(Diff),
    /// Run a command and say what it leaves behind
    #[command(long_about = RUN, after_help = RUN_EXIT_STATUS, override_usage = RUN_USAGE,
        args_override_self = true)]
    Run(Run),
    /// Print the JSON Schema of what json (and yaml) hold
    Schema {
        /// Of the document, or of what another command prints
        #[arg(default_value = "document")]
        of: Schema,
    },
    /// Print a completion script
    Completions {
        /// The shell to complete for
        shell: Shell,
    },
    /// Print the manual page, for man -l -
    Man,
}

/// What came of the arguments.
#[derive(Debug)]
pub enum Parsed {
    /// They ask for something to be done.
    Run(Box<Cli>),
    /// They ask for help or the version, which is this.
    Print(String),
}

/// Understands the arguments.
///
/// # Errors
/// They make no sense; the error says why in one line.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, Error> {
    let command = Cli::command().color(ColorChoice::Auto);
    let arguments = leading::behind_command(arguments.into_iter().collect(), &command);
    let arguments = arguments.map_err(Error::Usage)?;
    let name = arguments.get(1).and_then(|word| word.to_str()).map(ToOwned::to_owned);
    let matches = match command.try_get_matches_from(arguments) {
        Ok(matches) if names_two_documents(&matches) => {
            let problem = "--input is given more than once: one document is read at a time";
            return Err(Error::Usage(problem.to_owned()));
        }
        matches => matches,
    };
    match matches.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches)) {
        Ok(cli) => Ok(Parsed::Run(Box::new(cli))),
        Err(error) if !error.use_stderr() => Ok(Parsed::Print(error.render().ansi().to_string())),
        Err(error) => Err(Error::Usage(explain::explain(&error, name.as_deref()))),
    }
}

/// The command line, for who completes it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Of other options the last one counts, but a document that is named and then
/// passed over would go unnoticed.
fn names_two_documents(matches: &ArgMatches) -> bool {
    let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
    let files = matches.try_get_many::<PathBuf>("file").ok().flatten();
    files.is_some_and(|files| files.len() > 1)
}
