//! Finds problems in a graph, and assigns each problem a verdict from a policy.

mod problems;
mod since;
#[cfg(test)]
mod tests;
mod workers;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use super::diff::{Diff, DiffCaveat};
use super::limits::main_process;
use super::observer::namespaces_used_only_by;
use super::outsiders::killed_with_inits;
use super::policy::{Policy, WARN_AT, owners};
use super::select::{branches, keepers};
use super::settle::Unsettled;
use crate::graph::PidGraph;
use crate::model::{
    BindMount, CheckCode, Finding, Holder, Limit, LiveFacts, Namespace, Pid, Process, Snapshot,
    Subject, Verdict,
};
use problems::problems;
use since::Earlier;
use workers::origins;

pub use workers::Origin;

/// Problems of non-leader threads. A snapshot does not contain the states of these threads.
#[derive(Clone, Debug, Default)]
pub struct ThreadProblems {
    /// Maps each process with a thread in uninterruptible sleep to the TID of one such thread.
    pub stuck: BTreeMap<Pid, Pid>,
    /// Inits whose leader thread has exited, and whose other threads are all stopped.
    pub stopped_inits: BTreeSet<Pid>,
}

/// A graph, and the problems found in it.
#[derive(Debug)]
pub struct Check {
    /// The checked graph.
    pub graph: PidGraph,
    /// Time of the earlier snapshot (`--since`).
    pub since: Option<String>,
    /// The reasons why new problems may be missing from `findings`.
    pub caveats: BTreeSet<DiffCaveat>,
    /// Number of problems left out because the earlier snapshot already had them.
    pub older: usize,
    /// `true` if the filter matches nothing on the host, probably because of a typo.
    pub nothing_matches: bool,
    /// Time since boot when the snapshot was taken, or `None` for a saved document.
    pub uptime: Option<Duration>,
    /// The findings, sorted by verdict (deny first) and code.
    pub findings: Vec<Finding>,
    /// Facts about the live host, used to advise the user.
    pub live: LiveFacts,
    /// Processes, such as pidns itself, that ran only because the later snapshot was taken.
    pub attendants: BTreeSet<Pid>,
    /// The comparison with the earlier snapshot. `None` if there is no earlier snapshot, or with
    /// `--all`.
    earlier: Option<Earlier>,
    /// Maps new processes to the daemon or container in the earlier snapshot that probably started
    /// them.
    origins: BTreeMap<Pid, Origin>,
    /// Leftovers that appeared while pidns was repeating the check (`--wait`), and may end soon.
    late: BTreeSet<Subject>,
    /// Processes and namespaces in transient states, which the check does not report.
    unsettled: Unsettled,
}

impl Check {
    /// Checks a graph, but ignores the transient states in `unsettled`.
    #[must_use]
    pub fn new(graph: PidGraph, unsettled: Unsettled, policy: &Policy) -> Self {
        let mut this = Self::unchecked(graph, unsettled);
        this.findings = this.verdicts(this.problems(policy), policy);
        this
    }

    /// Finds leftovers and new problems in the second graph of `diff`. If `all` is `true`, also
    /// finds older problems.
    #[must_use]
    pub fn since(diff: Diff, unsettled: Unsettled, policy: &Policy, all: bool) -> Self {
        let leftovers = since::leftovers(&diff);
        let earlier = (!all).then(|| Earlier::of(&diff, warn_at(policy)));
        let origins = origins(&diff);
        let older = since::older(&diff);
        let caveats = diff.caveats_about_new();
        let since = Some(diff.before.snapshot().captured_at.clone());
        let mut graph = diff.after_part.unwrap_or(diff.after);
        graph.set_older(older);
        let attendants = diff.attendants;
        let unchecked = Self::unchecked(graph, unsettled);
        let mut this = Self { since, caveats, attendants, earlier, origins, ..unchecked };
        let mut found = this.leave_out_older(this.problems(policy), policy);
        if !all {
            found.retain(|it| !this.may_be_reaped_later(it));
        }
        found.extend(leftovers);
        this.findings = this.verdicts(found, policy);
        let mut findings = std::mem::take(&mut this.findings);
        for finding in &mut findings {
            // Warn instead of denying if the problem may have existed before the earlier snapshot,
            // or if something in that snapshot may have caused it.
            let is_old = this.earlier.as_ref().is_some_and(|it| it.may_have_had(finding.subject));
            let has_origin = this.origin_of(finding.subject).is_some();
            if is_old || has_origin || this.has_older_cause(finding) {
                finding.verdict = finding.verdict.max(Verdict::Warn);
            }
        }
        findings.sort_unstable();
        this.findings = findings;
        this
    }

