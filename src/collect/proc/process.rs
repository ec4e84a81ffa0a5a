//! Reads one process, completely or not at all.
//!
//! Between two system calls, a process can exit, and its PID can be reused. An open
//! `/proc/PID/status` always refers to one process, and is unreadable once the process is gone.
//!
//! pidns reads the status file both first and last. If the last read succeeds, all data belongs to
//! one process.

use std::cell::Cell;
use std::os::fd::{AsFd as _, OwnedFd};

use memchr::memmem;
use rustix::fs::fstat;
use rustix::io::{Errno, Result as SysResult};

use super::details::{DetailReader, PATIENCE};
use super::holders::{self, Held, HolderSearch};
use super::inits;
use super::process_dir::{ProcessDir, read_twice, still_there};
use super::scan::{Scan, SeenInit, searches_holders};
use super::status::described;
use crate::collect::discovery::InitNow;
use crate::collect::kernel::clock;
use crate::collect::kernel::nsfs::{NamespaceFd, open_by_handle, open_namespace};
use crate::collect::kernel::sys::{is_gone, open, read_record};
use crate::collect::kernel::viewer;
use crate::collect::kernel::wait_limit::WaitLimit;
use crate::collect::log::DiagnosticLog;
use crate::collect::parse::{self, Leaders, Status};
use crate::collect::registry::InitHistory;
use crate::model::{DiagnosticCode, NamespaceId, Nspid, Pid, Process};

/// A process and all data that a scan reads about it.
#[derive(Debug)]
pub struct ReadProcess {
    pub process: Process,
    /// The session leader and process group leader of the process; recorded only if its PID
    /// namespace was unreadable.
    pub leaders: Option<Leaders>,
    /// The contents of `/proc/PID/cgroup`, if the process is an init.
    pub cgroup: Option<Vec<u8>>,
    /// State of an init, or `Living` for any other process.
    pub init: InitNow,
    /// The namespaces that the process keeps alive.
    pub held: Held,
    /// Diagnostics for files and links of the process that could not be read.
    pub log: DiagnosticLog,
}

impl ReadProcess {
    fn new(process: Process) -> Self {
        Self {
            process,
            leaders: None,
            cgroup: None,
            init: InitNow::Living,
            held: Held::default(),
            log: DiagnosticLog::default(),
        }
    }

    /// Returns `true` if another mount may cover a file in `/proc/PID`.
    pub fn may_be_covered(&self) -> bool {
        let covered = [Errno::XDEV, Errno::NOENT, Errno::SRCH];
        covered.into_iter().any(|errno| self.log.has(errno) || self.held.log.has(errno))
    }
}

/// Reads processes one after the other.
///
/// Consecutive processes are often of the same kind (kernel threads, or members of nested
/// namespaces). So the kind of the previous process decides which file is read first.
pub struct ProcessReader<'a> {
    scan: Scan<'a>,
    searches_holders: bool,
    may_trace_all: bool,
    buffer: Vec<u8>,
    last_was_nested: bool,
    last_was_kernel_thread: bool,
    /// A counter that starts at [`PATIENCE`].
    ///
    /// The counter decreases by one if a command line is still empty after retries. At zero, this
    /// thread stops retrying.
    patience: Cell<u32>,
}

/// A process whose status file is open.
struct OpenProcess<'a> {
    pid: Pid,
    dir: ProcessDir<'a>,
    status_file: OwnedFd,
    is_final_attempt: bool,
    log: DiagnosticLog,
}

impl OpenProcess<'_> {
    /// Fails with `ESRCH` if the process is gone.
    fn still_there(&self) -> SysResult<()> {
        still_there(&self.status_file)
    }

    /// Fails with `EAGAIN` so that the process is read again later. In the final attempt, succeeds
    /// instead.
    fn retry_later(&self) -> SysResult<()> {
        if self.is_final_attempt { Ok(()) } else { Err(Errno::AGAIN) }
    }

    fn note(&mut self, code: DiagnosticCode, errno: impl Into<Option<Errno>>) {
        self.log.note(code, errno.into(), Some(self.pid));
    }
}

