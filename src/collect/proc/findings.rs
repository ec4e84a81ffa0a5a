//! Collects the results of a scan.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::holders::Sharer;
use super::process::ReadProcess;
use crate::collect::discovery::InitNow;
use crate::collect::holder_list::HolderList;
use crate::collect::log::DiagnosticLog;
use crate::collect::parse::Leaders;
use crate::model::{Pid, Process};

/// The results of a scan, with fields as in [`Discovery`](crate::collect::discovery::Discovery).
#[derive(Debug, Default)]
pub struct ScanFindings {
    pub processes: Vec<Process>,
    pub leaders: HashMap<Pid, Leaders>,
    pub cgroups: HashMap<Pid, Vec<u8>>,
    pub terminated: HashSet<Pid>,
    pub undecided: HashSet<Pid>,
    pub holders: HolderList,
    /// Processes that share their descriptor table with a process that was already searched.
    pub sharers: Vec<Sharer>,
    /// Maps the inode of each mount namespace to the PIDs and TIDs of its known threads.
    pub readers: HashMap<u64, Vec<(Pid, Pid)>>,
    /// For each open descriptor of a mount namespace, the namespace's inode, the PID of the
    /// process, and the descriptor number.
    pub mount_namespace_fds: Vec<(u64, Pid, u32)>,
    pub log: DiagnosticLog,
}

impl ScanFindings {
    /// Adds one process and everything that was found about it.
    pub fn add(&mut self, read: ReadProcess) {
        let ReadProcess { process, leaders, cgroup, init, held, log } = read;
        let pid = process.pid;
        self.leaders.extend(leaders.map(|leaders| (pid, leaders)));
        self.cgroups.extend(cgroup.map(|cgroup| (pid, cgroup)));
        match init {
            InitNow::Terminated => _ = self.terminated.insert(pid),
            InitNow::Unknown => _ = self.undecided.insert(pid),
            InitNow::Living | InitNow::Absent => {}
        }
        self.holders.merge(held.holders);
        let comm = &process.comm;
        let sharer = |table| Sharer { pid, comm: comm.clone(), table };
        self.sharers.extend(held.shared_tables.into_iter().map(sharer));
        for (inode, tid) in held.mount_namespaces {
            self.add_reader(Some(inode), pid, tid);
        }
        let fds = held.mount_namespace_fds.into_iter();
        self.mount_namespace_fds.extend(fds.map(|(inode, fd)| (inode, pid, fd)));
        self.log.merge(held.log);
        self.log.merge(log);
        self.processes.push(process);
    }

    /// Removes the given processes and their results, but not their diagnostics.
    pub fn remove(&mut self, pids: &BTreeSet<Pid>) {
        let is_left = |pid: &Pid| !pids.contains(pid);
        self.processes.retain(|process| is_left(&process.pid));
        self.leaders.retain(|pid, _| is_left(pid));
        self.cgroups.retain(|pid, _| is_left(pid));
        self.terminated.retain(is_left);
        self.undecided.retain(is_left);
        self.holders.retain(|holder| holder.pid().is_none_or(|pid| is_left(&pid)));
        self.sharers.retain(|sharer| is_left(&sharer.pid));
        for readers in self.readers.values_mut() {
            readers.retain(|(pid, _)| is_left(pid));
        }
        self.mount_namespace_fds.retain(|(_, pid, _)| is_left(pid));
    }

    /// Adds the results of another thread of the scan.
    pub fn merge(&mut self, mut other: Self) {
        // Appending the shorter list of processes to the longer one is faster.
        if self.processes.len() < other.processes.len() {
            std::mem::swap(&mut self.processes, &mut other.processes);
        }
        self.processes.append(&mut other.processes);
        self.leaders.extend(other.leaders);
        self.cgroups.extend(other.cgroups);
        self.terminated.extend(other.terminated);
        self.undecided.extend(other.undecided);
        self.holders.merge(other.holders);
        self.sharers.append(&mut other.sharers);
        for (inode, readers) in other.readers {
            self.readers.entry(inode).or_default().extend(readers);
        }
        self.mount_namespace_fds.extend(other.mount_namespace_fds);
        self.log.merge(other.log);
    }

    /// Records that a thread gives access to the mount table of a mount namespace.
    pub fn add_reader(&mut self, mount_namespace: Option<u64>, pid: Pid, tid: Pid) {
        let Some(inode) = mount_namespace else { return };
        self.readers.entry(inode).or_default().push((pid, tid));
    }
}
