//! Reads the facts that decide which limits apply to each process of a snapshot.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd as _;

use rustix::fs::fstat;
use rustix::io::{Errno, Result as SysResult};

use super::cgroups::{LimitingCgroup, PidsController};
use crate::collect::bpf::memory::limits::KernelCounters;
use crate::collect::bpf::unavailable::BpfUnavailable;
use crate::collect::discovery::INITIAL_PID_NAMESPACE;
use crate::collect::kernel::sys::{
    READ, is_gone, namespace_link, open_on_device, own_namespace, read, read_to_end,
};
use crate::collect::kernel::viewer;
use crate::collect::kernel::wait_limit::WaitLimit;
use crate::collect::log::DiagnosticLog;
use crate::collect::parse::{self, LimitMax};
use crate::collect::proc::process_dir::ProcessDir;
use crate::collect::proc::procfs::Procfs;
use crate::model::{
    Collector, DiagnosticCode, Holder, INITIAL_USER_NAMESPACE, Lineage, NamespaceId,
    NamespaceState, Pid, Process, SearchScope, Snapshot,
};

/// The bits of `CAP_SYS_ADMIN` and `CAP_SYS_RESOURCE`.
///
/// A process that has either capability in the initial user namespace is exempt from
/// `RLIMIT_NPROC`.
const EXEMPT: u64 = 1 << 21 | 1 << 24;

/// UID that the kernel shows for an unmapped user (`DEFAULT_OVERFLOWUID`).
const OVERFLOW_UID: u32 = 65534;

/// Part of the diagnostic about cgroups that were not read within the time limit.
const TOO_SLOW: &str = "that take too long to read, because they are nested deeply,";

/// A process that can fork, with the facts that decide which limits apply to it.
pub struct LimitedProcess<'a> {
    pub process: &'a Process,
    /// The PID namespace in which children of the process would start, if known.
    pub children_start_in: Option<NamespaceId>,
    /// Inode of the process's user namespace.
    pub user_namespace: SysResult<Option<u64>>,
    /// Soft limit `RLIMIT_NPROC`, if it is known and applies to the process.
    pub max_processes: Option<LimitMax>,
    /// `true` if `RLIMIT_NPROC` does not apply to the process.
    pub is_exempt: bool,
    /// `true` if the real and the effective UID differ.
    pub is_setuid: bool,
}

/// The processes of a host, and the counters that the kernel compares with the limits.
pub struct LimitedHost<'a> {
    pub snapshot: &'a Snapshot,
    pub lineage: Lineage,
    /// The state of each namespace.
    pub states: HashMap<NamespaceId, NamespaceState>,
    /// The processes whose limits are read.
    pub processes: Vec<LimitedProcess<'a>>,
    /// Maps each process to the index of the innermost cgroup that limits it.
    pub cgroups: HashMap<Pid, usize>,
    pub controller: PidsController,
    /// The kernel's own counters, or the reason why they can't be read.
    pub kernel: Result<KernelCounters, BpfUnavailable>,
    /// Maps each process that may count towards `RLIMIT_NPROC` to the inode of its user namespace.
    /// Empty if the kernel's own task counts are available.
    pub user_namespaces: HashMap<Pid, u64>,
    /// Inode of pidns's own user namespace.
    pub own_user_namespace: Option<u64>,
    /// The processes that ended before their limits were read.
    pub ended: Vec<Pid>,
    /// UID of the host's root user in pidns's user namespace, or [`OVERFLOW_UID`] if unmapped.
    host_root: u32,
    procfs: Procfs,
    log: DiagnosticLog,
}

impl<'a> LimitedHost<'a> {
    /// Reads the processes in `pids`, or all processes if `pids` is `None`.
    pub fn read(
        procfs: Procfs,
        collector: Collector,
        snapshot: &'a Snapshot,
        pids: Option<&BTreeSet<Pid>>,
    ) -> Self {
        let kernel = match collector {
            Collector::Proc => Err(BpfUnavailable::NotRequested),
            _ if !procfs.own => Err(BpfUnavailable::OtherProcfs),
            Collector::Auto if viewer::has_seccomp_filter() => Err(BpfUnavailable::SeccompFilter),
            _ => KernelCounters::read(),
        };
        let own_user_namespace = own_namespace(c"self/ns/user", "user").ok().flatten();
        let mut this = Self {
            snapshot,
            lineage: Lineage::new(&snapshot.namespaces),
            states: snapshot.namespaces.iter().map(|it| (it.id, it.state)).collect(),
            processes: Vec::new(),
            cgroups: HashMap::new(),
            kernel,
            user_namespaces: HashMap::new(),
            own_user_namespace,
            ended: Vec::new(),
            // The host's root user owns the root directory of every procfs.
            host_root: fstat(procfs.fd()).map_or(OVERFLOW_UID, |it| it.st_uid),
            controller: PidsController::of_viewer(),
            procfs,
            log: DiagnosticLog::default(),
        };
        this.read_processes(pids);
        this.read_user_namespaces();
        this
    }

    /// Returns the diagnostics, and the processes that ended before their limits were read.
    pub fn into_log(self) -> (DiagnosticLog, Vec<Pid>) {
        (self.log, self.ended)
    }

