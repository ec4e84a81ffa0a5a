//! The processes that descend from this one, found quickly and again and
//! again; what they are is for the snapshot to say.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::Dir;
use rustix::io::{Errno, Result as SysResult};
use rustix::process::{
    Pid as RawPid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal,
};

use crate::collect::error::Error;
use crate::collect::kernel::sys::{namespace_link, open_dir, read};
use crate::collect::parse;
use crate::collect::proc::mount::Procfs;
use crate::collect::proc::process_dir::look;
use crate::model::{MountedNamespaces, Pid, Process};

/// The descendants of this process, in the numbers of a /proc.
#[derive(Debug)]
pub struct Descendants {
    procfs: Procfs,
    /// This process.
    viewer: Pid,
    /// At which place of `NSpid` a process's PID stands that this process's
    /// system calls take: 0 where the /proc is its own.
    level: usize,
    /// Children that this process had before it started any: a shell that ran
    /// `exec` may have left it some.
    inherited: BTreeSet<Pid>,
}

/// A process that descends from this one.
#[derive(Debug)]
pub struct Descendant {
    /// Its PID in the /proc.
    pub pid: Pid,
    /// Its parent when it was found.
    pub parent: Pid,
    /// Whether its leading thread has terminated: it waits to be reaped, or for
    /// its other threads.
    pub is_zombie: bool,
    /// The process itself, whoever gets its number later; `None` before Linux
    /// 5.3, where there are no such descriptors.
    pidfd: Option<OwnedFd>,
    /// Its PID for system calls.
    raw: RawPid,
}

impl Descendant {
    /// Sends it a signal. One that has ended meanwhile, or must not be
    /// signalled, gets none.
    pub fn signal(&self, signal: Signal) {
        let _ = match &self.pidfd {
            Some(pidfd) => pidfd_send_signal(pidfd, signal),
            None => kill_process(self.raw, signal),
        };
    }
}

