//! What one thread of the walk gathers. It only grows; nothing here reads.

use std::collections::{HashMap, HashSet};

use crate::collect::log::DiagnosticLog;
use crate::collect::parse::Leaders;
use crate::model::{Holder, Pid, Process};

/// Threads, each as its process's PID and its own, that can read the mount
/// table of the mount namespace that they are in; by that namespace's inode.
pub type MountTableReaders = HashMap<u64, Vec<(Pid, Pid)>>;

/// What one thread of the walk found, and in the end what all of them did.
/// The fields that [`Discovery`](crate::collect::discovery::Discovery) has as
/// well mean the same here.
#[derive(Debug, Default)]
pub struct Findings {
    pub processes: Vec<Process>,
    pub leaders: HashMap<Pid, Leaders>,
    pub cgroups: HashMap<Pid, Vec<u8>>,
    pub terminated: HashSet<Pid>,
    pub undecided: HashSet<Pid>,
    pub holders: Vec<(u64, Holder)>,
    /// Who can read the mount table of each mount namespace.
    pub readers: MountTableReaders,
    /// Descriptors of mount namespaces: inode, process, number.
    pub mount_namespace_fds: Vec<(u64, Pid, u32)>,
    pub log: DiagnosticLog,
    /// What could not be read of the process that is being read. It may still
    /// vanish; it is then left out, and so is this.
    pub pending: DiagnosticLog,
}

impl Findings {
    /// Takes over what another thread found, in any order.
    pub fn merge(&mut self, mut other: Self) {
        // The fewer are moved.
        if self.processes.len() < other.processes.len() {
            std::mem::swap(&mut self.processes, &mut other.processes);
        }
        self.processes.append(&mut other.processes);
        self.leaders.extend(other.leaders);
        self.cgroups.extend(other.cgroups);
        self.terminated.extend(other.terminated);
        self.undecided.extend(other.undecided);
        self.holders.extend(other.holders);
        for (inode, readers) in other.readers {
            self.readers.entry(inode).or_default().extend(readers);
        }
        self.mount_namespace_fds.extend(other.mount_namespace_fds);
        self.log.merge(other.log);
    }

    /// Notes that a thread of a process is in a mount namespace.
    pub fn add_reader(&mut self, mount_namespace: Option<u64>, pid: Pid, tid: Pid) {
        let Some(inode) = mount_namespace else { return };
        self.readers.entry(inode).or_default().push((pid, tid));
    }
}