    /// Returns `true` if a new problem may have an older cause: the subject of `finding` and
    /// everything that keeps it may be older than the earlier snapshot.
    ///
    /// For a limit, returns `true` if each of its processes may be older or has an origin (see
    /// [`origin_of`](Self::origin_of)).
    #[must_use]
    pub fn has_older_cause(&self, finding: &Finding) -> bool {
        let Some(earlier) = self.earlier.as_ref().filter(|it| !it.is_new(finding.subject)) else {
            return false;
        };
        let is_older = |pid| self.graph.is_older(pid);
        match (finding.code, finding.subject) {
            (CheckCode::Zombie, Subject::Process(pid)) => {
                self.graph.process(pid).and_then(Process::reaper).is_some_and(is_older)
            }
            (
                CheckCode::BlockedInit | CheckCode::DeadNamespace | CheckCode::NascentNamespace,
                Subject::Namespace(id),
            ) => self.graph.namespace(id).is_some_and(|namespace| {
                let mut pids = keepers(namespace).peekable();
                let mut mounts = namespace.mounts().peekable();
                (pids.peek().is_some() || mounts.peek().is_some())
                    && pids.all(is_older)
                    && mounts.all(|it| earlier.had_mount(&it))
            }),
            (CheckCode::TaskLimit, Subject::Limit(index)) => {
                let pids = self.graph.limit(index).map(|it| &*it.pids).unwrap_or_default();
                let is_older = |pid: &Pid| is_older(*pid) || self.origins.contains_key(pid);
                !pids.is_empty() && pids.iter().all(is_older)
            }
            _ => false,
        }
    }

    /// Returns `true` for a zombie whose parent is one of the processes that run the check. Such a
    /// parent may reap its children only after the check has ended.
    fn may_be_reaped_later(&self, &(code, subject): &(CheckCode, Subject)) -> bool {
        let Subject::Process(pid) = subject else { return false };
        let reaper = self.graph.process(pid).and_then(Process::reaper);
        // Unlike other parents, an init must always reap its children promptly.
        let is_init = |pid| self.graph.process(pid).is_some_and(Process::is_init);
        code == CheckCode::Zombie
            && reaper.is_some_and(|it| self.attendants.contains(&it) && !is_init(it))
    }

    /// Removes the problems of namespaces without processes that only descriptors and bind mounts
    /// keep alive.
    ///
    /// A filter for one CI job needs this, because a process of the job may have opened a namespace
    /// that another job has created.
    pub fn leave_out_opened_namespaces(&mut self) {
        let graph = &self.graph;
        let is_selected = |pid: Pid| graph.process(pid).is_some();
        let is_creator = |it: &Holder| match it {
            Holder::PidForChildren { pid, .. } => is_selected(*pid),
            Holder::Fd { .. } | Holder::File { .. } | Holder::Mount { .. } => false,
        };
        let is_kept = |it: &Namespace| {
            !owners(graph, it).is_empty()
                || it.blocked_by.iter().any(|it| is_selected(it.pid))
                || it.holders.iter().any(is_creator)
        };
        self.findings.retain(|it| match it.subject {
            Subject::Namespace(id) => graph.namespace(id).is_some_and(is_kept),
            Subject::Process(_) | Subject::Limit(_) | Subject::Snapshot => true,
        });
    }

    /// Removes the problems that the earlier snapshot already had, and counts them.
    fn leave_out_older(
        &mut self,
        found: Vec<(CheckCode, Subject)>,
        policy: &Policy,
    ) -> Vec<(CheckCode, Subject)> {
        let had = |code, subject| self.earlier.as_ref().is_some_and(|it| it.had(code, subject));
        let (older, newer) = found.into_iter().partition(|&(code, subject)| had(code, subject));
        self.older += self.verdicts(older, policy).len();
        newer
    }

    fn problems(&self, policy: &Policy) -> Vec<(CheckCode, Subject)> {
        problems(&self.graph, &self.unsettled, warn_at(policy))
    }

    fn unchecked(graph: PidGraph, unsettled: Unsettled) -> Self {
        Self {
            graph,
            since: None,
            caveats: BTreeSet::new(),
            older: 0,
            nothing_matches: false,
            uptime: None,
            findings: Vec::new(),
            live: LiveFacts::default(),
            attendants: BTreeSet::new(),
            earlier: None,
            origins: BTreeMap::new(),
            late: BTreeSet::new(),
            unsettled,
        }
    }

