//! Keeps one descriptor open for every namespace that a scan finds.
//!
//! The kernel may reuse the inode number of a removed namespace. To prevent this, each namespace is
//! *pinned*: pidns opens it when it first finds it, and keeps it open until the snapshot is
//! complete. An open descriptor keeps the namespace alive. All namespaces are on one file system
//! (nsfs), so the inode number identifies a pinned namespace.
//!
//! The number of open descriptors is limited (`RLIMIT_NOFILE`). Some descriptors are reserved for
//! reading /proc, so that no process is missed. When all other descriptors are in use, pidns opens
//! a namespace only to find its parent, closes the namespace again, and adds a diagnostic.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::{Errno, Result};
use rustix::process::{Resource, getrlimit};

use super::kernel::blocked;
use super::kernel::nsfs::NamespaceFd;

/// Maximum number of file descriptors that are reserved for reading files in /proc.
const FOR_READING: u64 = 128;

/// Returns the number of descriptors that are reserved for reading files in /proc: at most a
/// quarter of the limit on open files (`RLIMIT_NOFILE`).
pub fn descriptors_for_reading() -> u64 {
    getrlimit(Resource::Nofile).current.map_or(FOR_READING, |limit| FOR_READING.min(limit / 4))
}

/// Indicates whether a namespace has ever had an init.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum InitHistory {
    /// Unknown, because the namespace was found only through a descriptor or a mount.
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
    /// Descriptor of the namespace; `None` if the namespace could not be opened or kept open.
    pub fd: Option<NamespaceFd>,
    /// The inode of the parent, or the error if the kernel does not reveal the parent. Set only if
    /// the namespace was closed to save descriptors.
    pub closed_parent: Option<Result<u64>>,
    /// The most certain [`InitHistory`] that the scan has found for the namespace.
    pub init_history: InitHistory,
}

/// The namespaces found so far, keyed by inode. All threads of a scan share one registry.
#[derive(Debug)]
pub struct NamespaceRegistry {
    registered: Arc<Mutex<HashMap<u64, Registered>>>,
    /// Lowest descriptor number that is reserved for reading files in /proc. Only namespaces with a
    /// lower descriptor number are kept open.
    first_for_reading: u64,
}

impl Default for NamespaceRegistry {
    /// Creates an empty registry. The current limit on open descriptors determines its capacity.
    fn default() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let first_for_reading = limit - descriptors_for_reading().min(limit);
        let registered = Arc::<Mutex<HashMap<u64, Registered>>>::default();
        let weak = Arc::downgrade(&registered);
        // If pidns abandons a blocked thread of the scan, close all descriptors in the registry, so
        // that they do not keep namespaces alive.
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
    /// Pins (keeps open) the namespace that a link shows. `inode` is the inode number that the
    /// caller has just read from the link.
    ///
    /// If `inode` is not pinned yet, calls `open`, which must open the link's target. Otherwise,
    /// calls `shows`, which must read the link again, and return `true` if it still shows `inode`.
    /// The check detects a link that had shown an older namespace with the same inode number.
    ///
    /// # Errors
    /// `ESRCH` if the link now refers to another namespace. `EMFILE` if the registry may use no
    /// more descriptors. Otherwise, the error from `open`. The namespace is recorded as found,
    /// unless the error says that it is gone.
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
            if !shows() {
                return Err(Errno::SRCH);
            }
            self.meet(inode, init);
            return if is_pinned { Ok(()) } else { Err(Errno::MFILE) };
        }
        // Do not lock the registry while `open` runs. If two threads open the same namespace at
        // once, the second descriptor is dropped.
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

    /// Adds an open namespace to the registry. If the registry has reached its descriptor limit,
    /// closes the namespace, records it and its ancestors as found, and fails with `EMFILE`.
    pub fn keep(&self, fd: NamespaceFd, init: InitHistory) -> Result<()> {
        let inode = fd.inode();
        if fd.number() < self.first_for_reading {
            let mut guard = self.lock();
            let registered = guard.entry(inode).or_default();
            registered.init_history = registered.init_history.max(init);
            registered.fd.get_or_insert(fd);
            return Ok(());
        }
        let parent = fd.parent();
        drop(fd);
        let parent_inode = parent.as_ref().map(NamespaceFd::inode).map_err(|&errno| errno);
        if let Ok(parent) = parent {
            // If the parent is already in the registry, skip its ancestors: they have been
            // recorded, or `climb` will add them.
            if self.lock().contains_key(&parent.inode()) {
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

    /// Returns `true` if the namespace with this inode is pinned (kept open), has this 64-bit ID,
    /// and has had an init.
    pub fn is_pinned_as(&self, inode: u64, ns_id: u64) -> bool {
        self.lock().get(&inode).is_some_and(|known| {
            known.init_history == InitHistory::Existed
                && known.fd.as_ref().is_some_and(|fd| fd.ns_id() == Ok(ns_id))
        })
    }

    /// Returns the 64-bit ID of a namespace. Returns `None` if the namespace is not pinned (kept
    /// open).
    pub fn ns_id(&self, inode: u64) -> Option<Result<u64>> {
        self.lock().get(&inode)?.fd.as_ref().map(NamespaceFd::ns_id)
    }

    /// Records a namespace as found, but does not open it.
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
        // A thread that panics never leaves the map in an inconsistent state, so the map can still
        // be used.
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the ancestors of all namespaces in `registered`, even ancestors without a process.
///
/// Returns a map from each namespace to the inode of its parent, or to the error if the kernel does
/// not reveal the parent.
pub fn climb(registered: &mut HashMap<u64, Registered>) -> HashMap<u64, Result<u64>> {
    let mut parents = HashMap::with_capacity(registered.len());
    let mut todo: Vec<u64> = registered.keys().copied().collect();
    while let Some(inode) = todo.pop() {
        let Some(known) = registered.get(&inode) else { continue };
        let Some(fd) = &known.fd else {
            // The ancestors of this namespace were recorded when its descriptor was closed.
            parents.extend(known.closed_parent.map(|parent| (inode, parent)));
            continue;
        };
        let parent = fd.parent();
        parents.insert(inode, parent.as_ref().map(NamespaceFd::inode).map_err(|&errno| errno));
        let Ok(parent) = parent else { continue };
        // A process in the parent namespace created the namespace, so the parent namespace has had
        // an init.
        match registered.entry(parent.inode()) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.init_history = InitHistory::Existed;
                if known.fd.is_none() && known.closed_parent.is_none() {
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
