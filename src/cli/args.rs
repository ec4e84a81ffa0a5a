//! Options, in the groups that the help shows them in, and what they amount to.
//! Nothing here acts on them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{EnumValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, ValueEnum};

use crate::emit::{CheckFormat, DiffFormat, Format, ReportFormat, Style, TranslationFormat};
use crate::model::{
    CheckCode, Collector, Detail, NamespaceRef, NamespaceState, ParseNamespaceRefError, Pid,
    SearchScope, Verdict,
};
use crate::query::{ContainerPrefix, Glob, Members, Rule, Selection, User};

/// PIDs to translate.
#[derive(Debug, Args)]
pub struct Translate {
    /// The PIDs to translate
    #[arg(value_name = "PID", required = true)]
    pub pids: Vec<Pid>,
    /// The namespace those PIDs are in: an inode, pid:[INODE], pid:[?PID], @PID for that
    /// of a process, or a path such as /proc/12/ns/pid
    #[arg(long, value_name = "NS")]
    pub from: Option<NamespaceArg>,
    /// The namespace to translate them to, likewise
    #[arg(long, value_name = "NS")]
    pub to: Option<NamespaceArg>,
    /// What to read.
    #[command(flatten)]
    pub origin: Origin,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub format: TranslationFormat,
    /// Indent JSON even when it does not go to a terminal
    #[arg(long)]
    pretty: bool,
    /// No warnings on standard error
    #[arg(short, long)]
    pub quiet: bool,
}

impl Translate {
    /// How it looks, on a terminal or elsewhere.
    #[must_use]
    pub fn style(&self, terminal: bool) -> Style {
        Style { pretty: self.pretty || terminal, terminal, ..Style::default() }
    }
}

/// A command to run, and what it may leave behind.
#[derive(Debug, Args)]
pub struct Run {
    /// Exit with status 1 if CMD succeeds but leaves such a thing behind; may be given
    /// more than once, or as a list. By default nothing is denied
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = codes_of_runs())]
    deny: Vec<CheckCode>,
    /// Kill what is left: TERM, then, after the grace time once more, KILL
    #[arg(long)]
    pub kill: bool,
    /// How long what CMD started may take to end after it
    #[arg(long, value_name = "SECONDS", default_value = "2", allow_negative_numbers = true)]
    grace: Seconds,
    /// Also write the report to this file
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub report: Option<PathBuf>,
    /// Format of that file
    #[arg(short, long, value_name = "FORMAT", default_value = "text", requires = "report")]
    pub format: ReportFormat,
    /// Do not report on standard error
    #[arg(short, long)]
    pub quiet: bool,
    /// The command, and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true,
        value_name = "CMD", value_hint = clap::ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// Takes the name of something that a command may leave behind.
fn codes_of_runs() -> impl TypedValueParser<Value = CheckCode> {
    let code = |code: CheckCode| PossibleValue::new(code.name()).help(code.meaning());
    let names = PossibleValuesParser::new(CheckCode::of_runs().map(code));
    names.try_map(|name| CheckCode::from_name(&name).ok_or("no such code"))
}

impl Run {
    /// What must not be left.
    #[must_use]
    pub fn denied(&self) -> BTreeSet<CheckCode> {
        self.deny.iter().copied().collect()
    }

    /// How long to wait for what is left to end.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.grace.0
    }
}

/// Two views to compare.
#[derive(Debug, Args)]
pub struct Diff {
    /// The first: a saved document, JSON, YAML or ndjson; - is standard input
    #[arg(value_name = "BEFORE", value_hint = clap::ValueHint::FilePath)]
    pub before: PathBuf,
    /// The second, likewise; the live kernel where it is left out
    #[arg(value_name = "AFTER", value_hint = clap::ValueHint::FilePath)]
    pub after: Option<PathBuf>,
    /// Also compare threads of the kernel
    #[arg(long)]
    pub kernel_threads: bool,
    /// The procfs to read where AFTER is the live kernel
    #[arg(long, value_name = "DIR", default_value = "/proc", value_hint = clap::ValueHint::DirPath,
        conflicts_with = "after")]
    procfs: PathBuf,
    /// Of the hosts in files (ndjson) the one of this name or boot id
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// How to ask the live kernel; with PIDNS_DEBUG=1 in the environment, standard error
    /// says how it was asked
    #[arg(long, value_name = "HOW", default_value = "auto", conflicts_with = "after")]
    collector: Collector,
    /// What to compare.
    #[command(flatten)]
    pub filter: Filter,
    /// How to show it.
    #[command(flatten)]
    pub output: Output<DiffFormat>,
    /// What may share a line.
    #[command(flatten)]
    pub folding: Folding,
}

