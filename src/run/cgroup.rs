//! The cgroup that `pidns run --cgroup` creates for its command (`cgroups(7)`, version 2).
//!
//! A process that the command starts is in this cgroup, whatever its parent, session or PID
//! namespace is. It leaves the cgroup only if it is moved to another one.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::io::{Errno, Result as SysResult};
use rustix::process::{Pid, getpid};

use crate::error::Error;

/// Number of names to try. A name is in use if a pidns process with the same PID was killed before
/// it could remove its cgroup.
const NAMES: u32 = 100;

/// Number of attempts to remove the cgroup, and the pause between two attempts. The kernel can take
/// a few milliseconds to remove a terminated process from its cgroup.
const ATTEMPTS: usize = 50;
const PAUSE: Duration = Duration::from_millis(2);

/// Number of levels that pidns visits below the command's cgroup.
const MAX_DEPTH: usize = 64;

/// A cgroup that is removed on drop. Processes that are still in it are moved to the cgroup of
/// pidns.
#[derive(Debug)]
pub struct CommandCgroup {
    path: PathBuf,
    name: OsString,
    dir: OwnedFd,
    /// The cgroup of pidns.
    parent: OwnedFd,
}

impl CommandCgroup {
    /// Creates a cgroup below `parent`, the directory of pidns's own cgroup.
    ///
    /// # Errors Returns an error if the cgroup cannot be created, for example without write access
    /// to `parent`.
    pub fn create(parent: &Path) -> Result<Self, Error> {
        let failed =
            |errno: Errno| Error::Cgroup { parent: parent.to_owned(), source: errno.into() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let above = openat(CWD, parent, flags, Mode::empty()).map_err(failed)?;
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
            let dir = openat(&above, &name, flags, Mode::empty()).map_err(failed)?;
            return Ok(Self { path: parent.join(&name), name: name.into(), dir, parent: above });
        }
        Err(failed(Errno::EXIST))
    }

    /// Returns the file to which a process writes 0 to move itself to this cgroup.
    #[must_use]
    pub fn members_file(&self) -> PathBuf {
        self.path.join(MEMBERS)
    }

    /// Returns `true` if a process in this cgroup, or in a cgroup below it, has not terminated.
    #[must_use]
    pub fn has_members(&self) -> bool {
        read(self.dir.as_fd(), "cgroup.events").is_ok_and(|text| {
            String::from_utf8_lossy(&text).lines().any(|line| line == "populated 1")
        })
    }

    /// Returns the processes in this cgroup and in the cgroups below it. Zombies are left out.
    #[must_use]
    pub fn members(&self) -> HashSet<Pid> {
        let mut members = HashSet::new();
        each_below(&self.dir, MAX_DEPTH, &mut |dir| {
            let text = read(dir, MEMBERS).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            // The number is 0 if the process is not visible in the PID namespace of pidns.
            members.extend(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)));
        });
        members
    }

    /// Sends SIGKILL to all processes in this cgroup and below it (`cgroup.kill`, since Linux
    /// 5.14). This includes processes that are just being forked.
    ///
    /// # Errors
    /// Fails with `ENOENT` before Linux 5.14.
    pub fn kill(&self) -> SysResult<()> {
        write(self.dir.as_fd(), "cgroup.kill", b"1")
    }

    /// Moves the remaining processes to pidns's own cgroup.
    fn move_members(&self) {
        for member in self.members() {
            // Ignore errors: a process that has terminated in the meantime cannot be moved.
            let _ = write(self.parent.as_fd(), MEMBERS, member.to_string().as_bytes());
        }
    }

    /// Removes the cgroups below this one, and then this one.
    fn remove(&self) -> SysResult<()> {
        remove_below(&self.dir, MAX_DEPTH);
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

/// The file that lists the processes in a cgroup. Writing a PID to the file moves the process to
/// the cgroup.
const MEMBERS: &str = "cgroup.procs";

/// Moves this process to a cgroup.
///
/// # Errors
/// Returns an error if the process may not be moved.
pub fn join(members_file: &Path) -> io::Result<()> {
    fs::write(members_file, b"0")
}

fn read(dir: BorrowedFd<'_>, name: &str) -> SysResult<Vec<u8>> {
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

/// Visits a cgroup, and then the cgroups below it.
fn each_below(dir: &OwnedFd, depth: usize, visit: &mut dyn FnMut(BorrowedFd<'_>)) {
    visit(dir.as_fd());
    if depth > 0 {
        for (_, child) in children(dir) {
            each_below(&child, depth - 1, visit);
        }
    }
}

/// Removes the cgroups below a cgroup, innermost first, except cgroups that still contain
/// processes.
fn remove_below(dir: &OwnedFd, depth: usize) {
    if depth > 0 {
        for (name, child) in children(dir) {
            remove_below(&child, depth - 1);
            let _ = unlinkat(dir, &name, AtFlags::REMOVEDIR);
        }
    }
}

/// Opens the cgroups directly below a cgroup.
fn children(dir: &OwnedFd) -> Vec<(std::ffi::CString, OwnedFd)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let entries = openat(dir, ".", flags, Mode::empty()).and_then(Dir::new);
    let entries = entries.into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            entry.file_type() == FileType::Directory && ![c".", c".."].contains(&entry.file_name())
        })
        .filter_map(|entry| {
            let name = entry.file_name().to_owned();
            let child = openat(dir, &name, flags, Mode::empty()).ok()?;
            Some((name, child))
        })
        .collect()
}
