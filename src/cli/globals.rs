//! Rejects unsupported and conflicting global options that clap accepts.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

#[cfg(doc)]
use super::options::COLLECTOR;

/// The verb `run`. No option may come before it.
pub(super) const RUN: &str = "run";

pub(super) fn options(program: &Command) -> Vec<Arg> {
    program.get_arguments().filter(|option| option.is_global_set()).cloned().collect()
}

/// Hides the global options that the verb does not support.
pub(super) fn hide_unused(verb: Command, global: Vec<Arg>) -> Command {
    let unused = global.into_iter().filter(|option| find(&verb, option).is_none());
    // clap skips a global option if the verb has an option with the same ID, so add a hidden copy
    // to the verb.
    let unused: Vec<Arg> = unused.map(|option| option.hide(true)).collect();
    verb.args(unused)
}

/// Rejects unsupported options, conflicting options, and PIDs that come before a verb (subcommand).
pub(super) fn check(
    program: &Command,
    matches: &ArgMatches,
    first: Option<&str>,
) -> Result<(), String> {
    let (name, of_verb) = matches.subcommand().unwrap_or(("", matches));
    if let Some(verb) = program.find_subcommand(name) {
        // clap parses `-f` and `-q` before the verb `run` as global options. But `run` has its own
        // options with these names, so no option is allowed before `run`.
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

/// Finds two conflicting options on the command line. An option set only by the environment
/// variable [`COLLECTOR`] does not count.
fn conflict<'a>(command: &'a Command, matches: &ArgMatches) -> Option<(&'a Arg, &'a Arg)> {
    let is_given = |option: &&Arg| is_given(matches, option.get_id().as_str());
    let find = |id: &str| command.get_arguments().find(|option| option.get_id() == id);
    let of_clap = command.get_arguments().filter(is_given).find_map(|option| {
        let others = command.get_arg_conflicts_with(option);
        others.into_iter().find(is_given).map(|other| (option, other))
    });
    // clap would report a conflict with `--collector` even if only the environment variable sets
    // the collector, so check for this conflict here.
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
