//! A PID namespace, and what is known of it.

use clap::ValueEnum;
use smol_str::SmolStr;

use super::{NamespaceId, Pid, keywords};

/// A PID namespace (`pid_namespaces(7)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its identity within a snapshot.
    pub id: NamespaceId,
    /// Device number of nsfs, where the namespace could be opened.
    pub device: Option<u64>,
    /// The kernel's 64-bit number, never reused (`NS_GET_ID`, since Linux 6.18).
    pub ns_id: Option<u64>,
    /// The namespace it was made in; `None` for a topmost visible one, and
    /// where it could not be found out.
    pub parent: Option<NamespaceId>,
    /// Whether it has a parent in the viewer's sight that could not be found out.
    pub parent_unknown: bool,
    /// Live, dead, nascent, or unknown where none of these is proved.
    pub state: NamespaceState,
    /// The process with PID 1 in it, where it is visible.
    pub init: Option<Pid>,
    /// How many members it has where they are not all in the snapshot, as some
    /// were not selected.
    pub member_count: Option<usize>,
    /// Who owns it, where that is in reach.
    pub owner: Option<Owner>,
    /// What keeps it alive beside its members.
    pub holders: Vec<Holder>,
    /// Why its terminated init cannot go; empty where nothing keeps it.
    pub blocked_by: Vec<Blocker>,
    /// The container that its init's cgroup belongs to.
    pub container: Option<Container>,
    /// How it and its place in the hierarchy are known.
    pub evidence: Evidence,
}

impl Namespace {
    /// One of which only its existence is known.
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
    /// UID that made the user namespace, as the reader's user namespace maps
    /// it (`NS_GET_OWNER_UID`, since Linux 4.11).
    pub uid: Option<u32>,
    /// That user's name, where the host has one.
    pub user: Option<SmolStr>,
}

/// What keeps a namespace alive beside its members.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// An open file descriptor.
    Fd {
        /// The process that has it open.
        pid: Pid,
        /// That process's name.
        comm: Option<SmolStr>,
        /// Its number there.
        fd: u32,
    },
    /// A bind mount of the namespace's nsfs file.
    Mount {
        /// The mount point, as its mount namespace sees it.
        path: String,
        /// Inode of that mount namespace.
        mount_namespace: u64,
    },
    /// A thread whose children are born in it (`/proc/PID/ns/pid_for_children`,
    /// since Linux 4.12).
    PidForChildren {
        /// The process.
        pid: Pid,
        /// That process's name.
        comm: Option<SmolStr>,
        /// The thread; equal to `pid` for the leader.
        tid: Pid,
    },
    /// An open file that is not the namespace's own, but keeps it.
    File {
        /// What kind of file.
        file: HoldingFile,
        /// The process that has it open.
        pid: Pid,
        /// That process's name.
        comm: Option<SmolStr>,
        /// Its number there.
        fd: u32,
    },
}

impl Holder {
    /// The process that keeps the namespace, where one does.
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

/// A file that keeps a namespace without leading to it. It is looked for with
/// [`SearchScope::Kernel`](super::SearchScope::Kernel), and of namespaces without
/// a living init alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldingFile {
    /// A pidfd of a process that was in the namespace (`pidfd_open(2)`).
    Pidfd,
    /// A UNIX socket whose peer was in it (`SO_PEERCRED` of `unix(7)`).
    Socket,
    /// A UNIX socket in which such a file, or a descriptor of the namespace,
    /// waits to be received (`SCM_RIGHTS` of `unix(7)`).
    InFlight,
    /// A file or directory of the namespace's procfs, or of a process that was
    /// in it.
    Procfs,
}

/// The container, or service, that a cgroup path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// What made it: `docker`, `containerd`, `podman` and so on.
    pub runtime: String,
    /// Its ID there.
    pub id: String,
    /// UID of its Kubernetes pod.
    pub pod: Option<String>,
}

/// A process that keeps a terminated init from going: the kernel ends a
/// namespace only once all of its processes are reaped (`zap_pid_ns_processes`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// The process that the init waits for, or the init itself where it is a
    /// zombie that nobody reaps.
    pub pid: Pid,
    /// Its name.
    pub comm: SmolStr,
    /// Why it does not go.
    pub reason: BlockReason,
    /// The process outside the namespace that does not reap it, where it is a zombie.
    pub reaper: Option<Pid>,
}

keywords! {
    /// Reason why a killed process is not gone.
    pub enum BlockReason("block_reason", "blocker with reason", "blockers with reason") {
        /// It has terminated, but its parent (or tracer) does not reap it.
        Zombie = "zombie",
        /// It is in uninterruptible sleep (state D), which signals do not interrupt.
        Uninterruptible = "uninterruptible",
    }
}
