//! Marks a pidns process that is running a scan, so that other scans recognize it.
//!
//! A scan keeps open each namespace that it finds. Other scans must not report the scan's
//! descriptors as holders. A *scan mark* is an open, empty memfd (`memfd_create(2)`) with a
//! well-known name.
//!
//! If a process has a scan mark, its descriptors with the flag `O_CLOEXEC` are not holders. pidns
//! sets this flag on every descriptor that it opens. An inherited descriptor cannot have the flag.
//!
//! A scan mark is valid for a short time, because any process can imitate the mark.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, MemfdFlags, Mode, StatxFlags, fchmod, memfd_create, statx};
use rustix::io::{Errno, Result};

use crate::collect::kernel::sys::{FileId, read_link};

/// Name of the memfd that serves as a scan mark (`memfd_create(2)`).
const NAME: &str = "pidns-scan";

/// Target of a `/proc/PID/fd/FD` link to a scan mark.
const LINK: &[u8] = b"/memfd:pidns-scan (deleted)";

/// Time for which a scan mark is valid, far longer than a scan takes.
const LIFETIME: Duration = Duration::from_secs(10);

/// The memfd that serves as the scan mark of this pidns process.
struct ScanMark {
    file: OwnedFd,
    /// Device number that the kernel reports for every file created with `memfd_create(2)`.
    device: u64,
}

/// Returns the scan mark of this pidns process. The first call creates it.
fn own() -> Option<&'static ScanMark> {
    static MARK: OnceLock<Option<ScanMark>> = OnceLock::new();
    let make = || {
        let make = |flags| memfd_create(NAME, MemfdFlags::CLOEXEC | flags);
        // Linux 6.3 and later log a warning without this flag, but older kernels reject it.
        let file = make(MemfdFlags::NOEXEC_SEAL).or_else(|_| make(MemfdFlags::empty())).ok()?;
        let device = FileId::of_descriptor(file.as_fd()).ok()?.device;
        Some(ScanMark { file, device })
    };
    MARK.get_or_init(make).as_ref()
}

/// Creates or renews the scan mark. Must be called before the scan opens namespaces.
pub fn renew() {
    if let Some(mark) = own() {
        // `fchmod` updates `ctime`, which no process can set to a chosen time.
        let _ = fchmod(&mark.file, Mode::RUSR);
    }
}

/// Returns `true` if the descriptor `name` in a `/proc/PID/fd` directory is a valid scan mark.
pub fn is_mark(table: BorrowedFd<'_>, name: &CStr, file: FileId) -> bool {
    let mut text = [0; LINK.len() + 1];
    own().is_some_and(|own| own.device == file.device)
        && read_link(table, name, &mut text).is_ok_and(|text| text == LINK)
        && changed_at(table, name).is_ok_and(|changed| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            now.abs_diff(changed) < LIFETIME
        })
}

/// Returns the `ctime` of a descriptor's file.
fn changed_at(table: BorrowedFd<'_>, name: &CStr) -> Result<Duration> {
    let time = statx(table, name, AtFlags::STATX_DONT_SYNC, StatxFlags::CTIME)?.stx_ctime;
    let seconds = u64::try_from(time.tv_sec).map_err(|_| Errno::RANGE)?;
    Ok(Duration::new(seconds, time.tv_nsec.min(999_999_999)))
}
