//! One process, read wholly or not at all.
//!
//! A process may vanish, and its PID be given to another, between any two
//! system calls. Two things keep together what is read: a descriptor of
//! `/proc/PID/status` or of `/proc/PID` is bound to the process that it was
//! opened for, and answers `ESRCH` or `ENOENT` once that is gone. So whatever
//! is read by path between opening such a descriptor and reading from it
//! belongs to that process, provided that the read succeeds. How often one is
//! looked at is not decided here.

use std::os::fd::{AsFd as _, OwnedFd};

use memchr::memmem;
use rustix::fs::fstat;
use rustix::io::{Errno, Result as SysResult};

use super::details::{DetailReader, read_again};
use super::holders::HolderSearch;
use super::inits;
use super::process_dir::{ProcessDir, still_there};
use super::scan::{Scan, SeenInit};
use super::status::described;
use super::worker::Worker;
use crate::collect::discovery::InitNow;
use crate::collect::kernel::nsfs::{NamespaceFd, open_by_handle, open_namespace};
use crate::collect::kernel::sys::{is_gone, namespace_link, open, read_record};
use crate::collect::log::DiagnosticLog;
use crate::collect::parse::{self, Status};
use crate::collect::registry::InitHistory;
use crate::model::{DiagnosticCode, NamespaceId, Nspid, Pid, Process, SearchScope};

