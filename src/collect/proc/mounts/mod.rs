//! Bind mounts that keep namespaces alive: the mounts of every mount namespace,
//! read once. Which processes there are is known before.
//!
//! - `table` the mounts of one mount namespace
//! - `mount_point` opens what is mounted
//!
//! Where the kernel lets the viewer walk all mount namespaces of the host
//! (Linux 6.12, the initial PID namespace, `CAP_SYS_ADMIN`), those without a
//! process are among them. Elsewhere there are those of processes, of open
//! descriptors, and of bind mounts that the search itself comes upon.
//!
//! A mount that goes away meanwhile is left out, which is no diagnostic.

mod mount_point;
mod table;

use std::cell::LazyCell;
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{self, AtFlags, Mode, OFlags, RawDir, StatxFlags};
use rustix::io::{Errno, Result};

use super::findings::Findings;
use super::mount::Procfs;
use super::process_dir::ProcessDir;
use crate::collect::discovery::INITIAL_PID_NAMESPACE;
use crate::collect::kernel::nsfs::{NamespaceFd, open_namespace};
use crate::collect::kernel::sys::{
    MOST_OF_MOUNTS, is_gone, namespace_link, open, open_base, open_dir, read_to_end,
};
use crate::collect::kernel::viewer;
use crate::collect::parse::{self, MountedKind, NamespaceMount};
use crate::collect::registry::{InitHistory, NamespaceRegistry};
use crate::model::{DiagnosticCode, Holder, NamespaceId, Pid};
use mount_point::{ROOT, open_beneath, root_of};
use table::MountTable;

/// The initial PID namespace, in which the kernel lets every mount namespace be walked.
const INITIAL: NamespaceId = NamespaceId::Inode(INITIAL_PID_NAMESPACE);

/// Reads the mounts of each mount namespace once.
pub fn search(
    procfs: &Procfs,
    namespace: Option<NamespaceId>,
    registry: &NamespaceRegistry,
    found: &mut Findings,
) {
    let readers = std::mem::take(&mut found.readers);
    let descriptors = std::mem::take(&mut found.mount_namespace_fds);
    let mut search = MountSearch {
        procfs,
        registry,
        found,
        readers,
        searched: HashSet::new(),
        mounted: Vec::new(),
        unopened: HashMap::new(),
    };
    // Elsewhere than in the initial PID namespace such a walk, where it is
    // permitted, leads to mount namespaces out of the viewer's sight.
    if namespace == Some(INITIAL) && search.every_mount_namespace() {
        // Then it does not matter which of them a process is in.
        search.found.log.forget(DiagnosticCode::MountsUnreadable);
    }
    search.of_processes();
    search.of_descriptors(descriptors);
    search.of_mounts();
    search.note_unopened();
}

/// A thread, as its process's PID and its own.
type Reader = (Pid, Pid);

struct MountSearch<'a> {
    procfs: &'a Procfs,
    registry: &'a NamespaceRegistry,
    found: &'a mut Findings,
    /// Who is in each mount namespace.
    readers: HashMap<u64, Vec<Reader>>,
    /// Mount namespaces that were searched, by inode.
    searched: HashSet<u64>,
    /// Mount namespaces that bind mounts led to, and that are to be searched.
    mounted: Vec<NamespaceFd>,
    /// Those that bind mounts told of, but did not lead to.
    unopened: HashMap<u64, Errno>,
}

