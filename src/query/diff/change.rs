//! Types that describe the result of comparing two snapshots.

use crate::model::{NamespaceId, Pid, keywords};

keywords! {
    /// The relation between two snapshots that can be compared.
    pub enum Relation("relation", "relation", "relations") {
        /// Both snapshots are from the same boot of the same host.
        SameBoot = "same-boot",
        /// A boot ID is missing, so pidns assumes that both snapshots are from the same boot.
        BootUnknown = "boot-unknown",
    }
}

/// A reason why two snapshots cannot be compared.
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

/// Counts the uncertain matches between two graphs, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WeakMatches {
    /// Number of namespaces that were matched without comparing the start times of their inits.
    pub namespaces: usize,
    /// Number of processes matched by PID and namespace only.
    pub processes: usize,
}

/// A process that differs between two graphs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessChange {
    /// PID in the first graph, or `None` for a new process.
    pub before: Option<Pid>,
    /// PID in the second graph, or `None` for a process that is gone.
    pub after: Option<Pid>,
    /// The changed fields of a process that is in both graphs.
    pub fields: Vec<ProcessField>,
}

/// A namespace that differs between two graphs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceChange {
    /// ID in the first graph, or `None` for a new namespace.
    pub before: Option<NamespaceId>,
    /// ID in the second graph, or `None` for a namespace that is gone or hidden.
    pub after: Option<NamespaceId>,
    /// The changed fields of a namespace that is in both graphs.
    pub fields: Vec<NamespaceField>,
    /// PIDs of the namespace's new members, in ascending order.
    pub members_came: Vec<Pid>,
    /// PIDs of the namespace's former members, in ascending order.
    pub members_went: Vec<Pid>,
    /// `true` if the kernel still has the namespace, although the second graph lacks it.
    pub hidden: bool,
}

keywords! {
    /// A property of a process that can change.
    pub enum ProcessField("process_field", "field", "fields") {
        /// The process's namespace. It can only become known or unknown, because the kernel never
        /// moves a process to another namespace.
        Namespace = "namespace",
        /// The process's parent (ppid), which changes when the parent exits.
        Parent = "parent",
        /// The process's command name, which changes when the process executes another program.
        Comm = "comm",
        /// The process's real user ID.
        User = "user",
        /// The process's state: running, stopped, traced or terminated. A sleeping or waiting
        /// process counts as running.
        State = "state",
    }
}

keywords! {
    /// A property of a namespace that can change.
    pub enum NamespaceField("namespace_field", "field", "fields") {
        /// The namespace's state (live, dead, nascent or unknown).
        State = "state",
        /// The namespace's parent. It can only become known or unknown, because the kernel never
        /// changes the parent of a namespace.
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
        /// The namespace is missing from the second snapshot, but the kernel still has it. The
        /// namespace has a holder that /proc does not show, such as a descriptor in an unread
        /// socket message. pidns can detect hidden namespaces only if the second snapshot is of the
        /// live host. On Linux 6.18, pidns can detect all of them. On Linux 6.19 and later, pidns
        /// can detect only those that a descriptor keeps alive. On older kernels, pidns cannot
        /// detect any.
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
    /// Returns the kind of change (new, gone or changed).
    #[must_use]
    pub fn happened(&self) -> Happened {
        Happened::of(self.before, self.after)
    }
}

impl NamespaceChange {
    /// Returns the kind of change (new, gone, hidden or changed).
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
        /// Some namespaces were matched by inode only, since `ns_id` and the start time of the init
        /// are unknown. The kernel reuses inodes, so the match can be wrong.
        WeakNamespaces = "weak-namespaces",
        /// Some processes were matched by PID and namespace only, since `start_time` is unknown.
        /// The kernel reuses PIDs, so the match can be wrong.
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
