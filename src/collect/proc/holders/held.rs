//! The process whose holders are searched, and what has been found of them.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};

use crate::collect::kernel::sys::is_gone;
use crate::collect::log::DiagnosticLog;
use crate::collect::proc::process_dir::{still_there, task_is_exiting};
use crate::collect::proc::scan::Scan;
use crate::model::{DiagnosticCode, Holder, Pid, Process};

/// The process to search.
pub struct HolderSearch<'a> {
    /// The scan that this is part of.
    pub scan: Scan<'a>,
    /// The process.
    pub process: &'a Process,
    /// `/proc/PID`, open.
    pub dir: BorrowedFd<'a>,
    /// `/proc/PID/status`, open; it tells whether the process is still there.
    pub status_file: &'a OwnedFd,
    /// Set if the process is known to have no namespace open.
    pub has_none_open: bool,
    /// Set if the viewer has the right to see everything about this process, so that
    /// a refusal can only be temporary.
    pub expects_access: bool,
}

/// The namespaces that one process holds, as far as they were found.
#[derive(Debug, Default)]
pub struct Held {
    /// The holders, each with the inode of the PID namespace that it holds.
    pub holders: Vec<(u64, Holder)>,
    /// Inodes of the mount namespaces that threads are in, with the TID.
    pub mount_namespaces: Vec<(u64, Pid)>,
    /// Inodes of mount namespaces among the open descriptors, with the descriptor.
    pub mount_namespace_fds: Vec<(u64, u32)>,
    /// Failed reads.
    pub log: DiagnosticLog,
    /// Set if something was refused or missing that may be there a moment later, as
    /// during `execve(2)`. The process should then be read again.
    pub is_unsettled: bool,
    /// Set if the leader was seen to exit, so that another thread must be asked.
    pub leader_exits: bool,
}

impl Held {
    /// Records that a thread's descriptor table went away while it was read, and
    /// whether the thread was exiting. If it wasn't, another thread may have taken
    /// its place (`execve(2)`).
    pub fn lost_table(&mut self, exiting: bool) {
        self.is_unsettled = true;
        self.leader_exits |= exiting;
    }
}

impl HolderSearch<'_> {
    /// Fails with `ESRCH` if the process is gone.
    pub fn still_there(&self) -> Result<()> {
        still_there(self.status_file)
    }

    /// Records that a thread refused something. Fails with `ESRCH` if that is only
    /// because the process is gone.
    pub fn refused(
        &self,
        code: DiagnosticCode,
        errno: Errno,
        thread: BorrowedFd<'_>,
        held: &mut Held,
    ) -> Result<()> {
        self.still_there()?;
        let is_gone = is_gone(errno);
        let is_denied = matches!(errno, Errno::ACCESS | Errno::PERM);
        if is_gone || is_denied && self.expects_access {
            held.is_unsettled = true;
        }
        // An exiting thread has already released what was to be read.
        if !is_gone || !task_is_exiting(thread).unwrap_or(true) {
            held.log.note(code, Some(errno), Some(self.process.pid));
        }
        Ok(())
    }

    /// Records that a namespace held by the process could not be opened or kept open.
    pub fn unopened(&self, errno: Errno, held: &mut Held) {
        if errno == Errno::ACCESS && self.expects_access {
            held.is_unsettled = true;
        }
        held.log.note(DiagnosticCode::NamespaceUnopened, Some(errno), Some(self.process.pid));
    }
}
