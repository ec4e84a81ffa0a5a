//! Opens a procfs, lists its PIDs, and finds out whose PIDs it shows and what it hides.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{self, CWD, Dir, DirEntry, Mode, OFlags};
use rustix::io::Result as SysResult;

use crate::collect::error::Error;
use crate::collect::kernel::nsfs::open_namespace;
use crate::collect::kernel::sys::{
    MAX_MOUNTINFO, PROC_SUPER_MAGIC, READ, file_system, namespace_link, open, open_dir, read,
    read_link, read_to_end, within,
};
use crate::collect::kernel::viewer;
use crate::collect::log::DiagnosticLog;
use crate::collect::parse;
use crate::collect::registry::{InitHistory, NamespaceRegistry};
use crate::model::{DiagnosticCode, NamespaceId, Pid};

/// Inode of the root directory of every procfs (`PROC_ROOT_INO` in the kernel).
const PROC_ROOT_INO: u64 = 1;

/// Time limit for opening a procfs given by the user. Its path may lead through a
/// network file system or FUSE.
const TIMEOUT: Duration = Duration::from_secs(5);

/// An open procfs.
#[derive(Debug)]
pub struct Procfs {
    /// The mount point.
    pub path: PathBuf,
    /// Set if this procfs shows PIDs of the viewer's own PID namespace. System
    /// calls and ioctls use those, so only then may its PIDs be passed to them.
    pub own: bool,
    /// PID of pidns itself in this procfs, if it is visible there.
    pub viewer: Option<Pid>,
    dir: OwnedFd,
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
        // An ancestor's procfs shows the viewer too, with one more PID for each
        // level in between.
        let own = match status.nspid.len() {
            // Before Linux 4.1 there is no NSpid line. Then the PID must be the
            // one that the viewer has in its own namespace.
            0 => viewer.is_some_and(|pid| pid.as_u32() == std::process::id()),
            levels => levels == 1,
        };
        Ok(Self { path: path.to_owned(), own, viewer, dir })
    }

    /// The directory.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Lists the PIDs of all processes.
    ///
    /// The kernel lists them in ascending order while it is being read, so a process
    /// that starts during a scan is included if its PID is higher than the last one
    /// read.
    pub fn pids(&self) -> SysResult<impl Iterator<Item = SysResult<Pid>> + use<>> {
        let pid = |entry: SysResult<DirEntry>| match entry {
            Ok(entry) => parse::entry(entry.file_name().to_bytes()).and_then(Pid::new).map(Ok),
            Err(errno) => Some(Err(errno)),
        };
        Ok(self.entries()?.filter_map(pid))
    }

    /// Lists all directory entries.
    pub fn entries(&self) -> SysResult<Dir> {
        // A descriptor of its own, because the read position belongs to the
        // descriptor.
        Dir::new(open_dir(self.fd(), c".")?)
    }

    /// Pins the PID namespace that this procfs shows, if it is the viewer's own and
    /// its link can be read.
    pub fn pin_own_namespace(&self, registry: &NamespaceRegistry) -> Option<NamespaceId> {
        let name = c"self/ns/pid";
        let inode = self.own.then(|| namespace_link(self.fd(), name, "pid").ok().flatten())??;
        registry
            .pin(inode, InitHistory::Existed, || open_namespace(self.fd(), name), || true)
            .ok()?;
        Some(NamespaceId::Inode(inode))
    }

    /// Notes in `log` if the mount hides processes from the viewer (`hidepid=` of
    /// `proc(5)`). Processes that it lists but refuses to show get their own
    /// diagnostics.
    pub fn note_hidden(&self, log: &mut DiagnosticLog) {
        if viewer::may_trace_all() {
            return;
        }
        let Ok(stat) = fs::fstat(&self.dir) else { return };
        let mut table = Vec::new();
        // The mount options are in the viewer's own mount table, which any procfs
        // that shows the viewer has. /proc is tried first.
        let mut read_table = |dir: BorrowedFd<'_>| {
            let file = open(dir, c"self/mountinfo").ok()?;
            read_to_end(&file, &mut table, MAX_MOUNTINFO).ok()
        };
        let proc = fs::openat(CWD, "/proc", READ | OFlags::DIRECTORY, Mode::empty());
        let _ = proc.ok().and_then(|dir| read_table(dir.as_fd())).or_else(|| read_table(self.fd()));
        let (major, minor) = (fs::major(stat.st_dev), fs::minor(stat.st_dev));
        match parse::hidepid(&table, major, minor) {
            Some(Some(hide))
                if hide.unlisted && !hide.exempt_gid.is_some_and(viewer::is_in_group) =>
            {
                log.note(DiagnosticCode::ProcessesHidden, None, None);
            }
            Some(_) => {}
            // It is mounted in another mount namespace.
            None => log.note_as(
                DiagnosticCode::ProcessesHidden,
                "cannot tell whether this /proc hides processes (hidepid)".to_owned(),
                None,
            ),
        }
    }
}

/// Opens a directory. Returns `None` if it is not the root directory of a procfs,
/// and fails with `ETIMEDOUT` if a file system on the path does not answer.
fn open_root(path: &Path) -> SysResult<Option<OwnedFd>> {
    let open = |path: &Path| {
        let dir = fs::openat(CWD, path, READ | OFlags::DIRECTORY, Mode::empty())?;
        // A directory inside a procfs is on the same file system type.
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
