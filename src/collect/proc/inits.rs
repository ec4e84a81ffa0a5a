//! Determines whether an init is alive, and lists the inits of nested namespaces.

use std::num::NonZeroU32;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::thread;
use std::time::Duration;

use rustix::io::{Errno, Result as SysResult};

use super::process_dir::{ProcessDir, for_each_task, task_is_exiting, try_twice};
use super::procfs::Procfs;
use super::status::described;
use crate::collect::discovery::{InitNow, ListedInit};
use crate::collect::kernel::sys::{is_gone, open, read, read_record};
use crate::collect::parse;
use crate::model::{NamespaceId, Pid, Process};

/// Maximum number of passes over all threads of an init (usually, two are enough).
const ATTEMPTS: usize = 10;

/// Pause before the next pass, if a thread started or exited during the last pass.
const PAUSE: Duration = Duration::from_millis(1);

/// Determines whether an init is alive.
pub fn life(procfs: &Procfs, init: &Process, has_memory: bool) -> InitNow {
    // A process with memory is not exiting, and kernel threads are always alive.
    if has_memory || init.kernel_thread {
        return InitNow::Living;
    }
    // The thread count includes the zombie leader, so a count of 1 means that no other thread is
    // left.
    if init.is_zombie() && init.threads == Some(NonZeroU32::MIN) {
        return InitNow::Terminated;
    }
    let life = ProcessDir::open(procfs.fd(), init.pid).and_then(|dir| life_by_threads(dir.as_fd()));
    life.unwrap_or(InitNow::Unknown)
}

/// State of the threads of a process, found in one pass over all threads.
enum ThreadsNow {
    /// At least one thread is not exiting.
    OneLives,
    /// All threads are exiting.
    AllExiting,
    /// A thread started or exited during the pass, so a living thread may have been missed.
    Changed,
}

/// Determines whether any thread of a process is alive.
fn life_by_threads(dir: BorrowedFd<'_>) -> SysResult<InitNow> {
    let mut exiting_before = false;
    for _ in 0..ATTEMPTS {
        match threads_now(dir)? {
            ThreadsNow::OneLives => return Ok(InitNow::Living),
            // One pass can miss a living thread, because `execve(2)` can change its TID.
            ThreadsNow::AllExiting if exiting_before => return Ok(InitNow::Terminated),
            ThreadsNow::AllExiting => exiting_before = true,
            ThreadsNow::Changed => {
                exiting_before = false;
                thread::sleep(PAUSE);
            }
        }
    }
    Ok(InitNow::Unknown)
}

fn threads_now(dir: BorrowedFd<'_>) -> SysResult<ThreadsNow> {
    let (mut listed, mut one_lives, mut refused) = (0, false, None);
    for_each_task(dir, |_, task| {
        listed += 1;
        match task_is_exiting(task.as_fd()) {
            Ok(exiting) => one_lives |= !exiting,
            Err(errno) => refused = Some(errno),
        }
    })?;
    if one_lives {
        return Ok(ThreadsNow::OneLives);
    }
    if let Some(errno) = refused {
        return Err(errno);
    }
    // If the status file shows a different number of threads, the list has missed a thread.
    let mut status = Vec::new();
    read(dir, c"status", &mut status)?;
    let counted = parse::status(&status).threads.map_or(0, NonZeroU32::get);
    // A living thread may have become the leader since the first check (`execve(2)`).
    Ok(match task_is_exiting(dir)? {
        false => ThreadsNow::OneLives,
        true if counted == listed => ThreadsNow::AllExiting,
        true => ThreadsNow::Changed,
    })
}

/// Determines whether an init is alive, or fails with `ESRCH` if `is_init` returns `false`.
pub fn life_of_pid(
    procfs: &Procfs,
    pid: Pid,
    is_init: impl FnOnce() -> bool,
) -> SysResult<InitNow> {
    let mut dir = ProcessDir::open(procfs.fd(), pid)?;
    if !is_init() {
        return Err(Errno::SRCH);
    }
    let (base, name) = dir.file(c"status");
    let mut text = Vec::new();
    read(base, name, &mut text)?;
    let status = parse::status(&text);
    let has_memory = status.has_memory;
    Ok(life(procfs, &described(pid, status, None), has_memory))
}

/// Lists the inits of all descendants of the PID namespace that the procfs shows.
pub fn list(procfs: &Procfs) -> SysResult<Vec<ListedInit>> {
    let mut inits = Vec::new();
    let mut buffer = Vec::with_capacity(4096);
    for pid in procfs.pids()? {
        let pid = pid?;
        match try_twice(|| nested_init(procfs, pid, &mut buffer)) {
            Ok(init) => inits.extend(init),
            Err(errno) if is_gone(errno) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(inits)
}

/// Reads a process, and returns it if it is the init of a nested namespace.
fn nested_init(procfs: &Procfs, pid: Pid, text: &mut Vec<u8>) -> SysResult<Option<ListedInit>> {
    let mut dir = ProcessDir::by_path(procfs.fd(), pid);
    let (base, name) = dir.file(c"status");
    let status_file = open(base, name)?;
    read_record(&status_file, text)?;
    let nspid = parse::status(text).nspid;
    match nspid.len() {
        // Before Linux 4.1, there is no NSpid line.
        0 => return Err(Errno::NOTSUP),
        1 => return Ok(None),
        _ if nspid.last() != Some(&Pid::INIT) => return Ok(None),
        _ => {}
    }
    let link = dir.pid_namespace();
    // Read the status again, to prove that the namespace link belongs to the same process.
    read_record(&status_file, text)?;
    let status = parse::status(text);
    let has_memory = status.has_memory;
    let process = described(pid, status, link.ok().flatten());
    Ok(Some(ListedInit {
        now: life(procfs, &process, has_memory),
        namespace: process.namespace.and_then(NamespaceId::inode),
        nspid: process.nspid,
    }))
}
