//! Decides when `pidns check --wait` ends, and changes transient problems to warnings.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

use smol_str::SmolStr;

use super::check::{Check, process_of};
use crate::graph::PidGraph;
use crate::model::{
    CheckCode, Finding, LimitKind, LimitScope, NamespaceId, Pid, Process, Subject, Verdict,
};

/// Pause between two checks with `--wait`.
pub const RETRY: Duration = Duration::from_millis(200);

/// The results of repeated checks, to distinguish lasting findings from transient ones.
///
/// If a daemon replaces a worker, for example, the new worker is probably transient, too. So
/// findings about the new worker become warnings.
#[derive(Debug, Default)]
pub struct LastingFindings {
    /// Time that a process is given to exit, counted from the first check that found it.
    wait: Duration,
    /// The findings with the verdict `Deny`.
    findings: History<FindingId, FindingKind>,
    /// All processes of the host, because any of them can have descendants with findings.
    processes: History<ProcessId, ProcessKind>,
}

/// Tracks which items (findings or processes) the repeated checks have found.
#[derive(Debug)]
struct History<Id, Kind> {
    /// Maps each item found by the last check to its kind and the time of the first check in its
    /// current unbroken series.
    last: HashMap<Id, (Kind, Duration)>,
    /// The time of the first check, or `None` before it.
    begin: Option<Duration>,
    /// The kinds of all items that an earlier check found, but a later one did not.
    ended: HashSet<Kind>,
}

impl<Id, Kind> Default for History<Id, Kind> {
    fn default() -> Self {
        Self { last: HashMap::new(), begin: None, ended: HashSet::new() }
    }
}

impl<Id: Eq + Hash, Kind: Eq + Hash> History<Id, Kind> {
    /// Records the items that the check at time `at` has found, and the kinds of the items that
    /// have disappeared since the last check.
    fn add(&mut self, now: impl Iterator<Item = (Id, Kind)>, at: Duration) {
        self.begin.get_or_insert(at);
        let mut last = std::mem::take(&mut self.last);
        for (id, kind) in now {
            let first = last.remove(&id).map_or(at, |(_, first)| first);
            self.last.insert(id, (kind, first));
        }
        self.ended.extend(last.into_values().map(|(kind, _)| kind));
    }

    /// Returns `true` if all checks so far have found the item.
    fn has_lasted(&self, id: &Id) -> bool {
        self.last.get(id).is_some_and(|(_, first)| Some(*first) == self.begin)
    }

    /// Returns `true` if all checks from `wait` before `at` to `at` have found the item.
    fn has_stayed(&self, id: &Id, wait: Duration, at: Duration) -> bool {
        self.last.get(id).is_some_and(|(_, first)| at.saturating_sub(*first) >= wait)
    }

    /// Returns `true` if the item may have replaced an item of the same kind.
    fn is_replacement(&self, id: &Id) -> bool {
        !self.has_lasted(id) && self.last.get(id).is_some_and(|(kind, _)| self.ended.contains(kind))
    }
}

/// PID and start time of a process.
type ProcessId = (Pid, Option<u64>);

/// Name and parent of a process. Its replacement has the same name and parent.
type ProcessKind = (SmolStr, Option<Pid>);

fn process_id(process: &Process) -> ProcessId {
    (process.pid, process.start_time)
}

fn process_kind(process: &Process) -> ProcessKind {
    (process.comm.clone(), process.ppid)
}

type FindingId = (CheckCode, Identity);

type FindingKind = (CheckCode, Kind);

/// Identifies the subject of a finding across scans, even if a PID or inode is reused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Identity {
    Process(ProcessId),
    /// ID of a namespace (usually its inode), and its 64-bit ID if known. The 64-bit ID is needed
    /// because the kernel can reuse the inode.
    Namespace(NamespaceId, Option<u64>),
    /// Kind and scope of a limit.
    Limit(Option<(LimitKind, LimitScope)>),
    Snapshot,
}

