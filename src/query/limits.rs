//! Sorts limits by their usage, and picks the limits to show.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use crate::graph::PidGraph;
use crate::model::{Limit, LimitKind, LiveFacts, Pid, Process};

/// Minimum usage, in percent, of the limits that `pidns limits` shows without PIDs.
const CLOSE_PERCENT: u64 = 80;

/// The limits of the requested processes. If no processes were requested, the limits of the host
/// that are reached or nearly reached.
#[derive(Debug)]
pub struct LimitReport {
    /// The graph of the host.
    pub graph: PidGraph,
    /// The requested processes. Empty if the limits of the whole host were requested.
    pub asked: BTreeSet<Pid>,
    /// The limits to show: reached limits, limits not reached, unknown limits. Reached limits of
    /// pidns itself come first.
    pub limits: Vec<Limit>,
    /// Number of known limits, including limits that are not shown. A limit of the kind
    /// `InitTerminated` or `Nesting` counts only if it is reached, because pidns usually does not
    /// read it.
    pub known: usize,
    /// Number of unknown limits (`full` is `None`), including limits that are not shown.
    pub unknown: usize,
    /// The kinds of the unknown limits that apply to pidns itself. A kind can occur more than once.
    pub unknown_own: Vec<LimitKind>,
    /// PID of pidns itself; `None` for a saved document.
    pub own: Option<Pid>,
    /// Facts about live processes, for use in the advice.
    pub live: LiveFacts,
}

impl LimitReport {
    /// Picks the limits that apply to the processes in `asked`. If `asked` is empty, picks the
    /// limits of the host that are reached or nearly reached. `own` is the PID of pidns.
    #[must_use]
    pub fn new(graph: PidGraph, asked: BTreeSet<Pid>, own: Option<Pid>) -> Self {
        let all = graph.snapshot().limits.iter().flatten();
        let is_meant =
            |it: &&Limit| asked.is_empty() || it.pids.iter().any(|it| asked.contains(it));
        let mut limits: Vec<Limit> = all.filter(is_meant).cloned().collect();
        let unknown = limits.iter().filter(|it| it.full.is_none());
        let unknown_own = unknown.clone().filter(|it| is_of(it, own)).map(|it| it.kind).collect();
        let unknown = unknown.count();
        let is_in_hierarchy =
            |it: &Limit| matches!(it.kind, LimitKind::InitTerminated | LimitKind::Nesting);
        let is_known = |it: &Limit| it.full.is_some_and(|full| full || !is_in_hierarchy(it));
        let known = limits.iter().filter(|it| is_known(it)).count();
        if asked.is_empty() {
            limits.retain(|it| it.percent().is_some_and(|percent| percent >= CLOSE_PERCENT));
        }
        for limit in limits.iter_mut().filter(|_| !asked.is_empty()) {
            limit.pids.retain(|pid| asked.contains(pid));
        }
        sort(&mut limits, own);
        Self { graph, asked, limits, known, unknown, unknown_own, own, live: LiveFacts::default() }
    }

    /// Returns `true` if the limit applies to pidns itself, in a report about the whole host.
    #[must_use]
    pub fn is_own(&self, limit: &Limit) -> bool {
        self.asked.is_empty() && is_of(limit, self.own)
    }

    /// Returns the number of limits that are reached.
    #[must_use]
    pub fn full(&self) -> usize {
        self.limits.iter().filter(|it| it.full == Some(true)).count()
    }

    /// Returns the processes that the advice mentions. Only reached limits need advice.
    #[must_use]
    pub fn concerned(&self) -> BTreeSet<Pid> {
        let full = self.limits.iter().filter(|it| it.full == Some(true));
        let mentioned = |it| Limit::concerned(it).chain(main_process(&self.graph, it, self.own));
        full.flat_map(mentioned).chain(self.own).collect()
    }
}

/// Returns the processes that have this PID in their own namespace, but another PID in the procfs.
/// The newest process comes first.
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

/// Returns the process to name in a report on a limit, but never `own` (pidns itself).
///
/// If the limit applies to the largest consumer, returns the consumer. Otherwise, returns the
/// process with the most children. Raising its `RLIMIT_NPROC` helps most, because future children
/// inherit it.
#[must_use]
pub fn main_process(graph: &PidGraph, limit: &Limit, own: Option<Pid>) -> Option<Pid> {
    let consumer = limit.main_consumer().and_then(|it| it.pid);
    if let Some(pid) = consumer.filter(|pid| limit.pids.contains(pid) && Some(*pid) != own) {
        return Some(pid);
    }
    let process = |pid: &Pid| graph.known_process(*pid);
    let mut children: HashMap<Pid, usize> = HashMap::new();
    for parent in limit.pids.iter().filter_map(|pid| process(pid)?.ppid) {
        *children.entry(parent).or_default() += 1;
    }
    // Prefer the process with the most children. Next, prefer a process that is not an orphan (a
    // child of an init). Last, prefer the oldest process, because it may be an ancestor of the
    // others.
    let rank = |pid: &Pid| {
        let parent = process(pid).and_then(|it| process(&it.ppid?));
        let is_orphan = parent.is_some_and(|it| it.nspid.last() == Some(&Pid::INIT));
        let started = process(pid).and_then(|it| it.start_time).unwrap_or(u64::MAX);
        (children.get(pid).copied().unwrap_or(0), !is_orphan, Reverse((started, *pid)))
    };
    let others = limit.pids.iter().copied().filter(|&pid| Some(pid) != own);
    let first = others.max_by_key(rank)?;
    // A process without children probably did not start the tasks that use up the limit. If the
    // limit applies to pidns, the shell that started the tasks may have replaced itself with pidns
    // (`exec`).
    let is_useful = children.contains_key(&first) || !is_of(limit, own);
    is_useful.then_some(first)
}

/// Sorts limits: reached limits, limits not reached, unknown limits. Reached limits of `own` (pidns
/// itself) come first. Limits not reached are sorted by percentage, highest first. Equal limits
/// stay in the order in which the kernel checks them.
fn sort(limits: &mut [Limit], own: Option<Pid>) {
    limits.sort_by_key(|limit| {
        let is_full = limit.full == Some(true);
        let percent = limit.percent().filter(|_| !is_full);
        let is_foreign = is_full && !is_of(limit, own);
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

    /// Calls [`main_process`] for a limit. Each process is a PID, a parent and a start time.
    /// `largest` is the PID and the number of tasks of the largest consumer.
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
        // Shell 30 started processes 5 and 6 after the PIDs wrapped around. Process 4 is an orphan.
        let shell = [[4, 1, 1], [5, 30, 20], [6, 30, 21], [30, 20, 10]];
        assert_eq!(main_of(&shell, (30, 3), None), Some(30));
        assert_eq!(main_of(&shell, (4, 1), None), Some(30));
        assert_eq!(main_of(&[[4, 1, 1], [5, 30, 20], [30, 20, 10]], (4, 2), None), Some(4));
        // PID 30 is now pidns: the shell ran `exec pidns`.
        assert_eq!(main_of(&shell, (30, 3), Some(30)), None);
        // Each process has at most one child. Process 30 is the oldest, and an ancestor of the
        // others.
        let chain = [[30, 20, 10], [6, 30, 11], [5, 6, 12]];
        assert_eq!(main_of(&chain, (7, 1), None), Some(30));
        assert_eq!(main_of(&[[4, 1, 1], [30, 20, 10]], (4, 1), None), Some(30));
        assert_eq!(main_of(&[[4, 1, 1]], (4, 1), None), Some(4));
    }
}