impl Descendants {
    /// Finds this process, and the children that it has already, which do not count.
    ///
    /// # Errors
    /// There is no /proc, or it does not show this process.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let procfs = Procfs::open(path)?;
        let unseen = || Error::Read { path: path.join("self"), source: Errno::NOENT.into() };
        let viewer = procfs.viewer.ok_or_else(unseen)?;
        let level = status(&procfs, viewer).map_or(0, |it| it.nspid.len().saturating_sub(1));
        let mut this = Self { procfs, viewer, level, inherited: BTreeSet::new() };
        let mut inherited = BTreeSet::new();
        this.walk(|it| {
            if it.parent == viewer {
                inherited.insert(it.pid);
            }
        });
        this.inherited = inherited;
        Ok(this)
    }

    /// This process.
    #[must_use]
    pub fn viewer(&self) -> Pid {
        self.viewer
    }

    /// The children that this process had already, and still has.
    #[must_use]
    pub fn inherited(&self) -> &BTreeSet<Pid> {
        &self.inherited
    }

    /// Forgets inherited children that have been reaped: their numbers may
    /// become those of others.
    pub fn forget_reaped(&mut self) {
        let Self { procfs, viewer, inherited, .. } = self;
        inherited
            .retain(|&pid| status(procfs, pid).is_some_and(|status| status.ppid == Some(*viewer)));
    }

    /// The PID namespaces that are mounted where this process sees it.
    ///
    /// # Errors
    /// There is no `/proc/PID/mountinfo`.
    pub fn mounted(&self) -> Result<MountedNamespaces, Error> {
        let table = self.own_file(c"self/mountinfo")?;
        let points = parse::namespace_mounts(&table)
            .map(|mount| (mount.inode, String::from_utf8_lossy(&mount.path).into_owned()))
            .collect();
        let name = c"self/ns/mnt";
        let mount_namespace = namespace_link(self.procfs.fd(), name, "mnt").ok().flatten();
        Ok(MountedNamespaces { mount_namespace, points })
    }

    /// Whether this process ignores SIGCHLD. The kernel then keeps nobody's
    /// exit status (`wait(2)`).
    ///
    /// # Errors
    /// There is no `/proc/PID/status`.
    pub fn are_forgotten(&self) -> Result<bool, Error> {
        const SIGCHLD: u64 = 1 << (Signal::CHILD.as_raw() - 1);
        let status = self.own_file(c"self/status")?;
        Ok(parse::ignored_signals(&status).is_some_and(|ignored| ignored & SIGCHLD != 0))
    }

    fn own_file(&self, name: &CStr) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        read(self.procfs.fd(), name, &mut bytes).map_err(|errno| Error::Read {
            path: self.procfs.path.join(name.to_string_lossy().as_ref()),
            source: errno.into(),
        })?;
        Ok(bytes)
    }

    /// Reads command lines and start times of descendants.
    pub fn add_details(&self, processes: &mut [Process]) {
        let mut pids = BTreeSet::new();
        self.walk(|it| {
            pids.insert(it.pid);
        });
        let mut buffer = Vec::new();
        for process in processes.iter_mut().filter(|it| pids.contains(&it.pid)) {
            let file = |name: &str, buffer: &mut Vec<u8>| {
                let name = path(format_args!("{}/{name}", process.pid))?;
                read(self.procfs.fd(), &name, buffer)
            };
            if file("stat", &mut buffer).is_ok() {
                process.start_time = parse::stat_start_time(&buffer);
            }
            if file("cmdline", &mut buffer).is_ok() {
                let args = parse::cmdline(&buffer);
                process.details.get_or_insert_default().args = Some(args);
            }
        }
    }

    /// Those that have terminated and are not reaped yet.
    #[must_use]
    pub fn zombies(&self) -> BTreeSet<Pid> {
        let mut zombies = BTreeSet::new();
        self.walk(|it| {
            if it.is_zombie {
                zombies.insert(it.pid);
            }
        });
        zombies
    }

    /// Whether there are any.
    #[must_use]
    pub fn any(&self) -> bool {
        let mut any = false;
        self.walk(|_| any = true);
        any
    }

    /// Whether a process descends from this one.
    #[must_use]
    pub fn contains(&self, pid: Pid) -> bool {
        // Another /proc has other numbers.
        let mut above = self.procfs.own.then_some(pid);
        while let Some(pid) = above {
            if pid == self.viewer {
                return true;
            }
            above = status(&self.procfs, pid).and_then(|status| status.ppid);
        }
        false
    }

    /// Visits every descendant that is there, a parent before its children. What is forked or
    /// orphaned meanwhile may be missed: look again.
    pub fn walk(&self, mut visit: impl FnMut(&Descendant)) {
        let mut seen = HashSet::new();
        let mut todo = vec![self.viewer];
        let mut buffer = Vec::new();
        let mut listed = None;
        while let Some(parent) = todo.pop() {
            let children = self.children(parent, &mut buffer).unwrap_or_else(|| {
                let listed = listed.get_or_insert_with(|| self.list());
                listed.get(&parent).cloned().unwrap_or_default()
            });
            for pid in children {
                if (parent == self.viewer && self.inherited.contains(&pid)) || !seen.insert(pid) {
                    continue;
                }
                todo.push(pid);
                if let Some(descendant) = self.find(pid, parent) {
                    visit(&descendant);
                }
            }
        }
    }

    /// A process that was listed as a child of `parent`, if it still is one.
    fn find(&self, pid: Pid, parent: Pid) -> Option<Descendant> {
        let raw = |number: Pid| RawPid::from_raw(i32::try_from(number.as_u32()).ok()?);
        let number = if self.level == 0 {
            raw(pid)?
        } else {
            raw(*status(&self.procfs, pid)?.nspid.get(self.level)?)?
        };
        let pidfd = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(pidfd) => Some(pidfd),
            Err(Errno::SRCH) => return None,
            Err(_) => None,
        };
        // Read after the descriptor was opened: if the number was given to
        // another process meanwhile, that one has another parent.
        let status = status(&self.procfs, pid)?;
        let is_ours = status.ppid.is_some_and(|it| it == parent || it == self.viewer);
        let is_zombie = matches!(status.state, 'Z' | 'X');
        is_ours.then_some(Descendant { pid, parent, is_zombie, pidfd, raw: number })
    }

    /// The children of all threads of a process (`/proc/PID/task/TID/children`,
    /// since Linux 3.5); `None` where the kernel has no such file
    /// (`CONFIG_PROC_CHILDREN`). None of a process that is gone.
    fn children(&self, parent: Pid, buffer: &mut Vec<u8>) -> Option<Vec<Pid>> {
        let mut children = Vec::new();
        let Ok(tasks) = path(format_args!("{parent}/task"))
            .and_then(|name| Dir::new(open_dir(self.procfs.fd(), &name)?))
        else {
            return Some(children);
        };
        for task in tasks.flatten() {
            let Some(tid) = parse::entry::<u32>(task.file_name().to_bytes()) else { continue };
            let name = path(format_args!("{parent}/task/{tid}/children")).ok()?;
            match read(self.procfs.fd(), &name, buffer) {
                Ok(()) => children.extend(pids(buffer)),
                Err(Errno::NOENT) if self.lacks_children_files() => return None,
                Err(_) => {}
            }
        }
        Some(children)
    }

    fn lacks_children_files(&self) -> bool {
        let viewer = self.viewer;
        path(format_args!("{viewer}/task/{viewer}/children"))
            .and_then(|name| read(self.procfs.fd(), &name, &mut Vec::new()))
            .is_err()
    }

    /// The children of every process, by a look at all of them.
    fn list(&self) -> HashMap<Pid, Vec<Pid>> {
        let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
        let entries = open_dir(self.procfs.fd(), c".").and_then(Dir::new);
        for entry in entries.into_iter().flatten().flatten() {
            let pid = parse::entry(entry.file_name().to_bytes()).and_then(Pid::new);
            if let Some(pid) = pid
                && let Some(parent) = status(&self.procfs, pid).and_then(|status| status.ppid)
            {
                children.entry(parent).or_default().push(pid);
            }
        }
        children
    }
}

/// A name below /proc.
fn path(name: std::fmt::Arguments<'_>) -> SysResult<CString> {
    CString::new(name.to_string()).map_err(|_| Errno::INVAL)
}

fn status(procfs: &Procfs, pid: Pid) -> Option<parse::Status> {
    let mut buffer = Vec::new();
    let name = path(format_args!("{pid}/status")).ok()?;
    look(|| read(procfs.fd(), &name, &mut buffer)).ok()?;
    Some(parse::status(&buffer))
}

/// PIDs parted by blanks.
fn pids(text: &[u8]) -> impl Iterator<Item = Pid> {
    text.split(u8::is_ascii_whitespace).filter_map(|word| parse::entry(word).and_then(Pid::new))
}
