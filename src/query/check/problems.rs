//! Finds the problems in a single graph, without an earlier snapshot for comparison.

use std::collections::{BTreeSet, HashSet};

use crate::graph::PidGraph;
use crate::model::{
    CheckCode, DiagnosticCode, Limit, LimitKind, MAX_LEVEL, Namespace, NamespaceState, Pid,
    Process, Subject,
};
use crate::query::settle::Unsettled;

/// A namespace is reported as deeply nested if at most this many levels can be nested below it.
const DEEP_LEVELS_LEFT: usize = 4;

/// Finds the problems in a graph, but ignores the transient states in `unsettled`.
pub fn problems(
    graph: &PidGraph,
    unsettled: &Unsettled,
    warn_at: u64,
) -> Vec<(CheckCode, Subject)> {
    let mut found = Vec::new();
    find_in_namespaces(graph, unsettled, &mut found);
    find_in_processes(graph, unsettled, &mut found);
    find_in_limits(graph, warn_at, &mut found);
    if !graph.snapshot().has_all_but_limits() {
        found.push((CheckCode::Incomplete, Subject::Snapshot));
    }
    found
}

/// Returns `true` for a zombie whose parent or tracer has had enough time to reap it.
pub fn is_unreaped(process: &Process, unsettled: &Unsettled) -> bool {
    process.is_unreaped() && !unsettled.processes.contains(&process.pid)
}

fn find_in_namespaces(
    graph: &PidGraph,
    unsettled: &Unsettled,
    found: &mut Vec<(CheckCode, Subject)>,
) {
    for (namespace, level) in graph.tree() {
        let mut find = |code| found.push((code, Subject::Namespace(namespace.id)));
        match namespace.state {
            NamespaceState::Dead if unsettled.dead.contains(&namespace.id) => {}
            NamespaceState::Dead => find(CheckCode::DeadNamespace),
            NamespaceState::Nascent => find(CheckCode::NascentNamespace),
            NamespaceState::Unknown => find(CheckCode::UnknownState),
            NamespaceState::Live => {}
        }
        if !namespace.blocked_by.is_empty() && !unsettled.blocked.contains(&namespace.id) {
            find(CheckCode::BlockedInit);
        }
        if level + DEEP_LEVELS_LEFT >= MAX_LEVEL {
            find(CheckCode::DeepNesting);
        }
        let init = init_of(graph, namespace);
        let is_stopped = |it: &&Process| it.is_stopped() && !unsettled.processes.contains(&it.pid);
        if let Some(init) = init.filter(is_stopped) {
            found.push((CheckCode::StoppedInit, Subject::Process(init.pid)));
        }
    }
}

/// Finds limits with at least `warn_at` percent in use.
fn find_in_limits(graph: &PidGraph, warn_at: u64, found: &mut Vec<(CheckCode, Subject)>) {
    let is_reported = |it: &Limit| {
        // These two kinds of limits have their own check codes.
        !matches!(it.kind, LimitKind::InitTerminated | LimitKind::Nesting)
            && match it.max {
                // An administrator sets a maximum of 0 to forbid new PID namespaces.
                Some(0) => false,
                // A maximum of one task is normal for a service with a single process.
                Some(1) if it.kind.counts_tasks() => it.refused.is_some_and(|times| times > 0),
                _ => true,
            }
            && it.percent().is_some_and(|percent| percent >= warn_at)
    };
    let limits = graph.snapshot().limits.iter().flatten().enumerate();
    let reported = limits.filter(|(_, limit)| is_reported(limit));
    found.extend(reported.map(|(index, _)| (CheckCode::TaskLimit, Subject::Limit(index))));
}

fn find_in_processes(
    graph: &PidGraph,
    unsettled: &Unsettled,
    found: &mut Vec<(CheckCode, Subject)>,
) {
    // An init with zombie children may just be frozen or slow. The collector rules out both causes
    // before it reports an init, so use the collector's diagnostics.
    let diagnostics = graph.snapshot().diagnostics.iter();
    let code = DiagnosticCode::InitDoesNotReap.name();
    let inits: HashSet<Pid> =
        diagnostics.filter(|it| it.code == code).flat_map(|it| &it.pids).copied().collect();
    let mut not_reaping = BTreeSet::new();
    for process in graph.processes().iter().filter(|process| !process.kernel_thread) {
        let subject = Subject::Process(process.pid);
        if process.state == 'D' && !unsettled.processes.contains(&process.pid) {
            found.push((CheckCode::Uninterruptible, subject));
        }
        if is_unreaped(process, unsettled) {
            found.push((CheckCode::Zombie, subject));
            not_reaping.extend(process.reaper().filter(|parent| inits.contains(parent)));
        }
    }
    let inits = not_reaping.into_iter().filter(|&init| graph.process(init).is_some());
    found.extend(inits.map(|init| (CheckCode::InitDoesNotReap, Subject::Process(init))));
}

fn init_of<'a>(graph: &'a PidGraph, namespace: &Namespace) -> Option<&'a Process> {
    namespace.init.and_then(|init| graph.process(init))
}
