//! From a graph and a policy to what is wrong with a host.

mod policy;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use super::diff::{Diff, Happened};
use super::select::{branches, keepers};
use crate::graph::PidGraph;
use crate::model::{
    CheckCode, Finding, MAX_LEVEL, Namespace, NamespaceState, Pid, Process, Subject, Verdict,
};

pub use policy::{ParseRuleError, Policy, Rule};

/// Levels that are left below a namespace which nests deeply.
const LEVELS_LEFT: usize = 4;

/// What was found in a graph.
#[derive(Debug)]
pub struct Check {
    /// The graph.
    pub graph: PidGraph,
    /// When the view was taken that it was compared with.
    pub since: Option<String>,
    /// Time since boot when it was taken, where it is of the live kernel.
    pub uptime: Option<Duration>,
    /// What is wrong and is not allowed: denied first, then by code.
    pub findings: Vec<Finding>,
}

impl Check {
    /// Looks for what is wrong with a graph.
    #[must_use]
    pub fn new(graph: PidGraph, policy: &Policy) -> Self {
        let findings = judge(&graph, Vec::new(), policy);
        Self { graph, since: None, uptime: None, findings }
    }

    /// Looks for what is wrong with the second of two graphs, and what is only
    /// there; where `part` of the second is meant, in that. `attendants` are there
    /// for the view, and are no leftovers.
    #[must_use]
    pub fn since(
        diff: Diff,
        part: Option<PidGraph>,
        attendants: &BTreeSet<Pid>,
        policy: &Policy,
    ) -> Self {
        let since = diff.before.snapshot().captured_at.clone();
        let graph = part.unwrap_or(diff.after);
        let mut found = Vec::new();
        for change in diff.processes.iter().filter(|it| it.happened() == Happened::Came) {
            let process = change.after.and_then(|pid| graph.process(pid));
            let is_left = |it: &&Process| !it.is_unreaped() && !attendants.contains(&it.pid);
            if let Some(process) = process.filter(is_left) {
                found.push((CheckCode::LeftoverProcess, Subject::Process(process.pid)));
            }
        }
        for change in diff.namespaces.iter().filter(|it| it.happened() == Happened::Came) {
            let namespace = change.after.filter(|&id| graph.namespace(id).is_some());
            let subject = namespace.map(Subject::Namespace);
            found.extend(subject.map(|subject| (CheckCode::LeftoverNamespace, subject)));
        }
        let findings = judge(&graph, found, policy);
        Self { graph, since: Some(since), uptime: None, findings }
    }

    /// How many findings there are of a verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// Those whom something is wrong with, the parents that do not reap, the inits
    /// of the namespaces, and who keeps these.
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
                    let unreaped = self.graph.process(pid).filter(|it| it.is_unreaped());
                    concerned.extend(unreaped.and_then(|it| it.ppid));
                }
                Subject::Snapshot => {}
            }
        }
        concerned
    }

    /// The part of the graph that something is wrong with: the namespaces, those
    /// who are [concerned](Self::concerned), and all ancestors.
    #[must_use]
    pub fn branches(&self) -> PidGraph {
        let namespaces = self.findings.iter().filter_map(|finding| match finding.subject {
            Subject::Namespace(id) => Some(id),
            Subject::Process(_) | Subject::Snapshot => None,
        });
        let graph = PidGraph::new(self.graph.snapshot().clone());
        branches(graph, namespaces.collect(), &self.concerned())
    }

    /// How old a process was, where that is known.
    #[must_use]
    pub fn age(&self, process: &Process) -> Option<Duration> {
        process.age(self.uptime?)
    }
}

/// Everything that is wrong, with what the policy makes of it.
fn judge(graph: &PidGraph, mut found: Vec<(CheckCode, Subject)>, policy: &Policy) -> Vec<Finding> {
    find_in_namespaces(graph, &mut found);
    find_in_processes(graph, &mut found);
    if !graph.snapshot().complete {
        found.push((CheckCode::Incomplete, Subject::Snapshot));
    }
    let judged = found.into_iter().map(|(code, subject)| {
        let verdict = policy.verdict(graph, code, subject);
        Finding { verdict, code, subject }
    });
    let mut findings: Vec<_> = judged.filter(|it| it.verdict != Verdict::Allow).collect();
    findings.sort_unstable();
    findings
}

fn find_in_namespaces(graph: &PidGraph, found: &mut Vec<(CheckCode, Subject)>) {
    for (namespace, level) in graph.tree() {
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
        if level + LEVELS_LEFT >= MAX_LEVEL {
            find(CheckCode::DeepNesting);
        }
        let init = init_of(graph, namespace);
        if let Some(init) = init.filter(|init| matches!(init.state, 'T' | 't')) {
            found.push((CheckCode::StoppedInit, Subject::Process(init.pid)));
        }
    }
}

fn find_in_processes(graph: &PidGraph, found: &mut Vec<(CheckCode, Subject)>) {
    let inits: HashSet<Pid> =
        graph.snapshot().namespaces.iter().filter_map(|namespace| namespace.init).collect();
    let mut unreaping: BTreeMap<Pid, usize> = BTreeMap::new();
    for process in graph.processes().iter().filter(|process| !process.kernel_thread) {
        let subject = Subject::Process(process.pid);
        if process.state == 'D' {
            found.push((CheckCode::Uninterruptible, subject));
        }
        if process.is_unreaped() {
            found.push((CheckCode::Zombie, subject));
            if let Some(init) = process.ppid.filter(|parent| inits.contains(parent)) {
                *unreaping.entry(init).or_default() += 1;
            }
        }
    }
    let inits = unreaping.keys().filter(|&&init| graph.process(init).is_some());
    found.extend(inits.map(|&init| (CheckCode::InitDoesNotReap, Subject::Process(init))));
}

fn init_of<'a>(graph: &'a PidGraph, namespace: &Namespace) -> Option<&'a Process> {
    namespace.init.and_then(|init| graph.process(init))
}