impl Diff {
    /// Where the second is read from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let (procfs, file) = (self.procfs.clone(), self.after.clone());
        Origin { procfs, file, host: self.host.clone(), collector: self.collector }
    }
}

/// A host to check, and what must not be.
#[derive(Debug, Args)]
pub struct Check {
    /// Compare with this saved document: what was not there before is a leftover
    #[arg(long, value_name = "BEFORE", value_hint = clap::ValueHint::FilePath, group = SAVED)]
    pub since: Option<PathBuf>,
    /// Fail if there is such a thing. RULE is a code, or CODE:KEY=VALUE for a part of it:
    /// comm=GLOB, ns=NS, container=PREFIX, user=NAME
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    deny: Vec<Rule>,
    /// Say that there is, and do not fail
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    warn: Vec<Rule>,
    /// Pass over it
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    allow: Vec<Rule>,
    /// Read rules from this file (YAML); those of the options go before them
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub policy: Option<PathBuf>,
    /// Look again until nothing is denied, or this time is over
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "0",
        conflicts_with = "file",
        allow_negative_numbers = true
    )]
    wait: Seconds,
    /// Where to look.
    #[command(flatten)]
    search: Search,
    /// Of which host.
    #[command(flatten)]
    pub origin: Origin,
    /// What to check.
    #[command(flatten)]
    pub filter: Filter,
    /// How to show it.
    #[command(flatten)]
    pub output: Output<CheckFormat>,
}

impl Check {
    /// The rules of the options.
    #[must_use]
    pub fn rules(&self) -> Vec<(Verdict, Rule)> {
        [(Verdict::Deny, &self.deny), (Verdict::Warn, &self.warn), (Verdict::Allow, &self.allow)]
            .into_iter()
            .flat_map(|(verdict, rules)| rules.iter().map(move |rule| (verdict, rule.clone())))
            .collect()
    }

    /// Where to look for namespaces.
    #[must_use]
    pub fn search(&self) -> BTreeSet<SearchScope> {
        self.search.scopes()
    }

    /// How long to look again.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.wait.0
    }
}

/// A time in seconds, with or without a fraction.
#[derive(Clone, Copy, Debug)]
struct Seconds(Duration);

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seconds = text.parse().ok().and_then(|it| Duration::try_from_secs_f64(it).ok());
        seconds.map(Self).ok_or("not a number of seconds (0 to 18446744073709551615)")
    }
}

/// A number of levels. There are 33 at most, but more is no mistake.
fn levels(text: &str) -> Result<u32, &'static str> {
    text.parse().map_err(|_| "not a number of levels (0 to 4294967295)")
}

/// The published schemas.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Schema {
    /// What -f json and -f yaml write
    Document,
    /// A line of what -f ndjson writes
    Record,
    /// What translate -f json writes
    Translation,
    /// What diff -f json writes
    Diff,
    /// A line of what diff -f ndjson writes
    DiffRecord,
    /// What check -f json writes
    Check,
    /// A line of what check -f ndjson writes
    CheckRecord,
    /// What run -f json writes
    Run,
    /// What check --policy reads
    Policy,
}

/// A namespace as a user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceArg {
    /// By its ID or a process.
    Ref(NamespaceRef),
    /// By a file on nsfs.
    File(PathBuf),
}

impl FromStr for NamespaceArg {
    type Err = ParseNamespaceRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('/') { Ok(Self::File(text.into())) } else { text.parse().map(Self::Ref) }
    }
}

/// Where to look for namespaces.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
struct Search {
    /// Where to look for namespaces, beside every process's own: a list with commas
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "processes,children,fds,mounts",
        value_parser = words(&SearchScope::OF_PROC, &[SearchScope::Kernel]),
        conflicts_with = "file"
    )]
    search: Vec<Words<SearchScope>>,
}

