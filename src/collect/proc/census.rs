//! Counts the processes of the host without reading any of them.

use rustix::fs::{AtFlags, FileType, StatxFlags, statx};
use rustix::io::Result as SysResult;

use super::procfs::Procfs;
use crate::collect::parse;

/// A cheap count of processes, from the link count of a procfs root directory.
pub struct Census {
    /// Number of subdirectories of the procfs root that are not processes, if known.
    other_dirs: Option<u64>,
}

impl Census {
    /// Counts the subdirectories of the procfs root that do not belong to a process.
    pub fn new(procfs: &Procfs) -> Self {
        Self { other_dirs: count_other_dirs(procfs).ok() }
    }

    /// Returns an upper bound for the number of processes, using only one system call.
    pub fn at_most(procfs: &Procfs) -> Option<u64> {
        // The link count is the number of subdirectories, including one per process.
        let stat = statx(procfs.fd(), c"", AtFlags::EMPTY_PATH, StatxFlags::NLINK).ok()?;
        Some(stat.stx_nlink.into())
    }

    /// Returns the number of processes that the procfs shows.
    pub fn count(&self, procfs: &Procfs) -> Option<u64> {
        Self::at_most(procfs)?.checked_sub(self.other_dirs?)
    }
}

/// Counts the entries of the procfs root that do not belong to a process, including `.` and `..`.
fn count_other_dirs(procfs: &Procfs) -> SysResult<u64> {
    let mut count = 0;
    for entry in procfs.entries()? {
        let entry = entry?;
        // The kernel lists the processes after all other directories, so stop at the first process.
        if parse::entry::<u32>(entry.file_name().to_bytes()).is_some() {
            break;
        }
        count += u64::from(entry.file_type() == FileType::Directory);
    }
    Ok(count)
}
