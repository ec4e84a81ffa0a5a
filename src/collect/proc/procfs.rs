//! Opens a procfs, lists its PIDs, and determines which PID namespace it shows.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{self, CWD, Dir, DirEntry, Mode, OFlags};
use rustix::io::{Result as SysResult, fcntl_dupfd_cloexec};

use crate::collect::error::Error;
use crate::collect::kernel::clock::INITIAL_TIME_NAMESPACE;
use crate::collect::kernel::nsfs::{NamespaceFd, open_namespace};
use crate::collect::kernel::sys::{
    MAX_MOUNTINFO, PROC_SUPER_MAGIC, READ, file_system, first_procfs, namespace_link, open,
    open_dir, private_procfs, read, read_link, read_to_end, within,
};
use crate::collect::kernel::viewer;
use crate::collect::log::DiagnosticLog;
use crate::collect::parse::{self, HidePid};
use crate::collect::registry::{InitHistory, NamespaceRegistry};
use crate::model::{DiagnosticCode, NamespaceId, Pid};

/// Inode number of the root directory of every procfs (`PROC_ROOT_INO` in the kernel).
const PROC_ROOT_INO: u64 = 1;

/// Time limit for opening a procfs, because a file system on its path may not answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// An open procfs.
#[derive(Debug)]
pub struct Procfs {
    /// The path at which the procfs is mounted.
    pub path: PathBuf,
    /// `true` if this procfs shows pidns's own PID namespace, so system calls accept its PIDs.
    pub own: bool,
    /// PID of pidns itself in this procfs, or `None` if the procfs does not show pidns.
    pub viewer: Option<Pid>,
    dir: OwnedFd,
    /// Cached result of [`uncovered`](Self::uncovered).
    uncovered: OnceLock<Option<Box<Self>>>,
}

