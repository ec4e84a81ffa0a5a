//! Finds the processes that read the output of pidns or of a command in its pipeline.

use std::collections::HashSet;

use super::pipes::Pipes;
use crate::collect::kernel::sys::FileId;
use crate::collect::proc::procfs::Procfs;
use crate::model::{Pid, Process};

/// Adds the pipes that the processes in `others` read through descriptors above 2.
///
/// An example is the FIFO in `cat fifo`. Pipes outside the pipeline and pipes with a known reader
/// are ignored.
///
/// - `agents`: the ancestors that are not shells.
/// - `written`: the pipes that pidns and its ancestors write to.
/// - `others`: each process with its pipes. The function adds the pipes here.
pub fn add_readers<'a>(
    procfs: &Procfs,
    own: Pid,
    agents: impl Iterator<Item = &'a Process>,
    written: &HashSet<FileId>,
    others: &mut [(&Process, Pipes)],
) {
    // Ignore pipes that pidns itself can read: pidns and the process may both have inherited the
    // read end from a CI agent. Also ignore pipes that the agent reads.
    let mut inherited = Pipes::of_all(procfs, own).read;
    inherited.extend(agents.flat_map(|it| Pipes::of_all(procfs, it.pid).read));
    let has_reader = |pipe: &FileId| {
        inherited.contains(pipe) || others.iter().any(|(_, it)| it.read.contains(pipe))
    };
    let written = others.iter().flat_map(|(_, it)| &it.written).chain(written);
    let open: HashSet<FileId> = written.filter(|it| !has_reader(it)).copied().collect();
    if open.is_empty() {
        return;
    }
    for (process, pipes) in others {
        let more = Pipes::of_others(procfs, process.pid);
        pipes.read.extend(more.read.intersection(&open));
    }
}

/// Adds more processes that read the output of `pidns check` as standard input.
///
/// In `setsid -f pidns check | cat`, this adds `cat`, whose parent is not in `ancestry`.
///
/// - `ancestry`: pidns and its ancestors.
/// - `chain`: the pipes of each process in `ancestry`.
/// - `others`: the children of the processes in `ancestry`. The function adds processes to this
///   list.
pub fn add_distant_readers<'a>(
    procfs: &Procfs,
    processes: &'a [Process],
    ancestry: &[&Process],
    chain: &[Pipes],
    others: &mut Vec<(&'a Process, Pipes)>,
) {
    let Some((own, above)) = chain.split_first() else { return };
    // Leave out pipes that an ancestor writes to but pidns does not. Their readers may be daemons
    // that read the output of the whole CI step.
    let is_of_step = |pipe: &FileId| above.iter().any(|it| it.written.contains(pipe));
    // A command such as `tee >(gzip > log.gz)` also writes to descriptors above 2.
    let reached = with_pipes_of_readers(own.written.clone(), others);
    for (process, pipes) in others.iter_mut().filter(|(_, it)| !it.read.is_disjoint(&reached)) {
        pipes.written.extend(Pipes::of_others(procfs, process.pid).written);
    }
    let mut open = with_pipes_of_readers(own.written.clone(), others);
    open.retain(|it| own.written.contains(it) || !is_of_step(it));
    for (_, pipes) in &*others {
        open.retain(|it| !pipes.read.contains(it));
    }
    // A CI agent can use any descriptor to read the output of a step.
    for process in ancestry {
        if open.is_empty() {
            break;
        }
        let read = Pipes::of_all(procfs, process.pid).read;
        open.retain(|it| !read.contains(it));
    }
    if open.is_empty() {
        return;
    }
    let known = ancestry.iter().copied().chain(others.iter().map(|(it, _)| *it));
    let known: HashSet<Pid> = known.map(|it| it.pid).collect();
    let unknown = processes.iter().filter(|it| !known.contains(&it.pid) && !it.kernel_thread);
    let readers =
        unknown.filter(|it| Pipes::input(procfs, it.pid).is_some_and(|it| open.contains(&it)));
    others.extend(readers.map(|it| (it, Pipes::of(procfs, it.pid))));
}

/// Extends `written`: if a process in `others` reads a pipe in `written`, adds the pipes that this
/// process writes to. Repeats this until there is nothing to add.
fn with_pipes_of_readers(
    mut written: HashSet<FileId>,
    others: &[(&Process, Pipes)],
) -> HashSet<FileId> {
    loop {
        let readers = others.iter().filter(|(_, it)| !it.read.is_disjoint(&written));
        let more: Vec<FileId> = readers.flat_map(|(_, it)| &it.written).copied().collect();
        let count = written.len();
        written.extend(more);
        if written.len() == count {
            return written;
        }
    }
}
