//! Lists the mounts of a mount namespace with `listmount(2)` and `statmount(2)`.
//!
//! Unlike `/proc/PID/mountinfo`, which shows only what lies below the root
//! directory of one process, the kernel lists every mount this way, whatever
//! is mounted on top of it. It needs Linux 6.11 and `CAP_SYS_ADMIN` in the user
//! namespace that owns the mount namespace.

use rustix::fs::{self, AtFlags, CWD, StatxFlags};
use rustix::io::{Errno, Result};

use super::nsfs::{self, NSFS_MAGIC, NamespaceFd};
use crate::collect::parse::NamespaceMount;

/// Number of mounts requested by one call.
const BATCH: usize = 2048;

/// Stands for the root of a mount namespace in `listmount(2)`.
const LSMT_ROOT: u64 = u64::MAX;

/// `STATX_MNT_ID_UNIQUE` of `statx(2)`, since Linux 6.8: asks for the mount ID
/// that `listmount(2)` uses.
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;

// Fields that `statmount(2)` can be asked for.
const STATMOUNT_SB_BASIC: u64 = 0x1;
const STATMOUNT_MNT_BASIC: u64 = 0x2;
const STATMOUNT_MNT_ROOT: u64 = 0x8;
const STATMOUNT_MNT_POINT: u64 = 0x10;

/// Size of the fixed part of `struct statmount`. The strings follow it.
const STATMOUNT_SIZE: usize = 512;

/// Largest answer of `statmount(2)` to make room for.
const MAX_STATMOUNT: usize = 256 * 1024;

/// The mounts of one mount namespace, as the kernel lists them.
#[derive(Debug)]
pub struct ListedMounts {
    /// The kernel's 64-bit ID of the mount namespace.
    namespace_id: u64,
}

impl ListedMounts {
    /// Lists a mount namespace, and returns the bind mounts of PID and mount
    /// namespaces in it.
    pub fn list(namespace: &NamespaceFd) -> Result<(Self, Vec<NamespaceMount>)> {
        let this = Self { namespace_id: namespace.mount_namespace_id()? };
        let mut found = Vec::new();
        let mut buffer = Vec::new();
        let Some(top) = this.topmost_mount(namespace, &mut buffer)? else {
            return Ok((this, found));
        };
        let mut mounts = vec![0; BATCH];
        let mut last = 0;
        loop {
            let listed = nsfs::list_mounts(this.namespace_id, top, last, &mut mounts)?;
            for &mount in mounts.iter().take(listed) {
                found.extend(this.namespace_mount(mount, &mut buffer)?);
                last = mount;
            }
            if listed < BATCH {
                return Ok((this, found));
            }
        }
    }

    /// Returns `true` if a mount returned by [`list`](Self::list) is still there.
    pub fn has(&self, mount: &NamespaceMount, buffer: &mut Vec<u8>) -> bool {
        self.namespace_mount(mount.id, buffer).is_ok_and(|now| now.as_ref() == Some(mount))
    }

    /// Finds the mount that all others are below, or `None` if there is none.
    ///
    /// `LSMT_ROOT` does not name it. If something has been mounted over the root,
    /// `LSMT_ROOT` is that upper mount, and in the caller's own mount namespace
    /// it is the caller's root directory. So the parents are followed upward.
    fn topmost_mount(&self, namespace: &NamespaceFd, buffer: &mut Vec<u8>) -> Result<Option<u64>> {
        let mut root = [0];
        if is_own(namespace) {
            root[0] = mount_of_own_root()?;
        } else if nsfs::list_mounts(self.namespace_id, LSMT_ROOT, 0, &mut root)? == 0 {
            return Ok(None);
        }
        let [mut mount] = root;
        loop {
            let stat = self.stat(mount, STATMOUNT_MNT_BASIC, buffer)?;
            match stat.parent().ok_or(Errno::INVAL)? {
                // The topmost mount is its own parent.
                parent if parent == mount => return Ok(Some(mount)),
                parent => mount = parent,
            }
        }
    }

    /// Returns the namespace that a mount is a bind mount of, if any.
    fn namespace_mount(&self, mount: u64, buffer: &mut Vec<u8>) -> Result<Option<NamespaceMount>> {
        // The strings are slow to make, and few mounts are on nsfs.
        let stat = match self.stat(mount, STATMOUNT_SB_BASIC, buffer) {
            Ok(stat) if stat.is_on_nsfs() => {
                self.stat(mount, STATMOUNT_MNT_ROOT | STATMOUNT_MNT_POINT, buffer)
            }
            Ok(_) => return Ok(None),
            Err(errno) => Err(errno),
        };
        match stat {
            Ok(stat) => Ok(stat.root().and_then(|root| {
                // No path leads to a mount below something mounted over the root.
                let path = stat.mount_point().unwrap_or(b"(unreachable)");
                NamespaceMount::on_nsfs(mount, root, path.to_vec())
            })),
            // Unmounted since it was listed.
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Asks for some fields of a mount.
    fn stat<'b>(&self, mount: u64, fields: u64, buffer: &'b mut Vec<u8>) -> Result<MountStat<'b>> {
        buffer.resize(buffer.len().max(STATMOUNT_SIZE), 0);
        loop {
            match nsfs::stat_mount(self.namespace_id, mount, fields, buffer) {
                Ok(()) => return Ok(MountStat(buffer)),
                Err(Errno::OVERFLOW) if buffer.len() < MAX_STATMOUNT => {
                    buffer.resize(buffer.len() * 4, 0);
                }
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Returns `true` if this is the caller's own mount namespace.
fn is_own(namespace: &NamespaceFd) -> bool {
    fs::stat("/proc/self/ns/mnt").is_ok_and(|own| own.st_ino == namespace.inode())
}

/// Returns the ID of the mount that the caller's root directory is on.
fn mount_of_own_root() -> Result<u64> {
    let wanted = StatxFlags::from_bits_retain(STATX_MNT_ID_UNIQUE);
    let stat = fs::statx(CWD, "/", AtFlags::STATX_DONT_SYNC, wanted)?;
    // Before Linux 6.8 mounts have no such ID.
    if stat.stx_mask & STATX_MNT_ID_UNIQUE == 0 {
        return Err(Errno::NOSYS);
    }
    Ok(stat.stx_mnt_id)
}

/// A `struct statmount` with its strings.
struct MountStat<'a>(&'a [u8]);

impl MountStat<'_> {
    /// ID of the mount that this one is mounted on.
    fn parent(&self) -> Option<u64> {
        self.has(STATMOUNT_MNT_BASIC).then(|| self.number(48))?
    }

    fn is_on_nsfs(&self) -> bool {
        self.has(STATMOUNT_SB_BASIC) && self.number(24) == Some(NSFS_MAGIC)
    }

    /// Root within the file system: `pid:[4026531836]` on nsfs.
    fn root(&self) -> Option<&[u8]> {
        self.has(STATMOUNT_MNT_ROOT).then(|| self.text(104))?
    }

    /// Path below the root of the mount namespace, or `None` if no path leads there.
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

    /// Returns the string whose offset is stored at `at`, or `None` if it does
    /// not end within the buffer.
    fn text(&self, at: usize) -> Option<&[u8]> {
        let offset = u32::from_ne_bytes(*self.0.get(at..)?.first_chunk()?);
        let start = STATMOUNT_SIZE.checked_add(usize::try_from(offset).ok()?)?;
        let text = self.0.get(start..)?;
        text.get(..text.iter().position(|&byte| byte == 0)?)
    }
}
