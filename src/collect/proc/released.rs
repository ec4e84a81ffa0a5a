//! A last look at what keeps namespaces without members. Whatever held one may
//! have let go of it during the scan, and then nothing but pidns's own
//! descriptor is left of it. Mounts are not looked at here.

use std::collections::{BTreeSet, HashSet};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use rustix::io::Result;

use super::mount::Procfs;
use super::process_dir::{ProcessDir, for_each_task, task_is_exiting};
use crate::collect::kernel::nsfs;
use crate::collect::kernel::sys::{FileId, is_gone, namespace_link, open_base};
use crate::model::{Holder, NamespaceId, Pid, Process, SearchScope};

/// How long to wait before each further look at what seems to be held no more.
const PAUSES: [Duration; 3] =
    [Duration::ZERO, Duration::from_micros(100), Duration::from_micros(500)];

/// Threads of one process whose own tables are looked at. Of one that has more
/// it cannot be told that it holds nothing any more, in a bounded time.
const MOST_THREADS: usize = 64;

/// Leaves out the holders of namespaces that have no member, and that none of
/// their holders keeps any more.
pub fn leave_out_released(
    procfs: &Procfs,
    search: &BTreeSet<SearchScope>,
    processes: &[Process],
    holders: &mut Vec<(u64, Holder)>,
) {
    let in_threads = search.contains(&SearchScope::Threads);
    let inode_of = |process: &Process| match process.namespace {
        Some(NamespaceId::Inode(inode)) => Some(inode),
        _ => None,
    };
    let has_members: HashSet<u64> = processes.iter().filter_map(inode_of).collect();
    // One holder is enough; the others were there a moment ago.
    let look = |unheld: &mut HashSet<u64>| {
        for (inode, holder) in holders.iter() {
            if unheld.contains(inode) && still_holds(procfs, in_threads, *inode, holder) {
                unheld.remove(inode);
            }
        }
    };
    let mut unheld: HashSet<u64> =
        holders.iter().map(|&(inode, _)| inode).filter(|it| !has_members.contains(it)).collect();
    look(&mut unheld);
    // A thread may be about to take the place of a leader that has exited
    // (`execve(2)`), so that for a moment neither shows what the process holds.
    // However many holders let go, they are waited for together.
    for pause in PAUSES {
        if unheld.is_empty() {
            return;
        }
        std::thread::sleep(pause);
        look(&mut unheld);
    }
    holders.retain(|(inode, _)| !unheld.contains(inode));
}

/// Whether a namespace is still held; also where that cannot be told.
fn still_holds(procfs: &Procfs, in_threads: bool, inode: u64, holder: &Holder) -> bool {
    let held = match *holder {
        Holder::Fd { pid, fd, .. } => holds_open(procfs, in_threads, inode, pid, fd),
        Holder::PidForChildren { pid, tid, .. } => has_for_children(procfs, inode, pid, tid),
        // Files are looked for later.
        Holder::Mount { .. } | Holder::File { .. } => Ok(true),
    };
    held.unwrap_or_else(|errno| !is_gone(errno))
}

/// Whether a descriptor of a process leads to a namespace; with `in_threads`
/// it may be in a table that is a thread's own.
fn holds_open(procfs: &Procfs, in_threads: bool, inode: u64, pid: Pid, fd: u32) -> Result<bool> {
    let held = FileId { device: nsfs::device()?, inode };
    let process = ProcessDir::open(procfs.fd(), pid)?;
    match leads_to(process.as_fd(), fd) {
        Ok(file) if file == held => return Ok(true),
        Err(errno) if !is_gone(errno) => return Err(errno),
        Ok(_) if !in_threads => return Ok(false),
        // Where the leader has exited, its threads still show their table.
        Ok(_) | Err(_) => {}
    }
    let (mut found, mut threads) = (false, 0);
    for_each_task(process.as_fd(), |_, thread| {
        threads += 1;
        found = found || threads <= MOST_THREADS && leads_to(thread.as_fd(), fd) == Ok(held);
    })?;
    Ok(found || threads > MOST_THREADS)
}

/// Whether a thread has the file of that inode number open.
pub fn has_open(procfs: &Procfs, pid: Pid, tid: Pid, fd: u32, inode: u64) -> Result<bool> {
    let process = ProcessDir::open(procfs.fd(), pid)?;
    let thread = open_base(process.as_fd(), format!("task/{tid}").as_str())?;
    Ok(leads_to(thread.as_fd(), fd)?.inode == inode)
}

/// The file that a descriptor of a process or thread, given its directory, leads to.
fn leads_to(dir: BorrowedFd<'_>, fd: u32) -> Result<FileId> {
    let mut number = itoa::Buffer::new();
    FileId::of(open_base(dir, c"fd")?.as_fd(), number.format(fd))
}

/// Whether a thread still has a namespace for its children.
pub fn has_for_children(procfs: &Procfs, inode: u64, pid: Pid, tid: Pid) -> Result<bool> {
    let process = ProcessDir::open(procfs.fd(), pid)?;
    let has = |tid: Pid| {
        let thread = open_base(process.as_fd(), format!("task/{tid}").as_str())?;
        match namespace_link(thread.as_fd(), c"ns/pid_for_children", "pid") {
            Ok(shown) => Ok(shown == Some(inode)),
            // The namespace has had no init yet, or the thread is exiting.
            Err(_) => Ok(!task_is_exiting(thread.as_fd()).unwrap_or(false)),
        }
    };
    match has(tid) {
        // It may have become the leader (`execve(2)`).
        Err(errno) if is_gone(errno) && tid != pid => has(pid),
        other => other,
    }
}
