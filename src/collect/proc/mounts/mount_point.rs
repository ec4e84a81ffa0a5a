//! Opens what is mounted at a mount point that others chose, without asking
//! anything of a file system of theirs.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

use crate::collect::kernel::nsfs::{NamespaceFd, in_mount_namespace};
use crate::collect::kernel::sys::within;

/// How often a path is walked that something changes along meanwhile.
const TRIES: usize = 16;

/// How long a kernel may take that cannot be kept from asking a file system.
const PATIENCE: Duration = Duration::from_millis(200);

/// Flags for a root directory.
pub const ROOT: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The root directory of a mount namespace.
///
/// # Errors
/// As of [`in_mount_namespace`].
pub fn root_of(namespace: &NamespaceFd) -> Result<OwnedFd> {
    in_mount_namespace(namespace, || fs::open("/", ROOT, Mode::empty()))
}

/// Opens the bind mount of a namespace at a path below a root directory. The
/// paths in a mount table contain no symbolic links, so none is followed, and
/// the path cannot lead out of that root.
///
/// Other users choose the path and what is mounted along it. So the kernel is
/// told to walk it in its own cache alone (`RESOLVE_CACHED`, since Linux 5.12),
/// where every mount point is: a file system of theirs is not asked, and cannot
/// keep pidns waiting for an answer. What is found there is opened as a path
/// only, and for reading once it is known to be on nsfs, because opening a
/// device or a FIFO may have side effects.
///
/// # Errors
/// `STALE` where another namespace, or something else, is there; `EAGAIN` where
/// only the file system can tell; as of opening by path.
pub fn open_beneath(root: &OwnedFd, path: &[u8], inode: u64) -> Result<NamespaceFd> {
    let path = CString::new(path).map_err(|_| Errno::INVAL)?;
    let mut opened = Err(Errno::AGAIN);
    for _ in 0..TRIES {
        opened = open_path(root, &path, ResolveFlags::CACHED);
        // EAGAIN, too, where a mount or a name has changed at that moment.
        if opened.as_ref().err() != Some(&Errno::AGAIN) {
            break;
        }
    }
    if opened.as_ref().err() == Some(&Errno::INVAL) {
        let root = rustix::io::fcntl_dupfd_cloexec(root, 0)?;
        opened = within(PATIENCE, move || open_path(&root, &path, ResolveFlags::empty()));
    }
    match NamespaceFd::reopen(&opened?) {
        Ok(fd) if fd.inode() == inode => Ok(fd),
        Ok(_) | Err(Errno::NOTTY) => Err(Errno::STALE),
        Err(errno) => Err(errno),
    }
}

fn open_path(root: &OwnedFd, path: &CString, resolve: ResolveFlags) -> Result<OwnedFd> {
    let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    fs::openat2(root, path.as_c_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}
