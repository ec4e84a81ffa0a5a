//! Bind mounts that keep namespaces in being: the mount table of each mount
//! namespace, read once.
//!
//! A mount that goes away meanwhile is no diagnostic.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

use super::mount::Procfs;
use super::process_dir::{ProcessDir, for_each_task};
use crate::collect::discovery::Discovery;
use crate::collect::nsfs::NamespaceFd;
use crate::collect::parse::{self, NamespaceMount};
use crate::collect::registry::{InitHistory, NamespaceRegistry};
use crate::collect::sys::{is_gone, namespace_link, read};
use crate::model::{DiagnosticCode, Holder, Pid};

/// Reads the mount table of each mount namespace once.
pub fn mounts(procfs: &Procfs, registry: &NamespaceRegistry, found: &mut Discovery) {
    let mut table = Vec::new();
    let mut namespaces: Vec<_> = std::mem::take(&mut found.readers).into_iter().collect();
    namespaces.sort_unstable();
    for (mount_namespace, mut readers) in namespaces {
        readers.sort_unstable();
        let mut refused = None;
        for reader in readers {
            let before = found.holders.len();
            match mounts_of(procfs, registry, reader, mount_namespace, &mut table, found) {
                Ok(true) => {
                    refused = None;
                    break;
                }
                // In a chroot: what lies outside, another may see.
                Ok(false) => refused = Some((None, reader.0)),
                Err(errno) => {
                    found.holders.truncate(before);
                    // Gone, or gone elsewhere: the next one may serve.
                    if !is_gone(errno) && errno != Errno::INVAL {
                        refused = Some((Some(errno), reader.0));
                    }
                }
            }
        }
        if let Some((errno, pid)) = refused {
            found.log.note(DiagnosticCode::MountsUnreadable, errno, Some(pid));
        }
    }
}

/// Reads the mount table that one process sees; `false` where that is only
/// the part below its root directory.
///
/// # Errors
/// It may not be read, or the process has vanished meanwhile or is elsewhere;
/// `found` may then have a part of it.
fn mounts_of(
    procfs: &Procfs,
    registry: &NamespaceRegistry,
    (pid, tid): (Pid, Pid),
    mount_namespace: u64,
    table: &mut Vec<u8>,
    found: &mut Discovery,
) -> Result<bool> {
    let place = ProcessDir::bound(procfs.fd(), pid)?;
    let mut thread = None;
    if tid != pid {
        for_each_task(place.dir(), |id, task| {
            if id == tid {
                thread = Some(task);
            }
        })?;
    }
    let dir = thread.as_ref().map_or(place.dir(), AsFd::as_fd);
    read(dir, c"mountinfo", table)?;
    let mut root = None;
    for mount in parse::namespace_mounts(table) {
        let path = String::from_utf8_lossy(&mount.path).into_owned();
        let open = || {
            let root = match &root {
                Some(root) => root,
                None => root.insert(fs::openat(
                    dir,
                    c"root",
                    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                    Mode::empty(),
                )?),
            };
            match open_beneath(root, &mount.path) {
                Ok(fd) if fd.inode() == mount.inode => Ok(fd),
                // Gone meanwhile, or there and out of reach, as where another
                // mount lies on top.
                Err(errno) if !is_gone(errno) && errno != Errno::NOTTY => Err(errno),
                _ if is_listed(dir, &mount) => Err(Errno::STALE),
                _ => Err(Errno::NOENT),
            }
        };
        match registry.pin(mount.inode, InitHistory::Unknown, open, || is_listed(dir, &mount)) {
            Ok(()) => {}
            Err(errno) if is_gone(errno) => continue,
            Err(errno) => found.log.note(DiagnosticCode::NamespaceUnopened, Some(errno), Some(pid)),
        }
        found.holders.push((mount.inode, Holder::Mount { path, mount_namespace }));
    }
    // All of it was this mount namespace's if the process is still in it.
    if namespace_link(dir, c"ns/mnt", "mnt")? != Some(mount_namespace) {
        return Err(Errno::SRCH);
    }
    Ok(parse::shows_root(table))
}

/// Whether a mount is still in the table.
fn is_listed(dir: BorrowedFd<'_>, mount: &NamespaceMount) -> bool {
    let mut table = Vec::new();
    read(dir, c"mountinfo", &mut table).is_ok()
        && parse::namespace_mounts(&table).any(|listed| listed == *mount)
}

/// Opens a bind mount as the process sees it whose root directory is given. A
/// mount table holds no links, so none is followed: whatever this leads to, it
/// does not lead out.
///
/// The path is of others' choosing. So it is walked in the kernel's memory
/// alone, where mount points are pinned, lest a file system of theirs let us
/// wait for ever (`RESOLVE_CACHED`, since Linux 5.12); and what is there is
/// looked at before it is opened, as opening a device may do things.
fn open_beneath(root: &OwnedFd, path: &[u8]) -> Result<NamespaceFd> {
    let path = CString::new(path).map_err(|_| Errno::INVAL)?;
    let look = |resolve: ResolveFlags| {
        let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        fs::openat2(root, path.as_c_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
    };
    let seen = match look(ResolveFlags::CACHED) {
        Err(Errno::INVAL) => look(ResolveFlags::empty()),
        other => other,
    }?;
    NamespaceFd::reopen(&seen)
}
