//! The arguments of each verb.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueHint};

use super::format::OutputFormat;
use super::options::{ADVANCED, COLLECTOR, Details, Filter, Folding, Origin, Output, Search};
use super::values::{Interval, NamespaceArg, ReportFile, Seconds, report_file, run_code};
use crate::emit::{
    CheckFormat, DiffFormat, LimitsFormat, RunFormat, Style, TranslationFormat, WatchFormat,
};
use crate::model::{CheckCode, Collector, Detail, Pid, SearchScope, Verdict};
use crate::query::Rule;

/// The arguments of `pidns translate`.
#[derive(Debug, Args)]
pub struct Translate {
    /// PIDs to translate
    #[arg(value_name = "PID", required = true)]
    pub pids: Vec<Pid>,
    /// Namespace that the given PIDs belong to
    ///
    /// NS is an inode, pid:[INODE], @PID (the namespace of that process), :NS_ID (the kernel's
    /// 64-bit id, ns_id in documents), or a path such as /proc/12/ns/pid. If pidns does not know
    /// the inode of a namespace, it prints pid:[?PID] with the PID of a process in the namespace.
    /// This form is also accepted.
    #[arg(long, value_name = "NS")]
    pub from: Option<NamespaceArg>,
    /// Namespace to translate the PIDs to
    ///
    /// NS has the same forms as for --from.
    #[arg(long, value_name = "NS")]
    pub to: Option<NamespaceArg>,
    /// The output format.
    #[command(flatten)]
    pub format: OutputFormat<TranslationFormat>,
    /// Options for the source of the data.
    #[command(flatten)]
    pub origin: Origin,
    /// Do not print warnings on standard error
    #[arg(short, long)]
    pub quiet: bool,
    /// Indent JSON even if standard output is not a terminal
    #[arg(long, help_heading = ADVANCED, hide_short_help = true)]
    pretty: bool,
}

impl Translate {
    /// Returns the output style. `terminal` is `true` if standard output is a terminal.
    #[must_use]
    pub fn style(&self, terminal: bool) -> Style {
        Style { pretty: self.pretty || terminal, terminal, ..Style::default() }
    }
}

/// Arguments of `pidns limits`.
#[derive(Debug, Args)]
pub struct Limits {
    /// Show all limits of these processes; without PIDs, the host's limits that are at least 80 %
    /// used
    #[arg(value_name = "PID")]
    pub pids: Vec<Pid>,
    /// Options for the format and style of the output.
    #[command(flatten)]
    pub output: Output<LimitsFormat>,
    /// Options for the source of the data.
    #[command(flatten)]
    pub origin: Origin,
}

/// The arguments of `pidns run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Fail if CMD leaves behind a process or namespace with problem CODE, even if CMD succeeds
    ///
    /// The option may be repeated, and CODE may be a comma-separated list. By default, no code is
    /// denied.
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = run_code())]
    deny: Vec<CheckCode>,
    /// Kill leftover processes: send SIGTERM, wait for another grace period, then send SIGKILL
    ///
    /// If the init of a PID namespace is killed, the kernel kills all other processes in the
    /// namespace. The report names the killed processes that entered the namespace from outside
    /// (nsenter, docker exec).
    #[arg(long)]
    pub kill: bool,
    /// Grace period: time to wait for leftover processes to exit after CMD has ended
    #[arg(long, value_name = "SECONDS", default_value = "2", allow_negative_numbers = true)]
    grace: Seconds,
    /// Run CMD in its own cgroup, to find leftover processes that pidns would otherwise miss
    ///
    /// Needs cgroup version 2, and write access to the cgroup of pidns: run pidns as root or in a
    /// delegated cgroup (systemd-run --user --scope -p Delegate=yes).
    ///
    /// After CMD has ended, all processes in the cgroup and all descendants of CMD are leftover
    /// processes. --kill sends SIGKILL to all processes in the cgroup at once. Before pidns exits,
    /// it moves any remaining processes to its own cgroup.
    ///
    /// If CMD enters a PID namespace, orphans in that namespace are also leftover processes. If
    /// /proc belongs to an ancestor of pidns's PID namespace, pidns needs Linux 5.3 to find these
    /// orphans.
    #[arg(long)]
    pub cgroup: bool,
    /// Also write the report to this file; - is standard error
    ///
    /// FORMAT is a format that -f accepts, as in --report junit:report.xml. The default is the
    /// format that -f selects. For a file whose name starts with letters and a colon, write ./FILE.
    /// The option may be repeated to write several reports.
    ///
    /// A report in Markdown is appended to FILE, which can be "$GITHUB_STEP_SUMMARY". A report in
    /// another format replaces the contents of FILE after CMD has ended. If FILE is a pipe or the
    /// same file as standard output (/dev/stdout), a report in any format is appended. If no
    /// process reads from a FIFO yet, pidns opens it after CMD has ended, and then waits up to five
    /// seconds for a reader.
    #[arg(long, value_name = "[FORMAT:]FILE", value_hint = ValueHint::FilePath,
        value_parser = report_file())]
    report: Vec<ReportFile>,
    /// The default format of a report, used if `--report` does not specify a format.
    #[command(flatten)]
    format: OutputFormat<RunFormat>,
    /// Do not print a report on standard error
    #[arg(short, long)]
    pub quiet: bool,
    /// The option `--details`.
    #[command(flatten)]
    details: Details,
    /// Use only ASCII characters in text; the default if the locale is not UTF-8
    #[arg(long, help_heading = ADVANCED, hide_short_help = true)]
    pub ascii: bool,
    /// Command to run, with its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD",
        value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