    /// Adds findings for the problems of threads.
    pub fn add_thread_problems(&mut self, problems: ThreadProblems, policy: &Policy) {
        let ThreadProblems { stuck, stopped_inits } = problems;
        let stopped = stopped_inits.into_iter().map(|pid| (CheckCode::StoppedInit, pid));
        let found = stuck.keys().map(|&pid| (CheckCode::Uninterruptible, pid)).chain(stopped);
        let shown = found.filter(|&(_, pid)| self.graph.process(pid).is_some());
        let found = shown.map(|(code, pid)| (code, Subject::Process(pid))).collect();
        let found = self.leave_out_older(found, policy);
        let mut findings = self.verdicts(found, policy);
        for finding in &mut findings {
            // The earlier snapshot does not contain the states of non-leader threads, so it cannot
            // show whether the problem already existed. Unless the process is certain to be new,
            // reduce `Deny` to `Warn`.
            if self.earlier.as_ref().is_some_and(|it| !it.is_new(finding.subject)) {
                finding.verdict = finding.verdict.max(Verdict::Warn);
            }
        }
        self.findings.extend(findings);
        self.findings.sort_unstable();
        self.live.stuck_threads = stuck;
    }

    /// Adds facts about the live host, and removes the findings about leftover processes and
    /// namespaces that no longer exist.
    pub fn add_live_facts(&mut self, facts: LiveFacts) {
        let stuck_threads = std::mem::take(&mut self.live.stuck_threads);
        self.live = LiveFacts { stuck_threads, ..facts };
        // Don't call a process unkillable if its state is transient: a process that writes to a
        // disk is often in uninterruptible sleep, but only briefly.
        self.live.unkillable.retain(|pid| !self.unsettled.processes.contains(pid));
        let graph = &self.graph;
        // Treat a process that has become a zombie as ended. The next check reports it under the
        // code `zombie`.
        let ended: BTreeSet<Pid> =
            self.live.ended.difference(&self.live.restarted).copied().collect();
        if ended.is_empty() {
            return;
        }
        // When an init ends, the kernel first kills all other members of the namespace.
        let init = |pid| graph.namespace(graph.process(pid)?.namespace?)?.init;
        let has_ended =
            |pid| ended.contains(&pid) || init(pid).is_some_and(|init| ended.contains(&init));
        let is_over = |pid| self.attendants.contains(&pid) || has_ended(pid);
        let unused = namespaces_used_only_by(graph, is_over);
        self.findings.retain(|it| match (it.code, it.subject) {
            (CheckCode::LeftoverProcess, Subject::Process(pid)) => !has_ended(pid),
            (CheckCode::LeftoverNamespace, Subject::Namespace(id)) => !unused.contains(&id),
            _ => true,
        });
    }

    /// For each init, finds the processes in `host` that the kernel kills with it, except reported
    /// leftovers.
    pub fn find_killed_with_inits(&mut self, host: &Snapshot) {
        if self.findings.is_empty() {
            return;
        }
        let own = host.observer.as_ref().map(|it| it.pid);
        let is_other = |it: &Process| {
            Some(it.pid) != own && !self.is_leftover(it.pid) && !self.live.ended.contains(&it.pid)
        };
        self.graph.set_killed_with_inits(killed_with_inits(host, is_other));
    }

    /// Changes `Deny` to `Warn` in findings for which `is_denied` returns `false`.
    ///
    /// If such a finding reports a leftover, also marks the leftover as late, because it appeared
    /// while pidns was repeating the check.
    pub(super) fn deny_only(&mut self, is_denied: impl Fn(&PidGraph, &Finding) -> bool) {
        for finding in &mut self.findings {
            if finding.verdict == Verdict::Deny && !is_denied(&self.graph, finding) {
                finding.verdict = Verdict::Warn;
                if finding.reports_leftover() {
                    self.late.insert(finding.subject);
                }
            }
        }
        self.findings.sort_unstable();
    }

    /// Returns the bind mounts of the namespaces with findings.
    #[must_use]
    pub fn mounts(&self) -> BTreeSet<BindMount> {
        let namespaces = self.findings.iter().filter_map(|finding| match finding.subject {
            Subject::Namespace(id) => self.graph.namespace(id),
            Subject::Process(_) | Subject::Limit(_) | Subject::Snapshot => None,
        });
        namespaces.flat_map(Namespace::mounts).collect()
    }

    /// Returns the number of findings with this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// Returns `true` for a zombie whose parent or tracer has had enough time to reap it.
    #[must_use]
    pub fn is_unreaped(&self, process: &Process) -> bool {
        problems::is_unreaped(process, &self.unsettled)
    }

