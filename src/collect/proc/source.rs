//! Uses a mounted procfs as a source of snapshots.

use std::collections::{BTreeSet, HashSet};
use std::ffi::CStr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;

use rustix::io::{Errno, Result as SysResult};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::census::Census;
use super::descriptor_table;
use super::environment;
use super::findings::ScanFindings;
use super::holders::{SearchedTables, released};
use super::inits;
use super::mounts;
use super::observer;
use super::parents;
use super::process::read_cgroup;
use super::process_dir::{ProcessDir, try_twice};
use super::procfs::Procfs;
use super::scan::{Scan, ScanWaits, searches_holders};
use super::status;
use super::waiting::{self, Freezer};
use super::walk;
use crate::collect::discovery::{
    Discovery, FollowUp, HeldThread, INITIAL_PID_NAMESPACE, InitNow, ListedInit, Sleeps,
};
use crate::collect::error::Error;
use crate::collect::kernel::clock;
use crate::collect::kernel::nsfs::NamespaceFd;
use crate::collect::kernel::sys::{READ, is_gone, namespace_link, open_on_device, read_to_end};
use crate::collect::kernel::viewer;
use crate::collect::kernel::wait_limit::WaitLimit;
use crate::collect::registry::NamespaceRegistry;
use crate::model::{
    self, Detail, DiagnosticCode, EnvPattern, Host, MAX_LEVEL, NamespaceId, Observer, Pid, Process,
    SearchScope,
};

/// Maximum number of attempts to find and read the init of a namespace.
const INIT_ATTEMPTS: usize = 3;

/// A mounted procfs as a source of snapshots.
pub struct ProcSource {
    procfs: Procfs,
    /// The procfs at /proc, if it shows pidns's own PID namespace and `procfs` does not.
    own: Option<Procfs>,
    /// Inode of pidns's own PID namespace.
    viewer_namespace: Option<u64>,
    /// The namespace descriptors that pidns has inherited.
    inherited: Vec<u32>,
    /// The search for frozen cgroups, created on first use.
    freezer: OnceLock<Freezer>,
}

