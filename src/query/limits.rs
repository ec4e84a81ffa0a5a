//! Sorts limits by their usage, and picks the limits to show.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use crate::graph::PidGraph;
use crate::model::{Limit, LimitKind, LiveFacts, Pid, Process};

/// If no PIDs are given, `pidns limits` shows only limits with at least this usage, in percent.
const CLOSE_PERCENT: u64 = 80;

/// A report on limits of the requested processes or of the whole host.
#[derive(Debug)]
pub struct LimitReport {
    /// The graph of the host.
    pub graph: PidGraph,
    /// The requested processes, or empty for the whole host.
    pub asked: BTreeSet<Pid>,
    /// The limits to show. Limits that have been reached come first, and unknown limits last.
    pub limits: Vec<Limit>,
    /// Number of known limits, including limits that are not shown.
    pub known: usize,
    /// Number of unknown limits (`full` is `None`), including limits that are not shown.
    pub unknown: usize,
    /// The kinds of the unknown limits that apply to pidns itself, possibly with duplicates.
    pub unknown_own: Vec<LimitKind>,
    /// PID of pidns itself, or `None` for a saved document.
    pub own: Option<Pid>,
    /// Facts about live processes, for use in the advice.
    pub live: LiveFacts,
}

impl LimitReport {
    /// Picks the limits of the processes in `asked`, or of the whole host if `asked` is empty.
    #[must_use]
    pub fn new(graph: PidGraph, asked: BTreeSet<Pid>, own: Option<Pid>) -> Self {
        let all = graph.snapshot().limits.iter().flatten();
        let is_meant =
            |it: &&Limit| asked.is_empty() || it.pids.iter().any(|it| asked.contains(it));
        let mut limits: Vec<Limit> = all.filter(is_meant).cloned().collect();
        let unknown = limits.iter().filter(|it| it.full.is_none());
        let unknown_own = unknown.clone().filter(|it| is_of(it, own)).map(|it| it.kind).collect();
        let unknown = unknown.count();
        // pidns can derive `InitTerminated` and `Nesting` limits even if it can read no other
        // limit. `pidns limits` must still fail then, so a limit of these kinds counts as known
        // only if it is reached.
        let is_in_hierarchy =
            |it: &Limit| matches!(it.kind, LimitKind::InitTerminated | LimitKind::Nesting);
        let is_known = |it: &Limit| it.full.is_some_and(|full| full || !is_in_hierarchy(it));
        let known = limits.iter().filter(|it| is_known(it)).count();
        // For the whole host, show only limits that have been reached or nearly reached.
        if asked.is_empty() {
            limits.retain(|it| it.percent().is_some_and(|percent| percent >= CLOSE_PERCENT));
        }
        for limit in limits.iter_mut().filter(|_| !asked.is_empty()) {
            limit.pids.retain(|pid| asked.contains(pid));
        }
        sort(&mut limits, own);
        Self { graph, asked, limits, known, unknown, unknown_own, own, live: LiveFacts::default() }
    }

    /// Returns `true` if the report is about the whole host and the limit applies to pidns itself.
    #[must_use]
    pub fn is_own(&self, limit: &Limit) -> bool {
        self.asked.is_empty() && is_of(limit, self.own)
    }

    /// Returns the number of limits that have been reached.
    #[must_use]
    pub fn full(&self) -> usize {
        self.limits.iter().filter(|it| it.full == Some(true)).count()
    }

    /// Returns the processes mentioned in the advice for limits that have been reached.
    #[must_use]
    pub fn concerned(&self) -> BTreeSet<Pid> {
        let full = self.limits.iter().filter(|it| it.full == Some(true));
        let mentioned = |it| Limit::concerned(it).chain(main_process(&self.graph, it, self.own));
        full.flat_map(mentioned).chain(self.own).collect()
    }
}

/// Returns the processes that have this PID in their own namespace, newest first. Leaves out the
/// process that has this PID in the procfs.
#[must_use]
pub fn namesakes(processes: &[Process], pid: Pid) -> Vec<&Process> {
    let is_namesake = |it: &&Process| it.pid != pid && it.nspid.last() == Some(&pid);
    let mut namesakes: Vec<_> = processes.iter().filter(is_namesake).collect();
    namesakes.sort_by_key(|it| Reverse(it.start_time));
    namesakes
}

fn is_of(limit: &Limit, pid: Option<Pid>) -> bool {
    pid.is_some_and(|pid| limit.pids.contains(&pid))
}

