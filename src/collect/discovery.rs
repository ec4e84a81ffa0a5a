//! What any source hands over to be assembled, and what assembling may ask of
//! a source afterwards. Nothing here reads, and nothing here concludes.

use std::collections::{BTreeSet, HashMap, HashSet};

use rustix::io::Result as SysResult;

use super::error::Error;
use super::kernel::nsfs::NamespaceFd;
use super::log::DiagnosticLog;
use super::parse::Leaders;
use super::registry::NamespaceRegistry;
use crate::model::{Detail, Holder, Host, NamespaceId, Nspid, Pid, Process, Procfs, SearchScope};

/// Inode of the initial PID namespace (`PROC_PID_INIT_INO` of the kernel,
/// fixed since Linux 3.8), in which every process has a number.
pub const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// A way to learn what processes and namespaces there are: by reading /proc,
/// or by asking the kernel in some other way.
pub trait Source {
    /// Reads every process with the details that are asked for, and searches
    /// the places that are asked for.
    /// Every namespace that is met is pinned in the registry, so that its
    /// inode number stays its own until the snapshot is done.
    ///
    /// # Errors
    /// Nothing can be read at all. What is refused in part is noted in the
    /// discovery's log.
    fn discover(
        &self,
        search: &BTreeSet<SearchScope>,
        details: &BTreeSet<Detail>,
        registry: &NamespaceRegistry,
    ) -> Result<Discovery, Error>;

    /// Whether a process that was discovered is still there, with the same
    /// PIDs in every level.
    fn is_there(&self, process: &Process) -> bool;

    /// Whether a process that was discovered is there and a zombie.
    fn is_zombie(&self, process: &Process) -> bool;

    /// The process that has PID 1 in a namespace now.
    ///
    /// # Errors
    /// `ESRCH` where no process has; any other error where that cannot be told.
    fn init_of(&self, namespace: &NamespaceFd) -> SysResult<Pid>;

    /// Whether a namespace ever had an init; `None` where that cannot be told.
    fn had_init(&self, namespace: &NamespaceFd) -> Option<bool>;

    /// What there is of a namespace's init at this moment, as the kernel says
    /// when it is asked for PID 1 of that namespace.
    fn init_now(&self, namespace: &NamespaceFd) -> InitNow;

    /// Looks for inits once more, where the kernel cannot be asked for them:
    /// every process that has PID 1 in a namespace below that of /proc. One
    /// that was there before the call and is still there after it is listed.
    ///
    /// # Errors
    /// A process could not be read, so that one may be missing.
    fn list_inits(&self) -> SysResult<Vec<ListedInit>>;
}

/// What there is of a namespace's init at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitNow {
    /// It lives: one of its threads is not exiting.
    Living,
    /// All of its threads have exited or are exiting. It is a zombie, or it
    /// waits for the other processes of its namespace to be reaped.
    Terminated,
    /// No process has PID 1 in that namespace.
    Absent,
    /// It cannot be told.
    Unknown,
}

/// An init, as [`Source::list_inits`] finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedInit {
    /// Its PIDs in every level.
    pub nspid: Nspid,
    /// Inode of its namespace, unless the link to that may not be read.
    pub namespace: Option<u64>,
    /// Whether it lives.
    pub now: InitNow,
}

/// What a source found, as the kernel told it.
#[derive(Debug)]
pub struct Discovery {
    /// The /proc whose PID numbers all of this is in. Its namespace is `None`
    /// where the source was not told which it is.
    pub procfs: Procfs,
    /// Where namespaces were looked for.
    pub searched: BTreeSet<SearchScope>,
    /// What was read of processes beside what always is.
    pub details: BTreeSet<Detail>,
    /// The host.
    pub host: Host,
    /// The viewer's own namespace, where that could be read.
    pub viewer_namespace: Option<NamespaceId>,
    /// Whether the viewer has `CAP_SYS_PTRACE` over every process, so that
    /// more privilege would show no more.
    pub viewer_may_trace_all: bool,
    /// The processes, by PID; `namespace` is `None` where its link may not be read.
    pub processes: Vec<Process>,
    /// Leaders of the session and process group of every process whose
    /// namespace link may not be read.
    pub leaders: HashMap<Pid, Leaders>,
    /// `/proc/PID/cgroup` of every init that it could be read of.
    pub cgroups: HashMap<Pid, Vec<u8>>,
    /// Inits that have terminated: all of their threads have exited or are exiting.
    pub terminated: HashSet<Pid>,
    /// Inits of which it could not be told whether they have terminated.
    pub undecided: HashSet<Pid>,
    /// Holders of namespaces, each with the inode of the namespace that it
    /// holds; unsorted, and some of them more than once.
    pub holders: Vec<(u64, Holder)>,
    /// Namespaces that are in the kernel's memory, though nothing that was
    /// discovered leads to them, by inode.
    pub in_kernel: HashSet<u64>,
    /// What could not be read.
    pub log: DiagnosticLog,
}
