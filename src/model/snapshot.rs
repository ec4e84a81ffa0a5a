//! The result of one scan, with its time, host and scope.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{
    Criterion, Detail, Diagnostic, DiagnosticCode, Limit, Namespace, NamespaceId, Observer,
    Process, keywords,
};

/// The result of one scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Name and version of the program that took the snapshot.
    pub generator: (String, String),
    /// Start time of the scan (RFC 3339, UTC).
    pub captured_at: String,
    /// Duration of the scan. It isn't saved, because it differs even between scans of an unchanged
    /// host.
    pub scan_duration: Option<Duration>,
    /// The host that was scanned.
    pub host: Host,
    /// The procfs that was read.
    pub procfs: Procfs,
    /// The pidns process that took the snapshot, if the procfs shows it.
    pub observer: Option<Observer>,
    /// The places that were searched for namespaces.
    pub searched: BTreeSet<SearchScope>,
    /// The requested process details.
    pub details: BTreeSet<Detail>,
    /// The filters applied since the scan, empty for an unfiltered snapshot.
    pub selected: Vec<Criterion>,
    /// `false` if pidns had to infer some facts, or may have missed something in the places it
    /// searched.
    pub complete: bool,
    /// All namespaces found.
    pub namespaces: Vec<Namespace>,
    /// All processes found.
    pub processes: Vec<Process>,
    /// Limits that can make fork(2) or the creation of a PID namespace fail. `None` if the limits
    /// were not read.
    pub limits: Option<Vec<Limit>>,
    /// Problems encountered during the scan.
    pub diagnostics: Vec<Diagnostic>,
}

impl Snapshot {
    /// Returns `true` if the snapshot is complete, or if only data about limits is missing.
    #[must_use]
    pub fn has_all_but_limits(&self) -> bool {
        let mut gaps = self.diagnostics.iter().filter(|it| it.is_gap()).peekable();
        let limits = DiagnosticCode::LimitsUnknown.name();
        self.complete || (gaps.peek().is_some() && gaps.all(|it| it.code == limits))
    }

    /// Returns a copy of the snapshot without its namespaces, processes and limits.
    #[must_use]
    pub fn without_lists(&self) -> Self {
        Self {
            generator: self.generator.clone(),
            captured_at: self.captured_at.clone(),
            scan_duration: self.scan_duration,
            host: self.host.clone(),
            procfs: self.procfs.clone(),
            observer: self.observer.clone(),
            searched: self.searched.clone(),
            details: self.details.clone(),
            selected: self.selected.clone(),
            complete: self.complete,
            namespaces: Vec::new(),
            processes: Vec::new(),
            limits: None,
            diagnostics: self.diagnostics.clone(),
        }
    }
}

/// The host on which a snapshot was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Node name (`uname(2)`).
    pub hostname: Option<String>,
    /// Release of the kernel (`uname(2)`).
    pub kernel_release: Option<String>,
    /// Random ID of the boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: Option<String>,
}

/// A mount of procfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Procfs {
    /// Mount point of the procfs.
    pub path: String,
    /// `true` if the procfs shows the PID namespace of pidns itself. If `false`, the kernel may
    /// hide the parents of some namespaces.
    pub own: bool,
    /// The PID namespace that the procfs shows, or null if unknown. The first PID in every `nspid`
    /// belongs to this namespace.
    pub namespace: Option<NamespaceId>,
}

keywords! {
    /// A place that is searched for namespaces.
    #[derive(ValueEnum)]
    pub enum SearchScope("search_scope", "search scope", "search scopes") {
        /// The PID namespace of each process (/proc/PID/ns/pid).
        Processes = "processes",
        /// For each process, the PID namespace for its new children
        /// (/proc/PID/ns/pid_for_children).
        Children = "children",
        /// For each thread, the PID namespace for its new children. Also the thread's file
        /// descriptors and mounts, unless it shares them with the rest of the process.
        Threads = "threads",
        /// The open file descriptors of each process.
        Fds = "fds",
        /// The mounts in every reachable mount namespace.
        Mounts = "mounts",
        /// Kernel memory, which also contains namespaces that /proc does not show. Includes all
        /// other scopes except `threads`. Needs root and Linux 6.18 or later.
        Kernel = "kernel",
    }
}

impl SearchScope {
    /// The scopes that can be searched through /proc.
    pub const OF_PROC: [Self; 5] =
        [Self::Processes, Self::Children, Self::Threads, Self::Fds, Self::Mounts];

    /// Returns all scopes that can be searched through /proc, except `threads`.
    ///
    /// A search of all threads is slow, and finds few namespaces.
    #[must_use]
    pub fn default_set() -> BTreeSet<Self> {
        Self::OF_PROC.into_iter().filter(|&scope| scope != Self::Threads).collect()
    }
}
