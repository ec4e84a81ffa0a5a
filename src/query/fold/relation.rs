//! Decides whether the line of a process mentions its parent, its tracer, or neither.

use crate::model::{Pid, Process};

/// The place of a process's line: in a list, or in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// A line in the list of all members of a namespace.
    Listed,
    /// A line in a process tree, below the line of the process with this PID. `None` at the top.
    Below(Option<Pid>),
}

/// The relation of a process to its *related process*: the parent or tracer that its line mentions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kinship {
    /// The process is a zombie. The related process is its parent, which does not reap it.
    ZombieOf,
    /// The process is a zombie. The related process is its tracer, which does not reap it.
    TracedBy,
    /// The process entered its namespace from outside, for example through nsenter(1) or `docker
    /// exec`. The related process is its parent outside the namespace.
    EnteredBy,
    /// The process entered its namespace from outside, and its parent exited. The related process
    /// is the init outside the namespace that adopted the process.
    ReparentedTo,
    /// The related process is the parent. Used for a process in a tree that is not below its
    /// parent.
    ChildOf,
}

/// A related process: the parent or tracer that a process's line mentions.
#[derive(Clone, Copy, Debug)]
pub struct Relation<'a> {
    pub kinship: Kinship,
    /// PID of the related process.
    pub pid: Pid,
    /// The related process; `None` if the snapshot does not contain it.
    pub process: Option<&'a Process>,
}

/// Returns the relation that the line of `process` must mention, if any. `find` looks up a process.
///
/// For example, the line of a process that entered its namespace from outside names its parent. The
/// parent of other processes is in their own namespace, because the namespace's init adopts
/// orphans.
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
    // In a list, the container is named instead of the parent if it is not the namespace's
    // container.
    let needs_parent = may_have_entered && process.other_container().is_none();
    if is_below_parent || (drawn == Drawn::Listed && !needs_parent) {
        return None;
    }
    let pid = process.ppid?;
    let parent = find(pid);
    let is_outside = |it: &Process| it.namespace.is_some() && it.namespace != process.namespace;
    let kinship = match parent {
        Some(outside) if may_have_entered && is_outside(outside) => {
            // An init has adopted the process, for example after nsenter(1) was killed.
            let is_init = outside.nspid.last() == Some(&Pid::INIT);
            if is_init { Kinship::ReparentedTo } else { Kinship::EnteredBy }
        }
        _ if drawn == Drawn::Listed => return None,
        _ => Kinship::ChildOf,
    };
    Some(Relation { kinship, pid, process: parent })
}
