//! Searches descriptor tables for PID and mount namespaces.
//!
//! The device and inode of an open file identify a namespace. The link in `/proc/PID/fd` is not
//! enough, because the link of a bind-mounted namespace is a path. pidns opens only namespace
//! files, never files of another type.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::io::{Errno, Result};

use super::held::{Held, HolderSearch};
use super::shared::{SearchedTable, is_large};
use crate::collect::kernel::blocked;
use crate::collect::kernel::nsfs::NamespaceFd;
use crate::collect::kernel::sys::{FileId, is_gone, open_dir, open_linked, read_link};
use crate::collect::parse;
use crate::collect::proc::descriptor_table::{DescriptorTable, file_name, is_close_on_exec};
use crate::collect::proc::process_dir::{real_cause, task_is_exiting};
use crate::collect::proc::scan::Scan;
use crate::collect::registry::InitHistory;
use crate::model::{DiagnosticCode, Holder, Pid, Process};

/// Searches the descriptors of a thread, unless its descriptor table was already searched.
pub fn search(
    search: &HolderSearch<'_>,
    thread: BorrowedFd<'_>,
    tid: Pid,
    held: &mut Held,
) -> Result<()> {
    let Process { pid, start_time, .. } = *search.process;
    // If a comparison of descriptor tables could block pidns, skip it.
    let is_comparable = blocked::check(pid).is_ok();
    let is_large = is_comparable && is_large(search.descriptor_capacity.filter(|_| tid == pid));
    let Scan { procfs, tables, .. } = search.scan;
    if is_large && let Some(table) = tables.find(procfs, tid) {
        held.shared_tables.push(table);
        return Ok(());
    }
    let mut namespaces = Vec::new();
    match search_table(search, thread, &mut namespaces, held) {
        // The thread is exiting, or another thread is replacing it (`execve(2)`).
        Ok(false) => held.lost_table(task_is_exiting(thread).unwrap_or(true)),
        Ok(true) if is_large => {
            held.searched_tables.push(SearchedTable { pid, start_time, tid, namespaces });
        }
        Ok(true) => {}
        Err(errno) => {
            return search.refused(DiagnosticCode::FdsUnreadable, errno, thread, held);
        }
    }
    Ok(())
}

/// Searches a descriptor table, and returns `false` if the thread may have released it.
fn search_table(
    search: &HolderSearch<'_>,
    thread: BorrowedFd<'_>,
    namespaces: &mut Vec<(u64, u32)>,
    held: &mut Held,
) -> Result<bool> {
    let table = open_dir(thread, c"fd")?;
    let listed = if search.is_viewer() {
        DescriptorTable::of(table.as_fd(), search.scan.inherited)
    } else {
        DescriptorTable::list(table.as_fd())?
    };
    held.is_scanner |= search.is_viewer() || listed.has_scan_mark;
    let mut is_intact = listed.is_intact;
    for (fd, file) in listed.namespaces {
        if listed.has_scan_mark && is_close_on_exec(thread, fd) {
            continue;
        }
        match pid_namespace_of(search, thread, table.as_fd(), &file_name(fd), file, held) {
            Ok(Some(inode)) => {
                let comm = Some(search.process.comm.clone());
                held.holders.push(inode, Holder::Fd { pid: search.process.pid, comm, fd });
                namespaces.push((inode, fd));
            }
            Ok(None) => {}
            Err(_) => is_intact = false,
        }
    }
    // A pidns process that is scanning opens and closes descriptors all the time, so accept its
    // descriptor table even if the table changed while it was read.
    Ok(is_intact || held.is_scanner)
}

/// Opens the PID namespace of a descriptor, keeps it open, and returns its inode.
fn pid_namespace_of(
    search: &HolderSearch<'_>,
    thread: BorrowedFd<'_>,
    table: BorrowedFd<'_>,
    name: &CStr,
    file: FileId,
    held: &mut Held,
) -> Result<Option<u64>> {
    let registry = search.scan.registry;
    // The inode number in `file` may have been reused since `file` was read. Once the namespace is
    // pinned, its inode number can't be reused, so check `file` again now.
    if registry.is_pinned(file.inode) && FileId::of(table, name) == Ok(file) {
        return Ok(Some(file.inode));
    }
    let mut text = [0; 32];
    let text = read_link(table, name, &mut text)?;
    let shown = parse::namespace_link(text, "pid");
    if parse::namespace_link(text, "mnt") == Some(file.inode) {
        add_mount_namespace(name, file.inode, held);
    }
    // The link of a bind-mounted namespace is a path that does not show the type.
    if shown.is_none() && text.first() != Some(&b'/') {
        return Ok(None);
    }
    let opened = open_linked(table, name).and_then(|path| NamespaceFd::reopen(&path));
    let fd = match opened.map_err(|errno| real_cause(errno, thread)) {
        Ok(fd) => fd,
        // The descriptor no longer refers to the namespace, or the thread is gone.
        Err(errno) if is_gone(errno) || errno == Errno::NOTTY => return Err(errno),
        Err(errno) => {
            search.unopened(errno, held);
            if let Some(inode) = shown {
                registry.meet(inode, InitHistory::Unknown);
            }
            return Ok(shown);
        }
    };
    let inode = fd.inode();
    match fd.is_pid_namespace() {
        Ok(true) => {}
        Ok(false) => {
            if fd.is_mount_namespace() {
                add_mount_namespace(name, inode, held);
            }
            return Ok(None);
        }
        Err(errno) => {
            search.unopened(errno, held);
            return Ok(None);
        }
    }
    if let Err(errno) = registry.keep(fd, InitHistory::Unknown) {
        search.unopened(errno, held);
    }
    Ok(Some(inode))
}

/// Records that the process has a mount namespace open.
fn add_mount_namespace(name: &CStr, inode: u64, held: &mut Held) {
    if let Some(fd) = parse::entry(name.to_bytes()) {
        held.mount_namespace_fds.entry(inode).or_insert(fd);
    }
}