impl Search {
    /// The places that were named; every process's own namespace is always read.
    /// What /proc leads to must be known before the kernel's memory can tell more.
    fn scopes(&self) -> BTreeSet<SearchScope> {
        let asked = self.search.iter().flat_map(|scopes| scopes.0.iter().copied());
        let mut scopes: BTreeSet<_> = asked.chain([SearchScope::Processes]).collect();
        if scopes.contains(&SearchScope::Kernel) {
            scopes.extend(SearchScope::default_set());
        }
        scopes
    }
}

/// What to read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub struct Input {
    /// Where to look.
    #[command(flatten)]
    search: Search,
    /// What else to read of every process: a list with commas; args may hold secrets
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = words(&Detail::ALL, &[]),
        conflicts_with = "file"
    )]
    details: Vec<Words<Detail>>,
    /// Of which host.
    #[command(flatten)]
    pub origin: Origin,
}

/// What one word of a list names: a value, or all of them.
#[derive(Clone, Debug)]
struct Words<T>(Vec<T>);

/// Takes the name of one of these values, or `all`, or the name of one of `others`.
fn words<T: ValueEnum + Send + Sync>(
    values: &'static [T],
    others: &'static [T],
) -> impl TypedValueParser<Value = Words<T>> {
    let all = PossibleValue::new("all").help("All of these");
    let names = |of: &'static [T]| of.iter().filter_map(ValueEnum::to_possible_value);
    let names = names(values).chain([all]).chain(names(others));
    PossibleValuesParser::new(names).map(|word| {
        Words(T::from_str(&word, false).map_or_else(|_| values.to_vec(), |one| vec![one]))
    })
}

/// Where to read from.
#[derive(Debug, Args)]
#[command(group = saved())]
pub struct Origin {
    /// The procfs to read, such as a host's /proc bound into a container
    #[arg(long, value_name = "DIR", default_value = "/proc", value_hint = clap::ValueHint::DirPath)]
    pub procfs: PathBuf,
    /// Read a saved document, JSON, YAML or ndjson, instead of the live kernel; - is
    /// standard input
    #[arg(short = 'i', long = "input", value_name = "FILE", value_hint = clap::ValueHint::FilePath,
        action = clap::ArgAction::Append, conflicts_with_all = ["procfs", "collector"],
        group = SAVED)]
    pub file: Option<PathBuf>,
    /// Of the hosts in FILE (ndjson) the one of this name or boot id; of several snapshots
    /// of it NAME@TIME, or a beginning of the time
    #[arg(long, value_name = "NAME", requires = SAVED)]
    pub host: Option<String>,
    /// How to ask the live kernel; with PIDNS_DEBUG=1 in the environment, standard error
    /// says how it was asked
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub collector: Collector,
}

/// The arguments that name a saved document.
const SAVED: &str = "saved";

/// At least one of them, where something is to be chosen in it.
fn saved() -> ArgGroup {
    ArgGroup::new(SAVED).multiple(true)
}

impl Input {
    /// Where to look for namespaces.
    #[must_use]
    pub fn search(&self) -> BTreeSet<SearchScope> {
        self.search.scopes()
    }

    /// What to read of every process beside what always is.
    #[must_use]
    pub fn details(&self) -> BTreeSet<Detail> {
        self.details.iter().flat_map(|details| details.0.iter().copied()).collect()
    }
}

/// What to show; all of it must hold.
#[derive(Debug, Args)]
pub struct Select {
    /// Only the branches that hold these processes: they, their namespaces, those
    /// that they keep though these are not live, and the ancestors
    #[arg(value_name = "PID", help_heading = None)]
    pids: Vec<Pid>,
    /// By what they are.
    #[command(flatten)]
    pub filter: Filter,
}

impl Select {
    /// What to show, with the root that was found for `--root`.
    #[must_use]
    pub fn selection(&self, root: Option<NamespaceRef>) -> Selection {
        Selection { pids: self.pids.iter().copied().collect(), ..self.filter.selection(root) }
    }
}

