//! Remembers the large descriptor tables that a scan has searched, so that each is searched once.
//!
//! Processes can share one descriptor table (`CLONE_FILES` of clone(2) without `CLONE_THREAD`).
//! Such sharing costs a user little, but if pidns searched the table once for each of the
//! processes, the scan would take as long as if each had a table of its own.

use std::cmp::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use smol_str::SmolStr;

use crate::collect::holder_list::HolderList;
use crate::collect::kernel::nsfs::compare_descriptor_tables;
use crate::collect::proc::blocked::Reading;
use crate::collect::proc::procfs::Procfs;
use crate::collect::proc::status::start_time_now;
use crate::model::{Holder, Pid};

/// Descriptor tables up to this capacity count as small. A small table is searched again for every
/// process that shares it, because a search costs no more than finding out that the table is
/// shared. The kernel's smallest table has this capacity.
const SMALL: u32 = 64;

/// Maximum number of holders to add for processes that share a descriptor table (`CLONE_FILES`)
/// with a process that was already searched.
const MAX_ADDED: usize = 100_000;

/// The large descriptor tables that a scan has searched. All threads of the scan share this list.
#[derive(Debug, Default)]
pub struct SearchedTables(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    tables: Vec<SearchedTable>,
    /// Indices into `tables`, sorted by kcmp(2). An index is removed once its table can no longer be
    /// compared because the thread has exited.
    order: Vec<usize>,
}

/// A descriptor table that was searched.
#[derive(Debug)]
pub struct SearchedTable {
    /// PID and start time of the process that was searched.
    pub pid: Pid,
    pub start_time: Option<u64>,
    /// The thread through which the table was read.
    pub tid: Pid,
    /// The PID namespaces that are open in this table: inode and descriptor number.
    pub namespaces: Vec<(u64, u32)>,
}

/// A process that shares its descriptor table with a process that was searched.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sharer {
    pub pid: Pid,
    pub comm: SmolStr,
    /// Index of the table.
    pub table: usize,
}

/// Returns `true` if a table is so large that it must be searched only once. `capacity` is `FDSize`
/// in `/proc/PID/status`, which is 0 if the leader of the process has exited.
pub fn is_large(capacity: Option<u32>) -> bool {
    capacity.is_none_or(|capacity| capacity == 0 || capacity > SMALL)
}

impl SearchedTables {
    /// Returns the index of the table of a thread, if that table was searched before.
    pub fn find(&self, procfs: &Procfs, tid: Pid) -> Option<usize> {
        // kcmp(2) takes TIDs of the viewer's PID namespace.
        if !procfs.own {
            return None;
        }
        let mut tables = self.lock();
        let position = tables.position(tid)?.ok()?;
        let index = *tables.order.get(position)?;
        let SearchedTable { pid, start_time, .. } = *tables.tables.get(index)?;
        drop(tables);
        // If the searched process has exited, its PID may now belong to another process, which may
        // share a different table with this thread.
        (start_time.is_some() && start_time_now(procfs, pid) == start_time).then_some(index)
    }

    /// Adds a table that was searched completely.
    pub fn insert(&self, table: SearchedTable) {
        let mut tables = self.lock();
        // Another thread of the scan may have searched the same table and added it in the meantime.
        if let Some(Err(position)) = tables.position(table.tid) {
            let index = tables.tables.len();
            tables.order.insert(position, index);
            tables.tables.push(table);
        }
    }

    /// Adds the descriptors of shared tables as holders: each process that shares a table keeps the
    /// namespaces alive.
    pub fn add_holders(&self, mut sharers: Vec<Sharer>, holders: &mut HolderList) {
        let Tables { tables, .. } = &*self.lock();
        sharers.sort_unstable();
        sharers.dedup();
        let mut left = MAX_ADDED;
        for Sharer { pid, comm, table } in sharers {
            let Some(table) = tables.get(table) else { continue };
            let added = left.min(table.namespaces.len());
            for &(inode, fd) in table.namespaces.iter().take(added) {
                holders.push(inode, Holder::Fd { pid, comm: Some(comm.clone()), fd });
            }
            holders.leave_out(table.namespaces.len() - added);
            left -= added;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // A thread that panics cannot leave the list half changed, so a poisoned lock can still be
        // used.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// Searches `order` for the table of a thread, as [`slice::binary_search`] does. Returns `None` if
    /// the thread's table can't be compared.
    fn position(&mut self, tid: Pid) -> Option<Result<usize, usize>> {
        loop {
            let mut failed = None;
            let position = self.order.binary_search_by(|&index| {
                let known = self.tables.get(index).map_or(tid, |table| table.tid);
                let _reading = Reading::of(known);
                compare_descriptor_tables(known, tid).unwrap_or_else(|_| {
                    failed = Some((index, known));
                    Ordering::Less
                })
            });
            let Some((index, known)) = failed else { return Some(position) };
            // One of the two threads has exited. If it is the known one, go on without it.
            if compare_descriptor_tables(known, known).is_ok() {
                return None;
            }
            self.order.retain(|&it| it != index);
        }
    }
}
