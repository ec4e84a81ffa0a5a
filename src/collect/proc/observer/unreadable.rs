//! Guesses which pipes a process such as `sudo tee log` uses if its descriptors cannot be read.

use std::os::fd::AsFd as _;

use rustix::io::Errno;

use super::pipes::Pipes;
use crate::collect::kernel::sys::read_link;
use crate::collect::kernel::wait_limit::WaitLimit;
use crate::collect::proc::process_dir::ProcessDir;
use crate::collect::proc::procfs::Procfs;
use crate::collect::proc::relatives::{is_shell, session};
use crate::model::{Pid, Process};

/// Names of programs that run a command as another user, and that start no other processes.
const USER_CHANGERS: [&str; 4] = ["su", "sudo", "doas", "runuser"];

/// Guesses the pipes of each process in `others` whose descriptors pidns cannot read, and adds
/// these pipes to `others`.
///
/// - `ancestry`: pidns and its ancestors.
/// - `chain`: the pipes of each process in `ancestry`.
/// - `others`: the other children of the processes in `ancestry`, each with its pipes.
pub fn add_possible_pipes(
    procfs: &Procfs,
    ancestry: &[&Process],
    chain: &[Pipes],
    others: &mut [(&Process, Pipes)],
    waits: &WaitLimit,
) {
    let sessions: Vec<_> = ancestry.iter().map(|it| session(procfs, it.pid)).collect();
    // A process in another session may be a daemon.
    let may_belong = |pid, pipes: &Pipes| {
        pipes.is_empty() && is_unreadable(procfs, pid) && sessions.contains(&session(procfs, pid))
    };
    let may_belong: Vec<bool> =
        others.iter().map(|(it, pipes)| may_belong(it.pid, pipes)).collect();
    if !may_belong.contains(&true) {
        return;
    }
    let pipeline = Pipeline::of(procfs, ancestry, chain, others, waits);
    let possible = others.iter().zip(&may_belong).map(|((process, _), &may_belong)| {
        if may_belong { pipeline.possible_pipes(process, others) } else { Pipes::default() }
    });
    let possible: Vec<Pipes> = possible.collect();
    for ((_, pipes), possible) in others.iter_mut().zip(&possible) {
        pipes.extend(possible);
    }
}

/// Returns `true` if pidns has no permission to read the descriptors of a process.
pub fn is_unreadable(procfs: &Procfs, pid: Pid) -> bool {
    // Reading `exe` requires the same ptrace access as reading descriptors.
    let link = ProcessDir::open(procfs.fd(), pid)
        .and_then(|dir| read_link(dir.as_fd(), c"exe", &mut [0; 256]).map(drop));
    matches!(link, Err(Errno::ACCESS | Errno::PERM))
}

/// An ancestor of pidns, or pidns itself.
struct Ancestor<'a> {
    process: &'a Process,
    is_shell: bool,
    is_readable: bool,
    /// The pipes of this process, or of its child if this process is unreadable.
    pipes: Pipes,
    /// The pipes of all descriptors of this process.
    all: Pipes,
}

/// The shell pipeline in which pidns runs, as far as pidns can see its processes and pipes.
struct Pipeline<'a> {
    /// pidns and its ancestors.
    chain: Vec<Ancestor<'a>>,
    /// The pipes with only one visible end.
    open: Pipes,
    pid_max: Option<u32>,
}

impl<'a> Pipeline<'a> {
    fn of(
        procfs: &Procfs,
        ancestry: &[&'a Process],
        pipes: &[Pipes],
        others: &[(&Process, Pipes)],
        waits: &WaitLimit,
    ) -> Self {
        let mut chain: Vec<Ancestor<'a>> = Vec::new();
        let mut seen = Pipes::default();
        for pipes in pipes.iter().chain(others.iter().map(|(_, pipes)| pipes)) {
            seen.extend(pipes);
        }
        let mut other_ends = seen.clone();
        for (process, pipes) in ancestry.iter().zip(pipes) {
            let is_readable = !is_unreadable(procfs, process.pid);
            let is_shell = is_shell(procfs, process, waits);
            let all = Pipes::of_all(procfs, process.pid);
            if !is_shell {
                // This process may be a CI agent. A CI agent may read a step's output through any
                // of its descriptors, so add the pipes of all descriptors.
                other_ends.extend(&all);
            }
            // If this process is unreadable, use the pipes of its child (the last process in
            // `chain`), because the child may have inherited them from this process.
            let below = chain.last().filter(|_| !is_readable);
            let pipes = below.map_or(pipes, |below| &below.pipes).clone();
            chain.push(Ancestor { process, is_shell, is_readable, pipes, all });
        }
        let read = seen.read.difference(&other_ends.written).copied().collect();
        let written = seen.written.difference(&other_ends.read).copied().collect();
        let open = Pipes { read, written, ..Pipes::default() };
        Self { chain, open, pid_max: procfs.pid_max() }
    }

    /// Returns the pipes that `process` may have open, if its descriptors are unreadable.
    fn possible_pipes(&self, process: &Process, others: &[(&Process, Pipes)]) -> Pipes {
        let mut possible = Pipes::default();
        let level = self.chain.iter().position(|it| process.ppid == Some(it.process.pid));
        let Some((level, parent)) = level.and_then(|it| Some((it, self.chain.get(it)?))) else {
            return possible;
        };
        let child = level.checked_sub(1).and_then(|it| self.chain.get(it));
        let above = self.chain.get(level + 1);
        // A shell can start children and then exec another program. The shell's children are older
        // than the program's own children.
        let is_first = child.is_none_or(|it| self.is_before(it.process, process) != Some(true));
        let may_have_been_shell = child.is_none()
            || above.is_some_and(|it| it.is_shell)
            || USER_CHANGERS.contains(&&*parent.process.comm);
        // The parent may have created a pipe for itself, as in `exec > >(sudo tee log)`.
        if parent.is_shell || is_first && may_have_been_shell {
            let inherited = above.filter(|it| it.is_readable).map(|it| &it.pipes);
            possible.add_other_ends(&parent.pipes, inherited, None);
        }
        // After a shell has connected two commands by a pipe, the shell closes the pipe. So the
        // pipes that the shell has open do not connect its children.
        if parent.is_shell {
            let inherited = Some(&parent.pipes).filter(|_| parent.is_readable);
            let is_sibling = |it: &&Process| it.ppid == process.ppid && it.pid != process.pid;
            let siblings = others.iter().filter(|(it, _)| is_sibling(it));
            let siblings = siblings.map(|(it, pipes)| (*it, pipes));
            for (sibling, pipes) in siblings.chain(child.map(|it| (it.process, &it.pipes))) {
                possible.add_other_ends(pipes, inherited, self.is_before(sibling, process));
                // A shell starts a coprocess before the command that writes to it, and keeps its
                // own write end, which commands do not inherit.
                let kept = parent.all.written.difference(&parent.pipes.written);
                possible.read.extend(kept.filter(|pipe| pipes.written.contains(pipe)));
            }
        }
        possible.read.retain(|pipe| self.open.written.contains(pipe));
        possible.written.retain(|pipe| self.open.read.contains(pipe));
        possible
    }

    /// Returns `true` if the first process started before the second one, or `None` if unknown.
    fn is_before(&self, first: &Process, second: &Process) -> Option<bool> {
        first.start()?.is_before(second.start()?, self.pid_max)
    }
}