    /// Returns `true` if a finding reports this process as a leftover, with two exceptions: the
    /// process may end soon, or a daemon or container in the earlier snapshot probably started it.
    #[must_use]
    pub fn is_leftover(&self, pid: Pid) -> bool {
        let (code, subject) = (CheckCode::LeftoverProcess, Subject::Process(pid));
        let finding = |verdict| Finding { verdict, code, subject };
        let is_found = |verdict| self.findings.binary_search(&finding(verdict)).is_ok();
        let is_reported = is_found(Verdict::Deny) || is_found(Verdict::Warn);
        is_reported && self.origin_of(subject).is_none() && !self.late.contains(&subject)
    }

    /// Returns `true` for a leftover that appeared while pidns was repeating the check, and may end
    /// soon.
    #[must_use]
    pub fn is_late(&self, finding: &Finding) -> bool {
        finding.reports_leftover() && self.late.contains(&finding.subject)
    }

    /// Returns the daemon or container in the earlier snapshot that probably started this process.
    /// If the subject is a namespace, the process is its init.
    #[must_use]
    pub fn origin_of(&self, subject: Subject) -> Option<&Origin> {
        self.origins.get(&process_of(&self.graph, subject)?)
    }

    /// Returns all processes that a report can mention.
    #[must_use]
    pub fn concerned(&self) -> HashSet<Pid> {
        let mut concerned = HashSet::new();
        for finding in &self.findings {
            match finding.subject {
                Subject::Namespace(id) => {
                    let namespace = self.graph.namespace(id);
                    concerned.extend(namespace.and_then(|it| it.init));
                    concerned.extend(namespace.into_iter().flat_map(keepers));
                }
                Subject::Process(pid) => {
                    concerned.insert(pid);
                    let unreaped = self.graph.process(pid).filter(|it| self.is_unreaped(it));
                    concerned.extend(unreaped.and_then(Process::reaper));
                }
                Subject::Limit(index) => {
                    let limit = self.graph.limit(index);
                    concerned.extend(limit.into_iter().flat_map(Limit::concerned));
                    concerned.extend(limit.and_then(|it| main_process(&self.graph, it, None)));
                }
                Subject::Snapshot => {}
            }
        }
        concerned
    }

    /// Returns the init of each namespace that contains a process with a finding.
    #[must_use]
    pub fn inits(&self) -> HashSet<Pid> {
        let processes = self.findings.iter().filter_map(|finding| match finding.subject {
            Subject::Process(pid) => self.graph.process(pid),
            Subject::Namespace(_) | Subject::Limit(_) | Subject::Snapshot => None,
        });
        processes.filter_map(|it| self.graph.namespace(it.namespace?)?.init).collect()
    }

    /// Returns the part of the graph that a report shows in addition to the findings.
    #[must_use]
    pub fn branches(&self) -> PidGraph {
        let namespaces = self.findings.iter().filter_map(|finding| match finding.subject {
            Subject::Namespace(id) => Some(id),
            Subject::Limit(index) => self.graph.limit(index)?.scope.namespace,
            Subject::Process(_) | Subject::Snapshot => None,
        });
        let graph = PidGraph::new(self.graph.snapshot().clone());
        branches(graph, namespaces.collect(), &self.concerned())
    }

    /// Returns the age of a process, or `None` if unknown.
    #[must_use]
    pub fn age(&self, process: &Process) -> Option<Duration> {
        process.age(self.uptime?)
    }

    /// Returns the problems that the policy does not allow, each with its verdict.
    fn verdicts(&self, found: Vec<(CheckCode, Subject)>, policy: &Policy) -> Vec<Finding> {
        let judged = found.into_iter().map(|(code, subject)| {
            let mut verdict = policy.verdict(&self.graph, code, subject);
            if let Subject::Limit(index) = subject
                && self.graph.limit(index).is_some_and(|limit| limit.full != Some(true))
            {
                verdict = verdict.max(Verdict::Warn);
            }
            Finding { verdict, code, subject }
        });
        let mut findings: Vec<_> = judged.filter(|it| it.verdict != Verdict::Allow).collect();
        findings.sort_unstable();
        findings
    }
}

/// Returns the PID of the subject if it is a process, or of its init if it is a namespace.
pub(super) fn process_of(graph: &PidGraph, subject: Subject) -> Option<Pid> {
    match subject {
        Subject::Process(pid) => Some(pid),
        Subject::Namespace(id) => graph.namespace(id)?.init,
        Subject::Limit(_) | Subject::Snapshot => None,
    }
}

fn warn_at(policy: &Policy) -> u64 {
    policy.warn_at.unwrap_or(WARN_AT)
}
