//! The request that all threads of a scan share, and the processes to read.

use std::collections::BTreeSet;

use super::procfs::Procfs;
use crate::collect::registry::NamespaceRegistry;
use crate::model::{Detail, NamespaceId, Pid, Process, SearchScope};

/// A request to read a procfs.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// The procfs to read.
    pub procfs: &'a Procfs,
    /// The PID namespace that this procfs shows, pinned, if known before the scan.
    pub namespace: Option<NamespaceId>,
    /// Places to search for namespaces. The own namespace of every process is always read.
    pub search: &'a BTreeSet<SearchScope>,
    /// Optional details to read about every process.
    pub details: &'a BTreeSet<Detail>,
    /// The namespaces found so far.
    pub registry: &'a NamespaceRegistry,
}

/// A process to read.
#[derive(Debug)]
pub struct Target {
    /// Its PID in the procfs.
    pub pid: Pid,
    /// Set if BPF found no namespace among the process's descriptors: the start time
    /// of that process. If it still has the PID, its descriptors are not searched.
    pub none_open_since: Option<u64>,
    /// Set if BPF found a living init that holds no namespace.
    pub init: Option<Box<SeenInit>>,
}

/// An init as BPF found it.
#[derive(Debug)]
pub struct SeenInit {
    /// The process, as /proc would have shown it.
    pub process: Process,
    /// The kernel's 64-bit ID of its PID namespace, which is never reused.
    pub ns_id: u64,
    /// Inode of its mount namespace, if the search needs it.
    pub mount_namespace: Option<u64>,
}

impl From<Pid> for Target {
    /// Creates a target with nothing known but the PID.
    fn from(pid: Pid) -> Self {
        Self { pid, none_open_since: None, init: None }
    }
}

/// Returns `true` if anything besides each process's own namespace is searched.
pub fn searches_holders(search: &BTreeSet<SearchScope>) -> bool {
    search.iter().any(|&scope| scope != SearchScope::Processes)
}
