//! Which tables of open descriptors the threads of a process share.

use std::cmp::Ordering;

use crate::collect::kernel::nsfs::compare_descriptor_tables;
use crate::model::Pid;

/// The tables of descriptors of one process that were read. Threads share
/// theirs unless one was started or has made itself one without
/// (`CLONE_FILES` of `clone(2)` and `unshare(2)`).
pub struct DescriptorTables {
    /// A thread for each table, in the order of `kcmp(2)`; `None` where that
    /// does not know the threads by these numbers.
    threads: Option<Vec<Pid>>,
}

impl DescriptorTables {
    /// One that was read, that of a thread.
    pub fn new(in_own_numbers: bool, thread: Pid) -> Self {
        Self { threads: in_own_numbers.then(|| vec![thread]) }
    }

    /// Whether a thread's table was not read before, or that cannot be told.
    /// It counts as read from now on.
    pub fn is_new(&mut self, thread: Pid) -> bool {
        let Some(threads) = &mut self.threads else { return true };
        let mut failed = false;
        let place = threads.binary_search_by(|&known| {
            compare_descriptor_tables(known, thread).unwrap_or_else(|_| {
                failed = true;
                Ordering::Less
            })
        });
        match place {
            // One of the threads is gone, and may have stood for a table that
            // others still have.
            _ if failed => *threads = vec![thread],
            Ok(_) => return false,
            Err(place) => threads.insert(place, thread),
        }
        true
    }
}