    /// Reads a sysctl with a single number.
    pub fn sysctl(&self, name: &CStr) -> Result<u64, String> {
        let text = self.file(name).map_err(|errno| self.cannot_read(name, errno))?;
        parse::counter(&text).ok_or_else(|| self.cannot_read(name, Errno::INVAL))
    }

    pub fn cannot_read(&self, name: &CStr, errno: Errno) -> String {
        format!("cannot read {}: {}", self.path(name), io::Error::from(errno))
    }

    /// Returns the path of the file `name` in the procfs.
    pub fn path(&self, name: &CStr) -> String {
        format!("{}/{}", self.snapshot.procfs.path, name.to_string_lossy())
    }

    /// Reads a sysctl or another file of the host.
    pub fn file(&self, name: &CStr) -> SysResult<Vec<u8>> {
        let mut text = Vec::new();
        let file = open_on_device(self.procfs.fd(), name, READ)?;
        read_to_end(&file, &mut text, 4096)?;
        Ok(text)
    }

    /// Returns pidns's own PID namespace if the procfs shows it, else `None`.
    pub fn own_pid_namespace(&self) -> Option<NamespaceId> {
        self.snapshot.procfs.namespace.filter(|_| self.procfs.own)
    }

    /// Returns messages about limits that pidns did not read.
    ///
    /// The PID namespace or cgroup of such a limit is not visible, or is too many levels above the
    /// limited process.
    pub fn hidden_above(&self) -> impl Iterator<Item = &'static str> {
        let initial = Some(NamespaceId::Inode(INITIAL_PID_NAMESPACE));
        let hidden = [
            (
                self.snapshot.procfs.namespace != initial,
                "limits of PID namespaces above the topmost visible one are unknown",
            ),
            (
                self.controller.hides_ancestors(),
                "limits of cgroups above the topmost visible one are unknown",
            ),
            (
                self.processes.iter().any(|it| {
                    self.controller.is_truncated(self.cgroups.get(&it.process.pid).copied())
                }),
                "limits of cgroups more than 64 levels above a process are unknown",
            ),
        ];
        hidden.into_iter().filter_map(|(is_hidden, message)| is_hidden.then_some(message))
    }

    fn read_processes(&mut self, pids: Option<&BTreeSet<Pid>>) {
        let children_start_in = namespaces_for_children(self.snapshot);
        let mut without_cgroups: BTreeMap<_, Vec<Pid>> = BTreeMap::new();
        // Other processes must not use up the time limit of the requested processes.
        let (wanted_waits, other_waits) = (WaitLimit::of_cgroups(), WaitLimit::of_cgroups());
        let snapshot = self.snapshot;
        for process in snapshot.processes.iter().filter(|it| !it.kernel_thread) {
            let pid = process.pid;
            let is_wanted = pids.is_none_or(|pids| pids.contains(&pid)) && !process.is_unreaped();
            let dir = match ProcessDir::open(self.procfs.fd(), pid) {
                Ok(dir) => dir,
                Err(errno) if is_wanted => {
                    note_unread(pid, errno, &mut self.log, &mut self.ended);
                    continue;
                }
                Err(_) => continue,
            };
            let waits = if is_wanted { &wanted_waits } else { &other_waits };
            let cgroup = limiting_cgroup(&mut self.controller, process, &dir, waits);
            if let Ok(Some(index)) = cgroup {
                self.cgroups.insert(pid, index);
            }
            // Even a process that the user did not ask about can have tasks that count towards a
            // limit in the output. So report every process whose cgroup took too long to read.
            if let Err(why) = cgroup
                && (is_wanted || why == TOO_SLOW)
            {
                without_cgroups.entry(why).or_default().push(pid);
            }
            if is_wanted {
                let for_children = match children_start_in.get(&pid) {
                    Some(&id) => Ok(id),
                    None => self.namespace_for_children(process, &dir),
                };
                match self.limited(process, &dir, for_children.ok()) {
                    Ok(limited) => {
                        self.processes.push(limited);
                        if let Err(errno) = for_children
                            && errno != Errno::SRCH
                        {
                            self.log.note(DiagnosticCode::LimitsUnknown, Some(errno), Some(pid));
                        }
                    }
                    Err(errno) => {
                        for pids in without_cgroups.values_mut().filter(|_| is_gone(errno)) {
                            pids.retain(|&it| it != pid);
                        }
                        note_unread(pid, errno, &mut self.log, &mut self.ended);
                    }
                }
            }
        }
        for (why, pids) in without_cgroups.into_iter().filter(|(_, pids)| !pids.is_empty()) {
            let message = format!("the limits of cgroups {why} are unknown");
            self.log.note_as(DiagnosticCode::LimitsUnknown, message, pids);
        }
    }

    /// Finds the PID namespace in which a process creates its children.
    ///
    /// Call this method only for processes that are missing from the result of
    /// [`namespaces_for_children`].
    fn namespace_for_children(
        &self,
        process: &Process,
        dir: &ProcessDir<'_>,
    ) -> SysResult<NamespaceId> {
        let has_all_holders =
            self.snapshot.complete && self.snapshot.searched.contains(&SearchScope::Children);
        // A complete scan has found every `pid_for_children` link to another namespace. Without
        // such a link, the process creates its children in its own namespace.
        if let Some(own) = process.namespace.filter(|_| has_all_holders) {
            return Ok(own);
        }
        let inode = namespace_link(dir.as_fd(), c"ns/pid_for_children", "pid")?;
        let id = inode.map(NamespaceId::Inode);
        id.filter(|id| self.states.contains_key(id)).ok_or(Errno::NOENT)
    }

    /// Reads a [`LimitedProcess`], or fails with `ESRCH` if the process has ended.
    fn limited(
        &self,
        process: &'a Process,
        dir: &ProcessDir<'_>,
        children_start_in: Option<NamespaceId>,
    ) -> SysResult<LimitedProcess<'a>> {
        let mut text = Vec::new();
        read(dir.as_fd(), c"status", &mut text)?;
        let status = parse::status(&text);
        let is_alive =
            !matches!(status.state, 'Z' | 'X') || status.threads.is_some_and(|it| it.get() > 1);
        if !is_alive || status.nspid != process.nspid {
            return Err(Errno::SRCH);
        }
        let user_namespace = namespace_link(dir.as_fd(), c"ns/user", "user");
        let is_initial = user_namespace == Ok(Some(INITIAL_USER_NAMESPACE));
        let has =
            |capabilities| parse::capabilities(&text).is_some_and(|it| it & capabilities != 0);
        let may_be_root = process.uid == self.host_root;
        // The overflow UID can mean the host's root user or another unmapped user.
        let is_root = may_be_root && self.host_root != OVERFLOW_UID;
        // The kernel exempts the host's root user from `RLIMIT_NPROC`.
        let is_exempt = is_root || (is_initial && has(EXEMPT));
        let is_setuid = parse::is_setuid(&text);
        let mut max_processes = None;
        if !is_exempt && !may_be_root && read(dir.as_fd(), c"limits", &mut text).is_ok() {
            max_processes = parse::max_processes(&text).map(|(soft, _)| soft);
        }
        Ok(LimitedProcess {
            process,
            children_start_in,
            user_namespace,
            max_processes,
            is_exempt,
            is_setuid,
        })
    }

    /// Reads the user namespaces of all processes that may count towards `RLIMIT_NPROC`.
    fn read_user_namespaces(&mut self) {
        // If the kernel's own task counts are available, there is no need to read the user
        // namespaces in order to count tasks.
        if self.kernel.as_ref().is_ok_and(|kernel| !kernel.users.is_empty()) {
            return;
        }
        let limited = self.processes.iter().filter(|it| !it.is_exempt);
        let users: HashSet<u32> = limited.map(|it| it.process.uid).collect();
        for process in self.snapshot.processes.iter().filter(|it| users.contains(&it.uid)) {
            let mut dir = ProcessDir::by_path(self.procfs.fd(), process.pid);
            let (base, name) = dir.file(c"ns/user");
            if let Ok(Some(inode)) = namespace_link(base, name, "user") {
                self.user_namespaces.insert(process.pid, inode);
            }
        }
    }
}

