//! Finds the other commands in the pipelines of pidns and of its ancestors.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::pipes::Pipes;
use super::readers::{add_distant_readers, add_readers};
use super::unreadable::add_possible_pipes;
use crate::collect::kernel::sys::FileId;
use crate::collect::kernel::wait_limit::WaitLimit;
use crate::collect::proc::procfs::Procfs;
use crate::collect::proc::relatives::{children, is_shell, is_subshell, session};
use crate::model::{Pid, Process};

/// Maximum number of children to check for pipes, for each ancestor.
const MAX_CHILDREN: usize = 256;

/// The pipelines of pidns and of its ancestors.
#[derive(Default)]
pub struct Pipeline {
    /// PIDs of the other commands in the pipelines.
    pub commands: BTreeSet<Pid>,
    /// The pipes that pidns and its ancestors write to.
    pub written: HashSet<FileId>,
}

/// Returns the other processes in the pipelines of pidns and of its ancestors.
pub fn pipeline(
    procfs: &Procfs,
    processes: &[Process],
    ancestry: &[&Process],
    waits: &WaitLimit,
) -> Pipeline {
    let is_shell = |process: &Process| is_shell(procfs, process, waits);
    let chain = ancestry.iter().enumerate().map(|(index, process)| {
        let of = if index == 0 || is_shell(process) { Pipes::of_shell } else { Pipes::of };
        of(procfs, process.pid)
    });
    let mut chain: Vec<Pipes> = chain.collect();
    for (process, pipes) in ancestry.iter().zip(&mut chain).skip(1) {
        if is_shell(process) {
            pipes.extend(&Pipes::saved(procfs, process.pid));
        }
    }
    let mut pipes = Pipes::default();
    for it in &chain {
        pipes.extend(it);
    }
    if pipes.is_empty() {
        return Pipeline::default();
    }
    let adopted = Adopted::of(procfs, ancestry, waits);
    let mut others = children_with_pipes(procfs, processes, ancestry, &chain, &adopted, waits);
    if let Some(own) = ancestry.first() {
        let agents = ancestry.iter().skip(1).copied().filter(|it| !is_shell(it));
        add_readers(procfs, own.pid, agents, &pipes.written, &mut others);
    }
    add_distant_readers(procfs, processes, ancestry, &chain, &mut others);
    let written = pipes.written.clone();
    add_possible_pipes(procfs, ancestry, &chain, &mut others, waits);
    let others = others.into_iter().filter(|(_, pipes)| !pipes.is_empty());
    let others = others.map(|(it, pipes)| {
        let may_be_daemon = adopted.may_have(procfs, it);
        (it.pid, Pipes { may_be_daemon, ..pipes })
    });
    let mut others: Vec<_> = others.collect();
    let late: Vec<_> = others.iter().map(|it| adopted.late(it, &others)).collect();
    for ((_, pipes), late) in others.iter_mut().zip(late) {
        pipes.late = late;
    }
    Pipeline { commands: connected(pipes, others), written }
}

/// Returns the children of the processes in `ancestry`, except children that are in `ancestry`
/// themselves. Each child is returned with its pipes.
fn children_with_pipes<'a>(
    procfs: &Procfs,
    processes: &'a [Process],
    ancestry: &[&Process],
    chain: &[Pipes],
    adopted: &Adopted,
    waits: &WaitLimit,
) -> Vec<(&'a Process, Pipes)> {
    // A newly forked copy of a shell may not have moved its pipes to stdin and stdout yet. In zsh,
    // such a copy can also pass data from pipe to pipe. So read all descriptors of the copy.
    let is_starting = |it: &Process| {
        // For a redirection such as `2> >(cat)`, a shell can fork `cat` and then exec pidns, so
        // `cat` is a child of pidns.
        ancestry.first().is_some_and(|own| it.ppid == Some(own.pid))
            // A subshell is a forked copy of its shell. If its parent has since exec'd another
            // program, another ancestor may still match the subshell. So compare the subshell with
            // all ancestors.
            || ancestry.iter().any(|shell| {
                it.comm == shell.comm && is_subshell(procfs, it.pid, shell.pid, waits)
            })
    };
    let starts_pipelines = |it: &Process| !it.is_init() || is_shell(procfs, it, waits);
    let parents =
        ancestry.iter().zip(chain).filter(|(it, pipes)| starts_pipelines(it) || !pipes.is_empty());
    let parents: Vec<&Process> = parents.map(|(it, _)| *it).collect();
    // An init that is not a shell does not start pipelines, but it can have been a shell that
    // executed another program after `exec > >(tee log)`. Leave out the orphans that such an init has
    // adopted.
    let init = ancestry.iter().find(|it| !starts_pipelines(it));
    let is_adopted = |it: &&Process| {
        init.is_some_and(|init| it.ppid == Some(init.pid)) && !adopted.has_started(it)
    };
    let children = children_of(processes, ancestry, &parents).into_iter();
    let children = children.filter(|it| !is_adopted(it));
    let children = children.map(|it| {
        let of = if is_starting(it) { Pipes::of_all } else { Pipes::of };
        (it, of(procfs, it.pid))
    });
    children.collect()
}

/// Returns the processes in `others` that read from or write to `pipes`, directly or through other
/// processes in `others`.
fn connected(mut pipes: Pipes, mut others: Vec<(Pid, Pipes)>) -> BTreeSet<Pid> {
    let mut found = BTreeSet::new();
    while let Some(index) = others.iter().position(|(_, other)| pipes.follow(other)) {
        found.insert(others.swap_remove(index).0);
    }
    found
}

