//! Keeps one open descriptor of every namespace that a scan meets.
//!
//! The kernel may give an inode number to a new namespace as soon as the old one is gone. An open
//! descriptor keeps the namespace alive, so from then on the number means this namespace only. So
//! each namespace is *pinned*: opened when it is first met, and kept open until the snapshot is
//! done. All namespaces are on one file system (nsfs), so the inode number alone, as the text of a
//! link shows it, identifies a namespace.
//!
//! Descriptors are limited (`RLIMIT_NOFILE`). Some are reserved for reading /proc, so that no
//! process is missed. When the others are used up, a further namespace is asked for its parent,
//! closed again, and reported in a diagnostic.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use rustix::io::{Errno, Result};
use rustix::process::{Resource, getrlimit};

use super::kernel::nsfs::NamespaceFd;

/// Maximum number of descriptors reserved for reading.
const FOR_READING: u64 = 128;

/// Number of descriptors reserved for reading processes: at most a quarter of the limit.
pub fn descriptors_for_reading() -> u64 {
    getrlimit(Resource::Nofile).current.map_or(FOR_READING, |limit| FOR_READING.min(limit / 4))
}

/// An answer to "has this namespace had an init?", as far as the place where it was met proves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum InitHistory {
    /// Unknown: met through an open descriptor or a mount.
    #[default]
    Unknown,
    /// It had none when it was met: it is a process's namespace for children, and the kernel does
    /// not show the link `pid_for_children` before there is an init.
    NoneYet,
    /// It has had one: a process's `ns/pid` or `pid_for_children` leads to it, or kernel memory
    /// shows so.
    Existed,
}

/// A namespace that was met.
#[derive(Debug, Default)]
pub struct Registered {
    /// Its descriptor; `None` if it could not be opened or kept.
    pub fd: Option<NamespaceFd>,
    /// The parent's inode, or why the kernel did not name it, if the descriptor had to be closed
    /// again.
    pub closed_parent: Option<Result<u64>>,
    /// The strongest proof of all places where it was met.
    pub init_history: InitHistory,
}

/// The namespaces met so far, by inode. The threads of a scan share it.
#[derive(Debug)]
pub struct NamespaceRegistry {
    registered: Mutex<HashMap<u64, Registered>>,
    /// The lowest descriptor number reserved for reading. The kernel always assigns the lowest
    /// free number, so when it assigns this one, all lower ones are in use.
    first_for_reading: u64,
}

impl Default for NamespaceRegistry {
    /// An empty registry for the current limit on descriptors.
    fn default() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let first_for_reading = limit - descriptors_for_reading().min(limit);
        Self { registered: Mutex::default(), first_for_reading }
    }
}

impl NamespaceRegistry {
    /// Pins the namespace with the inode number `inode`, which the caller has just read from a
    /// link. `open` opens the link's target, if the namespace is not pinned yet.
    ///
    /// If it is pinned already, `shows` must read the link again and say whether it still shows
    /// `inode`. The link may have shown an older namespace whose number has since been given to
    /// the pinned one; the link then shows something else by now.
    ///
    /// # Errors
    /// `ESRCH` if the link leads elsewhere by now; `EMFILE` if no descriptor is left for keeping
    /// the namespace; otherwise the error of `open`. The namespace counts as met unless the error
    /// says that it is gone.
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
        // Opened outside the lock. If two threads open it at once, one descriptor is dropped.
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

    /// Pins an open namespace. If no descriptor is left for it, it is closed, the namespace and
    /// its ancestors count as met, and the error is `EMFILE`.
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
            // A namespace that was met has met its ancestors already.
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

    /// Returns `true` if the namespace is pinned.
    pub fn is_pinned(&self, inode: u64) -> bool {
        self.lock().get(&inode).is_some_and(|registered| registered.fd.is_some())
    }

    /// Returns `true` if a namespace with this inode and this 64-bit ID is pinned and has had an
    /// init.
    pub fn is_pinned_as(&self, inode: u64, ns_id: u64) -> bool {
        self.lock().get(&inode).is_some_and(|known| {
            known.init_history == InitHistory::Existed
                && known.fd.as_ref().is_some_and(|fd| fd.ns_id() == Ok(ns_id))
        })
    }

    /// The 64-bit ID of a pinned namespace, or the error of [`NamespaceFd::ns_id`]; `None` if the
    /// namespace is not pinned.
    pub fn ns_id(&self, inode: u64) -> Option<Result<u64>> {
        self.lock().get(&inode)?.fd.as_ref().map(NamespaceFd::ns_id)
    }

    /// Records that a namespace was met, without pinning it.
    pub fn meet(&self, inode: u64, init: InitHistory) {
        let mut guard = self.lock();
        let registered = guard.entry(inode).or_default();
        registered.init_history = registered.init_history.max(init);
    }

    /// Closes all namespaces except these, so that the registry does not keep the others alive.
    pub fn retain(&self, inodes: &HashSet<u64>) {
        self.lock().retain(|inode, _| inodes.contains(inode));
    }

    /// All namespaces met, by inode.
    pub fn into_registered(self) -> HashMap<u64, Registered> {
        self.registered.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Registered>> {
        // Every change of the map is complete even if a thread panics.
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds all ancestors of the namespaces, including those without a process.
///
/// Returns the inode of every namespace's parent, or the error with which the kernel refused to
/// name it.
pub fn climb(registered: &mut HashMap<u64, Registered>) -> HashMap<u64, Result<u64>> {
    let mut parents = HashMap::with_capacity(registered.len());
    let mut todo: Vec<u64> = registered.keys().copied().collect();
    while let Some(inode) = todo.pop() {
        let Some(known) = registered.get(&inode) else { continue };
        let Some(fd) = &known.fd else {
            // Its ancestors were added when it was closed.
            parents.extend(known.closed_parent.map(|parent| (inode, parent)));
            continue;
        };
        let parent = fd.parent();
        parents.insert(inode, parent.as_ref().map(NamespaceFd::inode).map_err(|&errno| errno));
        let Ok(parent) = parent else { continue };
        // Only a process in the parent can create a namespace, so the parent has had an init.
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
