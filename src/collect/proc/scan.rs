//! Defines the parameters of a scan, and the processes to read.

use std::collections::BTreeSet;

use super::holders::SearchedTables;
use super::procfs::Procfs;
use crate::collect::kernel::wait_limit::WaitLimit;
use crate::collect::registry::NamespaceRegistry;
use crate::model::{Detail, NamespaceId, Pid, Process, SearchScope};

/// The parameters of a scan.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    pub procfs: &'a Procfs,
    /// The PID namespace that the procfs shows, if pidns could open it.
    pub namespace: Option<NamespaceId>,
    /// The scopes in which to search for more namespaces.
    pub search: &'a BTreeSet<SearchScope>,
    /// The optional details to read about every process.
    pub details: &'a BTreeSet<Detail>,
    /// The namespace descriptors that pidns has inherited.
    pub inherited: &'a [u32],
    /// The registry to which the scan adds every namespace that it finds.
    pub registry: &'a NamespaceRegistry,
    pub waits: &'a ScanWaits,
    /// The descriptor tables that have been searched so far.
    pub tables: &'a SearchedTables,
}

/// Time limits for slow reads, shared by all threads of a scan.
#[derive(Debug)]
pub struct ScanWaits {
    /// Time limit for reading process memory.
    pub memory: WaitLimit,
    /// Time limit for reading the cgroups of inits, in order to find containers.
    pub init_cgroups: WaitLimit,
    /// Time limit for reading the cgroups of all processes, if [`Detail::Cgroup`] was requested.
    pub cgroups: WaitLimit,
}

impl ScanWaits {
    pub fn new() -> Self {
        Self {
            memory: WaitLimit::of_memory(),
            init_cgroups: WaitLimit::of_cgroups(),
            cgroups: WaitLimit::of_cgroups(),
        }
    }
}

/// A process to read.
#[derive(Debug)]
pub struct Target {
    /// PID of the process, as the procfs shows it.
    pub pid: Pid,
    /// Start time of the process. Set only if BPF found that the process has no namespace open.
    ///
    /// If the PID now has a different start time, the PID was reused, so the finding no longer
    /// applies.
    pub none_open_since: Option<u64>,
    /// Data from BPF about this process, if the process is a living init and need not be read
    /// through /proc.
    ///
    /// `None` if the process must be read through /proc, for example because it may keep other PID
    /// namespaces alive.
    pub init: Option<Box<SeenInit>>,
}

/// A living init that the BPF program found.
#[derive(Debug)]
pub struct SeenInit {
    /// The process, with the values that /proc shows.
    pub process: Process,
    /// The kernel's 64-bit ID of the init's PID namespace, which is never reused.
    pub ns_id: u64,
    /// Inode of the process's mount namespace, if the scan searches for bind mounts.
    pub mount_namespace: Option<u64>,
}

impl From<Pid> for Target {
    /// Creates a target without data from the BPF program.
    fn from(pid: Pid) -> Self {
        Self { pid, none_open_since: None, init: None }
    }
}

/// Returns `true` if the scan searches for more than the processes' own namespaces.
pub fn searches_holders(search: &BTreeSet<SearchScope>) -> bool {
    search.iter().any(|&scope| scope != SearchScope::Processes)
}
