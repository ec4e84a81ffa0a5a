//! The namespaces that threads have for their children. Descriptors and mounts
//! are not searched here.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::OFlags;
use rustix::io::{Errno, Result};
use rustix::process::PidfdFlags;

use super::findings::Findings;
use super::holders::HolderSearch;
use super::process_dir::task_is_exiting;
use crate::collect::kernel::nsfs::{self, NamespaceFd, open_namespace};
use crate::collect::kernel::sys::{is_gone, namespace_link};
use crate::collect::registry::InitHistory;
use crate::model::{DiagnosticCode, Holder, NamespaceId, Pid, Process};

/// The link to the namespace that a thread's children are born in, below `/proc/PID`.
const FOR_CHILDREN: &CStr = c"ns/pid_for_children";

impl HolderSearch<'_> {
    /// The namespace that a thread's children are born in.
    pub fn pid_for_children(
        &self,
        dir: BorrowedFd<'_>,
        tid: Pid,
        found: &mut Findings,
    ) -> Result<()> {
        match namespace_link(dir, FOR_CHILDREN, "pid") {
            Ok(Some(inode)) => {
                let open = || open_namespace(dir, FOR_CHILDREN);
                let shows = || namespace_link(dir, FOR_CHILDREN, "pid") == Ok(Some(inode));
                self.has_for_children(inode, tid, found, InitHistory::Existed, open, shows);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(Errno::NOENT) => self.nascent(dir, tid, found),
            Err(errno) => self.refused(DiagnosticCode::NamespaceUnreadable, errno, dir, found),
        }
    }

    /// The link `pid_for_children` is missing for one of two reasons: the thread
    /// is exiting, or it has made a namespace for its children and not yet the
    /// first child, which will be that namespace's init.
    fn nascent(&self, dir: BorrowedFd<'_>, tid: Pid, found: &mut Findings) -> Result<()> {
        let exiting = || task_is_exiting(dir).unwrap_or(true);
        if exiting() {
            return self.still_there();
        }
        let namespace = if self.procfs.own {
            by_pidfd(tid, tid != self.process.pid)
        } else {
            Err(Errno::NOTTY)
        };
        // That was asked by number. If the thread is not exiting even now, the
        // number was its own all the while.
        if exiting() {
            return self.still_there();
        }
        match namespace {
            Ok(fd) => {
                // The thread may have entered another one meanwhile (`setns(2)`).
                let is_missing = namespace_link(dir, FOR_CHILDREN, "pid") == Err(Errno::NOENT);
                let history = if is_missing { InitHistory::NoneYet } else { InitHistory::Unknown };
                self.has_for_children(fd.inode(), tid, found, history, || Ok(fd), || true);
                Ok(())
            }
            Err(Errno::SRCH) => self.still_there(),
            Err(errno @ (Errno::ACCESS | Errno::PERM)) => {
                self.refused(DiagnosticCode::NamespaceUnreadable, errno, dir, found)
            }
            Err(_) => {
                found.pending.note(DiagnosticCode::NascentUnreadable, None, Some(self.process.pid));
                Ok(())
            }
        }
    }

    /// Notes that a thread has a namespace for its children, unless it is the
    /// process's own.
    fn has_for_children(
        &self,
        inode: u64,
        tid: Pid,
        found: &mut Findings,
        history: InitHistory,
        open: impl FnOnce() -> Result<NamespaceFd>,
        shows: impl FnOnce() -> bool,
    ) {
        if self.process.namespace == Some(NamespaceId::Inode(inode)) {
            return;
        }
        // A process that is gone may answer EACCES even to root; its status
        // then says that it is gone.
        let open = || open().map_err(|errno| self.still_there().err().unwrap_or(errno));
        match self.registry.pin(inode, history, open, shows) {
            Ok(()) => {}
            Err(errno) if is_gone(errno) => return,
            Err(errno) => self.unopened(errno, found),
        }
        let Process { pid, ref comm, .. } = *self.process;
        found.holders.push((inode, Holder::PidForChildren { pid, comm: Some(comm.clone()), tid }));
    }
}

/// The namespace for the children of a thread, which shows no link to it, by
/// the thread's number.
fn by_pidfd(tid: Pid, is_thread: bool) -> Result<NamespaceFd> {
    // PIDFD_THREAD, since Linux 6.9.
    let flags = if is_thread {
        PidfdFlags::from_bits_retain(OFlags::EXCL.bits())
    } else {
        PidfdFlags::empty()
    };
    let raw = i32::try_from(tid.as_u32()).ok().and_then(rustix::process::Pid::from_raw);
    let pidfd = rustix::process::pidfd_open(raw.ok_or(Errno::SRCH)?, flags)?;
    nsfs::pid_for_children(&pidfd)
}
