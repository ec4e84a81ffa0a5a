//! What a scan of /proc looks for, and where.

use std::collections::BTreeSet;

use super::mount::Procfs;
use crate::collect::registry::NamespaceRegistry;
use crate::model::{Detail, NamespaceId, Pid, Process, SearchScope};

/// What the threads of a walk share.
#[derive(Clone, Copy)]
pub struct Scan<'a> {
    /// The /proc to read.
    pub procfs: &'a Procfs,
    /// The namespace whose numbers it speaks in, pinned, where that is known beforehand.
    pub namespace: Option<NamespaceId>,
    /// Where to look for namespaces; every process's own is always read.
    pub search: &'a BTreeSet<SearchScope>,
    /// What to read of every process beside what always is.
    pub details: &'a BTreeSet<Detail>,
    /// The namespaces met.
    pub registry: &'a NamespaceRegistry,
}

/// A process to read.
#[derive(Debug)]
pub struct Target {
    /// Its PID in the namespace of this /proc.
    pub pid: Pid,
    /// Where somebody has seen that no namespace is among its descriptors, which
    /// need not be searched then: when that process started.
    pub none_open_since: Option<u64>,
    /// What somebody has seen of it, where it was an init that lived and held nothing.
    pub init: Option<Box<SeenInit>>,
}

/// An init, as somebody has seen it.
#[derive(Debug)]
pub struct SeenInit {
    /// All that /proc would have shown of it.
    pub process: Process,
    /// The kernel's number for its namespace, never reused.
    pub ns_id: u64,
    /// Inode of its mount namespace, where that was asked for.
    pub mount_namespace: Option<u64>,
}

impl From<Pid> for Target {
    /// A process of which nothing is known yet.
    fn from(pid: Pid) -> Self {
        Self { pid, none_open_since: None, init: None }
    }
}

/// Whether anything but a process's own namespace is searched.
pub fn searches_holders(search: &BTreeSet<SearchScope>) -> bool {
    search.iter().any(|&scope| scope != SearchScope::Processes)
}
