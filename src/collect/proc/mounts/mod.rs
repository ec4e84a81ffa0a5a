//! Searches mount namespaces for bind mounts that keep PID namespaces alive.
//!
//! With `CAP_SYS_ADMIN` in the initial PID namespace, pidns can list all mount namespaces of the
//! host (since Linux 6.12). Otherwise, pidns finds mount namespaces through processes, open
//! descriptors and bind mounts.
//!
//! - `reader`: reads a mount namespace through a thread in it
//! - `table`: reads the bind mounts in one mount namespace
//! - `mount_point`: opens the namespace at a mount point
//!
//! A mount that goes away during the search is left out without a diagnostic.

mod mount_point;
mod reader;
mod table;

use std::cell::LazyCell;
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::fs::{self, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::time::{ClockId, clock_gettime};

use super::findings::ScanFindings;
use super::process_dir::ProcessDir;
use super::procfs::Procfs;
use crate::collect::discovery::INITIAL_PID_NAMESPACE;
use crate::collect::kernel::nsfs::{NamespaceFd, open_namespace};
use crate::collect::kernel::sys::{is_gone, namespace_link, open_base};
use crate::collect::kernel::viewer;
use crate::collect::kernel::wait_limit::WaitLimit;
use crate::collect::parse::{MountedKind, NamespaceMount};
use crate::collect::registry::{InitHistory, NamespaceRegistry};
use crate::model::{DiagnosticCode, Holder, NamespaceId, Pid};
pub use mount_point::{TIMEOUT, open_beneath, root_of};
use reader::{MountView, Reader, open_mount_namespace, open_root};
use table::MountTable;

/// Maximum number of mount namespaces to keep open for a later search.
const MAX_MOUNTED: usize = 256;

/// Maximum number of times that pidns looks for new processes in the unsearched mount namespaces.
const MAX_PASSES: usize = 4;

/// Maximum time that the search waits for the kernel's global mount lock (`namespace_sem`).
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Maximum CPU time for searching the mount namespaces in which no known thread runs.
const MAX_UNSEEN_TIME: Duration = Duration::from_secs(1);

/// Adds the bind mounts of PID namespaces to `found`. `found` must already contain all processes.
pub fn search(
    procfs: &Procfs,
    namespace: Option<NamespaceId>,
    registry: &NamespaceRegistry,
    found: &mut ScanFindings,
) {
    let readers = std::mem::take(&mut found.readers);
    let descriptors = std::mem::take(&mut found.mount_namespace_fds);
    let waits = WaitLimit::new(MAX_WAIT);
    let mut search = MountSearch {
        procfs,
        waits: &waits,
        registry,
        found,
        readers,
        searched: HashSet::new(),
        mounted: HashMap::new(),
        unopened: HashMap::new(),
    };
    // Search the whole host only if the procfs shows the initial PID namespace. Otherwise, the
    // kernel may also list mount namespaces of processes that the procfs does not show.
    let is_initial = namespace == Some(NamespaceId::Inode(INITIAL_PID_NAMESPACE));
    if is_initial && search.search_all_of_host() {
        // All mount namespaces were searched, so drop diagnostics about unreadable ones.
        search.found.log.forget(DiagnosticCode::MountsUnreadable);
    }
    search.search_namespaces_of_processes();
    search.search_namespaces_of_descriptors(descriptors);
    search.search_mounted_namespaces();
    search.note_unopened();
    if waits.is_reached() {
        found.log.note(DiagnosticCode::MountsBusy, None, None);
    }
}

/// The state of a search of mount namespaces.
struct MountSearch<'a> {
    procfs: &'a Procfs,
    /// Limit on the total time that the search waits for the kernel's mount lock.
    waits: &'a WaitLimit,
    registry: &'a NamespaceRegistry,
    found: &'a mut ScanFindings,
    /// Maps the inode of each mount namespace to its known threads.
    readers: HashMap<u64, Vec<Reader>>,
    /// Inodes of the mount namespaces that have been searched.
    searched: HashSet<u64>,
    /// Mount namespaces found through a bind mount and not yet searched, by inode.
    mounted: HashMap<u64, NamespaceFd>,
    /// Errors from opening mount namespaces through a bind mount, by inode.
    unopened: HashMap<u64, Errno>,
}