impl<'a> ProcessReader<'a> {
    pub fn new(scan: Scan<'a>) -> Self {
        Self {
            scan,
            searches_holders: searches_holders(scan.search),
            may_trace_all: viewer::may_trace_all(),
            buffer: Vec::with_capacity(4096),
            last_was_nested: false,
            last_was_kernel_thread: false,
            patience: Cell::new(PATIENCE),
        }
    }

    /// Adds cgroups to BPF's data about an init, or returns `None` if the data can't be confirmed.
    pub fn confirm_init(&self, seen: SeenInit) -> Option<ReadProcess> {
        let SeenInit { process, ns_id, mount_namespace } = seen;
        let pid = process.pid;
        let mut dir = ProcessDir::by_path(self.scan.procfs.fd(), pid);
        let mut log = DiagnosticLog::default();
        let cgroup = match read_cgroup(&mut dir, &self.scan.waits.init_cgroups) {
            Ok(cgroup) => cgroup,
            Err(errno) => {
                log.note(DiagnosticCode::CgroupUnreadable, Some(errno), Some(pid));
                None
            }
        };
        // The cgroup was read by path, so the PID may have been reused meanwhile. Check that it
        // still belongs to the init of the same namespace.
        let fd = self.namespace_of_init(&process, ns_id, &mut dir)?;
        self.scan.registry.keep(fd, InitHistory::Existed).ok()?;
        let mount_namespaces = mount_namespace.map(|inode| (inode, pid)).into_iter().collect();
        let held = Held { mount_namespaces, ..Held::default() };
        Some(ReadProcess { cgroup, held, log, ..ReadProcess::new(process) })
    }

    /// Opens the namespace with this ID, if `init` is still its init.
    fn namespace_of_init(
        &self,
        init: &Process,
        ns_id: u64,
        dir: &mut ProcessDir<'_>,
    ) -> Option<NamespaceFd> {
        if self.scan.procfs.own
            && let Some(NamespaceId::Inode(inode)) = init.namespace
            && let Ok(fd) = open_by_handle(ns_id, inode)
        {
            return (fd.tgid_from_pidns(Pid::INIT) == Ok(init.pid)).then_some(fd);
        }
        let (base, name) = dir.file(c"ns/pid");
        open_namespace(base, name).ok().filter(|fd| fd.ns_id() == Ok(ns_id))
    }

    /// Reads one process (see [`Target`](super::scan::Target) for `none_open_since`).
    ///
    /// Fails with `ENOENT` if there is no such process, and with `ESRCH` if the process went away.
    /// Fails with `EXDEV` or `EAGAIN` if the process should be read again.
    pub fn read(
        &mut self,
        pid: Pid,
        none_open_since: Option<u64>,
        is_final_attempt: bool,
    ) -> SysResult<ReadProcess> {
        // The process after a kernel thread is often a kernel thread, too. For a kernel thread,
        // reading one file is enough.
        if self.last_was_kernel_thread
            && let Some(process) = self.read_kernel_thread(pid)
        {
            return Ok(ReadProcess::new(process));
        }
        let procfs = self.scan.procfs.fd();
        // Opening the directory `/proc/PID` saves time only if many files are read.
        let mut dir = if self.searches_holders || !self.scan.details.is_empty() {
            ProcessDir::open(procfs, pid)?
        } else {
            ProcessDir::by_path(procfs, pid)
        };
        let (base, name) = dir.file(c"status");
        let status_file = open(base, name)?;
        let log = DiagnosticLog::default();
        let open = OpenProcess { pid, dir, status_file, is_final_attempt, log };
        // The status file has been opened, so `ENOENT` now means that the process is gone.
        let vanished = |errno| if errno == Errno::NOENT { Errno::SRCH } else { errno };
        self.read_open(open, none_open_since).map_err(vanished)
    }

