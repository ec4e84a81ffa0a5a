//! From two graphs to what differs between them.
//!
//! A process is the same in both if its boot, PID and start time are: PIDs are
//! given again, start times with them are not. A namespace is the same if the
//! kernel's number for it is or, before Linux 6.18, if its inode and its init
//! are: inodes are given again, too. Where a graph does not have what tells
//! this exactly, less has to do, and is counted.

mod compare;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::graph::PidGraph;
use crate::model::{NamespaceId, Pid, keywords};
use compare::Comparison;

/// What differs between two graphs.
#[derive(Debug)]
pub struct Diff {
    /// The one.
    pub before: PidGraph,
    /// The other.
    pub after: PidGraph,
    /// How they belong together.
    pub relation: Relation,
    /// The namespaces that came, went or changed, by ID.
    pub namespaces: Vec<NamespaceChange>,
    /// The processes that came, went or changed, by PID; of two with one PID the
    /// one that went comes first.
    pub processes: Vec<ProcessChange>,
    /// How many were taken for the same, or for another, by less than what
    /// tells that exactly.
    pub weak: Weak,
    counterparts: HashMap<NamespaceId, NamespaceId>,
}

keywords! {
    /// Whether two snapshots can be compared.
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
    /// Whether something may be in both.
    fn is_comparable(self) -> bool {
        matches!(self, Self::SameBoot | Self::BootUnknown)
    }
}

/// How many were compared by less than what tells them apart exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weak {
    /// Namespaces: by their inode alone, or an init without a start time.
    pub namespaces: usize,
    /// Processes: by their PIDs and namespace, without a start time.
    pub processes: usize,
}

/// A process that is not the same in both graphs. With no `before` it came,
/// with no `after` it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessChange {
    /// Its PID before.
    pub before: Option<Pid>,
    /// Its PID after.
    pub after: Option<Pid>,
    /// What changed of one that is in both.
    pub fields: Vec<ProcessField>,
}

/// A namespace that is not the same in both graphs. With no `before` it came,
/// with no `after` it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceChange {
    /// Its ID before.
    pub before: Option<NamespaceId>,
    /// Its ID after.
    pub after: Option<NamespaceId>,
    /// What changed of one that is in both.
    pub fields: Vec<NamespaceField>,
    /// Its members that were not before, by PID.
    pub members_came: Vec<Pid>,
    /// Its members that are no more, by PID.
    pub members_went: Vec<Pid>,
    /// Whether one that went is still in the kernel, see [`Diff::hide`].
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
        /// Whether it runs, is stopped, is traced or has terminated. Changes between running,
        /// sleeping and waiting do not count.
        State = "state",
    }
}

keywords! {
    /// A property of a namespace that can change.
    pub enum NamespaceField("namespace_field", "field", "fields") {
        /// Whether it is live, dead, nascent or unknown.
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
    /// What happened to it.
    #[must_use]
    pub fn happened(&self) -> Happened {
        Happened::of(self.before, self.after)
    }
}

impl NamespaceChange {
    /// What happened to it.
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
    /// What it is, for people.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Incomplete => "a view is incomplete, so what seems to come or go may be unseen",
            Self::OtherSearch => {
                "the views were searched in different places, so what seems to come or go may \
                 not have been looked for"
            }
            Self::OtherSelection => "the documents are different parts of their views",
            Self::BootUnknown => {
                "a document does not say which boot it is of; they are taken to be of one"
            }
            Self::WeakNamespaces => {
                "namespaces are told apart by inode alone where the kernel has no number for \
                 them (Linux 6.18) and no start time of their init is known; inodes are reused"
            }
            Self::WeakProcesses => {
                "processes are told apart by PID and namespace alone where no start time is \
                 known (--search processes); PIDs are reused"
            }
        }
    }
}

impl Diff {
    /// Compares two graphs.
    #[must_use]
    pub fn new(before: PidGraph, after: PidGraph) -> Self {
        let Comparison { relation, namespaces, processes, weak, counterparts, .. } =
            Comparison::of(&before, &after);
        Self { before, after, relation, namespaces, processes, weak, counterparts }
    }

    /// Leaves the changes of what is in one of these parts of the two graphs: what
    /// a part lacks is not for that gone.
    pub fn select(&mut self, before: &PidGraph, after: &PidGraph) {
        let process = |graph: &PidGraph, pid: Option<Pid>| {
            pid.is_some_and(|pid| graph.process(pid).is_some())
        };
        let namespace = |graph: &PidGraph, id: Option<NamespaceId>| {
            id.is_some_and(|id| graph.namespace(id).is_some())
        };
        self.processes.retain(|it| process(before, it.before) || process(after, it.after));
        let shown: HashSet<Pid> =
            self.processes.iter().flat_map(|it| [it.before, it.after]).flatten().collect();
        self.namespaces.retain_mut(|it| {
            it.members_came.retain(|pid| shown.contains(pid));
            it.members_went.retain(|pid| shown.contains(pid));
            if it.members_came.is_empty() && it.members_went.is_empty() {
                it.fields.retain(|field| *field != NamespaceField::Members);
            }
            let is_left = it.happened() != Happened::Changed || !it.fields.is_empty();
            is_left && (namespace(before, it.before) || namespace(after, it.after))
        });
    }

    /// Says of namespaces of the first graph that they are still in the kernel,
    /// though the second does not show them.
    pub fn hide(&mut self, hidden: &BTreeSet<NamespaceId>) {
        for change in &mut self.namespaces {
            change.hidden = change.before.is_some_and(|id| hidden.contains(&id));
        }
    }

    /// Whether there is a difference.
    #[must_use]
    pub fn differs(&self) -> bool {
        !self.relation.is_comparable() || !self.namespaces.is_empty() || !self.processes.is_empty()
    }

    /// What a namespace of the first graph is in the second.
    #[must_use]
    pub fn counterpart(&self, before: NamespaceId) -> Option<NamespaceId> {
        self.counterparts.get(&before).copied()
    }

    /// Why the differences may not be all, or not be real.
    #[must_use]
    pub fn caveats(&self) -> BTreeSet<DiffCaveat> {
        let (before, after) = (self.before.snapshot(), self.after.snapshot());
        [
            (!before.complete || !after.complete, DiffCaveat::Incomplete),
            (before.searched != after.searched, DiffCaveat::OtherSearch),
            (before.selected != after.selected, DiffCaveat::OtherSelection),
            (self.relation == Relation::BootUnknown, DiffCaveat::BootUnknown),
            (self.weak.namespaces > 0, DiffCaveat::WeakNamespaces),
            (self.weak.processes > 0, DiffCaveat::WeakProcesses),
        ]
        .into_iter()
        .filter_map(|(holds, caveat)| holds.then_some(caveat))
        .collect()
    }
}
