//! The manual page, made from the command line and its help, and nothing else.

use std::io::{self, Write};

use clap::{Arg, Command, CommandFactory as _};
use roff::{Inline, Roff, bold, italic, roman};

use super::Cli;
use super::help::{ENVIRONMENT, EXAMPLES, EXIT_STATUS, FILES, LIMITS, READING, SECURITY, SEE_ALSO};

/// When the texts of the page were last changed.
const DATE: &str = "2026-11-25";

/// The widest line of the source, in bytes: what mandoc(1) asks for.
const WIDTH: usize = 80;

/// Writes the manual page, in roff.
///
/// # Errors
/// What the writer says.
pub fn man(page: &mut dyn Write) -> io::Result<()> {
    let mut program = Cli::command();
    program.build();
    let commands = || program.get_subcommands();
    let name = program.get_name();
    let mut roff = Roff::new();
    let source = format!("{name} {}", env!("CARGO_PKG_VERSION"));
    roff.control("TH", [&name.to_uppercase(), "1", DATE, &source, "User Commands"]);
    roff.control("SH", ["NAME"]);
    let about = program.get_about().map(ToString::to_string).unwrap_or_default();
    roff.text([roman(format!("{name} - {about}"))]);
    roff.control("SH", ["SYNOPSIS"]);
    synopsis(&mut roff, name, &program);
    for command in commands() {
        synopsis(&mut roff, &format!("{name} {}", command.get_name()), command);
    }
    roff.control("SH", ["DESCRIPTION"]);
    description(&mut roff, &program);
    roff.control("SH", ["OPTIONS"]);
    for heading in [None, Some("Input"), Some("Selection"), Some("Output")] {
        if let Some(heading) = heading {
            roff.control("SS", [heading]);
        }
        let has_heading = |option: &&Arg| option.get_help_heading() == heading;
        options(&mut roff, program.get_arguments().filter(has_heading));
    }
    roff.control("SH", ["COMMANDS"]);
    for command in commands() {
        roff.control("SS", [&*format!("{name} {}", command.get_name())]);
        description(&mut roff, command);
        let (shared, own): (Vec<_>, Vec<_>) = command
            .get_arguments()
            .filter(|option| !is_for_all(option))
            .partition(|option| program.get_arguments().any(|known| is_same(known, option)));
        options(&mut roff, own.into_iter());
        also_takes(&mut roff, &shared);
        if let Some(after) = command.get_after_help() {
            roff.control("PP", []);
            prose(&mut roff, &after.to_string());
        }
    }
    roff.control("SH", ["OUTPUT"]);
    list(&mut roff, READING);
    roff.control("SH", ["EXIT STATUS"]);
    list(&mut roff, EXIT_STATUS);
    roff.control("SH", ["ENVIRONMENT"]);
    list(&mut roff, ENVIRONMENT);
    roff.control("SH", ["FILES"]);
    list(&mut roff, FILES);
    for (heading, paragraphs) in [("LIMITS", LIMITS), ("SECURITY", SECURITY)] {
        roff.control("SH", [heading]);
        prose(&mut roff, &paragraphs.join("\n\n"));
    }
    roff.control("SH", ["EXAMPLES"]);
    for (what, command) in EXAMPLES {
        roff.control("TP", []);
        prose(&mut roff, what);
        roff.text([bold(*command)]);
    }
    roff.control("SH", ["SEE ALSO"]);
    prose(&mut roff, SEE_ALSO);
    roff.to_writer(page)
}

/// How a command is called: its options with their values, and what follows.
fn synopsis(roff: &mut Roff, name: &str, command: &Command) {
    roff.control("SY", [name]);
    for option in command.get_arguments().filter(|it| !it.is_positional() && !is_for_all(it)) {
        let mut shown = vec![roman("[")];
        match (option.get_short(), option.get_long(), value_name(option)) {
            // In one word, which no line breaks.
            (_, Some(long), Some(value)) => {
                shown.extend([bold(format!("--{long}")), roman("="), italic(value)]);
            }
            (Some(short), ..) => shown.push(bold(format!("-{short}"))),
            (None, Some(long), None) => shown.push(bold(format!("--{long}"))),
            (None, None, _) => continue,
        }
        shown.push(roman("]"));
        roff.text(shown);
    }
    // As the usage that the help shows has it.
    let usage = command.clone().render_usage().to_string();
    let usage = usage.lines().next().unwrap_or_default();
    let at = usage.find(['[', '<']).unwrap_or(usage.len());
    wrapped(roff, usage.split_at(at).1.trim_start_matches("[OPTIONS]"));
    roff.control("YS", []);
}

