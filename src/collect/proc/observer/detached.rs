//! Finds daemons that were started by the other commands in pidns's shell pipeline.

use std::collections::{BTreeSet, HashSet};
use std::os::fd::AsFd as _;

use super::pipes::Pipes;
use super::unreadable::is_unreadable;
use crate::collect::kernel::sys::{FileId, read};
use crate::collect::parse;
use crate::collect::proc::process_dir::ProcessDir;
use crate::collect::proc::procfs::Procfs;
use crate::collect::proc::relatives::add_descendants;
use crate::model::{Pid, Process};

/// Adds the descendants of the processes in `commands` to `commands`, except daemons and their
/// descendants.
///
/// `written`: the pipes that pidns and its ancestors write to.
pub fn add_attached_descendants(
    procfs: &Procfs,
    processes: &[Process],
    written: &HashSet<FileId>,
    commands: &mut BTreeSet<Pid>,
) {
    let parents = processes.iter().filter(|it| commands.contains(&it.pid));
    let parents: BTreeSet<Pid> = parents.filter_map(|it| it.ppid).collect();
    add_descendants(processes, commands);
    let is_below = |it: &&Process| it.ppid.is_some_and(|parent| commands.contains(&parent));
    let below = processes.iter().filter(is_below).filter(|it| !it.is_zombie());
    let detached = below.filter(|it| is_detached(procfs, it)).map(|it| {
        let mut tree = BTreeSet::from([it.pid]);
        add_descendants(processes, &mut tree);
        tree
    });
    let detached: Vec<BTreeSet<Pid>> = detached.collect();
    if detached.is_empty() {
        return;
    }
    let mut inherited = Pipes::default();
    for &parent in &parents {
        inherited.extend(&Pipes::of_shell(procfs, parent));
    }
    let (mut open, rest): (BTreeSet<Pid>, BTreeSet<Pid>) =
        commands.iter().partition(|it| detached.iter().any(|tree| tree.contains(it)));
    let mut pipes = Pipes::default();
    for &pid in &rest {
        pipes.extend(&Pipes::of_all(procfs, pid).without(&inherited));
    }
    let is_connected = |pid: Pid, pipes: &Pipes| {
        let own = Pipes::of(procfs, pid);
        // A program that reads the output of pidns (such as `less`) is part of the pipeline, even
        // if pidns is unable to read the process that started the program. So recognize the program
        // by the pipe that it reads.
        let reads_output = !own.read.is_disjoint(written);
        reads_output || is_unreadable(procfs, pid) || own.without(&inherited).has_pipe_of(pipes)
    };
    // A process that shares a pipe with a command can share another pipe with a third process, as
    // in `setsid sh -c 'cat | setsid tee log'`. So repeat the search until it finds no process.
    while let Some(pid) = open.iter().copied().find(|&pid| is_connected(pid, &pipes)) {
        open.remove(&pid);
        pipes.extend(&Pipes::of_all(procfs, pid).without(&inherited));
    }
    // A detached process is a daemon if no pipe connects it or its descendants to the commands in
    // pidns's pipeline.
    for daemon in detached.iter().filter(|tree| tree.is_subset(&open)) {
        commands.retain(|pid| !daemon.contains(pid));
    }
}

/// Returns `true` if a process has left its parent's session and has no terminal.
fn is_detached(procfs: &Procfs, process: &Process) -> bool {
    let session = |pid| {
        let mut stat = Vec::new();
        let dir = ProcessDir::open(procfs.fd(), pid).ok()?;
        read(dir.as_fd(), c"stat", &mut stat).ok()?;
        let stat = parse::stat(&stat)?;
        Some((stat.session, stat.has_terminal))
    };
    let parent = process.ppid.and_then(session);
    let own = session(process.pid);
    let pair = own.zip(parent);
    // A session is `None` if this procfs does not show its leader.
    pair.is_some_and(|((own, has_terminal), (parent, _))| {
        own.is_some() && own != parent && !has_terminal
    })
}
