//! What keeps namespaces in being beside their members: the namespaces that
//! processes and threads have for their children, and open descriptors.
//!
//! A descriptor or process that goes away meanwhile is no diagnostic.

use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, RawDir};
use rustix::io::{Errno, Result};
use rustix::process::PidfdFlags;

use super::mount::Procfs;
use super::process_dir::{for_each_task, task_is_exiting};
use crate::collect::discovery::Discovery;
use crate::collect::nsfs::{self, NamespaceFd, open_namespace};
use crate::collect::parse;
use crate::collect::registry::{InitHistory, NamespaceRegistry};
use crate::collect::sys::{is_gone, namespace_link, open_dir, read_link};
use crate::model::{DiagnosticCode, Holder, NamespaceId, Pid, Process, SearchScope};

/// Where a search of one process looks, beside its own namespace.
#[derive(Clone, Copy, Debug)]
pub struct Searches {
    children: bool,
    threads: bool,
    fds: bool,
    /// The mount tables.
    pub mounts: bool,
}

impl Searches {
    /// Those of a set of sources.
    pub fn of(sources: &BTreeSet<SearchScope>) -> Self {
        Self {
            // The leader is a thread, too.
            children: sources.contains(&SearchScope::Children)
                || sources.contains(&SearchScope::Threads),
            threads: sources.contains(&SearchScope::Threads),
            fds: sources.contains(&SearchScope::Fds),
            mounts: sources.contains(&SearchScope::Mounts),
        }
    }

    /// Whether there is anything to search.
    pub fn any(self) -> bool {
        self.children || self.threads || self.fds || self.mounts
    }
}

/// The search of one process, which is open.
pub struct HolderSearch<'a> {
    /// The process.
    pub process: &'a Process,
    /// `/proc/PID`.
    pub dir: BorrowedFd<'a>,
    /// `/proc/PID/status`, which tells whether the process is still there.
    pub status: &'a OwnedFd,
    /// The /proc that this is in.
    pub procfs: &'a Procfs,
    /// The namespaces met.
    pub registry: &'a NamespaceRegistry,
}

