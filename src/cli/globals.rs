//! Checks global options for errors that clap misses.
//!
//! clap accepts every global option with every verb. It checks the options before the verb and the
//! options after the verb separately, so it misses conflicts between them.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

#[cfg(doc)]
use super::options::COLLECTOR;

/// The verb `run`. No option may precede this verb. `run` has its own options `-f` and `-q`, but
/// before the verb, clap would parse `-f` and `-q` as global options.
pub(super) const RUN: &str = "run";

pub(super) fn options(program: &Command) -> Vec<Arg> {
    program.get_arguments().filter(|option| option.is_global_set()).cloned().collect()
}

/// Removes unsupported global options from the help of a verb. clap adds a global option to every
/// verb that does not define an option with the same name. So this function defines a hidden option
/// with that name, and [`check`] rejects it on the command line.
pub(super) fn hide_unused(verb: Command, global: Vec<Arg>) -> Command {
    let unused = global.into_iter().filter(|option| find(&verb, option).is_none());
    let unused: Vec<Arg> = unused.map(|option| option.hide(true)).collect();
    verb.args(unused)
}

/// Rejects options that the verb does not support, conflicting options, and PIDs before the verb.
/// Also rejects an option before the verb that conflicts with an option after the verb. `first` is
/// the first command-line argument. The error message is one line.
pub(super) fn check(
    program: &Command,
    matches: &ArgMatches,
    first: Option<&str>,
) -> Result<(), String> {
    let (name, of_verb) = matches.subcommand().unwrap_or(("", matches));
    if let Some(verb) = program.find_subcommand(name) {
        if name == RUN && first != Some(RUN) {
            return Err("options of run must follow its name; see 'pidns run --help'".to_owned());
        }
        if let Some(option) = unknown_option(program, verb, matches, of_verb) {
            let problem = format!("{name} has no option '{option}'; see 'pidns {name} --help'");
            return Err(problem);
        }
        if is_given(matches, "pids") {
            return Err(format!("PIDs cannot precede {name}; see 'pidns {name} --help'"));
        }
    }
    let command = program.find_subcommand(name).unwrap_or(program);
    if let Some((option, other)) = conflict(command, of_verb) {
        let verb = if name.is_empty() { String::new() } else { format!("{name} ") };
        return Err(format!(
            "the argument '{option}' cannot be used with '{other}'; see 'pidns {verb}--help'"
        ));
    }
    if is_given(of_verb, "tree")
        && let Some(format) = of_verb.get_one::<String>("format")
        && !["text", "tree"].contains(&format.as_str())
    {
        return Err(format!(
            "the argument '--tree' cannot be used with '--format {format}'; see 'pidns --help'"
        ));
    }
    let has_document = ["file", "since", "before"].iter().any(|id| is_given(of_verb, id));
    if is_given(of_verb, "host") && !has_document {
        return Err("--host picks a host from a saved document; name one with --input".to_owned());
    }
    Ok(())
}

/// Returns the first global option on the command line that the verb does not support.
fn unknown_option(
    program: &Command,
    verb: &Command,
    before: &ArgMatches,
    of_verb: &ArgMatches,
) -> Option<String> {
    let options = program.get_arguments().filter(|option| !option.is_positional());
    let mut given = options.filter(|option| {
        let matches = if option.is_global_set() { of_verb } else { before };
        is_given(matches, option.get_id().as_str())
    });
    let unknown = given.find(|option| find(verb, option).is_none_or(Arg::is_hide_set))?;
    unknown.get_long().map(|name| format!("--{name}"))
}

/// Finds two conflicting options on the command line.
///
/// `--collector` conflicts with options that read a saved document. This conflict is not declared
/// to clap, because clap would report it even if the collector is set only by the environment
/// variable [`COLLECTOR`].
fn conflict<'a>(command: &'a Command, matches: &ArgMatches) -> Option<(&'a Arg, &'a Arg)> {
    let is_given = |option: &&Arg| is_given(matches, option.get_id().as_str());
    let find = |id: &str| command.get_arguments().find(|option| option.get_id() == id);
    let of_clap = command.get_arguments().filter(is_given).find_map(|option| {
        let others = command.get_arg_conflicts_with(option);
        others.into_iter().find(is_given).map(|other| (option, other))
    });
    of_clap.or_else(|| {
        let document = ["file", "after"].into_iter().filter_map(find).find(is_given)?;
        Some((document, find("collector").filter(is_given)?))
    })
}

fn find<'a>(command: &'a Command, option: &Arg) -> Option<&'a Arg> {
    command.get_arguments().find(|own| own.get_id() == option.get_id())
}

/// Returns `true` if the option was given on the command line.
fn is_given(matches: &ArgMatches, id: &str) -> bool {
    matches.try_contains_id(id).unwrap_or(false)
        && matches.value_source(id) == Some(ValueSource::CommandLine)
}
