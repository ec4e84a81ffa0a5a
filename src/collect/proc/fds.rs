//! Tables of open descriptors, and the PID namespaces behind them. Descriptors
//! are told apart by the file that they lead to, not by the text of their
//! links: that of one which was opened through a bind mount is a path.
//!
//! What a descriptor leads to is the process's choice, and may change at any
//! moment. Nothing is opened before it is known to be a namespace.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::RawDir;
use rustix::io::{Errno, Result};

use super::findings::Findings;
use super::holders::HolderSearch;
use super::process_dir::task_is_exiting;
use crate::collect::kernel::nsfs::{self, NamespaceFd};
use crate::collect::kernel::sys::{FileId, is_gone, open_dir, open_linked, read_link};
use crate::collect::parse;
use crate::collect::registry::InitHistory;
use crate::model::{DiagnosticCode, Holder};

impl HolderSearch<'_> {
    /// Searches every open descriptor of a thread, given its directory.
    pub fn fds(&self, thread: BorrowedFd<'_>, found: &mut Findings) -> Result<()> {
        let refused = |errno, found: &mut Findings| {
            self.refused(DiagnosticCode::FdsUnreadable, errno, thread, found)
        };
        let nsfs = match nsfs::device() {
            Ok(nsfs) => nsfs,
            Err(errno) => return refused(errno, found),
        };
        let table = match open_dir(thread, c"fd") {
            Ok(table) => table,
            Err(errno) => return refused(errno, found),
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut entries = RawDir::new(&table, &mut buffer);
        // Whether the table may have gone meanwhile: it is empty, or something
        // that was listed is no longer there.
        let (mut is_empty, mut was_lost) = (true, false);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => return refused(errno, found),
            };
            let name = entry.file_name();
            if name.to_bytes().first() == Some(&b'.') {
                continue;
            }
            let file = match FileId::of(table.as_fd(), name) {
                Ok(file) if file.device == nsfs => file,
                Err(errno @ (Errno::ACCESS | Errno::PERM | Errno::NOMEM)) => {
                    return refused(errno, found);
                }
                // Another file, or none any more. nsfs answers nothing else.
                Ok(_) => {
                    is_empty = false;
                    continue;
                }
                Err(_) => {
                    was_lost = true;
                    continue;
                }
            };
            is_empty = false;
            let Some(fd) = parse::entry(name.to_bytes()) else { continue };
            match self.pid_namespace_of(table.as_fd(), name, file, found) {
                Ok(Some(inode)) => {
                    let comm = Some(self.process.comm.clone());
                    found.holders.push((inode, Holder::Fd { pid: self.process.pid, comm, fd }));
                }
                Ok(None) => {}
                Err(_) => was_lost = true,
            }
        }
        // A thread gives its table away before it is seen to have exited. If
        // another thread executes, that one keeps the table, and may have taken
        // the leader's place by now.
        if is_empty || was_lost {
            self.table_may_be_gone(task_is_exiting(thread).unwrap_or(true));
        }
        Ok(())
    }

    /// The PID namespace that a descriptor of some namespace leads to, pinned;
    /// `None` where it is of another kind.
    ///
    /// # Errors
    /// It leads elsewhere by now, or nowhere.
    fn pid_namespace_of(
        &self,
        table: BorrowedFd<'_>,
        name: &CStr,
        file: FileId,
        found: &mut Findings,
    ) -> Result<Option<u64>> {
        // The number may have been given to the one that is pinned only after
        // it was read. What shows it now leads there.
        if self.registry.is_pinned(file.inode) && FileId::of(table, name) == Ok(file) {
            return Ok(Some(file.inode));
        }
        // Most namespaces that are held open are of other kinds, whose links
        // say so: `net:[INODE]`. Where it is a path, it says nothing.
        let mut text = [0; 32];
        let text = read_link(table, name, &mut text)?;
        let shown = parse::namespace_link(text, "pid");
        if parse::namespace_link(text, "mnt") == Some(file.inode) {
            self.keeps_mounts(name, file.inode, found);
        }
        if shown.is_none() && text.first() != Some(&b'/') {
            return Ok(None);
        }
        let fd = open_linked(table, name).and_then(|path| NamespaceFd::reopen(&path));
        let fd = match fd {
            Ok(fd) => fd,
            // It has become another file, which was not opened.
            Err(errno) if is_gone(errno) || errno == Errno::NOTTY => return Err(errno),
            Err(errno) => {
                self.unopened(errno, found);
                if let Some(inode) = shown {
                    self.registry.meet(inode, InitHistory::Unknown);
                }
                return Ok(shown);
            }
        };
        let inode = fd.inode();
        match fd.is_pid_namespace() {
            Ok(true) => {}
            Ok(false) => {
                if fd.is_mount_namespace() {
                    self.keeps_mounts(name, inode, found);
                }
                return Ok(None);
            }
            Err(errno) => {
                self.unopened(errno, found);
                return Ok(None);
            }
        }
        if let Err(errno) = self.registry.keep(fd, InitHistory::Unknown) {
            self.unopened(errno, found);
        }
        Ok(Some(inode))
    }

    /// Notes a descriptor of a mount namespace, which keeps all that is mounted in there.
    fn keeps_mounts(&self, name: &CStr, inode: u64, found: &mut Findings) {
        if let Some(fd) = parse::entry(name.to_bytes()) {
            found.mount_namespace_fds.push((inode, self.process.pid, fd));
        }
    }
}