impl Worker<'_> {
    /// Takes an init as it was seen, if its PID is still that of the same
    /// namespace's init: then it is the same process, and has been all the while.
    /// `false` where it is to be read.
    pub fn confirm(&mut self, seen: SeenInit) -> bool {
        let SeenInit { process, ns_id, mount_namespace } = seen;
        let mut dir = ProcessDir::by_path(self.scan.procfs.fd(), process.pid);
        let cgroup = self.cgroup(process.pid, &mut dir);
        let fd = self.namespace_of_init(&process, ns_id, &mut dir);
        let kept = fd.and_then(|fd| self.scan.registry.keep(fd, InitHistory::Existed).ok());
        if kept.is_none() {
            // What was noted may be of another process.
            self.found.pending = DiagnosticLog::default();
            return false;
        }
        self.found.cgroups.extend(cgroup.map(|cgroup| (process.pid, cgroup)));
        self.found.add_reader(mount_namespace, process.pid, process.pid);
        self.found.processes.push(process);
        true
    }

    /// The namespace of that number, if that process is still its init.
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

    /// Reads one process, of which at most is known that nothing is open.
    ///
    /// # Errors
    /// It has vanished, may not be read, or is to be looked at again.
    pub fn process(&mut self, pid: Pid, none_open_since: Option<u64>) -> SysResult<()> {
        if self.kernel_thread
            && let Some(process) = self.read_kernel_thread(pid)
        {
            self.found.processes.push(process);
            return Ok(());
        }
        let procfs = self.scan.procfs.fd();
        // Where much is read, an open directory keeps it together and makes
        // each path shorter. Where little is, it would cost more than that.
        let mut dir = if self.searches_holders || !self.scan.details.is_empty() {
            ProcessDir::open(procfs, pid)?
        } else {
            ProcessDir::by_path(procfs, pid)
        };
        // First, as all that follows is known to be of one process because
        // this descriptor can still be read afterwards.
        let (base, name) = dir.file(c"status");
        let status_file = open(base, name)?;
        // It was there, so it is another one that is not there any more.
        let vanished = |errno| if errno == Errno::NOENT { Errno::SRCH } else { errno };
        self.opened(pid, none_open_since, &status_file, dir).map_err(vanished)
    }

    /// Reads a process whose status file is open.
    ///
    /// # Errors
    /// As of [`process`](Self::process).
    fn opened(
        &mut self,
        pid: Pid,
        none_open_since: Option<u64>,
        status_file: &OwnedFd,
        mut dir: ProcessDir<'_>,
    ) -> SysResult<()> {
        if !self.scan.procfs.own {
            // Whoever is root in there may have mounted something over it.
            dir.open_namespaces()?;
        }
        // At once, as the buffer holds the status only until the next file is read.
        let (status, link) = self.status_and_link(status_file, &mut dir)?;
        let (status, namespace) = self.identify(pid, status, link)?;
        // Before anything that takes time: once pinned, the namespace can no
        // longer die and leave its inode number to another.
        let is_pinned = self.pin(pid, namespace, status_file, &mut dir)?;
        let is_init = status.nspid.last() == Some(&Pid::INIT);
        let has_memory = status.has_memory;
        let mut process = described(pid, status, namespace);
        self.kernel_thread = process.kernel_thread && self.is_told_by_stat();
        if self.searches_holders {
            process.start_time = self.start_time(pid, status_file, &dir)?;
        }
        if !self.scan.details.is_empty() {
            let reader = DetailReader { dir: dir.as_fd(), status_file };
            let details =
                reader.read(self.scan.details, &process, has_memory, &mut self.found.pending)?;
            process.details = Some(Box::new(details));
        }
        let mut now = InitNow::Living;
        if is_init {
            // After pinning, which often spares the check at the end of it.
            now = self.init(&process, has_memory, is_pinned, status_file, &mut dir)?;
        }
        // Last, as it takes longest, and compares what it finds with the
        // process's own namespace.
        // If it is not another one that has its PID by now.
        let has_none_open = none_open_since.is_some_and(|start| process.start_time == Some(start));
        self.holders(&process, has_none_open, status_file, &dir)?;
        match now {
            InitNow::Terminated => self.found.terminated.insert(pid),
            InitNow::Unknown => self.found.undecided.insert(pid),
            InitNow::Living | InitNow::Absent => false,
        };
        self.found.processes.push(process);
        Ok(())
    }

    /// Whether all that is asked of a thread of the kernel is in its `stat`.
    fn is_told_by_stat(&self) -> bool {
        let Scan { procfs, namespace, details, .. } = self.scan;
        self.searches_holders && details.is_empty() && procfs.own && namespace.is_some()
    }

    /// One of the kernel's threads, by a single reading of its `stat`; `None` where
    /// it is none, or something else has to be read. They come in rows, and there
    /// are more of them on an idle host than of all else.
    ///
    /// They are members of the initial PID namespace alone, so that they have one
    /// PID where they are shown at all. Their files belong to their user, root.
    fn read_kernel_thread(&mut self, pid: Pid) -> Option<Process> {
        let mut dir = ProcessDir::by_path(self.scan.procfs.fd(), pid);
        let (base, name) = dir.file(c"stat");
        let file = open(base, name).ok()?;
        read_record(&file, &mut self.buffer).ok()?;
        let stat = parse::stat(&self.buffer)?;
        self.kernel_thread = stat.is_kernel_thread();
        if !self.kernel_thread || stat.pid != Some(pid) {
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
            start_time: Some(stat.start_time?),
            kernel_thread: true,
            ..Process::unread(pid)
        })
    }

    /// Holds the status, which the buffer still has, against the PID that /proc
    /// lists, and notes what the kernel would not tell of the process.
    ///
    /// # Errors
    /// The status is that of another process, or it is to be looked at again.
    fn identify(
        &mut self,
        pid: Pid,
        mut status: Status,
        link: SysResult<Option<NamespaceId>>,
    ) -> SysResult<(Status, Option<NamespaceId>)> {
        // The first number is that in the namespace of this /proc. Another
        // process's file may be mounted here, which is of the same file system.
        let shown = status.nspid.first().copied().or_else(|| parse::status_pid(&self.buffer));
        if shown.is_some_and(|shown| shown != pid) {
            return Err(Errno::XDEV);
        }
        if link.is_err_and(|errno| is_gone(errno) || self.expects_access(status.uid)) {
            self.look_again()?;
        }
        if status.nspid.is_empty() {
            // One that is being reaped has no numbers, either.
            if memmem::find(&self.buffer, b"\nNSpid:").is_some() {
                self.look_again()?;
            }
            status.nspid = nspid_of_member(pid, self.scan.namespace, link);
        }
        if status.nspid.is_empty() {
            self.found.pending.note(DiagnosticCode::NspidUnavailable, None, Some(pid));
        }
        // The status could be read after the link, so the process is there, and
        // an error is a refusal.
        let namespace = link.unwrap_or_else(|errno| {
            let code = DiagnosticCode::NamespaceUnreadable;
            self.found.pending.note(code, Some(errno), Some(pid));
            self.found.leaders.insert(pid, parse::leaders(&self.buffer));
            None
        });
        Ok((status, namespace))
    }

    /// Whether the viewer should be allowed to see everything of a process
    /// that has this user. Where it is refused, another look may be worth it.
    fn expects_access(&self, uid: impl Into<Option<u32>>) -> bool {
        self.may_trace_all || uid.into() == Some(rustix::process::geteuid().as_raw())
    }

    /// Reads the status, and where `ns/pid` leads, of the process that the
    /// status file was opened for. The link is read by path after opening the
    /// file and before the last reading of it, which succeeds only if the PID
    /// was that process's all the while. It may be refused by itself.
    ///
    /// # Errors
    /// As of reading the status.
    fn status_and_link(
        &mut self,
        status_file: &OwnedFd,
        dir: &mut ProcessDir<'_>,
    ) -> SysResult<(Status, SysResult<Option<NamespaceId>>)> {
        // The link of a process that is a member of the viewer's own namespace
        // need not be read, but that is known from its status. So the link is
        // read beforehand only where the process is likely to be nested.
        let early = (self.nested || !self.scan.procfs.own).then(|| dir.pid_namespace());
        read_record(status_file, &mut self.buffer)?;
        let status = parse::status(&self.buffer);
        self.nested = status.nspid.len() > 1;
        // One number in the viewer's own /proc: it is a member there.
        if status.nspid.len() == 1 && self.scan.namespace.is_some() {
            return Ok((status, Ok(self.scan.namespace)));
        }
        if let Some(link) = early {
            return Ok((status, link));
        }
        let link = dir.pid_namespace();
        read_record(status_file, &mut self.buffer)?;
        Ok((parse::status(&self.buffer), link))
    }

    /// When the process started. Its directory is open, so that it is this
    /// process's `stat` that is read.
    ///
    /// # Errors
    /// The process has vanished.
    fn start_time(
        &mut self,
        pid: Pid,
        status_file: &OwnedFd,
        dir: &ProcessDir<'_>,
    ) -> SysResult<Option<u64>> {
        let buffer = &mut self.buffer;
        let stat = read_again(status_file, || {
            open(dir.as_fd(), c"stat").and_then(|file| read_record(&file, buffer))
        })?;
        match stat {
            Ok(()) => Ok(parse::stat_start_time(&self.buffer)),
            Err(errno) => {
                let code = DiagnosticCode::StartTimeUnreadable;
                self.found.pending.note(code, Some(errno), Some(pid));
                Ok(None)
            }
        }
    }

    /// Pins the namespace of a process; `false` where there is none to pin, or
    /// it cannot be opened.
    ///
    /// # Errors
    /// The process has vanished.
    fn pin(
        &mut self,
        pid: Pid,
        namespace: Option<NamespaceId>,
        status_file: &OwnedFd,
        dir: &mut ProcessDir<'_>,
    ) -> SysResult<bool> {
        let Some(NamespaceId::Inode(inode)) = namespace else { return Ok(false) };
        if namespace == self.scan.namespace {
            // Pinned before the walk.
            return Ok(true);
        }
        let (base, name) = dir.file(c"ns/pid");
        // A process that is gone may answer EACCES even to root; its status
        // then says that it is gone.
        let open = || {
            open_namespace(base, name)
                .map_err(|errno| still_there(status_file).err().unwrap_or(errno))
        };
        // The link cannot lead elsewhere by now: an open status file keeps the
        // process's struct pid, and that keeps the namespace.
        match self.scan.registry.pin(inode, InitHistory::Existed, open, || true) {
            Ok(()) => Ok(true),
            Err(errno) if is_gone(errno) => Err(errno),
            Err(errno) => {
                let code = DiagnosticCode::NamespaceUnopened;
                self.found.pending.note(code, Some(errno), Some(pid));
                Ok(false)
            }
        }
    }

    /// Reads what matters only of an init: its cgroup, and whether it has terminated.
    ///
    /// # Errors
    /// The process has vanished.
    fn init(
        &mut self,
        init: &Process,
        has_memory: bool,
        is_pinned: bool,
        status_file: &OwnedFd,
        dir: &mut ProcessDir<'_>,
    ) -> SysResult<InitNow> {
        let cgroup = self.cgroup(init.pid, dir);
        let now = inits::life(self.scan.procfs, init, has_memory);
        // Both were read by path, and are this process's only if the PID still
        // is. While its namespace is pinned, a link that leads there proves
        // it: no other process can have become the init of that namespace.
        if !is_pinned || dir.pid_namespace() != Ok(init.namespace) {
            still_there(status_file)?;
        }
        self.found.cgroups.extend(cgroup.map(|cgroup| (init.pid, cgroup)));
        Ok(now)
    }

    /// The cgroups of a process, where they can be read.
    fn cgroup(&mut self, pid: Pid, dir: &mut ProcessDir<'_>) -> Option<Vec<u8>> {
        let (base, name) = dir.file(c"cgroup");
        match open(base, name).and_then(|file| read_record(&file, &mut self.buffer)) {
            Ok(()) => Some(self.buffer.clone()),
            Err(errno) => {
                // Without cgroups in the kernel there is no such file.
                if !is_gone(errno) {
                    let code = DiagnosticCode::CgroupUnreadable;
                    self.found.pending.note(code, Some(errno), Some(pid));
                }
                None
            }
        }
    }

    /// Searches what a process holds, where that was asked for.
    ///
    /// # Errors
    /// The process has vanished, or is to be looked at again; nothing that it
    /// held is kept then.
    fn holders(
        &mut self,
        process: &Process,
        has_none_open: bool,
        status_file: &OwnedFd,
        dir: &ProcessDir<'_>,
    ) -> SysResult<()> {
        let Scan { procfs, search, .. } = self.scan;
        if Some(process.pid) == procfs.viewer {
            // What pidns itself holds open does not count, but pidns may be the
            // only process in its mount namespace.
            if search.contains(&SearchScope::Mounts) {
                let inode = namespace_link(dir.as_fd(), c"ns/mnt", "mnt").ok().flatten();
                self.found.add_reader(inode, process.pid, process.pid);
            }
            return Ok(());
        }
        // Kernel threads have no descriptors and share the kernel's namespaces.
        if !self.searches_holders || process.kernel_thread {
            return Ok(());
        }
        let before = self.found.holders.len();
        let expects_access = self.expects_access(process.uid);
        let search = HolderSearch::new(
            self.scan,
            process,
            has_none_open,
            dir.as_fd(),
            status_file,
            expects_access,
        );
        let searched = search
            .search(&mut self.found)
            .and_then(|is_settled| if is_settled { Ok(()) } else { self.look_again() });
        if searched.is_err() {
            self.found.holders.truncate(before);
        }
        searched
    }
}

/// The PIDs of a process where the kernel does not tell them (before Linux 4.1):
/// a member of the namespace of /proc has one, under which /proc lists it.
fn nspid_of_member(
    pid: Pid,
    mount: Option<NamespaceId>,
    link: SysResult<Option<NamespaceId>>,
) -> Nspid {
    let is_member = mount.is_some() && link == Ok(mount);
    is_member.then_some(pid).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn without_nspid_a_member_of_the_namespace_of_proc_has_the_pid_that_proc_lists() {
        let pid = Pid::new(7).unwrap();
        let [mount, other] = [1, 2].map(|inode| Some(NamespaceId::Inode(inode)));
        assert_eq!(nspid_of_member(pid, mount, Ok(mount))[..], [pid]);
        // Of nobody else is the innermost PID known, nor where that is not told.
        for (mount, link) in [
            (mount, Ok(other)),
            (mount, Ok(None)),
            (mount, Err(Errno::ACCESS)),
            (None, Ok(None)),
            (None, Ok(other)),
        ] {
            assert!(nspid_of_member(pid, mount, link).is_empty(), "{mount:?} {link:?}");
        }
    }
}
