//! Opens the files of container runtimes.
//!
//! Root inside a container can replace these files. Therefore, pidns reads regular files only,
//! checks the owner, and limits the size. pidns does not follow symbolic links below the runtime's
//! directory. pidns does not lock or write files.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{self, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result as SysResult};
use rustix::path::Arg;

use crate::collect::kernel::sys::{READ, reopen};

/// Flags for opening a directory as the base of relative paths.
const BASE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens a directory as the base of relative paths, following symbolic and magic links.
pub fn open_base(dir: BorrowedFd<'_>, path: impl Arg) -> SysResult<OwnedFd> {
    fs::openat(dir, path, BASE, Mode::empty())
}

/// Opens the directory `path` as if `root` were the root directory (`chroot(2)`).
pub fn open_in_root(root: BorrowedFd<'_>, path: &str) -> SysResult<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match fs::openat2(root, path, BASE, Mode::empty(), resolve) {
        // The kernel is older than Linux 5.6, or a seccomp filter refuses openat2.
        Err(Errno::NOSYS | Errno::PERM) => {
            fs::openat(root, path.trim_start_matches('/'), BASE, Mode::empty())
        }
        result => result,
    }
}

/// Reads a regular file that belongs to root or to `owner`, and is shorter than `limit`.
pub fn read(dir: BorrowedFd<'_>, name: &str, owner: u32, limit: usize) -> Option<Vec<u8>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let path = match fs::openat2(dir, name, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => fs::openat(dir, name, flags, Mode::empty()),
        result => result,
    };
    let path = path.ok()?;
    let stat = fs::fstat(&path).ok()?;
    let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let is_short = usize::try_from(stat.st_size).is_ok_and(|size| size < limit);
    if !is_regular || !is_short || ![0, owner].contains(&stat.st_uid) {
        return None;
    }
    // One read(2) is enough, because the size is known.
    let mut bytes = Vec::with_capacity(usize::try_from(stat.st_size).ok()? + 1);
    rustix::io::read(reopen(&path, READ).ok()?, spare_capacity(&mut bytes)).ok()?;
    Some(bytes)
}

/// Calls `visit` with the name of each entry of a directory that root owns.
pub fn list(dir: BorrowedFd<'_>, mut visit: impl FnMut(&CStr)) -> Option<()> {
    let dir = fs::openat(dir, c".", READ | OFlags::DIRECTORY, Mode::empty()).ok()?;
    if fs::fstat(&dir).ok()?.st_uid != 0 {
        return None;
    }
    for entry in Dir::new(dir.as_fd().try_clone_to_owned().ok()?).ok()? {
        visit(entry.ok()?.file_name());
    }
    Some(())
}
