//! Finds out which threads of a process share a descriptor table.

use std::cmp::Ordering;

use crate::collect::kernel::nsfs::compare_descriptor_tables;
use crate::model::Pid;

/// The different descriptor tables that the threads of one process use.
pub struct DescriptorTables {
    /// One thread for each descriptor table, in the order of `kcmp(2)`.
    threads: Option<Vec<Pid>>,
}

impl DescriptorTables {
    /// Creates a set with the descriptor table of `thread`.
    pub fn new(own: bool, thread: Pid) -> Self {
        // `kcmp(2)` expects TIDs in pidns's own PID namespace.
        Self { threads: own.then(|| vec![thread]) }
    }

    /// Inserts the descriptor table of a thread, or returns `false` if it is already there.
    pub fn insert(&mut self, thread: Pid) -> bool {
        let Some(threads) = &mut self.threads else { return true };
        let mut failed = false;
        let position = threads.binary_search_by(|&known| {
            compare_descriptor_tables(known, thread).unwrap_or_else(|_| {
                failed = true;
                Ordering::Less
            })
        });
        match position {
            // One of the compared threads has exited, so start a new list with only `thread`.
            _ if failed => *threads = vec![thread],
            Ok(_) => return false,
            Err(position) => threads.insert(position, thread),
        }
        true
    }
}
