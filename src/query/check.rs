//! Finds problems in a graph, and gives each problem the verdict of a policy.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use super::diff::{Diff, Happened};
use super::policy::{Policy, WARN_AT};
use super::select::{branches, keepers};
use crate::graph::PidGraph;
use crate::model::{
    CheckCode, DiagnosticCode, Finding, Holder, Limit, LimitKind, LiveFacts, MAX_LEVEL, Namespace,
    NamespaceState, Pid, Process, Subject, Verdict,
};

/// A namespace is reported as deeply nested if the kernel allows at most this many further levels
/// below it.
const DEEP_LEVELS_LEFT: usize = 4;

/// A graph, and the problems found in it.
#[derive(Debug)]
pub struct Check {
    /// The checked graph.
    pub graph: PidGraph,
    /// Time of the earlier snapshot (`--since`).
    pub since: Option<String>,
    /// Time since boot when the snapshot was taken; `None` for a saved document.
    pub uptime: Option<Duration>,
    /// The problems, except those that the policy allows: first the denied problems, then the
    /// warnings, each sorted by code.
    pub findings: Vec<Finding>,
    /// Facts about the live host that advice needs.
    pub live: LiveFacts,
    /// Processes whose state is not reported as a problem, because the state is probably transient,
    /// or because SIGKILL would still terminate the process.
    unsettled: BTreeSet<Pid>,
}

impl Check {
    /// Checks a graph. Ignores the states of `unsettled` processes (see
    /// [`Transients`](super::Transients)).
    #[must_use]
    pub fn new(graph: PidGraph, unsettled: BTreeSet<Pid>, policy: &Policy) -> Self {
        let mut this = Self {
            graph,
            since: None,
            uptime: None,
            findings: Vec::new(),
            live: LiveFacts::default(),
            unsettled,
        };
        this.findings = this.judge(Vec::new(), policy);
        this
    }

    /// Checks the second graph of a comparison. Processes and namespaces that are only in the
    /// second graph are reported as leftovers, except the attendants of pidns
    /// ([`Diff::attendants`]).
    #[must_use]
    pub fn since(diff: Diff, unsettled: BTreeSet<Pid>, policy: &Policy) -> Self {
        let leftovers = leftovers(&diff);
        let since = Some(diff.before.snapshot().captured_at.clone());
        let graph = diff.after_part.unwrap_or(diff.after);
        let mut this = Self {
            graph,
            since,
            uptime: None,
            findings: Vec::new(),
            live: LiveFacts::default(),
            unsettled,
        };
        this.findings = this.judge(leftovers, policy);
        this
    }

    /// Adds findings for processes that have a thread in uninterruptible sleep although their
    /// leader thread is in another state. `threads` maps the PID of each process to the TID of that
    /// thread.
    pub fn add_stuck_threads(&mut self, threads: BTreeMap<Pid, Pid>, policy: &Policy) {
        let shown = threads.keys().filter(|&&pid| self.graph.process(pid).is_some());
        let found = shown.map(|&pid| (CheckCode::Uninterruptible, Subject::Process(pid)));
        let findings = self.verdicts(found.collect(), policy);
        self.findings.extend(findings);
        self.findings.sort_unstable();
        self.live.stuck_threads = threads;
    }

    /// Returns the inodes of the mount namespaces whose mounts the findings concern.
    #[must_use]
    pub fn mount_namespaces(&self) -> BTreeSet<u64> {
        let namespaces = self.findings.iter().filter_map(|finding| match finding.subject {
            Subject::Namespace(id) => self.graph.namespace(id),
            Subject::Process(_) | Subject::Limit(_) | Subject::Snapshot => None,
        });
        namespaces.flat_map(|it| it.holders.iter().filter_map(Holder::mount_namespace)).collect()
    }

    /// Returns the number of findings with this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// Returns `true` if a process has terminated, and its parent had time to reap it but did not.
    #[must_use]
    pub fn is_unreaped(&self, process: &Process) -> bool {
        process.is_unreaped() && !self.unsettled.contains(&process.pid)
    }

