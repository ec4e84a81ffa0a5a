//! Counts the processes of the host without reading any of them.

use rustix::fs::{AtFlags, FileType, StatxFlags, statx};
use rustix::io::Result as SysResult;

use super::procfs::Procfs;
use crate::collect::parse;

/// Counts processes by the link count of a procfs root directory. The kernel sets it
/// to the number of subdirectories, one for each process of the host and a few
/// others, so one `statx(2)` is enough.
pub struct Census {
    /// Number of the other directories, or `None` if they could not be counted.
    other_dirs: Option<u64>,
}

impl Census {
    /// Counts the directories that do not belong to a process.
    pub fn new(procfs: &Procfs) -> Self {
        Self { other_dirs: count_other_dirs(procfs).ok() }
    }

    /// Returns an upper bound of the number of processes, with a single system call.
    pub fn at_most(procfs: &Procfs) -> Option<u64> {
        let stat = statx(procfs.fd(), c"", AtFlags::EMPTY_PATH, StatxFlags::NLINK).ok()?;
        Some(stat.stx_nlink.into())
    }

    /// Returns the number of processes on the host. Outside the initial PID
    /// namespace that is more than the procfs lists.
    pub fn count(&self, procfs: &Procfs) -> Option<u64> {
        Self::at_most(procfs)?.checked_sub(self.other_dirs?)
    }
}

/// Counts the directories that do not belong to a process, `.` and `..` included.
fn count_other_dirs(procfs: &Procfs) -> SysResult<u64> {
    let mut count = 0;
    for entry in procfs.entries()? {
        let entry = entry?;
        // The kernel lists the processes after all other entries.
        if parse::entry::<u32>(entry.file_name().to_bytes()).is_some() {
            break;
        }
        count += u64::from(entry.file_type() == FileType::Directory);
    }
    Ok(count)
}
