//! Keeps one descriptor open for every namespace that a scan finds.
//!
//! The kernel may reuse the inode number of a removed namespace. An open descriptor keeps its
//! namespace alive. Therefore, pidns *pins* each namespace: it keeps the namespace open until the
//! snapshot is complete. All namespaces are on one file system (nsfs), so the inode number
//! identifies a pinned namespace.
//!
//! The number of open descriptors is limited (`RLIMIT_NOFILE`). Some descriptors are reserved for
//! reading /proc, so that no process is missed. If no other descriptor is free, pidns opens a
//! namespace briefly to find its parent, and adds a diagnostic.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::{Errno, Result};
use rustix::process::{Resource, getrlimit};

use super::kernel::blocked;
use super::kernel::nsfs::NamespaceFd;

/// Maximum number of file descriptors to reserve for reading files in /proc.
const FOR_READING: u64 = 128;

/// Returns the number of descriptors reserved for /proc, at most a quarter of `RLIMIT_NOFILE`.
pub fn descriptors_for_reading() -> u64 {
    getrlimit(Resource::Nofile).current.map_or(FOR_READING, |limit| FOR_READING.min(limit / 4))
}

/// Indicates whether a namespace has ever had an init.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum InitHistory {
    /// It is not known whether the namespace has had an init, because the scan found the namespace
    /// through a descriptor or a mount.
    #[default]
    Unknown,
    /// The namespace had no init yet when the scan found it.
    NoneYet,
    /// The namespace has or had an init.
    Existed,
}

/// A namespace that the scan has found.
#[derive(Debug, Default)]
pub struct Registered {
    /// Descriptor of the namespace, if pidns could open it and keep it open.
    pub fd: Option<NamespaceFd>,
    /// Inode of the parent, or the kernel's error from looking it up. Set only if the namespace was
    /// closed to save descriptors.
    pub closed_parent: Option<Result<u64>>,
    /// The most certain [`InitHistory`] that the scan has found for the namespace.
    pub init_history: InitHistory,
}

impl Registered {
    /// Returns `true` if the parent is recorded, or can be read through the open descriptor.
    const fn has_parent(&self) -> bool {
        self.fd.is_some() || self.closed_parent.is_some()
    }
}

/// The namespaces that the threads of a scan have found so far, keyed by inode.
#[derive(Debug)]
pub struct NamespaceRegistry {
    registered: Arc<Mutex<HashMap<u64, Registered>>>,
    /// Lowest descriptor number that is reserved for reading files in /proc.
    first_for_reading: u64,
}

impl Default for NamespaceRegistry {
    /// Creates an empty registry for the current limit on open descriptors.
    fn default() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let first_for_reading = limit - descriptors_for_reading().min(limit);
        let registered = Arc::<Mutex<HashMap<u64, Registered>>>::default();
        let weak = Arc::downgrade(&registered);
        // If pidns abandons a blocked thread, close the descriptors that keep namespaces alive.
        blocked::when_abandoned(move || {
            if let Some(registered) = weak.upgrade()
                && let Ok(mut registered) = registered.try_lock()
            {
                registered.clear();
            }
        });
        Self { registered, first_for_reading }
    }
}

impl NamespaceRegistry {
    /// Pins a PID namespace (keeps it open).
    ///
    /// `inode` is the namespace's inode number, just read from a symbolic link in /proc or from a
    /// mount table. `open` must open the namespace. `shows` must return `true` if the link or table
    /// still shows `inode`.
    ///
    /// # Errors
    /// Fails with `ESRCH` if `open` opens a namespace with another inode number, or if `shows`
    /// returns `false`. Fails with `EMFILE` if no descriptor is free. Other errors come from
    /// `open`. Even if `open` fails, the registry records that the namespace was found, unless the
    /// error says that the namespace is gone.
    pub fn pin(
        &self,
        inode: u64,
        init: InitHistory,
        open: impl FnOnce() -> Result<NamespaceFd>,
        shows: impl FnOnce() -> bool,
    ) -> Result<()> {
        let (is_pinned, was_closed) = self
            .lock()
            .get(&inode)
            .map_or((false, false), |known| (known.fd.is_some(), known.closed_parent.is_some()));
        if is_pinned || was_closed {
            // The caller may have read the number of an older namespace, because the kernel reuses
            // inode numbers.
            if !shows() {
                return Err(Errno::SRCH);
            }
            self.meet(inode, init);
            return if is_pinned { Ok(()) } else { Err(Errno::MFILE) };
        }
        // `open` runs without the lock, so two threads may open the same namespace.
        match open() {
            Ok(fd) if fd.inode() == inode => self.keep(fd, init),
            Ok(_) => Err(Errno::SRCH),
            Err(errno) => {
                if !super::kernel::sys::is_gone(errno) {
                    self.meet(inode, init);
                }
                Err(errno)
            }
        }
    }

