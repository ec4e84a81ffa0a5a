//! Separates new problems from problems of an earlier snapshot.

use std::collections::{BTreeSet, HashSet};

use super::problems::problems;
use crate::graph::PidGraph;
use crate::model::{
    BindMount, CheckCode, Limit, Namespace, NamespaceId, NamespaceState, Pid, Process, Subject,
};
use crate::query::diff::{Diff, Happened};
use crate::query::policy::owners;
use crate::query::settle::Unsettled;

/// The result of comparing a snapshot's problems with those of an earlier snapshot.
#[derive(Debug, Default)]
pub struct Earlier {
    /// Problems that are in both snapshots.
    had: HashSet<(CheckCode, Subject)>,
    /// Processes and namespaces whose problems may be older than the earlier snapshot.
    undated: HashSet<Subject>,
    /// Processes and namespaces that certainly did not exist at the time of the earlier snapshot.
    new: HashSet<Subject>,
    /// The bind mounts of namespaces in the earlier snapshot.
    mounts: BTreeSet<BindMount>,
}

impl Earlier {
    /// Compares the problems of the two graphs in `diff`.
    pub fn of(diff: &Diff, warn_at: u64) -> Self {
        let came: HashSet<Pid> = came(diff).0.collect();
        let is_old = |pid: &Pid| diff.before.process(*pid).is_some() && !came.contains(pid);
        let later = |subject| match subject {
            Subject::Process(pid) => Some(pid).filter(is_old).map(Subject::Process),
            Subject::Namespace(id) => diff.counterpart(id).map(Subject::Namespace),
            Subject::Limit(index) => later_limit(diff, index).map(Subject::Limit),
            // Report an incomplete snapshot even if the earlier snapshot was incomplete, too.
            Subject::Snapshot => None,
        };
        let had = problems(&diff.before, &Unsettled::default(), warn_at).into_iter();
        let had = had.filter_map(|(code, subject)| Some((code, later(subject)?))).collect();
        let pids = diff.after.processes().iter().map(|it| it.pid);
        let is_known = |it: &&Namespace| it.state != NamespaceState::Unknown;
        let old_namespaces = diff.before.snapshot().namespaces.iter().filter(is_known);
        let old_namespaces = old_namespaces.filter_map(|it| diff.counterpart(it.id));
        let mut undated: HashSet<Subject> =
            pids.filter(|pid| !is_old(pid)).map(Subject::Process).collect();
        undated.extend(diff.after.snapshot().namespaces.iter().map(|it| Subject::Namespace(it.id)));
        let new: HashSet<Subject> = new_subjects(diff).collect();
        // Remove the processes and namespaces whose age is known.
        for dated in old_namespaces.map(Subject::Namespace).chain(new.iter().copied()) {
            undated.remove(&dated);
        }
        let mounts = diff.before.snapshot().namespaces.iter().flat_map(Namespace::mounts).collect();
        Self { had, undated, new, mounts }
    }

    /// Returns `true` if the earlier snapshot already had this problem.
    pub fn had(&self, code: CheckCode, subject: Subject) -> bool {
        self.had.contains(&(code, subject))
    }

    /// Returns `true` if this process or namespace is certainly newer than the earlier snapshot.
    pub fn is_new(&self, subject: Subject) -> bool {
        self.new.contains(&subject)
    }

    /// Returns `true` if the earlier snapshot already had this bind mount of a namespace.
    pub fn had_mount(&self, mount: &BindMount) -> bool {
        self.mounts.contains(mount)
    }

    /// Returns `true` if this process or namespace may have had its problems already at the time of
    /// the earlier snapshot.
    pub fn may_have_had(&self, subject: Subject) -> bool {
        self.undated.contains(&subject)
    }
}

/// Returns the part of the second graph that the filter selects, or the whole graph if there is no
/// filter.
fn checked(diff: &Diff) -> &PidGraph {
    diff.after_part.as_ref().unwrap_or(&diff.after)
}

/// Converts the index of a limit in the earlier graph to its index in the later graph.
///
/// Returns `None` if the limit has changed, or if it has become full since the earlier snapshot.
fn later_limit(diff: &Diff, index: usize) -> Option<usize> {
    let earlier = diff.before.limit(index)?;
    let mut scope = earlier.scope.clone();
    if let Some(id) = scope.namespace {
        scope.namespace = Some(diff.counterpart(id)?);
    }
    let was_full = earlier.full == Some(true);
    let is_same = |it: &Limit| {
        // A user can have several RLIMIT_NPROC limits, which differ in their maximum.
        (it.kind, &it.scope, it.max) == (earlier.kind, &scope, earlier.max)
            // A limit that has become full is a new problem.
            && (was_full || it.full != Some(true))
    };
    checked(diff).snapshot().limits.iter().flatten().position(is_same)
}

/// Returns the selected processes and namespaces that are certainly new.
pub fn leftovers(diff: &Diff) -> Vec<(CheckCode, Subject)> {
    let graph = checked(diff);
    let code = |subject| match subject {
        Subject::Process(pid) => {
            // Zombies have their own code (`zombie`). A kernel thread is not a leftover, because
            // commands do not start kernel threads.
            let is_left = |it: &&Process| !it.is_unreaped() && !it.kernel_thread;
            let process = graph.process(pid).filter(is_left);
            process.map(|_| CheckCode::LeftoverProcess)
        }
        Subject::Namespace(id) => {
            // The namespace of another CI job may contain a process that the filter selects. So
            // report a namespace only if the filter selects its init (or all its members, if the
            // init is unknown).
            let is_selected = |pid: &Pid| graph.process(*pid).is_some();
            let is_left = |it: &&Namespace| owners(&diff.after, it).iter().all(is_selected);
            let namespace = graph.namespace(id).filter(is_left);
            namespace.map(|_| CheckCode::LeftoverNamespace)
        }
        Subject::Limit(_) | Subject::Snapshot => None,
    };
    new_subjects(diff).filter_map(|subject| Some((code(subject)?, subject))).collect()
}

/// Returns the processes that may have been running already at the time of the earlier snapshot.
pub fn older(diff: &Diff) -> BTreeSet<Pid> {
    let new: HashSet<Subject> = new_subjects(diff).collect();
    let pids = diff.after.processes().iter().map(|it| it.pid);
    pids.filter(|&pid| !new.contains(&Subject::Process(pid))).collect()
}

/// Returns the processes and namespaces that are certainly new.
fn new_subjects(diff: &Diff) -> impl Iterator<Item = Subject> {
    let (processes, namespaces) = came(diff);
    let processes = processes.filter_map(|pid| diff.after.process(pid));
    let namespaces = namespaces.filter_map(|id| diff.after.namespace(id));
    let processes = processes.filter(|it| diff.is_certainly_new(it));
    let namespaces = namespaces.filter(|it| diff.is_certainly_new_namespace(it));
    processes
        .map(|it| Subject::Process(it.pid))
        .chain(namespaces.map(|it| Subject::Namespace(it.id)))
}

/// Returns the processes and namespaces that are only in the later snapshot.
fn came(diff: &Diff) -> (impl Iterator<Item = Pid>, impl Iterator<Item = NamespaceId>) {
    let processes = diff.processes.iter().filter(|it| it.happened() == Happened::Came);
    let namespaces = diff.namespaces.iter().filter(|it| it.happened() == Happened::Came);
    (processes.filter_map(|it| it.after), namespaces.filter_map(|it| it.after))
}
