//! Shortens clap's error message for wrong arguments to one line, and keeps clap's suggestion.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, ValueEnum as _};

use super::options::COLLECTOR;
use crate::emit::Format;

/// Describes the error in one line, with clap's suggestion or a hint to read the help.
pub(super) fn explain(error: &clap::Error, program: &Command, verb: Option<&str>) -> String {
    if let Some(line) = not_a_pid(error, program, verb) {
        return line;
    }
    let mut rendered = first_paragraph(&error.render().to_string());
    if text(error, ContextKind::InvalidArg).is_some_and(|it| it.starts_with("--collector "))
        && let Some(value) = text(error, ContextKind::InvalidValue)
        && std::env::var(COLLECTOR).is_ok_and(|set| set == value)
    {
        rendered = format!("{COLLECTOR}: {rendered}");
    }
    let problem = rendered.strip_suffix(" found").unwrap_or(&rendered);
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(argument) = text(error, ContextKind::InvalidArg)
    {
        if let Some(format) = format_meant(argument, program, verb) {
            return format!("{problem}; did you mean '{format}'?");
        }
        if let Some(verb) = verb_with(argument, program) {
            return format!("{problem}; it must follow the verb: 'pidns {verb} {argument}'");
        }
    }
    // clap does not suggest a verb for `pidns help WORD`, so look for a similar verb here.
    let unknown = text(error, ContextKind::InvalidSubcommand);
    let similar = unknown.and_then(|unknown| similar_verb(unknown, program));
    if let Some(meant) = suggestion(error).map(str::to_owned).or(similar) {
        return format!("{problem}; did you mean '{meant}'?");
    }
    match verb {
        Some("help") | None => format!("{problem}; see 'pidns --help'"),
        Some(verb) => format!("{problem}; see 'pidns {verb} --help'"),
    }
}

/// Returns the pidns equivalent of another tool's option, such as `-f json` for `--json`.
fn format_meant(argument: &str, program: &Command, verb: Option<&str>) -> Option<String> {
    let name = match argument {
        // lsns(8) and similar tools use `-J` for JSON.
        "-J" | "-j" => "json",
        long => long.strip_prefix("--")?,
    };
    let format = Format::from_str(name, false).ok()?.to_possible_value()?;
    let command = verb.map_or(Some(program), |verb| program.find_subcommand(verb))?;
    let option = command.get_arguments().find(|option| option.get_long() == Some("format"))?;
    let values = option.get_possible_values();
    let has_format =
        values.iter().any(|it| !it.is_hide_set() && it.matches(format.get_name(), false));
    (has_format && !option.is_hide_set()).then(|| format!("-f {}", format.get_name()))
}

/// Returns the first verb that has the option `argument`.
fn verb_with<'a>(argument: &str, program: &'a Command) -> Option<&'a str> {
    let name = argument.strip_prefix("--")?;
    let is_meant = |option: &Arg| option.get_long() == Some(name) && !option.is_hide_set();
    let verb = program.get_subcommands().find(|verb| verb.get_arguments().any(is_meant))?;
    Some(verb.get_name())
}

/// Explains the error if an argument is a verb or a process name instead of a PID.
fn not_a_pid(error: &clap::Error, program: &Command, verb: Option<&str>) -> Option<String> {
    if error.kind() != ErrorKind::ValueValidation {
        return None;
    }
    let argument = text(error, ContextKind::InvalidArg)?;
    let value = text(error, ContextKind::InvalidValue)?;
    let is_pid = argument.trim_matches(['[', ']', '<', '>', '.']) == "PID";
    if !is_pid || !value.starts_with(char::is_alphabetic) {
        return None;
    }
    if program.find_subcommand(value).is_some() {
        return Some(format!("PIDs cannot precede {value}; see 'pidns {value} --help'"));
    }
    let similar = if verb.is_none() { similar_verb(value, program) } else { None };
    Some(match similar {
        Some(similar) => format!("'{value}' is not a PID; did you mean the command '{similar}'?"),
        None => format!(
            "'{value}' is not a PID; 'pidns --comm {value}' shows the processes with that name"
        ),
    })
}

/// Returns the verb that clap considers most similar to `word`.
fn similar_verb(word: &str, program: &Command) -> Option<String> {
    // clap suggests no verbs for a program with positional arguments, such as pidns.
    let only_verbs = Command::new("pidns")
        .disable_help_subcommand(true)
        .subcommands(program.get_subcommands().cloned());
    let error = only_verbs.try_get_matches_from(["pidns", word]).err()?;
    suggestion(&error).map(str::to_owned)
}

/// Returns clap's best suggestion, which is an option, a value or a verb.
fn suggestion(error: &clap::Error) -> Option<&str> {
    let kinds =
        [ContextKind::SuggestedArg, ContextKind::SuggestedValue, ContextKind::SuggestedSubcommand];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(meant) => Some(meant.as_str()),
        // clap sorts suggestions by similarity, with the most similar last.
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

/// Returns clap's message as one line, without the usage and the tips.
fn first_paragraph(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let lines = message.lines().map(str::trim);
    let lines: Vec<_> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty() && !line.starts_with("tip:"))
        .collect();
    lines.join(" ")
}
