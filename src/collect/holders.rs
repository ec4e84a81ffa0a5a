//! What keeps namespaces in being beside their members: the namespaces that
//! processes and threads have for their children, open descriptors, and bind
//! mounts.
//!
//! A descriptor, process or mount that goes away meanwhile is no diagnostic.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::{Errno, Result};
use rustix::process::PidfdFlags;

use super::diagnose::Code;
use super::held::{Held, Seen};
use super::nsfs::{self, NamespaceFd};
use super::parse::{self, NamespaceMount};
use super::procfs::{Procfs, is_gone, namespace_link, open_dir, open_namespace, read, read_link};
use super::scan::{Found, Place};
use crate::model::{Holder, NamespaceId, Pid, Process, Source};

/// Processes remembered for each mount namespace: enough that one is left
/// when its mount table is read, few enough to cost nothing.
const READERS: usize = 8;

/// Where a search of one process looks, beside its own namespace.
#[derive(Clone, Copy, Debug)]
pub struct Searches {
    children: bool,
    threads: bool,
    fds: bool,
    mounts: bool,
}

impl Searches {
    /// Those of a set of sources.
    pub fn of(sources: &BTreeSet<Source>) -> Self {
        Self {
            children: sources.contains(&Source::Children),
            threads: sources.contains(&Source::Threads),
            fds: sources.contains(&Source::Fds),
            mounts: sources.contains(&Source::Mounts),
        }
    }

    /// Whether there is anything to search.
    pub fn any(self) -> bool {
        self.children || self.threads || self.fds || self.mounts
    }
}

/// The search of one process, which is open.
pub struct Subject<'a> {
    /// The process.
    pub process: &'a Process,
    /// `/proc/PID`.
    pub dir: BorrowedFd<'a>,
    /// `/proc/PID/status`, which tells whether the process is still there.
    pub status: &'a OwnedFd,
    /// The /proc that this is in.
    pub procfs: &'a Procfs,
    /// The namespaces met.
    pub held: &'a Held,
}