impl Procfs {
    /// Opens the procfs mounted at `path`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let Some(dir) = open_root(path).map_err(|errno| Error::read(path, errno))? else {
            return Err(Error::NotProcfs(path.to_owned()));
        };
        let mut buffer = Vec::new();
        let status = read(dir.as_fd(), c"self/status", &mut buffer)
            .map_or_else(|_| parse::Status::default(), |()| parse::status(&buffer));
        let mut link = [0; 16];
        let viewer = read_link(dir.as_fd(), c"self", &mut link).ok().and_then(parse::entry);
        let viewer = viewer.and_then(Pid::new);
        // A single PID in NSpid means that this procfs shows pidns's own PID namespace.
        let own = match status.nspid.len() {
            // Before Linux 4.1, there is no NSpid line, so compare with getpid(2).
            0 => viewer.is_some_and(|pid| pid.as_u32() == std::process::id()),
            levels => levels == 1,
        };
        Ok(Self { path: path.to_owned(), own, viewer, dir, uncovered: OnceLock::new() })
    }

    /// Returns a second handle for this procfs.
    pub fn try_clone(&self) -> Result<Self, Error> {
        let dir = fcntl_dupfd_cloexec(&self.dir, 0);
        let dir = dir.map_err(|errno| Error::read(&self.path, errno))?;
        let Self { path, own, viewer, .. } = self;
        let (path, uncovered) = (path.clone(), OnceLock::new());
        Ok(Self { path, own: *own, viewer: *viewer, dir, uncovered })
    }

    /// Returns a procfs that shows the same processes and in which no mount covers their files.
    pub fn uncovered(&self) -> Option<&Self> {
        let make = || {
            let dir = self.own.then(private_procfs)?.ok()?;
            let Self { path, own, viewer, .. } = self;
            let (path, uncovered) = (path.clone(), OnceLock::new());
            Some(Box::new(Self { path, own: *own, viewer: *viewer, dir, uncovered }))
        };
        self.uncovered.get_or_init(make).as_deref()
    }

    /// Reads `kernel.pid_max` (the highest possible PID plus one) of pidns's own PID namespace.
    pub fn pid_max(&self) -> Option<u32> {
        let mut text = Vec::new();
        read(self.own.then(|| self.fd())?, c"sys/kernel/pid_max", &mut text).ok()?;
        u32::try_from(parse::counter(&text)?).ok()
    }

    /// Returns the root directory of the procfs.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Lists all PIDs in ascending order. PIDs that appear during the listing may be included.
    pub fn pids(&self) -> SysResult<impl Iterator<Item = SysResult<Pid>> + use<>> {
        let pid = |entry: SysResult<DirEntry>| match entry {
            Ok(entry) => parse::entry(entry.file_name().to_bytes()).and_then(Pid::new).map(Ok),
            Err(errno) => Some(Err(errno)),
        };
        Ok(self.entries()?.filter_map(pid))
    }

    /// Lists all entries of the root directory of the procfs.
    pub fn entries(&self) -> SysResult<Dir> {
        // Duplicated descriptors share the file offset, so open the directory again.
        Dir::new(open_dir(self.fd(), c".")?)
    }

    /// Opens the initial time namespace through a process in it.
    pub fn open_initial_time_namespace(&self) -> Option<NamespaceFd> {
        let is_initial = |inode| inode == INITIAL_TIME_NAMESPACE;
        self.pids().ok()?.map_while(SysResult::ok).find_map(|pid| {
            let link = CString::new(format!("{pid}/ns/time")).ok()?;
            let inode = namespace_link(self.fd(), &link, "time").ok()??;
            let open = || open_namespace(self.fd(), &link).ok();
            is_initial(inode).then(open)?.filter(|it| is_initial(it.inode()))
        })
    }

    /// Opens pidns's own PID namespace and keeps it open, if this procfs shows it.
    pub fn pin_own_namespace(&self, registry: &NamespaceRegistry) -> Option<NamespaceId> {
        let name = c"self/ns/pid";
        let inode = self.own.then(|| namespace_link(self.fd(), name, "pid").ok().flatten())??;
        registry
            .pin(inode, InitHistory::Existed, || open_namespace(self.fd(), name), || true)
            .ok()?;
        Some(NamespaceId::Inode(inode))
    }

    /// Adds a diagnostic if this procfs hides processes from pidns (mount option `hidepid=`).
    pub fn note_hidden(&self, log: &mut DiagnosticLog) {
        if viewer::may_trace_all() {
            return;
        }
        let Ok(stat) = fs::fstat(&self.dir) else { return };
        let mut table = Vec::new();
        // `self/mountinfo` contains the mount options of this procfs. That file can be read in any
        // procfs in which the pidns process is visible.
        let mut read_table = |dir: BorrowedFd<'_>| {
            let file = open(dir, c"self/mountinfo").ok()?;
            read_to_end(&file, &mut table, MAX_MOUNTINFO).ok()
        };
        let _ = first_procfs().ok().and_then(&mut read_table).or_else(|| read_table(self.fd()));
        let (major, minor) = (fs::major(stat.st_dev), fs::minor(stat.st_dev));
        let hides_processes = match parse::hidepid(&table, major, minor) {
            // This procfs is mounted in another mount namespace, so its mount options are unknown.
            None => {
                let message = "cannot tell whether this /proc hides processes (hidepid)";
                return log.note_as(DiagnosticCode::ProcessesHidden, message.to_owned(), None);
            }
            Some(HidePid::Off | HidePid::NoAccess { .. }) => false,
            Some(HidePid::Invisible { exempt_gid }) => !viewer::is_in_group(exempt_gid),
            Some(HidePid::Ptraceable) => true,
        };
        if hides_processes {
            log.note(DiagnosticCode::ProcessesHidden, None, None);
        }
    }
}

/// Opens `path` if it is the root directory of a procfs, or else returns `None`.
fn open_root(path: &Path) -> SysResult<Option<OwnedFd>> {
    let open = |path: &Path| {
        let dir = fs::openat(CWD, path, READ | OFlags::DIRECTORY, Mode::empty())?;
        // Also check the inode, because subdirectories of a procfs have the same file system type.
        let is_root =
            file_system(&dir)? == PROC_SUPER_MAGIC && fs::fstat(&dir)?.st_ino == PROC_ROOT_INO;
        Ok(is_root.then_some(dir))
    };
    if path == Path::new("/proc") {
        return open(path);
    }
    let path = path.to_owned();
    within(TIMEOUT, move || open(&path))
}