    /// Reads a process again through a procfs in which no mount covers `/proc/PID` files.
    pub fn read_uncovered(&self, pid: Pid, none_open_since: Option<u64>) -> Option<ReadProcess> {
        let scan = Scan { procfs: self.scan.procfs.uncovered()?, ..self.scan };
        Self::new(scan).read(pid, none_open_since, true).ok()
    }

    /// Reads a process whose status file is open.
    fn read_open(
        &mut self,
        mut open: OpenProcess<'_>,
        none_open_since: Option<u64>,
    ) -> SysResult<ReadProcess> {
        if !self.scan.procfs.own {
            // Fails if root inside a container has mounted something over `ns`.
            open.dir.open_namespaces()?;
        }
        // Use the status text now, because the next read overwrites the buffer.
        let (status, link) = self.read_status_and_link(&mut open)?;
        let (status, namespace, leaders) = self.identify(&mut open, status, link)?;
        // Pin the namespace before slow reads, so that its inode number can't be reused.
        let is_pinned = self.pin(namespace, &mut open)?;
        let is_init = status.nspid.last() == Some(&Pid::INIT);
        let (has_memory, capacity) = (status.has_memory, status.descriptor_capacity);
        let mut process = described(open.pid, status, namespace);
        self.last_was_kernel_thread = process.kernel_thread && self.needs_only_stat();
        if self.searches_holders {
            process.start_time = self.read_start_time(&mut open)?;
        }
        if !self.scan.details.is_empty() {
            let OpenProcess { dir, status_file, log, .. } = &mut open;
            let reader = DetailReader {
                dir: dir.as_fd(),
                status_file,
                patience: &self.patience,
                memory_waits: &self.scan.waits.memory,
                cgroup_waits: &self.scan.waits.cgroups,
            };
            let details = reader.read(self.scan.details, &process, has_memory, log)?;
            process.details = Some(Box::new(details));
        }
        let (mut cgroup, mut init) = (None, InitNow::Living);
        if is_init {
            // Call `read_init` after `pin`, because `read_init` is faster if the namespace is open.
            (cgroup, init) = self.read_init(&process, has_memory, is_pinned, &mut open)?;
        }
        // If the start time differs, the data from BPF belongs to an earlier process with this PID.
        let has_none_open = none_open_since.is_some_and(|start| process.start_time == Some(start));
        // The search for other namespaces takes longest, so it comes last.
        let held = self.search_holders(&process, capacity, has_none_open, &open)?;
        Ok(ReadProcess { process, leaders, cgroup, init, held, log: open.log })
    }

    /// Returns `true` if `/proc/PID/stat` is enough to describe a kernel thread in this scan.
    fn needs_only_stat(&self) -> bool {
        let Scan { procfs, namespace, details, .. } = self.scan;
        self.searches_holders && details.is_empty() && procfs.own && namespace.is_some()
    }

    /// Reads `/proc/PID/stat`, and returns the process if it is a kernel thread.
    fn read_kernel_thread(&mut self, pid: Pid) -> Option<Process> {
        let mut dir = ProcessDir::by_path(self.scan.procfs.fd(), pid);
        let (base, name) = dir.file(c"stat");
        let file = open(base, name).ok()?;
        read_record(&file, &mut self.buffer).ok()?;
        let stat = parse::stat(&self.buffer)?;
        self.last_was_kernel_thread = stat.is_kernel_thread();
        if !self.last_was_kernel_thread || stat.pid != Some(pid) {
            return None;
        }
        Some(Process {
            ppid: stat.ppid,
            namespace: self.scan.namespace,
            nspid: [pid].into_iter().collect(),
            comm: parse::name(stat.comm),
            state: stat.state,
            uid: fstat(&file).ok()?.st_uid,
            threads: stat.threads,
            start_time: Some(clock::start_time(stat.start_time?)?),
            kernel_thread: true,
            ..Process::unread(pid)
        })
    }