impl MountSearch<'_> {
    /// Searches all mount namespaces of the host, as far as the kernel permits;
    /// whether those were all that there are.
    fn every_mount_namespace(&mut self) -> bool {
        let Ok(own) = open_namespace(self.procfs.fd(), c"self/ns/mnt") else { return false };
        // The kernel passes over those that the viewer may not list.
        let mut all = viewer::may_administer();
        // What cannot be read here is tried again by the processes in there.
        all &= self.mount_namespace(&own).is_ok();
        for backward in [false, true] {
            let mut at = own.next_mount_namespace(backward);
            while let Ok(namespace) = at {
                all &= self.mount_namespace(&namespace).is_ok();
                at = namespace.next_mount_namespace(backward);
            }
            match at {
                Ok(_) | Err(Errno::NOENT) => {}
                // Not permitted, or not known to this kernel.
                Err(Errno::PERM | Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => all = false,
                Err(errno) => {
                    all = false;
                    self.found.log.note(DiagnosticCode::MountsUnsearched, Some(errno), None);
                }
            }
        }
        all
    }

    /// Searches the mount namespaces of all processes that were found.
    fn of_processes(&mut self) {
        let mut inodes: Vec<_> = self.unsearched(self.readers.keys().copied());
        inodes.sort_unstable();
        let left = |inodes: Vec<u64>, search: &mut Self| -> Vec<u64> {
            let all_gone = |inode: &u64| !search.of_readers(*inode);
            inodes.into_iter().filter(all_gone).collect()
        };
        let gone = left(inodes, self);
        if gone.is_empty() {
            return;
        }
        // Whoever was in there is gone or elsewhere. There may be others by
        // now, as where each process starts the next one and ends.
        self.list_readers(&gone);
        let known = gone.into_iter().filter(|inode| self.readers.contains_key(inode)).collect();
        for inode in left(known, self) {
            self.note_unsearched(inode, None);
        }
    }

    fn unsearched(&self, inodes: impl Iterator<Item = u64>) -> Vec<u64> {
        inodes.filter(|inode| !self.searched.contains(inode)).collect()
    }

    /// Searches the mount namespaces that processes have open.
    fn of_descriptors(&mut self, descriptors: Vec<(u64, Pid, u32)>) {
        let mut refused = HashMap::new();
        for (inode, pid, fd) in descriptors {
            if self.searched.contains(&inode) {
                continue;
            }
            let searched = open_descriptor(self.procfs, pid, fd).and_then(|namespace| {
                if namespace.inode() == inode { self.mount_namespace(&namespace) } else { Ok(()) }
            });
            match searched {
                Err(errno) if !is_gone(errno) => _ = refused.insert(inode, (errno, pid)),
                _ => {}
            }
        }
        for (inode, (errno, pid)) in refused {
            if !self.searched.contains(&inode) {
                let code = DiagnosticCode::MountsUnsearched;
                self.found.log.note(code, Some(errno), Some(pid));
            }
        }
    }

    /// Searches the mount namespaces that bind mounts keep, and those that are
    /// mounted in there in turn.
    fn of_mounts(&mut self) {
        while let Some(namespace) = self.mounted.pop() {
            if self.searched.contains(&namespace.inode()) {
                continue;
            }
            if let Err(errno) = self.mount_namespace(&namespace) {
                self.searched.insert(namespace.inode());
                self.found.log.note(DiagnosticCode::MountsUnsearched, Some(errno), None);
            }
        }
    }

    fn note_unopened(&mut self) {
        for (inode, errno) in std::mem::take(&mut self.unopened) {
            if !self.searched.contains(&inode) {
                self.note_unsearched(inode, Some(errno));
            }
        }
    }

    /// Notes a mount namespace that could not be searched, with the processes in it.
    fn note_unsearched(&mut self, inode: u64, errno: Option<Errno>) {
        let readers = self.readers.get(&inode).map(Vec::as_slice).unwrap_or_default();
        let pids = readers.iter().map(|&(pid, _)| pid);
        self.found.log.note_of(DiagnosticCode::MountsUnsearched, errno, pids);
    }

    /// Searches a mount namespace that is open.
    ///
    /// # Errors
    /// It may not be listed, nor entered.
    fn mount_namespace(&mut self, namespace: &NamespaceFd) -> Result<()> {
        let (table, mounts) =
            MountTable::list(namespace).or_else(|_| MountTable::of_namespace(namespace))?;
        let inode = namespace.inode();
        self.searched.insert(inode);
        if mounts.is_empty() {
            return Ok(());
        }
        let readers = self.readers.get(&inode).cloned().unwrap_or_default();
        let procfs = self.procfs;
        let root = LazyCell::new(|| {
            // Whoever may list it may not enter it, as its owner outside of its
            // user namespace. Then the root of a process in there may serve.
            root_of(namespace).or_else(|errno| {
                let mut roots = readers.iter().map(|&reader| reader_root(procfs, reader));
                roots.find(Result::is_ok).unwrap_or(Err(errno))
            })
        });
        self.take(&table, mounts, inode, || root.as_ref().map_err(|&errno| errno));
        Ok(())
    }

    /// Searches a mount namespace by way of the processes in it; `false` where
    /// there is none of them any more.
    fn of_readers(&mut self, inode: u64) -> bool {
        let mut readers = self.readers.get(&inode).cloned().unwrap_or_default();
        readers.sort_unstable();
        // As a whole where that is permitted, whatever root directories they have.
        for &reader in &readers {
            match open_mount_namespace(self.procfs, reader) {
                Ok(namespace) if namespace.inode() == inode => {
                    if self.mount_namespace(&namespace).is_ok() {
                        return true;
                    }
                    break;
                }
                Ok(_) => {}
                Err(errno) if is_gone(errno) => {}
                Err(_) => break,
            }
        }
        self.through_readers(inode, &readers)
    }

    /// Searches what the processes in a mount namespace see of it: for each
    /// root directory, the mounts below that. If one of them sees all that the
    /// others see, it is taken to see all that there is.
    fn through_readers(&mut self, inode: u64, readers: &[Reader]) -> bool {
        let mut roots = HashSet::new();
        let mut views = Vec::new();
        let mut refused = None;
        for &reader in readers {
            match View::of(self.procfs, reader, inode, &mut roots) {
                Ok(view) => views.extend(view),
                Err(errno) if is_gone(errno) => {}
                Err(errno) => refused = Some(errno),
            }
        }
        if views.is_empty() {
            if let Some(errno) = refused {
                self.note_unsearched(inode, Some(errno));
            }
            return refused.is_some();
        }
        self.searched.insert(inode);
        views.sort_by_key(|view| std::cmp::Reverse((view.has_root, view.all.len())));
        let widest = views.first().is_some_and(|widest| {
            widest.has_root && views.iter().all(|view| view.all.is_subset(&widest.all))
        });
        if !widest {
            self.note_unsearched(inode, None);
        }
        let mut seen = HashSet::new();
        for view in views {
            let mut mounts = view.mounts;
            mounts.retain(|mount| seen.insert(mount.id));
            self.take(&view.table, mounts, inode, || Ok(&view.root));
        }
        true
    }

    /// Pins the namespaces that are mounted, and notes what holds them.
    ///
    /// A mount may go away at any time, and the number of a namespace then be
    /// given to another. So the table is read once more after all of them have
    /// been pinned: what it shows then is what is pinned.
    fn take<'r>(
        &mut self,
        table: &MountTable,
        mut mounts: Vec<NamespaceMount>,
        mount_namespace: u64,
        root: impl Fn() -> Result<&'r OwnedFd>,
    ) {
        let mut failed = HashMap::new();
        for mount in &mounts {
            let open = || root().and_then(|root| open_beneath(root, &mount.path, mount.inode));
            match mount.kind {
                MountedKind::Pid => match self.pin(mount.inode, open) {
                    Ok(()) => _ = failed.remove(&mount.inode),
                    Err(errno) => _ = failed.insert(mount.inode, errno),
                },
                MountedKind::Mount if self.searched.contains(&mount.inode) => {}
                MountedKind::Mount => match open() {
                    Ok(namespace) => self.mounted.push(namespace),
                    Err(errno) => _ = self.unopened.insert(mount.inode, errno),
                },
            }
        }
        table.retain_listed(&mut mounts);
        mounts.retain(|mount| mount.kind == MountedKind::Pid);
        for mount in mounts {
            // Covered by another mount, or behind a file system that would have
            // to be asked: its inode is all that is known.
            if let Some(errno) = failed.remove(&mount.inode) {
                let _ = self.registry.pin(
                    mount.inode,
                    InitHistory::Unknown,
                    || Err(Errno::STALE),
                    || true,
                );
                let code = DiagnosticCode::NamespaceUnopened;
                self.found.log.note(code, Some(errno), None);
            }
            let path = String::from_utf8_lossy(&mount.path).into_owned();
            self.found.holders.push((mount.inode, Holder::Mount { path, mount_namespace }));
        }
    }

    /// Pins a namespace, or leaves it alone where it cannot be opened.
    fn pin(&self, inode: u64, open: impl FnOnce() -> Result<NamespaceFd>) -> Result<()> {
        let mut cause = Errno::NOENT;
        let open = || {
            open().map_err(|errno| {
                cause = errno;
                Errno::NOENT
            })
        };
        self.registry.pin(inode, InitHistory::Unknown, open, || true).map_err(|_| cause)
    }

    /// Lists all processes once more, and remembers those in certain mount
    /// namespaces in place of those that were.
    fn list_readers(&mut self, inodes: &[u64]) {
        for inode in inodes {
            self.readers.remove(inode);
        }
        let Ok(dir) = open_dir(self.procfs.fd(), c".") else { return };
        let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
        let mut entries = RawDir::new(dir, &mut buffer);
        while let Some(Ok(entry)) = entries.next() {
            let Some(pid) = parse::entry(entry.file_name().to_bytes()).and_then(Pid::new) else {
                continue;
            };
            let mut process = ProcessDir::by_path(self.procfs.fd(), pid);
            let (base, name) = process.file(c"ns/mnt");
            if let Ok(Some(inode)) = namespace_link(base, name, "mnt")
                && inodes.contains(&inode)
            {
                self.readers.entry(inode).or_default().push((pid, pid));
            }
        }
    }
}