impl ProcSource {
    /// Opens the procfs mounted at `path`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self::of(Procfs::open(path)?))
    }

    /// Creates a source from an open procfs.
    pub fn of(procfs: Procfs) -> Self {
        let own = if procfs.own { None } else { Procfs::open(Path::new("/proc")).ok() };
        let own = own.filter(|own| own.own);
        clock::make_exact(|| own.as_ref().unwrap_or(&procfs).open_initial_time_namespace());
        let shows_viewer = own.as_ref().unwrap_or(&procfs);
        walk::grow_descriptor_table(procfs.fd());
        let namespace = namespace_link(shows_viewer.fd(), c"self/ns/pid", "pid");
        let inherited = descriptor_table::inherited(&procfs);
        let viewer_namespace = namespace.ok().flatten();
        Self { viewer_namespace, procfs, own, inherited, freezer: OnceLock::new() }
    }

    /// Returns a second handle for the procfs.
    pub fn procfs(&self) -> Result<Procfs, Error> {
        self.procfs.try_clone()
    }

    /// Returns `true` if the procfs belongs to pidns's own PID namespace.
    pub fn is_own(&self) -> bool {
        self.procfs.own
    }

    /// Returns the contents of `/proc/PID/cgroup`, or fails with `EBUSY` after the time limit.
    pub fn cgroups(&self, process: &Process, waits: &WaitLimit) -> SysResult<Option<Vec<u8>>> {
        let cgroups = read_cgroup(&mut self.process_dir(process.pid)?, waits)?;
        Ok(cgroups.filter(|_| self.is_there(process)))
    }

    /// Returns the PID of pidns itself, if the procfs shows it.
    pub fn viewer(&self) -> Option<Pid> {
        self.procfs.viewer
    }

    /// For each process, records which patterns its environment matches.
    pub fn match_environments(&self, patterns: &BTreeSet<EnvPattern>, found: &mut Discovery) {
        let Discovery { processes, log, .. } = found;
        environment::match_environments(&self.procfs, processes, patterns, log);
    }

    /// Finds pidns itself among the processes of a scan, which are sorted by PID.
    pub fn observer(&self, processes: &[Process]) -> Option<Observer> {
        observer::observer(&self.procfs, processes)
    }

    /// Returns the inode of pidns's PID namespace, if known.
    pub fn viewer_namespace(&self) -> Option<u64> {
        self.viewer_namespace
    }

    /// Prepares to count processes with [`count`](Self::count).
    pub fn census(&self) -> Census {
        Census::new(&self.procfs)
    }

    /// Returns an upper bound for the number of processes. Does not need a [`Census`].
    pub fn count_at_most(&self) -> Option<u64> {
        Census::at_most(&self.procfs)
    }

    /// Returns the number of processes on the host.
    pub fn count(&self, census: &Census) -> Option<u64> {
        census.count(&self.procfs)
    }

    /// Compares `seen` with pidns's own process, and fails with the first field that differs.
    pub fn is_viewer(&self, seen: &Process) -> Result<(), &'static str> {
        let mut shown = status::read_now(&self.procfs, seen.pid).map_err(|_| "PID")?;
        shown.namespace = self.viewer_namespace.map(NamespaceId::Inode);
        let is_same = [
            ("PID", shown.nspid == seen.nspid),
            ("parent", shown.ppid == seen.ppid),
            ("namespace", shown.namespace == seen.namespace),
            ("name", shown.comm == seen.comm),
            ("user", shown.uid == seen.uid),
            ("number of threads", shown.threads == seen.threads),
            // In some time namespaces, /proc does not show the start time, but BPF does.
            ("start time", shown.start_time.is_none_or(|it| Some(it) == seen.start_time)),
        ];
        is_same.iter().find(|(_, is_same)| !is_same).map_or(Ok(()), |(what, _)| Err(what))
    }

    /// Returns the procfs that shows pidns's own PID namespace, if there is one.
    fn own(&self) -> Option<&Procfs> {
        if self.procfs.own { Some(&self.procfs) } else { self.own.as_ref() }
    }

    /// Returns `true` if `namespace` is pidns's own PID namespace or one of its descendants.
    fn is_within_viewers(&self, namespace: &NamespaceFd) -> bool {
        let Some(own) = self.viewer_namespace else { return false };
        if own == INITIAL_PID_NAMESPACE || own == namespace.inode() {
            return true;
        }
        let ancestors = std::iter::successors(namespace.parent().ok(), |it| it.parent().ok());
        ancestors.take(MAX_LEVEL).any(|ancestor| ancestor.inode() == own)
    }

    /// Returns `true` if the descriptor `fd` of a thread refers to the file with this inode.
    pub fn has_open(&self, pid: Pid, tid: Pid, fd: u32, file: u64) -> bool {
        let has_open = || released::has_file_open(&self.procfs, pid, tid, fd, file);
        try_twice(has_open).unwrap_or(false)
    }

    /// Returns `true` if the process is running a pidns scan.
    pub fn is_scanner(&self, pid: Pid) -> bool {
        let is_scanning = |dir: ProcessDir<'_>| descriptor_table::is_scanning(dir.as_fd());
        self.viewer() == Some(pid) || self.process_dir(pid).is_ok_and(is_scanning)
    }

    /// Returns `true` if `execve(2)` closes the descriptor `fd` of a process.
    pub fn is_close_on_exec(&self, pid: Pid, fd: u32) -> bool {
        let dir = self.process_dir(pid);
        dir.is_ok_and(|dir| descriptor_table::is_close_on_exec(dir.as_fd(), fd))
    }

    fn process_dir(&self, pid: Pid) -> SysResult<ProcessDir<'_>> {
        ProcessDir::open(self.procfs.fd(), pid)
    }

    /// Returns `true` if a thread creates its children in the PID namespace with this inode.
    pub fn has_for_children(&self, pid: Pid, tid: Pid, inode: u64) -> bool {
        let has = || released::has_for_children(&self.procfs, inode, pid, tid);
        try_twice(has).unwrap_or(false)
    }

    fn host(&self) -> Host {
        let uname = rustix::system::uname();
        let text = |name: &CStr| Some(name.to_string_lossy().into_owned());
        let mut buffer = Vec::new();
        // In containers, /proc/sys is often a separate mount, which `open` refuses to enter.
        let boot_id = open_on_device(self.procfs.fd(), c"sys/kernel/random/boot_id", READ)
            .and_then(|file| read_to_end(&file, &mut buffer, 4096))
            .ok()
            .map(|()| String::from_utf8_lossy(&buffer).trim_end().to_owned());
        Host { hostname: text(uname.nodename()), kernel_release: text(uname.release()), boot_id }
    }

    /// Returns the error for a procfs whose processes can't be listed.
    pub fn unlisted(&self, errno: Errno) -> Error {
        Error::read(&self.procfs.path, errno)
    }

    /// Reads every process, and searches the scopes in `search` for more namespaces.
    pub fn discover(
        &self,
        search: &BTreeSet<SearchScope>,
        details: &BTreeSet<Detail>,
        registry: &NamespaceRegistry,
    ) -> Result<Discovery, Error> {
        self.discover_by(search, details, registry, |scan| {
            walk::walk(scan).map_err(|errno| self.unlisted(errno))
        })
    }

    /// Reads the processes with `walk`, and then the rest of the [`Discovery`].
    pub fn discover_by(
        &self,
        search: &BTreeSet<SearchScope>,
        details: &BTreeSet<Detail>,
        registry: &NamespaceRegistry,
        walk: impl FnOnce(Scan<'_>) -> Result<ScanFindings, Error>,
    ) -> Result<Discovery, Error> {
        let procfs = &self.procfs;
        let namespace = procfs.pin_own_namespace(registry);
        let tables = SearchedTables::default();
        let waits = ScanWaits::new();
        let scan = Scan {
            procfs,
            namespace,
            search,
            details,
            inherited: &self.inherited,
            registry,
            waits: &waits,
            tables: &tables,
        };
        let mut found = walk(scan)?;
        if let Some(errno) = found.log.unreadable().filter(|_| found.processes.is_empty()) {
            return Err(self.unlisted(errno));
        }
        parents::find_missing(scan, &mut found);
        tables.add_holders(std::mem::take(&mut found.sharers), &mut found.holders);
        if searches_holders(search) && !clock::shows_all_start_times() {
            note_unknown_start_times(&mut found);
        }
        // Search the mounts last, because most mount namespaces are known once the processes have
        // been searched.
        if search.contains(&SearchScope::Mounts) {
            mounts::search(procfs, namespace, registry, &mut found);
        }
        released::leave_out_released(procfs, search, &found.processes, &mut found.holders);
        procfs.note_hidden(&mut found.log);
        Ok(Discovery {
            procfs: model::Procfs {
                path: procfs.path.to_string_lossy().into_owned(),
                own: procfs.own,
                namespace,
            },
            searched: search.clone(),
            details: details.clone(),
            host: self.host(),
            viewer_namespace: self.viewer_namespace.map(NamespaceId::Inode),
            viewer_may_trace_all: viewer::may_trace_all(),
            processes: found.processes,
            leaders: found.leaders,
            cgroups: found.cgroups,
            terminated: found.terminated,
            undecided: found.undecided,
            holders: found.holders,
            in_kernel: HashSet::new(),
            log: found.log,
        })
    }
}

