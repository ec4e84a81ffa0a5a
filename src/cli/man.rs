//! Generates the manual pages, such as pidns(1) and pidns-check(1), from the help texts.

use std::io::{self, Write};

use clap::{Arg, Command};
// The crate `clap_mangen` neither wraps long lines nor lays out paragraphs, so this module uses
// `roff` directly.
use roff::{Inline, Roff, bold, italic, roman};

use super::help::{self, Texts};
use super::manual::{
    ENVIRONMENT, FILES, LIMITS, POLICY, POLICY_EXAMPLE, READING, SECURITY, SEE_ALSO,
};
use super::options::ADVANCED;

/// The date of the last change to the text of the manual pages.
const DATE: &str = "2026-11-30";

/// Length in bytes above which mandoc(1) warns about a source line.
const WIDTH: usize = 80;

/// Writes the manual page of a verb, or of pidns itself, in roff.
pub fn write(mut program: Command, verb: Option<&str>, page: &mut dyn Write) -> io::Result<()> {
    program.build();
    let mut roff = Roff::new();
    let command = verb.and_then(|verb| program.find_subcommand(verb));
    match command.and_then(|command| Some((command, help::texts(command.get_name())?))) {
        Some((command, texts)) => verb_page(&mut roff, command, texts),
        None => program_page(&mut roff, &program),
    }
    roff.to_writer(page)
}

fn program_page(roff: &mut Roff, program: &Command) {
    head(roff, "pidns", program);
    section(roff, "DESCRIPTION", help::PROGRAM.description);
    roff.control("SH", ["COMMANDS"]);
    for command in program.get_subcommands().filter(|it| help::texts(it.get_name()).is_some()) {
        roff.control("TP", []);
        roff.text([bold(format!("pidns-{}", command.get_name())), roman("(1)")]);
        wrapped(roff, &about(command));
    }
    option_section(roff, program);
    roff.control("SH", ["OUTPUT"]);
    list(roff, READING);
    exit_status(roff, &help::PROGRAM);
    wrapped_paragraph(roff, "The manual page of each command lists its exit statuses.");
    roff.control("SH", ["ENVIRONMENT"]);
    list(roff, ENVIRONMENT);
    roff.control("SH", ["FILES"]);
    list(roff, FILES);
    section(roff, "LIMITS", &LIMITS.join("\n\n"));
    section(roff, "SECURITY", &SECURITY.join("\n\n"));
    examples(roff, &help::PROGRAM);
    let pages = program.get_subcommands().map(Command::get_name);
    let pages = pages.filter(|name| help::texts(name).is_some());
    let pages: Vec<_> = pages.map(|name| format!("pidns-{name}(1)")).collect();
    section(roff, "SEE ALSO", &format!("{}, {SEE_ALSO}", pages.join(", ")));
}

/// Writes the manual page of a verb, such as pidns-check(1).
fn verb_page(roff: &mut Roff, command: &Command, texts: &Texts) {
    head(roff, &format!("pidns-{}", command.get_name()), command);
    section(roff, "DESCRIPTION", texts.description);
    option_section(roff, command);
    if command.get_name() == "check" {
        roff.control("SH", ["CODES"]);
        wrapped(roff, "The verdict in parentheses applies if no rule matches.");
        for (code, meaning) in help::codes() {
            list(roff, &[(&code, meaning)]);
        }
        section(roff, "POLICY FILE", POLICY);
        verbatim(roff, POLICY_EXAMPLE);
    }
    exit_status(roff, texts);
    examples(roff, texts);
    let more = "pidns(1), which also describes environment variables, limits and security.";
    section(roff, "SEE ALSO", more);
}

