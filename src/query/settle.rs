//! Distinguishes lasting problems from transient states by comparing several scans.
//!
//! A process in uninterruptible sleep usually wakes up within milliseconds, and a zombie is usually
//! reaped within milliseconds. A dead namespace usually disappears just as fast. So `pidns check`
//! reports such a process or namespace only if two scans show it in the same state.
//!
//! With `--wait`, `pidns check` denies only problems that still exist after several checks, and
//! warns about all other problems.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use smol_str::SmolStr;

use super::check::Check;
use super::unsettled::Unsettled;
use crate::graph::PidGraph;
use crate::model::{
    CheckCode, LimitKind, LimitScope, Namespace, NamespaceId, NamespaceState, Pid, Process,
    Snapshot, Subject, Verdict,
};

/// Pause before the second scan, which gives transient states time to end.
pub const SETTLE: Duration = Duration::from_millis(100);

/// Pause between two checks with `--wait`.
pub const RETRY: Duration = Duration::from_millis(200);

/// The processes that were zombies or in uninterruptible sleep during one scan, and the namespaces
/// that were dead.
#[derive(Clone, Debug, Default)]
pub struct Transients {
    processes: HashSet<TransientState>,
    /// The kernel's 64-bit ID of each namespace, if it could be read.
    namespaces: HashMap<TransientNamespace, Option<u64>>,
}

/// PID, start time and state of a process.
type TransientState = (Pid, Option<u64>, char);

