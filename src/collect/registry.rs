//! The namespaces met so far, one open descriptor each. Where they are met is
//! up to the source; what they are like is asked elsewhere.
//!
//! An inode number may be given to another namespace as soon as its own has
//! gone. So each namespace is pinned: its descriptor is kept open from first
//! sight until the snapshot is done, and until then whatever shows that
//! number shows that namespace. nsfs is one file system with one device
//! number, so the inode number in the text of a link identifies a namespace
//! as well as device and inode do.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use rustix::io::{Errno, Result};

use super::nsfs::NamespaceFd;

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
    /// the kernel does not show before there is an init.
    Existed,
}

/// A namespace that was met.
#[derive(Debug, Default)]
pub struct Registered {
    /// Its descriptor, unless it could not be opened.
    pub fd: Option<NamespaceFd>,
    /// The most that any way in which it was met told.
    pub init_history: InitHistory,
}

/// The namespaces met so far, by inode; shared by the threads of a scan.
#[derive(Debug, Default)]
pub struct NamespaceRegistry {
    registered: Mutex<HashMap<u64, Registered>>,
}

impl NamespaceRegistry {
    /// Pins the namespace with that inode, with a descriptor from `open` if it
    /// is not pinned yet. The caller has just read `inode` from a link. If a
    /// namespace of that number is pinned already, `shows` must say whether the
    /// link still shows the number: the link's own namespace may have died
    /// before, and its number have been given to the one that is pinned.
    ///
    /// # Errors
    /// What `open` says; `ESRCH` where the link leads elsewhere by now. Unless
    /// the error says that it has vanished, the namespace counts as met.
    pub fn pin(
        &self,
        inode: u64,
        init: InitHistory,
        open: impl FnOnce() -> Result<NamespaceFd>,
        shows: impl FnOnce() -> bool,
    ) -> Result<()> {
        let is_pinned = self.lock().get(&inode).is_some_and(|registered| registered.fd.is_some());
        if is_pinned && !shows() {
            return Err(Errno::SRCH);
        }
        // Opened outside the lock. Two threads may both open it; one of the
        // descriptors is then dropped.
        let opened = if is_pinned {
            Ok(None)
        } else {
            open().and_then(|fd| if fd.inode() == inode { Ok(Some(fd)) } else { Err(Errno::SRCH) })
        };
        if opened.as_ref().is_err_and(|&errno| super::sys::is_gone(errno)) {
            return opened.map(drop);
        }
        let mut guard = self.lock();
        let registered = guard.entry(inode).or_default();
        registered.init_history = registered.init_history.max(init);
        if let Ok(Some(fd)) = opened {
            registered.fd.get_or_insert(fd);
            return Ok(());
        }
        opened.map(drop)
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
        let Some(fd) = registered.get(&inode).and_then(|registered| registered.fd.as_ref()) else {
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
                if known.fd.is_none() {
                    todo.push(parent.inode());
                    known.fd = Some(parent);
                }
            }
            Entry::Vacant(new) => {
                todo.push(parent.inode());
                new.insert(Registered { fd: Some(parent), init_history: InitHistory::Existed });
            }
        }
    }
    parents
}
