//! Opening and reading below an open directory. A leaf: what the files mean,
//! and what to do about an error, is for the callers.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::{Errno, Result as SysResult};

use super::parse;

/// Flags for opening whatever a link in /proc leads to: the call must not wait
/// for a FIFO's other end, and a terminal must not become the controlling one.
pub const READ: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// The type of the file system that a descriptor, be it of a path alone, is on.
pub fn file_system(fd: &OwnedFd) -> SysResult<u64> {
    // The type of `f_type` is the architecture's; the magic numbers fit in all.
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)]
    Ok(fs::fstatfs(fd)?.f_type as u64)
}

/// Opens a file of /proc for reading.
pub fn open(dir: BorrowedFd<'_>, name: &CStr) -> SysResult<OwnedFd> {
    fs::openat(dir, name, READ, Mode::empty())
}

/// Opens a directory of /proc as a path alone (`O_PATH`): names can be relative
/// to it, but it cannot be listed. That is cheaper than opening it for listing.
pub fn open_base(dir: BorrowedFd<'_>, name: &CStr) -> SysResult<OwnedFd> {
    fs::openat(dir, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a directory of /proc.
pub fn open_dir(dir: BorrowedFd<'_>, name: &CStr) -> SysResult<OwnedFd> {
    fs::openat(dir, name, READ | OFlags::DIRECTORY, Mode::empty())
}

/// Reads a whole file into `buffer`, in place of what was there.
pub fn read(dir: BorrowedFd<'_>, name: &CStr, buffer: &mut Vec<u8>) -> SysResult<()> {
    let file = open(dir, name)?;
    buffer.clear();
    loop {
        buffer.reserve(4096);
        if rustix::io::read(&file, spare_capacity(buffer))? == 0 {
            return Ok(());
        }
    }
}

/// Reads a file that the kernel makes in one piece, such as `/proc/PID/status`,
/// from its beginning. What is shorter than the buffer is the whole file, so
/// that no second call is needed to see its end.
pub fn read_record(file: &OwnedFd, buffer: &mut Vec<u8>) -> SysResult<()> {
    loop {
        buffer.clear();
        rustix::io::pread(file, spare_capacity(buffer), 0)?;
        if buffer.len() < buffer.capacity() {
            return Ok(());
        }
        buffer.reserve(buffer.capacity() * 2);
    }
}

/// Reads a symbolic link; what does not fit into the buffer is cut off.
pub fn read_link<'a>(
    dir: BorrowedFd<'_>,
    name: &CStr,
    buffer: &'a mut [u8],
) -> SysResult<&'a [u8]> {
    let length = fs::readlinkat_raw(dir, name, &mut *buffer)?;
    Ok(&buffer[..length])
}

/// The inode that a namespace link names; `None` where it is of another kind.
pub fn namespace_link(dir: BorrowedFd<'_>, name: &CStr, kind: &str) -> SysResult<Option<u64>> {
    let mut link = [0; 32];
    Ok(parse::namespace_link(read_link(dir, name, &mut link)?, kind))
}

/// Whether the error says that a process has vanished.
pub fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::SRCH)
}
