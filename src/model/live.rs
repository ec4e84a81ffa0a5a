//! Facts about the live host that are used in advice, but not saved in documents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{BindMount, Pid};

/// Facts about live processes and mounts, for use in advice. Empty for a saved document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveFacts {
    /// The frozen processes, each with the frozen cgroups that contain it.
    pub frozen: BTreeMap<Pid, Vec<FrozenCgroup>>,
    /// Processes that SIGTERM does not terminate, because they ignore it, or are inits without a
    /// handler.
    pub ignore_sigterm: BTreeSet<Pid>,
    /// Processes with a terminated leader thread, and with other threads that are all stopped.
    pub stopped: BTreeMap<Pid, StoppedBy>,
    /// Processes that were in uninterruptible sleep during the scan. All their threads are still
    /// asleep.
    pub uninterruptible: BTreeSet<Pid>,
    /// The processes in `uninterruptible` that SIGKILL cannot end until they wake up. Does not
    /// contain frozen processes.
    pub unkillable: BTreeSet<Pid>,
    /// Processes that have terminated since the scan. Suggested commands must not contain their
    /// PIDs, because the kernel may have reused them.
    pub ended: BTreeSet<Pid>,
    /// The processes in `ended` that a new process has probably replaced. The parent of such a
    /// process has a new child with the same name.
    pub restarted: BTreeSet<Pid>,
    /// For each process with threads in uninterruptible sleep, the TID of one such thread.
    pub stuck_threads: BTreeMap<Pid, Pid>,
    /// The processes whose namespaces nsenter(1) can enter. If the value is `true`, nsenter needs
    /// `--preserve-credentials`, because it cannot become root in the process's user namespace.
    pub enterable: BTreeMap<Pid, bool>,
    /// Hard limit `RLIMIT_NPROC` of each process; `u64::MAX` if it is unlimited.
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
    /// Otherwise, root on the host may see more.
    pub is_host_root: bool,
    /// Inode of pidns's own mount namespace.
    pub own_mount_namespace: Option<u64>,
    /// The mount namespaces that a suggested command must enter, by inode. Empty if the procfs does
    /// not show pidns's own PID namespace.
    pub mount_namespaces: BTreeMap<u64, MountNamespace>,
    /// Bind mounts that umount(8) cannot remove, because another mount covers their path. The value
    /// is `false` if this is only likely: the kernel has not cached the path, and the file system
    /// could block pidns.
    pub covered: BTreeMap<BindMount, bool>,
}

/// A mount namespace other than pidns's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountNamespace {
    /// The processes, descriptor or bind mount that keeps the mount namespace alive.
    pub kept_by: MountNamespaceKeeper,
    /// `true` if this mount namespace and pidns's own belong to different user namespaces. Nobody
    /// can then unmount a mount that was copied when the mount namespace was created, because the
    /// kernel locks it (`mount_namespaces(7)`).
    pub may_lock_mounts: bool,
    /// `true` if umount(8) finds no `/proc/self/mountinfo` in the mount namespace, and therefore
    /// fails.
    pub lacks_proc: bool,
}

/// An object that keeps a mount namespace alive. A command can enter the mount namespace through
/// it.
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
    /// Stopped by a signal, such as SIGSTOP. SIGCONT continues the process.
    Signal,
    /// Stopped by a tracer, with its PID if known. Only the tracer can continue the process.
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
