//! Everything that one scan found, and how, when and where it was taken.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::ValueEnum;

use super::{Criterion, Detail, Diagnostic, Namespace, NamespaceId, Process, keywords};

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

keywords! {
    /// A place that is searched for namespaces.
    #[derive(ValueEnum)]
    pub enum SearchScope("search_scope", "search scope", "search scopes") {
        /// Each process's own namespace.
        Processes = "processes",
        /// Each process's pid_for_children.
        Children = "children",
        /// Each thread's pid_for_children, and descriptor and mount tables that it does not
        /// share with its process.
        Threads = "threads",
        /// Every file descriptor table.
        Fds = "fds",
        /// The mount table of every reachable mount namespace.
        Mounts = "mounts",
        /// Namespaces in kernel memory that /proc does not show. Includes all other places but
        /// threads; needs root and Linux 6.18.
        Kernel = "kernel",
    }
}

impl SearchScope {
    /// The scopes that can be searched through /proc.
    pub const OF_PROC: [Self; 5] =
        [Self::Processes, Self::Children, Self::Threads, Self::Fds, Self::Mounts];

    /// The default: everything in /proc but threads, which cost most and find least.
    #[must_use]
    pub fn default_set() -> BTreeSet<Self> {
        Self::OF_PROC.into_iter().filter(|&scope| scope != Self::Threads).collect()
    }
}
