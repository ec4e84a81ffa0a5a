//! Global options that several verbs share.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{ArgAction, Args, ValueEnum, ValueHint};

use super::format::{Formats, OutputFormat};
use super::values::{NamespaceArg, Words, levels, words};
use crate::emit::{Format, Style};
use crate::model::{Collector, Detail, EnvPattern, NamespaceRef, NamespaceState, SearchScope};
use crate::query::{ContainerPattern, Glob, Members, Selection, User};

/// Heading for the options that are listed only in `--help` and the manual page.
pub(super) const ADVANCED: &str = "Advanced options";

/// The environment variable that sets the default of `--collector`.
pub(super) const COLLECTOR: &str = "PIDNS_COLLECTOR";

/// The option `--search`.
#[derive(Debug, Args)]
pub(super) struct Search {
    /// Places to search for namespaces, as a comma-separated list
    ///
    /// The default is processes,children,fds,mounts. Processes are always searched.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = words(
            PossibleValue::new("proc").help("All of the above: every place that /proc shows"),
            &SearchScope::OF_PROC,
            &[SearchScope::Kernel],
        ),
        conflicts_with = "file",
        global = true,
        help_heading = ADVANCED,
        hide_short_help = true
    )]
    search: Vec<Words<SearchScope>>,
}

impl Search {
    /// Returns the scopes to search for namespaces.
    pub(super) fn scopes(&self) -> BTreeSet<SearchScope> {
        self.given().unwrap_or_else(SearchScope::default_set)
    }

    /// Returns the scopes that `--search` requests, or `None` without `--search`.
    pub(super) fn given(&self) -> Option<BTreeSet<SearchScope>> {
        if self.search.is_empty() {
            return None;
        }
        let asked = self.search.iter().flat_map(|scopes| scopes.0.iter().copied());
        let mut scopes: BTreeSet<_> = asked.chain([SearchScope::Processes]).collect();
        // A search of kernel memory adds only the namespaces that /proc does not show, so search
        // /proc for the others, too.
        if scopes.contains(&SearchScope::Kernel) {
            scopes.extend(SearchScope::default_set());
        }
        Some(scopes)
    }
}

/// Options that select the source of the data, and the data to read.
#[derive(Debug, Args)]
pub struct Input {
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

/// The option `--details`.
#[derive(Debug, Args)]
pub(super) struct Details {
    /// Additional data to read, as a comma-separated list
    ///
    /// In text output, "--details namespaces" compares each process with the init of its PID
    /// namespace, and lists the namespaces that differ. An init is compared with the init of the
    /// parent PID namespace. For an init, pidns also lists the network, IPC, UTS and mount
    /// namespaces that the init shares with the host or with other inits.
    ///
    /// If a process is in a different container than the init of its PID namespace, pidns shows the
    /// container of the process. Without "--details cgroup", pidns reads the cgroup of a process
    /// only if a container runtime started the process, or if its parent is in another PID
    /// namespace. If pidns finds such a process in a different container, it also reads the cgroups
    /// of the init's children. Descendants of these processes are assumed to be in the same
    /// container. With "--details cgroup", pidns reads the cgroup of every process. With cgroup
    /// version 2, pidns marks the processes of paused containers as frozen only with "--details
    /// cgroup". With version 1, pidns always marks them.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = words(
            PossibleValue::new("all").help("args, namespaces and cgroup, but not limits"),
            &Detail::OF_PROCESSES,
            &[Detail::Limits],
        ),
        conflicts_with = "file",
        global = true,
        help_heading = ADVANCED,
        hide_short_help = true
    )]
    details: Vec<Words<Detail>>,
}

impl Details {
    /// Returns the details that `--details` requests.
    pub(super) fn details(&self) -> BTreeSet<Detail> {
        self.details.iter().flat_map(|details| details.0.iter().copied()).collect()
    }
}

impl Input {
    /// Returns the scopes to search for namespaces.
    #[must_use]
    pub fn search(&self) -> BTreeSet<SearchScope> {
        let mut scopes = self.search.scopes();
        // The limits of a process depend on the namespace in which it creates its children.
        scopes.extend(self.details().contains(&Detail::Limits).then_some(SearchScope::Children));
        scopes
    }

    /// Returns the details that `--details` requests.
    #[must_use]
    pub fn details(&self) -> BTreeSet<Detail> {
        self.details.details()
    }
}

/// Options that select the live kernel or a saved document as the source of the data.
#[derive(Debug, Args)]
pub struct Origin {
    /// Read a saved document instead of the live kernel
    ///
    /// FILE contains the output of -f json, -f yaml or -f ndjson; - is standard input.
    #[arg(short = 'i', long = "input", value_name = "FILE", value_hint = ValueHint::FilePath,
        action = ArgAction::Append, conflicts_with = "procfs", global = true)]
    pub file: Option<PathBuf>,
    /// Read this procfs, such as a host's /proc mounted in a container
    #[arg(long, value_name = "DIR", default_value = "/proc", value_hint = ValueHint::DirPath,
        global = true, help_heading = ADVANCED, hide_short_help = true)]
    pub procfs: PathBuf,
    /// Read only the snapshot of this host (name or boot id) from an NDJSON file
    ///
    /// If the file has several snapshots of the host, NAME@TIME selects one of them. A prefix of
    /// the time is enough, as in web-2@2026-11-23.
    #[arg(long, value_name = "NAME", global = true, help_heading = ADVANCED,
        hide_short_help = true)]
    pub host: Option<String>,
    /// How to collect data from the live kernel
    ///
    /// BPF and /proc give the same output. If the environment variable PIDNS_DEBUG is 1, pidns
    /// reports the method on standard error.
    #[arg(long, value_name = "HOW", default_value = "auto", env = COLLECTOR, hide_env_values = true,
        global = true, help_heading = ADVANCED, hide_short_help = true)]
    pub collector: Collector,
}

