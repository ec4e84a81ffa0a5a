//! Defines the request that all threads of a scan share, and the processes that they read.

use std::collections::BTreeSet;

use super::procfs::Procfs;
use crate::collect::registry::NamespaceRegistry;
use crate::model::{Detail, NamespaceId, Pid, Process, SearchScope};

/// A request to read a procfs.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// The procfs to read.
    pub procfs: &'a Procfs,
    /// The PID namespace that this procfs shows; `None` if pidns could not open the namespace
    /// before the scan.
    pub namespace: Option<NamespaceId>,
    /// The places to search for namespaces. Each process's own namespace is always read.
    pub search: &'a BTreeSet<SearchScope>,
    /// Optional details to read about every process.
    pub details: &'a BTreeSet<Detail>,
    /// The registry to which the scan adds every namespace that it finds.
    pub registry: &'a NamespaceRegistry,
}

/// A process to read.
#[derive(Debug)]
pub struct Target {
    /// PID of the process in the procfs.
    pub pid: Pid,
    /// Start time of the process, if BPF found that it has no namespace open. If the process with
    /// this PID still has this start time, it is the same one, so its descriptors are not searched.
    pub none_open_since: Option<u64>,
    /// The record that BPF made, if the process is a living init that keeps no other namespace alive.
    pub init: Option<Box<SeenInit>>,
}

/// A living init as BPF found it.
#[derive(Debug)]
pub struct SeenInit {
    /// The process, with the same contents as if it had been read through /proc.
    pub process: Process,
    /// The kernel's 64-bit ID of the init's PID namespace. The kernel never reuses such an ID.
    pub ns_id: u64,
    /// Inode of the init's mount namespace, if the search needs it.
    pub mount_namespace: Option<u64>,
}

impl From<Pid> for Target {
    /// Creates a target about which only the PID is known.
    fn from(pid: Pid) -> Self {
        Self { pid, none_open_since: None, init: None }
    }
}

/// Returns `true` if the scan searches more places than each process's own namespace.
pub fn searches_holders(search: &BTreeSet<SearchScope>) -> bool {
    search.iter().any(|&scope| scope != SearchScope::Processes)
}
