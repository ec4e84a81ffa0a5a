//! Nests the members of a namespace under their parents, as pstree(1) does.

use std::collections::HashMap;

use super::member::{
    MemberGroup, MemberKind, MemberRow, ParentCache, Rank, RankedMember, rows as fold_rows,
};
use super::relation::Drawn;
use crate::graph::PidGraph;
use crate::model::{NamespaceId, Pid, Process};

/// A row in a process tree.
#[derive(Debug)]
pub struct TreeRow<'a> {
    /// The process, or the group of similar processes, that this row shows.
    pub row: MemberRow<'a>,
    /// Depth of the row in the tree, 0 at the top.
    pub level: usize,
    /// Number of siblings that follow this row.
    pub siblings_after: usize,
    /// `true` if the row has child rows.
    pub has_children: bool,
    /// `true` if the row is below a row that stands for several similar processes.
    pub of_each: bool,
    /// Tells whether the row's first process is drawn in a list or in a process tree.
    pub drawn: Drawn,
}

impl<'a> TreeRow<'a> {
    /// Creates a flat list with all rows at level 0.
    pub fn list(rows: Vec<MemberRow<'a>>) -> Vec<Self> {
        let count = rows.len();
        let place = |(index, row)| Self {
            row,
            level: 0,
            siblings_after: count - index - 1,
            has_children: false,
            of_each: false,
            drawn: Drawn::Listed,
        };
        rows.into_iter().enumerate().map(place).collect()
    }
}

/// This key stands for a process and its descendants. Similar subtrees have equal keys.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Subtree<'a> {
    /// The kind of a process, and the sorted numbers that identify its children's subtrees.
    Process(MemberKind<'a>, Vec<usize>),
    /// A kernel thread whose descendants are all kernel threads.
    KernelThreads,
}

/// Assigns the same number to equal subtrees.
#[derive(Default)]
pub(super) struct SubtreeNumbers<'a>(HashMap<Subtree<'a>, usize>);

impl<'a> SubtreeNumbers<'a> {
    fn number(&mut self, subtree: Subtree<'a>) -> usize {
        let next = self.0.len();
        *self.0.entry(subtree).or_insert(next)
    }
}

/// The number that [`SubtreeNumbers`] has assigned to a subtree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Numbered {
    number: usize,
    of_kernel_threads: bool,
}

/// The process trees of a namespace's members. An index into `members` identifies each process.
pub(super) struct Forest<'a> {
    graph: &'a PidGraph,
    /// The members, sorted by PID.
    members: Vec<&'a Process>,
    /// For each member, the index of its parent in the tree, or `None` for a root.
    above: Vec<Option<usize>>,
    /// For each member, the indexes of its children in the tree, sorted by PID.
    children: Vec<Vec<usize>>,
    /// Indexes of the roots of the trees, sorted by PID.
    tops: Vec<usize>,
}

impl<'a> Forest<'a> {
    /// Arranges `members`, which must be sorted by PID, as trees.
    pub(super) fn new(graph: &'a PidGraph, members: Vec<&'a Process>) -> Self {
        let mut ancestors = Ancestors { graph, members: &members, removed: HashMap::new() };
        // A member whose parent was filtered out is below its nearest remaining ancestor.
        let mut above: Vec<_> = members.iter().map(|member| ancestors.nearest(member)).collect();
        cut_cycles(&mut above);
        let mut children = vec![Vec::new(); members.len()];
        let mut tops = Vec::new();
        for (index, above) in above.iter().enumerate() {
            above.and_then(|above| children.get_mut(above)).unwrap_or(&mut tops).push(index);
        }
        Self { graph, members, above, children, tops }
    }

