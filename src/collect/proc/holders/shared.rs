//! Records the large descriptor tables that a scan has searched, to search each only once.
//!
//! Thousands of processes can share one descriptor table (`CLONE_FILES` of `clone(2)`).

use std::cmp::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use smol_str::SmolStr;

use crate::collect::holder_list::HolderList;
use crate::collect::kernel::blocked;
use crate::collect::kernel::nsfs::compare_descriptor_tables;
use crate::collect::proc::procfs::Procfs;
use crate::collect::proc::status::start_time_now;
use crate::model::{Holder, Pid};

/// Maximum capacity of a small descriptor table.
///
/// Searching a small table is as fast as comparing it with other tables (`kcmp(2)`).
const SMALL: u32 = 64;

/// Maximum number of holders to add for processes that share an already searched descriptor table.
const MAX_ADDED: usize = 100_000;

/// The large descriptor tables that a scan has searched.
#[derive(Debug, Default)]
pub struct SearchedTables(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    tables: Vec<SearchedTable>,
    /// Indices into `tables`, in the order that `kcmp(2)` defines.
    order: Vec<usize>,
}

/// A descriptor table that was searched.
#[derive(Debug)]
pub struct SearchedTable {
    /// PID of the process that was searched.
    pub pid: Pid,
    pub start_time: Option<u64>,
    /// The thread through which the table was read.
    pub tid: Pid,
    /// Inode and descriptor number of each PID namespace that is open in this table.
    pub namespaces: Vec<(u64, u32)>,
}

/// A process that shares its descriptor table with a process that was already searched.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sharer {
    pub pid: Pid,
    pub comm: SmolStr,
    /// Index of the shared table in `Tables::tables`.
    pub table: usize,
}

/// Returns `true` if a descriptor table may be large.
pub fn is_large(capacity: Option<u32>) -> bool {
    // The capacity (`FDSize` in `/proc/PID/status`) is 0 after the leader has exited.
    capacity.is_none_or(|capacity| capacity == 0 || capacity > SMALL)
}

impl SearchedTables {
    /// Returns the index of a thread's descriptor table, if the table was already searched.
    pub fn find(&self, procfs: &Procfs, tid: Pid) -> Option<usize> {
        // kcmp(2) expects TIDs in pidns's own PID namespace.
        if !procfs.own {
            return None;
        }
        let mut tables = self.lock();
        let position = tables.position(tid)?.ok()?;
        let index = *tables.order.get(position)?;
        let SearchedTable { pid, start_time, .. } = *tables.tables.get(index)?;
        drop(tables);
        // If the PID was reused, kcmp(2) has compared the table of another process.
        (start_time.is_some() && start_time_now(procfs, pid) == start_time).then_some(index)
    }

    /// Adds a descriptor table that was searched completely.
    pub fn insert(&self, table: SearchedTable) {
        let mut tables = self.lock();
        // Skip the table if another thread of the scan has already added it.
        if let Some(Err(position)) = tables.position(table.tid) {
            let index = tables.tables.len();
            tables.order.insert(position, index);
            tables.tables.push(table);
        }
    }

    /// Adds each process in `sharers` as a holder of the PID namespaces in its descriptor table.
    ///
    /// Adds at most [`MAX_ADDED`] holders.
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
        // A panic can't leave the list half changed, so a poisoned lock can still be used.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// Searches `order` for a thread's descriptor table, or returns `None` if `kcmp(2)` fails.
    fn position(&mut self, tid: Pid) -> Option<Result<usize, usize>> {
        loop {
            let mut failed = None;
            let position = self.order.binary_search_by(|&index| {
                let known = self.tables.get(index).map_or(tid, |table| table.tid);
                let compare = || compare_descriptor_tables(known, tid);
                blocked::comparing(known, compare).unwrap_or_else(|_| {
                    failed = Some((index, known));
                    Ordering::Less
                })
            });
            let Some((index, known)) = failed else { return Some(position) };
            // If comparing `known` with itself fails, the thread `known` has exited.
            if compare_descriptor_tables(known, known).is_ok() {
                return None;
            }
            // The thread has exited, so `kcmp(2)` can no longer compare its table. Drop the table.
            self.order.retain(|&it| it != index);
        }
    }
}