impl HolderSearch<'_> {
    /// Finds what the process holds.
    ///
    /// # Errors
    /// It has vanished; `found` may then hold a part of what it held.
    pub fn search(&self, searches: Searches, found: &mut Discovery) -> Result<()> {
        let mut leader = (self.process.pid, None);
        if self.process.is_zombie() {
            // A leader that has exited before its other threads has nothing
            // left, but they have.
            match self.living_thread() {
                Ok(None) => return Ok(()),
                Ok(Some((tid, dir))) => leader = (tid, Some(dir)),
                Err(errno) => return self.refused(DiagnosticCode::FdsUnreadable, errno, found),
            }
        }
        let (tid, dir) = (leader.0, leader.1.as_ref().map_or(self.dir, AsFd::as_fd));
        self.thread(dir, tid, searches, found)?;
        if searches.threads {
            self.threads(tid, searches, found)?;
        }
        Ok(())
    }

    /// The namespace that a thread's children are born in.
    fn children(&self, dir: BorrowedFd<'_>, tid: Pid, found: &mut Discovery) -> Result<()> {
        let name = c"ns/pid_for_children";
        match namespace_link(dir, name, "pid") {
            Ok(Some(inode)) => {
                let open = || open_namespace(dir, name);
                let shows = || namespace_link(dir, name, "pid") == Ok(Some(inode));
                self.has_for_children(inode, tid, found, InitHistory::Existed, open, shows);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(Errno::NOENT) => self.unborn(dir, tid, found),
            Err(errno) => self.refused(DiagnosticCode::NamespaceUnreadable, errno, found),
        }
    }

    /// There is no link: the thread is going, or its first child that would
    /// be the namespace's init is not born yet.
    fn unborn(&self, dir: BorrowedFd<'_>, tid: Pid, found: &mut Discovery) -> Result<()> {
        let exiting = || task_is_exiting(dir).unwrap_or(true);
        if exiting() {
            return self.still_there();
        }
        let shown = if self.procfs.own {
            for_children(tid, tid != self.process.pid)
        } else {
            Err(Errno::NOTTY)
        };
        // The PID was still this thread's after it was opened by number?
        if exiting() {
            return self.still_there();
        }
        match shown {
            Ok(fd) => {
                let inode = fd.inode();
                self.has_for_children(inode, tid, found, InitHistory::NoneYet, || Ok(fd), || true);
                Ok(())
            }
            Err(Errno::SRCH) => self.still_there(),
            Err(errno @ (Errno::ACCESS | Errno::PERM)) => {
                self.refused(DiagnosticCode::NamespaceUnreadable, errno, found)
            }
            Err(_) => {
                found.pending.note(DiagnosticCode::NascentUnreadable, None, Some(self.process.pid));
                Ok(())
            }
        }
    }

    fn has_for_children(
        &self,
        inode: u64,
        tid: Pid,
        found: &mut Discovery,
        history: InitHistory,
        open: impl FnOnce() -> Result<NamespaceFd>,
        shows: impl FnOnce() -> bool,
    ) {
        if self.process.namespace != Some(NamespaceId::Inode(inode)) {
            let holder = Holder::PidForChildren {
                pid: self.process.pid,
                comm: Some(self.process.comm.clone()),
                tid,
            };
            self.holds(inode, holder, found, history, open, shows);
        }
    }

    /// Every thread but one, which was searched before. A thread may have a
    /// table of descriptors, and a mount namespace, of its own (`unshare(2)`).
    fn threads(&self, but: Pid, searches: Searches, found: &mut Discovery) -> Result<()> {
        let mut outcome = Ok(());
        let listed = for_each_task(self.dir, |tid, task| {
            if tid != but && outcome.is_ok() {
                outcome = self.thread(task.as_fd(), tid, searches, found);
            }
        });
        match listed {
            Ok(()) => outcome,
            Err(errno) => self.refused(DiagnosticCode::NamespaceUnreadable, errno, found),
        }
    }

    /// What one thread holds.
    fn thread(
        &self,
        dir: BorrowedFd<'_>,
        tid: Pid,
        searches: Searches,
        found: &mut Discovery,
    ) -> Result<()> {
        if searches.children {
            self.children(dir, tid, found)?;
        }
        let mut denied = false;
        if searches.mounts {
            match namespace_link(dir, c"ns/mnt", "mnt") {
                Ok(inode) => found.add_reader(inode, self.process.pid, tid),
                Err(errno) => {
                    denied = errno == Errno::ACCESS;
                    self.refused(DiagnosticCode::MountsUnreadable, errno, found)?;
                }
            }
        }
        match searches.fds {
            // Links of namespaces and of descriptors are guarded alike (ptrace
            // access), so that there is no use in listing the latter.
            true if denied => self.refused(DiagnosticCode::FdsUnreadable, Errno::ACCESS, found),
            true => self.fds(dir, found),
            false => Ok(()),
        }
    }

    /// Every open descriptor.
    fn fds(&self, dir: BorrowedFd<'_>, found: &mut Discovery) -> Result<()> {
        let table = match open_dir(dir, c"fd") {
            Ok(table) => table,
            Err(errno) => return self.refused(DiagnosticCode::FdsUnreadable, errno, found),
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut entries = RawDir::new(&table, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => return self.refused(DiagnosticCode::FdsUnreadable, errno, found),
            };
            let name = entry.file_name();
            if name.to_bytes().first() == Some(&b'.') {
                continue;
            }
            // What is longer is no PID namespace.
            let mut link = [0; 32];
            let inode = match read_link(table.as_fd(), name, &mut link) {
                Ok(link) => parse::namespace_link(link, "pid"),
                Err(errno) if is_gone(errno) => None,
                Err(errno) => return self.refused(DiagnosticCode::FdsUnreadable, errno, found),
            };
            if let (Some(inode), Some(fd)) = (inode, parse::entry(name.to_bytes())) {
                let holder =
                    Holder::Fd { pid: self.process.pid, comm: Some(self.process.comm.clone()), fd };
                let open = || open_namespace(table.as_fd(), name);
                let shows = || namespace_link(table.as_fd(), name, "pid") == Ok(Some(inode));
                self.holds(inode, holder, found, InitHistory::Unknown, open, shows);
            }
        }
        Ok(())
    }

    /// Notes a holder, and what it holds as met.
    fn holds(
        &self,
        inode: u64,
        holder: Holder,
        found: &mut Discovery,
        history: InitHistory,
        open: impl FnOnce() -> Result<NamespaceFd>,
        shows: impl FnOnce() -> bool,
    ) {
        // What is gone may answer EACCES even to root.
        let open = || open().map_err(|errno| self.still_there().err().unwrap_or(errno));
        match self.registry.pin(inode, history, open, shows) {
            Ok(()) => {}
            Err(errno) if is_gone(errno) => return,
            Err(errno) => {
                found.pending.note(
                    DiagnosticCode::NamespaceUnopened,
                    Some(errno),
                    Some(self.process.pid),
                );
            }
        }
        found.holders.push((inode, holder));
    }

    /// A thread that has not exited, of a process whose leader has.
    fn living_thread(&self) -> Result<Option<(Pid, OwnedFd)>> {
        let mut living = Ok(None);
        for_each_task(self.dir, |tid, task| match (task_is_exiting(task.as_fd()), &living) {
            (Ok(false), Ok(None)) => living = Ok(Some((tid, task))),
            (Err(errno), Ok(None)) => living = Err(errno),
            _ => {}
        })?;
        living
    }

    /// Something was refused, unless that only says that the process is gone.
    fn refused(&self, code: DiagnosticCode, errno: Errno, found: &mut Discovery) -> Result<()> {
        self.still_there()?;
        // It is there and yet has none: it is on its way out.
        if !is_gone(errno) {
            found.pending.note(code, Some(errno), Some(self.process.pid));
        }
        Ok(())
    }

    fn still_there(&self) -> Result<()> {
        rustix::io::pread(self.status, &mut [0; 1], 0).map(drop)
    }
}

/// The namespace for the children of a thread, by its number.
fn for_children(tid: Pid, is_thread: bool) -> Result<NamespaceFd> {
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
