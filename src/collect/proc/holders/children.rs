//! Finds the PID namespace in which a thread creates its children.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::OFlags;
use rustix::io::{Errno, Result};
use rustix::process::PidfdFlags;

use super::held::{Held, HolderSearch};
use crate::collect::kernel::nsfs::{self, NamespaceFd, open_namespace};
use crate::collect::kernel::sys::{is_gone, namespace_link};
use crate::collect::proc::process_dir::{real_cause, task_is_exiting};
use crate::collect::registry::InitHistory;
use crate::model::{DiagnosticCode, Holder, NamespaceId, Pid, Process};

/// Link to the PID namespace in which a thread creates its children.
const FOR_CHILDREN: &CStr = c"ns/pid_for_children";

/// Finds the PID namespace in which the thread `tid` creates its children.
///
/// `dir`: directory of the thread in /proc.
pub fn search(
    search: &HolderSearch<'_>,
    dir: BorrowedFd<'_>,
    tid: Pid,
    held: &mut Held,
) -> Result<()> {
    match namespace_link(dir, FOR_CHILDREN, "pid") {
        Ok(Some(inode)) => {
            let open = || open_namespace(dir, FOR_CHILDREN).map_err(|errno| real_cause(errno, dir));
            let shows = || namespace_link(dir, FOR_CHILDREN, "pid") == Ok(Some(inode));
            add_holder(search, inode, tid, held, InitHistory::Existed, open, shows);
            Ok(())
        }
        Ok(None) => Ok(()),
        Err(Errno::NOENT) => search_nascent(search, dir, tid, held),
        Err(errno) => search.refused(DiagnosticCode::NamespaceUnreadable, errno, dir, held),
    }
}

/// Finds the PID namespace for a thread's children if `pid_for_children` is missing.
fn search_nascent(
    search: &HolderSearch<'_>,
    dir: BorrowedFd<'_>,
    tid: Pid,
    held: &mut Held,
) -> Result<()> {
    // The link `pid_for_children` is missing if the thread is exiting, or if the namespace has no
    // init yet.
    let is_exiting = || task_is_exiting(dir).unwrap_or(true);
    if is_exiting() {
        return search.still_there();
    }
    // The link `pid_for_children` is missing until the namespace has an init, but a pidfd works
    // even before that.
    let namespace = if search.scan.procfs.own {
        open_by_tid(tid, tid != search.process.pid)
    } else {
        Err(Errno::NOTTY)
    };
    // If the thread is exiting or gone, its TID may have been reused while `namespace` was opened,
    // so ignore `namespace`.
    if is_exiting() {
        return search.still_there();
    }
    match namespace {
        Ok(fd) => {
            // If the link `pid_for_children` is still missing, the opened namespace has no init
            // yet. If the link exists now, the thread may have switched namespaces. In that case,
            // the link does not show whether the opened namespace has ever had an init.
            let is_missing = namespace_link(dir, FOR_CHILDREN, "pid") == Err(Errno::NOENT);
            let history = if is_missing { InitHistory::NoneYet } else { InitHistory::Unknown };
            add_holder(search, fd.inode(), tid, held, history, || Ok(fd), || true);
            Ok(())
        }
        Err(Errno::SRCH) => search.still_there(),
        Err(errno @ (Errno::ACCESS | Errno::PERM)) => {
            search.refused(DiagnosticCode::NamespaceUnreadable, errno, dir, held)
        }
        Err(_) => {
            held.log.note(DiagnosticCode::NascentUnreadable, None, Some(search.process.pid));
            Ok(())
        }
    }
}

/// Adds a thread as a holder of the PID namespace in which it creates its children.
fn add_holder(
    search: &HolderSearch<'_>,
    inode: u64,
    tid: Pid,
    held: &mut Held,
    history: InitHistory,
    open: impl FnOnce() -> Result<NamespaceFd>,
    shows: impl FnOnce() -> bool,
) {
    if search.process.namespace == Some(NamespaceId::Inode(inode)) {
        return;
    }
    match search.scan.registry.pin(inode, history, open, shows) {
        Ok(()) => {}
        Err(errno) if is_gone(errno) => return,
        Err(errno) => search.unopened(errno, held),
    }
    let Process { pid, ref comm, .. } = *search.process;
    held.holders.push(inode, Holder::PidForChildren { pid, comm: Some(comm.clone()), tid });
}

/// Opens the PID namespace for a thread's children through a pidfd.
fn open_by_tid(tid: Pid, is_thread: bool) -> Result<NamespaceFd> {
    // The flag PIDFD_THREAD (since Linux 6.9) has the same value as O_EXCL.
    let flags = if is_thread {
        PidfdFlags::from_bits_retain(OFlags::EXCL.bits())
    } else {
        PidfdFlags::empty()
    };
    let raw = i32::try_from(tid.as_u32()).ok().and_then(rustix::process::Pid::from_raw);
    let pidfd = rustix::process::pidfd_open(raw.ok_or(Errno::SRCH)?, flags)?;
    nsfs::pid_for_children(&pidfd)
}
