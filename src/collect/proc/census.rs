//! Counts the processes of the host without reading any of them.

use rustix::fs::{AtFlags, FileType, StatxFlags, statx};
use rustix::io::Result as SysResult;

use super::procfs::Procfs;
use crate::collect::parse;

/// Counts the processes of the host with one call of `statx(2)`. The link count of a procfs root
/// directory is the number of its subdirectories: one for each process, and a few others.
pub struct Census {
    /// Number of subdirectories of the procfs root that do not belong to a process, or `None` if
    /// unknown.
    other_dirs: Option<u64>,
}

impl Census {
    /// Counts the subdirectories of the procfs root that do not belong to a process.
    pub fn new(procfs: &Procfs) -> Self {
        Self { other_dirs: count_other_dirs(procfs).ok() }
    }

    /// Returns an upper bound for the number of processes, using only one system call.
    pub fn at_most(procfs: &Procfs) -> Option<u64> {
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