/// Reports the processes whose start time could not be converted to the initial time namespace.
fn note_unknown_start_times(found: &mut ScanFindings) {
    let unknown = found.processes.iter().filter(|it| it.start_time.is_none()).map(|it| it.pid);
    let unknown: Vec<Pid> = unknown.collect();
    if !unknown.is_empty() {
        let message = "cannot tell exactly when processes started, because the boot-time clock of \
                       this time namespace is shifted by a fraction of a clock tick or is behind; \
                       run pidns in the initial time namespace";
        found.log.note_as(DiagnosticCode::StartTimeUnreadable, message.to_owned(), unknown);
    }
}

impl FollowUp for ProcSource {
    fn is_there(&self, process: &Process) -> bool {
        status::is_there(&self.procfs, process)
    }

    fn is_zombie(&self, process: &Process) -> bool {
        status::is_zombie(&self.procfs, process)
    }

    fn tracer(&self, process: &Process) -> Option<Pid> {
        waiting::tracer(&self.procfs, process)
    }

    fn held_thread(&self, process: &Process) -> Option<HeldThread> {
        waiting::held_thread(&self.procfs, process)
    }

    fn uninterruptible_sleeps(&self, process: &Process) -> Sleeps {
        waiting::uninterruptible_sleeps(&self.procfs, process)
    }

