//! Compares two snapshots, and finds the processes and namespaces that are new, gone or changed.
//!
//! Entries in the two snapshots are the same process if their boot, PID and start time are equal.
//! Entries are the same namespace if their 64-bit namespace IDs are equal. Kernels before Linux
//! 6.18 have no such ID, so pidns compares the inode and the init of the namespaces: the inode is
//! not enough, because the kernel reuses inodes. If some of this data is missing, pidns compares
//! the remaining data, and the match counts as weak.

mod change;
mod compare;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use super::coverage::Coverage;
use super::observer::leave_out_observer;
use super::select::{Selection, select};
use crate::graph::PidGraph;
use crate::model::{LiveFacts, NamespaceId, NotFound, Pid, Snapshot};
use compare::Comparison;

pub use change::{
    DiffCaveat, Happened, NamespaceChange, NamespaceField, ProcessChange, ProcessField, Relation,
    WeakMatches,
};

/// The differences between two graphs.
#[derive(Debug)]
pub struct Diff {
    /// The first graph.
    pub before: PidGraph,
    /// The second graph.
    pub after: PidGraph,
    /// The part of the second graph that the filter selects; `None` without a filter.
    pub after_part: Option<PidGraph>,
    /// Processes of the second graph that exist only to run pidns, such as the shell that started
    /// pidns.
    pub attendants: BTreeSet<Pid>,
    /// The relation between the two snapshots: same boot, other boot, other host and so on.
    pub relation: Relation,
    /// The namespaces that are new, gone or changed, sorted by ID.
    pub namespaces: Vec<NamespaceChange>,
    /// The processes that are new, gone or changed, sorted by PID. If a PID was reused, the old
    /// process comes before the new process.
    pub processes: Vec<ProcessChange>,
    /// The number of matches that may be wrong.
    pub weak: WeakMatches,
    /// Facts about the live host that advice needs. Empty if the second snapshot is a saved
    /// document.
    pub live: LiveFacts,
    /// For each namespace that is in both graphs, maps its ID in the first graph to its ID in the
    /// second graph.
    counterparts: HashMap<NamespaceId, NamespaceId>,
}

/// The options of a comparison.
#[derive(Clone, Debug)]
pub struct DiffScope {
    /// The processes and namespaces to compare.
    pub selection: Selection,
    /// Also compare kernel threads.
    pub kernel_threads: bool,
    /// The pidns process that took the second snapshot, if known.
    pub observer: Option<Pid>,
}

impl Diff {
    /// Compares the selected parts of two snapshots. Leaves out the pidns processes that took the
    /// snapshots.
    ///
    /// # Errors
    /// Returns an error if the selection matches nothing in either snapshot.
    pub fn between(
        mut before: Snapshot,
        mut after: Snapshot,
        scope: &DiffScope,
    ) -> Result<Self, (NotFound, Coverage)> {
        leave_out_observer(&mut before, scope.kernel_threads, None);
        let attendants = leave_out_observer(&mut after, scope.kernel_threads, scope.observer);
        let mut parts = None;
        if !scope.selection.is_everything() {
            let (before_part, none_before) = part(&before, &scope.selection);
            let (after_part, none_after) = part(&after, &scope.selection);
            if let (Some(_), Some(no)) = (none_before, none_after) {
                return Err((no, Coverage::of(&after)));
            }
            before.selected.clone_from(&before_part.snapshot().selected);
            after.selected.clone_from(&after_part.snapshot().selected);
            parts = Some((before_part, after_part));
        }
        // Compare the whole snapshots, and select the changes afterwards. Otherwise, a process that
        // no longer matches the filter, for example because its name changed, would count as gone.
        let mut diff =
            Self { attendants, ..Self::new(PidGraph::new(before), PidGraph::new(after)) };
        if let Some((before_part, after_part)) = parts {
            diff.select(&before_part, &after_part);
            diff.after_part = Some(after_part);
        }
        Ok(diff)
    }

    /// Compares two whole graphs.
    #[must_use]
    pub fn new(before: PidGraph, after: PidGraph) -> Self {
        let Comparison { relation, namespaces, processes, weak, counterparts, .. } =
            Comparison::of(&before, &after);
        Self {
            before,
            after,
            after_part: None,
            attendants: BTreeSet::new(),
            relation,
            namespaces,
            processes,
            weak,
            live: LiveFacts::default(),
            counterparts,
        }
    }

    /// Keeps only the changes to processes and namespaces in `before` or `after`, the selected
    /// parts of the two graphs.
    fn select(&mut self, before: &PidGraph, after: &PidGraph) {
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

    /// Marks namespaces as hidden: they are missing from the second graph, although they still
    /// exist in the kernel. `hidden` contains the IDs of these namespaces in the first graph.
    pub fn hide(&mut self, hidden: &BTreeSet<NamespaceId>) {
        for change in &mut self.namespaces {
            change.hidden = change.before.is_some_and(|id| hidden.contains(&id));
        }
    }

    /// Returns `true` if the graphs differ, or cannot be compared.
    #[must_use]
    pub fn differs(&self) -> bool {
        !self.relation.is_comparable() || !self.namespaces.is_empty() || !self.processes.is_empty()
    }

    /// Returns the ID that a namespace of the first graph has in the second graph, or `None` if the
    /// namespace is not in the second graph.
    #[must_use]
    pub fn counterpart(&self, before: NamespaceId) -> Option<NamespaceId> {
        self.counterparts.get(&before).copied()
    }

    /// Returns the reasons why reported differences may be wrong, or real differences may be
    /// missing.
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

/// Returns the selected part of a snapshot. If the selection matches nothing, returns an empty
/// graph and the error.
fn part(snapshot: &Snapshot, selection: &Selection) -> (PidGraph, Option<NotFound>) {
    match select(PidGraph::new(snapshot.clone()), selection) {
        Ok(graph) => (graph, None),
        Err(no) => {
            let mut empty = snapshot.without_lists();
            if let NotFound::Selection(criteria) = &no {
                empty.selected.extend(criteria.iter().cloned());
            }
            (PidGraph::new(empty), Some(no))
        }
    }
}
