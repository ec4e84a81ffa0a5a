//! Defines and parses the command line.

// The help texts contain pid:[INODE], which rustdoc would take for a link.
#![allow(rustdoc::broken_intra_doc_links)]

mod completions;
mod explain;
mod format;
mod globals;
mod help;
mod man;
mod manual;
mod options;
mod values;
mod verbs;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{ArgMatches, ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::error::Error;

pub use completions::Shell;
pub use format::{Formats, OutputFormat};
pub use options::{Color, Filter, Folding, Input, Origin, Output, Select};
pub use values::{NamespaceArg, Schema};
pub use verbs::{Check, Diff, Limits, Run, Translate, Watch};

/// The parsed command line.
#[derive(Debug, Parser)]
#[command(
    name = "pidns",
    version,
    about = help::ABOUT,
    long_about = help::LONG_ABOUT,
    override_usage = help::USAGE,
    after_help = help::SHORT_EXAMPLES,
    after_long_help = help::after_long_help(),
    styles = help::STYLES,
    args_override_self = true
)]
pub struct Cli {
    /// Options for the format and style of the output.
    #[command(flatten)]
    pub output: Output,
    /// Options that filter the result.
    #[command(flatten)]
    pub select: Select,
    /// The option `--no-fold`.
    #[command(flatten)]
    pub folding: Folding,
    /// Show processes below their parents, as pstree does
    ///
    /// Each namespace has its own process trees. If the parent of a process is in another
    /// namespace, the process is at the top of a tree. If a filter hides the parent, the process is
    /// below its nearest ancestor that is shown. In both cases, the line of the process names the
    /// parent. Similar processes share a line only if everything below them is also similar. If
    /// PIDs are given, also shows the descendants of each process, and its ancestors in the same
    /// namespace. Only text output has trees. In other formats, the field ppid contains the
    /// parent's PID.
    #[arg(long)]
    pub tree: bool,
    /// Options for the source of the data.
    #[command(flatten)]
    pub input: Input,
    /// The verb, or `None` to show the hierarchy.
    #[command(subcommand)]
    // clap fills the fields in order, and filling this field removes the verb from the parsed
    // arguments. The field `output` needs the verb, so this field must be the last one.
    pub command: Option<Command>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Translate PIDs to another PID namespace
    #[command(args_override_self = true)]
    Translate(Translate),
    /// Show the limits that can make fork fail, and the usage of each
    #[command(args_override_self = true)]
    Limits(Limits),
    /// Check this host for problems, and fail if there are any
    #[command(args_override_self = true)]
    Check(Check),
    /// Compare two snapshots, or a snapshot with the live host
    #[command(args_override_self = true)]
    Diff(Diff),
    /// Report changes as they happen
    #[command(args_override_self = true)]
    Watch(Watch),
    /// Run a command and report what it leaves behind
    #[command(override_usage = help::RUN_USAGE, args_override_self = true)]
    Run(Run),
    /// Print the JSON Schema of an output format
    Schema {
        /// The format to describe
        #[arg(default_value = "document")]
        of: Schema,
    },
    /// Print a shell completion script
    Completions {
        /// Shell to print the script for
        shell: Shell,
    },
    /// Print a manual page
    Man {
        /// Command to describe; pidns itself if omitted
        #[arg(value_name = "COMMAND",
            value_parser = PossibleValuesParser::new(help::VERBS.map(|(name, _)| name)))]
        page: Option<String>,
    },
}

/// The result of parsing the arguments.
#[derive(Debug)]
pub enum Parsed {
    /// The parsed arguments.
    Run(Box<Cli>),
    /// The help text or version to print.
    Print(String),
}

