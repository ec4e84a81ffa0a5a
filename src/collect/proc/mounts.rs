//! Bind mounts that keep namespaces alive: the mount table of each mount
//! namespace, read once. Which processes there are is known before.
//!
//! A mount that goes away meanwhile is left out, which is no diagnostic.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

use super::findings::Findings;
use super::mount::Procfs;
use super::process_dir::{ProcessDir, for_each_task};
use crate::collect::nsfs::NamespaceFd;
use crate::collect::parse::{self, NamespaceMount};
use crate::collect::registry::{InitHistory, NamespaceRegistry};
use crate::collect::sys::{is_gone, namespace_link, read};
use crate::model::{DiagnosticCode, Holder, Pid};

/// Reads the mount table of each mount namespace once.
pub fn search(procfs: &Procfs, registry: &NamespaceRegistry, found: &mut Findings) {
    let mut table = Vec::new();
    let mut namespaces: Vec<_> = std::mem::take(&mut found.readers).into_iter().collect();
    namespaces.sort_unstable();
    for (mount_namespace, mut readers) in namespaces {
        readers.sort_unstable();
        let mut refused = None;
        for reader in readers {
            let before = found.holders.len();
            match search_table(procfs, registry, reader, mount_namespace, &mut table, found) {
                Ok(true) => {
                    refused = None;
                    break;
                }
                // The process is in a chroot. Another one may see what lies
                // outside of it.
                Ok(false) => refused = Some((None, reader.0)),
                Err(errno) => {
                    found.holders.truncate(before);
                    // The process is gone, or has entered another mount
                    // namespace: the next one may serve.
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
fn search_table(
    procfs: &Procfs,
    registry: &NamespaceRegistry,
    (pid, tid): (Pid, Pid),
    mount_namespace: u64,
    table: &mut Vec<u8>,
    found: &mut Findings,
) -> Result<bool> {
    let process = ProcessDir::open(procfs.fd(), pid)?;
    let mut thread = None;
    if tid != pid {
        for_each_task(process.as_fd(), |id, task| {
            if id == tid {
                thread = Some(task);
            }
        })?;
    }
    let dir = thread.as_ref().map_or(process.as_fd(), AsFd::as_fd);
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
                // The mount is gone by now, or it is there and out of reach, as
                // where another mount lies on top of it.
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
    // All of it was of this mount namespace if the process is still in it.
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

/// Opens the bind mount at a path below the root directory of the process
/// whose mount table names it. The paths in a mount table contain no symbolic
/// links, so none is followed, and the path cannot lead out of that root.
///
/// Other users choose the path and what is mounted along it. So the kernel is
/// told to walk it in its own cache alone (`RESOLVE_CACHED`, since Linux 5.12),
/// where every mount point is: a file system of theirs is not asked, and cannot
/// keep pidns waiting for an answer. What is found there is opened as a path
/// only, and for reading once it is known to be on nsfs, because opening a
/// device or a FIFO may have side effects.
fn open_beneath(root: &OwnedFd, path: &[u8]) -> Result<NamespaceFd> {
    let path = CString::new(path).map_err(|_| Errno::INVAL)?;
    let open_path = |resolve: ResolveFlags| {
        let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        fs::openat2(root, path.as_c_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
    };
    let opened = match open_path(ResolveFlags::CACHED) {
        Err(Errno::INVAL) => open_path(ResolveFlags::empty()),
        other => other,
    }?;
    NamespaceFd::reopen(&opened)
}
