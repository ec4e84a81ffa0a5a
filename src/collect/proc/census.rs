//! How many processes /proc counts, without a look at any of them.

use std::mem::MaybeUninit;

use rustix::fs::{AtFlags, FileType, RawDir, StatxFlags, statx};
use rustix::io::Result as SysResult;

use super::mount::Procfs;
use crate::collect::kernel::sys::open_dir;
use crate::collect::parse;

/// Counts processes by the links to the top of a procfs (`stx_nlink`), which are
/// its directories: one for each process of the host, and some others.
pub struct Census {
    /// How many others; `None` where they could not be counted.
    others: Option<u64>,
}

impl Census {
    /// Counts the other directories, which are listed before those of processes.
    pub fn new(procfs: &Procfs) -> Self {
        Self { others: others(procfs).ok() }
    }

    /// More than there are processes on the host.
    pub fn at_most(procfs: &Procfs) -> Option<u64> {
        let stat = statx(procfs.fd(), c"", AtFlags::EMPTY_PATH, StatxFlags::NLINK).ok()?;
        Some(stat.stx_nlink.into())
    }

    /// How many processes there are on the host. In another PID namespace than
    /// the initial one, that is more than its /proc lists.
    pub fn count(&self, procfs: &Procfs) -> Option<u64> {
        Self::at_most(procfs)?.checked_sub(self.others?)
    }
}

/// The directories that are not of processes, with `.` and `..`.
fn others(procfs: &Procfs) -> SysResult<u64> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(open_dir(procfs.fd(), c".")?, &mut buffer);
    let mut others = 0;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if parse::entry::<u32>(entry.file_name().to_bytes()).is_some() {
            break;
        }
        others += u64::from(entry.file_type() == FileType::Directory);
    }
    Ok(others)
}