    /// Adds an open namespace, or closes it and fails with `EMFILE` if no descriptor is free.
    pub fn keep(&self, fd: NamespaceFd, init: InitHistory) -> Result<()> {
        let inode = fd.inode();
        if fd.number() < self.first_for_reading {
            let mut guard = self.lock();
            let registered = guard.entry(inode).or_default();
            registered.init_history = registered.init_history.max(init);
            // Closes `fd` if another thread has already added the namespace.
            registered.fd.get_or_insert(fd);
            return Ok(());
        }
        let parent = fd.parent();
        drop(fd);
        let parent_inode = parent.as_ref().map(NamespaceFd::inode).map_err(|&errno| errno);
        if let Ok(parent) = parent {
            // A search for the parent's ancestors is unnecessary in two cases. If the parent is
            // pinned, `climb` finds its ancestors later. If the parent's descriptor was closed to
            // save descriptors, its ancestors are already recorded.
            if self.lock().get(&parent.inode()).is_some_and(Registered::has_parent) {
                self.meet(parent.inode(), InitHistory::Existed);
            } else {
                let _ = self.keep(parent, InitHistory::Existed);
            }
        }
        let mut guard = self.lock();
        let registered = guard.entry(inode).or_default();
        registered.init_history = registered.init_history.max(init);
        registered.closed_parent = Some(parent_inode);
        Err(Errno::MFILE)
    }

    /// Returns `true` if the namespace with this inode is pinned (kept open).
    pub fn is_pinned(&self, inode: u64) -> bool {
        self.lock().get(&inode).is_some_and(|registered| registered.fd.is_some())
    }

    /// Returns `true` if the namespace with this inode is pinned (kept open), has the 64-bit ID
    /// `ns_id`, and has had an init.
    pub fn is_pinned_as(&self, inode: u64, ns_id: u64) -> bool {
        self.lock().get(&inode).is_some_and(|known| {
            known.init_history == InitHistory::Existed
                && known.fd.as_ref().is_some_and(|fd| fd.ns_id() == Ok(ns_id))
        })
    }

    /// Returns the 64-bit ID of a namespace, if the namespace is pinned (kept open).
    pub fn ns_id(&self, inode: u64) -> Option<Result<u64>> {
        self.lock().get(&inode)?.fd.as_ref().map(NamespaceFd::ns_id)
    }

    /// Records that a namespace was found, but does not open it.
    pub fn meet(&self, inode: u64, init: InitHistory) {
        let mut guard = self.lock();
        let registered = guard.entry(inode).or_default();
        registered.init_history = registered.init_history.max(init);
    }

    /// Keeps only the namespaces in `inodes`, and closes all others.
    pub fn retain(&self, inodes: &HashSet<u64>) {
        self.lock().retain(|inode, _| inodes.contains(inode));
    }

    /// Returns all namespaces that were found, keyed by inode.
    pub fn into_registered(self) -> HashMap<u64, Registered> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Registered>> {
        // A panic can't leave the map half changed, so a poisoned lock can still be used.
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds all ancestors of the namespaces, and returns a map from each namespace's inode to its
/// parent's inode.
pub fn climb(registered: &mut HashMap<u64, Registered>) -> HashMap<u64, Result<u64>> {
    let mut parents = HashMap::with_capacity(registered.len());
    let mut todo: Vec<u64> = registered.keys().copied().collect();
    while let Some(inode) = todo.pop() {
        let Some(known) = registered.get(&inode) else { continue };
        let Some(fd) = &known.fd else {
            // For a namespace whose descriptor has been closed, `keep` has already recorded the
            // ancestors, so only the parent is needed here.
            parents.extend(known.closed_parent.map(|parent| (inode, parent)));
            continue;
        };
        let parent = fd.parent();
        parents.insert(inode, parent.as_ref().map(NamespaceFd::inode).map_err(|&errno| errno));
        let Ok(parent) = parent else { continue };
        // A process in the parent namespace created this namespace, so the parent namespace must
        // have had an init.
        match registered.entry(parent.inode()) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.init_history = InitHistory::Existed;
                if !known.has_parent() {
                    todo.push(parent.inode());
                    known.fd = Some(parent);
                }
            }
            Entry::Vacant(new) => {
                todo.push(parent.inode());
                new.insert(Registered {
                    fd: Some(parent),
                    closed_parent: None,
                    init_history: InitHistory::Existed,
                });
            }
        }
    }
    parents
}