/// What a process sees of the mount namespace that it is in.
struct View {
    root: OwnedFd,
    table: MountTable,
    mounts: Vec<NamespaceMount>,
    /// The numbers of all mounts.
    all: HashSet<u64>,
    /// Whether there is a mount at its root directory.
    has_root: bool,
}

impl View {
    /// What a thread sees, unless that was read of another one with the same
    /// root directory.
    ///
    /// # Errors
    /// It may not be read, or is gone, or in another mount namespace (`ESRCH`).
    fn of(
        procfs: &Procfs,
        reader: Reader,
        mount_namespace: u64,
        roots: &mut HashSet<(u64, u64, u64)>,
    ) -> Result<Option<Self>> {
        let dir = reader_dir(procfs, reader)?;
        let root = fs::openat(&dir, c"root", ROOT, Mode::empty())?;
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let stat = fs::statx(&root, c"", flags, StatxFlags::MNT_ID | StatxFlags::INO)?;
        let device = fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
        let root_id = (stat.stx_mnt_id, device, stat.stx_ino);
        if roots.contains(&root_id) {
            return Ok(None);
        }
        let file = open(dir.as_fd(), c"mountinfo")?;
        let mut table = Vec::new();
        match read_to_end(&file, &mut table, MOST_OF_MOUNTS) {
            // It has lost its mount namespace, as it is exiting.
            Err(Errno::INVAL) => return Err(Errno::SRCH),
            other => other?,
        }
        // The file was opened, and the root with it, while it was in that one.
        if namespace_link(dir.as_fd(), c"ns/mnt", "mnt")? != Some(mount_namespace) {
            return Err(Errno::SRCH);
        }
        roots.insert(root_id);
        Ok(Some(Self {
            root,
            mounts: parse::namespace_mounts(&table).collect(),
            all: parse::mount_ids(&table).collect(),
            has_root: parse::shows_root(&table),
            table: MountTable::Mountinfo(file),
        }))
    }
}

