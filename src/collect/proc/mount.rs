//! The mounted /proc that is read: whose it is, and what it hides.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::collect::log::DiagnosticLog;
use crate::collect::nsfs::open_namespace;
use crate::collect::parse;
use crate::collect::registry::{InitHistory, NamespaceRegistry};
use crate::collect::sys::{READ, file_system, namespace_link, read, read_link};
use crate::error::Error;
use crate::model::{DiagnosticCode, NamespaceId, Pid};

/// File system type of procfs, `PROC_SUPER_MAGIC` of `statfs(2)`.
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// Inode of the top directory of a procfs (`PROC_ROOT_INO` of the kernel).
const PROC_ROOT_INO: u64 = 1;

/// The user namespace that every other descends from (`PROC_USER_INIT_INO` of
/// the kernel, fixed since Linux 3.8).
const INITIAL_USER_NAMESPACE: &[u8] = b"user:[4026531837]";

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
        let failed =
            |source: Errno| Error::Read { path: path.to_owned(), source: io::Error::from(source) };
        let dir = fs::openat(CWD, path, READ | OFlags::DIRECTORY, Mode::empty()).map_err(failed)?;
        let is_procfs = file_system(&dir).map_err(failed)? == PROC_SUPER_MAGIC;
        // A directory inside one may well look like it.
        if !is_procfs || fs::fstat(&dir).map_err(failed)?.st_ino != PROC_ROOT_INO {
            return Err(Error::NotProcfs(path.to_owned()));
        }
        let mut buffer = Vec::new();
        let status = read(dir.as_fd(), c"self/status", &mut buffer)
            .map_or_else(|_| parse::Status::default(), |()| parse::status(&buffer));
        let own = match status.nspid.len() {
            // A kernel before 4.1 does not say; /proc/self is then the best
            // word there is: a /proc of an ancestor would show it, too.
            0 => !buffer.is_empty(),
            levels => levels == 1,
        };
        let mut link = [0; 16];
        let viewer = read_link(dir.as_fd(), c"self", &mut link).ok().and_then(parse::entry);
        Ok(Self { path: path.to_owned(), own, viewer: viewer.and_then(Pid::new), dir })
    }

    /// Holds the namespace of the viewer, which is that of the mount where
    /// that is its own; `None` for another one, or where it cannot be read.
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
        let Ok(stat) = fs::fstat(&self.dir) else { return };
        let mut table = Vec::new();
        // The mount is in the viewer's own mount namespace, of which any
        // procfs that shows the viewer can tell.
        let mut from = |path: &Path| {
            let dir = fs::openat(CWD, path, READ | OFlags::DIRECTORY, Mode::empty()).ok()?;
            read(dir.as_fd(), c"self/mountinfo", &mut table).ok()
        };
        let _ = from(Path::new("/proc")).or_else(|| from(&self.path));
        let (major, minor) = (fs::major(stat.st_dev), fs::minor(stat.st_dev));
        let hide = parse::hidepid(&table, major, minor);
        if viewer_may_trace_all() {
            return;
        }
        match hide {
            // Refused processes that are listed are noted one by one.
            Some(Some(hide))
                if hide.unlisted && !hide.exempt_gid.is_some_and(viewer_is_in_group) =>
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

fn viewer_is_in_group(gid: u32) -> bool {
    // Elsewhere the same number is another group.
    viewer_is_in_initial_user_namespace()
        && (rustix::process::getegid().as_raw() == gid
            || rustix::process::getgroups()
                .is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == gid)))
}

/// Whether the viewer has `CAP_SYS_PTRACE` over everyone.
pub fn viewer_may_trace_all() -> bool {
    viewer_is_in_initial_user_namespace()
        && rustix::thread::capabilities(None)
            .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_PTRACE))
}

fn viewer_is_in_initial_user_namespace() -> bool {
    let mut link = [0; 64];
    read_link(CWD, c"/proc/self/ns/user", &mut link)
        .is_ok_and(|user| user == INITIAL_USER_NAMESPACE)
}
