//! Recognizes the processes that container runtimes start as the parents of containers.

use crate::model::{Pid, Process, cgroup};

/// Name of the process that podman and CRI-O start for each container, as its parent.
pub const CONMON: &str = "conmon";

/// The parent of a container's first process.
#[derive(Clone)]
pub struct Monitor {
    pub pid: Pid,
    pub uid: u32,
    /// Name of the process: [`cgroup::SHIM`] or [`CONMON`].
    pub comm: &'static str,
}

impl Monitor {
    /// Returns the process as a monitor, if its name is that of one.
    pub fn of(process: &Process) -> Option<Self> {
        let comm = [cgroup::SHIM, CONMON].into_iter().find(|it| *it == process.comm)?;
        Some(Self { pid: process.pid, uid: process.uid, comm })
    }
}

/// Returns the process with this PID.
pub fn find(processes: &[Process], pid: Option<Pid>) -> Option<&Process> {
    let index = processes.binary_search_by_key(&pid?, |process| process.pid).ok()?;
    processes.get(index)
}