/// What a command is for.
fn description(roff: &mut Roff, command: &Command) {
    let about = command.get_long_about().or_else(|| command.get_about());
    prose(roff, &about.map(ToString::to_string).unwrap_or_default());
}

/// Options and arguments, and which values they take.
fn options<'a>(roff: &mut Roff, options: impl Iterator<Item = &'a Arg>) {
    for option in options {
        roff.control("TP", []);
        roff.text(label(option));
        let help = option.get_long_help().or_else(|| option.get_help());
        prose(roff, &help.map(ToString::to_string).unwrap_or_default());
        let values = option.get_possible_values();
        let values: Vec<_> = values.iter().filter(|_| takes_value(option)).collect();
        if values.is_empty() {
            continue;
        }
        roff.control("RS", []);
        for value in values {
            roff.control("TP", []).text([bold(value.get_name())]);
            prose(roff, &value.get_help().map(ToString::to_string).unwrap_or_default());
        }
        roff.control("RE", []);
    }
}

/// An option as it is written, with its value and the default of that.
fn label(option: &Arg) -> Vec<Inline> {
    if option.is_positional() {
        return vec![italic(option.to_string())];
    }
    let mut label = Vec::new();
    if let Some(short) = option.get_short() {
        label.push(bold(format!("-{short}")));
    }
    if let Some(long) = option.get_long() {
        label.extend((!label.is_empty()).then(|| roman(", ")));
        label.push(bold(format!("--{long}")));
    }
    if let Some(value) = value_name(option) {
        label.extend([roman(" "), italic(value)]);
    }
    let default = option.get_default_values().first().filter(|_| takes_value(option));
    label.extend(default.map(|it| roman(format!(" [default: {}]", it.to_string_lossy()))));
    label
}

/// Names the options that a command shares with the program.
fn also_takes(roff: &mut Roff, shared: &[&Arg]) {
    let names: Vec<_> = shared
        .iter()
        .filter_map(|option| option.get_long())
        .map(|name| format!("--{name}"))
        .collect();
    if !names.is_empty() {
        roff.control("PP", []);
        prose(roff, &format!("Also, as above: {}.", names.join(", ")));
    }
}

/// Whether every command has it.
fn is_for_all(option: &Arg) -> bool {
    matches!(option.get_long(), Some("help" | "version"))
}

/// Whether two options of two commands are one and the same to a reader.
fn is_same(one: &Arg, other: &Arg) -> bool {
    let help = |option: &Arg| option.get_help().map(ToString::to_string);
    one.get_long().is_some()
        && one.get_long() == other.get_long()
        && help(one) == help(other)
        && one.get_possible_values() == other.get_possible_values()
}

fn takes_value(option: &Arg) -> bool {
    option.get_action().takes_values()
}

fn value_name(option: &Arg) -> Option<String> {
    let names = option.get_value_names().filter(|_| takes_value(option))?;
    Some(names.iter().map(clap::builder::Str::as_str).collect::<Vec<_>>().join(" "))
}

/// Words and what they mean.
fn list(roff: &mut Roff, rows: &[(&str, &str)]) {
    for (word, meaning) in rows {
        roff.control("TP", []).text([bold(*word)]);
        prose(roff, meaning);
    }
}

/// Paragraphs, which an empty line parts, in lines that are short enough. A line
/// that is indented is one of a list: `  WORD: MEANING` or `  WORD  MEANING`.
fn prose(roff: &mut Roff, text: &str) {
    // Whether a paragraph must begin before more text.
    let mut is_apart = false;
    for line in text.lines() {
        let Some(item) = line.strip_prefix("  ") else {
            if is_apart && !line.is_empty() {
                roff.control("PP", []);
            }
            is_apart = line.is_empty();
            wrapped(roff, line);
            continue;
        };
        let row = item.split_once(": ").filter(|(word, _)| !word.contains("  "));
        if let Some((word, meaning)) = row.or_else(|| item.split_once("  ")) {
            list(roff, &[(word, meaning.trim())]);
        } else {
            roff.control("PP", []);
            wrapped(roff, item);
        }
        is_apart = true;
    }
}

/// A text in lines of the source that are short enough.
fn wrapped(roff: &mut Roff, text: &str) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        // A hyphen and an apostrophe take more room there.
        let room =
            |text: &str| text.len() + text.matches('-').count() + 4 * text.matches('\'').count();
        if !line.is_empty() && room(&line) + 1 + room(word) > WIDTH {
            roff.text([roman(std::mem::take(&mut line))]);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        roff.text([roman(line)]);
    }
}