/// Returns the [`MAX_CHILDREN`] youngest children of each parent, except ancestors of pidns.
fn children_of<'a>(
    processes: &'a [Process],
    ancestry: &[&Process],
    parents: &[&Process],
) -> Vec<&'a Process> {
    let is_ancestor = |pid: Pid| ancestry.iter().any(|it| it.pid == pid);
    let is_parent = |pid: Pid| parents.iter().any(|it| it.pid == pid);
    let mut children: HashMap<Pid, Vec<&Process>> = HashMap::new();
    for process in processes.iter().filter(|it| !it.kernel_thread && !it.is_zombie()) {
        let parent = process.ppid.filter(|&parent| is_parent(parent));
        if let Some(parent) = parent.filter(|_| !is_ancestor(process.pid)) {
            children.entry(parent).or_default().push(process);
        }
    }
    for children in children.values_mut() {
        // The older children of an init are mostly services, so keep the youngest children.
        children.sort_unstable_by_key(|it| std::cmp::Reverse((it.start_time, it.pid)));
        children.truncate(MAX_CHILDREN);
    }
    children.into_values().flatten().collect()
}

/// Tells which children of pidns's ancestors may be adopted orphans.
///
/// Maps each ancestor that can adopt orphans to the children that it probably started itself. Any
/// other child of such an ancestor may be an adopted orphan.
struct Adopted(HashMap<Pid, Vec<Pid>>);

impl Adopted {
    fn of(procfs: &Procfs, ancestry: &[&Process], waits: &WaitLimit) -> Self {
        let mut next = None;
        let mut own = HashMap::new();
        for ancestor in ancestry {
            // Shells don't adopt orphans, but any other process may be a child subreaper.
            let adopts =
                ancestor.is_init() || (next.is_some() && !is_shell(procfs, ancestor, waits));
            if adopts {
                let mut children = children(procfs, ancestor.pid);
                // The kernel lists children in the order in which they were forked or adopted.
                let index = children.iter().position(|&it| Some(it) == next);
                children.truncate(index.unwrap_or(0));
                own.insert(ancestor.pid, children);
            }
            next = Some(ancestor.pid);
        }
        Self(own)
    }

    /// Returns `true` if an ancestor of pidns that can adopt orphans probably started this process.
    fn has_started(&self, process: &Process) -> bool {
        let own = process.ppid.and_then(|parent| self.0.get(&parent));
        own.is_some_and(|own| own.contains(&process.pid))
    }

    /// Returns the pipes that a process writes to and that an earlier sibling reads from.
    fn late(&self, (pid, pipes): &(Pid, Pipes), others: &[(Pid, Pipes)]) -> HashSet<FileId> {
        let mut lists = self.0.values();
        let earlier = lists.find_map(|own| own.get(..own.iter().position(|it| it == pid)?));
        let is_earlier = |other: &Pid| earlier.is_some_and(|earlier| earlier.contains(other));
        let readers = others.iter().filter(|(other, _)| is_earlier(other));
        readers.flat_map(|(_, it)| it.read.intersection(&pipes.written)).copied().collect()
    }

    /// Returns `true` if a process may be an orphan that an ancestor of pidns has adopted.
    fn may_have(&self, procfs: &Procfs, process: &Process) -> bool {
        let own = process.ppid.and_then(|parent| self.0.get(&parent));
        let leads_session = |pid| session(procfs, pid) == Some(pid);
        own.is_some_and(|own| !own.contains(&process.pid) || leads_session(process.pid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(pids: impl IntoIterator<Item = Pid>) -> Vec<u32> {
        pids.into_iter().map(Pid::as_u32).collect()
    }

    #[test]
    fn a_pipeline_goes_from_each_end_of_a_pipe_to_the_other_end() {
        let pipe = |&inode: &u64| FileId { device: 13, inode };
        let pipes = |read: &[u64], written: &[u64]| Pipes {
            read: read.iter().map(pipe).collect(),
            written: written.iter().map(pipe).collect(),
            ..Pipes::default()
        };
        let connected = |others: &[(u32, Pipes)]| {
            let copies = others.iter().map(|(raw, it)| {
                let copy = Pipes {
                    read: it.read.clone(),
                    written: it.written.clone(),
                    may_be_daemon: it.may_be_daemon,
                    late: it.late.clone(),
                };
                (Pid::new(*raw).unwrap(), copy)
            });
            raw(connected(pipes(&[1], &[2]), copies.collect()))
        };
        // Process 4 writes to a pipe that process 5 reads from.
        let readers = [(5, pipes(&[3], &[9])), (4, pipes(&[2], &[3])), (6, pipes(&[8], &[8]))];
        assert_eq!(connected(&readers), [4, 5]);
        let writers = [(4, pipes(&[3], &[1])), (5, pipes(&[], &[3]))];
        assert_eq!(connected(&writers), [4, 5]);
        // Process 6 reads from pipe 1, as pidns does. Process 7 writes to pipe 2, as pidns does.
        let daemons = [(4, pipes(&[2], &[])), (6, pipes(&[1], &[])), (7, pipes(&[], &[2]))];
        assert_eq!(connected(&daemons), [4]);
        // Process 4 may be a daemon that inherited the write end of pipe 1.
        let mut orphans = [(4, pipes(&[], &[1])), (5, pipes(&[2], &[3])), (6, pipes(&[3], &[]))];
        for (_, orphan) in &mut orphans {
            orphan.may_be_daemon = true;
        }
        assert_eq!(connected(&orphans), [5, 6]);
        // Process 4 writes to pipe 3, and process 5 reads from it.
        let mut writers = [(4, pipes(&[], &[3])), (5, pipes(&[3], &[1]))];
        assert_eq!(connected(&writers), [4, 5]);
        // If process 5 was started before process 4, process 4 may be a daemon that inherited pipe
        // 3.
        writers[0].1.late.insert(pipe(&3));
        assert_eq!(connected(&writers), [5]);
    }
}
