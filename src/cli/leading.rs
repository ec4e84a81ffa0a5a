//! Options that stand before a command (`pidns --procfs DIR translate 7`), which
//! are moved behind it where they mean the same there. Nothing here knows what
//! they do, or whether their values make sense.

use std::ffi::OsString;

use clap::{Arg, Command};

/// The command whose options are about something else (a report, and what is
/// left behind) than those of the same name elsewhere.
const APART: &str = "run";

/// Moves options that stand before a command behind its name. Arguments without
/// a command stay as they are, and so do those that are not understood.
///
/// # Errors
/// An option is none of that command, or means something else there.
pub(super) fn behind_command(
    mut arguments: Vec<OsString>,
    program: &Command,
) -> Result<Vec<OsString>, String> {
    let mut options: Vec<Given> = Vec::new();
    let mut next = 1;
    while let Some(word) = arguments.get(next) {
        let word = word.to_string_lossy();
        if let Some(command) = program.find_subcommand(&*word) {
            for (given, option) in options {
                means_the_same(&given, option, command)?;
            }
            // The name changes places with all that stands before it.
            if let Some(start) = arguments.get_mut(1..=next) {
                start.rotate_right(1);
            }
            break;
        }
        let Some((given, value_follows)) = options_in(&word, program) else { break };
        options.extend(given);
        next += if value_follows { 2 } else { 1 };
    }
    Ok(arguments)
}

/// An option as it is written, and what it is.
type Given<'a> = (String, &'a Arg);

/// The options in a word, and whether the next word is the value of the last of
/// them; `None` where there is one that no command has, or none at all.
fn options_in<'a>(word: &str, program: &'a Command) -> Option<(Vec<Given<'a>>, bool)> {
    if let Some(long) = word.strip_prefix("--") {
        let (name, has_value) =
            long.split_once('=').map_or((long, false), |(name, _)| (name, true));
        let option = find(program, |option| option.get_long() == Some(name))?;
        return Some((vec![(format!("--{name}"), option)], takes_value(option) && !has_value));
    }
    let mut letters = word.strip_prefix('-').filter(|letters| !letters.is_empty())?.chars();
    let mut options = Vec::new();
    while let Some(letter) = letters.next() {
        let option = find(program, |option| option.get_short() == Some(letter))?;
        options.push((format!("-{letter}"), option));
        if takes_value(option) {
            // What is left of the word is its value.
            return Some((options, letters.as_str().is_empty()));
        }
    }
    Some((options, false))
}

/// The first option of this kind, of the program itself or of a command.
fn find(program: &Command, is_meant: impl Fn(&Arg) -> bool) -> Option<&Arg> {
    let commands = std::iter::once(program).chain(program.get_subcommands());
    commands.flat_map(Command::get_arguments).find(|option| is_meant(option))
}

fn takes_value(option: &Arg) -> bool {
    option.get_action().takes_values()
}

fn means_the_same(given: &str, option: &Arg, command: &Command) -> Result<(), String> {
    let name = command.get_name();
    let is_known = command.get_arguments().any(|known| known.get_long() == option.get_long());
    if !is_known {
        return Err(format!("{name} has no option '{given}'; see 'pidns {name} --help'"));
    }
    if name == APART {
        return Err(format!(
            "'{given}' before {name} would not mean what it means to {name}: write \
             'pidns {name} {given}'; see 'pidns {name} --help'"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn moved(arguments: &str) -> Result<String, String> {
        let arguments = arguments.split(' ').map(OsString::from).collect();
        let moved = behind_command(arguments, &Cli::command())?;
        Ok(moved.join(" ".as_ref()).into_string().unwrap())
    }

    #[test]
    fn options_before_a_command_go_behind_its_name() {
        for (given, expected) in [
            ("pidns translate 7", "pidns translate 7"),
            ("pidns --procfs D translate 7", "pidns translate --procfs D 7"),
            ("pidns --procfs=D translate 7", "pidns translate --procfs=D 7"),
            ("pidns -i f.json translate 7", "pidns translate -i f.json 7"),
            ("pidns -qf json check --strict", "pidns check -qf json --strict"),
            ("pidns -qfjunit --ascii check", "pidns check -qfjunit --ascii"),
            ("pidns --from @5 translate 7", "pidns translate --from @5 7"),
            ("pidns -f json --since a check", "pidns check -f json --since a"),
        ] {
            assert_eq!(moved(given).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_is_no_option_before_a_command_stays_where_it_is() {
        for given in [
            "pidns",
            "pidns --procfs translate",
            "pidns -f json 7",
            "pidns 5 translate 7",
            "pidns --fromat json check",
            "pidns -h check",
            "pidns -- translate",
            "pidns - translate",
            "pidns run -- pidns -q check",
        ] {
            assert_eq!(moved(given).as_deref(), Ok(given));
        }
    }

    #[test]
    fn what_would_not_mean_the_same_is_refused() {
        for (given, expected) in [
            (
                "pidns --search all translate 7",
                "translate has no option '--search'; see 'pidns translate --help'",
            ),
            ("pidns -qi f diff a", "diff has no option '-i'; see 'pidns diff --help'"),
            ("pidns --procfs=D man", "man has no option '--procfs'; see 'pidns man --help'"),
            (
                "pidns -q run -- make",
                "'-q' before run would not mean what it means to run: write 'pidns run -q'; \
                 see 'pidns run --help'",
            ),
        ] {
            assert_eq!(moved(given).unwrap_err(), expected);
        }
    }

    /// Else it could not be told what stands before a command.
    #[test]
    fn options_of_one_name_are_alike_in_all_commands() {
        let mut program = Cli::command();
        program.build();
        let mut known = HashMap::new();
        let commands = std::iter::once(&program).chain(program.get_subcommands());
        for option in commands.flat_map(Command::get_arguments).filter(|it| it.get_long().is_some())
        {
            let alike = (option.get_short(), takes_value(option));
            let before = *known.entry(option.get_long()).or_insert(alike);
            assert_eq!(alike, before, "{option}");
        }
    }
}
