//! Inits: whether one lives, and which there are now. What follows for their
//! namespaces is not decided here.

use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::thread;
use std::time::Duration;

use rustix::fs::RawDir;
use rustix::io::{Errno, Result as SysResult};

use super::mount::Procfs;
use super::process_dir::{self, ProcessDir, for_each_task, task_is_exiting};
use super::status::described;
use crate::collect::discovery::{InitNow, ListedInit};
use crate::collect::kernel::sys::{is_gone, open, open_dir, read, read_record};
use crate::collect::parse;
use crate::model::{Pid, Process};

/// Looks at the threads of an init before giving up. Two are enough unless its
/// threads come and go meanwhile.
const LOOKS: usize = 10;

/// How long to wait after a look during which threads came or went.
const PAUSE: Duration = Duration::from_millis(1);

/// Whether an init lives, given what its status said. Its threads need a look
/// only where it may be on its way out.
pub fn life(procfs: &Procfs, init: &Process, has_memory: bool) -> InitNow {
    // A process gives up its memory early in its exit, and has it until then.
    // Threads of the kernel have none.
    if has_memory || init.kernel_thread {
        return InitNow::Living;
    }
    // A zombie leader is counted until it is reaped, so no other thread is left.
    if init.is_zombie() && init.threads == Some(NonZeroU32::MIN) {
        return InitNow::Terminated;
    }
    let looked =
        ProcessDir::open(procfs.fd(), init.pid).and_then(|dir| life_of_threads(dir.as_fd()));
    looked.unwrap_or(InitNow::Unknown)
}

/// What one look at all threads of a process found.
enum Threads {
    /// One of them is not exiting.
    OneLives,
    /// Every one of them is exiting, and there are no others.
    AllExiting,
    /// Some came or went meanwhile.
    Changed,
}

/// Whether a process lives, by its threads: a leader may exit long before the
/// others, and a process lives as long as any of them.
///
/// When a thread other than the leader calls `execve(2)`, all the others end
/// and it takes over the leader's place and TID, while the leader goes under
/// the TID of that thread. A look at one after the other may meet the old
/// leader, which is exiting, under both. So that all are exiting is believed
/// only if two complete looks in a row say so.
fn life_of_threads(dir: BorrowedFd<'_>) -> SysResult<InitNow> {
    let mut exiting_before = false;
    for _ in 0..LOOKS {
        match look_at_threads(dir)? {
            Threads::OneLives => return Ok(InitNow::Living),
            Threads::AllExiting if exiting_before => return Ok(InitNow::Terminated),
            Threads::AllExiting => exiting_before = true,
            Threads::Changed => {
                exiting_before = false;
                thread::sleep(PAUSE);
            }
        }
    }
    Ok(InitNow::Unknown)
}

fn look_at_threads(dir: BorrowedFd<'_>) -> SysResult<Threads> {
    let (mut listed, mut one_lives, mut refused) = (0, false, None);
    for_each_task(dir, |_, task| {
        listed += 1;
        match task_is_exiting(task.as_fd()) {
            Ok(exiting) => one_lives |= !exiting,
            Err(errno) => refused = Some(errno),
        }
    })?;
    if one_lives {
        return Ok(Threads::OneLives);
    }
    if let Some(errno) = refused {
        return Err(errno);
    }
    // One that went meanwhile was not listed or is no longer counted; one that
    // came meanwhile is counted.
    let mut status = Vec::new();
    read(dir, c"status", &mut status)?;
    let counted = parse::status(&status).threads.map_or(0, NonZeroU32::get);
    // Should another thread have taken the leader's place, it lives.
    Ok(match task_is_exiting(dir)? {
        false => Threads::OneLives,
        true if counted == listed => Threads::AllExiting,
        true => Threads::Changed,
    })
}

/// Looks at the process that has a PID, which `is_init` says to be the init in
/// question: asked after its directory was opened, as what is read through
/// that belongs to the process that had the PID then.
///
/// # Errors
/// `ESRCH` where it is another process, or gone; as of reading its status.
pub fn look(procfs: &Procfs, pid: Pid, is_init: impl FnOnce() -> bool) -> SysResult<InitNow> {
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

/// Every process that has PID 1 in a namespace below that of this /proc.
///
/// # Errors
/// Not every process could be read, or the kernel does not tell their PIDs in
/// inner namespaces.
pub fn list(procfs: &Procfs) -> SysResult<Vec<ListedInit>> {
    let mut inits = Vec::new();
    let mut status = Vec::with_capacity(4096);
    let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
    // A descriptor of its own, as it has a position of its own.
    let mut entries = RawDir::new(open_dir(procfs.fd(), c".")?, &mut buffer);
    while let Some(entry) = entries.next() {
        let pid = parse::entry(entry?.file_name().to_bytes()).and_then(Pid::new);
        let Some(pid) = pid else { continue };
        match process_dir::look(|| listed(procfs, pid, &mut status)) {
            Ok(init) => inits.extend(init),
            Err(errno) if is_gone(errno) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(inits)
}

/// A process, if it is the init of a namespace below that of this /proc.
fn listed(procfs: &Procfs, pid: Pid, text: &mut Vec<u8>) -> SysResult<Option<ListedInit>> {
    let mut dir = ProcessDir::by_path(procfs.fd(), pid);
    let (base, name) = dir.file(c"status");
    let status_file = open(base, name)?;
    read_record(&status_file, text)?;
    let nspid = parse::status(text).nspid;
    match nspid.len() {
        0 => return Err(Errno::NOTSUP),
        1 => return Ok(None),
        _ if nspid.last() != Some(&Pid::INIT) => return Ok(None),
        _ => {}
    }
    let link = dir.pid_namespace();
    // Again, after the link: both are of one process if this succeeds.
    read_record(&status_file, text)?;
    let status = parse::status(text);
    let has_memory = status.has_memory;
    let process = described(pid, status, link.ok().flatten());
    Ok(Some(ListedInit {
        now: life(procfs, &process, has_memory),
        namespace: process.namespace.and_then(crate::model::NamespaceId::inode),
        nspid: process.nspid,
    }))
}