    /// Reads the status of a process and its `ns/pid` link. The kernel may deny access to the link.
    fn read_status_and_link(
        &mut self,
        open: &mut OpenProcess<'_>,
    ) -> SysResult<(Status, SysResult<Option<NamespaceId>>)> {
        // For a process in a nested namespace, reading the namespace link first avoids reading the
        // status file twice.
        let early =
            (self.last_was_nested || !self.scan.procfs.own).then(|| open.dir.pid_namespace());
        read_record(&open.status_file, &mut self.buffer)?;
        let status = parse::status(&self.buffer);
        self.last_was_nested = status.nspid.len() > 1;
        // A single PID in NSpid proves that the process is in the PID namespace that the procfs
        // shows.
        if status.nspid.len() == 1 && self.scan.namespace.is_some() {
            return Ok((status, Ok(self.scan.namespace)));
        }
        if let Some(link) = early {
            return Ok((status, link));
        }
        // Read the link, and then read the status again. If the process still exists after the link
        // was read, both belong to this process.
        let link = open.dir.pid_namespace();
        read_record(&open.status_file, &mut self.buffer)?;
        Ok((parse::status(&self.buffer), link))
    }

    /// Checks that the status file belongs to the listed PID, and fills in the PIDs of the process
    /// if the status file does not contain them.
    fn identify(
        &mut self,
        open: &mut OpenProcess<'_>,
        mut status: Status,
        link: SysResult<Option<NamespaceId>>,
    ) -> SysResult<(Status, Option<NamespaceId>, Option<Leaders>)> {
        let pid = open.pid;
        // Root can bind-mount another process's status file over this one.
        let shown = status.nspid.first().copied().or_else(|| parse::status_pid(&self.buffer));
        if shown.is_some_and(|shown| shown != pid) {
            return Err(Errno::XDEV);
        }
        if link.is_err_and(|errno| is_gone(errno) || self.expects_access(status.uid)) {
            open.retry_later()?;
        }
        if status.nspid.is_empty() {
            // If the NSpid line is empty, the process is being reaped.
            if memmem::find(&self.buffer, b"\nNSpid:").is_some() {
                open.retry_later()?;
            }
            status.nspid = nspid_of_member(pid, self.scan.namespace, link);
        }
        if status.nspid.is_empty() {
            open.note(DiagnosticCode::NspidUnavailable, None);
        }
        Ok(match link {
            Ok(namespace) => (status, namespace, None),
            // The process still exists, so the error means that the kernel denies access to the
            // link.
            Err(errno) => {
                open.note(DiagnosticCode::NamespaceUnreadable, errno);
                (status, None, Some(parse::leaders(&self.buffer)))
            }
        })
    }

    /// Returns `true` if pidns may read everything about this user's processes.
    fn expects_access(&self, uid: impl Into<Option<u32>>) -> bool {
        self.may_trace_all || uid.into() == Some(rustix::process::geteuid().as_raw())
    }

    /// Reads the start time of a process, or fails with `ESRCH` if the process is gone.
    fn read_start_time(&mut self, open: &mut OpenProcess<'_>) -> SysResult<Option<u64>> {
        let buffer = &mut self.buffer;
        let stat = read_twice(&open.status_file, || {
            self::open(open.dir.as_fd(), c"stat").and_then(|file| read_record(&file, buffer))
        })?;
        if let Err(errno) = stat {
            open.note(DiagnosticCode::StartTimeUnreadable, errno);
            return Ok(None);
        }
        Ok(clock::start_time_in(&self.buffer))
    }

    /// Opens the namespace of a process and keeps it open. Returns `false` if the namespace can't
    /// be opened.
    fn pin(&self, namespace: Option<NamespaceId>, open: &mut OpenProcess<'_>) -> SysResult<bool> {
        let Some(NamespaceId::Inode(inode)) = namespace else { return Ok(false) };
        if namespace == self.scan.namespace {
            // pidns opened this namespace before the scan and keeps it open.
            return Ok(true);
        }
        let OpenProcess { dir, status_file, .. } = open;
        let (base, name) = dir.file(c"ns/pid");
        // If the process is gone, the kernel can return EACCES, even to root.
        let open_link = || {
            open_namespace(base, name)
                .map_err(|errno| still_there(status_file).err().unwrap_or(errno))
        };
        // The open status file keeps the PID namespace alive, so the link can't have changed.
        match self.scan.registry.pin(inode, InitHistory::Existed, open_link, || true) {
            Ok(()) => Ok(true),
            Err(errno) if is_gone(errno) => Err(errno),
            Err(errno) => {
                open.note(DiagnosticCode::NamespaceUnopened, errno);
                Ok(false)
            }
        }
    }

