//! Reads the root directory and the mount table of a thread in a mount namespace.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, Mode, StatxFlags};
use rustix::io::{Errno, Result};

use super::mount_point::ROOT_FLAGS;
use super::table::MountTable;
use crate::collect::kernel::nsfs::{NamespaceFd, open_namespace};
use crate::collect::kernel::sys::{is_gone, namespace_link, open, open_base};
use crate::collect::kernel::wait_limit::{WaitLimit, read_mountinfo};
use crate::collect::mount_list::MountList;
use crate::collect::parse;
use crate::collect::proc::process_dir::still_there;
use crate::collect::proc::procfs::Procfs;
use crate::model::Pid;

/// PID and TID of a thread in a mount namespace.
pub type Reader = (Pid, Pid);

/// Identifies a root directory by mount ID, device and inode.
pub type RootId = (u64, u64, u64);

/// The mounts that one thread sees below its root directory.
pub struct MountView<'a> {
    pub root: OwnedFd,
    pub table: MountTable<'a>,
    /// The bind mounts of PID and mount namespaces in the mount table.
    pub mounts: MountList,
    /// IDs of all mounts in the mount table.
    pub mount_ids: HashSet<u64>,
    /// `true` if the root directory itself is a mount point.
    pub has_root: bool,
}

impl<'a> MountView<'a> {
    /// Reads the mounts that a thread sees, unless its root directory is already in `roots`.
    pub fn read(
        procfs: &Procfs,
        reader: Reader,
        mount_namespace: u64,
        roots: &mut HashSet<RootId>,
        waits: &'a WaitLimit,
    ) -> Result<Option<Self>> {
        in_thread_dir(procfs, reader, |dir| Self::read_in(dir, mount_namespace, roots, waits))
    }

    fn read_in(
        dir: BorrowedFd<'_>,
        mount_namespace: u64,
        roots: &mut HashSet<RootId>,
        waits: &'a WaitLimit,
    ) -> Result<Option<Self>> {
        let root = fs::openat(dir, c"root", ROOT_FLAGS, Mode::empty())?;
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let stat = fs::statx(&root, c"", flags, StatxFlags::MNT_ID | StatxFlags::INO)?;
        let device = fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
        let root_id = (stat.stx_mnt_id, device, stat.stx_ino);
        if roots.contains(&root_id) {
            return Ok(None);
        }
        let file = open(dir, c"mountinfo")?;
        let is_there = || match namespace_link(dir, c"ns/mnt", "mnt")? {
            Some(inode) if inode == mount_namespace => Ok(()),
            _ => Err(Errno::SRCH),
        };
        // A mount table can be long, so first check that the thread is in this mount namespace.
        is_there()?;
        let mut table = Vec::new();
        match read_mountinfo(&file, &mut table, waits) {
            // The thread is exiting and has already left its mount namespace.
            Err(Errno::INVAL) => return Err(Errno::SRCH),
            other => other?,
        }
        // The thread may have entered another mount namespace (setns) while the table was read.
        is_there()?;
        roots.insert(root_id);
        Ok(Some(Self {
            root,
            mounts: parse::namespace_mounts(&table).collect(),
            mount_ids: parse::mount_ids(&table).collect(),
            has_root: parse::shows_root(&table),
            table: MountTable::Mountinfo(file, waits),
        }))
    }
}

/// Opens the root directory of a thread.
pub fn open_root(procfs: &Procfs, reader: Reader) -> Result<OwnedFd> {
    fs::openat(thread_dir(procfs, reader)?, c"root", ROOT_FLAGS, Mode::empty())
}

/// Opens the mount namespace of a thread.
pub fn open_mount_namespace(procfs: &Procfs, reader: Reader) -> Result<NamespaceFd> {
    in_thread_dir(procfs, reader, |dir| open_namespace(dir, c"ns/mnt"))
}

/// Calls `read` with a thread's directory, or fails with `ESRCH` if the thread is gone.
fn in_thread_dir<T>(
    procfs: &Procfs,
    reader: Reader,
    read: impl FnOnce(BorrowedFd<'_>) -> Result<T>,
) -> Result<T> {
    let dir = thread_dir(procfs, reader)?;
    read(dir.as_fd()).map_err(|errno| {
        let status = open(dir.as_fd(), c"status").and_then(|status| still_there(&status));
        if status.is_err_and(is_gone) { Errno::SRCH } else { errno }
    })
}

fn thread_dir(procfs: &Procfs, (pid, tid): Reader) -> Result<OwnedFd> {
    let path = if pid == tid { format!("{pid}") } else { format!("{pid}/task/{tid}") };
    open_base(procfs.fd(), &CString::new(path).map_err(|_| Errno::INVAL)?)
}
