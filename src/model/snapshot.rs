//! Everything that one scan found, and how, when and where it was taken.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::ValueEnum;

use super::{Detail, Diagnostic, Namespace, NamespaceId, Process};

/// Everything that one scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Name and version of the program that made it.
    pub generator: (String, String),
    /// When the scan began: RFC 3339, UTC.
    pub captured_at: String,
    /// How long the scan took; `None` of one that was saved, as documents do not
    /// say: of two of the same host they would differ.
    pub scan_duration: Option<Duration>,
    /// Where it was taken.
    pub host: Host,
    /// The /proc that was read.
    pub procfs: Procfs,
    /// Where namespaces were looked for.
    pub searched: BTreeSet<SearchScope>,
    /// What was read of processes beside what always is.
    pub details: BTreeSet<Detail>,
    /// By what it was cut down since; empty where it is whole.
    pub selected: Vec<Criterion>,
    /// Whether nothing is missing in those places, and all is from the kernel.
    pub complete: bool,
    /// The namespaces.
    pub namespaces: Vec<Namespace>,
    /// The processes.
    pub processes: Vec<Process>,
    /// What a reader must know.
    pub diagnostics: Vec<Diagnostic>,
}

impl Snapshot {
    /// How, when and where it was taken, with no namespace and no process.
    #[must_use]
    pub fn without_lists(&self) -> Self {
        Self {
            generator: self.generator.clone(),
            captured_at: self.captured_at.clone(),
            scan_duration: self.scan_duration,
            host: self.host.clone(),
            procfs: self.procfs.clone(),
            searched: self.searched.clone(),
            details: self.details.clone(),
            selected: self.selected.clone(),
            complete: self.complete,
            namespaces: Vec::new(),
            processes: Vec::new(),
            diagnostics: self.diagnostics.clone(),
        }
    }
}

/// The host that a snapshot was taken on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Node name (`uname(2)`).
    pub hostname: Option<String>,
    /// Release of the kernel (`uname(2)`).
    pub kernel_release: Option<String>,
    /// Random ID of this boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: Option<String>,
}

/// The /proc that a snapshot was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Procfs {
    /// Where it was mounted.
    pub path: String,
    /// Whether it shows the viewer's own PID namespace.
    pub own: bool,
    /// The PID namespace whose numbers it speaks in, where that is known.
    pub namespace: Option<NamespaceId>,
}

/// A place to look for namespaces in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum SearchScope {
    /// Every process's own namespace.
    Processes,
    /// Every process's pid_for_children.
    Children,
    /// Every thread's pid_for_children, and descriptors and mounts of its own.
    Threads,
    /// Every file descriptor table.
    Fds,
    /// The mount table of every mount namespace in reach.
    Mounts,
    /// All of these but threads, and what is in the kernel's memory though /proc
    /// leads nowhere to it. As root, Linux 6.18
    Kernel,
}

impl SearchScope {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Processes, Self::Children, Self::Threads, Self::Fds, Self::Mounts, Self::Kernel];

    /// Those that a reading of /proc can search.
    pub const OF_PROC: [Self; 5] =
        [Self::Processes, Self::Children, Self::Threads, Self::Fds, Self::Mounts];

    /// All of /proc's but the threads, which cost most and tell least.
    #[must_use]
    pub fn default_set() -> BTreeSet<Self> {
        Self::OF_PROC.into_iter().filter(|&scope| scope != Self::Threads).collect()
    }

    /// Its name in the document and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Children => "children",
            Self::Threads => "threads",
            Self::Fds => "fds",
            Self::Mounts => "mounts",
            Self::Kernel => "kernel",
        }
    }
}

/// By what a snapshot was cut down: an option's name and what was given for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Criterion {
    /// The option, `pid` for processes by number.
    pub by: String,
    /// What was given; a namespace as its ID.
    pub values: Vec<String>,
}