/// Returns the process to name in a report on a limit. It is never `own` (pidns itself).
#[must_use]
pub fn main_process(graph: &PidGraph, limit: &Limit, own: Option<Pid>) -> Option<Pid> {
    let consumer = limit.main_consumer().and_then(|it| it.pid);
    if let Some(pid) = consumer.filter(|pid| limit.pids.contains(pid) && Some(*pid) != own) {
        return Some(pid);
    }
    let process = |pid: &Pid| graph.known_process(*pid);
    // Raising the `RLIMIT_NPROC` of a parent helps most, because new children inherit it.
    let mut children: HashMap<Pid, usize> = HashMap::new();
    for parent in limit.pids.iter().filter_map(|pid| process(pid)?.ppid) {
        *children.entry(parent).or_default() += 1;
    }
    // Prefer the process with the most children, then a process that is not an orphan, then the
    // oldest process.
    let rank = |pid: &Pid| {
        let parent = process(pid).and_then(|it| process(&it.ppid?));
        let is_orphan = parent.is_some_and(Process::is_init);
        // Prefer older processes, because they can be ancestors of the others.
        let started = process(pid).and_then(|it| it.start_time).unwrap_or(u64::MAX);
        (children.get(pid).copied().unwrap_or(0), !is_orphan, Reverse((started, *pid)))
    };
    let others = limit.pids.iter().copied().filter(|&pid| Some(pid) != own);
    let first = others.max_by_key(rank)?;
    // If the limit also applies to pidns, return only a process with children, because a process
    // without children probably did not exhaust the limit. After `exec pidns`, for example, pidns
    // is the parent of the shell's children, so the only process with children can be pidns itself.
    let is_useful = children.contains_key(&first) || !is_of(limit, own);
    is_useful.then_some(first)
}

/// Sorts limits that have been reached first, and unknown limits last.
///
/// Among the limits that have been reached, those that apply to pidns itself (`own`) come first.
fn sort(limits: &mut [Limit], own: Option<Pid>) {
    limits.sort_by_key(|limit| {
        let is_full = limit.full == Some(true);
        let percent = limit.percent().filter(|_| !is_full);
        let is_foreign = is_full && !is_of(limit, own);
        // Limit kinds are in the order in which the kernel checks them.
        (!is_full, limit.full.is_none(), is_foreign, Reverse(percent), limit.kind)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Consumer, LimitScope};
    use crate::testing::{namespace, process, snapshot};

    fn pid(raw: u32) -> Pid {
        Pid::new(raw).unwrap()
    }

    /// Calls [`main_process`] for processes given as PID, parent and start time.
    fn main_of(processes: &[[u32; 3]], largest: (u32, u64), own: Option<u32>) -> Option<u32> {
        let mut all = vec![process(&[1], Some(10))];
        all.extend(processes.iter().map(|&[raw, parent, start]| Process {
            ppid: Some(pid(parent)),
            start_time: Some(start.into()),
            ..process(&[raw], Some(10))
        }));
        let graph = PidGraph::new(snapshot(vec![namespace(10, None)], all));
        let (largest, tasks) = (Some(pid(largest.0)), largest.1);
        let limit = Limit {
            used: Some(processes.len() as u64),
            largest: Some(Consumer { pid: largest, tasks, ..Consumer::default() }),
            pids: processes.iter().map(|&[raw, ..]| pid(raw)).collect(),
            ..Limit::unread(LimitKind::Nproc, LimitScope::default())
        };
        main_process(&graph, &limit, own.map(pid)).map(Pid::as_u32)
    }

    #[test]
    fn the_main_process_starts_most_of_the_others() {
        // Shell 30 started processes 5 and 6 after the PIDs wrapped around.
        let shell = [[4, 1, 1], [5, 30, 20], [6, 30, 21], [30, 20, 10]];
        assert_eq!(main_of(&shell, (30, 3), None), Some(30));
        assert_eq!(main_of(&shell, (4, 1), None), Some(30));
        assert_eq!(main_of(&[[4, 1, 1], [5, 30, 20], [30, 20, 10]], (4, 2), None), Some(4));
        // The shell (process 30) has run `exec pidns`.
        assert_eq!(main_of(&shell, (30, 3), Some(30)), None);
        // Process 30 is the oldest process, and an ancestor of the others.
        let chain = [[30, 20, 10], [6, 30, 11], [5, 6, 12]];
        assert_eq!(main_of(&chain, (7, 1), None), Some(30));
        assert_eq!(main_of(&[[4, 1, 1], [30, 20, 10]], (4, 1), None), Some(30));
        assert_eq!(main_of(&[[4, 1, 1]], (4, 1), None), Some(4));
    }
}
