//! Reads the bind mounts in a mount namespace, and checks later which of them still exist.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use rustix::fs::{self, SeekFrom};
use rustix::io::Result;

use crate::collect::kernel::mounts::ListedMounts;
use crate::collect::kernel::nsfs::{NamespaceFd, in_mount_namespace};
use crate::collect::kernel::sys::{first_procfs, open};
use crate::collect::kernel::wait_limit::{WaitLimit, read_mountinfo};
use crate::collect::mount_list::MountList;
use crate::collect::parse::{self, NamespaceMount};

/// A list of the mounts in one mount namespace. The list can be read more than once.
#[derive(Debug)]
pub enum MountTable<'a> {
    /// Mounts that the kernel lists with `listmount(2)`.
    Listed(ListedMounts<'a>),
    /// An open `/proc/PID/mountinfo`.
    Mountinfo(OwnedFd, &'a WaitLimit),
}

impl<'a> MountTable<'a> {
    /// Lists all mounts in a mount namespace with `listmount(2)`.
    pub fn list(namespace: &NamespaceFd, waits: &'a WaitLimit) -> Result<(Self, MountList)> {
        let (listed, mounts) = ListedMounts::list(namespace, waits)?;
        Ok((Self::Listed(listed), mounts))
    }

    /// Enters the mount namespace and reads `mountinfo` there.
    pub fn read_inside(namespace: &NamespaceFd, waits: &'a WaitLimit) -> Result<(Self, MountList)> {
        // Open /proc before entering the mount namespace, because it may not exist there.
        let proc = first_procfs()?;
        let file = in_mount_namespace(namespace, || open(proc, c"thread-self/mountinfo"))?;
        let mut table = Vec::new();
        read_mountinfo(&file, &mut table, waits)?;
        Ok((Self::Mountinfo(file, waits), parse::namespace_mounts(&table).collect()))
    }

    /// Removes each mount that no longer exists, or that can't be checked within the time limit.
    pub fn retain_current(&self, mounts: &mut Vec<NamespaceMount>) {
        let mut buffer = Vec::new();
        match self {
            Self::Listed(listed) => mounts.retain(|mount| listed.has(mount, &mut buffer)),
            Self::Mountinfo(file, waits) => {
                let again = fs::seek(file, SeekFrom::Start(0))
                    .and_then(|_| read_mountinfo(file, &mut buffer, waits));
                // If `mountinfo` can't be read any more, the mount namespace and all its mounts are
                // gone.
                let current: HashSet<_> = match again {
                    Ok(()) => parse::namespace_mounts(&buffer).collect(),
                    Err(_) => HashSet::new(),
                };
                mounts.retain(|mount| current.contains(mount));
            }
        }
    }
}