impl Identity {
    fn of(subject: Subject, graph: &PidGraph) -> Self {
        match subject {
            Subject::Process(pid) => {
                Self::Process((pid, graph.process(pid).and_then(|it| it.start_time)))
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

/// Properties that stay the same when the subject of a finding is replaced, for example when a
/// daemon restarts a worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Process(ProcessKind),
    /// The parent of a namespace, if known.
    Namespace(Option<NamespaceId>),
    /// Matches only the subject itself, for example a limit. Unlike a process, a limit cannot be
    /// replaced by a successor.
    Same(Identity),
}

impl Kind {
    fn of(subject: Subject, graph: &PidGraph) -> Self {
        let process = |pid| graph.process(pid).map(process_kind).map(Self::Process);
        let kind = match subject {
            Subject::Process(pid) => process(pid),
            Subject::Namespace(id) => graph.namespace(id).map(|it| Self::Namespace(it.parent)),
            Subject::Limit(_) | Subject::Snapshot => None,
        };
        kind.unwrap_or_else(|| Self::Same(Identity::of(subject, graph)))
    }
}

impl LastingFindings {
    /// `wait` is the time that processes are given to exit.
    #[must_use]
    pub fn new(wait: Duration) -> Self {
        Self { wait, ..Self::default() }
    }

    /// Changes denied findings to warnings if they may soon disappear.
    ///
    /// Returns `true` if another check is needed.
    ///
    /// - `host`: the unfiltered host.
    /// - `at`: the time from the beginning of the first check to the beginning of this one.
    pub fn judge(&mut self, check: &mut Check, host: &PidGraph, at: Duration) -> bool {
        let processes = host.processes().iter();
        self.processes.add(processes.map(|it| (process_id(it), process_kind(it))), at);
        let denied = check.findings.iter().filter(|it| it.verdict == Verdict::Deny);
        let denied = denied.map(|it| (finding_id(&check.graph, it), it.subject));
        let denied: HashMap<FindingId, Subject> = denied.collect();
        let is_gone = denied.is_empty() && !self.findings.last.is_empty();
        let kind = |id: &FindingId, subject| (id.0, Kind::of(subject, &check.graph));
        self.findings.add(denied.iter().map(|(id, &it)| (id.clone(), kind(id, it))), at);
        let replacements = self.replacements(host);
        // A process that replaces a transient process will probably end soon, too. A finding about
        // such a process or its descendants is lasting only if every check so far has reported it.
        let may_last = |graph: &PidGraph, id: &FindingId, subject| {
            let is_replaced =
                || process_of(graph, subject).is_some_and(|it| replacements.contains(&it));
            self.findings.has_lasted(id) || !(self.findings.is_replacement(id) || is_replaced())
        };
        let has_stayed = |id: &FindingId| self.findings.has_stayed(id, self.wait, at);
        check.deny_only(|graph, it| {
            let id = finding_id(graph, it);
            has_stayed(&id) && may_last(graph, &id, it.subject)
        });
        let is_undecided = |(id, &subject): (&FindingId, &Subject)| {
            !has_stayed(id) && may_last(&check.graph, id, subject)
        };
        // If a process forks a successor and exits during a scan, the scan can miss both. So check
        // again before believing that all denied findings are gone.
        is_gone || denied.iter().any(is_undecided)
    }

    /// Returns the processes that are probably replacements, and their descendants.
    fn replacements(&self, host: &PidGraph) -> HashSet<Pid> {
        let is_replacement = |it: &&Process| self.processes.is_replacement(&process_id(it));
        host.with_descendants(host.processes().iter().filter(is_replacement).map(|it| it.pid))
    }
}

fn finding_id(graph: &PidGraph, finding: &Finding) -> FindingId {
    (finding.code, Identity::of(finding.subject, graph))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{Policy, Unsettled};
    use crate::testing::{namespace, process, snapshot};

    /// The command name of the processes that the filter removes.
    const HIDDEN: &str = "hidden";

    /// Returns the PIDs with denied findings, the PIDs with warnings, and `true` if another check
    /// is needed.
    fn judge(
        (lasting, began): &mut (LastingFindings, Duration),
        processes: impl Iterator<Item = Process>,
    ) -> (Vec<u32>, Vec<u32>, bool) {
        let mut policy = Policy::default();
        policy.add(vec![(Verdict::Deny, "uninterruptible".parse().unwrap())]);
        let processes = processes.map(|it| Process { state: 'D', ..it }).collect();
        let host = snapshot(vec![namespace(10, None)], processes);
        let mut part = host.clone();
        part.processes.retain(|it| it.comm != HIDDEN);
        let mut check = Check::new(PidGraph::new(part), Unsettled::default(), &policy);
        let is_undecided = lasting.judge(&mut check, &PidGraph::new(host), *began);
        *began += RETRY;
        let of = |verdict| {
            let found = check.findings.iter().filter(move |it| it.verdict == verdict);
            let pids = found.filter_map(|it| process_of(&check.graph, it.subject));
            pids.map(Pid::as_u32).collect()
        };
        (of(Verdict::Deny), of(Verdict::Warn), is_undecided)
    }

    #[test]
    fn a_finding_that_replaces_another_one_is_a_warning() {
        let mut lasting = (LastingFindings::new(RETRY), Duration::ZERO);
        let mut judge = |processes: &[(u32, u64, &str)]| {
            let process = |&(pid, start_time, comm): &(_, _, &str)| Process {
                start_time: Some(start_time),
                comm: comm.into(),
                ..process(&[pid], Some(10))
            };
            judge(&mut lasting, processes.iter().map(process))
        };
        let (db, web) = ("db", "web");
        let first = [(2, 1, db), (3, 1, web), (4, 1, web)];
        assert_eq!(judge(&first), (vec![], vec![2, 3, 4], true));
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

    fn child(pid: u32, start_time: u64, parent: u32) -> Process {
        Process {
            ppid: Pid::new(parent),
            start_time: Some(start_time),
            ..process(&[pid], Some(10))
        }
    }

    #[test]
    fn a_descendant_of_a_replacement_is_a_warning_too() {
        let mut lasting = (LastingFindings::new(RETRY), Duration::ZERO);
        let mut judge = |processes: &[(u32, u64, u32)]| {
            let processes = processes.iter();
            let processes = processes.map(|&(pid, start, parent)| child(pid, start, parent));
            judge(&mut lasting, processes)
        };
        // Worker 12 of daemon 11 has child 13.
        assert_eq!(judge(&[(12, 1, 11), (13, 1, 12)]), (vec![], vec![12, 13], true));
        // Worker 14 has replaced worker 12, and daemon 16 has started worker 17.
        let second = [(14, 2, 11), (15, 2, 14), (17, 2, 16)];
        assert_eq!(judge(&second), (vec![], vec![14, 15, 17], true));
        assert_eq!(judge(&second), (vec![17], vec![14, 15], false));
    }

    #[test]
    fn a_filter_that_hides_a_replacement_does_not_hide_its_descendants() {
        let mut lasting = (LastingFindings::new(RETRY), Duration::ZERO);
        // Each worker of the daemon (PID 11) has a child.
        let mut judge = |worker, start_time| {
            let parent = Process { comm: HIDDEN.into(), ..child(worker, start_time, 11) };
            let processes = [parent, child(worker + 1, start_time, worker)];
            judge(&mut lasting, processes.into_iter())
        };
        assert_eq!(judge(12, 1), (vec![], vec![13], true));
        assert_eq!(judge(14, 2), (vec![], vec![15], false));
        assert_eq!(judge(14, 2), (vec![], vec![15], false));
    }
}
