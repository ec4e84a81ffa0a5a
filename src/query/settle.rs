//! Distinguishes lasting problems from transient states by comparing several scans.
//!
//! A process in uninterruptible sleep usually wakes up within milliseconds, and a zombie is usually
//! reaped within milliseconds. `pidns check` therefore reports such a process only if two scans
//! show the process in the same state. With `--wait`, it denies only problems that every check
//! found, and warns about the rest.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use super::check::Check;
use crate::graph::PidGraph;
use crate::model::{
    CheckCode, Finding, LimitKind, LimitScope, NamespaceId, Pid, Process, Snapshot, Subject,
    Verdict,
};

/// Pause before the second scan, which gives transient states time to end.
pub const SETTLE: Duration = Duration::from_millis(100);

/// Pause between two checks with `--wait`.
pub const RETRY: Duration = Duration::from_millis(200);

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

/// The denied findings that all checks of the same host have in common. If a daemon keeps replacing
/// a worker, each check sees a different process, so the worker's findings are not included.
#[derive(Debug, Default)]
pub struct LastingFindings(Option<HashSet<(CheckCode, Identity)>>);

/// Identifies the subject of a finding across scans, even if its PID or inode is reused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Identity {
    /// PID and start time of a process.
    Process(Pid, Option<u64>),
    /// ID of a namespace, and the kernel's 64-bit ID.
    Namespace(NamespaceId, Option<u64>),
    /// Kind and scope of a limit.
    Limit(Option<(LimitKind, LimitScope)>),
    Snapshot,
}

impl Identity {
    fn of(subject: Subject, graph: &PidGraph) -> Self {
        match subject {
            Subject::Process(pid) => {
                Self::Process(pid, graph.process(pid).and_then(|it| it.start_time))
            }
            Subject::Namespace(id) => {
                Self::Namespace(id, graph.namespace(id).and_then(|it| it.ns_id))
            }
            Subject::Limit(index) => {
                Self::Limit(graph.limit(index).map(|it| (it.kind, it.scope.clone())))
            }
            Subject::Snapshot => Self::Snapshot,
        }
    }
}

impl LastingFindings {
    /// Turns each denied finding into a warning if an earlier check did not find it.
    pub fn judge(&mut self, check: &mut Check) {
        let identify = |it: &Finding| (it.code, Identity::of(it.subject, &check.graph));
        let denied = check.findings.iter().filter(|it| it.verdict == Verdict::Deny);
        let mut lasting: HashSet<_> = denied.map(identify).collect();
        if let Some(earlier) = &self.0 {
            lasting.retain(|it| earlier.contains(it));
        }
        check.deny_only(|graph, it| lasting.contains(&(it.code, Identity::of(it.subject, graph))));
        self.0 = Some(lasting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Policy;
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

    #[test]
    fn a_finding_lasts_only_if_every_check_has_it() {
        let mut policy = Policy::default();
        policy.add(vec![(Verdict::Deny, "zombie".parse().unwrap())]);
        let mut lasting = LastingFindings::default();
        let mut denied = |processes: &[(u32, char, u64)]| {
            let graph = PidGraph::new(host(processes));
            let mut check = Check::new(graph, BTreeSet::new(), &policy);
            lasting.judge(&mut check);
            let of = |verdict| {
                let found = check.findings.iter().filter(move |it| it.verdict == verdict);
                let pids = found.filter_map(|it| match it.subject {
                    Subject::Process(pid) => Some(pid),
                    Subject::Namespace(_) | Subject::Limit(_) | Subject::Snapshot => None,
                });
                raw(pids.collect())
            };
            (of(Verdict::Deny), of(Verdict::Warn))
        };
        let none = vec![];
        assert_eq!(denied(&[(2, 'Z', 1), (3, 'Z', 1), (4, 'Z', 1)]), (vec![2, 3, 4], none));
        // Process 3 is gone, and PID 4 now belongs to another process.
        assert_eq!(denied(&[(2, 'Z', 1), (4, 'Z', 9), (5, 'Z', 2)]), (vec![2], vec![4, 5]));
        assert_eq!(denied(&[(2, 'Z', 1), (3, 'Z', 1), (4, 'Z', 9)]), (vec![2], vec![3, 4]));
    }
}
