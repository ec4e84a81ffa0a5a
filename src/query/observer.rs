//! Removes the observer from a snapshot. The observer is the pidns process that took the snapshot.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Pid, Process, Snapshot};

/// Removes the observer and, unless `kernel_threads` is set, all kernel threads. Kernel threads
/// start and exit at any time, so they would differ between any two snapshots.
///
/// `observer` is the PID of the observer, or `None` if unknown, as in a saved document. If it is
/// unknown, the youngest process called pidns counts as the observer, because pidns takes its
/// snapshot right after it starts.
///
/// Returns the attendants: processes that exist only to run pidns, but stay in the snapshot. These
/// are the ancestors of pidns, and siblings that its shell started later, such as the rest of a
/// pipeline.
pub fn leave_out_observer(
    snapshot: &mut Snapshot,
    kernel_threads: bool,
    observer: Option<Pid>,
) -> BTreeSet<Pid> {
    let named = snapshot.processes.iter().filter(|it| it.comm == env!("CARGO_PKG_NAME"));
    let youngest = named.max_by_key(|it| (it.start_time, it.pid)).map(|it| it.pid);
    let observer = observer.or(youngest);
    let attendants = observer.map(|it| attendants(&snapshot.processes, it)).unwrap_or_default();
    snapshot
        .processes
        .retain(|it| Some(it.pid) != observer && (kernel_threads || !it.kernel_thread));
    attendants
}

/// Returns the ancestors and the younger siblings of the observer.
///
/// `check --since` does not report these processes as leftovers. For example, each step of a CI job
/// runs in a new shell, which an earlier step's snapshot cannot contain.
fn attendants(processes: &[Process], observer: Pid) -> BTreeSet<Pid> {
    let by_pid: BTreeMap<Pid, &Process> = processes.iter().map(|it| (it.pid, it)).collect();
    let Some(itself) = by_pid.get(&observer) else { return BTreeSet::new() };
    let younger_siblings = processes.iter().filter(|it| {
        it.pid != observer
            && it.ppid == itself.ppid
            && it.start_time.is_some()
            // If two processes started within one clock tick, the process with the higher PID
            // counts as younger.
            && (it.start_time, it.pid) > (itself.start_time, observer)
    });
    let mut attendants: BTreeSet<Pid> = younger_siblings.map(|it| it.pid).collect();
    let mut parent = itself.ppid;
    // `insert` returns false for a PID that is already in the set, so a parent cycle ends the loop.
    while let Some(pid) = parent.filter(|&pid| attendants.insert(pid)) {
        parent = by_pid.get(&pid).and_then(|it| it.ppid);
    }
    attendants
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{namespace, process, snapshot};

    /// Returns a snapshot of these processes, each given as (PID, parent PID, start time).
    fn host(processes: &[(u32, u32, u64)]) -> Snapshot {
        let made = processes.iter().map(|&(pid, ppid, start_time)| {
            let mut process = process(&[pid], Some(10));
            process.ppid = Pid::new(ppid);
            process.start_time = Some(start_time);
            process
        });
        snapshot(vec![namespace(10, None)], made.collect())
    }

    fn raw(pids: impl IntoIterator<Item = Pid>) -> Vec<u32> {
        pids.into_iter().map(Pid::as_u32).collect()
    }

    #[test]
    fn removes_the_observer_and_kernel_threads() {
        let mut snapshot = host(&[(1, 0, 5), (7, 1, 8), (8, 1, 5), (9, 1, 5)]);
        snapshot.processes[1].comm = "pidns".into();
        snapshot.processes[2].comm = "pidns".into();
        snapshot.processes[3].kernel_thread = true;
        let left = |kernel_threads, observer| {
            let mut snapshot = snapshot.clone();
            leave_out_observer(&mut snapshot, kernel_threads, observer);
            raw(snapshot.processes.iter().map(|it| it.pid))
        };
        assert_eq!(left(false, None), [1, 8], "the younger one is the observer");
        assert_eq!(left(true, None), [1, 8, 9]);
        assert_eq!(left(false, Pid::new(8)), [1, 7], "the observer is known");
    }

    #[test]
    fn ancestors_and_later_pipeline_members_are_attendants() {
        // Process 20 is a CI runner. Its child, process 30, is the shell of a step. The shell runs
        // a pipeline that contains pidns (process 32). Process 33 started after pidns, and
        // processes 29 and 31 started before pidns.
        let mut snapshot = host(&[
            (1, 0, 1),
            (20, 1, 2),
            (30, 20, 7),
            (31, 30, 6),
            (32, 30, 8),
            (33, 30, 8),
            (29, 30, 8),
            (34, 33, 9),
            (40, 1, 5),
            (41, 20, 8),
        ]);
        snapshot.processes[4].comm = "pidns".into();
        assert_eq!(raw(leave_out_observer(&mut snapshot, false, Pid::new(32))), [1, 20, 30, 33]);
        // Without start times, pidns cannot tell which siblings are younger, so no sibling is an
        // attendant.
        let mut unknown = host(&[(1, 0, 1), (2, 1, 1), (3, 1, 1)]);
        for process in &mut unknown.processes {
            process.start_time = None;
        }
        assert_eq!(raw(leave_out_observer(&mut unknown, false, Pid::new(2))), [1]);
        assert_eq!(raw(leave_out_observer(&mut host(&[(1, 0, 1)]), false, None)), [0; 0]);
    }
}