impl Subject<'_> {
    /// Finds what the process holds.
    ///
    /// # Errors
    /// It has vanished; `found` may then hold a part of what it held.
    pub fn search(&self, searches: Searches, found: &mut Found) -> Result<()> {
        let thread;
        let dir = if self.process.is_zombie() {
            // A leader that has exited before its other threads has nothing
            // left, but they have.
            let Some(living) = self.living_thread() else { return Ok(()) };
            thread = living;
            thread.as_fd()
        } else {
            self.dir
        };
        if searches.children {
            self.children(dir, self.process.pid, found)?;
        }
        if searches.threads {
            self.threads(found)?;
        }
        if searches.mounts {
            match namespace_link(dir, c"ns/mnt", "mnt") {
                Ok(None) => {}
                Ok(Some(inode)) => {
                    let readers = found.mount_namespaces.entry(inode).or_default();
                    if readers.len() < READERS {
                        readers.push(self.process.pid);
                    }
                }
                Err(errno) => self.refused(Code::MountsUnreadable, errno, found)?,
            }
        }
        if searches.fds {
            self.fds(dir, found)?;
        }
        Ok(())
    }

    /// The namespace that a thread's children are born in.
    fn children(&self, dir: BorrowedFd<'_>, tid: Pid, found: &mut Found) -> Result<()> {
        let name = c"ns/pid_for_children";
        match namespace_link(dir, name, "pid") {
            Ok(Some(inode)) => {
                let open = || open_namespace(dir, name);
                self.has_for_children(inode, tid, found, Seen::Begun, open);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(Errno::NOENT) => self.unborn(dir, tid, found),
            Err(errno) => self.refused(Code::NamespaceUnreadable, errno, found),
        }
    }

    /// There is no link: the thread is going, or its first child that would
    /// be the namespace's init is not born yet.
    fn unborn(&self, dir: BorrowedFd<'_>, tid: Pid, found: &mut Found) -> Result<()> {
        let exiting = || {
            let mut stat = Vec::new();
            let read = read(dir, c"stat", &mut stat);
            read.is_err() || parse::stat_is_exiting(&stat).unwrap_or(true)
        };
        if exiting() {
            return self.still_there();
        }
        let shown = if self.procfs.own {
            for_children(tid, tid != self.process.pid)
        } else {
            Err(Errno::NOTTY)
        };
        // The PID was still this thread's after it was opened by number?
        if exiting() {
            return self.still_there();
        }
        match shown {
            Ok(fd) => {
                self.has_for_children(fd.inode(), tid, found, Seen::Unborn, || Ok(fd));
                Ok(())
            }
            Err(Errno::SRCH) => self.still_there(),
            Err(errno @ (Errno::ACCESS | Errno::PERM)) => {
                self.refused(Code::NamespaceUnreadable, errno, found)
            }
            Err(_) => {
                found.refusals.note(Code::NascentUnreadable, None, Some(self.process.pid));
                Ok(())
            }
        }
    }

    fn has_for_children(
        &self,
        inode: u64,
        tid: Pid,
        found: &mut Found,
        seen: Seen,
        open: impl FnOnce() -> Result<NamespaceFd>,
    ) {
        if self.process.namespace != Some(NamespaceId::Inode(inode)) {
            let holder = Holder::PidForChildren { pid: self.process.pid, tid };
            self.holds(inode, holder, found, seen, open);
        }
    }

    /// Every thread but the leader.
    fn threads(&self, found: &mut Found) -> Result<()> {
        let mut searched = Ok(());
        let listed = for_each_task(self.dir, |tid, task| {
            if tid != self.process.pid && searched.is_ok() {
                searched = self.children(task.as_fd(), tid, found);
            }
        });
        match listed {
            Ok(()) => searched,
            Err(errno) => self.refused(Code::NamespaceUnreadable, errno, found),
        }
    }

    /// Every open descriptor.
    fn fds(&self, dir: BorrowedFd<'_>, found: &mut Found) -> Result<()> {
        let table = match open_dir(dir, c"fd") {
            Ok(table) => table,
            Err(errno) => return self.refused(Code::FdsUnreadable, errno, found),
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut entries = RawDir::new(&table, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => return self.refused(Code::FdsUnreadable, errno, found),
            };
            let name = entry.file_name();
            if name.to_bytes().first() == Some(&b'.') {
                continue;
            }
            // What is longer is no PID namespace.
            let mut link = [0; 32];
            let inode = match read_link(table.as_fd(), name, &mut link) {
                Ok(link) => parse::namespace_link(link, "pid"),
                Err(errno) if is_gone(errno) => None,
                Err(errno) => return self.refused(Code::FdsUnreadable, errno, found),
            };
            if let (Some(inode), Some(fd)) = (inode, parse::entry(name.to_bytes())) {
                let holder = Holder::Fd { pid: self.process.pid, fd };
                let open = || open_namespace(table.as_fd(), name);
                self.holds(inode, holder, found, Seen::Anyhow, open);
            }
        }
        Ok(())
    }

    fn holds(
        &self,
        inode: u64,
        holder: Holder,
        found: &mut Found,
        seen: Seen,
        open: impl FnOnce() -> Result<NamespaceFd>,
    ) {
        hold(self.held, inode, seen, open, holder, self.process.pid, found);
    }

    /// A thread that has not exited, of a process whose leader has.
    fn living_thread(&self) -> Option<OwnedFd> {
        let mut stat = Vec::new();
        let mut living = None;
        for_each_task(self.dir, |_, task| {
            let is_living = read(task.as_fd(), c"stat", &mut stat).is_ok()
                && parse::stat_is_exiting(&stat) == Some(false);
            if is_living && living.is_none() {
                living = Some(task);
            }
        })
        .ok()?;
        living
    }

    /// Something was refused, unless that only says that the process is gone.
    fn refused(&self, code: Code, errno: Errno, found: &mut Found) -> Result<()> {
        self.still_there()?;
        // It is there and yet has none: it is on its way out.
        if !is_gone(errno) {
            found.refusals.note(code, Some(errno), Some(self.process.pid));
        }
        Ok(())
    }

    fn still_there(&self) -> Result<()> {
        rustix::io::pread(self.status, &mut [0; 1], 0).map(drop)
    }
}

/// The namespace for the children of a thread, by its number.
fn for_children(tid: Pid, is_thread: bool) -> Result<NamespaceFd> {
    // PIDFD_THREAD, since Linux 6.9.
    let flags = if is_thread {
        PidfdFlags::from_bits_retain(OFlags::EXCL.bits())
    } else {
        PidfdFlags::empty()
    };
    let raw = i32::try_from(tid.as_u32()).ok().and_then(rustix::process::Pid::from_raw);
    let pidfd = rustix::process::pidfd_open(raw.ok_or(Errno::SRCH)?, flags)?;
    nsfs::pid_for_children(&pidfd)
}

