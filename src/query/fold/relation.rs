//! Decides whether the line of a process mentions its parent, its tracer, or neither.

use crate::model::{Pid, Process};

/// Tells whether a process's line is drawn in a list or in a process tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// A line in the list of all members of a namespace.
    Listed,
    /// A line in a process tree, below the process with this PID or at the top (`None`).
    Below(Option<Pid>),
}

/// The relation between a process and the parent or tracer that its line mentions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kinship {
    /// A zombie, and the parent that does not reap it.
    ZombieOf,
    /// A zombie, and the tracer that does not reap it.
    TracedBy,
    /// A process that entered its namespace (nsenter(1), `docker exec`), and the parent of that
    /// process outside the namespace.
    EnteredBy,
    /// A process that entered its namespace from outside, and the init that adopted the process.
    /// This init is not in the process's namespace.
    ReparentedTo,
    /// A process and its parent, if the tree does not show the process below that parent.
    ChildOf,
}

/// The parent or tracer that is named on a process's line in the output.
#[derive(Clone, Copy, Debug)]
pub struct Relation<'a> {
    pub kinship: Kinship,
    /// PID of the parent or tracer.
    pub pid: Pid,
    /// The parent or tracer, or `None` if the snapshot does not contain it.
    pub process: Option<&'a Process>,
}

/// Returns the parent or tracer that the line of `process` must mention, if any.
pub fn relation<'a>(
    process: &Process,
    drawn: Drawn,
    find: impl FnOnce(Pid) -> Option<&'a Process>,
) -> Option<Relation<'a>> {
    let is_below_parent = process.ppid.is_some() && drawn == Drawn::Below(process.ppid);
    if process.is_unreaped() {
        let is_traced = process.tracer().is_some();
        if is_below_parent && !is_traced {
            return None;
        }
        let kinship = if is_traced { Kinship::TracedBy } else { Kinship::ZombieOf };
        let pid = process.reaper()?;
        return find(pid).map(|reaper| Relation { kinship, pid, process: Some(reaper) });
    }
    let may_have_entered = process.namespace.is_some()
        && process.nspid.len() > 1
        && process.nspid.last() != Some(&Pid::INIT);
    // If the process and its namespace belong to different containers, a list shows the process's
    // container. That container already tells where the process came from, so the list does not
    // need the parent.
    let needs_parent = may_have_entered && process.other_container().is_none();
    if is_below_parent || (drawn == Drawn::Listed && !needs_parent) {
        return None;
    }
    let pid = process.ppid?;
    let parent = find(pid);
    // A process that was born in a namespace always has its parent there, because the namespace's
    // init adopts orphans. So a process whose parent is outside has entered the namespace.
    let is_outside = |it: &Process| it.namespace.is_some() && it.namespace != process.namespace;
    let kinship = match parent {
        Some(outside) if may_have_entered && is_outside(outside) => {
            // An init has adopted the process, for example after nsenter(1) was killed.
            let is_init = outside.is_init();
            if is_init { Kinship::ReparentedTo } else { Kinship::EnteredBy }
        }
        _ if drawn == Drawn::Listed => return None,
        _ => Kinship::ChildOf,
    };
    Some(Relation { kinship, pid, process: parent })
}
