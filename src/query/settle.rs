//! Distinguishes lasting states of processes from transient states by comparing two scans.
//!
//! A process in uninterruptible sleep usually wakes up within milliseconds, and a zombie is usually
//! reaped within milliseconds. `pidns check` therefore reports such a process only if two scans
//! show the process in the same state.

use std::collections::{BTreeSet, HashSet};

use crate::model::{Pid, Process, Snapshot};

/// The processes that were zombies or in uninterruptible sleep during one scan.
#[derive(Clone, Debug, Default)]
pub struct Transients(HashSet<TransientState>);

/// PID, start time and state of a process.
type TransientState = (Pid, Option<u64>, char);

impl Transients {
    /// Finds the processes in a transient state.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        Self(snapshot.processes.iter().filter_map(transient_state).collect())
    }

    /// Returns `true` if no process was in a transient state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the processes that are in a transient state in the later snapshot, but were not in
    /// that state in the first snapshot. `pidns check` does not report these states, because they
    /// may soon end.
    #[must_use]
    pub fn unsettled(&self, later: &Snapshot) -> BTreeSet<Pid> {
        let is_unsettled = |process: &&Process| {
            transient_state(process).is_some_and(|state| !self.0.contains(&state))
        };
        later.processes.iter().filter(is_unsettled).map(|process| process.pid).collect()
    }
}

fn transient_state(process: &Process) -> Option<TransientState> {
    let is_transient = !process.kernel_thread && (process.state == 'D' || process.is_unreaped());
    is_transient.then_some((process.pid, process.start_time, process.state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{namespace, process, snapshot};

    /// Returns a snapshot of these processes, each given as (PID, state, start time).
    fn host(processes: &[(u32, char, u64)]) -> Snapshot {
        let made = processes.iter().map(|&(pid, state, start_time)| {
            let mut process = process(&[pid], Some(10));
            process.state = state;
            process.start_time = Some(start_time);
            process
        });
        snapshot(vec![namespace(10, None)], made.collect())
    }

    fn raw(pids: BTreeSet<Pid>) -> Vec<u32> {
        pids.into_iter().map(Pid::as_u32).collect()
    }

    #[test]
    fn only_a_state_that_both_scans_show_is_settled() {
        let first = Transients::of(&host(&[(1, 'S', 1), (2, 'D', 1), (3, 'Z', 1), (4, 'D', 1)]));
        assert!(!first.is_empty());
        // Processes 2 and 3 keep their states, process 4 has become a zombie, and processes 5 and 6
        // are new. Process 6 is running.
        let later =
            host(&[(1, 'S', 1), (2, 'D', 1), (3, 'Z', 1), (4, 'Z', 1), (5, 'D', 2), (6, 'R', 2)]);
        assert_eq!(raw(first.unsettled(&later)), [4, 5]);
        let reused = host(&[(2, 'D', 9)]);
        assert_eq!(raw(first.unsettled(&reused)), [2], "another process with the same PID");
    }

    #[test]
    fn kernel_threads_and_terminated_leader_threads_are_not_transient() {
        let mut snapshot = host(&[(2, 'D', 1), (3, 'Z', 1)]);
        snapshot.processes[0].kernel_thread = true;
        snapshot.processes[1].threads = std::num::NonZeroU32::new(2);
        assert!(Transients::of(&snapshot).is_empty());
    }
}
