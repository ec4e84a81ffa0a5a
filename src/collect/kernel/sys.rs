//! Opens and reads files of a procfs safely.
//!
//! In a container, the root user can mount any file over a file in /proc. A link in /proc can refer
//! to any file that a process has open. Opening a FIFO, a device or a FUSE file has side effects,
//! and can block forever. This module opens files as follows:
//!
//! - A file of a procfs is opened with `RESOLVE_NO_XDEV`, which fails if another mount covers the
//!   file.
//! - The target of a link is first opened with `O_PATH`, which sends no request to its file system.
//!
//! Every read has a size limit.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::{Errno, Result as SysResult};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::path::Arg;

use super::blocked;
use crate::collect::parse;

/// File system type of procfs, as `statfs(2)` reports it.
pub const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// Flags for reading without waiting for a FIFO, and without getting a controlling terminal.
pub const READ: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Size limit for a file in `/proc/PID`. A `status` file with 65,536 groups is about 700 KiB long.
const MAX_FILE: usize = 4 * 1024 * 1024;

/// Size limit for a mount table, twice the size of a table with 100,000 mounts and 1,000-byte
/// paths.
pub const MAX_MOUNTINFO: usize = 256 * 1024 * 1024;

/// Returns the file system type of a file, but blocks if a FUSE daemon does not answer.
pub fn file_system(fd: &OwnedFd) -> SysResult<u64> {
    // The integer type of `f_type` depends on the architecture, but can hold every magic number.
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)]
    Ok(fs::fstatfs(fd)?.f_type as u64)
}

/// Identifies a file by device number and inode number, which are unique among existing files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// Device number of the file system that the file is on.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

impl FileId {
    /// Identifies the file at a path (following symbolic links) without opening the file.
    pub fn of(dir: BorrowedFd<'_>, name: impl Arg + Copy) -> SysResult<Self> {
        blocked::check_file(b"fd")?;
        Self::stat(dir, name, AtFlags::empty())
    }

    /// Identifies a pipe or FIFO by its path, or returns `None` for any other file.
    pub fn of_pipe(dir: BorrowedFd<'_>, name: impl Arg + Copy) -> SysResult<Option<Self>> {
        blocked::check_file(b"fd")?;
        // The kernel fills in the file type, device and inode even if the mask is empty.
        let stat = fs::statx(dir, name, AtFlags::STATX_DONT_SYNC, StatxFlags::empty())?;
        let device = fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
        let is_pipe = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Fifo;
        Ok(is_pipe.then_some(Self { device, inode: stat.stx_ino }))
    }

    /// Identifies the file of a descriptor, which may be an `O_PATH` descriptor.
    pub fn of_descriptor(fd: BorrowedFd<'_>) -> SysResult<Self> {
        Self::stat(fd, c"", AtFlags::EMPTY_PATH)
    }

    /// Looks up the device and inode of a file without a request to a network or FUSE server.
    fn stat(dir: BorrowedFd<'_>, name: impl Arg + Copy, flags: AtFlags) -> SysResult<Self> {
        // The mask is empty, because a FUSE file system may refuse any other mask.
        match fs::statx(dir, name, flags | AtFlags::STATX_DONT_SYNC, StatxFlags::empty()) {
            Ok(stat) => Ok(Self {
                device: fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
                inode: stat.stx_ino,
            }),
            // The kernel is older than Linux 4.11, or a seccomp filter refuses statx.
            Err(Errno::NOSYS | Errno::PERM) => {
                let stat = fs::statat(dir, name, flags)?;
                Ok(Self { device: stat.st_dev, inode: stat.st_ino })
            }
            Err(errno) => Err(errno),
        }
    }
}

/// Opens a file of a procfs for reading, or fails with `EXDEV` if a mount covers the file.
pub fn open(dir: BorrowedFd<'_>, name: &CStr) -> SysResult<OwnedFd> {
    blocked::check_file(name.to_bytes())?;
    open_within(dir, name, READ)
}

/// Opens a directory as the base of relative paths. This is cheaper than [`open_dir`].
pub fn open_base(dir: BorrowedFd<'_>, name: impl Arg + Copy) -> SysResult<OwnedFd> {
    open_within(dir, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)
}

