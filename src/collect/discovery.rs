//! What any source hands over to be assembled, and what assembling may ask of
//! a source afterwards. Nothing here reads, and nothing here concludes.

use std::collections::{BTreeSet, HashMap, HashSet};

use rustix::io::Result as SysResult;

use super::error::Error;
use super::log::DiagnosticLog;
use super::nsfs::NamespaceFd;
use super::parse::Leaders;
use super::registry::NamespaceRegistry;
use crate::model::{Holder, Host, Pid, Process, Procfs, SearchScope};

/// A way to learn what processes and namespaces there are: by reading /proc,
/// or by asking the kernel in some other way.
pub trait Source {
    /// Reads every process, and searches the places that are asked for.
    /// Every namespace that is met is pinned in the registry, so that its
    /// inode number stays its own until the snapshot is done.
    ///
    /// # Errors
    /// Nothing can be read at all. What is refused in part is noted in the
    /// discovery's log.
    fn discover(
        &self,
        search: &BTreeSet<SearchScope>,
        registry: &NamespaceRegistry,
    ) -> Result<Discovery, Error>;

    /// Whether a process that was discovered is still there, with the same
    /// PIDs in every level.
    fn is_there(&self, process: &Process) -> bool;

    /// The process that has PID 1 in a namespace now.
    ///
    /// # Errors
    /// `ESRCH` where no process has; any other error where that cannot be told.
    fn init_of(&self, namespace: &NamespaceFd) -> SysResult<Pid>;

    /// Whether a namespace ever had an init; `None` where that cannot be told.
    fn had_init(&self, namespace: &NamespaceFd) -> Option<bool>;
}

/// What a source found, as the kernel told it.
#[derive(Debug)]
pub struct Discovery {
    /// The /proc whose PID numbers all of this is in. Its namespace is `None`
    /// where the source was not told which it is.
    pub procfs: Procfs,
    /// Where namespaces were looked for.
    pub searched: BTreeSet<SearchScope>,
    /// The host.
    pub host: Host,
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
    /// Holders of namespaces, each with the inode of the namespace that it
    /// holds; unsorted, and some of them more than once.
    pub holders: Vec<(u64, Holder)>,
    /// What could not be read.
    pub log: DiagnosticLog,
}
