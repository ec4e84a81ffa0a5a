//! Defines the data that a source (/proc or BPF) returns, and how to request more of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rustix::io::Result as SysResult;

use super::holder_list::HolderList;
use super::kernel::nsfs::NamespaceFd;
use super::log::DiagnosticLog;
use super::parse::Leaders;
use crate::model::{Detail, Host, NamespaceId, Nspid, Pid, Process, Procfs, SearchScope};

/// Inode of the initial PID namespace (`PROC_PID_INIT_INO` in the kernel, fixed since Linux 3.8).
pub const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Everything that a source (/proc or BPF) found, as the kernel reported it.
#[derive(Debug)]
pub struct Discovery {
    /// The procfs to which all PIDs in this discovery refer.
    pub procfs: Procfs,
    /// The scopes that were searched for namespaces.
    pub searched: BTreeSet<SearchScope>,
    /// The optional details that were read.
    pub details: BTreeSet<Detail>,
    pub host: Host,
    /// pidns's own PID namespace, if known.
    pub viewer_namespace: Option<NamespaceId>,
    /// `true` if pidns has `CAP_SYS_PTRACE` over every process.
    pub viewer_may_trace_all: bool,
    /// The processes, sorted by PID.
    pub processes: Vec<Process>,
    /// Maps each process in an unknown namespace to its session leader and process group leader.
    pub leaders: HashMap<Pid, Leaders>,
    /// The contents of `/proc/PID/cgroup` of every init, if readable.
    pub cgroups: HashMap<Pid, Vec<u8>>,
    /// Inits whose threads have all exited or are exiting.
    pub terminated: HashSet<Pid>,
    /// Inits that may have terminated.
    pub undecided: HashSet<Pid>,
    /// The holders of all namespaces.
    pub holders: HolderList,
    /// Inodes of namespaces that were found only in kernel memory.
    pub in_kernel: HashSet<u64>,
    /// The diagnostics that the scan has reported so far.
    pub log: DiagnosticLog,
}

/// The questions that `assemble` may ask a source after the source has returned a [`Discovery`].
pub trait FollowUp {
    /// Returns `true` if this process still exists, with the same PIDs at all levels.
    fn is_there(&self, process: &Process) -> bool;

    /// Returns `true` if this process still exists and is a zombie.
    fn is_zombie(&self, process: &Process) -> bool;

    /// Returns the PID of this process's tracer, if the procfs shows a tracer.
    fn tracer(&self, process: &Process) -> Option<Pid>;

    /// Returns a thread that keeps this process from exiting, if there is one.
    fn held_thread(&self, process: &Process) -> Option<HeldThread>;

    /// Returns the threads of this process that are in uninterruptible sleep.
    fn uninterruptible_sleeps(&self, process: &Process) -> Sleeps;

    /// Returns `true` if all living threads of this process are stopped.
    fn is_stopped(&self, process: &Process) -> bool;

    /// Returns `true` if all living threads of this process are in uninterruptible sleep.
    fn is_uninterruptible(&self, process: &Process) -> bool;

    /// Returns `true` if this process is in a frozen cgroup.
    fn is_frozen(&self, process: &Process) -> bool;

    /// Returns `true` if the version 2 cgroup in this `/proc/PID/cgroup` text is frozen.
    fn is_frozen_cgroup(&self, cgroups: &[u8]) -> bool;

    /// Returns the PID of a namespace's init, and fails with `ESRCH` only if there is no init.
    fn init_of(&self, namespace: &NamespaceFd) -> SysResult<Pid>;

    /// Returns `true` if a namespace has ever had an init, or `None` if unknown.
    fn had_init(&self, namespace: &NamespaceFd) -> Option<bool>;

    /// Returns the state of a namespace's init, even if the init started after the scan.
    fn init_now(&self, namespace: &NamespaceFd) -> InitNow;

    /// Lists the inits of all nested PID namespaces. Used if [`Self::init_now`] returns
    /// [`InitNow::Unknown`] for a namespace.
    ///
    /// The list may miss an init that starts or ends during the call.
    fn list_inits(&self) -> SysResult<Vec<ListedInit>>;
}

/// The state of a namespace's init at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitNow {
    /// At least one thread of the init is not exiting.
    Living,
    /// All threads of the init have exited or are exiting.
    Terminated,
    /// No process has PID 1 in the namespace.
    Absent,
    /// The state of the init could not be determined.
    Unknown,
}

/// A thread that keeps its process from exiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldThread {
    /// The thread with this TID is in uninterruptible sleep.
    Uninterruptible(Pid),
    /// The tracer with this PID must reap the thread or let it exit.
    Traced(Pid),
}

/// Maps the TID of each thread in uninterruptible sleep to the thread's number of context switches
/// (`None` if unknown).
///
/// If the number of context switches has not changed, the thread has not woken up.
pub type Sleeps = BTreeMap<Pid, Option<u64>>;

/// An init that [`FollowUp::list_inits`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedInit {
    pub nspid: Nspid,
    /// Inode of the init's PID namespace, if the link `ns/pid` could be read.
    pub namespace: Option<u64>,
    pub now: InitNow,
}
