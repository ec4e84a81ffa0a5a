//! What is wrong with the arguments, in one line, and nothing that parses them.
//! The words and the suggestions are clap's where they serve.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory as _};

use super::Cli;

/// What is wrong, in one line: with what may have been meant where that is known,
/// else with where to read on. `first` is the first argument.
pub(super) fn explain(error: &clap::Error, first: Option<&str>) -> String {
    let mut program = Cli::command();
    // With the command `help`.
    program.build();
    let command = first.filter(|first| program.find_subcommand(first).is_some());
    if let Some(said) = no_pid(error, &program, command) {
        return said;
    }
    let said = first_paragraph(&error.render().to_string());
    let said = said.strip_suffix(" found").unwrap_or(&said);
    // The command `help` has no suggestions of its own.
    let unknown = text(error, ContextKind::InvalidSubcommand);
    let meant = unknown.and_then(|unknown| command_like(unknown, &program));
    if let Some(meant) = suggestion(error).map(str::to_owned).or(meant) {
        return format!("{said}; did you mean '{meant}'?");
    }
    match command {
        Some("help") | None => format!("{said}; see 'pidns --help'"),
        Some(command) => format!("{said}; see 'pidns {command} --help'"),
    }
}

/// What is wrong where a PID is expected and a word is given: a command, in the
/// wrong place or misspelt, or the name of a process.
fn no_pid(error: &clap::Error, program: &Command, command: Option<&str>) -> Option<String> {
    if error.kind() != ErrorKind::ValueValidation {
        return None;
    }
    let argument = text(error, ContextKind::InvalidArg)?;
    let value = text(error, ContextKind::InvalidValue)?;
    let is_pid = argument.trim_matches(['[', ']', '<', '>', '.']) == "PID";
    if !is_pid || !value.starts_with(char::is_alphabetic) {
        return None;
    }
    let meant = match command {
        Some(_) => None,
        None if program.find_subcommand(value).is_some() => {
            return Some(format!(
                "the command {value} stands before all PIDs; see 'pidns {value} --help'"
            ));
        }
        None => command_like(value, program),
    };
    Some(match meant {
        Some(meant) => format!("'{value}' is no PID; did you mean the command '{meant}'?"),
        None => {
            format!("'{value}' is no PID; 'pidns --comm {value}' shows the processes of that name")
        }
    })
}

/// The command whose name is most like a word, as clap sees it.
fn command_like(word: &str, program: &Command) -> Option<String> {
    // It looks for one only where no PID is allowed.
    let only_commands = Command::new("pidns")
        .disable_help_subcommand(true)
        .subcommands(program.get_subcommands().cloned());
    let error = only_commands.try_get_matches_from(["pidns", word]).err()?;
    suggestion(&error).map(str::to_owned)
}

/// What may have been meant, as clap sees it.
fn suggestion(error: &clap::Error) -> Option<&str> {
    let kinds =
        [ContextKind::SuggestedArg, ContextKind::SuggestedValue, ContextKind::SuggestedSubcommand];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(meant) => Some(meant.as_str()),
        // The one that is most like it comes last.
        ContextValue::Strings(meant) => meant.last().map(String::as_str),
        _ => None,
    })
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text),
        _ => None,
    }
}

/// The first paragraph of clap's message, without what follows on usage.
fn first_paragraph(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let lines = message.lines().map(str::trim);
    let said: Vec<_> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty() && !line.starts_with("tip:"))
        .collect();
    said.join(" ")
}