    /// Assigns a number to the subtree of each member, or `None` if the subtree must not be folded.
    ///
    /// Similar subtrees get the same number.
    pub(super) fn subtrees(
        &self,
        numbers: &mut SubtreeNumbers<'a>,
        may_fold: impl Fn(&Process) -> bool,
        kind_of: impl Fn(MemberKind<'a>) -> MemberKind<'a>,
    ) -> Vec<Option<Numbered>> {
        let mut subtrees = vec![None; self.members.len()];
        let mut parents = ParentCache::new(self.graph);
        // Number the children first, because the [`Subtree`] of a parent contains their numbers.
        for &index in self.descendants(&self.tops).iter().rev() {
            let process = self.members[index];
            let children = self.children[index].iter().map(|&child| subtrees[child]);
            let Some(children) = children.collect::<Option<Vec<Numbered>>>() else { continue };
            if !may_fold(process) {
                continue;
            }
            let kind = kind_of(MemberKind::new(&mut parents, process, self.drawn(index)));
            let is_kernel_thread = MemberGroup::new(process, kind) == MemberGroup::KernelThreads;
            let of_kernel_threads =
                is_kernel_thread && children.iter().all(|child| child.of_kernel_threads);
            let subtree = if of_kernel_threads {
                Subtree::KernelThreads
            } else {
                let mut children: Vec<usize> = children.iter().map(|child| child.number).collect();
                children.sort_unstable();
                Subtree::Process(kind, children)
            };
            let number = numbers.number(subtree);
            subtrees[index] = Some(Numbered { number, of_kernel_threads });
        }
        subtrees
    }

    /// Returns the number of each tree's root, taken from `subtrees`. Returns `None` if one of the
    /// trees must not be folded.
    pub(super) fn tops(&self, subtrees: &[Option<Numbered>]) -> Option<Vec<usize>> {
        self.tops.iter().map(|&top| subtrees[top].map(|it| it.number)).collect()
    }

    /// Returns the rows of the trees, from top to bottom.
    pub(super) fn rows(
        &self,
        subtrees: &[Option<Numbered>],
        rank: impl Fn(&Process, &MemberKind<'a>) -> Rank,
    ) -> Vec<TreeRow<'a>> {
        let mut parents = ParentCache::new(self.graph);
        let mut siblings = |indices: &[usize], level: usize, of_each: bool| {
            let member = |&index: &usize| {
                let process = self.members[index];
                let kind = MemberKind::new(&mut parents, process, self.drawn(index));
                RankedMember {
                    process,
                    rank: rank(process, &kind),
                    group: subtrees[index],
                    of_kernel_threads: subtrees[index].is_some_and(|it| it.of_kernel_threads),
                }
            };
            // A kernel thread whose descendants are all kernel threads shares one row with them, so
            // treat its descendants as its siblings.
            let (threads, others): (Vec<usize>, Vec<usize>) = indices
                .iter()
                .partition(|&&it| subtrees[it].is_some_and(|it| it.of_kernel_threads));
            let mut all = self.descendants(&threads);
            all.extend(others);
            all.sort_unstable();
            let rows = fold_rows(&all.iter().map(member).collect::<Vec<_>>());
            let count = rows.len();
            let place = |(index, row): (usize, MemberRow<'a>)| {
                let first = self.first(&row);
                TreeRow {
                    has_children: !matches!(row, MemberRow::KernelThreads(_))
                        && first.is_some_and(|first| !self.children[first].is_empty()),
                    drawn: first.map_or(Drawn::Below(None), |first| self.drawn(first)),
                    row,
                    level,
                    siblings_after: count - index - 1,
                    of_each,
                }
            };
            let rows: Vec<_> = rows.into_iter().enumerate().map(place).collect();
            rows.into_iter().rev()
        };
        let mut rows = Vec::new();
        // Recursion could overflow the stack on a very deep tree in a saved document.
        let mut todo: Vec<TreeRow<'a>> = siblings(&self.tops, 0, false).collect();
        while let Some(row) = todo.pop() {
            // Show only the first subtree of a folded row, since the others are equal.
            if let Some(first) = self.first(&row.row).filter(|_| row.has_children) {
                let of_each = row.of_each || matches!(row.row, MemberRow::Alike(_));
                todo.extend(siblings(&self.children[first], row.level + 1, of_each));
            }
            rows.push(row);
        }
        rows
    }

    fn first(&self, row: &MemberRow<'a>) -> Option<usize> {
        index_of(&self.members, row.processes().first()?.pid)
    }

    fn drawn(&self, index: usize) -> Drawn {
        Drawn::Below(self.above[index].map(|above| self.members[above].pid))
    }

    /// Returns these members and their descendants, parents before their children.
    fn descendants(&self, from: &[usize]) -> Vec<usize> {
        let mut todo = from.to_vec();
        let mut all = Vec::new();
        while let Some(index) = todo.pop() {
            all.push(index);
            todo.extend(&self.children[index]);
        }
        all
    }
}

fn index_of(members: &[&Process], pid: Pid) -> Option<usize> {
    members.binary_search_by_key(&pid, |member| member.pid).ok()
}

/// Finds a process's nearest ancestor in `members`.
struct Ancestors<'a, 'm> {
    graph: &'a PidGraph,
    members: &'m [&'a Process],
    /// Maps a process outside `members` to the index of the nearest ancestor in `members`.
    removed: HashMap<Pid, Option<usize>>,
}

impl Ancestors<'_, '_> {
    fn nearest(&mut self, process: &Process) -> Option<usize> {
        let mut passed = Vec::new();
        let mut next = process.ppid;
        let found = loop {
            let Some(pid) = next else { break None };
            if let Some(member) = index_of(self.members, pid) {
                break Some(member);
            }
            if let Some(&known) = self.removed.get(&pid) {
                break known;
            }
            // Mark the process as visited, so that a parent cycle ends the search.
            self.removed.insert(pid, None);
            passed.push(pid);
            // The search ends at a process of another namespace.
            next = self.parent_within(pid, process.namespace);
        };
        for pid in passed {
            self.removed.insert(pid, found);
        }
        found
    }

    /// Returns the parent of the process `pid`, unless the process is outside of `namespace`.
    fn parent_within(&self, pid: Pid, namespace: Option<NamespaceId>) -> Option<Pid> {
        self.graph.known_process(pid).filter(|it| it.namespace == namespace)?.ppid
    }
}

/// Breaks the parent cycles that a saved document can contain.
fn cut_cycles(above: &mut [Option<usize>]) {
    // For each process, the number of the walk that visited it, or 0 if unvisited.
    let mut visited = vec![0; above.len()];
    for start in 0..above.len() {
        let walk = start + 1;
        let mut at = start;
        while visited[at] == 0 {
            visited[at] = walk;
            match above[at] {
                Some(next) if visited[next] == walk => above[at] = None,
                Some(next) => at = next,
                None => break,
            }
        }
    }
}
