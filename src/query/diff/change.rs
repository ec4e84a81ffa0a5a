//! Types that describe the result of comparing two snapshots.

use crate::model::{NamespaceId, Pid, keywords};

keywords! {
    /// The relation between two snapshots that can be compared.
    pub enum Relation("relation", "relation", "relations") {
        /// Both snapshots are from the same boot of the same host.
        SameBoot = "same-boot",
        /// At least one of the snapshots has no boot ID; pidns assumes that both snapshots are from
        /// the same boot.
        BootUnknown = "boot-unknown",
    }
}

/// The reason why two snapshots cannot be compared: equal PIDs may belong to different processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incomparable {
    /// The snapshots are from different boots of a host.
    OtherBoot,
    /// The snapshots are from different hosts.
    OtherHost,
    /// The PIDs in the two snapshots belong to different PID namespaces.
    OtherProcfs,
}

impl Incomparable {
    /// Returns a phrase that explains why the snapshots cannot be compared.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::OtherBoot => "they are from different boots",
            Self::OtherHost => "they are from different hosts",
            Self::OtherProcfs => "their PIDs belong to different PID namespaces",
        }
    }
}

/// The numbers of uncertain matches between two graphs. Identifying data, such as the start time,
/// is missing for these matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WeakMatches {
    /// Number of namespaces that were matched by inode only, or without the start time of the init.
    pub namespaces: usize,
    /// Number of processes that were matched by PID and namespace only, without the start time.
    pub processes: usize,
}

/// A process that differs between two graphs. If `before` is `None`, the process is new. If `after`
/// is `None`, the process is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessChange {
    /// PID of the process in the first graph.
    pub before: Option<Pid>,
    /// PID of the process in the second graph.
    pub after: Option<Pid>,
    /// The fields that changed. Empty unless the process is in both graphs.
    pub fields: Vec<ProcessField>,
}

/// A namespace that differs between two graphs. If `before` is `None`, the namespace is new. If
/// `after` is `None`, the namespace is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceChange {
    /// ID of the namespace in the first graph.
    pub before: Option<NamespaceId>,
    /// ID of the namespace in the second graph.
    pub after: Option<NamespaceId>,
    /// The fields that changed. Empty unless the namespace is in both graphs.
    pub fields: Vec<NamespaceField>,
    /// Processes that are members of the namespace only in the second graph, sorted by PID.
    pub members_came: Vec<Pid>,
    /// Processes that are members of the namespace only in the first graph, sorted by PID.
    pub members_went: Vec<Pid>,
    /// `true` if the namespace is missing from the second graph, but still exists in the kernel.
    /// See [`Diff::hide`](super::Diff::hide).
    pub hidden: bool,
}

keywords! {
    /// A property of a process that can change.
    pub enum ProcessField("process_field", "field", "fields") {
        /// The process's namespace. The kernel never moves a process to another namespace, so this
        /// field changes only if the namespace is unknown in one of the snapshots.
        Namespace = "namespace",
        /// The process's parent (ppid). It changes, for example, when the parent exits.
        Parent = "parent",
        /// The process's command name. It changes, for example, when the process executes another
        /// program.
        Comm = "comm",
        /// The process's real user ID.
        User = "user",
        /// The process's state: running, stopped, traced or terminated. Sleeping and waiting count
        /// as running.
        State = "state",
    }
}

keywords! {
    /// A property of a namespace that can change.
    pub enum NamespaceField("namespace_field", "field", "fields") {
        /// The namespace's state: live, dead, nascent or unknown.
        State = "state",
        /// The namespace's parent. The kernel never changes the parent of a namespace, so this
        /// field changes only if the parent is unknown in one of the snapshots.
        Parent = "parent",
        /// The namespace's members.
        Members = "members",
    }
}

keywords! {
    /// How a process or namespace differs between two snapshots.
    pub enum Happened("change", "change", "changes") {
        /// The process or namespace is only in the second snapshot.
        Came = "came",
        /// The process or namespace is only in the first snapshot.
        Went = "went",
        /// The namespace is missing from the second snapshot, but still exists in the kernel. The
        /// namespace is kept alive by a holder that /proc does not show, such as a descriptor in an
        /// unread socket message. Detected only if the second snapshot is of the live host, on
        /// Linux 6.18 or later. Since Linux 6.19, detected only if a descriptor keeps the namespace
        /// alive.
        Hidden = "hidden",
        /// The process or namespace is in both snapshots, but some of its properties differ.
        Changed = "changed",
    }
}

impl Happened {
    fn of<T>(before: Option<T>, after: Option<T>) -> Self {
        match (before, after) {
            (None, _) => Self::Came,
            (Some(_), None) => Self::Went,
            (Some(_), Some(_)) => Self::Changed,
        }
    }
}

impl ProcessChange {
    /// Returns the kind of change: the process is new, gone or changed.
    #[must_use]
    pub fn happened(&self) -> Happened {
        Happened::of(self.before, self.after)
    }
}

impl NamespaceChange {
    /// Returns the kind of change: the namespace is new, gone, hidden or changed.
    #[must_use]
    pub fn happened(&self) -> Happened {
        match Happened::of(self.before, self.after) {
            Happened::Went if self.hidden => Happened::Hidden,
            happened => happened,
        }
    }
}

keywords! {
    /// A reason why the list of changes may be wrong or incomplete.
    pub enum DiffCaveat("caveat_code", "caveat", "caveats") {
        /// At least one snapshot is incomplete.
        Incomplete = "incomplete",
        /// The two scans searched different places.
        OtherSearch = "other-search",
        /// The snapshots were filtered differently (see `selected`).
        OtherSelection = "other-selection",
        /// At least one snapshot does not contain a boot ID.
        BootUnknown = "boot-unknown",
        /// Some namespaces were matched only by inode, because `ns_id` and the start time of the
        /// init are unknown. Such a match may be wrong: the kernel reuses inodes.
        WeakNamespaces = "weak-namespaces",
        /// Some processes were matched only by PID and namespace, because `start_time` is unknown.
        /// Such a match may be wrong: the kernel reuses PIDs.
        WeakProcesses = "weak-processes",
    }
}

impl DiffCaveat {
    /// Returns a phrase that explains why the list of changes may be wrong or incomplete.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Incomplete => {
                "a snapshot is incomplete, so something reported as new or gone may only be missing \
                 from one of the snapshots"
            }
            Self::OtherSearch => {
                "the snapshots searched different places, so something reported as new or gone may \
                 only have been searched for once"
            }
            Self::OtherSelection => {
                "the snapshots were filtered differently, so some of what came or went may only \
                 have been filtered out"
            }
            Self::BootUnknown => {
                "a document has no boot id, so both are assumed to be from the same boot"
            }
            Self::WeakNamespaces => {
                "some namespaces were matched by inode only, because their ns_id (Linux 6.18) and \
                 the start time of their init are unknown; the kernel reuses inodes"
            }
            Self::WeakProcesses => {
                "some processes were matched by PID and namespace only, because their start \
                 times are unknown (--search processes); the kernel reuses PIDs"
            }
        }
    }
}
