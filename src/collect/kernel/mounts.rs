//! Lists the mounts of a mount namespace with `listmount(2)` and `statmount(2)`.
//!
//! `/proc/PID/mountinfo` shows only the mounts below the root directory of one process.
//! `listmount(2)` shows all mounts, but needs Linux 6.11 and `CAP_SYS_ADMIN`.

use rustix::fs::{self, AtFlags, CWD, StatxFlags};
use rustix::io::{Errno, Result};

use super::nsfs::{self, NSFS_MAGIC, NamespaceFd};
use super::sys::own_namespace;
use super::wait_limit::WaitLimit;
use crate::collect::mount_list::MountList;
use crate::collect::parse::{NamespaceMount, PATH_MAX, PATH_TOO_LONG};

/// Maximum number of mounts that one call to `listmount(2)` returns.
const BATCH: usize = 2048;

/// Mount ID that stands for the root of the mount namespace in calls to `listmount(2)`.
const LSMT_ROOT: u64 = u64::MAX;

/// Makes `statx(2)` return the mount ID that `listmount(2)` uses (since Linux 6.8).
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;

// Fields that can be requested from `statmount(2)`.
const STATMOUNT_SB_BASIC: u64 = 0x1;
const STATMOUNT_MNT_BASIC: u64 = 0x2;
const STATMOUNT_MNT_ROOT: u64 = 0x8;
const STATMOUNT_MNT_POINT: u64 = 0x10;

/// Size of the fixed part of `struct statmount`, which comes before the strings.
const STATMOUNT_SIZE: usize = 512;

/// Maximum buffer size for a `struct statmount` with a mount point and an nsfs root.
const MAX_STATMOUNT: usize = STATMOUNT_SIZE + PATH_MAX + 256;

/// A mount namespace whose mounts have been listed with `listmount(2)`.
#[derive(Debug)]
pub struct ListedMounts<'a> {
    /// The kernel's 64-bit ID of the mount namespace.
    namespace_id: u64,
    /// Limits how long the system calls wait for the kernel's global mount lock (`namespace_sem`).
    waits: &'a WaitLimit,
}

impl<'a> ListedMounts<'a> {
    /// Finds the bind mounts of PID and mount namespaces in a mount namespace.
    pub fn list(namespace: &NamespaceFd, waits: &'a WaitLimit) -> Result<(Self, MountList)> {
        let this = Self { namespace_id: namespace.mount_namespace_id()?, waits };
        let mut found = MountList::default();
        let mut buffer = Vec::new();
        let Some(top) = this.topmost_mount(namespace, &mut buffer)? else {
            return Ok((this, found));
        };
        let mut mounts = vec![0; BATCH];
        let mut last = 0;
        loop {
            let listed =
                waits.call(|| nsfs::list_mounts(this.namespace_id, top, last, &mut mounts))?;
            for &mount in mounts.iter().take(listed) {
                found.extend(this.namespace_mount(mount, &mut buffer)?);
                last = mount;
            }
            if listed < BATCH {
                return Ok((this, found));
            }
        }
    }

    /// Returns `true` if a mount that [`list`](Self::list) returned still exists.
    pub fn has(&self, mount: &NamespaceMount, buffer: &mut Vec<u8>) -> bool {
        self.namespace_mount(mount.id, buffer).is_ok_and(|now| now.as_ref() == Some(mount))
    }

    /// Finds the root of the mount tree, if there are any mounts.
    fn topmost_mount(&self, namespace: &NamespaceFd, buffer: &mut Vec<u8>) -> Result<Option<u64>> {
        let mut root = [0];
        if is_own(namespace) {
            root[0] = mount_of_own_root()?;
        } else if nsfs::list_mounts(self.namespace_id, LSMT_ROOT, 0, &mut root)? == 0 {
            return Ok(None);
        }
        // `mount` is not always the root of the mount tree: it can be a mount on top of the root,
        // or the mount that contains a chroot(2) directory. So follow the parents up to the root.
        let [mut mount] = root;
        loop {
            let stat = self.stat(mount, STATMOUNT_MNT_BASIC, buffer)?;
            match stat.parent().ok_or(Errno::INVAL)? {
                // The root of the mount tree is its own parent.
                parent if parent == mount => return Ok(Some(mount)),
                parent => mount = parent,
            }
        }
    }

