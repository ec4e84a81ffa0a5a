//! The namespaces met so far, one open descriptor each.
//!
//! An inode number is free again as soon as its namespace dies, so a
//! descriptor is held from first sight to the end of the scan: as long as it
//! is open, whatever else shows this number is this namespace. nsfs is one
//! file system with one device number, which makes the number in the text of
//! a link as good as device and inode.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use rustix::io::{Errno, Result};

use super::nsfs::NamespaceFd;

/// What the way a namespace was met says of its life so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum InitHistory {
    /// Nothing: by an open descriptor or a mount.
    #[default]
    Unknown,
    /// It has no first process yet: a process has it for its children, and
    /// the kernel has no link for it.
    NoneYet,
    /// It had a first process: `ns/pid` leads to it, or `pid_for_children`
    /// does, which the kernel does not show earlier.
    Existed,
}

/// A namespace that was met.
#[derive(Debug, Default)]
pub struct Registered {
    /// It, unless it could not be opened.
    pub fd: Option<NamespaceFd>,
    /// The most telling way in which it was met.
    pub init_history: InitHistory,
}

/// The namespaces met so far, by inode; shared by the threads of a scan.
#[derive(Debug, Default)]
pub struct NamespaceRegistry {
    registered: Mutex<HashMap<u64, Registered>>,
}

impl NamespaceRegistry {
    /// Makes sure that the namespace with that inode is held, by `open` if it
    /// was not before. The caller has just read `inode` from a link; where the
    /// namespace is held already, `shows` must say that the link still shows
    /// it: between the two it may have died, and its number been given to the
    /// one that is held.
    ///
    /// # Errors
    /// What `open` says; `ESRCH` where the link leads elsewhere by now. For
    /// other reasons than having vanished, the namespace counts as met.
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
        // Outside the lock: two threads may both open it, and one of the
        // descriptors is dropped.
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

    /// Everything met, for the climb to the ancestors.
    pub fn into_registered(self) -> HashMap<u64, Registered> {
        self.registered.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Registered>> {
        // A thread that panicked leaves the map whole.
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the ancestors of all that was met, through those without a process as
/// well, and tells each one's parent.
///
/// Returns the parent's inode of every namespace; `Err` with the reason where
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
        // A namespace is made by a member of its parent, so that had one.
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