/// The directory of a thread.
fn reader_dir(procfs: &Procfs, (pid, tid): Reader) -> Result<OwnedFd> {
    let path = if pid == tid { format!("{pid}") } else { format!("{pid}/task/{tid}") };
    open_base(procfs.fd(), &CString::new(path).map_err(|_| Errno::INVAL)?)
}

/// The root directory of a thread.
fn reader_root(procfs: &Procfs, reader: Reader) -> Result<OwnedFd> {
    fs::openat(reader_dir(procfs, reader)?, c"root", ROOT, Mode::empty())
}

/// The mount namespace of a thread.
fn open_mount_namespace(procfs: &Procfs, reader: Reader) -> Result<NamespaceFd> {
    open_namespace(reader_dir(procfs, reader)?.as_fd(), c"ns/mnt")
}

/// What a descriptor of a process leads to, which must be a namespace.
fn open_descriptor(procfs: &Procfs, pid: Pid, fd: u32) -> Result<NamespaceFd> {
    let process = ProcessDir::open(procfs.fd(), pid)?;
    let table = open_base(process.as_fd(), c"fd")?;
    let name = CString::new(fd.to_string()).map_err(|_| Errno::INVAL)?;
    let path = fs::openat(&table, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    match NamespaceFd::reopen(&path) {
        // Something else has its number by now.
        Err(Errno::NOTTY) => Err(Errno::NOENT),
        other => other,
    }
}
