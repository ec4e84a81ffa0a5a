//! Defines the input and the result of the search for namespaces that a process keeps alive.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};

use super::shared::SearchedTable;
use crate::collect::holder_list::HolderList;
use crate::collect::kernel::sys::is_gone;
use crate::collect::log::DiagnosticLog;
use crate::collect::proc::process_dir::{real_cause, still_there, task_is_exiting};
use crate::collect::proc::scan::Scan;
use crate::model::{DiagnosticCode, Pid, Process};

/// A search for the namespaces that one process keeps alive.
pub struct HolderSearch<'a> {
    pub scan: Scan<'a>,
    pub process: &'a Process,
    /// The open directory `/proc/PID`.
    pub dir: BorrowedFd<'a>,
    /// The open file `/proc/PID/status`, which is unreadable once the process is gone.
    pub status_file: &'a OwnedFd,
    /// Capacity of the process's descriptor table, or 0 after the leader has exited.
    pub descriptor_capacity: Option<u32>,
    /// `true` if no descriptor of the process refers to a namespace.
    pub has_none_open: bool,
    /// `true` if pidns has permission to read this process. A denied read is then unexpected, so
    /// pidns should retry it.
    pub expects_access: bool,
}

/// The result of a search for the namespaces that one process keeps alive.
#[derive(Debug, Default)]
pub struct Held {
    /// The descriptors and threads that keep PID namespaces alive.
    pub holders: HolderList,
    /// The large descriptor tables that were searched.
    pub searched_tables: Vec<SearchedTable>,
    /// Indices into [`SearchedTables`](super::SearchedTables) for the tables that this process
    /// shares with already searched processes.
    pub shared_tables: Vec<usize>,
    /// The mount namespaces of the process's threads, each with the TID of a thread in it.
    pub mount_namespaces: Vec<(u64, Pid)>,
    /// Inode and one descriptor number of each mount namespace that the process has open.
    pub mount_namespace_fds: BTreeMap<u64, u32>,
    /// Diagnostics for reads that failed during the search.
    pub log: DiagnosticLog,
    /// `true` if a second read of the process may find data that was missing or denied.
    pub is_unsettled: bool,
    /// `true` if the leader thread is exiting, so another thread must be searched instead.
    pub leader_exits: bool,
    /// `true` if the process is pidns itself, or another pidns process that runs a scan.
    pub is_scanner: bool,
}

impl Held {
    /// Records that a thread's descriptor table disappeared during the search.
    pub fn lost_table(&mut self, exiting: bool) {
        self.is_unsettled = true;
        self.leader_exits |= exiting;
    }
}

impl HolderSearch<'_> {
    /// Returns `true` if the process is pidns itself.
    pub fn is_viewer(&self) -> bool {
        self.scan.procfs.viewer == Some(self.process.pid)
    }

    /// Fails with `ESRCH` if the process is gone.
    pub fn still_there(&self) -> Result<()> {
        still_there(self.status_file)
    }

    /// Records an error from reading a thread, or fails with `ESRCH` if the process is gone.
    pub fn refused(
        &self,
        code: DiagnosticCode,
        errno: Errno,
        thread: BorrowedFd<'_>,
        held: &mut Held,
    ) -> Result<()> {
        self.still_there()?;
        let errno = real_cause(errno, thread);
        let is_gone = is_gone(errno);
        let is_denied = matches!(errno, Errno::ACCESS | Errno::PERM);
        if is_gone || is_denied && self.expects_access {
            held.is_unsettled = true;
        }
        // An exiting thread has already released its descriptors and namespaces.
        if !is_gone || !task_is_exiting(thread).unwrap_or(true) {
            held.log.note(code, Some(errno), Some(self.process.pid));
        }
        Ok(())
    }

    /// Records that a namespace of the process could not be opened or kept open.
    pub fn unopened(&self, errno: Errno, held: &mut Held) {
        if errno == Errno::ACCESS && self.expects_access {
            held.is_unsettled = true;
        }
        held.log.note(DiagnosticCode::NamespaceUnopened, Some(errno), Some(self.process.pid));
    }
}