/// Notes a holder, and what it holds as met.
fn hold(
    held: &Held,
    inode: u64,
    seen: Seen,
    open: impl FnOnce() -> Result<NamespaceFd>,
    holder: Holder,
    pid: Pid,
    found: &mut Found,
) {
    match held.hold(inode, seen, open) {
        Ok(()) => {}
        Err(errno) if is_gone(errno) => return,
        Err(errno) => found.refusals.note(Code::NamespaceUnopened, Some(errno), Some(pid)),
    }
    found.holders.push((inode, holder));
}

/// Calls `visit` with every thread's directory under `/proc/PID/task`.
///
/// # Errors
/// As of reading that directory.
pub fn for_each_task(dir: BorrowedFd<'_>, mut visit: impl FnMut(Pid, OwnedFd)) -> Result<()> {
    let tasks = open_dir(dir, c"task")?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(&tasks, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let tid = parse::entry(entry.file_name().to_bytes()).and_then(Pid::new);
        if let Some(tid) = tid
            && let Ok(task) = open_dir(tasks.as_fd(), entry.file_name())
        {
            visit(tid, task);
        }
    }
    Ok(())
}

/// Reads the mount table of each mount namespace once.
pub fn mounts(procfs: &Procfs, held: &Held, found: &mut Found) {
    let mut table = Vec::new();
    let mut namespaces: Vec<_> = std::mem::take(&mut found.mount_namespaces).into_iter().collect();
    namespaces.sort_unstable();
    for (mount_namespace, mut readers) in namespaces {
        readers.sort_unstable();
        for pid in readers {
            match mounts_of(procfs, held, pid, mount_namespace, &mut table, found) {
                // Gone, or gone elsewhere: the next one may serve.
                Err(errno) if is_gone(errno) || errno == Errno::INVAL => {}
                Err(errno) => {
                    found.refusals.note(Code::MountsUnreadable, Some(errno), Some(pid));
                }
                Ok(()) => break,
            }
        }
    }
}

fn mounts_of(
    procfs: &Procfs,
    held: &Held,
    pid: Pid,
    mount_namespace: u64,
    table: &mut Vec<u8>,
    found: &mut Found,
) -> Result<()> {
    let place = Place::bound(procfs.fd(), pid)?;
    let dir = place.dir();
    if namespace_link(dir, c"ns/mnt", "mnt")? != Some(mount_namespace) {
        return Err(Errno::SRCH);
    }
    read(dir, c"mountinfo", table)?;
    let mut root = None;
    for mount in parse::namespace_mounts(table) {
        let path = String::from_utf8_lossy(&mount.path).into_owned();
        let open = || {
            let root = match &root {
                Some(root) => root,
                None => root.insert(fs::openat(
                    dir,
                    c"root",
                    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                    Mode::empty(),
                )?),
            };
            let opened = open_beneath(root, &mount.path).and_then(NamespaceFd::new);
            match opened {
                Ok(fd) if fd.inode() == mount.inode => Ok(fd),
                // Gone meanwhile, or there, and another mount lies on top.
                _ if is_listed(dir, &mount) => Err(Errno::STALE),
                _ => Err(Errno::NOENT),
            }
        };
        let holder = Holder::Mount { path, mount_namespace };
        hold(held, mount.inode, Seen::Anyhow, open, holder, pid, found);
    }
    Ok(())
}

/// Whether a mount is still in the table.
fn is_listed(dir: BorrowedFd<'_>, mount: &NamespaceMount) -> bool {
    let mut table = Vec::new();
    read(dir, c"mountinfo", &mut table).is_ok()
        && parse::namespace_mounts(&table).any(|listed| listed == *mount)
}

/// Opens a path as the process sees it whose root directory is given. A mount
/// table holds no links, so none is followed: whatever this leads to, it does
/// not lead out.
fn open_beneath(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd> {
    let path = CString::new(path).map_err(|_| Errno::INVAL)?;
    fs::openat2(
        root,
        path.as_c_str(),
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
    )
}