/// What to show or compare, by what it is; all of it must hold.
#[derive(Debug, Args)]
#[command(next_help_heading = "Selection")]
pub struct Filter {
    /// Only this namespace and what is below it. NS is an inode, pid:[INODE],
    /// pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid
    #[arg(short, long, value_name = "NS")]
    pub root: Option<NamespaceArg>,
    /// Only namespaces at most N levels below --root or the topmost; 0 for these alone
    #[arg(long, value_name = "N", value_parser = levels, allow_negative_numbers = true)]
    depth: Option<u32>,
    /// Which members to show of the namespaces
    #[arg(long, value_name = "WHICH", default_value = "all")]
    members: Members,
    /// Only processes with such a name, which the kernel cuts to 15 bytes; *, ?, [a-z]
    /// and [!a-z] are wild
    #[arg(long, value_name = "GLOB")]
    comm: Option<Glob>,
    /// Only processes of this user
    #[arg(long, value_name = "NAME|UID")]
    user: Option<User>,
    /// Only the container whose id, or whose pod's UID, begins so: its namespaces and what
    /// is below them, and its processes in others. Reads cgroups (see --details)
    #[arg(long, value_name = "PREFIX")]
    pub container: Option<ContainerPrefix>,
    /// Only namespaces in this state; and, among their ancestors, those who keep them
    #[arg(long, value_name = "STATE")]
    state: Option<NamespaceState>,
}

impl Filter {
    /// What is selected, with the root that was found for `--root`.
    #[must_use]
    pub fn selection(&self, root: Option<NamespaceRef>) -> Selection {
        Selection {
            pids: BTreeSet::new(),
            root,
            depth: self.depth.map(|depth| usize::try_from(depth).unwrap_or(usize::MAX)),
            members: self.members,
            comm: self.comm.clone(),
            user: self.user.clone(),
            container: self.container.clone(),
            state: self.state,
        }
    }
}

/// How to show it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct Output<F: Formats = Format> {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text",
        value_parser = EnumValueParser::<F>::new())]
    pub format: F,
    /// Indent JSON even when it does not go to a terminal
    #[arg(long)]
    pretty: bool,
    /// When to colour text; NO_COLOR and CLICOLOR are respected
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Draw text in ASCII alone; the default where the locale is not UTF-8
    #[arg(long)]
    pub ascii: bool,
    /// Exit with status 3 if the view is incomplete
    #[arg(long)]
    pub strict: bool,
    /// No warnings on standard error
    #[arg(short, long)]
    pub quiet: bool,
}

/// A list of formats, with one called text.
pub trait Formats: ValueEnum + Send + Sync + 'static {}

impl<F: ValueEnum + Send + Sync + 'static> Formats for F {}

impl<F: Formats> Output<F> {
    /// How it looks, on a terminal or elsewhere, with or without colours there.
    #[must_use]
    pub fn style(&self, terminal: bool, color: bool) -> Style {
        Style {
            color,
            ascii: self.ascii,
            pretty: self.pretty || terminal,
            terminal,
            ..Style::default()
        }
    }
}

/// What may share a line, where what is alike is folded.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct Folding {
    /// Give every process and namespace a line of its own in text and pictures
    #[arg(long)]
    pub no_fold: bool,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Color {
    /// On a terminal
    Auto,
    /// Also elsewhere
    Always,
    /// Nowhere
    Never,
}

impl From<Color> for anstream::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;
    use crate::cli::{self, Parsed};

    /// The list that tests walk over is the one that the command line offers,
    /// in the same order and by the same names.
    fn is_one_list<T: ValueEnum + Debug + PartialEq>(all: &[T], name: impl Fn(&T) -> Option<&str>) {
        assert_eq!(all, T::value_variants());
        for value in all {
            let offered = value.to_possible_value().expect("is not hidden");
            assert!(offered.get_help().is_some(), "{value:?}");
            assert!(name(value).is_none_or(|name| name == offered.get_name()), "{value:?}");
        }
    }

    #[test]
    fn places_searched_by_default_are_those_of_the_model() {
        let Ok(Parsed::Run(cli)) = cli::parse(["pidns".into()]) else { panic!("asks for help") };
        assert_eq!(cli.input.search(), SearchScope::default_set());
    }

    #[test]
    fn every_list_of_values_is_kept_in_one_place() {
        is_one_list(&Format::ALL, |_| None);
        is_one_list(&TranslationFormat::ALL, |_| None);
        is_one_list(&DiffFormat::ALL, |_| None);
        is_one_list(&CheckFormat::ALL, |_| None);
        is_one_list(&Members::ALL, |it| Some(it.name()));
        is_one_list(&NamespaceState::ALL, |it| Some(it.name()));
        is_one_list(&SearchScope::ALL, |it| Some(it.name()));
        is_one_list(&Detail::ALL, |it| Some(it.name()));
    }
}
