//! Finds the process to name on the line of another process: the parent or the tracer.

use crate::model::{Pid, Process};

/// The position of a process's line, which decides whether the line must name the process's parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// A line in the list of all members of a namespace.
    Listed,
    /// A line in a tree of processes: below the process with this PID, or at the top (`None`).
    Below(Option<Pid>),
}

/// How a process is related to the process that its line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kinship {
    /// A zombie, and its parent, which does not reap it.
    ZombieOf,
    /// A zombie, and its tracer, which does not reap it.
    TracedBy,
    /// A process that entered its namespace from outside (by setns(2), as nsenter(1) and `docker
    /// exec` do), and its parent, which is outside.
    EnteredBy,
    /// A process that entered its namespace from outside and then lost its parent, and the init
    /// outside the namespace that adopted the process.
    ReparentedTo,
    /// A child and its parent. Only trees use this, for a process that is not drawn below its
    /// parent.
    ChildOf,
}

/// A process that the line of another process names.
#[derive(Clone, Copy, Debug)]
pub struct Relation<'a> {
    pub kinship: Kinship,
    /// PID of the named process.
    pub pid: Pid,
    /// The named process, if it is known.
    pub process: Option<&'a Process>,
}

/// Returns the relation that the line of `process` must mention: for example, the parent of a
/// process that entered its namespace from outside. `find` looks up a process by its PID.
///
/// If the parent of a process is in another namespace, and the process is not the init, then the
/// process has entered its namespace from outside. A process that was created inside always has a
/// parent in its namespace, because the init adopts orphans.
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
    // A process can belong to another container than its namespace. Its line in a list then names
    // its container instead of its parent.
    let needs_parent = may_have_entered && process.other_container().is_none();
    if is_below_parent || (drawn == Drawn::Listed && !needs_parent) {
        return None;
    }
    let pid = process.ppid?;
    let parent = find(pid);
    let is_outside = |it: &Process| it.namespace.is_some() && it.namespace != process.namespace;
    let kinship = match parent {
        Some(outside) if may_have_entered && is_outside(outside) => {
            // A parent that is an init has adopted the process, for example after nsenter(1) was
            // killed.
            let is_init = outside.nspid.last() == Some(&Pid::INIT);
            if is_init { Kinship::ReparentedTo } else { Kinship::EnteredBy }
        }
        _ if drawn == Drawn::Listed => return None,
        _ => Kinship::ChildOf,
    };
    Some(Relation { kinship, pid, process: parent })
}
