//! Facts about the live host that are used in advice, but not saved in documents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{BindMount, Pid};

/// Facts about live processes and mounts that are used to give advice. Empty for a saved document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveFacts {
    /// The frozen processes, each with its frozen cgroups.
    pub frozen: BTreeMap<Pid, Vec<FrozenCgroup>>,
    /// Processes that ignore SIGTERM, including inits without a handler.
    pub ignore_sigterm: BTreeSet<Pid>,
    /// Processes whose leader thread has terminated and whose living threads are all stopped.
    pub stopped: BTreeMap<Pid, StoppedBy>,
    /// Processes whose living threads are all in uninterruptible sleep.
    pub uninterruptible: BTreeSet<Pid>,
    /// The processes in the field `uninterruptible` that are not frozen and that SIGKILL cannot
    /// wake.
    pub unkillable: BTreeSet<Pid>,
    /// Processes that have terminated since the scan. Their PIDs may already have been reused.
    pub ended: BTreeSet<Pid>,
    /// Processes in `ended` that their parent has probably replaced with a new process.
    pub restarted: BTreeSet<Pid>,
    /// TID of a thread in uninterruptible sleep, for each process that has one.
    pub stuck_threads: BTreeMap<Pid, Pid>,
    /// Processes whose namespaces nsenter(1) can enter. The value is `true` if nsenter needs the
    /// option `--preserve-credentials`.
    pub enterable: BTreeMap<Pid, bool>,
    /// Hard limit `RLIMIT_NPROC` of each process, or `u64::MAX` if it is unlimited.
    pub hard_nproc: BTreeMap<Pid, u64>,
    /// `true` if pidns may raise hard limits (`CAP_SYS_RESOURCE` in the initial user namespace).
    pub may_raise_hard_limits: bool,
    /// Processes that run as root with `CAP_SYS_RESOURCE` in their own user namespace.
    pub container_roots: BTreeSet<Pid>,
    /// Maps processes to the inodes of their user namespaces.
    pub user_namespaces: BTreeMap<Pid, u64>,
    /// PID of pidns itself, if the procfs shows it.
    pub own_pid: Option<Pid>,
    /// `true` if pidns is in the initial PID namespace with all capabilities that it needs.
    pub is_host_root: bool,
    /// Inode of pidns's own mount namespace.
    pub own_mount_namespace: Option<u64>,
    /// Mount namespaces that a suggested command must enter, by inode.
    pub mount_namespaces: BTreeMap<u64, MountNamespace>,
    /// Bind mounts that another mount covers. The value is `true` if this is certain, or `false` if
    /// it is only probable.
    pub covered: BTreeMap<BindMount, bool>,
}

/// A mount namespace other than pidns's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountNamespace {
    /// The processes, descriptor or bind mount that keeps the mount namespace alive.
    pub kept_by: MountNamespaceKeeper,
    /// `true` if the kernel may lock mounts in this namespace (`mount_namespaces(7)`).
    pub may_lock_mounts: bool,
    /// `true` if the mount namespace lacks `/proc/self/mountinfo`, which umount(8) needs.
    pub lacks_proc: bool,
}

/// An object that keeps a mount namespace alive and lets a command enter it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountNamespaceKeeper {
    /// The processes in the mount namespace.
    Processes(Vec<Pid>),
    /// A process that has the mount namespace open, and the number of the descriptor.
    Fd(Pid, u32),
    /// A bind mount of the mount namespace, by its path in pidns's own mount namespace.
    Mount(String),
}

/// The reason why a process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoppedBy {
    /// Stopped by a signal, such as SIGSTOP, until SIGCONT arrives.
    Signal,
    /// Stopped by a tracer. SIGCONT doesn't resume the process.
    Tracer(Option<Pid>),
}

/// The directory of a frozen cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrozenCgroup {
    /// Directory of a version 1 cgroup. A write to its file `freezer.state` freezes or thaws the
    /// cgroup.
    V1(PathBuf),
    /// Directory of a version 2 cgroup. A write to its file `cgroup.freeze` freezes or thaws the
    /// cgroup.
    V2(PathBuf),
}
