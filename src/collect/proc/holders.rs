//! What a process keeps namespaces alive by, beside being a member: the
//! namespaces that its threads have for their children, and open descriptors.
//! Bind mounts are not searched here.
//!
//! A descriptor or thread that goes away meanwhile is left out, which is no
//! diagnostic.

use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, RawDir};
use rustix::io::{Errno, Result};
use rustix::process::PidfdFlags;

use super::findings::Findings;
use super::mount::Procfs;
use super::process_dir::{for_each_task, still_there, task_is_exiting};
use crate::collect::nsfs::{self, NamespaceFd, open_namespace};
use crate::collect::parse;
use crate::collect::registry::{InitHistory, NamespaceRegistry};
use crate::collect::sys::{is_gone, namespace_link, open_dir, read_link};
use crate::model::{DiagnosticCode, Holder, NamespaceId, Pid, Process, SearchScope};

/// The search of one process.
pub struct HolderSearch<'a> {
    /// The process.
    pub process: &'a Process,
    /// `/proc/PID`, opened.
    pub dir: BorrowedFd<'a>,
    /// `/proc/PID/status`, which tells whether the process is still there.
    pub status_file: &'a OwnedFd,
    /// Where to search.
    pub search: &'a BTreeSet<SearchScope>,
    /// The /proc that this is in.
    pub procfs: &'a Procfs,
    /// The namespaces met.
    pub registry: &'a NamespaceRegistry,
}

impl HolderSearch<'_> {
    /// Finds what the process holds.
    ///
    /// # Errors
    /// It has vanished; `found` may then have a part of what it held.
    pub fn search(&self, found: &mut Findings) -> Result<()> {
        let mut leader = (self.process.pid, None);
        if self.process.is_zombie() {
            // A leader that has exited before its other threads shows nothing
            // any more. What the process holds, one of them shows.
            match self.living_thread() {
                Ok(None) => return Ok(()),
                Ok(Some((tid, dir))) => leader = (tid, Some(dir)),
                Err(errno) => return self.refused(DiagnosticCode::FdsUnreadable, errno, found),
            }
        }
        let (tid, dir) = (leader.0, leader.1.as_ref().map_or(self.dir, AsFd::as_fd));
        self.thread(dir, tid, found)?;
        if self.search.contains(&SearchScope::Threads) {
            self.other_threads(tid, found)?;
        }
        Ok(())
    }

    /// The namespace that a thread's children are born in.
    fn pid_for_children(&self, dir: BorrowedFd<'_>, tid: Pid, found: &mut Findings) -> Result<()> {
        let name = c"ns/pid_for_children";
        match namespace_link(dir, name, "pid") {
            Ok(Some(inode)) => {
                let open = || open_namespace(dir, name);
                let shows = || namespace_link(dir, name, "pid") == Ok(Some(inode));
                self.has_for_children(inode, tid, found, InitHistory::Existed, open, shows);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(Errno::NOENT) => self.nascent(dir, tid, found),
            Err(errno) => self.refused(DiagnosticCode::NamespaceUnreadable, errno, found),
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
        if self.process.namespace != Some(NamespaceId::Inode(inode)) {
            let holder = Holder::PidForChildren {
                pid: self.process.pid,
                comm: Some(self.process.comm.clone()),
                tid,
            };
            self.holds(inode, holder, found, history, open, shows);
        }
    }

    /// Searches every thread but one, which was searched before. A thread may
    /// have a table of descriptors and a mount namespace of its own (`unshare(2)`).
    fn other_threads(&self, searched: Pid, found: &mut Findings) -> Result<()> {
        let mut outcome = Ok(());
        let listed = for_each_task(self.dir, |tid, task| {
            if tid != searched && outcome.is_ok() {
                outcome = self.thread(task.as_fd(), tid, found);
            }
        });
        match listed {
            Ok(()) => outcome,
            Err(errno) => self.refused(DiagnosticCode::NamespaceUnreadable, errno, found),
        }
    }

    /// Searches what one thread shows.
    fn thread(&self, dir: BorrowedFd<'_>, tid: Pid, found: &mut Findings) -> Result<()> {
        let searches = |scope| self.search.contains(&scope);
        // The leader is one of the threads.
        if searches(SearchScope::Children) || searches(SearchScope::Threads) {
            self.pid_for_children(dir, tid, found)?;
        }
        let mut denied = false;
        if searches(SearchScope::Mounts) {
            match namespace_link(dir, c"ns/mnt", "mnt") {
                Ok(inode) => found.add_reader(inode, self.process.pid, tid),
                Err(errno) => {
                    denied = errno == Errno::ACCESS;
                    self.refused(DiagnosticCode::MountsUnreadable, errno, found)?;
                }
            }
        }
        match searches(SearchScope::Fds) {
            // The kernel asks for the same permission (ptrace access) before it
            // shows either kind of link. So it would refuse every descriptor, too.
            true if denied => self.refused(DiagnosticCode::FdsUnreadable, Errno::ACCESS, found),
            true => self.fds(dir, found),
            false => Ok(()),
        }
    }

    /// Searches every open descriptor.
    fn fds(&self, dir: BorrowedFd<'_>, found: &mut Findings) -> Result<()> {
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
            // The link of a PID namespace fits; what is longer is no such link.
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

    /// Pins a namespace, and notes what holds it.
    fn holds(
        &self,
        inode: u64,
        holder: Holder,
        found: &mut Findings,
        history: InitHistory,
        open: impl FnOnce() -> Result<NamespaceFd>,
        shows: impl FnOnce() -> bool,
    ) {
        // A process that is gone may answer EACCES even to root; its status
        // then says that it is gone.
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

    /// A thread that is not exiting, of a process whose leader has exited.
    fn living_thread(&self) -> Result<Option<(Pid, OwnedFd)>> {
        let mut living = Ok(None);
        for_each_task(self.dir, |tid, task| match (task_is_exiting(task.as_fd()), &living) {
            (Ok(false), Ok(None)) => living = Ok(Some((tid, task))),
            (Err(errno), Ok(None)) => living = Err(errno),
            _ => {}
        })?;
        living
    }

    /// Notes what was refused, unless the process is gone, which is an error
    /// here as elsewhere.
    fn refused(&self, code: DiagnosticCode, errno: Errno, found: &mut Findings) -> Result<()> {
        self.still_there()?;
        // A process that is there and yet says ENOENT or ESRCH is exiting, and
        // has already given up what was asked for.
        if !is_gone(errno) {
            found.pending.note(code, Some(errno), Some(self.process.pid));
        }
        Ok(())
    }

    fn still_there(&self) -> Result<()> {
        still_there(self.status_file)
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