impl Run {
    /// Returns the codes given with `--deny`, which make `pidns run` fail.
    #[must_use]
    pub fn denied(&self) -> BTreeSet<CheckCode> {
        self.deny.iter().copied().collect()
    }

    /// Returns the files to write the report to, each with its format.
    pub fn reports(&self) -> impl Iterator<Item = (RunFormat, &Path)> {
        self.report.iter().map(|it| (it.format.unwrap_or(self.format.0), it.path.as_path()))
    }

    /// Returns the kinds of optional data to read.
    #[must_use]
    pub fn details(&self) -> BTreeSet<Detail> {
        self.details.details()
    }

    /// Returns the time to wait for leftover processes to exit.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.grace.0
    }
}

/// The arguments of `pidns diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// First snapshot: a saved document in JSON, YAML or NDJSON; - is standard input
    #[arg(value_name = "BEFORE", value_hint = ValueHint::FilePath)]
    pub before: PathBuf,
    /// Second snapshot; if omitted, pidns scans this host
    #[arg(value_name = "AFTER", value_hint = ValueHint::FilePath)]
    pub after: Option<PathBuf>,
    /// Options that filter both snapshots.
    #[command(flatten)]
    pub filter: Filter,
    /// Also compare kernel threads
    #[arg(long)]
    pub kernel_threads: bool,
    /// The option `--no-fold`.
    #[command(flatten)]
    pub folding: Folding,
    /// Options for the format and style of the output.
    #[command(flatten)]
    pub output: Output<DiffFormat>,
    /// The option `--details`.
    #[command(flatten)]
    details: Details,
    /// Read this procfs if AFTER is omitted
    #[arg(long, value_name = "DIR", default_value = "/proc", value_hint = ValueHint::DirPath,
        conflicts_with = "after", help_heading = ADVANCED, hide_short_help = true)]
    procfs: PathBuf,
    /// Read only the snapshot of this host (name or boot id) from NDJSON files
    #[arg(long, value_name = "NAME", help_heading = ADVANCED, hide_short_help = true)]
    pub host: Option<String>,
    /// How to collect data from the live kernel
    #[arg(long, value_name = "HOW", default_value = "auto", env = COLLECTOR, hide_env_values = true,
        help_heading = ADVANCED, hide_short_help = true)]
    collector: Collector,
}

impl Diff {
    /// Returns the kinds of optional data that `--details` lists.
    #[must_use]
    pub fn details(&self) -> BTreeSet<Detail> {
        self.details.details()
    }

    /// Returns the source of the second snapshot.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let (procfs, file) = (self.procfs.clone(), self.after.clone());
        Origin { procfs, file, host: self.host.clone(), collector: self.collector }
    }
}

/// The arguments of `pidns check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Report processes and namespaces that are not in this earlier snapshot
    ///
    /// BEFORE is a document that pidns saved earlier on this host. Save it without a filter: if a
    /// filter such as --user matches nothing, no document is saved. The filters of this check are
    /// applied to BEFORE, too.
    #[arg(long, value_name = "BEFORE", value_hint = ValueHint::FilePath)]
    pub since: Option<PathBuf>,
    /// Also report problems that are already in BEFORE
    #[arg(long, requires = "since")]
    pub all: bool,
    /// Fail on these problems
    ///
    /// RULE is a code such as zombie, or CODE:KEY=VALUE such as zombie:comm=cron, which matches
    /// only some processes or namespaces. KEY=VALUE is comm=GLOB, ns=NS, container=NAME, user=NAME,
    /// cgroup=GLOB or env=NAME. The option may be repeated, and RULE may be a comma-separated list.
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    deny: Vec<Rule>,
    /// Report these problems without failing
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    warn: Vec<Rule>,
    /// Ignore these problems
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    allow: Vec<Rule>,
    /// Warn if at least this percentage of a limit on tasks or PID namespaces is used [default: 90]
    ///
    /// With this option or --deny task-limit, pidns prints a line on standard error if a limit is
    /// unknown. With --strict, an unknown limit also makes the check fail.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub warn_at: Option<u64>,
    /// Read rules from this YAML file
    ///
    /// The file has up to three lists of rules: deny, warn and allow. 'pidns schema policy' prints
    /// its JSON Schema. Rules on the command line take precedence.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub policy: Option<PathBuf>,
    /// Repeat the check for this many seconds, or until it passes
    ///
    /// A process that first appears during this time gets the same number of seconds to exit. If
    /// the result depends on such a process, the check can take up to twice this time.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "0",
        conflicts_with = "file",
        allow_negative_numbers = true
    )]
    wait: Seconds,
    /// Options that filter processes and namespaces.
    #[command(flatten)]
    pub filter: Filter,
    /// Options for the format and style of the output.
    #[command(flatten)]
    pub output: Output<CheckFormat>,
    /// Options for the source of the data.
    #[command(flatten)]
    pub origin: Origin,
    /// The option `--search`.
    #[command(flatten)]
    search: Search,
    /// The option `--details`.
    #[command(flatten)]
    details: Details,
}

