//! What a process keeps namespaces alive by, beside being a member: the
//! namespaces that its threads have for their children, and open descriptors.
//! Bind mounts are not searched here.
//!
//! A descriptor or thread that goes away meanwhile is left out, which is no
//! diagnostic.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};

use super::findings::Findings;
use super::mount::Procfs;
use super::process_dir::{for_each_task, still_there, task_is_exiting};
use super::scan::Scan;
use super::tables::DescriptorTables;
use crate::collect::kernel::sys::{is_gone, namespace_link};
use crate::collect::log::DiagnosticLog;
use crate::collect::registry::NamespaceRegistry;
use crate::model::{DiagnosticCode, Pid, Process, SearchScope};

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
    /// Whether no namespace is among its descriptors, as is known before.
    has_none_open: bool,
    /// Whether the viewer should be allowed to see what the process holds.
    expects_access: bool,
    /// Whether something was refused that may be granted in a moment.
    is_unsettled: Cell<bool>,
    /// Whether the leader was seen to exit, so that another thread is to be asked.
    leader_exits: Cell<bool>,
}

impl<'a> HolderSearch<'a> {
    /// That of one process, in the directory `/proc/PID` and by its open status.
    /// `has_none_open` says that its descriptors need not be searched.
    pub fn new(
        scan: Scan<'a>,
        process: &'a Process,
        has_none_open: bool,
        dir: BorrowedFd<'a>,
        status_file: &'a OwnedFd,
        expects_access: bool,
    ) -> Self {
        let Scan { procfs, search, registry, .. } = scan;
        Self {
            process,
            has_none_open,
            dir,
            status_file,
            search,
            procfs,
            registry,
            expects_access,
            is_unsettled: Cell::new(false),
            leader_exits: Cell::new(process.is_zombie()),
        }
    }

    /// Notes that a thread may have given its descriptors away while they were
    /// looked at. If it exits, the process may live on; if it does not, it may
    /// be another one that has taken its place.
    pub fn table_may_be_gone(&self, exits: bool) {
        self.is_unsettled.set(true);
        if exits {
            self.leader_exits.set(true);
        }
    }

    /// Finds what the process holds; `false` where something was refused or gone
    /// that may be there in a moment, as while another thread takes the place of
    /// the leader (`execve(2)`).
    ///
    /// # Errors
    /// It has vanished; `found` may then have a part of what it held.
    pub fn search(&self, found: &mut Findings) -> Result<bool> {
        let noted = std::mem::take(&mut found.pending);
        let before = found.holders.len();
        let asks_another = self.leader_exits.get();
        self.look(found)?;
        if self.leader_exits.get() && !asks_another {
            // What the leader has given away, another thread may show.
            found.holders.truncate(before);
            found.pending = DiagnosticLog::default();
            self.is_unsettled.set(false);
            self.look(found)?;
        }
        found.pending.merge(noted);
        Ok(!self.is_unsettled.get())
    }

    /// Looks once at what the process holds.
    fn look(&self, found: &mut Findings) -> Result<()> {
        let mut leader = (self.process.pid, None);
        if self.leader_exits.get() {
            // A leader that has exited before its other threads shows nothing
            // any more. What the process holds, one of them shows.
            match self.living_thread() {
                Ok(None) => {
                    // Unless the leader was all that was left, one of them may
                    // have taken its place meanwhile, or be about to.
                    let is_alone = self.process.threads == Some(NonZeroU32::MIN);
                    self.is_unsettled.set(!(self.process.is_zombie() && is_alone));
                    return self.still_there();
                }
                Ok(Some((tid, dir))) => leader = (tid, Some(dir)),
                Err(errno) => {
                    return self.refused(DiagnosticCode::FdsUnreadable, errno, self.dir, found);
                }
            }
        }
        let (tid, dir) = (leader.0, leader.1.as_ref().map_or(self.dir, AsFd::as_fd));
        self.thread(dir, tid, true, found)?;
        if self.search.contains(&SearchScope::Threads) {
            self.other_threads(tid, found)?;
        }
        Ok(())
    }

    /// Searches every thread but one, which was searched before. A thread may
    /// have a table of descriptors and a mount namespace of its own (`unshare(2)`).
    fn other_threads(&self, searched: Pid, found: &mut Findings) -> Result<()> {
        let mut tables = DescriptorTables::new(self.procfs.own, searched);
        let before = found.holders.len();
        let mut outcome = Ok(());
        let listed = for_each_task(self.dir, |tid, task| {
            if tid == searched || outcome.is_err() {
                return;
            }
            let is_new = tables.is_new(tid);
            outcome = self.thread(task.as_fd(), tid, is_new, found);
            if is_new {
                // It may be one that was read before: what it holds is kept once.
                found.holders[before..].sort_unstable();
                let mut held = found.holders.split_off(before);
                held.dedup();
                found.holders.append(&mut held);
            }
        });
        match listed {
            Ok(()) => outcome,
            Err(errno) => self.refused(DiagnosticCode::NamespaceUnreadable, errno, self.dir, found),
        }
    }

    /// Searches what one thread shows; its table of descriptors only where
    /// `reads_table` says so.
    fn thread(
        &self,
        dir: BorrowedFd<'_>,
        tid: Pid,
        reads_table: bool,
        found: &mut Findings,
    ) -> Result<()> {
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
                    self.refused(DiagnosticCode::MountsUnreadable, errno, dir, found)?;
                }
            }
        }
        match reads_table && searches(SearchScope::Fds) && !self.has_none_open {
            // The kernel asks for the same permission (ptrace access) before it
            // shows either kind of link. So it would refuse every descriptor, too.
            true if denied => {
                self.refused(DiagnosticCode::FdsUnreadable, Errno::ACCESS, dir, found)
            }
            true => self.fds(dir, found),
            false => Ok(()),
        }
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

    /// Notes what a thread refused, unless the process is gone, which is an
    /// error here as elsewhere.
    pub fn refused(
        &self,
        code: DiagnosticCode,
        errno: Errno,
        thread: BorrowedFd<'_>,
        found: &mut Findings,
    ) -> Result<()> {
        self.still_there()?;
        let is_gone = is_gone(errno);
        let is_denied = matches!(errno, Errno::ACCESS | Errno::PERM);
        if is_gone || is_denied && self.expects_access {
            self.is_unsettled.set(true);
        }
        // A thread that is exiting has already given up what was asked for.
        if !is_gone || !task_is_exiting(thread).unwrap_or(true) {
            found.pending.note(code, Some(errno), Some(self.process.pid));
        }
        Ok(())
    }

    /// Notes that a namespace which the process holds was not opened, or not kept open.
    pub fn unopened(&self, errno: Errno, found: &mut Findings) {
        if errno == Errno::ACCESS && self.expects_access {
            self.is_unsettled.set(true);
        }
        found.pending.note(DiagnosticCode::NamespaceUnopened, Some(errno), Some(self.process.pid));
    }

    pub fn still_there(&self) -> Result<()> {
        still_there(self.status_file)
    }
}
