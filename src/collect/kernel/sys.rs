//! Opening and reading below an open directory. A leaf: what the files mean,
//! and what to do about an error, is for the callers.
//!
//! Whoever administers a mount namespace can mount anything over the files of
//! its /proc, and a process can have anything open. To open a FIFO, a device
//! or a file of FUSE has side effects, and may wait for ever. So a file is
//! opened for reading only where it is known to lie on the file system where
//! it is expected: files of a procfs without leaving its mount
//! (`RESOLVE_NO_XDEV`), and what a link leads to as a path alone (`O_PATH`)
//! first, of which the file system is told nothing. And nothing is read without
//! end.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::{Errno, Result as SysResult};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::path::Arg;

use crate::collect::parse;

/// File system type of procfs, `PROC_SUPER_MAGIC` of `statfs(2)`.
pub const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// Flags for opening whatever a link in /proc leads to: the call must not wait
/// for a FIFO's other end, and a terminal must not become the controlling one.
pub const READ: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// The most that is read of a file about a process. The longest such file is a
/// status with 65,536 supplementary groups, some 700 KiB.
const MOST: usize = 4 * 1024 * 1024;

/// The most that is read of a mount table: 100,000 mounts (`fs.mount-max`) with
/// paths of a thousand bytes need half of this.
pub const MOST_OF_MOUNTS: usize = 256 * 1024 * 1024;

/// The type of the file system that a descriptor, be it of a path alone, is on.
/// The file system is asked for it, and may be somebody's program.
pub fn file_system(fd: &OwnedFd) -> SysResult<u64> {
    // The type of `f_type` is the architecture's; the magic numbers fit in all.
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)]
    Ok(fs::fstatfs(fd)?.f_type as u64)
}

/// Which file it is: no other has both numbers as long as this one lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// Device number of its file system.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

impl FileId {
    /// That of the file which a name leads to; a symbolic link is followed.
    /// Nothing is opened, and the file system is not asked.
    pub fn of(dir: BorrowedFd<'_>, name: impl Arg + Copy) -> SysResult<Self> {
        Self::look(dir, name, AtFlags::empty())
    }

    /// That of the file behind a descriptor, be it of a path alone.
    pub fn of_descriptor(fd: BorrowedFd<'_>) -> SysResult<Self> {
        Self::look(fd, c"", AtFlags::EMPTY_PATH)
    }

    /// With `AT_STATX_DONT_SYNC` a network or FUSE file system answers from
    /// what the kernel has in its cache. Both numbers are told even if nothing
    /// is asked for, which FUSE refuses to nobody.
    fn look(dir: BorrowedFd<'_>, name: impl Arg + Copy, flags: AtFlags) -> SysResult<Self> {
        match fs::statx(dir, name, flags | AtFlags::STATX_DONT_SYNC, StatxFlags::empty()) {
            Ok(stat) => Ok(Self {
                device: fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
                inode: stat.stx_ino,
            }),
            // Before Linux 4.11, or where a seccomp filter does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => {
                let stat = fs::statat(dir, name, flags)?;
                Ok(Self { device: stat.st_dev, inode: stat.st_ino })
            }
            Err(errno) => Err(errno),
        }
    }
}

/// Opens a file of /proc for reading.
///
/// # Errors
/// `EXDEV` where something is mounted over it; what opening it says.
pub fn open(dir: BorrowedFd<'_>, name: &CStr) -> SysResult<OwnedFd> {
    open_within(dir, name, READ)
}

/// Opens a directory of /proc as a path alone (`O_PATH`): names can be relative
/// to it, but it cannot be listed. That is cheaper than opening it for listing.
///
/// # Errors
/// As of [`open`].
pub fn open_base(dir: BorrowedFd<'_>, name: impl Arg + Copy) -> SysResult<OwnedFd> {
    open_within(dir, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)
}

/// Opens a directory of /proc.
///
/// # Errors
/// As of [`open`].
pub fn open_dir(dir: BorrowedFd<'_>, name: &CStr) -> SysResult<OwnedFd> {
    open_within(dir, name, READ | OFlags::DIRECTORY)
}

/// Opens what a link in /proc leads to as a path alone (`O_PATH`), whatever it
/// is. The directory that the link is in must not be covered by a mount.
///
/// # Errors
/// As of [`open`].
pub fn open_linked(dir: BorrowedFd<'_>, link: &CStr) -> SysResult<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let bytes = link.to_bytes();
    match bytes.iter().rposition(|&byte| byte == b'/') {
        None => fs::openat(dir, link, flags, Mode::empty()),
        Some(slash) => {
            let base = open_base(dir, &bytes[..slash])?;
            fs::openat(base, &bytes[slash + 1..], flags, Mode::empty())
        }
    }
}