    /// Reads the cgroups of an init, and determines whether the init is alive.
    fn read_init(
        &self,
        init: &Process,
        has_memory: bool,
        is_pinned: bool,
        open: &mut OpenProcess<'_>,
    ) -> SysResult<(Option<Vec<u8>>, InitNow)> {
        let waits = &self.scan.waits.init_cgroups;
        let cgroup = read_cgroup(&mut open.dir, waits).unwrap_or_else(|errno| {
            open.note(DiagnosticCode::CgroupUnreadable, errno);
            None
        });
        let now = inits::life(self.scan.procfs, init, has_memory);
        // A namespace never gets a second init. So if the `ns/pid` link still points to the pinned
        // namespace, the PID was not reused. If the namespace is not pinned or the link differs,
        // check that the init is still there.
        if !is_pinned || open.dir.pid_namespace() != Ok(init.namespace) {
            open.still_there()?;
        }
        Ok((cgroup, now))
    }

    /// Finds the namespaces that a process keeps alive, except its own.
    fn search_holders(
        &self,
        process: &Process,
        descriptor_capacity: Option<u32>,
        has_none_open: bool,
        open: &OpenProcess<'_>,
    ) -> SysResult<Held> {
        let (scan, dir) = (self.scan, open.dir.as_fd());
        // Kernel threads have no file descriptors and are in the initial namespaces.
        if !self.searches_holders || process.kernel_thread {
            return Ok(Held::default());
        }
        let mut held = holders::search(&HolderSearch {
            scan,
            process,
            dir,
            status_file: &open.status_file,
            descriptor_capacity,
            has_none_open,
            expects_access: self.expects_access(process.uid),
        })?;
        if held.is_unsettled {
            open.retry_later()?;
        }
        // Record these descriptor tables, so that pidns does not search them again for other
        // processes that share them.
        for table in std::mem::take(&mut held.searched_tables) {
            scan.tables.insert(table);
        }
        Ok(held)
    }
}

/// Reads `/proc/PID/cgroup`, or returns `None` if the file does not exist.
pub fn read_cgroup(dir: &mut ProcessDir<'_>, waits: &WaitLimit) -> SysResult<Option<Vec<u8>>> {
    let (base, name) = dir.file(c"cgroup");
    let mut text = Vec::with_capacity(4096);
    match open(base, name).and_then(|file| waits.call(|| read_record(&file, &mut text))) {
        Ok(()) => Ok(Some(text)),
        Err(errno) if is_gone(errno) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Returns the PIDs of a process on kernels without NSpid (before Linux 4.1).
fn nspid_of_member(
    pid: Pid,
    procfs_namespace: Option<NamespaceId>,
    link: SysResult<Option<NamespaceId>>,
) -> Nspid {
    let is_member = procfs_namespace.is_some() && link == Ok(procfs_namespace);
    is_member.then_some(pid).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn without_nspid_only_members_of_the_procfs_namespace_have_known_pids() {
        let pid = Pid::new(7).unwrap();
        let [procfs, other] = [1, 2].map(|inode| Some(NamespaceId::Inode(inode)));
        assert_eq!(nspid_of_member(pid, procfs, Ok(procfs))[..], [pid]);
        for (procfs, link) in [
            (procfs, Ok(other)),
            (procfs, Ok(None)),
            (procfs, Err(Errno::ACCESS)),
            (None, Ok(None)),
            (None, Ok(other)),
        ] {
            assert!(nspid_of_member(pid, procfs, link).is_empty(), "{procfs:?} {link:?}");
        }
    }
}
