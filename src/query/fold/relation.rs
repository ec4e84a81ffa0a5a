//! Decides which related process the line of a process mentions: the parent, the tracer, or none.

use crate::model::{Pid, Process};

/// The place of a process's line: in a list or in a tree. Decides whether the line must name the
/// parent of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// A line in the list of all members of a namespace.
    Listed,
    /// A line in a process tree. Contains the PID of the process on the parent line, or `None` at
    /// the top of the tree.
    Below(Option<Pid>),
}

/// The relation between a process and its *related process*: the parent or tracer that the
/// process's line mentions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kinship {
    /// The process is a zombie, and the related process is its parent, which does not reap it.
    ZombieOf,
    /// The process is a zombie, and the related process is its tracer, which does not reap it.
    TracedBy,
    /// The process entered its namespace from outside by setns(2), for example through nsenter(1)
    /// or `docker exec`. The related process is the parent, which is outside the namespace.
    EnteredBy,
    /// The process entered its namespace from outside, and then its parent exited. The related
    /// process is the init that adopted the process. This init is outside the namespace.
    ReparentedTo,
    /// The related process is the parent. Used only in trees, for a process that is not drawn below
    /// its parent.
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

/// Returns the relation that the line of `process` must mention. For example, if a process entered
/// its namespace from outside, the line names its parent. `find` looks up a process by its PID.
///
/// A process has entered its namespace from outside if it is not the init, and its parent is in
/// another namespace. Other processes always have a parent in their own namespace, because the init
/// adopts orphans.
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
    // If a process is not in the container of its namespace, its line in a list names its container
    // instead of its parent.
    let needs_parent = may_have_entered && process.other_container().is_none();
    if is_below_parent || (drawn == Drawn::Listed && !needs_parent) {
        return None;
    }
    let pid = process.ppid?;
    let parent = find(pid);
    let is_outside = |it: &Process| it.namespace.is_some() && it.namespace != process.namespace;
    let kinship = match parent {
        Some(outside) if may_have_entered && is_outside(outside) => {
            // If the parent is an init, it has adopted the process, for example after nsenter(1)
            // was killed.
            let is_init = outside.nspid.last() == Some(&Pid::INIT);
            if is_init { Kinship::ReparentedTo } else { Kinship::EnteredBy }
        }
        _ if drawn == Drawn::Listed => return None,
        _ => Kinship::ChildOf,
    };
    Some(Relation { kinship, pid, process: parent })
}
