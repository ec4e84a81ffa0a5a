//! Compares two scans to tell lasting problems from transient ones.
//!
//! A process that writes to a disk may be in uninterruptible sleep in both scans although it woke
//! up in between. The caller detects this by the number of context switches.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use crate::model::{Namespace, NamespaceId, NamespaceState, Pid, Process, Snapshot};

/// Length of the pause before the second scan, to give transient states time to end.
const PAUSE: Duration = Duration::from_millis(100);

/// Length of the pause if there are zombies. Inits such as supervisord reap zombies only once a
/// second.
const ZOMBIE_PAUSE: Duration = Duration::from_millis(1100);

/// Processes and namespaces with states that are probably transient or harmless.
#[derive(Clone, Debug, Default)]
pub struct Unsettled {
    /// Processes with a state that `pidns check` does not report:
    ///
    /// - zombies that will probably be reaped soon
    /// - processes in uninterruptible sleep that will probably wake up soon
    /// - processes in killable sleep (`TASK_KILLABLE`), shown as uninterruptible in /proc
    /// - processes whose leader thread is stopped while another thread runs
    pub processes: BTreeSet<Pid>,
    /// Dead namespaces that were not dead in the first scan.
    pub dead: BTreeSet<NamespaceId>,
    /// Namespaces with a terminated init. After the first scan, another process began to block the
    /// removal of such a namespace (`blocked_by`).
    pub blocked: BTreeSet<NamespaceId>,
}

/// Zombies, processes in uninterruptible sleep, and dead namespaces of one scan.
#[derive(Clone, Debug, Default)]
pub struct Transients {
    processes: HashSet<TransientState>,
    /// Maps each dead namespace to its 64-bit ID, if known.
    namespaces: HashMap<TransientNamespace, Option<u64>>,
}

/// PID, start time and state of a process.
type TransientState = (Pid, Option<u64>, char);

/// ID of a dead namespace, and `true` if a process blocks the removal of the namespace's terminated
/// init (`blocked_by`).
type TransientNamespace = (NamespaceId, bool);

impl Transients {
    /// Finds the processes and namespaces in a transient state.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        Self {
            processes: snapshot.processes.iter().filter_map(transient_state).collect(),
            namespaces: snapshot.namespaces.iter().filter_map(transient_namespace).collect(),
        }
    }

    /// Returns the time to wait before the second scan.
    #[must_use]
    pub fn pause(&self, reports_zombies: bool) -> Duration {
        let is_zombie = |(_, _, state): &TransientState| *state == 'Z';
        if reports_zombies && self.processes.iter().any(is_zombie) { ZOMBIE_PAUSE } else { PAUSE }
    }

    /// Returns `true` if no process or namespace is in a transient state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.namespaces.is_empty()
    }

    /// Returns the processes and namespaces with a transient state that is new in `later`.
    #[must_use]
    pub fn unsettled(&self, later: &Snapshot) -> Unsettled {
        let mut unsettled = Unsettled::default();
        for process in &later.processes {
            if transient_state(process).is_some_and(|state| !self.processes.contains(&state)) {
                unsettled.processes.insert(process.pid);
            }
        }
        for ((id, is_blocked), ns_id) in later.namespaces.iter().filter_map(transient_namespace) {
            // An inode can be reused, so compare the 64-bit IDs if both are known.
            let is_same =
                |&known: &Option<u64>| known == ns_id || known.is_none() || ns_id.is_none();
            let was = |is_blocked| self.namespaces.get(&(id, is_blocked)).is_some_and(is_same);
            if !was(true) && !was(false) {
                unsettled.dead.insert(id);
            }
            if is_blocked && !was(true) {
                unsettled.blocked.insert(id);
            }
        }
        unsettled
    }
}

fn transient_namespace(namespace: &Namespace) -> Option<(TransientNamespace, Option<u64>)> {
    let is_blocked = !namespace.blocked_by.is_empty();
    let is_transient = is_blocked || namespace.state == NamespaceState::Dead;
    is_transient.then_some(((namespace.id, is_blocked), namespace.ns_id))
}

fn transient_state(process: &Process) -> Option<TransientState> {
    let is_transient = !process.kernel_thread && (process.state == 'D' || process.is_unreaped());
    is_transient.then_some((process.pid, process.start_time, process.state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BlockReason, Blocker};
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
        assert_eq!((first.pause(true), first.pause(false)), (ZOMBIE_PAUSE, PAUSE));
        // Process 4 has become a zombie, processes 5 and 6 are new, and 6 is running.
        let later =
            host(&[(1, 'S', 1), (2, 'D', 1), (3, 'Z', 1), (4, 'Z', 1), (5, 'D', 2), (6, 'R', 2)]);
        assert_eq!(raw(first.unsettled(&later).processes), [4, 5]);
        let reused = host(&[(2, 'D', 9)]);
        assert_eq!(
            raw(first.unsettled(&reused).processes),
            [2],
            "another process with the same PID"
        );
    }

    #[test]
    fn only_a_namespace_that_both_scans_show_as_dead_is_settled() {
        // If `ns_id` is 0, the scan could not read the 64-bit ID.
        let host = |dead: &[(u64, u64, bool)]| {
            let made = dead.iter().map(|&(inode, ns_id, is_blocked)| {
                let mut namespace = namespace(inode, Some(10));
                (namespace.state, namespace.ns_id) =
                    (NamespaceState::Dead, (ns_id != 0).then_some(ns_id));
                let pid = Pid::INIT;
                let (comm, reason, reaper) = ("x".into(), BlockReason::Zombie, None);
                let blocker = Blocker { pid, comm, reason, reaper };
                namespace.blocked_by = is_blocked.then_some(blocker).into_iter().collect();
                namespace
            });
            snapshot(std::iter::once(namespace(10, None)).chain(made).collect(), Vec::new())
        };
        let first = Transients::of(&host(&[
            (11, 1, true),
            (12, 2, false),
            (13, 3, true),
            (15, 0, true),
            (16, 7, true),
        ]));
        assert!(!first.is_empty());
        // Another namespace has reused the inode of namespace 13, and namespace 14 is new.
        let later = host(&[
            (11, 1, true),
            (12, 2, true),
            (13, 4, true),
            (14, 5, false),
            (15, 6, true),
            (16, 0, true),
        ]);
        let unsettled = first.unsettled(&later);
        let ids = |inodes: [u64; 2]| BTreeSet::from(inodes.map(NamespaceId::Inode));
        assert_eq!((unsettled.dead, unsettled.blocked), (ids([13, 14]), ids([12, 13])));
    }

    #[test]
    fn kernel_threads_and_terminated_leader_threads_are_not_transient() {
        let mut snapshot = host(&[(2, 'D', 1), (3, 'Z', 1)]);
        snapshot.processes[0].kernel_thread = true;
        snapshot.processes[1].threads = std::num::NonZeroU32::new(2);
        assert!(Transients::of(&snapshot).is_empty());
    }
}
