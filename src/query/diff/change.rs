//! Values that describe how two graphs, their processes and their namespaces differ.

use crate::model::{NamespaceId, Pid, keywords};

keywords! {
    /// The relation between two snapshots, which decides if they can be compared.
    pub enum Relation("relation", "relation", "relations") {
        /// Both snapshots are from the same boot of the same host.
        SameBoot = "same-boot",
        /// At least one snapshot does not say which boot it is from; the same boot is assumed.
        BootUnknown = "boot-unknown",
        /// The snapshots are from different boots of a host, so everything counts as new.
        OtherBoot = "other-boot",
        /// The snapshots are from different hosts, so everything counts as new.
        OtherHost = "other-host",
        /// The PIDs belong to different PID namespaces and cannot be compared, so everything
        /// counts as new.
        OtherProcfs = "other-procfs",
    }
}

impl Relation {
    /// Returns `true` if a process can be in both graphs.
    pub(super) fn is_comparable(self) -> bool {
        matches!(self, Self::SameBoot | Self::BootUnknown)
    }
}

/// Counts matches that could be wrong, because data that identifies a process or namespace is
/// missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WeakMatches {
    /// Namespaces matched by inode only, or by an init without a start time.
    pub namespaces: usize,
    /// Processes matched by PID and namespace, without a start time.
    pub processes: usize,
}

/// A process that differs between the graphs. The process is new if `before` is `None`, and gone if
/// `after` is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessChange {
    /// PID in the first graph.
    pub before: Option<Pid>,
    /// PID in the second graph.
    pub after: Option<Pid>,
    /// The fields that changed. Empty unless the process is in both graphs.
    pub fields: Vec<ProcessField>,
}

/// A namespace that differs between the graphs. The namespace is new if `before` is `None`, and
/// gone if `after` is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceChange {
    /// ID in the first graph.
    pub before: Option<NamespaceId>,
    /// ID in the second graph.
    pub after: Option<NamespaceId>,
    /// The fields that changed. Empty unless the namespace is in both graphs.
    pub fields: Vec<NamespaceField>,
    /// Members that only the second graph has, sorted by PID.
    pub members_came: Vec<Pid>,
    /// Members that only the first graph has, sorted by PID.
    pub members_went: Vec<Pid>,
    /// `true` if the second graph does not show the namespace although the kernel still has it. See
    /// [`Diff::hide`](super::Diff::hide).
    pub hidden: bool,
}

keywords! {
    /// A property of a process that can change.
    pub enum ProcessField("process_field", "field", "fields") {
        /// Its namespace. The kernel never changes it, so one of the snapshots does not know it.
        Namespace = "namespace",
        /// Its parent (ppid), for example because the old one has exited.
        Parent = "parent",
        /// Its name, for example because it has executed another program.
        Comm = "comm",
        /// Its real user ID.
        User = "user",
        /// Its state: running, stopped, traced or terminated. Changes between running,
        /// sleeping and waiting do not count.
        State = "state",
    }
}

keywords! {
    /// A property of a namespace that can change.
    pub enum NamespaceField("namespace_field", "field", "fields") {
        /// Its state: live, dead, nascent or unknown.
        State = "state",
        /// Its parent. The kernel never changes it, so one of the snapshots does not know it.
        Parent = "parent",
        /// Its members.
        Members = "members",
    }
}

keywords! {
    /// The change of a process or namespace between two snapshots.
    pub enum Happened("change", "change", "changes") {
        /// It is only in the second snapshot.
        Came = "came",
        /// It is only in the first snapshot.
        Went = "went",
        /// It is only in the first snapshot, but the namespace still exists in the kernel,
        /// kept by something that /proc does not show, such as a descriptor in flight. Reported
        /// only if the second snapshot is the live host, and on Linux 6.18 or later. From Linux
        /// 6.19 on, the kernel confirms only namespaces that a descriptor keeps.
        Hidden = "hidden",
        /// It is in both snapshots and differs.
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
    /// Returns whether the process is new, gone or changed.
    #[must_use]
    pub fn happened(&self) -> Happened {
        Happened::of(self.before, self.after)
    }
}

impl NamespaceChange {
    /// Returns whether the namespace is new, gone, hidden or changed.
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
        /// A snapshot is incomplete.
        Incomplete = "incomplete",
        /// The snapshots were searched in different places.
        OtherSearch = "other-search",
        /// The snapshots were filtered differently (see `selected`).
        OtherSelection = "other-selection",
        /// A snapshot does not say which boot it is from.
        BootUnknown = "boot-unknown",
        /// Some namespaces were matched by inode only, without `ns_id` or the start time of
        /// their init. Inodes are reused.
        WeakNamespaces = "weak-namespaces",
        /// Some processes were matched by PID and namespace only, without `start_time`. PIDs
        /// are reused.
        WeakProcesses = "weak-processes",
    }
}

impl DiffCaveat {
    /// The message for people.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Incomplete => {
                "a snapshot is incomplete, so some of what came or went may only have been missed"
            }
            Self::OtherSearch => {
                "the snapshots searched different places, so some of what came or went may only \
                 not have been searched for"
            }
            Self::OtherSelection => "the documents were filtered differently",
            Self::BootUnknown => {
                "a document has no boot id, so both are assumed to be of the same boot"
            }
            Self::WeakNamespaces => {
                "some namespaces were matched by inode only, since the kernel has no ID for them \
                 (Linux 6.18) or the start time of their init is unknown; inodes are reused"
            }
            Self::WeakProcesses => {
                "some processes were matched by PID and namespace only, since their start times \
                 are unknown (--search processes); PIDs are reused"
            }
        }
    }
}
