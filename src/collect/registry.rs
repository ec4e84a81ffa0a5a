//! The namespaces met so far, one open descriptor each. Where they are met is
//! up to the source; what they are like is asked elsewhere.
//!
//! An inode number may be given to another namespace as soon as its own has
//! gone. So each namespace is pinned: its descriptor is kept open from first
//! sight until the snapshot is done, and until then whatever shows that
//! number shows that namespace. nsfs is one file system with one device
//! number, so the inode number in the text of a link identifies a namespace
//! as well as device and inode do.
//!
//! Descriptors may run out (`RLIMIT_NOFILE`). Some are left for reading, so
//! that no process is left out; a namespace beyond the others is asked for its
//! parent and closed again, and that is said.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use rustix::io::{Errno, Result};
use rustix::process::{Resource, getrlimit};

use super::kernel::nsfs::NamespaceFd;

/// Descriptors left for reading, unless the limit is so low that a quarter of
/// it is less.
const FOR_READING: u64 = 128;

/// How many descriptors are left for reading processes, and not spent on
/// keeping namespaces open.
pub fn descriptors_for_reading() -> u64 {
    getrlimit(Resource::Nofile).current.map_or(FOR_READING, |limit| FOR_READING.min(limit / 4))
}

/// Whether a namespace has had an init, as far as the way it was met tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum InitHistory {
    /// Unknown: it was met by an open descriptor or a mount.
    #[default]
    Unknown,
    /// It has had none yet: a process has it for its children, and the kernel
    /// shows no link to it.
    NoneYet,
    /// It has had one: `ns/pid` leads to it, or `pid_for_children` does, which
    /// the kernel does not show before there is an init; or a look into the
    /// kernel's memory told.
    Existed,
}

/// A namespace that was met.
#[derive(Debug, Default)]
pub struct Registered {
    /// Its descriptor, unless it could not be opened, or not be kept.
    pub fd: Option<NamespaceFd>,
    /// Where the descriptor could not be kept: the inode of its parent, or why
    /// the kernel named none, as long as it was open.
    pub closed_parent: Option<Result<u64>>,
    /// The most that any way in which it was met told.
    pub init_history: InitHistory,
}

/// The namespaces met so far, by inode; shared by the threads of a scan.
#[derive(Debug)]
pub struct NamespaceRegistry {
    registered: Mutex<HashMap<u64, Registered>>,
    /// Descriptors of this number and above are left for reading. The kernel
    /// always gives the lowest number that is free, so only those are free
    /// once it gives one of them.
    first_for_reading: u64,
}

impl Default for NamespaceRegistry {
    /// One that has met none, for the limit on descriptors as it is now.
    fn default() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let first_for_reading = limit - descriptors_for_reading().min(limit);
        Self { registered: Mutex::default(), first_for_reading }
    }
}

impl NamespaceRegistry {
    /// Pins the namespace with that inode, with a descriptor from `open` if it
    /// is not pinned yet. The caller has just read `inode` from a link. If a
    /// namespace of that number is pinned already, `shows` must say whether the
    /// link still shows the number: the link's own namespace may have died
    /// before, and its number have been given to the one that is pinned.
    ///
    /// # Errors
    /// What `open` says; `ESRCH` where the link leads elsewhere by now;
    /// `EMFILE` where no descriptor can be spent on keeping it. Unless the
    /// error says that it has vanished, the namespace counts as met.
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
        // Opened outside the lock. Two threads may both open it; one of the
        // descriptors is then dropped.
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

    /// Pins an open namespace.
    ///
    /// # Errors
    /// `EMFILE` where no descriptor can be spent on keeping it. It and its
    /// ancestors count as met.
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
            // As it has met its own parent, each step up is taken once.
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

    /// Whether a namespace is pinned.
    pub fn is_pinned(&self, inode: u64) -> bool {
        self.lock().get(&inode).is_some_and(|registered| registered.fd.is_some())
    }

    /// Whether a namespace that has had an init is pinned, to which the kernel
    /// gave that 64-bit number.
    pub fn is_pinned_as(&self, inode: u64, ns_id: u64) -> bool {
        self.lock().get(&inode).is_some_and(|known| {
            known.init_history == InitHistory::Existed
                && known.fd.as_ref().is_some_and(|fd| fd.ns_id() == Ok(ns_id))
        })
    }

    /// The kernel's 64-bit number for a namespace, as [`NamespaceFd::ns_id`];
    /// `None` where it is not pinned.
    pub fn ns_id(&self, inode: u64) -> Option<Result<u64>> {
        self.lock().get(&inode)?.fd.as_ref().map(NamespaceFd::ns_id)
    }

    /// Notes that a namespace was met, whether or not it is pinned.
    pub fn meet(&self, inode: u64, init: InitHistory) {
        let mut guard = self.lock();
        let registered = guard.entry(inode).or_default();
        registered.init_history = registered.init_history.max(init);
    }

    /// Lets go of all namespaces but these, so that whatever is still there of
    /// the others is not kept by the registry.
    pub fn retain(&self, inodes: &HashSet<u64>) {
        self.lock().retain(|inode, _| inodes.contains(inode));
    }

    /// All namespaces that were met, by inode.
    pub fn into_registered(self) -> HashMap<u64, Registered> {
        self.registered.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Registered>> {
        // A thread that panicked leaves the map whole.
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the ancestors of all namespaces that were met, those without a process
/// included.
///
/// Returns the inode of every namespace's parent; `Err` with the reason where
/// the kernel names none.
pub fn climb(registered: &mut HashMap<u64, Registered>) -> HashMap<u64, Result<u64>> {
    let mut parents = HashMap::with_capacity(registered.len());
    let mut todo: Vec<u64> = registered.keys().copied().collect();
    while let Some(inode) = todo.pop() {
        let Some(known) = registered.get(&inode) else { continue };
        let Some(fd) = &known.fd else {
            // Its ancestors were met when it was closed.
            parents.extend(known.closed_parent.map(|parent| (inode, parent)));
            continue;
        };
        let parent = fd.parent();
        parents.insert(inode, parent.as_ref().map(NamespaceFd::inode).map_err(|&errno| errno));
        let Ok(parent) = parent else { continue };
        // A namespace is made by a member of its parent, so the parent has had
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