/// Parses the arguments, or explains in one line why they are wrong.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let words: Vec<String> =
        arguments.iter().skip(1).filter_map(|word| word.to_str().map(str::to_owned)).collect();
    let is_given = |verb: &str| words.iter().any(|word| word == verb);
    let mut program = define(is_given).color(ColorChoice::Auto);
    let verb = words.iter().find(|word| program.find_subcommand(word).is_some()).cloned();
    let usage = |problem: String| {
        let error = Error::Usage(problem);
        if verb.as_deref() == Some(globals::RUN) { error.of_run() } else { error }
    };
    let explain = |error: &clap::Error, program: &clap::Command| {
        usage(explain::explain(error, program, verb.as_deref()))
    };
    let mut matches = match program.try_get_matches_from_mut(arguments) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => return Err(explain(&error, &program)),
        Err(error) => return Ok(Parsed::Print(error.render().ansi().to_string())),
    };
    if names_two_documents(&matches) {
        let problem = "--input is given more than once; pidns reads one document at a time";
        return Err(usage(problem.to_owned()));
    }
    let first = words.first().map(String::as_str);
    globals::check(&program, &matches, first).map_err(usage)?;
    let cli = Cli::from_arg_matches_mut(&mut matches);
    cli.map(|cli| Parsed::Run(Box::new(cli))).map_err(|error| explain(&error, &program))
}

/// Returns the definition of the command line, for completion and for manual pages.
#[must_use]
pub fn command() -> clap::Command {
    define(|_| true)
}

/// Defines the command line, and adds the help text to each verb for which `is_given` returns
/// `true`.
fn define(is_given: impl Fn(&str) -> bool) -> clap::Command {
    let mut program = Cli::command();
    if std::env::var_os(options::COLLECTOR).is_some_and(|value| value.is_empty()) {
        // clap would reject an empty value, so treat an empty variable as unset.
        program = without_variable(program).mut_subcommands(without_variable);
    }
    let verbs: Vec<_> = program.get_subcommands().map(|it| it.get_name().to_owned()).collect();
    // Building the help of every verb would take half of pidns's startup time, so build it only for
    // the given verbs.
    for verb in verbs.iter().filter(|verb| is_given(verb)) {
        let global = globals::options(&program);
        program = program.mut_subcommand(verb, |verb| {
            let verb = help::with_texts(globals::hide_unused(verb, global));
            if verb.get_name() != globals::RUN {
                return verb;
            }
            verb.mut_arg("format", |format| format.requires("report").help("Format of the reports"))
        });
    }
    program
}

/// Makes a command ignore the environment variable for `--collector`.
fn without_variable(command: clap::Command) -> clap::Command {
    let has_it = command.get_arguments().any(|option| option.get_id() == "collector");
    if has_it { command.mut_arg("collector", |option| option.env(None::<&str>)) } else { command }
}

/// Writes the manual page of a verb, or of pidns itself, as roff source.
pub fn man(verb: Option<&str>, page: &mut dyn Write) -> io::Result<()> {
    man::write(command(), verb, page)
}

