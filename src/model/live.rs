//! Facts that advice about the live host needs, and that no document has.

use std::collections::{BTreeMap, BTreeSet};

use super::Pid;

/// Facts about the processes and mounts that findings concern. Empty for a saved document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveFacts {
    /// The frozen processes, each with the cgroups that freeze it.
    pub frozen: BTreeMap<Pid, Vec<FrozenCgroup>>,
    /// Processes that SIGTERM does not end: they ignore it, or they are inits without a handler
    /// for it.
    pub ignore_sigterm: BTreeSet<Pid>,
    /// For each process with a thread in uninterruptible sleep, the TID of one such thread.
    pub stuck_threads: BTreeMap<Pid, Pid>,
    /// Inode of pidns's own mount namespace.
    pub own_mount_namespace: Option<u64>,
    /// Maps the inode of each other mount namespace to a process in that mount namespace.
    pub in_mount_namespace: BTreeMap<u64, Pid>,
}

/// A cgroup that freezes its processes. The text is the directory of the cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrozenCgroup {
    /// A cgroup of the version 1 freezer (`freezer.state`).
    V1(String),
    /// A cgroup of version 2 (`cgroup.freeze`).
    V2(String),
}
