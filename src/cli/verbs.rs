//! The arguments of each verb.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::format::OutputFormat;
use super::options::{ADVANCED, Filter, Folding, Origin, Output, Search};
use super::values::{NamespaceArg, Seconds, run_code};
use crate::emit::{CheckFormat, DiffFormat, RunFormat, Style, TranslationFormat};
use crate::model::{CheckCode, Collector, Pid, SearchScope, Verdict};
use crate::query::Rule;

/// `pidns translate`.
#[derive(Debug, Args)]
pub struct Translate {
    /// PIDs to translate
    #[arg(value_name = "PID", required = true)]
    pub pids: Vec<Pid>,
    /// Namespace that the given PIDs belong to
    ///
    /// NS is an inode, pid:[INODE], pid:[?PID] (the id that pidns prints for a namespace whose
    /// inode is unknown), @PID (the namespace of that process), or a path such as /proc/12/ns/pid.
    #[arg(long, value_name = "NS")]
    pub from: Option<NamespaceArg>,
    /// Namespace to translate them to
    ///
    /// NS is written as for --from.
    #[arg(long, value_name = "NS")]
    pub to: Option<NamespaceArg>,
    /// The format.
    #[command(flatten)]
    pub format: OutputFormat<TranslationFormat>,
    /// The source of the data.
    #[command(flatten)]
    pub origin: Origin,
    /// Print no warnings on standard error
    #[arg(short, long)]
    pub quiet: bool,
    /// Indent JSON even if standard output is not a terminal
    #[arg(long, help_heading = ADVANCED, hide_short_help = true)]
    pretty: bool,
}

impl Translate {
    /// Returns the style. `terminal` is `true` if standard output is a terminal.
    #[must_use]
    pub fn style(&self, terminal: bool) -> Style {
        Style { pretty: self.pretty || terminal, terminal, ..Style::default() }
    }
}

/// `pidns run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Fail if CMD succeeds but leaves this behind
    ///
    /// May be repeated, or be a comma-separated list. By default nothing is denied.
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = run_code())]
    deny: Vec<CheckCode>,
    /// Kill what is left: send TERM, and KILL after another grace time
    #[arg(long)]
    pub kill: bool,
    /// How long remaining processes may take to end after CMD has ended
    #[arg(long, value_name = "SECONDS", default_value = "2", allow_negative_numbers = true)]
    grace: Seconds,
    /// Also write the report to this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub report: Option<PathBuf>,
    /// The format of that file.
    #[command(flatten)]
    pub format: OutputFormat<RunFormat>,
    /// Print no report on standard error
    #[arg(short, long)]
    pub quiet: bool,
    /// Command to run, with its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true,
        value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

impl Run {
    /// Returns the codes that make a successful command fail.
    #[must_use]
    pub fn denied(&self) -> BTreeSet<CheckCode> {
        self.deny.iter().copied().collect()
    }

    /// Returns how long to wait for remaining processes to end.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.grace.0
    }
}

/// `pidns diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// First snapshot: a saved document in JSON, YAML or NDJSON; - is standard input
    #[arg(value_name = "BEFORE", value_hint = ValueHint::FilePath)]
    pub before: PathBuf,
    /// Second snapshot; the live kernel if omitted
    #[arg(value_name = "AFTER", value_hint = ValueHint::FilePath)]
    pub after: Option<PathBuf>,
    /// The filters for both snapshots.
    #[command(flatten)]
    pub filter: Filter,
    /// Also compare kernel threads
    #[arg(long)]
    pub kernel_threads: bool,
    /// Similar lines.
    #[command(flatten)]
    pub folding: Folding,
    /// How to print the result.
    #[command(flatten)]
    pub output: Output<DiffFormat>,
    /// Read this procfs if AFTER is the live kernel
    #[arg(long, value_name = "DIR", default_value = "/proc", value_hint = ValueHint::DirPath,
        conflicts_with = "after", help_heading = ADVANCED, hide_short_help = true)]
    procfs: PathBuf,
    /// Pick one host from NDJSON files, by name or boot id
    #[arg(long, value_name = "NAME", help_heading = ADVANCED, hide_short_help = true)]
    pub host: Option<String>,
    /// How to read the live kernel
    #[arg(long, value_name = "HOW", default_value = "auto", conflicts_with = "after",
        help_heading = ADVANCED, hide_short_help = true)]
    collector: Collector,
}

impl Diff {
    /// Returns the source of the second snapshot.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let (procfs, file) = (self.procfs.clone(), self.after.clone());
        Origin { procfs, file, host: self.host.clone(), collector: self.collector }
    }
}

/// `pidns check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Report everything that is not in this snapshot as leftover
    #[arg(long, value_name = "BEFORE", value_hint = ValueHint::FilePath)]
    pub since: Option<PathBuf>,
    /// Fail on these problems
    ///
    /// RULE is a code, such as zombie, or CODE:KEY=VALUE, such as zombie:comm=cron, for some
    /// processes or namespaces only. KEY=VALUE is comm=GLOB, ns=NS, container=PREFIX or user=NAME.
    /// The option may be repeated, and RULE may be a comma-separated list.
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    deny: Vec<Rule>,
    /// Report these problems without failing
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    warn: Vec<Rule>,
    /// Ignore these problems
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    allow: Vec<Rule>,
    /// Read rules from this YAML file
    ///
    /// Rules on the command line take precedence.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub policy: Option<PathBuf>,
    /// Repeat the check until nothing is denied, for at most this long
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "0",
        conflicts_with = "file",
        allow_negative_numbers = true
    )]
    wait: Seconds,
    /// The filters for processes and namespaces.
    #[command(flatten)]
    pub filter: Filter,
    /// How to print the result.
    #[command(flatten)]
    pub output: Output<CheckFormat>,
    /// The source of the data.
    #[command(flatten)]
    pub origin: Origin,
    /// The places that are searched for namespaces.
    #[command(flatten)]
    search: Search,
}

impl Check {
    /// Returns the rules that are given as options.
    #[must_use]
    pub fn rules(&self) -> Vec<(Verdict, Rule)> {
        [(Verdict::Deny, &self.deny), (Verdict::Warn, &self.warn), (Verdict::Allow, &self.allow)]
            .into_iter()
            .flat_map(|(verdict, rules)| rules.iter().map(move |rule| (verdict, rule.clone())))
            .collect()
    }

    /// Returns the places to search.
    #[must_use]
    pub fn search(&self) -> BTreeSet<SearchScope> {
        self.search.scopes()
    }

    /// Returns the time during which a check is repeated as long as it denies something.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.wait.0
    }
}
