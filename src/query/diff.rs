//! Finds the processes and namespaces that differ between two snapshots.
//!
//! Processes match by boot ID, PID and start time. Namespaces match by 64-bit ID. Before Linux
//! 6.18, namespaces match by inode. Because the kernel reuses inodes, the inits of the namespaces
//! must match, too.
//!
//! A match with missing data is called weak, and may be wrong.

mod change;
mod compare;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use super::coverage::Coverage;
use super::observer::leave_out_observer;
use super::select::{Selection, part};
use crate::graph::PidGraph;
use crate::model::{LiveFacts, Namespace, NamespaceId, NotFound, Pid, Process, Snapshot};
use compare::{Begin, Comparison};

pub use change::{
    DiffCaveat, Happened, Incomparable, NamespaceChange, NamespaceField, ProcessChange,
    ProcessField, Relation, WeakMatches,
};

/// The differences between two graphs.
#[derive(Debug)]
pub struct Diff {
    /// The first graph.
    pub before: PidGraph,
    /// The second graph.
    pub after: PidGraph,
    /// The part of the second graph that the filter selects, or `None` without a filter.
    pub after_part: Option<PidGraph>,
    /// The error if the filter selects nothing in either graph.
    pub nothing: Option<(NotFound, Coverage)>,
    /// `SameBoot` if both snapshots are from the same boot, or `BootUnknown` if that is unknown.
    pub relation: Relation,
    /// The namespaces that are new, gone or changed, sorted by ID.
    pub namespaces: Vec<NamespaceChange>,
    /// The processes that are new, gone or changed, sorted by PID. If two of these processes have
    /// the same PID, the older process comes first.
    pub processes: Vec<ProcessChange>,
    /// The numbers of uncertain matches between the two graphs.
    pub weak: WeakMatches,
    /// Facts about the live host, used to advise the user. Empty if the second snapshot is a saved
    /// document.
    pub live: LiveFacts,
    /// Processes, such as pidns itself, that ran only because the second snapshot was taken.
    pub attendants: BTreeSet<Pid>,
    /// Maps the IDs of namespaces in the first graph to their IDs in the second graph.
    counterparts: HashMap<NamespaceId, NamespaceId>,
    /// `true` if the first snapshot is known to contain every process that existed at that time.
    has_all_processes: bool,
    /// `true` if the first scan was able to find every namespace that the second scan can find.
    has_all_namespaces: bool,
    /// Start time and PID of the pidns process that took the first snapshot, and the end of its
    /// scan.
    ///
    /// `None` if they are unknown, or if the first snapshot may not be the older one.
    begin: Option<Begin>,
}

/// The options of a comparison.
#[derive(Clone, Debug)]
pub struct DiffScope {
    /// The processes and namespaces to compare.
    pub selection: Selection,
    /// `true` to compare kernel threads as well as other processes.
    pub kernel_threads: bool,
}

impl Diff {
    /// Compares the selected parts of two snapshots. Ignores the pidns processes that took the
    /// snapshots.
    pub fn between(
        mut before: Snapshot,
        mut after: Snapshot,
        scope: &DiffScope,
    ) -> Result<Self, Incomparable> {
        leave_out_observer(&mut before, scope.kernel_threads);
        leave_out_observer(&mut after, scope.kernel_threads);
        let (covered_before, covered_after) = (Coverage::of(&before), Coverage::of(&after));
        let (mut parts, mut nothing) = (None, None);
        if !scope.selection.is_everything() {
            let (before_part, none_before) = part(PidGraph::new(before.clone()), &scope.selection);
            let (after_part, none_after) = part(PidGraph::new(after.clone()), &scope.selection);
            nothing = none_before.and(none_after).map(|no| (no, covered_after));
            before.selected.clone_from(&before_part.snapshot().selected);
            after.selected.clone_from(&after_part.snapshot().selected);
            parts = Some((before_part, after_part));
        }
        // Filter after the comparison, so that a renamed process does not look gone.
        let mut diff = Self::new(PidGraph::new(before), PidGraph::new(after))?;
        diff.nothing = nothing;
        // `new` treated the first graph as filtered, because its `selected` is already set. But the
        // graph still contains all processes, so record the coverage without the filter.
        diff.note_coverage(covered_before);
        if let Some((before_part, after_part)) = parts {
            diff.select(&before_part, &after_part);
            diff.after_part = Some(after_part);
        }
        Ok(diff)
    }