    /// Reads a mount, if it is a bind mount of a PID or mount namespace.
    fn namespace_mount(&self, mount: u64, buffer: &mut Vec<u8>) -> Result<Option<NamespaceMount>> {
        // Requesting the paths of a mount is slow, so they are requested only for nsfs mounts.
        let stat = match self.stat(mount, STATMOUNT_SB_BASIC, buffer) {
            Ok(stat) if stat.is_on_nsfs() => {
                self.stat(mount, STATMOUNT_MNT_ROOT | STATMOUNT_MNT_POINT, buffer)
            }
            Ok(_) => return Ok(None),
            Err(errno) => Err(errno),
        };
        if stat.as_ref().err() == Some(&Errno::OVERFLOW) {
            let stat = self.stat(mount, STATMOUNT_MNT_ROOT, buffer)?;
            let mount = stat.root().map(|root| NamespaceMount::on_nsfs(mount, root, PATH_TOO_LONG));
            return Ok(mount.flatten());
        }
        match stat {
            Ok(stat) => Ok(stat.root().and_then(|root| {
                // If another mount covers the root of the mount tree, no path leads to the mounts
                // below the covered root.
                let path = stat.mount_point().unwrap_or(b"(unreachable)");
                NamespaceMount::on_nsfs(mount, root, path)
            })),
            // The mount was unmounted after it was listed.
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Reads the requested fields of a mount with `statmount(2)`.
    fn stat<'b>(&self, mount: u64, fields: u64, buffer: &'b mut Vec<u8>) -> Result<MountStat<'b>> {
        buffer.resize(buffer.len().max(STATMOUNT_SIZE), 0);
        loop {
            let stat = || nsfs::stat_mount(self.namespace_id, mount, fields, buffer);
            match self.waits.call(stat) {
                Ok(()) => return Ok(MountStat(buffer)),
                Err(Errno::OVERFLOW) if buffer.len() < MAX_STATMOUNT => {
                    buffer.resize(MAX_STATMOUNT, 0);
                }
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Returns `true` if `namespace` is the caller's own mount namespace.
fn is_own(namespace: &NamespaceFd) -> bool {
    own_namespace(c"self/ns/mnt", "mnt") == Ok(Some(namespace.inode()))
}

/// Returns the ID of the mount that contains the caller's root directory.
fn mount_of_own_root() -> Result<u64> {
    let wanted = StatxFlags::from_bits_retain(STATX_MNT_ID_UNIQUE);
    let stat = fs::statx(CWD, "/", AtFlags::STATX_DONT_SYNC, wanted)?;
    // Before Linux 6.8, mounts have no unique 64-bit ID.
    if stat.stx_mask & STATX_MNT_ID_UNIQUE == 0 {
        return Err(Errno::NOSYS);
    }
    Ok(stat.stx_mnt_id)
}

/// A `struct statmount`, followed by its strings.
struct MountStat<'a>(&'a [u8]);

impl MountStat<'_> {
    fn parent(&self) -> Option<u64> {
        self.has(STATMOUNT_MNT_BASIC).then(|| self.number(48))?
    }

    fn is_on_nsfs(&self) -> bool {
        self.has(STATMOUNT_SB_BASIC) && self.number(24) == Some(NSFS_MAGIC)
    }

    /// Returns the root of the mount within its file system, for example `pid:[4026531836]` on
    /// nsfs.
    fn root(&self) -> Option<&[u8]> {
        self.has(STATMOUNT_MNT_ROOT).then(|| self.text(104))?
    }

    /// Returns the path of the mount point, relative to the root of the mount namespace.
    fn mount_point(&self) -> Option<&[u8]> {
        self.has(STATMOUNT_MNT_POINT).then(|| self.text(108))?
    }

    /// Returns `true` if the kernel has filled in a field.
    fn has(&self, field: u64) -> bool {
        self.number(8).is_some_and(|fields| fields & field != 0)
    }

    fn number(&self, at: usize) -> Option<u64> {
        self.0.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
    }

    /// Returns the NUL-terminated string whose offset is stored at position `at`.
    fn text(&self, at: usize) -> Option<&[u8]> {
        let offset = u32::from_ne_bytes(*self.0.get(at..)?.first_chunk()?);
        let start = STATMOUNT_SIZE.checked_add(usize::try_from(offset).ok()?)?;
        let text = self.0.get(start..)?;
        text.get(..text.iter().position(|&byte| byte == 0)?)
    }
}
