//! Decides when `pidns check --wait` ends, and reports a denied problem only as a warning if it may
//! soon disappear.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use smol_str::SmolStr;

use super::check::Check;
use crate::graph::PidGraph;
use crate::model::{CheckCode, LimitKind, LimitScope, NamespaceId, Pid, Subject, Verdict};

/// Pause between two checks with `--wait`.
pub const RETRY: Duration = Duration::from_millis(200);

/// Decides which findings stay denied when the same host is checked repeatedly.
///
/// A finding that every check so far has reported stays denied.
///
/// Any other finding is denied only if the previous check reported it, too, and if no denied
/// finding of the same kind has disappeared. Otherwise, it becomes a warning, because it may only
/// have replaced another finding: when a daemon replaces a worker, for example, one finding
/// disappears and a similar one appears. The findings about the new worker's descendants become
/// warnings, too, because the daemon may have replaced the descendants together with the worker.
#[derive(Debug, Default)]
pub struct LastingFindings {
    /// The denied findings that every check so far has reported. `None` before the first check.
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
    /// ID of a namespace, and its 64-bit ID from the kernel, if known.
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

    fn pid(&self) -> Option<Pid> {
        match self {
            Self::Process(pid, _) => Some(*pid),
            Self::Namespace(..) | Self::Limit(_) | Self::Snapshot => None,
        }
    }
}

/// The kind of a finding's subject. If a finding about one subject disappears, and a finding about
/// another subject of the same kind appears, the second subject may have replaced the first one.
/// For example, a daemon may have replaced a worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// A process with this name and parent.
    Process(SmolStr, Option<Pid>),
    /// A namespace with this parent.
    Namespace(Option<NamespaceId>),
    /// A subject that no similar subject can replace, such as a limit. It is identified exactly, so
    /// that no other subject is of the same kind.
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
    /// Changes denied findings that may soon disappear to warnings.
    ///
    /// Returns `true` if the host must be checked again. There are two such cases:
    ///
    /// - A denied finding is new and does not seem to replace another one. The next check shows
    ///   whether the finding lasts.
    /// - All denied findings have disappeared. However, the scan may have missed a process that was
    ///   replaced during the scan.
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
        let is_replacement = |(id, kind): &(&FindingId, &FindingKind)| {
            !lasting.contains(*id) && self.ended.contains(*kind)
        };
        let replacements = now.iter().filter(is_replacement);
        let replacements = replacements.filter_map(|((_, identity), _)| identity.pid());
        let replaced = check.graph.with_descendants(replacements);
        let may_last = |id: &FindingId| {
            let is_replaced = || id.1.pid().is_some_and(|pid| replaced.contains(&pid));
            let has_ended = || now.get(id).is_none_or(|kind| self.ended.contains(kind));
            lasting.contains(id) || !(is_replaced() || has_ended())
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
    use super::*;
    use crate::model::Process;
    use crate::query::{Policy, Unsettled};
    use crate::testing::{namespace, process, snapshot};

    /// Checks a host whose processes all have a problem that is denied. Returns the denied and the
    /// warned PIDs, and `true` if another check is needed.
    fn judge(
        lasting: &mut LastingFindings,
        processes: impl Iterator<Item = Process>,
    ) -> (Vec<u32>, Vec<u32>, bool) {
        let mut policy = Policy::default();
        policy.add(vec![(Verdict::Deny, "uninterruptible".parse().unwrap())]);
        let processes = processes.map(|it| Process { state: 'D', ..it }).collect();
        let host = PidGraph::new(snapshot(vec![namespace(10, None)], processes));
        let mut check = Check::new(host, Unsettled::default(), &policy);
        let is_undecided = lasting.judge(&mut check);
        let of = |verdict| {
            let found = check.findings.iter().filter(move |it| it.verdict == verdict);
            let pids = found.filter_map(|it| Identity::of(it.subject, &check.graph).pid());
            pids.map(Pid::as_u32).collect()
        };
        (of(Verdict::Deny), of(Verdict::Warn), is_undecided)
    }

    #[test]
    fn a_finding_that_replaces_another_one_is_a_warning() {
        let mut lasting = LastingFindings::default();
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
    #[test]
    fn a_descendant_of_a_replacement_is_a_warning_too() {
        let mut lasting = LastingFindings::default();
        let mut judge = |processes: &[(u32, u64, u32)]| {
            let process = |&(pid, start_time, parent): &(u32, _, u32)| Process {
                start_time: Some(start_time),
                ppid: Pid::new(parent),
                ..process(&[pid], Some(10))
            };
            judge(&mut lasting, processes.iter().map(process))
        };
        // Worker 12 of daemon 11 has child 13.
        assert_eq!(judge(&[(12, 1, 11), (13, 1, 12)]), (vec![12, 13], vec![], false));
        // Worker 14 has replaced worker 12. Process 17 is a worker of another daemon.
        let second = [(14, 2, 11), (15, 2, 14), (17, 2, 16)];
        assert_eq!(judge(&second), (vec![], vec![14, 15, 17], true));
        assert_eq!(judge(&second), (vec![17], vec![14, 15], false));
    }
}