impl MountSearch<'_> {
    /// Searches all mount namespaces of the host. Returns `false` if any were missed.
    fn search_all_of_host(&mut self) -> bool {
        let Ok(own) = open_namespace(self.procfs.fd(), c"self/ns/mnt") else { return false };
        // Without CAP_SYS_ADMIN, the kernel's list is incomplete.
        let mut all = viewer::may_administer();
        // If this fails, pidns later searches this mount namespace through the threads in it.
        all &= self.search_open(&own).is_ok();
        let mut unseen_time = Duration::ZERO;
        for backward in [false, true] {
            let mut next = own.next_mount_namespace(backward);
            while let Ok(namespace) = next {
                let started = cpu_time();
                all &= self.search_open(&namespace).is_ok();
                if !self.readers.contains_key(&namespace.inode()) {
                    unseen_time += cpu_time().saturating_sub(started);
                }
                if self.waits.is_reached() {
                    return false;
                }
                // Processes can create mount namespaces faster than pidns searches them.
                if unseen_time > MAX_UNSEEN_TIME {
                    self.found.log.note(DiagnosticCode::MountsBusy, None, None);
                    return false;
                }
                next = namespace.next_mount_namespace(backward);
            }
            match next {
                // The kernel's list ends here.
                Ok(_) | Err(Errno::NOENT) => {}
                // The kernel does not permit or does not support listing mount namespaces.
                Err(Errno::PERM | Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => all = false,
                Err(errno) => {
                    all = false;
                    self.found.log.note(DiagnosticCode::MountsUnsearched, Some(errno), None);
                }
            }
        }
        all
    }

    /// Searches the mount namespaces of all processes that were read.
    fn search_namespaces_of_processes(&mut self) {
        if self.waits.is_reached() {
            return;
        }
        let mut inodes: Vec<_> = self.readers.keys().copied().collect();
        inodes.retain(|inode| !self.searched.contains(inode));
        inodes.sort_unstable();
        inodes.retain(|&inode| !self.search_by_readers(inode));
        for _ in 0..MAX_PASSES {
            if inodes.is_empty() {
                return;
            }
            // Look for new processes, such as a restarted daemon, in these mount namespaces.
            self.find_readers_again(&inodes);
            inodes.retain(|inode| self.readers.contains_key(inode));
            inodes.retain(|&inode| !self.search_by_readers(inode));
        }
        for inode in inodes {
            self.note_unsearched(inode, None);
        }
    }

    /// Searches the mount namespaces that processes hold open through file descriptors.
    fn search_namespaces_of_descriptors(&mut self, descriptors: Vec<(u64, Pid, u32)>) {
        let mut refused = HashMap::new();
        for (inode, pid, fd) in descriptors {
            if self.searched.contains(&inode) || self.waits.is_reached() {
                continue;
            }
            let searched = open_descriptor(self.procfs, pid, fd).and_then(|namespace| {
                if namespace.inode() == inode { self.search_open(&namespace) } else { Ok(()) }
            });
            match searched {
                Err(errno) if !is_gone(errno) => _ = refused.insert(inode, (errno, pid)),
                _ => {}
            }
        }
        for (inode, (errno, pid)) in refused {
            // The mount namespace may already have been searched through another descriptor.
            if !self.searched.contains(&inode) && !self.waits.is_reached() {
                let code = DiagnosticCode::MountsUnsearched;
                self.found.log.note(code, Some(errno), Some(pid));
            }
        }
    }

    /// Searches the mount namespaces found through bind mounts, until no more are found.
    fn search_mounted_namespaces(&mut self) {
        loop {
            self.mounted.retain(|inode, _| !self.searched.contains(inode));
            let mounted = std::mem::take(&mut self.mounted);
            if mounted.is_empty() || self.waits.is_reached() {
                return;
            }
            for namespace in mounted.into_values() {
                if self.searched.contains(&namespace.inode()) {
                    continue;
                }
                if let Err(errno) = self.search_open(&namespace)
                    && !self.waits.is_reached()
                {
                    self.searched.insert(namespace.inode());
                    self.found.log.note(DiagnosticCode::MountsUnsearched, Some(errno), None);
                }
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

    /// Adds a diagnostic about a mount namespace that could not be searched.
    fn note_unsearched(&mut self, inode: u64, errno: Option<Errno>) {
        if self.waits.is_reached() {
            // One `MountsBusy` diagnostic already covers all unsearched mount namespaces.
            return;
        }
        let readers = self.readers.get(&inode).map(Vec::as_slice).unwrap_or_default();
        let pids = readers.iter().map(|&(pid, _)| pid);
        self.found.log.note_of(DiagnosticCode::MountsUnsearched, errno, pids);
    }

    /// Searches an open mount namespace.
    ///
    /// If the kernel cannot list its mounts, pidns enters the namespace and reads `mountinfo`.
    fn search_open(&mut self, namespace: &NamespaceFd) -> Result<()> {
        let listed = MountTable::list(namespace, self.waits);
        let (table, mounts) = match listed {
            // `EBUSY` means that waiting for the mount lock has used up the time limit.
            Err(errno) if errno != Errno::BUSY => MountTable::read_inside(namespace, self.waits)?,
            listed => listed?,
        };
        let (mounts, left_out) = mounts.finish();
        self.found.holders.leave_out(left_out);
        let inode = namespace.inode();
        self.searched.insert(inode);
        if mounts.is_empty() {
            return Ok(());
        }
        let readers = self.readers.get(&inode).cloned().unwrap_or_default();
        let procfs = self.procfs;
        let root = LazyCell::new(|| {
            // If pidns may not enter the mount namespace, use the root directory of a thread in it.
            root_of(namespace).or_else(|errno| {
                let mut roots = readers.iter().map(|&reader| open_root(procfs, reader));
                roots.find(Result::is_ok).unwrap_or(Err(errno))
            })
        });
        self.add_mounts(&table, mounts, inode, || root.as_ref().map_err(|&errno| errno));
        Ok(())
    }

    /// Searches a mount namespace through the threads in it.
    ///
    /// Returns `false` if no thread is in the namespace any more.
    fn search_by_readers(&mut self, inode: u64) -> bool {
        if self.waits.is_reached() {
            return true;
        }
        let mut readers = self.readers.get(&inode).cloned().unwrap_or_default();
        readers.sort_unstable();
        // Try to open the mount namespace first, because `mountinfo` omits mounts outside a
        // thread's root.
        for &reader in &readers {
            match open_mount_namespace(self.procfs, reader) {
                Ok(namespace) if namespace.inode() == inode => match self.search_open(&namespace) {
                    Ok(()) | Err(Errno::BUSY) => return true,
                    Err(_) => break,
                },
                Ok(_) => {}
                Err(errno) if is_gone(errno) => {}
                Err(_) => break,
            }
        }
        self.search_views(inode, &readers)
    }

    /// Searches the `mountinfo` of `readers`, or returns `false` if all have left the namespace.
    fn search_views(&mut self, inode: u64, readers: &[Reader]) -> bool {
        let mut roots = HashSet::new();
        let mut views = Vec::new();
        let mut refused = None;
        for &reader in readers {
            match MountView::read(self.procfs, reader, inode, &mut roots, self.waits) {
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
        views.sort_by_key(|view| std::cmp::Reverse((view.has_root, view.mount_ids.len())));
        // If one thread sees every mount that the other threads see, it probably sees all mounts of
        // the namespace.
        let is_complete = views.first().is_some_and(|widest| {
            widest.has_root && views.iter().all(|view| view.mount_ids.is_subset(&widest.mount_ids))
        });
        if !is_complete {
            self.note_unsearched(inode, None);
        }
        let mut seen = HashSet::new();
        for view in views {
            let (mut mounts, left_out) = view.mounts.finish();
            self.found.holders.leave_out(left_out);
            mounts.retain(|mount| seen.insert(mount.id));
            self.add_mounts(&view.table, mounts, inode, || Ok(&view.root));
        }
        true
    }

    /// Opens the mounted namespaces, keeps them open, and adds the mounts as holders.
    fn add_mounts<'r>(
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
                MountedKind::Mount if self.mounted.contains_key(&mount.inode) => {}
                MountedKind::Mount if self.mounted.len() >= MAX_MOUNTED => {
                    failed.insert(mount.inode, Errno::MFILE);
                }
                MountedKind::Mount => match open() {
                    Ok(namespace) => _ = self.mounted.insert(mount.inode, namespace),
                    Err(errno) => _ = failed.insert(mount.inode, errno),
                },
            }
        }
        // Drop the mounts that no longer exist. The namespace that was mounted may be gone too, and
        // the kernel may have reused its inode number for another namespace.
        table.retain_current(&mut mounts);
        for mount in mounts.extract_if(.., |mount| mount.kind == MountedKind::Mount) {
            self.unopened.extend(failed.remove(&mount.inode).map(|errno| (mount.inode, errno)));
        }
        // Several mounts at one path count as one holder.
        mounts
            .sort_unstable_by(|one, other| (one.inode, &one.path).cmp(&(other.inode, &other.path)));
        mounts.dedup_by(|one, other| (one.inode, &one.path) == (other.inode, &other.path));
        for mount in mounts {
            // The namespace could not be opened, for example because another mount covers the mount
            // point. Record only its inode.
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
            self.found.holders.push(mount.inode, Holder::Mount { path, mount_namespace });
        }
    }

    /// Opens a namespace and keeps it open, or returns the error of `open`.
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

    /// Finds the processes that are now in the given mount namespaces.
    fn find_readers_again(&mut self, inodes: &[u64]) {
        for inode in inodes {
            self.readers.remove(inode);
        }
        let Ok(pids) = self.procfs.pids() else { return };
        for pid in pids.map_while(Result::ok) {
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

/// Returns the CPU time that this thread has used.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Opens the namespace that descriptor `fd` of a process refers to.
///
/// Fails with `ENOENT` if `fd` refers to a file that is not a namespace.
pub fn open_descriptor(procfs: &Procfs, pid: Pid, fd: u32) -> Result<NamespaceFd> {
    let process = ProcessDir::open(procfs.fd(), pid)?;
    let table = open_base(process.as_fd(), c"fd")?;
    let name = CString::new(fd.to_string()).map_err(|_| Errno::INVAL)?;
    let path = fs::openat(&table, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    match NamespaceFd::reopen(&path) {
        Err(Errno::NOTTY) => Err(Errno::NOENT),
        other => other,
    }
}