/// Opens a directory of a procfs for listing.
pub fn open_dir(dir: BorrowedFd<'_>, name: &CStr) -> SysResult<OwnedFd> {
    open_within(dir, name, READ | OFlags::DIRECTORY)
}

/// Opens the target of a link in a procfs with `O_PATH`.
///
/// The target can be any type of file. Fails with `EXDEV` if a mount covers the link's directory.
pub fn open_linked(dir: BorrowedFd<'_>, link: &CStr) -> SysResult<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let bytes = link.to_bytes();
    blocked::check_file(bytes)?;
    match bytes.iter().rposition(|&byte| byte == b'/') {
        None => fs::openat(dir, link, flags, Mode::empty()),
        Some(slash) => {
            let base = open_base(dir, &bytes[..slash])?;
            fs::openat(base, &bytes[slash + 1..], flags, Mode::empty())
        }
    }
}

/// Opens a file on the mount of `dir`, or fails with `EXDEV` if the file is on another mount.
fn open_within(dir: BorrowedFd<'_>, name: impl Arg + Copy, flags: OFlags) -> SysResult<OwnedFd> {
    match fs::openat2(dir, name, flags, Mode::empty(), ResolveFlags::NO_XDEV) {
        // The kernel is older than Linux 5.6, or a seccomp filter refuses openat2.
        Err(Errno::NOSYS | Errno::PERM) => {
            let path = fs::openat(dir, name, flags | OFlags::PATH, Mode::empty())?;
            let device = |fd| FileId::of_descriptor(fd).map(|id| id.device);
            if device(path.as_fd())? != device(dir)? {
                return Err(Errno::XDEV);
            }
            if flags.contains(OFlags::PATH) { Ok(path) } else { reopen(&path, flags) }
        }
        other => other,
    }
}

/// Reopens the file that an `O_PATH` descriptor refers to.
///
/// The caller must already know that the file is safe to open.
pub fn reopen(path: &OwnedFd, flags: OFlags) -> SysResult<OwnedFd> {
    let mut number = itoa::Buffer::new();
    let name = number.format(path.as_raw_fd());
    fs::openat(own_descriptors()?, name, flags, Mode::empty())
}

/// Returns the directory of pidns's own descriptors, in /proc or in a [`private_procfs`].
pub fn own_descriptors() -> SysResult<BorrowedFd<'static>> {
    static DIR: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(dir) = DIR.get() {
        return Ok(dir.as_fd());
    }
    // After `nsenter -m` into a container, /proc may have no entry for pidns.
    let private = || open_base(private_procfs()?.as_fd(), c"self/fd");
    let dir = mounted_procfs().or_else(|_| private()).map_err(|_| Errno::NOSYS)?;
    Ok(DIR.get_or_init(|| dir).as_fd())
}

/// Returns the procfs at /proc, even if the command that `pidns run` started has unmounted this
/// procfs.
pub fn first_procfs() -> SysResult<BorrowedFd<'static>> {
    static DIR: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(dir) = DIR.get() {
        return Ok(dir.as_fd());
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = fs::openat(CWD, c"/proc", flags, Mode::empty())?;
    if file_system(&dir)? != PROC_SUPER_MAGIC {
        return Err(Errno::NOTDIR);
    }
    Ok(DIR.get_or_init(|| dir).as_fd())
}

/// Reads a file of the [`first_procfs`] that describes pidns itself, such as `self/status`.
pub fn read_own(name: &CStr) -> SysResult<Vec<u8>> {
    let mut text = Vec::new();
    read_to_end(&open(first_procfs()?, name)?, &mut text, MAX_MOUNTINFO)?;
    Ok(text)
}

/// Returns the inode of pidns's own namespace at `link`, such as `self/ns/user`.
pub fn own_namespace(link: &CStr, kind: &str) -> SysResult<Option<u64>> {
    namespace_link(first_procfs()?, link, kind)
}

/// Opens `self/fd` in the procfs at /proc, if the procfs has an entry for pidns itself.
fn mounted_procfs() -> SysResult<OwnedFd> {
    open_base(first_procfs()?, c"self/fd")
}

