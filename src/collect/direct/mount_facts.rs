//! Finds out whether and how a command can remove the bind mounts that keep PID namespaces alive.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{self, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

use crate::collect::kernel::nsfs::{NamespaceFd, open_namespace};
use crate::collect::kernel::sys::{open_dir, read_own, within};
use crate::collect::parse::{self, MountedKind};
use crate::collect::proc::descriptor_table::DescriptorTable;
use crate::collect::proc::mounts::{TIMEOUT, open_beneath, open_descriptor, root_of};
use crate::collect::proc::process_dir::ProcessDir;
use crate::collect::proc::procfs::Procfs;
use crate::collect::proc::status::namespace_of;
use crate::model::{BindMount, LiveFacts, MountNamespace, MountNamespaceKeeper, Pid, Process};

/// Looks up facts about bind mounts and the mount namespaces that contain them, and adds the facts
/// to `facts`.
pub fn add(
    procfs: &Procfs,
    processes: &[Process],
    mounts: &BTreeSet<BindMount>,
    facts: &mut LiveFacts,
) {
    let own = facts.own_mount_namespace;
    let mut roots = HashMap::new();
    if let Some(own) = own
        && let Ok(root) = open_root()
    {
        roots.insert(own, root);
    }
    // nsenter(1) and `umount -N` take PIDs of their own PID namespace.
    if procfs.own {
        let others = mounts.iter().map(|it| it.mount_namespace).filter(|&it| Some(it) != own);
        for (inode, kept_by) in find_keepers(procfs, processes, others.collect()) {
            let opened = open(procfs, inode, &kept_by);
            let root = opened.as_ref().ok().and_then(|it| root_of(it).ok());
            let namespace = MountNamespace {
                kept_by,
                may_lock_mounts: opened.is_ok_and(|it| has_other_owner(procfs, &it)),
                lacks_proc: root.as_ref().is_some_and(|it| !has_proc(it)),
            };
            facts.mount_namespaces.insert(inode, namespace);
            roots.extend(root.map(|root| (inode, root)));
        }
    }
    facts.covered = mounts
        .iter()
        .filter_map(|mount| {
            let root = roots.get(&mount.mount_namespace)?;
            Some((mount.clone(), is_covered(root, mount)?))
        })
        .collect();
}

/// Finds what keeps each mount namespace in `wanted` alive: its member processes, or else an open
/// descriptor or a bind mount.
fn find_keepers(
    procfs: &Procfs,
    processes: &[Process],
    mut wanted: BTreeSet<u64>,
) -> BTreeMap<u64, MountNamespaceKeeper> {
    let mut found = BTreeMap::new();
    let mut members: BTreeMap<u64, Vec<Pid>> = BTreeMap::new();
    let processes = || processes.iter().filter(|it| !it.kernel_thread);
    if !wanted.is_empty() {
        for process in processes() {
            let inode = namespace_of(procfs, process, c"ns/mnt", "mnt");
            if let Some(inode) = inode.filter(|it| wanted.contains(it)) {
                members.entry(inode).or_default().push(process.pid);
            }
        }
    }
    wanted.retain(|it| !members.contains_key(it));
    let members = members.into_iter();
    found.extend(members.map(|(inode, pids)| (inode, MountNamespaceKeeper::Processes(pids))));
    for process in processes().filter(|it| Some(it.pid) != procfs.viewer) {
        if wanted.is_empty() {
            return found;
        }
        let Ok(table) = descriptors(procfs, process.pid) else { continue };
        for (fd, file) in table.namespaces {
            if wanted.remove(&file.inode) {
                found.insert(file.inode, MountNamespaceKeeper::Fd(process.pid, fd));
            }
        }
    }
    if !wanted.is_empty() {
        let mountinfo = read_own(c"self/mountinfo").unwrap_or_default();
        let mounts = parse::namespace_mounts(&mountinfo);
        for mount in mounts.filter(|it| it.kind == MountedKind::Mount) {
            if let Ok(path) = std::str::from_utf8(&mount.path)
                && wanted.remove(&mount.inode)
            {
                found.insert(mount.inode, MountNamespaceKeeper::Mount(path.to_owned()));
            }
        }
    }
    found
}

fn descriptors(procfs: &Procfs, pid: Pid) -> Result<DescriptorTable> {
    let dir = ProcessDir::open(procfs.fd(), pid)?;
    DescriptorTable::list(open_dir(dir.as_fd(), c"fd")?.as_fd())
}

/// Opens the mount namespace with this inode through a process, descriptor or bind mount.
fn open(procfs: &Procfs, inode: u64, kept_by: &MountNamespaceKeeper) -> Result<NamespaceFd> {
    let opened = match kept_by {
        MountNamespaceKeeper::Processes(pids) => {
            let pid = *pids.first().ok_or(Errno::SRCH)?;
            open_namespace(ProcessDir::open(procfs.fd(), pid)?.as_fd(), c"ns/mnt")
        }
        MountNamespaceKeeper::Fd(pid, fd) => open_descriptor(procfs, *pid, *fd),
        MountNamespaceKeeper::Mount(path) => open_beneath(&open_root()?, path.as_bytes(), inode),
    };
    // The PID, descriptor or path may lead to another namespace by now.
    opened.and_then(|it| if it.inode() == inode { Ok(it) } else { Err(Errno::STALE) })
}

fn open_root() -> Result<OwnedFd> {
    fs::openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Returns `true` if this mount namespace and pidns's own have different owners.
fn has_other_owner(procfs: &Procfs, namespace: &NamespaceFd) -> bool {
    let owner = |it: NamespaceFd| it.user_namespace().map(|it| it.inode());
    let own = open_namespace(procfs.fd(), c"self/ns/mnt").and_then(owner);
    own.and_then(|own| Ok(namespace.user_namespace()?.inode() != own)).unwrap_or(false)
}

/// Returns `true` if `proc` in this root directory is a procfs in which pidns is visible.
fn has_proc(root: &OwnedFd) -> bool {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let Ok(root) = rustix::io::fcntl_dupfd_cloexec(root, 0) else { return true };
    let is_there = within(TIMEOUT, move || {
        let proc = fs::openat2(&root, "proc", flags, Mode::empty(), resolve)?;
        // Reading the link `self` fails if the procfs does not show pidns.
        fs::readlinkat(&proc, "self", Vec::new()).map(drop)
    });
    is_there.is_ok()
}

/// Checks if another mount covers the path of a bind mount.
///
/// Returns `Some(true)` if this is certain, `Some(false)` if it is only probable, and `None` if the
/// path is not covered or the check fails.
fn is_covered(root: &OwnedFd, mount: &BindMount) -> Option<bool> {
    match open_beneath(root, mount.path.as_bytes(), mount.inode).err()? {
        Errno::STALE | Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Some(true),
        // `EAGAIN` usually means that the lookup reached a path outside the kernel's cache. The
        // bind mount's own mount point is always cached, so the lookup probably went into another
        // mount that covers it. A file system that revalidates cached paths also causes `EAGAIN`,
        // so this is not certain.
        Errno::AGAIN => Some(false),
        _ => None,
    }
}