impl Check {
    /// Returns the kinds of optional data to read for each reported process.
    #[must_use]
    pub fn details(&self) -> BTreeSet<Detail> {
        self.details.details()
    }

    /// Returns the rules from the options --deny, --warn and --allow.
    #[must_use]
    pub fn rules(&self) -> Vec<(Verdict, Rule)> {
        [(Verdict::Deny, &self.deny), (Verdict::Warn, &self.warn), (Verdict::Allow, &self.allow)]
            .into_iter()
            .flat_map(|(verdict, rules)| rules.iter().map(move |rule| (verdict, rule.clone())))
            .collect()
    }

    /// Returns the places to search for namespaces, including all places that the earlier scan
    /// searched (`before`).
    #[must_use]
    pub fn search(&self, before: Option<&BTreeSet<SearchScope>>) -> BTreeSet<SearchScope> {
        match before {
            // The two snapshots can be compared only if the new scan searches all places that the
            // earlier scan searched.
            Some(before) => before | &self.search.given().unwrap_or_default(),
            None => self.search.scopes(),
        }
    }

    /// Returns the time that processes are given to exit (`--wait`).
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.wait.0
    }
}

/// The arguments of `pidns watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// Time between two snapshots, at least 0.05
    #[arg(long, value_name = "SECONDS", default_value = "1", allow_negative_numbers = true)]
    interval: Interval,
    /// End with status 0 as soon as this problem occurs
    ///
    /// RULE is a code such as dead-namespace, or CODE:KEY=VALUE such as zombie:comm=cron, as for
    /// 'pidns check --deny'. Problems that already exist in the first snapshot are ignored. The
    /// option may be repeated, and RULE may be a comma-separated list.
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    pub until: Vec<Rule>,
    /// End after this time; if --until is given, exit with status 1
    #[arg(long = "for", value_name = "SECONDS", allow_negative_numbers = true)]
    end_after: Option<Seconds>,
    /// With --until, save two snapshots to this directory: one before and one after the problem
    /// occurred
    ///
    /// The name of each file is the time of its snapshot. Existing files are never overwritten.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "until")]
    pub save: Option<PathBuf>,
    /// Options that filter processes and namespaces.
    #[command(flatten)]
    pub filter: Filter,
    /// The option `--no-fold`.
    #[command(flatten)]
    pub folding: Folding,
    /// Options for the format and style of the output.
    #[command(flatten)]
    pub output: Output<WatchFormat>,
    /// Read this procfs, such as a host's /proc mounted in a container
    #[arg(long, value_name = "DIR", default_value = "/proc", value_hint = ValueHint::DirPath,
        help_heading = ADVANCED, hide_short_help = true)]
    pub procfs: PathBuf,
    /// How to collect data from the live kernel
    #[arg(long, value_name = "HOW", default_value = "auto", env = COLLECTOR, hide_env_values = true,
        help_heading = ADVANCED, hide_short_help = true)]
    pub collector: Collector,
    /// The option `--search`.
    #[command(flatten)]
    search: Search,
    /// The option `--details`.
    #[command(flatten)]
    details: Details,
}

impl Watch {
    /// Returns the time between two snapshots.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval.0
    }

    /// Returns the time after which the watch ends, if any.
    #[must_use]
    pub fn end_after(&self) -> Option<Duration> {
        self.end_after.map(|seconds| seconds.0)
    }

    /// Returns the places to search for namespaces.
    #[must_use]
    pub fn search(&self) -> BTreeSet<SearchScope> {
        self.search.scopes()
    }

    /// Returns the kinds of optional data to read for each process.
    #[must_use]
    pub fn details(&self) -> BTreeSet<Detail> {
        self.details.details()
    }
}
