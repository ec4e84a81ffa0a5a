//! The mounted /proc that is read: whose it is, and what it hides.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::fs::{self, CWD, Mode, OFlags};
use rustix::io::{Errno, Result as SysResult};

use super::diagnose::{Code, DiagnosticLog};
use super::nsfs::NamespaceFd;
use super::parse;
use super::registry::{InitHistory, NamespaceRegistry};
use crate::error::Error;
use crate::model::{NamespaceId, Pid};

/// File system type of procfs, `PROC_SUPER_MAGIC` of `statfs(2)`.
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// Inode of the top directory of a procfs (`PROC_ROOT_INO` of the kernel).
const PROC_ROOT_INO: u64 = 1;

/// The user namespace that every other descends from (`PROC_USER_INIT_INO` of
/// the kernel, fixed since Linux 3.8).
const INITIAL_USER_NAMESPACE: &[u8] = b"user:[4026531837]";

/// Flags for opening whatever /proc leads to: never to block on it, never to
/// get a terminal by it.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

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
                log.note(Code::ProcessesHidden, None, None);
            }
            Some(_) => {}
            // Mounted where this viewer does not see the mount.
            None => log.note_as(
                Code::ProcessesHidden,
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

/// The type of the file system that a descriptor, be it of a path alone, is on.
pub fn file_system(fd: &OwnedFd) -> SysResult<u64> {
    // The type of `f_type` is the architecture's; the magic numbers fit in all.
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)]
    Ok(fs::fstatfs(fd)?.f_type as u64)
}

/// Opens a file of /proc for reading.
pub fn open(dir: BorrowedFd<'_>, name: &CStr) -> SysResult<OwnedFd> {
    fs::openat(dir, name, READ, Mode::empty())
}

/// Opens a directory of /proc for names to be relative to: cheaper than for
/// listing it.
pub fn open_base(dir: BorrowedFd<'_>, name: &CStr) -> SysResult<OwnedFd> {
    fs::openat(dir, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a directory of /proc.
pub fn open_dir(dir: BorrowedFd<'_>, name: &CStr) -> SysResult<OwnedFd> {
    fs::openat(dir, name, READ | OFlags::DIRECTORY, Mode::empty())
}

/// Reads a whole file into `buffer`, in place of what was there.
pub fn read(dir: BorrowedFd<'_>, name: &CStr, buffer: &mut Vec<u8>) -> SysResult<()> {
    let file = open(dir, name)?;
    buffer.clear();
    loop {
        buffer.reserve(4096);
        if rustix::io::read(&file, spare_capacity(buffer))? == 0 {
            return Ok(());
        }
    }
}

/// Reads a file that the kernel writes in one piece, as `/proc/PID/status`:
/// what is shorter than the buffer is whole, and saves a second call.
pub fn read_record(file: &OwnedFd, buffer: &mut Vec<u8>) -> SysResult<()> {
    loop {
        buffer.clear();
        rustix::io::pread(file, spare_capacity(buffer), 0)?;
        if buffer.len() < buffer.capacity() {
            return Ok(());
        }
        buffer.reserve(buffer.capacity() * 2);
    }
}

/// Reads a link; what does not fit is cut off.
pub fn read_link<'a>(
    dir: BorrowedFd<'_>,
    name: &CStr,
    buffer: &'a mut [u8],
) -> SysResult<&'a [u8]> {
    let length = fs::readlinkat_raw(dir, name, &mut *buffer)?;
    Ok(&buffer[..length])
}

/// The inode that a namespace link names; `None` where it is of another kind.
pub fn namespace_link(dir: BorrowedFd<'_>, name: &CStr, kind: &str) -> SysResult<Option<u64>> {
    let mut link = [0; 32];
    Ok(parse::namespace_link(read_link(dir, name, &mut link)?, kind))
}

/// Opens the namespace that a link leads to.
pub fn open_namespace(dir: BorrowedFd<'_>, name: &CStr) -> SysResult<NamespaceFd> {
    NamespaceFd::new(open(dir, name)?)
}

/// Whether the error says that a process has vanished.
pub fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::SRCH)
}