/// ID of a dead namespace, and whether its init waits for other processes.
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

    /// Returns `true` if no process or namespace was in a transient state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.namespaces.is_empty()
    }

    /// Returns the processes and namespaces that are in a transient state in the later snapshot,
    /// but were not in the same state in the first snapshot. `pidns check` does not report these
    /// states, because they may soon end.
    #[must_use]
    pub fn unsettled(&self, later: &Snapshot) -> Unsettled {
        let mut unsettled = Unsettled::default();
        for process in &later.processes {
            if transient_state(process).is_some_and(|state| !self.processes.contains(&state)) {
                unsettled.processes.insert(process.pid);
            }
        }
        for ((id, is_blocked), ns_id) in later.namespaces.iter().filter_map(transient_namespace) {
            // If one of the scans could not open the namespace, it may be the same namespace.
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

/// Decides which findings stay denied when the same host is checked repeatedly.
///
/// A finding that every check so far contains stays denied.
///
/// A finding that is new since a later check is denied only if the previous check contains it too,
/// and if no finding of the same kind has disappeared. All other findings become warnings. For
/// example, when a daemon replaces a worker, one finding disappears and a similar one appears.
#[derive(Debug, Default)]
pub struct LastingFindings {
    /// The denied findings that every check so far contains. `None` before the first check.
    lasting: Option<HashSet<FindingId>>,
    /// The denied findings of the last check.
    last: HashMap<FindingId, FindingKind>,
    /// The kinds of the denied findings that have disappeared.
    ended: HashSet<FindingKind>,
}

type FindingId = (CheckCode, Identity);

type FindingKind = (CheckCode, Kind);

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

/// The kind of a finding's subject. If a finding disappears and another finding of the same kind
/// appears, the subject may have been replaced: for example, a daemon has replaced a worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// A process, by its name and parent.
    Process(SmolStr, Option<Pid>),
    /// A namespace, by its parent.
    Namespace(Option<NamespaceId>),
    /// Any other subject. No two different subjects of this sort are of the same kind.
    Same(Identity),
}

impl Kind {
    fn of(subject: Subject, graph: &PidGraph) -> Self {
        let process = |pid| graph.process(pid).map(|it| Self::Process(it.comm.clone(), it.ppid));
        let kind = match subject {
            Subject::Process(pid) => process(pid),
            Subject::Namespace(id) => graph.namespace(id).map(|it| Self::Namespace(it.parent)),
            Subject::Limit(_) | Subject::Snapshot => None,
        };
        kind.unwrap_or_else(|| Self::Same(Identity::of(subject, graph)))
    }
}

impl LastingFindings {
    /// Turns the denied findings that may soon end into warnings.
    ///
    /// Returns `true` if another check is needed, because a finding is new and may last, or because
    /// all findings have disappeared. In the latter case, the scan may have missed a process that
    /// was replaced during the scan.
    pub fn judge(&mut self, check: &mut Check) -> bool {
        let denied = check.findings.iter().filter(|it| it.verdict == Verdict::Deny);
        let now: HashMap<FindingId, FindingKind> = denied
            .map(|it| {
                let identity = Identity::of(it.subject, &check.graph);
                ((it.code, identity), (it.code, Kind::of(it.subject, &check.graph)))
            })
            .collect();
        let last = std::mem::take(&mut self.last);
        let ended = last.iter().filter(|(id, _)| !now.contains_key(id));
        self.ended.extend(ended.map(|(_, kind)| kind.clone()));
        let lasting: HashSet<FindingId> = match self.lasting.take() {
            None => now.keys().cloned().collect(),
            Some(lasting) => lasting.into_iter().filter(|id| now.contains_key(id)).collect(),
        };
        let may_last = |id: &FindingId| {
            lasting.contains(id) || now.get(id).is_some_and(|kind| !self.ended.contains(kind))
        };
        let has_been = |id: &FindingId| lasting.contains(id) || last.contains_key(id);
        check.deny_only(|graph, it| {
            let id = (it.code, Identity::of(it.subject, graph));
            has_been(&id) && may_last(&id)
        });
        let is_gone = now.is_empty() && !last.is_empty();
        let is_undecided = is_gone || now.keys().any(|id| !has_been(id) && may_last(id));
        self.lasting = Some(lasting);
        self.last = now;
        is_undecided
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::{BlockReason, Blocker};
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
        // A 64-bit ID of 0 means that the scan could not read it.
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

    #[test]
    fn a_finding_that_replaces_another_one_is_a_warning() {
        let mut policy = Policy::default();
        policy.add(vec![(Verdict::Deny, "zombie".parse().unwrap())]);
        let mut lasting = LastingFindings::default();
        let mut judge = |processes: &[(u32, u64, &str)]| {
            let zombies: Vec<_> =
                processes.iter().map(|&(pid, start, _)| (pid, 'Z', start)).collect();
            let mut host = host(&zombies);
            for (process, (_, _, comm)) in host.processes.iter_mut().zip(processes) {
                process.comm = (*comm).into();
            }
            let mut check = Check::new(PidGraph::new(host), Unsettled::default(), &policy);
            let is_undecided = lasting.judge(&mut check);
            let of = |verdict| {
                let found = check.findings.iter().filter(move |it| it.verdict == verdict);
                let pids = found.filter_map(|it| match it.subject {
                    Subject::Process(pid) => Some(pid),
                    Subject::Namespace(_) | Subject::Limit(_) | Subject::Snapshot => None,
                });
                raw(pids.collect())
            };
            (of(Verdict::Deny), of(Verdict::Warn), is_undecided)
        };
        let (db, web) = ("db", "web");
        let first = [(2, 1, db), (3, 1, web), (4, 1, web)];
        assert_eq!(judge(&first), (vec![2, 3, 4], vec![], false));
        // Process 3 is gone, another worker has reused PID 4, and process 6 is a new daemon.
        let second = [(2, 1, db), (4, 9, web), (6, 2, "log")];
        assert_eq!(judge(&second), (vec![2], vec![4, 6], true));
        let third = [(2, 1, db), (3, 1, web), (4, 9, web), (6, 2, "log")];
        assert_eq!(judge(&third), (vec![2, 6], vec![3, 4], false));
        assert_eq!(judge(&[(3, 1, web), (7, 3, "log")]), (vec![], vec![3, 7], false));
        assert_eq!(judge(&[]), (vec![], vec![], true));
        assert_eq!(judge(&[]), (vec![], vec![], false));
        assert_eq!(judge(&[(8, 4, "mail")]), (vec![], vec![8], true));
        assert_eq!(judge(&[(8, 4, "mail")]), (vec![8], vec![], false));
    }
}