    /// Compares all processes and namespaces of two graphs.
    pub fn new(before: PidGraph, after: PidGraph) -> Result<Self, Incomparable> {
        let Comparison {
            relation,
            namespaces,
            processes,
            weak,
            counterparts,
            begin,
            attendants,
            ..
        } = Comparison::of(&before, &after)?;
        let [_, attendants] = attendants;
        let covered = Coverage::of(before.snapshot());
        let mut diff = Self {
            before,
            after,
            after_part: None,
            nothing: None,
            relation,
            namespaces,
            processes,
            weak,
            live: LiveFacts::default(),
            attendants,
            counterparts,
            has_all_processes: false,
            has_all_namespaces: false,
            begin,
        };
        diff.note_coverage(covered);
        Ok(diff)
    }

    /// Records whether processes or namespaces may be missing from the first graph.
    fn note_coverage(&mut self, covered: Coverage) {
        let (before, after) = (self.before.snapshot(), self.after.snapshot());
        self.has_all_processes = covered.has_all_processes();
        self.has_all_namespaces =
            covered.has_all_namespaces() && after.searched.is_subset(&before.searched);
    }

    /// Returns `true` if the first snapshot may lack processes that existed at that time, for example
    /// because it was filtered.
    #[must_use]
    pub fn may_lack_processes(&self) -> bool {
        !self.has_all_processes
    }

    /// Returns `true` if a process of the second graph certainly started after the first snapshot.
    #[must_use]
    pub fn is_certainly_new(&self, process: &Process) -> bool {
        self.relation == Relation::SameBoot
            && !self.may_have_missed(process)
            && (self.has_all_processes || self.is_after_begin(process))
    }

    /// Returns `true` if a namespace of the second graph was certainly created after the first
    /// snapshot.
    #[must_use]
    pub fn is_certainly_new_namespace(&self, namespace: &Namespace) -> bool {
        let init = namespace.init.and_then(|init| self.after.process(init));
        let is_after_begin = init.is_some_and(|init| self.is_after_begin(init));
        self.relation == Relation::SameBoot
            && !init.is_some_and(|init| self.may_have_missed(init))
            && (self.has_all_namespaces || is_after_begin)
    }

    /// Returns `true` if a process started before the first scan had ended.
    fn may_have_missed(&self, process: &Process) -> bool {
        self.begin.is_some_and(|begin| begin.may_have_missed(process))
    }

    /// Returns `true` if a process started after the pidns process that took the first snapshot.
    fn is_after_begin(&self, process: &Process) -> bool {
        self.begin.is_some_and(|begin| begin.predates(process) == Some(false))
    }

    /// Keeps only the changes to processes and namespaces in `before` and `after`, the selected
    /// parts of the graphs.
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

    /// Marks each namespace in `hidden` as hidden instead of gone. These namespaces are missing
    /// from the second graph, but still exist in the kernel.
    pub fn hide(&mut self, hidden: &BTreeSet<NamespaceId>) {
        for change in &mut self.namespaces {
            change.hidden = change.before.is_some_and(|id| hidden.contains(&id));
        }
    }

    /// Returns `true` if the graphs differ.
    #[must_use]
    pub fn differs(&self) -> bool {
        !self.namespaces.is_empty() || !self.processes.is_empty()
    }

    /// Converts the ID of a namespace in the first graph to its ID in the second graph, if any.
    #[must_use]
    pub fn counterpart(&self, before: NamespaceId) -> Option<NamespaceId> {
        self.counterparts.get(&before).copied()
    }

    /// Returns the number of namespaces that are in both graphs.
    #[must_use]
    pub fn common_namespaces(&self) -> usize {
        self.counterparts.len()
    }

    /// Returns the reasons why the reported differences may be wrong or incomplete.
    #[must_use]
    pub fn caveats(&self) -> BTreeSet<DiffCaveat> {
        let (before, after) = (self.before.snapshot(), self.after.snapshot());
        [
            (!before.has_all_but_limits() || !after.has_all_but_limits(), DiffCaveat::Incomplete),
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

    /// Returns the [`caveats`](Self::caveats) that can make an old process or namespace look new.
    #[must_use]
    pub fn caveats_about_new(&self) -> BTreeSet<DiffCaveat> {
        let mut caveats = self.caveats();
        // An old process looks new only if the first graph has a gap. A gap in the second graph
        // does not matter here.
        if self.before.snapshot().has_all_but_limits() {
            caveats.remove(&DiffCaveat::Incomplete);
        }
        caveats
    }
}