/// Returns the index of the cgroup that limits a process, or the reason why it is unknown.
fn limiting_cgroup(
    controller: &mut PidsController,
    process: &Process,
    dir: &ProcessDir<'_>,
    waits: &WaitLimit,
) -> Result<Option<usize>, &'static str> {
    let mut text = Vec::new();
    let read = waits.call(|| read(dir.as_fd(), c"cgroup", &mut text));
    if read == Err(Errno::BUSY) {
        return Err(TOO_SLOW);
    }
    // For a zombie, /proc shows the root cgroup in place of its version 1 cgroup.
    let is_hidden = process.is_zombie() && parse::cgroup_path(&text, "pids").is_some();
    let cgroups = read.ok().filter(|()| !is_hidden);
    match cgroups.map_or(LimitingCgroup::Hidden, |()| controller.cgroup_of(&text)) {
        LimitingCgroup::Index(index) => Ok(Some(index)),
        LimitingCgroup::None => Ok(None),
        LimitingCgroup::Hidden => Err("that are not mounted here"),
    }
}

/// Records that a process has ended, or that it could not be read.
fn note_unread(pid: Pid, errno: Errno, log: &mut DiagnosticLog, ended: &mut Vec<Pid>) {
    if is_gone(errno) {
        ended.push(pid);
    } else {
        log.note(DiagnosticCode::LimitsUnknown, Some(errno), Some(pid));
    }
}

/// Finds the processes whose children start in another PID namespace (`pid_for_children`).
fn namespaces_for_children(snapshot: &Snapshot) -> HashMap<Pid, NamespaceId> {
    let of = |id: NamespaceId, holder: &Holder| match holder {
        Holder::PidForChildren { pid, tid, .. } if pid == tid => Some((*pid, id)),
        _ => None,
    };
    let namespaces = snapshot.namespaces.iter();
    namespaces
        .flat_map(|it| it.holders.iter().filter_map(move |holder| of(it.id, holder)))
        .collect()
}
