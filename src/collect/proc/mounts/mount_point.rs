//! Opens the namespace at a mount point without blocking on an unresponsive file system.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

use crate::collect::kernel::nsfs::{NamespaceFd, in_mount_namespace};
use crate::collect::kernel::sys::within;
use crate::collect::parse::PATH_TOO_LONG;

/// Maximum number of attempts to resolve a path that changes while the kernel resolves it.
const ATTEMPTS: usize = 16;

/// Time limit for resolving a path on kernels without `RESOLVE_CACHED`.
pub const TIMEOUT: Duration = Duration::from_millis(200);

/// Flags for opening a root directory.
pub const ROOT_FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens the root directory of a mount namespace.
pub fn root_of(namespace: &NamespaceFd) -> Result<OwnedFd> {
    in_mount_namespace(namespace, || fs::open("/", ROOT_FLAGS, Mode::empty()))
}

/// Opens a namespace through its bind mount at `path` below the directory `root`.
///
/// Fails with `ESTALE` if the path does not lead to the namespace with this inode. Fails with
/// `EAGAIN` if the path is not in the kernel's cache.
pub fn open_beneath(root: &OwnedFd, path: &[u8], inode: u64) -> Result<NamespaceFd> {
    if path == PATH_TOO_LONG {
        return Err(Errno::NAMETOOLONG);
    }
    let path = CString::new(path).map_err(|_| Errno::INVAL)?;
    let mut opened = Err(Errno::AGAIN);
    for _ in 0..ATTEMPTS {
        // Look up the path only in the dentry cache, so that a FUSE file system can't block the
        // lookup. The dentries of mount points are always cached.
        opened = open_path(root, &path, ResolveFlags::CACHED);
        // `EAGAIN` can mean that a mount or rename happened meanwhile, so try again.
        if opened.as_ref().err() != Some(&Errno::AGAIN) {
            break;
        }
    }
    // Before Linux 5.12, there is no `RESOLVE_CACHED`, so use a time limit instead.
    if opened.as_ref().err() == Some(&Errno::INVAL) {
        let root = rustix::io::fcntl_dupfd_cloexec(root, 0)?;
        opened = within(TIMEOUT, move || open_path(&root, &path, ResolveFlags::empty()));
    }
    // `reopen` opens only namespaces, because opening a device can have side effects.
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
