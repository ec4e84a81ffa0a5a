//! What a source hands over to be assembled: processes, and what was found
//! on the way, as it was read.

use std::collections::HashMap;

use super::log::DiagnosticLog;
use super::parse::Leaders;
use crate::model::{Container, Holder, Pid, Process};

/// Processes remembered for each mount namespace: enough that one is left
/// when its mount table is read, few enough to cost nothing.
const READERS: usize = 8;

/// What one thread found, and in the end what all of them did.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The processes; `namespace` still `None` where its link may not be read.
    pub processes: Vec<Process>,
    /// Of processes whose link may not be read: what else tells where they are.
    pub leaders: HashMap<Pid, Leaders>,
    /// The containers of inits.
    pub containers: HashMap<Pid, Container>,
    /// Inits that have terminated: all of their threads have.
    pub terminated: Vec<Pid>,
    /// Holders, by the inode of what they hold.
    pub holders: Vec<(u64, Holder)>,
    /// Who can read the mount table of each mount namespace.
    pub readers: MountTableReaders,
    /// What could not be read.
    pub log: DiagnosticLog,
    /// What could not be read of the process that is being read, which may
    /// yet vanish and be left out.
    pub pending: DiagnosticLog,
}

impl Discovery {
    /// Takes over what another thread found.
    pub fn merge(&mut self, other: Self) {
        self.processes.extend(other.processes);
        self.leaders.extend(other.leaders);
        self.containers.extend(other.containers);
        self.terminated.extend(other.terminated);
        self.holders.extend(other.holders);
        for (inode, readers) in other.readers {
            self.readers.entry(inode).or_default().extend(readers);
        }
        self.log.merge(other.log);
    }
}

/// Some processes, each with a thread, that can read the mount table of their
/// mount namespace; by its inode.
pub type MountTableReaders = HashMap<u64, Vec<(Pid, Pid)>>;

impl Discovery {
    /// Notes that a thread of a process is in a mount namespace.
    pub fn add_reader(&mut self, mount_namespace: Option<u64>, pid: Pid, tid: Pid) {
        let Some(inode) = mount_namespace else { return };
        let readers = self.readers.entry(inode).or_default();
        if readers.len() < READERS {
            readers.push((pid, tid));
        }
    }
}
