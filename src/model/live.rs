//! Facts about the live host that are used in advice, but not saved in documents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{BindMount, Pid};

/// Facts about live processes and mounts, for use in advice. Empty for a saved document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveFacts {
    /// The frozen processes, each with the frozen cgroups that contain it.
    pub frozen: BTreeMap<Pid, Vec<FrozenCgroup>>,
    /// Processes that SIGTERM does not terminate: processes that ignore SIGTERM, and inits without
    /// a handler for SIGTERM.
    pub ignore_sigterm: BTreeSet<Pid>,
    /// Processes whose leader thread has exited, and whose other threads are all stopped.
    pub stopped: BTreeMap<Pid, StoppedBy>,
    /// Processes that the scan found in uninterruptible sleep, and whose threads are all still
    /// asleep.
    pub uninterruptible: BTreeSet<Pid>,
    /// The processes in `uninterruptible` that SIGKILL cannot end until they wake up. Excludes
    /// frozen processes.
    pub unkillable: BTreeSet<Pid>,
    /// Processes that have ended since the scan: they are gone, or have become zombies. Their PIDs
    /// may have been reused, so no suggested command may contain them.
    pub ended: BTreeSet<Pid>,
    /// The processes in `ended` that a new process has probably replaced: their parent has a new
    /// child with the same name.
    pub restarted: BTreeSet<Pid>,
    /// For each process that has a thread in uninterruptible sleep, the TID of one such thread.
    pub stuck_threads: BTreeMap<Pid, Pid>,
    /// The processes whose namespaces nsenter(1) can enter. The value is `true` if nsenter cannot
    /// become root in the user namespace of the process, and therefore needs
    /// `--preserve-credentials`.
    pub enterable: BTreeMap<Pid, bool>,
    /// Hard limit `RLIMIT_NPROC` of each process; `u64::MAX` if it is unlimited.
    pub hard_nproc: BTreeMap<Pid, u64>,
    /// `true` if pidns may raise the hard limits of processes (`CAP_SYS_RESOURCE` in the initial
    /// user namespace).
    pub may_raise_hard_limits: bool,
    /// Processes that run as root in their user namespace, and have `CAP_SYS_RESOURCE` there.
    pub container_roots: BTreeSet<Pid>,
    /// Maps processes to the inodes of their user namespaces.
    pub user_namespaces: BTreeMap<Pid, u64>,
    /// PID of pidns itself, if the procfs shows it.
    pub own_pid: Option<Pid>,
    /// `true` if pidns is in the initial PID namespace, and has all capabilities that it needs. If
    /// `false`, pidns may see more when run as root on the host.
    pub is_host_root: bool,
    /// Inode of pidns's own mount namespace.
    pub own_mount_namespace: Option<u64>,
    /// The mount namespaces that a suggested command must enter, by inode. Does not contain pidns's
    /// own mount namespace. Empty if the procfs does not show pidns's own PID namespace.
    pub mount_namespaces: BTreeMap<u64, MountNamespace>,
    /// Bind mounts that umount(8) cannot remove, because another mount covers their path. The value
    /// is `false` if this is only likely: the kernel has not cached the path, and asking the file
    /// system could block pidns.
    pub covered: BTreeMap<BindMount, bool>,
}

/// A mount namespace other than pidns's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountNamespace {
    /// The processes, descriptor or bind mount that keeps the mount namespace alive.
    pub kept_by: MountNamespaceKeeper,
    /// `true` if this mount namespace and pidns's own belong to different user namespaces. The
    /// kernel then locks the mounts that were copied when the mount namespace was created
    /// (`mount_namespaces(7)`), so nobody can unmount them.
    pub may_lock_mounts: bool,
    /// `true` if umount(8) does not work in the mount namespace, because it finds no
    /// `/proc/self/mountinfo` there.
    pub lacks_proc: bool,
}

/// Something that keeps a mount namespace alive, and through which a command can enter it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountNamespaceKeeper {
    /// The processes in the mount namespace.
    Processes(Vec<Pid>),
    /// A process that has the mount namespace open, and the number of the descriptor.
    Fd(Pid, u32),
    /// The path in pidns's own mount namespace at which the mount namespace is bind-mounted.
    Mount(String),
}

/// The reason why a process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoppedBy {
    /// A signal, such as SIGSTOP, stopped the process. SIGCONT continues the process.
    Signal,
    /// A tracer stopped the process. Contains the tracer's PID, if known. Only the tracer can
    /// continue the process.
    Tracer(Option<Pid>),
}

/// The directory of a frozen cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrozenCgroup {
    /// Path of a version 1 freezer cgroup. Writing to its `freezer.state` freezes or thaws it.
    V1(PathBuf),
    /// Path of a version 2 cgroup. Writing to its `cgroup.freeze` freezes or thaws it.
    V2(PathBuf),
}
