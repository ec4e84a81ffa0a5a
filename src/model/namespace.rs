//! PID namespaces, and the processes, files and mounts that keep them alive.

use clap::ValueEnum;
use smol_str::SmolStr;

use super::{Container, NamespaceId, Pid, keywords};

/// A PID namespace (`pid_namespaces(7)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The ID of the namespace, unique within a snapshot.
    pub id: NamespaceId,
    /// Device number of nsfs, or `None` if the namespace could not be opened.
    pub device: Option<u64>,
    /// The kernel's 64-bit ID, never reused during a boot (`NS_GET_ID`, since Linux 6.18).
    pub ns_id: Option<u64>,
    /// The parent namespace, or `None` for a root or an unknown parent.
    pub parent: Option<NamespaceId>,
    /// `true` if the parent is a visible namespace, but pidns could not determine which one.
    pub parent_unknown: bool,
    /// The state of the namespace.
    pub state: NamespaceState,
    /// The process with PID 1 in the namespace, if this process is visible.
    pub init: Option<Pid>,
    /// Number of members before filtering, or `None` if no member was removed.
    pub member_count: Option<usize>,
    /// The owning user namespace, or `None` if the kernel does not reveal it.
    pub owner: Option<Owner>,
    /// Descriptors, mounts and threads that keep the namespace alive.
    pub holders: Vec<Holder>,
    /// The processes that block the removal of the namespace's terminated init, because they have
    /// not been reaped.
    pub blocked_by: Vec<Blocker>,
    /// The container named in the cgroup path of the namespace's init.
    pub container: Option<Container>,
    /// Evidence for the namespace's identity and parent.
    pub evidence: Evidence,
}

impl Namespace {
    /// Returns the bind mounts that keep the namespace alive.
    pub fn mounts(&self) -> impl Iterator<Item = BindMount> {
        self.holders.iter().filter_map(|it| self.mount(it))
    }

    /// Returns the holder's bind mount, or `None` if the holder is not a mount.
    #[must_use]
    pub fn mount(&self, holder: &Holder) -> Option<BindMount> {
        let Holder::Mount { path, mount_namespace } = holder else { return None };
        let (inode, path, mount_namespace) = (self.id.inode()?, path.clone(), *mount_namespace);
        Some(BindMount { inode, path, mount_namespace })
    }

    /// Creates a namespace with this ID and unknown properties.
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
        /// The init of the namespace is running.
        Live = "live",
        /// The init of the namespace has terminated: no process can be started in the namespace
        /// (fork fails with ENOMEM).
        Dead = "dead",
        /// The namespace has been created, but no process has been started in it yet.
        Nascent = "nascent",
        /// The state could not be determined.
        Unknown = "unknown",
    }
}

keywords! {
    /// Source of the information about a namespace, or about a process's namespace.
    pub enum Evidence("evidence", "kind of evidence", "kinds of evidence") {
        /// The kernel reported the namespace.
        Kernel = "kernel",
        /// pidns inferred the namespace from other data.
        Inferred = "inferred",
    }
}

/// Inode of the initial user namespace (`PROC_USER_INIT_INO` in the kernel, since Linux 3.8).
pub const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// The user namespace that owns a PID namespace (`NS_GET_USERNS`, since Linux 4.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Inode of the user namespace.
    pub user_namespace: u64,
    /// UID of the user namespace's creator, as pidns sees it (`NS_GET_OWNER_UID`, Linux 4.11).
    pub uid: Option<u32>,
    /// Name of the user with this UID, if known.
    pub user: Option<SmolStr>,
}

/// Something that keeps a namespace alive without being a member of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// An open file descriptor that refers to the namespace.
    Fd {
        /// The process that has the file descriptor.
        pid: Pid,
        /// Command name of the process.
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
        /// Command name of the process.
        comm: Option<SmolStr>,
        /// TID of the thread, equal to `pid` for the leader thread.
        tid: Pid,
    },
    /// An open file, other than the namespace's nsfs file, that keeps the namespace alive.
    File {
        /// Type of the open file.
        file: HoldingFile,
        /// The process whose open file keeps the namespace alive.
        pid: Pid,
        /// Command name of the process.
        comm: Option<SmolStr>,
        /// The descriptor number.
        fd: u32,
    },
}

impl Holder {
    /// Returns the process that keeps the namespace alive, or `None` for a mount.
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

/// A bind mount that keeps a PID namespace alive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BindMount {
    /// Inode of the PID namespace.
    pub inode: u64,
    /// The mount point, as seen in `mount_namespace`.
    pub path: String,
    /// Inode of the mount namespace that contains the mount.
    pub mount_namespace: u64,
}

/// Type of an open file, other than an nsfs file, that keeps a namespace alive.
///
/// [`SearchScope::Kernel`](super::SearchScope::Kernel) finds these files for namespaces without a
/// living init.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldingFile {
    /// A pidfd that refers to a former process of the namespace (`pidfd_open(2)`).
    Pidfd,
    /// A connected UNIX socket whose peer was a process in the namespace (`SO_PEERCRED`, see
    /// `unix(7)`).
    Socket,
    /// A UNIX socket on which a process in the namespace called `listen(2)`.
    Listener,
    /// A UNIX socket with an unreceived message. A descriptor in the message keeps the namespace
    /// alive (`SCM_RIGHTS`, `unix(7)`).
    InFlight,
    /// A UNIX socket with an unreceived message. The message contains the credentials of a process
    /// that is or was in the namespace (`SCM_CREDENTIALS`, `unix(7)`).
    Message,
    /// A file or directory in the namespace's procfs, or in a former member's `/proc/PID`.
    Procfs,
}

/// A process that blocks the removal of a terminated init (see `zap_pid_ns_processes`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// PID of the process. It can be the init itself, for example if the init is a zombie that has
    /// not been reaped.
    pub pid: Pid,
    /// Command name of the process.
    pub comm: SmolStr,
    /// The reason why the process still exists.
    pub reason: BlockReason,
    /// The tracer or parent that must reap or release this process, if known.
    pub reaper: Option<Pid>,
}

keywords! {
    /// Reason why a killed process still exists.
    pub enum BlockReason("block_reason", "blocker with reason", "blockers with reason") {
        /// The process has terminated, but its parent has not reaped it. If the process is traced,
        /// the tracer must reap it first.
        Zombie = "zombie",
        /// A thread of the process is in uninterruptible sleep (state D), which signals cannot end.
        Uninterruptible = "uninterruptible",
        /// A tracer has stopped an exiting thread (PTRACE_EVENT_EXIT), or has not yet reaped a
        /// terminated thread.
        Traced = "traced",
    }
}
