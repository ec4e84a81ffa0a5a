//! PID namespaces, and the processes, files and mounts that keep them alive.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{NamespaceId, Pid, keywords};

/// A PID namespace (`pid_namespaces(7)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The ID of the namespace, unique within a snapshot.
    pub id: NamespaceId,
    /// Device number of nsfs; `None` if the namespace could not be opened.
    pub device: Option<u64>,
    /// The kernel's 64-bit ID, never reused during a boot (`NS_GET_ID`, since Linux 6.18).
    pub ns_id: Option<u64>,
    /// The parent namespace; `None` for a root namespace, or if the parent is unknown.
    pub parent: Option<NamespaceId>,
    /// `true` if the parent is visible to pidns, but could not be determined.
    pub parent_unknown: bool,
    /// The state of the namespace.
    pub state: NamespaceState,
    /// The process with PID 1 in the namespace, if this process is visible.
    pub init: Option<Pid>,
    /// Number of members; `None` if the snapshot contains all members. A filtered snapshot may lack
    /// some of them.
    pub member_count: Option<usize>,
    /// The owning user namespace; `None` if the kernel does not reveal it.
    pub owner: Option<Owner>,
    /// Everything except members that keeps the namespace alive.
    pub holders: Vec<Holder>,
    /// The processes that keep the namespace's terminated init from being removed.
    pub blocked_by: Vec<Blocker>,
    /// The container that the cgroup of the namespace's init belongs to.
    pub container: Option<Container>,
    /// The source of the namespace's identity and parent.
    pub evidence: Evidence,
}

impl Namespace {
    /// Returns a namespace that is known to exist, but whose other properties are all unknown.
    #[must_use]
    pub fn unread(id: NamespaceId) -> Self {
        Self {
            id,
            device: None,
            ns_id: None,
            parent: None,
            parent_unknown: false,
            state: NamespaceState::Unknown,
            init: None,
            member_count: None,
            owner: None,
            holders: Vec::new(),
            blocked_by: Vec::new(),
            container: None,
            evidence: Evidence::Inferred,
        }
    }
}

keywords! {
    /// State of a namespace.
    #[derive(ValueEnum)]
    pub enum NamespaceState("namespace_state", "namespace state", "namespace states") {
        /// Its init is running.
        Live = "live",
        /// Its init has terminated: starting a process in it fails (ENOMEM).
        Dead = "dead",
        /// Created, but no process has been started in it yet.
        Nascent = "nascent",
        /// None of the other states could be proved.
        Unknown = "unknown",
    }
}

keywords! {
    /// Source of a fact.
    pub enum Evidence("evidence", "kind of evidence", "kinds of evidence") {
        /// Reported by the kernel.
        Kernel = "kernel",
        /// Inferred: the kernel did not report it, and the rules for placing processes left
        /// exactly one answer.
        Inferred = "inferred",
    }
}

/// The user namespace that owns a PID namespace (`NS_GET_USERNS`, since Linux 4.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Inode of the user namespace.
    pub user_namespace: u64,
    /// UID of the user that created the user namespace, as pidns's own user namespace
    /// maps it (`NS_GET_OWNER_UID`, since Linux 4.11).
    pub uid: Option<u32>,
    /// Name of the user with this UID, if the host knows the name.
    pub user: Option<SmolStr>,
}

/// Something other than a member that keeps a namespace alive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// An open file descriptor of the namespace.
    Fd {
        /// The process that has the descriptor open.
        pid: Pid,
        /// Name of the process.
        comm: Option<SmolStr>,
        /// The descriptor number.
        fd: u32,
    },
    /// A bind mount of the namespace's nsfs file.
    Mount {
        /// The mount point, as seen in `mount_namespace`.
        path: String,
        /// Inode of the mount namespace that contains the mount.
        mount_namespace: u64,
    },
    /// A thread whose children start in the namespace (`/proc/PID/ns/pid_for_children`,
    /// since Linux 4.12).
    PidForChildren {
        /// The process that the thread belongs to.
        pid: Pid,
        /// Name of the process.
        comm: Option<SmolStr>,
        /// The thread; equal to `pid` if the thread is the leader thread.
        tid: Pid,
    },
    /// An open file that keeps the namespace alive, but is not the nsfs file of the namespace.
    File {
        /// Type of the file.
        file: HoldingFile,
        /// The process that has the file open.
        pid: Pid,
        /// Name of the process.
        comm: Option<SmolStr>,
        /// The descriptor number.
        fd: u32,
    },
}

impl Holder {
    /// Returns the process that keeps the namespace alive; `None` for a mount.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Self::Fd { pid, .. } | Self::PidForChildren { pid, .. } | Self::File { pid, .. } => {
                Some(*pid)
            }
            Self::Mount { .. } => None,
        }
    }
}

/// Type of an open file that keeps a namespace alive, but is not the nsfs file of the namespace.
/// Such files are searched only with [`SearchScope::Kernel`](super::SearchScope::Kernel), and only
/// for namespaces without a living init.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldingFile {
    /// A pidfd of a process that was in the namespace (`pidfd_open(2)`).
    Pidfd,
    /// A UNIX socket whose peer was in the namespace (`SO_PEERCRED`, see `unix(7)`).
    Socket,
    /// A UNIX socket with an unreceived message. The message carries a descriptor of the namespace,
    /// or another file that keeps the namespace alive (`SCM_RIGHTS`, see `unix(7)`).
    InFlight,
    /// A file or directory of the namespace's procfs, or of a process that was in the
    /// namespace.
    Procfs,
}

/// The container, or systemd unit, that a cgroup path names.
// `crate::document` implements the serde traits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "container"))]
pub struct Container {
    /// The runtime that created it: docker, containerd, cri-o, podman, lxc (LXD and Incus use
    /// the same paths), systemd-nspawn, buildkit, runc, crun, garden, kubernetes (a container
    /// in a pod, if the path does not name the runtime), unknown (any other container without
    /// a named runtime), or systemd for a unit. May grow.
    pub runtime: String,
    /// Its ID or name in that runtime.
    pub id: String,
    /// UID of its Kubernetes pod, or null.
    pub pod: Option<String>,
}

/// A process that keeps a terminated init from being removed: the kernel waits until all
/// processes of the namespace have been reaped (`zap_pid_ns_processes`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// The process that the init waits for, or the init itself if it is a zombie that
    /// nobody reaps.
    pub pid: Pid,
    /// Name of the process.
    pub comm: SmolStr,
    /// The reason why the process is not gone yet.
    pub reason: BlockReason,
    /// The process outside the namespace that must act: the tracer if `pid` is traced, or
    /// otherwise, for a zombie, the parent.
    pub reaper: Option<Pid>,
}

keywords! {
    /// Reason why a killed process is not gone.
    pub enum BlockReason("block_reason", "blocker with reason", "blockers with reason") {
        /// It has terminated, but its tracer or, if it is not traced, its parent does not reap it.
        Zombie = "zombie",
        /// It or one of its threads is in uninterruptible sleep (state D), which signals do not
        /// interrupt.
        Uninterruptible = "uninterruptible",
        /// Its tracer holds it or one of its threads: in the stop before the exit
        /// (PTRACE_EVENT_EXIT), or as a thread that only the tracer can reap.
        Traced = "traced",
    }
}
