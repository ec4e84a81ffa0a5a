//! The mounts of one mount namespace: from the kernel, which lists them all, or
//! from the mount tables of processes, each of which sees what lies below its
//! root directory. Nothing is opened at a mount point here.

use std::collections::HashSet;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{self, AtFlags, CWD, SeekFrom, StatxFlags};
use rustix::io::{Errno, Result};

use crate::collect::kernel::nsfs::{
    LSMT_ROOT, NamespaceFd, in_mount_namespace, list_mounts, mount_fields, stat_mount,
};
use crate::collect::kernel::sys::{MOST_OF_MOUNTS, open, read_to_end};
use crate::collect::parse::{self, NamespaceMount};

/// Mounts that are listed by one call.
const BATCH: usize = 2048;

/// `STATX_MNT_ID_UNIQUE` of `statx(2)`, since Linux 6.8: the number of the mount
/// as `listmount(2)` has it.
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;

/// Where the mounts of a mount namespace are read, and can be read again.
#[derive(Debug)]
pub enum MountTable {
    /// The kernel lists them by the number of the mount namespace.
    Listed(u64),
    /// An open `/proc/PID/mountinfo`.
    Mountinfo(OwnedFd),
}

impl MountTable {
    /// The table that the kernel lists (`listmount(2)`), with the bind mounts of
    /// namespaces in it: all of them, whatever covers them and whoever is in a chroot.
    ///
    /// # Errors
    /// As of [`list_mounts`]. Without `CAP_SYS_ADMIN` in its user namespace a
    /// mount namespace can't be listed from its top.
    pub fn list(namespace: &NamespaceFd) -> Result<(Self, Vec<NamespaceMount>)> {
        let number = namespace.mount_namespace_id()?;
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        let Some(top) = top(namespace, number, &mut buffer)? else {
            return Ok((Self::Listed(number), found));
        };
        let mut mounts = vec![0; BATCH];
        let mut last = 0;
        loop {
            let listed = list_mounts(number, top, last, &mut mounts)?;
            for &mount in mounts.iter().take(listed) {
                found.extend(namespace_mount(number, mount, &mut buffer)?);
                last = mount;
            }
            if listed < BATCH {
                return Ok((Self::Listed(number), found));
            }
        }
    }

    /// The mount table that a thread sees at the root of a mount namespace, and
    /// the bind mounts of namespaces in it. Only what lies below something that
    /// is mounted over that root is out of its sight.
    ///
    /// # Errors
    /// As of [`in_mount_namespace`], and of reading the table.
    pub fn of_namespace(namespace: &NamespaceFd) -> Result<(Self, Vec<NamespaceMount>)> {
        // Opened before, as there may be no /proc in there.
        let proc = fs::open("/proc", fs::OFlags::PATH | fs::OFlags::CLOEXEC, fs::Mode::empty())?;
        let file = in_mount_namespace(namespace, || open(proc.as_fd(), c"thread-self/mountinfo"))?;
        let mut table = Vec::new();
        read_to_end(&file, &mut table, MOST_OF_MOUNTS)?;
        Ok((Self::Mountinfo(file), parse::namespace_mounts(&table).collect()))
    }

    /// Leaves those of `mounts` that are still there.
    pub fn retain_listed(&self, mounts: &mut Vec<NamespaceMount>) {
        let mut buffer = Vec::new();
        match self {
            Self::Listed(number) => mounts.retain(|mount| {
                let again = namespace_mount(*number, mount.id, &mut buffer);
                again.is_ok_and(|listed| listed.as_ref() == Some(mount))
            }),
            Self::Mountinfo(file) => {
                // Where nothing can be read any more, nothing is left.
                let again = fs::seek(file, SeekFrom::Start(0))
                    .and_then(|_| read_to_end(file, &mut buffer, MOST_OF_MOUNTS));
                let listed: HashSet<_> = match again {
                    Ok(()) => parse::namespace_mounts(&buffer).collect(),
                    Err(_) => HashSet::new(),
                };
                mounts.retain(|mount| listed.contains(mount));
            }
        }
    }
}

/// The topmost mount of a mount namespace, below which all others are; `None`
/// where there is no other. What the kernel takes for the root is below that,
/// if something was mounted over it, and in the caller's own mount namespace
/// it is the caller's root directory.
fn top(namespace: &NamespaceFd, number: u64, buffer: &mut Vec<u8>) -> Result<Option<u64>> {
    let mut mount = [0];
    if is_own(namespace) {
        mount[0] = number_of_root()?;
    } else if list_mounts(number, LSMT_ROOT, 0, &mut mount)? == 0 {
        return Ok(None);
    }
    let [mut mount] = mount;
    loop {
        let stat = stat_mount(number, mount, mount_fields::MNT_BASIC, buffer)?;
        match stat.parent().ok_or(Errno::INVAL)? {
            parent if parent == mount => return Ok(Some(mount)),
            parent => mount = parent,
        }
    }
}

/// Whether it is the mount namespace that the caller is in.
fn is_own(namespace: &NamespaceFd) -> bool {
    fs::stat("/proc/self/ns/mnt").is_ok_and(|own| own.st_ino == namespace.inode())
}

/// The number of the mount that the caller's root directory is in.
fn number_of_root() -> Result<u64> {
    let wanted = StatxFlags::from_bits_retain(STATX_MNT_ID_UNIQUE);
    let stat = fs::statx(CWD, "/", AtFlags::STATX_DONT_SYNC, wanted)?;
    // Before Linux 6.8 there is no such number.
    if stat.stx_mask & STATX_MNT_ID_UNIQUE == 0 {
        return Err(Errno::NOSYS);
    }
    Ok(stat.stx_mnt_id)
}

/// The bind mount of a namespace that a mount is, if it is one. Most are none,
/// so no texts are made of them.
fn namespace_mount(
    number: u64,
    mount: u64,
    buffer: &mut Vec<u8>,
) -> Result<Option<NamespaceMount>> {
    const TEXTS: u64 = mount_fields::MNT_ROOT | mount_fields::MNT_POINT;
    let found = match stat_mount(number, mount, mount_fields::SB_BASIC, buffer) {
        Ok(stat) if stat.is_on_nsfs() => stat_mount(number, mount, TEXTS, buffer),
        Ok(_) => return Ok(None),
        Err(errno) => Err(errno),
    };
    match found {
        // Out of reach of the root: under what is mounted over that.
        Ok(stat) => Ok(stat.root().and_then(|root| {
            let path = stat.point().unwrap_or(b"(unreachable)");
            NamespaceMount::on_nsfs(mount, root, path.to_vec())
        })),
        // It has been unmounted.
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
