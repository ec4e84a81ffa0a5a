//! Arranges the members of a namespace in rows. Similar members share a row.

use std::collections::HashMap;
use std::hash::Hash;

use smol_str::SmolStr;

use super::relation::{Drawn, Kinship, relation};
use crate::graph::PidGraph;
use crate::model::{Pid, Process, ProcessDetails};

/// Maximum number of similar members or siblings that each have their own row.
pub const MOST_APART: usize = 3;

/// One or more members of a namespace on one row.
#[derive(Debug, PartialEq, Eq)]
pub enum MemberRow<'a> {
    /// A single process.
    One(&'a Process),
    /// More than [`MOST_APART`] processes that differ only in their PIDs.
    Alike(Vec<&'a Process>),
    /// Several kernel threads.
    KernelThreads(Vec<&'a Process>),
}

impl<'a> MemberRow<'a> {
    /// Returns the processes of the row.
    pub fn processes(&self) -> &[&'a Process] {
        match self {
            Self::One(process) => std::slice::from_ref(process),
            Self::Alike(processes) | Self::KernelThreads(processes) => processes,
        }
    }
}

/// A simplified process state, with one value for all states that need no attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// The process is running, sleeping or waiting.
    Ordinary,
    /// The process is in a frozen cgroup.
    Frozen,
    /// The process is in uninterruptible sleep (`D`), which signals do not interrupt.
    Uninterruptible,
    /// The process was stopped by a signal or a tracer (`T`, `t`).
    Stopped,
    /// The process has terminated, but has not been reaped (`Z`).
    Zombie,
    /// The leader thread of the process has terminated, but other threads have not.
    LeaderExited,
}

impl Condition {
    /// Returns the simplified state of a process.
    pub fn of(process: &Process) -> Self {
        match process.state {
            _ if process.is_frozen() => Self::Frozen,
            'D' => Self::Uninterruptible,
            'T' | 't' => Self::Stopped,
            _ if process.is_unreaped() => Self::Zombie,
            _ if process.has_exited_leader() => Self::LeaderExited,
            _ => Self::Ordinary,
        }
    }
}

/// The properties that all processes on a row have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct MemberKind<'a> {
    comm: &'a str,
    condition: Condition,
    /// ID of the process's container, if it is not the container of the namespace.
    container: Option<&'a str>,
    /// Names the parent or tracer that the row mentions, and its relation to the process.
    relation: Option<(Kinship, &'a str)>,
    /// The arguments of the process, if requested (`--details args`).
    args: Option<&'a [SmolStr]>,
}

/// A lookup of parents that caches the last result, because siblings share a parent.
pub(super) struct ParentCache<'a> {
    graph: &'a PidGraph,
    last: Option<(Pid, Option<&'a Process>)>,
}

impl<'a> ParentCache<'a> {
    pub(super) fn new(graph: &'a PidGraph) -> Self {
        Self { graph, last: None }
    }

    fn find(&mut self, pid: Pid) -> Option<&'a Process> {
        match self.last {
            Some((last, found)) if last == pid => found,
            _ => {
                let found = self.graph.known_process(pid);
                self.last = Some((pid, found));
                found
            }
        }
    }
}

impl<'a> MemberKind<'a> {
    pub(super) fn new(parents: &mut ParentCache<'a>, process: &'a Process, drawn: Drawn) -> Self {
        let relation = relation(process, drawn, |pid| parents.find(pid));
        let comm = |named: Option<&'a Process>| named.map_or("", |named| &*named.comm);
        let details: Option<&ProcessDetails> = process.details.as_deref();
        Self {
            comm: &process.comm,
            condition: Condition::of(process),
            container: process.other_container().map(|it| it.id.as_str()),
            relation: relation.map(|it| (it.kinship, comm(it.process))),
            args: details.and_then(|details| details.args.as_deref()),
        }
    }

    /// Hides the container ID, so that namespaces of different containers can share a line.
    pub(super) fn of_any_container(mut self) -> Self {
        self.container = self.container.map(|_| "");
        self
    }

    pub(super) fn is_zombie(&self) -> bool {
        self.condition == Condition::Zombie
    }

    fn is_ordinary(&self) -> bool {
        let has_entered = |(kinship, _): (Kinship, _)| kinship != Kinship::ChildOf;
        self.condition == Condition::Ordinary
            && self.container.is_none()
            && !self.relation.is_some_and(has_entered)
    }
}

/// The key of a group of similar members.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum MemberGroup<'a> {
    Kind(MemberKind<'a>),
    KernelThreads,
}

impl<'a> MemberGroup<'a> {
    /// Returns the group key of a process. Processes with equal keys can share a row.
    pub(super) fn new(process: &Process, kind: MemberKind<'a>) -> Self {
        // A zombie kernel thread belongs to a group of zombies.
        if process.kernel_thread && kind.condition != Condition::Zombie {
            Self::KernelThreads
        } else {
            Self::Kind(kind)
        }
    }
}

/// The sort key for the rows of a namespace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Init,
    Unusual,
    Ordinary,
}

impl Rank {
    pub(super) fn new(kind: &MemberKind<'_>, is_init: bool, is_apart: bool) -> Self {
        match kind.is_ordinary() && !is_apart {
            _ if is_init => Self::Init,
            true => Self::Ordinary,
            false => Self::Unusual,
        }
    }
}

/// A member of a namespace, with its rank and its group.
pub(super) struct RankedMember<'a, G> {
    pub(super) process: &'a Process,
    pub(super) rank: Rank,
    /// Group key, or `None` if the member has its own row. Members with the same key can share a
    /// row.
    pub(super) group: Option<G>,
    /// `true` if the group consists of kernel threads.
    pub(super) of_kernel_threads: bool,
}

/// The size of a group of similar members, and the row that they share.
#[derive(Default)]
struct GroupRow {
    members: usize,
    of_kernel_threads: bool,
    /// Index of the row, or `None` until the row is created.
    row: Option<usize>,
}

/// Arranges members in rows. Sorts the rows by rank, and otherwise keeps their order.
pub(super) fn rows<'a, G: Copy + Eq + Hash>(members: &[RankedMember<'a, G>]) -> Vec<MemberRow<'a>> {
    let mut groups: HashMap<G, GroupRow> = HashMap::new();
    for member in members {
        if let Some(group) = member.group {
            let group = groups.entry(group).or_default();
            group.members += 1;
            group.of_kernel_threads = member.of_kernel_threads;
        }
    }
    groups.retain(|_, group| group.members > if group.of_kernel_threads { 1 } else { MOST_APART });
    let mut rows: Vec<(Rank, MemberRow<'a>)> = Vec::new();
    for &RankedMember { process, rank, group, .. } in members {
        let Some(group) = group.and_then(|group| groups.get_mut(&group)) else {
            rows.push((rank, MemberRow::One(process)));
            continue;
        };
        match group.row.and_then(|row| rows.get_mut(row)) {
            Some((first, MemberRow::Alike(alike))) => {
                *first = rank.min(*first);
                alike.push(process);
                // The init must come first in its row, so move it to the front.
                if rank == Rank::Init {
                    alike.rotate_right(1);
                }
            }
            Some((_, MemberRow::KernelThreads(threads))) => threads.push(process),
            _ => {
                group.row = Some(rows.len());
                rows.push(if group.of_kernel_threads {
                    (Rank::Ordinary, MemberRow::KernelThreads(vec![process]))
                } else {
                    (rank, MemberRow::Alike(vec![process]))
                });
            }
        }
    }
    rows.sort_by_key(|(rank, _)| *rank);
    rows.into_iter().map(|(_, row)| row).collect()
}
