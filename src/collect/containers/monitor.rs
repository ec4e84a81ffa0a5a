//! Recognizes container monitors (containerd-shim and conmon).

use crate::model::{NamespaceId, Pid, Process, runtime};

/// The parent of a container's first process.
#[derive(Clone, Copy, Debug)]
pub struct Monitor {
    pub pid: Pid,
    /// Name of the process, which is [`runtime::SHIM`] or [`runtime::CONMON`].
    pub comm: &'static str,
    pub owner: RuntimeOwner,
}

/// The UID that a container runtime runs as, and the PID namespace that it runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuntimeOwner {
    /// User ID of the runtime's processes.
    pub uid: u32,
    /// The PID namespace of the runtime, or `None` for the namespace that the procfs shows.
    pub namespace: Option<NamespaceId>,
}

impl RuntimeOwner {
    /// Root (UID 0), in the PID namespace that the procfs shows.
    pub const HOST: Self = Self { uid: 0, namespace: None };

    /// Returns the UID and the PID namespace of a process that belongs to a container runtime.
    pub fn of(process: &Process) -> Self {
        let namespace = process.namespace.filter(|_| process.nspid.len() > 1);
        Self { uid: process.uid, namespace }
    }
}

impl Monitor {
    /// Returns the process as a [`Monitor`], if the process has the name of a monitor.
    pub fn of(process: &Process) -> Option<Self> {
        let comm = runtime::MONITORS.into_iter().find(|it| *it == process.comm)?;
        Some(Self { pid: process.pid, comm, owner: RuntimeOwner::of(process) })
    }
}

/// Returns the process with this PID.
pub fn find(processes: &[Process], pid: Option<Pid>) -> Option<&Process> {
    let index = processes.binary_search_by_key(&pid?, |process| process.pid).ok()?;
    processes.get(index)
}