    /// Returns all processes that a report on the findings mentions: the subjects of the findings;
    /// the tracers or parents of zombies; the inits of namespaces; and the processes that keep
    /// namespaces alive.
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
                    concerned
                        .extend(self.graph.limit(index).into_iter().flat_map(Limit::concerned));
                }
                Subject::Snapshot => {}
            }
        }
        concerned
    }

    /// Returns the part of the graph to show with the findings: the namespaces that the findings
    /// concern, the processes that [`concerned`](Self::concerned) returns, and all ancestor
    /// namespaces.
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

    /// Adds the problems in the graph to `found`. Returns the problems that the policy does not
    /// allow, sorted.
    fn judge(&self, mut found: Vec<(CheckCode, Subject)>, policy: &Policy) -> Vec<Finding> {
        self.find_in_namespaces(&mut found);
        self.find_in_processes(&mut found);
        self.find_in_limits(&mut found, policy.warn_at.unwrap_or(WARN_AT));
        if !self.graph.snapshot().complete {
            found.push((CheckCode::Incomplete, Subject::Snapshot));
        }
        let mut findings = self.verdicts(found, policy);
        findings.sort_unstable();
        findings
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
        judged.filter(|it| it.verdict != Verdict::Allow).collect()
    }

    fn find_in_namespaces(&self, found: &mut Vec<(CheckCode, Subject)>) {
        for (namespace, level) in self.graph.tree() {
            let mut find = |code| found.push((code, Subject::Namespace(namespace.id)));
            match namespace.state {
                NamespaceState::Dead => find(CheckCode::DeadNamespace),
                NamespaceState::Nascent => find(CheckCode::NascentNamespace),
                NamespaceState::Unknown => find(CheckCode::UnknownState),
                NamespaceState::Live => {}
            }
            if !namespace.blocked_by.is_empty() {
                find(CheckCode::BlockedInit);
            }
            if level + DEEP_LEVELS_LEFT >= MAX_LEVEL {
                find(CheckCode::DeepNesting);
            }
            let init = init_of(&self.graph, namespace);
            if let Some(init) = init.filter(|init| init.is_stopped()) {
                found.push((CheckCode::StoppedInit, Subject::Process(init.pid)));
            }
        }
    }

    /// Finds limits that are full or close. A dead namespace and a deep one have codes of their own,
    /// and a maximum of 0 turns off PID namespaces on purpose.
    fn find_in_limits(&self, found: &mut Vec<(CheckCode, Subject)>, warn_at: u64) {
        let is_reported = |it: &Limit| {
            !matches!(it.kind, LimitKind::InitTerminated | LimitKind::Nesting)
                && it.max != Some(0)
                && it.percent().is_some_and(|percent| percent >= warn_at)
        };
        let limits = self.graph.snapshot().limits.iter().flatten().enumerate();
        let reported = limits.filter(|(_, limit)| is_reported(limit));
        found.extend(reported.map(|(index, _)| (CheckCode::TaskLimit, Subject::Limit(index))));
    }

    fn find_in_processes(&self, found: &mut Vec<(CheckCode, Subject)>) {
        let graph = &self.graph;
        // Use the collector's diagnostics: the collector watched each init for some time, so it
        // reports neither frozen inits nor inits that are merely slow.
        let diagnostics = graph.snapshot().diagnostics.iter();
        let code = DiagnosticCode::InitDoesNotReap.name();
        let inits: HashSet<Pid> =
            diagnostics.filter(|it| it.code == code).flat_map(|it| &it.pids).copied().collect();
        let mut not_reaping = BTreeSet::new();
        for process in graph.processes().iter().filter(|process| !process.kernel_thread) {
            let subject = Subject::Process(process.pid);
            if process.state == 'D' && !self.unsettled.contains(&process.pid) {
                found.push((CheckCode::Uninterruptible, subject));
            }
            if self.is_unreaped(process) {
                found.push((CheckCode::Zombie, subject));
                not_reaping.extend(process.reaper().filter(|parent| inits.contains(parent)));
            }
        }
        let inits = not_reaping.into_iter().filter(|&init| graph.process(init).is_some());
        found.extend(inits.map(|init| (CheckCode::InitDoesNotReap, Subject::Process(init))));
    }
}

/// Returns the processes and namespaces that only the second graph contains. Zombies are left out,
/// because they are reported under another code.
fn leftovers(diff: &Diff) -> Vec<(CheckCode, Subject)> {
    let graph = diff.after_part.as_ref().unwrap_or(&diff.after);
    let mut found = Vec::new();
    for change in diff.processes.iter().filter(|it| it.happened() == Happened::Came) {
        let process = change.after.and_then(|pid| graph.process(pid));
        let is_leftover = |it: &&Process| !it.is_unreaped() && !diff.attendants.contains(&it.pid);
        if let Some(process) = process.filter(is_leftover) {
            found.push((CheckCode::LeftoverProcess, Subject::Process(process.pid)));
        }
    }
    for change in diff.namespaces.iter().filter(|it| it.happened() == Happened::Came) {
        let namespace = change.after.filter(|&id| graph.namespace(id).is_some());
        let subject = namespace.map(Subject::Namespace);
        found.extend(subject.map(|subject| (CheckCode::LeftoverNamespace, subject)));
    }
    found
}

fn init_of<'a>(graph: &'a PidGraph, namespace: &Namespace) -> Option<&'a Process> {
    namespace.init.and_then(|init| graph.process(init))
}