/// Creates a procfs for pidns's own PID namespace without attaching it to the mount tree.
///
/// So no other mount can cover the files of this procfs. Needs `CAP_SYS_ADMIN` and Linux 5.2.
pub fn private_procfs() -> SysResult<OwnedFd> {
    let context = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// Opens a file, or fails with `EXDEV` if the file is not on the file system of `dir`.
pub fn open_on_device(dir: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> SysResult<OwnedFd> {
    let path = fs::openat(dir, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let device = |fd| FileId::of_descriptor(fd).map(|id| id.device);
    if device(path.as_fd())? != device(dir)? {
        return Err(Errno::XDEV);
    }
    reopen(&path, flags)
}

/// Reads a whole file into `buffer`, or fails with `EFBIG` if the file is too long.
pub fn read(dir: BorrowedFd<'_>, name: &CStr, buffer: &mut Vec<u8>) -> SysResult<()> {
    read_to_end(&open(dir, name)?, buffer, MAX_FILE)
}

/// Reads an open file into `buffer`, or fails with `EFBIG` if the file reaches `limit` bytes.
pub fn read_to_end(file: &OwnedFd, buffer: &mut Vec<u8>, limit: usize) -> SysResult<()> {
    read_to_end_by(buffer, limit, |buffer| rustix::io::read(file, spare_capacity(buffer)))
}

/// Calls `read` until it returns 0 (the end of the file), or fails with `EFBIG` at `limit` bytes.
///
/// Each call of `read` appends data to its buffer argument.
pub(super) fn read_to_end_by(
    buffer: &mut Vec<u8>,
    limit: usize,
    mut read: impl FnMut(&mut Vec<u8>) -> SysResult<usize>,
) -> SysResult<()> {
    buffer.clear();
    while buffer.len() < limit {
        buffer.reserve(4096);
        if read(buffer)? == 0 {
            return Ok(());
        }
    }
    Err(Errno::FBIG)
}

/// Reads a file that the kernel returns in a single read(2), such as `/proc/PID/status`.
pub fn read_record(file: &OwnedFd, buffer: &mut Vec<u8>) -> SysResult<()> {
    loop {
        buffer.clear();
        rustix::io::pread(file, spare_capacity(buffer), 0)?;
        if buffer.len() < buffer.capacity() {
            return Ok(());
        }
        if buffer.capacity() > MAX_FILE {
            return Err(Errno::FBIG);
        }
        // The file may be longer than the buffer, so read it again.
        buffer.reserve(buffer.capacity() * 2);
    }
}

/// Runs `call`, which may wait for a network or FUSE file system, with a time limit.
///
/// Fails with `ETIMEDOUT` after `limit`, while `call` continues in the background. Fails with
/// `EAGAIN` if no thread can be started.
pub fn within<T: Send + 'static>(
    limit: Duration,
    call: impl FnOnce() -> SysResult<T> + Send + 'static,
) -> SysResult<T> {
    let (sender, receiver) = mpsc::channel();
    // After the time limit, `send` fails, and the result is discarded.
    let thread = thread::Builder::new().spawn(move || sender.send(call()));
    thread.map_err(|_| Errno::AGAIN)?;
    receiver.recv_timeout(limit).unwrap_or_else(|error| {
        Err(match error {
            RecvTimeoutError::Timeout => Errno::TIMEDOUT,
            RecvTimeoutError::Disconnected => Errno::AGAIN,
        })
    })
}

/// Reads the target of a symbolic link, truncated to the size of `buffer`.
pub fn read_link<'a>(
    dir: BorrowedFd<'_>,
    name: &CStr,
    buffer: &'a mut [u8],
) -> SysResult<&'a [u8]> {
    blocked::check_file(name.to_bytes())?;
    let length = fs::readlinkat_raw(dir, name, &mut *buffer)?;
    Ok(&buffer[..length])
}

/// Returns the inode in a namespace link, or `None` if its namespace is not of type `kind`.
pub fn namespace_link(dir: BorrowedFd<'_>, name: &CStr, kind: &str) -> SysResult<Option<u64>> {
    let mut link = [0; 32];
    Ok(parse::namespace_link(read_link(dir, name, &mut link)?, kind))
}

/// Returns `true` if the error means that a process is gone.
pub fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::SRCH)
}
