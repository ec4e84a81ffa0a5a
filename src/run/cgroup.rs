//! The cgroup that `pidns run --cgroup` creates for its command (`cgroups(7)`, version 2).

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstatfs, mkdirat, openat, unlinkat};
use rustix::io::{Errno, Result as SysResult};
use rustix::process::{Pid, getpid};

use crate::error::Error;

/// Maximum number of names to try for the new cgroup.
///
/// A killed pidns process leaves its cgroup behind, so a name can be in use.
const NAMES: u32 = 100;

/// Maximum number of attempts to remove the cgroup.
///
/// A cgroup stays busy briefly after its last process exits, so the first attempts can fail.
const ATTEMPTS: usize = 50;

/// Pause between two attempts to remove the cgroup.
const PAUSE: Duration = Duration::from_millis(2);

/// A cgroup that is removed on drop, after its processes are moved to the parent.
#[derive(Debug)]
pub struct CommandCgroup {
    path: PathBuf,
    name: OsString,
    dir: OwnedFd,
    /// The cgroup that pidns itself runs in.
    parent: OwnedFd,
}

impl CommandCgroup {
    /// Creates a cgroup below `parent`, the directory of pidns's own cgroup.
    pub fn create(parent: &Path) -> Result<Self, Error> {
        let failed =
            |errno: Errno| Error::Cgroup { parent: parent.to_owned(), source: errno.into() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let above = openat(CWD, parent, flags, Mode::empty()).map_err(failed)?;
        let file_system = fstatfs(&above).map_err(failed)?;
        // Convert `f_type`, because its integer type depends on the architecture.
        if u64::try_from(file_system.f_type) != Ok(CGROUP2_SUPER_MAGIC) {
            let source = io::Error::other("another file system is mounted over cgroup version 2");
            return Err(Error::Cgroup { parent: parent.to_owned(), source });
        }
        let pid = getpid();
        for number in 0..NAMES {
            let name = match number {
                0 => format!("pidns-run-{pid}"),
                _ => format!("pidns-run-{pid}-{number}"),
            };
            match mkdirat(&above, &name, Mode::from_raw_mode(0o755)) {
                Err(Errno::EXIST) => continue,
                made => made.map_err(failed)?,
            }
            let dir = openat(&above, &name, flags, Mode::empty()).map_err(|errno| {
                let _ = unlinkat(&above, &name, AtFlags::REMOVEDIR);
                failed(errno)
            })?;
            return Ok(Self { path: parent.join(&name), name: name.into(), dir, parent: above });
        }
        Err(failed(Errno::EXIST))
    }

    /// Returns the file to which a process writes 0 to join this cgroup.
    #[must_use]
    pub fn members_file(&self) -> PathBuf {
        self.path.join(MEMBERS)
    }

    /// Returns `true` if a process in this cgroup or its descendant cgroups is running.
    #[must_use]
    pub fn has_members(&self) -> bool {
        match read(self.dir.as_fd(), Path::new("cgroup.events")) {
            Ok(text) => String::from_utf8_lossy(&text).lines().any(|line| line == "populated 1"),
            // `ENOENT` and `ENODEV` mean that the cgroup was removed, so it has no members. After
            // any other error, assume that it has members.
            Err(errno) => !matches!(errno, Errno::NOENT | Errno::NODEV),
        }
    }

    /// Returns the processes in this cgroup and its descendant cgroups, except pidns and zombies.
    #[must_use]
    pub fn members(&self) -> HashSet<Pid> {
        let mut members = self.all_members();
        members.remove(&getpid());
        members
    }

    fn all_members(&self) -> HashSet<Pid> {
        let mut members = HashSet::new();
        for cgroup in cgroups(&self.dir) {
            let text = read(self.dir.as_fd(), &cgroup.join(MEMBERS)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            // PID 0 stands for a process outside pidns's PID namespace, so skip it.
            members.extend(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)));
        }
        members
    }

    /// Moves pidns to the parent cgroup if the command has moved it to this cgroup.
    pub fn leave(&self) -> SysResult<()> {
        if !self.all_members().contains(&getpid()) {
            return Ok(());
        }
        write(self.parent.as_fd(), MEMBERS, b"0")
    }

    /// Kills all processes in this cgroup and its descendant cgroups, including processes that are
    /// forked in the meantime.
    pub fn kill(&self) -> SysResult<()> {
        // The command may have moved pidns to this cgroup.
        self.leave()?;
        // `cgroup.kill` requires Linux 5.14.
        write(self.dir.as_fd(), "cgroup.kill", b"1")
    }

    /// Moves all processes in this cgroup and its descendant cgroups to pidns's own cgroup.
    fn move_members(&self) {
        for member in self.members() {
            // The process may have terminated in the meantime.
            let _ = write(self.parent.as_fd(), MEMBERS, member.to_string().as_bytes());
        }
    }

    /// Removes the cgroups below this one, and then this one.
    fn remove(&self) -> SysResult<()> {
        for cgroup in cgroups(&self.dir).iter().skip(1).rev() {
            // Ignore errors here. If a descendant cgroup cannot be removed, removing this cgroup
            // fails, too.
            let _ = unlinkat(&self.dir, cgroup, AtFlags::REMOVEDIR);
        }
        unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR)
    }
}

impl Drop for CommandCgroup {
    fn drop(&mut self) {
        for _ in 0..ATTEMPTS {
            match self.remove() {
                Ok(()) | Err(Errno::NOENT) => return,
                Err(_) => self.move_members(),
            }
            if self.remove().is_ok() {
                return;
            }
            thread::sleep(PAUSE);
        }
    }
}

/// The type of a cgroup version 2 file system in `statfs(2)`.
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

/// The file that lists the processes of a cgroup. Writing a PID to it moves that process into the
/// cgroup.
const MEMBERS: &str = "cgroup.procs";

/// Moves this process to a cgroup.
pub fn join(members_file: &Path) -> io::Result<()> {
    // Never creates a file, unlike `fs::write`.
    OpenOptions::new().write(true).open(members_file)?.write_all(b"0")
}

fn read(dir: BorrowedFd<'_>, name: &Path) -> SysResult<Vec<u8>> {
    let file = openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    loop {
        text.reserve(4096);
        if rustix::io::read(&file, spare_capacity(&mut text))? == 0 {
            return Ok(text);
        }
    }
}

fn write(dir: BorrowedFd<'_>, name: &str, value: &[u8]) -> SysResult<()> {
    let file = openat(dir, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, value).map(drop)
}

/// Returns the relative paths of a cgroup and its descendants, parents first.
fn cgroups(dir: &OwnedFd) -> Vec<PathBuf> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut found = vec![PathBuf::from(".")];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        let entries = openat(dir, &path, flags, Mode::empty()).and_then(Dir::new);
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            if entry.file_type() == FileType::Directory && ![c".", c".."].contains(&name) {
                found.push(path.join(OsStr::from_bytes(name.to_bytes())));
            }
        }
        next += 1;
    }
    found
}
