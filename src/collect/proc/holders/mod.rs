//! Finds the namespaces that a process keeps alive although it is not a member of them.
//!
//! A process keeps alive the namespaces that it has open, and the PID namespace in which it creates
//! children. A descriptor or thread that goes away during the search is left out without a
//! diagnostic. The module `mounts` searches for bind mounts.
//!
//! - `held`: the types for the process to search and for the namespaces that were found
//! - `children`: finds the namespace in which a thread creates its children
//! - `fds`: searches a descriptor table
//! - `tables`: finds out which threads of a process share a descriptor table
//! - `shared`: finds out which processes share a descriptor table
//! - `released`: checks at the end of a scan which namespaces are still kept alive

mod children;
mod fds;
mod held;
pub mod released;
mod shared;
mod tables;

use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::{Errno, Result};

use super::descriptor_table::is_scanning;
use super::process_dir::{for_each_task, living_thread};
use crate::collect::kernel::blocked;
use crate::collect::kernel::sys::namespace_link;
use crate::model::{DiagnosticCode, Pid, SearchScope};
pub use held::{Held, HolderSearch};
pub use shared::{SearchedTables, Sharer};
use tables::DescriptorTables;

/// Searches a process for namespaces, or fails with `ESRCH` if the process is gone.
pub fn search(search: &HolderSearch<'_>) -> Result<Held> {
    let leader_has_exited = search.process.is_zombie();
    let held = search_once(search, leader_has_exited)?;
    if held.leader_exits && !leader_has_exited {
        // Another thread may share the descriptors of the leader, which has just exited.
        return search_once(search, true);
    }
    Ok(held)
}

/// Searches a process for namespaces, starting with its main thread (leader).
///
/// If `leader_has_exited` is set, starts with another thread.
fn search_once(search: &HolderSearch<'_>, leader_has_exited: bool) -> Result<Held> {
    let mut held = Held { leader_exits: leader_has_exited, ..Held::default() };
    let mut thread = (search.process.pid, None);
    if leader_has_exited {
        match living_thread(search.dir) {
            Ok(Some((tid, dir))) => thread = (tid, Some(dir)),
            Ok(None) => {
                // If the process has several threads, one of them may be calling `execve(2)` and
                // may soon replace the leader.
                let is_alone = search.process.threads == Some(NonZeroU32::MIN);
                held.is_unsettled = !(search.process.is_zombie() && is_alone);
                search.still_there()?;
                return Ok(held);
            }
            Err(errno) => {
                search.refused(DiagnosticCode::FdsUnreadable, errno, search.dir, &mut held)?;
                return Ok(held);
            }
        }
    }
    let (tid, dir) = (thread.0, thread.1.as_ref().map_or(search.dir, AsFd::as_fd));
    search_thread(search, dir, tid, true, &mut held)?;
    if search.scan.search.contains(&SearchScope::Threads) {
        search_other_threads(search, tid, &mut held)?;
    }
    Ok(held)
}

/// Searches all other threads, because each thread may have called `unshare(2)`.
fn search_other_threads(search: &HolderSearch<'_>, searched: Pid, held: &mut Held) -> Result<()> {
    let searches_fds = search.scan.search.contains(&SearchScope::Fds);
    // Skip a pidns process that is running a scan, because its other threads enter namespaces only
    // briefly.
    if search.is_viewer() || held.is_scanner || (!searches_fds && is_scanning(search.dir)) {
        return Ok(());
    }
    let is_comparable = blocked::check(search.process.pid);
    if searches_fds && let Err(errno) = is_comparable {
        held.log.note(DiagnosticCode::FdsUnreadable, Some(errno), Some(search.process.pid));
    }
    let mut tables = DescriptorTables::new(search.scan.procfs.own, searched);
    let mut outcome = Ok(());
    let listed = for_each_task(search.dir, |tid, task| {
        if tid == searched || outcome.is_err() {
            return;
        }
        let is_new = is_comparable.is_ok() && tables.insert(tid);
        outcome = search_thread(search, task.as_fd(), tid, is_new, held);
    });
    match listed {
        Ok(()) => outcome,
        Err(errno) => search.refused(DiagnosticCode::NamespaceUnreadable, errno, search.dir, held),
    }
}

/// Searches one thread for namespaces. Also searches its descriptor table if `reads_table` is set.
fn search_thread(
    search: &HolderSearch<'_>,
    dir: BorrowedFd<'_>,
    tid: Pid,
    reads_table: bool,
    held: &mut Held,
) -> Result<()> {
    let searches = |scope| search.scan.search.contains(&scope);
    // The scope `threads` includes the scope `children`, so either of them requires this search.
    if searches(SearchScope::Children) || searches(SearchScope::Threads) {
        children::search(search, dir, tid, held)?;
    }
    let mut is_denied = false;
    if searches(SearchScope::Mounts) {
        match namespace_link(dir, c"ns/mnt", "mnt") {
            Ok(inode) => held.mount_namespaces.extend(inode.map(|inode| (inode, tid))),
            Err(errno) => {
                is_denied = errno == Errno::ACCESS;
                search.refused(DiagnosticCode::MountsUnreadable, errno, dir, held)?;
            }
        }
    }
    if !reads_table || !searches(SearchScope::Fds) || search.has_none_open {
        return Ok(());
    }
    if is_denied {
        // Access to `ns/mnt` was denied. Reading `/proc/PID/fd` requires the same ptrace access, so
        // do not try.
        return search.refused(DiagnosticCode::FdsUnreadable, Errno::ACCESS, dir, held);
    }
    fds::search(search, dir, tid, held)
}