/// Opens a file without leaving the mount that `dir` is on, by a symbolic link
/// neither.
fn open_within(dir: BorrowedFd<'_>, name: impl Arg + Copy, flags: OFlags) -> SysResult<OwnedFd> {
    match fs::openat2(dir, name, flags, Mode::empty(), ResolveFlags::NO_XDEV) {
        // Before Linux 5.6, or where a seccomp filter does not know the call.
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

/// Opens the file that a descriptor of a path alone (`O_PATH`) leads to. The
/// caller knows what file that is.
///
/// # Errors
/// `ENOSYS` where no procfs shows this process's descriptors; what opening it says.
pub fn reopen(path: &OwnedFd, flags: OFlags) -> SysResult<OwnedFd> {
    let mut number = itoa::Buffer::new();
    let name = number.format(path.as_raw_fd());
    fs::openat(own_descriptors()?, name, flags, Mode::empty())
}

/// The directory of this process's own descriptors, `/proc/self/fd`.
///
/// # Errors
/// `ENOSYS` where there is none to be had.
pub fn own_descriptors() -> SysResult<BorrowedFd<'static>> {
    static DIR: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(dir) = DIR.get() {
        return Ok(dir.as_fd());
    }
    let dir = mounted_procfs().or_else(|_| private_procfs()).map_err(|_| Errno::NOSYS)?;
    Ok(DIR.get_or_init(|| dir).as_fd())
}

/// Own descriptors as the procfs mounted at /proc shows them, which it does
/// only in the namespace that it is of and in those below.
fn mounted_procfs() -> SysResult<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = fs::openat(CWD, c"/proc", flags, Mode::empty())?;
    if file_system(&proc)? != PROC_SUPER_MAGIC {
        return Err(Errno::NOTDIR);
    }
    open_base(proc.as_fd(), c"self/fd")
}

/// Own descriptors as a procfs shows them that is mounted nowhere: after
/// `nsenter -m` the one at /proc is that of a container, where this process is
/// not. It takes `CAP_SYS_ADMIN`, and Linux 5.2.
fn private_procfs() -> SysResult<OwnedFd> {
    let context = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    open_base(mount.as_fd(), c"self/fd")
}

/// Opens what is on the same file system as the directory, mounted there once
/// more or not.
///
/// # Errors
/// As of [`open`].
pub fn open_on_device(dir: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> SysResult<OwnedFd> {
    let path = fs::openat(dir, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let device = |fd| FileId::of_descriptor(fd).map(|id| id.device);
    if device(path.as_fd())? != device(dir)? {
        return Err(Errno::XDEV);
    }
    reopen(&path, flags)
}

/// Reads a whole file into `buffer`, in place of what was there.
///
/// # Errors
/// `EFBIG` where it does not end; what opening and reading say.
pub fn read(dir: BorrowedFd<'_>, name: &CStr, buffer: &mut Vec<u8>) -> SysResult<()> {
    read_to_end(&open(dir, name)?, buffer, MOST)
}

/// Reads an open file from where it is to its end, which must come before `most`
/// bytes, in place of what was in `buffer`.
///
/// # Errors
/// As of [`read`].
pub fn read_to_end(file: &OwnedFd, buffer: &mut Vec<u8>, most: usize) -> SysResult<()> {
    buffer.clear();
    while buffer.len() < most {
        buffer.reserve(4096);
        if rustix::io::read(file, spare_capacity(buffer))? == 0 {
            return Ok(());
        }
    }
    Err(Errno::FBIG)
}

/// Reads a file as [`read`] does, but at most so many bytes of it; `false`
/// where it has more.
pub fn read_at_most(
    dir: BorrowedFd<'_>,
    name: &CStr,
    limit: usize,
    buffer: &mut Vec<u8>,
) -> SysResult<bool> {
    let file = open(dir, name)?;
    buffer.clear();
    while buffer.len() <= limit {
        buffer.reserve(4096);
        if rustix::io::read(&file, spare_capacity(buffer))? == 0 {
            return Ok(true);
        }
    }
    buffer.truncate(limit);
    Ok(false)
}

/// Reads a file that the kernel makes in one piece, such as `/proc/PID/status`,
/// from its beginning. What is shorter than the buffer is the whole file, so
/// that no second call is needed to see its end.
///
/// # Errors
/// As of [`read`].
pub fn read_record(file: &OwnedFd, buffer: &mut Vec<u8>) -> SysResult<()> {
    loop {
        buffer.clear();
        rustix::io::pread(file, spare_capacity(buffer), 0)?;
        if buffer.len() < buffer.capacity() {
            return Ok(());
        }
        if buffer.capacity() > MOST {
            return Err(Errno::FBIG);
        }
        buffer.reserve(buffer.capacity() * 2);
    }
}

/// Calls `ask`, which may wait for a file system that is somebody's program, in
/// a thread that is left to itself if there is no answer in that time. It ends
/// with the program.
///
/// # Errors
/// `ETIMEDOUT` where there was no answer; `EAGAIN` where there is no thread to
/// be had; what `ask` says.
pub fn within<T: Send + 'static>(
    time: Duration,
    ask: impl FnOnce() -> SysResult<T> + Send + 'static,
) -> SysResult<T> {
    let (tell, told) = mpsc::channel();
    // Nobody listens any more once the time is over.
    let asking = thread::Builder::new().spawn(move || tell.send(ask()));
    asking.map_err(|_| Errno::AGAIN)?;
    told.recv_timeout(time).unwrap_or_else(|error| {
        Err(match error {
            RecvTimeoutError::Timeout => Errno::TIMEDOUT,
            RecvTimeoutError::Disconnected => Errno::AGAIN,
        })
    })
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
