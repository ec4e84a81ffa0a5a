//! Removes PID namespaces that processes have released during a scan.
//!
//! pidns itself keeps a released namespace alive while it has the namespace open. So this module
//! checks again whether each holder still holds its namespace. It does not check bind mounts,
//! because the module `mounts` has just read them.

use std::collections::{BTreeSet, HashSet};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use rustix::io::Result;

use crate::collect::holder_list::HolderList;
use crate::collect::kernel::nsfs;
use crate::collect::kernel::sys::{FileId, is_gone, namespace_link, open_base};
use crate::collect::proc::process_dir::{ProcessDir, for_each_task, task_is_exiting};
use crate::collect::proc::procfs::Procfs;
use crate::model::{Holder, NamespaceId, Pid, Process, SearchScope};

/// The pause before each repeated check of the released namespaces.
const PAUSES: [Duration; 3] =
    [Duration::ZERO, Duration::from_micros(100), Duration::from_micros(500)];

/// Maximum number of threads to check per process.
const MAX_THREADS: usize = 64;

/// Removes from `holders` every PID namespace whose members and holders are all gone.
pub fn leave_out_released(
    procfs: &Procfs,
    search: &BTreeSet<SearchScope>,
    processes: &[Process],
    holders: &mut HolderList,
) {
    let in_threads = search.contains(&SearchScope::Threads);
    let has_members: HashSet<u64> = processes
        .iter()
        .filter_map(|process| process.namespace.and_then(NamespaceId::inode))
        .collect();
    // Removes from `released` each namespace that still has a holder.
    let remove_held = |released: &mut HashSet<u64>| {
        for (inode, holder) in holders.iter() {
            if released.contains(inode) && still_holds(procfs, in_threads, *inode, holder) {
                released.remove(inode);
            }
        }
    };
    let mut released: HashSet<u64> =
        holders.iter().map(|&(inode, _)| inode).filter(|it| !has_members.contains(it)).collect();
    remove_held(&mut released);
    // During `execve(2)` in a thread, /proc briefly shows no descriptors for the process.
    for pause in PAUSES {
        if released.is_empty() {
            return;
        }
        std::thread::sleep(pause);
        remove_held(&mut released);
    }
    holders.retain_namespaces(|inode| !released.contains(&inode));
}

/// Returns `true` if `holder` still keeps the namespace alive, or if this is unknown.
fn still_holds(procfs: &Procfs, in_threads: bool, inode: u64, holder: &Holder) -> bool {
    let held = match *holder {
        Holder::Fd { pid, fd, .. } => has_namespace_open(procfs, in_threads, inode, pid, fd),
        Holder::PidForChildren { pid, tid, .. } => has_for_children(procfs, inode, pid, tid),
        // Bind mounts were read just before this check, and files are added as holders only after
        // it, so skip both.
        Holder::Mount { .. } | Holder::File { .. } => Ok(true),
    };
    held.unwrap_or_else(|errno| !is_gone(errno))
}

/// Returns `true` if the descriptor `fd` of the main thread refers to the namespace.
///
/// Also checks the other threads if `in_threads` is set, or if the main thread has no such
/// descriptor.
fn has_namespace_open(
    procfs: &Procfs,
    in_threads: bool,
    inode: u64,
    pid: Pid,
    fd: u32,
) -> Result<bool> {
    let held = FileId { device: nsfs::device()?, inode };
    let process = ProcessDir::open(procfs.fd(), pid)?;
    match file_behind(process.as_fd(), fd) {
        Ok(file) if file == held => return Ok(true),
        Err(errno) if !is_gone(errno) => return Err(errno),
        Ok(_) if !in_threads => return Ok(false),
        // Also check the other threads, because each thread may have its own descriptor table.
        Ok(_) | Err(_) => {}
    }
    let (mut found, mut threads) = (false, 0);
    for_each_task(process.as_fd(), |_, thread| {
        threads += 1;
        found = found || threads <= MAX_THREADS && file_behind(thread.as_fd(), fd) == Ok(held);
    })?;
    // If there are too many threads, assume that the process still holds the namespace.
    Ok(found || threads > MAX_THREADS)
}

/// Returns `true` if the descriptor `fd` of a thread refers to the file with this inode.
pub fn has_file_open(procfs: &Procfs, pid: Pid, tid: Pid, fd: u32, inode: u64) -> Result<bool> {
    let process = ProcessDir::open(procfs.fd(), pid)?;
    let thread = open_base(process.as_fd(), format!("task/{tid}").as_str())?;
    Ok(file_behind(thread.as_fd(), fd)?.inode == inode)
}

/// Returns the ID of the file that the descriptor `fd` refers to. `dir` is the directory of the
/// process or thread.
fn file_behind(dir: BorrowedFd<'_>, fd: u32) -> Result<FileId> {
    let mut number = itoa::Buffer::new();
    FileId::of(open_base(dir, c"fd")?.as_fd(), number.format(fd))
}

/// Returns `true` if a thread still creates its children in the namespace with this inode.
pub fn has_for_children(procfs: &Procfs, inode: u64, pid: Pid, tid: Pid) -> Result<bool> {
    let process = ProcessDir::open(procfs.fd(), pid)?;
    let has = |tid: Pid| {
        let thread = open_base(process.as_fd(), format!("task/{tid}").as_str())?;
        match namespace_link(thread.as_fd(), c"ns/pid_for_children", "pid") {
            Ok(shown) => Ok(shown == Some(inode)),
            // The link `pid_for_children` is missing if the thread is exiting, or if the namespace
            // has no init yet.
            Err(_) => Ok(!task_is_exiting(thread.as_fd()).unwrap_or(false)),
        }
    };
    match has(tid) {
        // If the thread has called `execve(2)`, it is now the leader, and its TID is `pid`.
        Err(errno) if is_gone(errno) && tid != pid => has(pid),
        other => other,
    }
}