    fn is_uninterruptible(&self, process: &Process) -> bool {
        waiting::sleep(&self.procfs, process).is_some()
    }

    fn is_stopped(&self, process: &Process) -> bool {
        waiting::stopped_by(&self.procfs, process).is_some()
    }

    fn is_frozen(&self, process: &Process) -> bool {
        let freezer = self.freezer.get_or_init(Freezer::of_viewer);
        !freezer.frozen_cgroups(&self.procfs, process).is_empty()
    }

    fn is_frozen_cgroup(&self, cgroups: &[u8]) -> bool {
        self.freezer.get_or_init(Freezer::of_viewer).is_frozen_cgroup(cgroups)
    }

    fn init_of(&self, namespace: &NamespaceFd) -> SysResult<Pid> {
        // The kernel returns the PID as seen in pidns's own namespace, so `procfs` must show that
        // namespace.
        if self.procfs.own { namespace.tgid_from_pidns(Pid::INIT) } else { Err(Errno::NOTTY) }
    }

    /// Returns `true` if the namespace has ever had an init, or `None` if unknown.
    fn had_init(&self, namespace: &NamespaceFd) -> Option<bool> {
        // The temporary thread below reads `thread-self/ns/pid_for_children`, so it needs a procfs
        // in which pidns is visible.
        let procfs = self.own.as_ref().unwrap_or(&self.procfs);
        procfs.viewer?;
        let enter_and_read = || {
            let kind = Some(LinkNameSpaceType::ProcessID);
            move_into_link_name_space(namespace.as_fd(), kind).ok()?;
            // The kernel shows this link if the namespace has had an init.
            let link = c"thread-self/ns/pid_for_children";
            match namespace_link(procfs.fd(), link, "pid") {
                Ok(shown) => shown.map(|inode| inode == namespace.inode()),
                Err(Errno::NOENT) => Some(false),
                Err(_) => None,
            }
        };
        // Entering a namespace affects the calling thread, so use a temporary thread.
        thread::scope(|scope| {
            let entered = thread::Builder::new().spawn_scoped(scope, enter_and_read).ok()?;
            entered.join().ok().flatten()
        })
    }

    fn init_now(&self, namespace: &NamespaceFd) -> InitNow {
        if self.viewer_namespace == Some(namespace.inode()) {
            // The kernel kills all members of a namespace when its init dies. pidns is alive in
            // this namespace, so its init is too.
            return InitNow::Living;
        }
        let Some(own) = self.own() else { return InitNow::Unknown };
        // If the init exits after the kernel returned its PID, ask the kernel again.
        for _ in 0..INIT_ATTEMPTS {
            let init = match namespace.tgid_from_pidns(Pid::INIT) {
                Ok(init) => init,
                Err(Errno::SRCH) if self.is_within_viewers(namespace) => return InitNow::Absent,
                Err(_) => return InitNow::Unknown,
            };
            // If the init still has this PID, the open `/proc/PID` belongs to the init.
            let is_init = || namespace.tgid_from_pidns(Pid::INIT) == Ok(init);
            match inits::life_of_pid(own, init, is_init) {
                Ok(now) => return now,
                Err(errno) if is_gone(errno) => {}
                Err(_) => return InitNow::Unknown,
            }
        }
        InitNow::Unknown
    }

    fn list_inits(&self) -> SysResult<Vec<ListedInit>> {
        inits::list(&self.procfs)
    }
}