/// Returns `true` if `--input` is given more than once.
fn names_two_documents(matches: &ArgMatches) -> bool {
    let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
    let files = matches.try_get_many::<PathBuf>("file").ok().flatten();
    files.is_some_and(|files| files.len() > 1)
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use clap::ValueEnum;

    use super::*;
    use crate::emit::{CheckFormat, DiffFormat, Format, TranslationFormat};
    use crate::model::{Detail, NamespaceState, SearchScope};
    use crate::query::Members;

    fn parse_words(words: &str) -> Result<Parsed, String> {
        let words = std::iter::once("pidns").chain(words.split(' '));
        parse(words.map(OsString::from)).map_err(|error| error.to_string())
    }

    /// Asserts that `all` lists exactly the values that the command line accepts for `T`, and that
    /// each name returned by `name` is the one used on the command line.
    fn is_one_list<T: ValueEnum + Debug + PartialEq>(all: &[T], name: impl Fn(&T) -> Option<&str>) {
        assert_eq!(all, T::value_variants());
        for value in all {
            let offered = value.to_possible_value().expect("is not hidden");
            assert!(offered.get_help().is_some(), "{value:?}");
            assert!(name(value).is_none_or(|name| name == offered.get_name()), "{value:?}");
        }
    }

    #[test]
    fn the_default_places_to_search_are_those_of_the_model() {
        let Ok(Parsed::Run(cli)) = parse(["pidns".into()]) else { panic!("asks for help") };
        assert_eq!(cli.input.search(), SearchScope::default_set());
    }

    #[test]
    fn constant_lists_of_values_match_the_command_line() {
        is_one_list(&Format::ALL, |_| None);
        is_one_list(&TranslationFormat::ALL, |_| None);
        is_one_list(&DiffFormat::ALL, |_| None);
        is_one_list(&CheckFormat::ALL, |_| None);
        is_one_list(&Members::ALL, |it| Some(it.name()));
        is_one_list(&NamespaceState::ALL, |it| Some(it.name()));
        is_one_list(&SearchScope::ALL, |it| Some(it.name()));
        is_one_list(&Detail::ALL, |it| Some(it.name()));
    }

    #[test]
    fn options_before_a_verb_apply_to_the_verb() {
        let check = |words: &str| match parse_words(words) {
            Ok(Parsed::Run(cli)) => match cli.command {
                Some(Command::Check(check)) => check,
                other => panic!("{words}: {other:?}"),
            },
            other => panic!("{words}: {other:?}"),
        };
        for (before, after) in [
            ("-qf json check --strict", "check -qf json --strict"),
            ("-qfjunit --ascii check", "check -qfjunit --ascii"),
            ("--procfs=D check", "check --procfs D"),
            ("-i f.json check -f markdown", "check -i f.json -f markdown"),
            ("--root 5 --comm x check", "check --root 5 --comm x"),
            ("--search proc check", "check --search proc"),
            ("--host a check --since b", "check --since b --host a"),
            ("--details args check", "check --details args"),
            ("--env A=1 check", "check --env A=1"),
        ] {
            assert_eq!(format!("{:?}", check(before)), format!("{:?}", check(after)));
        }
        // An option after the verb overrides the same option before the verb.
        assert_eq!(check("-f json check -f junit").output.format.0, CheckFormat::Junit);
    }

    #[test]
    fn an_argument_before_the_verb_is_not_taken_for_the_verb() {
        for words in ["--procfs translate", "-f json 7", "run -- pidns -q check"] {
            let Ok(Parsed::Run(cli)) = parse_words(words) else { panic!("{words}") };
            assert!(matches!(cli.command, None | Some(Command::Run(_))), "{words}");
        }
        for words in ["-- translate", "- translate", "5 translate 7", "--fromat json check"] {
            assert!(parse_words(words).is_err(), "{words}");
        }
        assert!(matches!(parse_words("-h check"), Ok(Parsed::Print(_))));
    }

    #[test]
    fn an_option_that_a_verb_does_not_have_is_rejected_before_and_after_the_verb() {
        for (words, expected) in [
            (
                "--search proc translate 7",
                "translate has no option '--search'; see 'pidns translate --help'",
            ),
            (
                "translate --search proc 7",
                "translate has no option '--search'; see 'pidns translate --help'",
            ),
            ("-qi f diff a", "diff has no option '--input'; see 'pidns diff --help'"),
            ("--procfs=D man", "man has no option '--procfs'; see 'pidns man --help'"),
            (
                "--details all translate 7",
                "translate has no option '--details'; see 'pidns translate --help'",
            ),
            ("5 -q check", "PIDs cannot precede check; see 'pidns check --help'"),
            ("-q run -- make", "options of run must follow its name; see 'pidns run --help'"),
            (
                "--from @5 translate 7",
                "unexpected argument '--from'; it must follow the verb: 'pidns translate --from'",
            ),
            ("--tree check", "check has no option '--tree'; see 'pidns check --help'"),
            (
                "-f dot check",
                "invalid value 'dot' for '--format <FORMAT>' [possible values: text, json, \
                 ndjson, github, junit, markdown]; see 'pidns check --help'",
            ),
            (
                "-f junit",
                "invalid value 'junit' for '--format <FORMAT>' [possible values: text, json, \
                 ndjson, yaml, dot, mermaid, openmetrics]; see 'pidns --help'",
            ),
        ] {
            assert_eq!(parse_words(words).unwrap_err(), expected, "{words}");
        }
    }

    #[test]
    fn conflicting_options_are_rejected_on_both_sides_of_the_verb() {
        for words in [
            "-i f check --search proc",
            "--search proc check -i f",
            "-i f check --wait 5",
            "--tree -f json",
            "-f dot --tree",
            "--procfs D diff a b",
            "--collector bpf diff a b",
        ] {
            let error = parse_words(words).unwrap_err();
            assert!(error.contains("cannot be used with"), "{words}: {error}");
        }
        for words in ["--host a", "--host a check", "check --host a"] {
            assert_eq!(
                parse_words(words).unwrap_err(),
                "--host picks a host from a saved document; name one with --input"
            );
        }
        assert!(parse_words("--host a diff b").is_ok());
    }
}
