//! Whoever takes a view is in it: pidns itself, and the processes that are only
//! there because somebody runs it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Pid, Process, Snapshot};

/// Takes out of a snapshot what is no part of a comparison: threads of the
/// kernel, which come and go at any time, unless they are wanted, and the one
/// process of pidns itself that took it. `viewer` is that process where it is
/// known. In a saved document it is the youngest that is called pidns, as its
/// scan begins with its life: another of that name stays in.
///
/// Returns those who stay in but are there for the view, see `attendants`.
pub fn leave_out(
    snapshot: &mut Snapshot,
    kernel_threads: bool,
    viewer: Option<Pid>,
) -> BTreeSet<Pid> {
    let named = snapshot.processes.iter().filter(|it| it.comm == env!("CARGO_PKG_NAME"));
    let youngest = named.max_by_key(|it| (it.start_time, it.pid)).map(|it| it.pid);
    let itself = viewer.or(youngest);
    let attendants = itself.map(|it| attendants(&snapshot.processes, it)).unwrap_or_default();
    snapshot.processes.retain(|it| Some(it.pid) != itself && (kernel_threads || !it.kernel_thread));
    attendants
}

/// Those who are there for the view: the shell that runs pidns and its parents,
/// and what that shell has started after it, as the rest of a pipe. A step of
/// a CI job has a shell of its own, which no earlier view has seen.
fn attendants(processes: &[Process], viewer: Pid) -> BTreeSet<Pid> {
    let by_pid: BTreeMap<Pid, &Process> = processes.iter().map(|it| (it.pid, it)).collect();
    let Some(itself) = by_pid.get(&viewer) else { return BTreeSet::new() };
    let beside = processes.iter().filter(|it| {
        it.pid != viewer
            && it.ppid == itself.ppid
            && it.start_time.is_some()
            // PIDs tell the order within one clock tick.
            && (it.start_time, it.pid) > (itself.start_time, viewer)
    });
    let mut attendants: BTreeSet<Pid> = beside.map(|it| it.pid).collect();
    let mut parent = itself.ppid;
    // Documents are checked to have no circle of parents; this ends all the same.
    while let Some(pid) = parent.filter(|&pid| attendants.insert(pid)) {
        parent = by_pid.get(&pid).and_then(|it| it.ppid);
    }
    attendants
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{namespace, process, snapshot};

    /// Processes with a parent and a start time.
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
    fn pidns_itself_and_kernel_threads_are_left_out() {
        let mut snapshot = host(&[(1, 0, 5), (7, 1, 8), (8, 1, 5), (9, 1, 5)]);
        snapshot.processes[1].comm = "pidns".into();
        snapshot.processes[2].comm = "pidns".into();
        snapshot.processes[3].kernel_thread = true;
        let left = |kernel_threads, viewer| {
            let mut snapshot = snapshot.clone();
            leave_out(&mut snapshot, kernel_threads, viewer);
            raw(snapshot.processes.iter().map(|it| it.pid))
        };
        assert_eq!(left(false, None), [1, 8], "the younger one took it");
        assert_eq!(left(true, None), [1, 8, 9]);
        assert_eq!(left(false, Pid::new(8)), [1, 7], "the other is not this one");
    }

    #[test]
    fn who_runs_the_check_and_the_rest_of_its_pipe_are_there_for_it() {
        // A runner with two steps: a job's daemon, and a shell with a pipe.
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
        assert_eq!(raw(leave_out(&mut snapshot, false, Pid::new(32))), [1, 20, 30, 33]);
        // Where it is not known when they started, nobody is passed over for that.
        let mut unknown = host(&[(1, 0, 1), (2, 1, 1), (3, 1, 1)]);
        for process in &mut unknown.processes {
            process.start_time = None;
        }
        assert_eq!(raw(leave_out(&mut unknown, false, Pid::new(2))), [1]);
        assert_eq!(raw(leave_out(&mut host(&[(1, 0, 1)]), false, None)), [0; 0]);
    }
}
