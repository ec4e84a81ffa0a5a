//! The mounted /proc that is read: whose it is, and what it hides. The files
//! of processes are not opened here.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{self, CWD, Mode, OFlags};
use rustix::io::Result as SysResult;

use crate::collect::error::Error;
use crate::collect::kernel::nsfs::open_namespace;
use crate::collect::kernel::sys::{
    MOST_OF_MOUNTS, PROC_SUPER_MAGIC, READ, file_system, namespace_link, open, read, read_link,
    read_to_end, within,
};
use crate::collect::kernel::viewer;
use crate::collect::log::DiagnosticLog;
use crate::collect::parse;
use crate::collect::registry::{InitHistory, NamespaceRegistry};
use crate::model::{DiagnosticCode, NamespaceId, Pid};

/// Inode of the top directory of a procfs (`PROC_ROOT_INO` of the kernel).
const PROC_ROOT_INO: u64 = 1;

/// How long opening the directory may take, which may be on a network or on a
/// file system that is somebody's program.
const PATIENCE: Duration = Duration::from_secs(5);

/// An open procfs.
#[derive(Debug)]
pub struct Procfs {
    /// Where it is mounted.
    pub path: PathBuf,
    /// Whether it speaks in the viewer's own PID numbers: only then may
    /// anything be asked of the kernel that takes them.
    pub own: bool,
    /// The viewer, where this /proc shows it.
    pub viewer: Option<Pid>,
    dir: OwnedFd,
}

impl Procfs {
    /// Opens the procfs mounted at `path`.
    ///
    /// # Errors
    /// It cannot be opened, or is no procfs.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let Some(dir) = open_top(path).map_err(|errno| Error::read(path, errno))? else {
            return Err(Error::NotProcfs(path.to_owned()));
        };
        let mut buffer = Vec::new();
        let status = read(dir.as_fd(), c"self/status", &mut buffer)
            .map_or_else(|_| parse::Status::default(), |()| parse::status(&buffer));
        let mut link = [0; 16];
        let viewer = read_link(dir.as_fd(), c"self", &mut link).ok().and_then(parse::entry);
        let viewer = viewer.and_then(Pid::new);
        let own = match status.nspid.len() {
            // A kernel before 4.1 does not tell. The /proc of an ancestor shows
            // the viewer, too, but by another number than its own.
            0 => viewer.is_some_and(|pid| pid.as_u32() == std::process::id()),
            levels => levels == 1,
        };
        Ok(Self { path: path.to_owned(), own, viewer, dir })
    }

    /// Pins the viewer's namespace where this is its own /proc, whose
    /// namespace it then is; `None` elsewhere, or where it cannot be read.
    pub fn pin_own_namespace(&self, registry: &NamespaceRegistry) -> Option<NamespaceId> {
        let name = c"self/ns/pid";
        let inode = self.own.then(|| namespace_link(self.fd(), name, "pid").ok().flatten())??;
        registry
            .pin(inode, InitHistory::Existed, || open_namespace(self.fd(), name), || true)
            .ok()?;
        Some(NamespaceId::Inode(inode))
    }

    /// The directory.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Notes what the mount hides from this viewer (`hidepid=`, `proc(5)`).
    pub fn note_hidden(&self, log: &mut DiagnosticLog) {
        if viewer::may_trace_all() {
            return;
        }
        let Ok(stat) = fs::fstat(&self.dir) else { return };
        let mut table = Vec::new();
        // The mount is in the viewer's own mount namespace, and any procfs that
        // shows the viewer shows the mount table of that.
        let mut from = |dir: BorrowedFd<'_>| {
            let file = open(dir, c"self/mountinfo").ok()?;
            read_to_end(&file, &mut table, MOST_OF_MOUNTS).ok()
        };
        let usual = fs::openat(CWD, "/proc", READ | OFlags::DIRECTORY, Mode::empty());
        let _ = usual.ok().and_then(|dir| from(dir.as_fd())).or_else(|| from(self.fd()));
        let (major, minor) = (fs::major(stat.st_dev), fs::minor(stat.st_dev));
        let hide = parse::hidepid(&table, major, minor);
        match hide {
            // Processes that are listed, but refused, are noted one by one.
            Some(Some(hide))
                if hide.unlisted && !hide.exempt_gid.is_some_and(viewer::is_in_group) =>
            {
                log.note(DiagnosticCode::ProcessesHidden, None, None);
            }
            Some(_) => {}
            // Mounted where this viewer does not see the mount.
            None => log.note_as(
                DiagnosticCode::ProcessesHidden,
                "cannot tell whether this /proc hides processes (hidepid)".to_owned(),
                None,
            ),
        }
    }
}

/// Opens a directory; `None` where it is not the top of a procfs.
///
/// # Errors
/// As of opening; `ETIMEDOUT` where there is no answer.
fn open_top(path: &Path) -> SysResult<Option<OwnedFd>> {
    let of = |path: &Path| {
        let dir = fs::openat(CWD, path, READ | OFlags::DIRECTORY, Mode::empty())?;
        // A directory inside a procfs may look like one, too.
        let is_top =
            file_system(&dir)? == PROC_SUPER_MAGIC && fs::fstat(&dir)?.st_ino == PROC_ROOT_INO;
        Ok(is_top.then_some(dir))
    };
    if path == Path::new("/proc") {
        return of(path);
    }
    let path = path.to_owned();
    within(PATIENCE, move || of(&path))
}