/// Writes the title line and the sections NAME and SYNOPSIS.
fn head(roff: &mut Roff, title: &str, command: &Command) {
    let source = format!("pidns {}", env!("CARGO_PKG_VERSION"));
    roff.control("TH", [&title.to_uppercase(), "1", DATE, &source, "User Commands"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{title} - {}", about(command)))]);
    roff.control("SH", ["SYNOPSIS"]);
    let usage = command.clone().render_usage().to_string();
    for line in usage.trim_start_matches("Usage:").lines().map(str::trim) {
        let name_end = line.find(['[', '<']).unwrap_or(line.len());
        let (name, arguments) = line.split_at(name_end);
        roff.control("SY", [name.trim_end()]);
        wrapped(roff, arguments);
        roff.control("YS", []);
    }
}

/// Returns the one-line description of a command.
fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn section(roff: &mut Roff, heading: &str, text: &str) {
    roff.control("SH", [heading]);
    prose(roff, text);
}

fn exit_status(roff: &mut Roff, texts: &Texts) {
    roff.control("SH", ["EXIT STATUS"]);
    list(roff, texts.exit_status);
}

fn examples(roff: &mut Roff, texts: &Texts) {
    roff.control("SH", ["EXAMPLES"]);
    for (what, command) in texts.examples {
        roff.control("TP", []);
        wrapped(roff, &format!("{what}:"));
        // The roff macro `EX` prevents line breaks and hyphenation in a command.
        roff.control("EX", []);
        for line in command.split("; ") {
            roff.text([bold(line)]);
        }
        roff.control("EE", []);
    }
}

/// Writes the section OPTIONS, with the advanced options in a subsection.
fn option_section(roff: &mut Roff, command: &Command) {
    let is_shown = |option: &&Arg| !option.is_hide_set();
    let under = |heading: Option<&'static str>| {
        command.get_arguments().filter(is_shown).filter(move |it| it.get_help_heading() == heading)
    };
    roff.control("SH", ["OPTIONS"]);
    options(roff, under(None).filter(|option| option.is_positional()));
    options(roff, under(None).filter(|option| !option.is_positional()));
    if under(Some(ADVANCED)).next().is_some() {
        roff.control("SS", [ADVANCED]);
        options(roff, under(Some(ADVANCED)));
    }
}

/// Writes options or arguments, each with the values that it accepts.
fn options<'a>(roff: &mut Roff, options: impl Iterator<Item = &'a Arg>) {
    for option in options {
        roff.control("TP", []);
        roff.text(label(option));
        let help = option.get_long_help().or_else(|| option.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        for (index, paragraph) in help.split("\n\n").enumerate() {
            if index > 0 {
                // The roff macro `IP` begins a paragraph that is indented like the option's text.
                roff.control("IP", []);
            }
            wrapped(roff, paragraph);
        }
        let values = option.get_possible_values();
        let values: Vec<_> =
            values.iter().filter(|value| takes_value(option) && !value.is_hide_set()).collect();
        if values.is_empty() {
            continue;
        }
        roff.control("RS", []);
        for value in values {
            roff.control("TP", []).text([bold(value.get_name())]);
            wrapped(roff, &value.get_help().map(ToString::to_string).unwrap_or_default());
        }
        roff.control("RE", []);
    }
}

/// Returns the names of an option, the name of its value, and its default.
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

fn takes_value(option: &Arg) -> bool {
    option.get_action().takes_values()
}

fn value_name(option: &Arg) -> Option<String> {
    let names = option.get_value_names().filter(|_| takes_value(option))?;
    Some(names.iter().map(clap::builder::Str::as_str).collect::<Vec<_>>().join(" "))
}

fn list(roff: &mut Roff, terms: &[(&str, &str)]) {
    for (term, meaning) in terms {
        roff.control("TP", []).text([bold(*term)]);
        wrapped(roff, meaning);
    }
}

/// Writes text with paragraphs and indented lists.
fn prose(roff: &mut Roff, text: &str) {
    let mut needs_break = false;
    for line in text.lines() {
        if let Some((term, meaning)) = line.strip_prefix("  ").and_then(|it| it.split_once(": ")) {
            list(roff, &[(term, meaning)]);
            needs_break = true;
        } else if line.is_empty() {
            needs_break = true;
        } else {
            if std::mem::take(&mut needs_break) {
                roff.control("PP", []);
            }
            wrapped(roff, line);
        }
    }
}

fn wrapped_paragraph(roff: &mut Roff, text: &str) {
    roff.control("PP", []);
    wrapped(roff, text);
}

/// Writes lines unchanged, but indented.
fn verbatim(roff: &mut Roff, text: &str) {
    roff.control("PP", []).control("RS", ["4"]).control("EX", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("EE", []).control("RE", []);
}

/// Writes text as source lines of at most [`WIDTH`] bytes.
fn wrapped(roff: &mut Roff, text: &str) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        // The roff crate escapes hyphens and apostrophes, which makes them longer.
        let length =
            |text: &str| text.len() + text.matches('-').count() + 4 * text.matches('\'').count();
        if !line.is_empty() && length(&line) + 1 + length(word) > WIDTH {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;
    use crate::model::Verdict;

    #[test]
    fn the_policy_example_is_a_valid_policy() {
        let rules = document::policy(POLICY_EXAMPLE.as_bytes()).expect("is valid");
        let count = |verdict| rules.iter().filter(|(it, _)| *it == verdict).count();
        assert_eq!((count(Verdict::Deny), count(Verdict::Warn), count(Verdict::Allow)), (2, 1, 3));
    }

    #[test]
    fn every_verb_has_text_for_its_manual_page() {
        let program = super::super::command();
        for verb in program.get_subcommands() {
            assert!(help::texts(verb.get_name()).is_some(), "{}", verb.get_name());
        }
    }
}