/// Options that filter the result, combined with AND.
#[derive(Debug, Args)]
pub struct Select {
    /// Show only the branches of the tree that contain these processes
    ///
    /// Shows the processes, their namespaces, and all ancestors of these namespaces. Also shows a
    /// namespace without a living init if one of the processes keeps it alive.
    #[arg(value_name = "PID", help_heading = None, hide_short_help = true)]
    pids: Vec<crate::model::Pid>,
    /// The filters that are given as options.
    #[command(flatten)]
    pub filter: Filter,
}

impl Select {
    /// Converts the options to a filter, with `root` as the namespace given by `--root`.
    #[must_use]
    pub fn selection(&self, root: Option<NamespaceRef>) -> Selection {
        Selection { pids: self.pids.iter().copied().collect(), ..self.filter.selection(root) }
    }
}

/// Options that filter processes and namespaces, combined with AND.
#[derive(Debug, Args)]
pub struct Filter {
    /// Show only this namespace and its descendants
    ///
    /// NS is an inode, pid:[INODE], @PID (the namespace of that process), :NS_ID (the kernel's
    /// 64-bit id, ns_id in documents), or a path such as /proc/12/ns/pid. If pidns does not know
    /// the inode of a namespace, it prints pid:[?PID] with the PID of a process in the namespace.
    /// This form is also accepted.
    #[arg(short, long, value_name = "NS", global = true)]
    pub root: Option<NamespaceArg>,
    /// Show only namespaces up to N levels below the top
    ///
    /// With 0, pidns shows only the topmost namespaces or, with --root NS, only NS.
    #[arg(long, value_name = "N", value_parser = levels, allow_negative_numbers = true,
        global = true)]
    depth: Option<u32>,
    /// Show only processes whose name matches GLOB
    ///
    /// GLOB may contain *, ?, [a-z] and [!a-z]. The kernel truncates process names to 15 bytes.
    #[arg(long, value_name = "GLOB", global = true)]
    comm: Option<Glob>,
    /// Show only processes of this user
    #[arg(long, value_name = "NAME|UID", global = true)]
    user: Option<User>,
    /// Show only processes with this environment variable
    ///
    /// CI agents set a variable for each job, such as BUILD_TAG (Jenkins), CI_JOB_ID (GitLab) or
    /// RUNNER_TRACKING_ID (GitHub). With such a variable, this option shows the processes of one
    /// job. pidns checks the environment that a process had at its last execve(2), and never shows
    /// or saves the environment. A zombie has no environment. Does not work with a saved document
    /// (-i).
    #[arg(long, value_name = "NAME[=VALUE]", global = true)]
    pub env: Option<EnvPattern>,
    /// Show only the container or pod with this name or id
    ///
    /// WHICH is the name of a container, the name of a Kubernetes pod (POD or NAMESPACE/POD), or
    /// the beginning of a container id or pod UID. Shows the namespaces of the container, their
    /// descendants, and the container's processes in other namespaces. Reads the cgroup of each
    /// process, like --details cgroup.
    #[arg(long, value_name = "WHICH", global = true)]
    pub container: Option<ContainerPattern>,
    /// Show only namespaces in this state
    ///
    /// Also shows the ancestors of these namespaces, and the processes that keep these namespaces
    /// alive.
    #[arg(long, value_name = "STATE", global = true)]
    state: Option<NamespaceState>,
    /// Which members of each namespace to show
    #[arg(long, value_name = "WHICH", default_value = "all", global = true,
        help_heading = ADVANCED, hide_short_help = true)]
    members: Members,
}

impl Filter {
    /// Converts the options to a filter, with `root` as the namespace given by `--root`.
    #[must_use]
    pub fn selection(&self, root: Option<NamespaceRef>) -> Selection {
        Selection {
            pids: BTreeSet::new(),
            with_family: false,
            root,
            depth: self.depth.map(|depth| usize::try_from(depth).unwrap_or(usize::MAX)),
            members: self.members,
            comm: self.comm.clone(),
            user: self.user.clone(),
            env: self.env.clone(),
            container: self.container.clone(),
            state: self.state,
        }
    }
}

/// Options for the format and style of the output.
#[derive(Debug, Args)]
pub struct Output<F: Formats = Format> {
    /// The output format.
    #[command(flatten)]
    pub format: OutputFormat<F>,
    /// Exit with status 3 if information is missing (the view is incomplete)
    #[arg(long, global = true, hide_short_help = true)]
    pub strict: bool,
    /// Do not print warnings on standard error
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Indent JSON even if standard output is not a terminal
    #[arg(long, global = true, help_heading = ADVANCED, hide_short_help = true)]
    pretty: bool,
    /// When to use colours in text
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true,
        help_heading = ADVANCED, hide_short_help = true)]
    pub color: Color,
    /// Use only ASCII characters in text; the default if the locale is not UTF-8
    #[arg(long, global = true, help_heading = ADVANCED, hide_short_help = true)]
    pub ascii: bool,
}

impl<F: Formats> Output<F> {
    /// Returns the output style. `terminal` is `true` if standard output is a terminal, and `color`
    /// is `true` if the output should have colours.
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

/// The option `--no-fold`.
#[derive(Debug, Args)]
pub struct Folding {
    /// Give each process and namespace its own line
    ///
    /// By default, text and pictures fold similar processes and namespaces into one line.
    #[arg(long, global = true)]
    pub no_fold: bool,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR or CLICOLOR=0 is set
    Auto,
    /// Always
    Always,
    /// Never
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
