//! Finds the descendants of `pidns run`. The search is fast, so that it can be repeated often. All
//! other facts about these processes come from a scan.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::Dir;
use rustix::io::{Errno, Result as SysResult};
use rustix::process::{
    Pid as RawPid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal,
};

use super::lookup::process_file;
use crate::collect::error::Error;
use crate::collect::kernel::clock;
use crate::collect::kernel::sys::{namespace_link, open_dir, read};
use crate::collect::parse;
use crate::collect::proc::process_dir::try_twice;
use crate::collect::proc::procfs::Procfs;
use crate::model::{MountedNamespaces, Pid, Process};

/// The descendants of this pidns process, with their PIDs as a procfs shows them.
#[derive(Debug)]
pub struct Descendants {
    procfs: Procfs,
    /// PID of this pidns process in the procfs.
    viewer: Pid,
    /// A descendant's `NSpid` lists its PID in the PID namespace of pidns at this index. The index
    /// is 0 if the procfs belongs to that namespace.
    level: usize,
    /// Children that this process already had when it started. A shell with children can replace
    /// itself with pidns (`exec pidns`).
    inherited: BTreeSet<Pid>,
}

/// A process that descends from this pidns process.
#[derive(Debug)]
pub struct Descendant {
    /// PID of the descendant in the procfs.
    pub pid: Pid,
    /// PID of its parent at the time when the descendant was found.
    pub parent: Pid,
    /// `true` if the leader has terminated. The process then waits to be reaped, or for its other
    /// threads to exit.
    pub is_zombie: bool,
    /// A pidfd, which refers to this process even if its PID is reused. `None` before Linux 5.3.
    pidfd: Option<OwnedFd>,
    /// PID of the descendant in the PID namespace of pidns, as system calls expect it.
    raw: RawPid,
}

impl Descendant {
    /// Sends a signal to the process. Errors are ignored, since the process may have exited
    /// already.
    pub fn signal(&self, signal: Signal) {
        let _ = match &self.pidfd {
            Some(pidfd) => pidfd_send_signal(pidfd, signal),
            None => kill_process(self.raw, signal),
        };
    }
}

impl Descendants {
    /// Opens the procfs mounted at `path`, and records the children that this process already has.
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

    /// Returns the PID of this pidns process in the procfs.
    #[must_use]
    pub fn viewer(&self) -> Pid {
        self.viewer
    }

    /// Returns the children that this process already had when it started. Call
    /// [`forget_reaped`](Self::forget_reaped) first to leave out the children that have been
    /// reaped.
    #[must_use]
    pub fn inherited(&self) -> &BTreeSet<Pid> {
        &self.inherited
    }

    /// Removes inherited children that have been reaped, because their PIDs may be reused.
    pub fn forget_reaped(&mut self) {
        let Self { procfs, viewer, inherited, .. } = self;
        inherited
            .retain(|&pid| status(procfs, pid).is_some_and(|status| status.ppid == Some(*viewer)));
    }

    /// Returns the PID and mount namespaces that are bind-mounted in this process's mount
    /// namespace.
    pub fn mounted(&self) -> Result<MountedNamespaces, Error> {
        let table = self.own_file(c"self/mountinfo")?;
        let points = parse::namespace_mounts(&table)
            .map(|mount| (mount.inode, String::from_utf8_lossy(&mount.path).into_owned()))
            .collect();
        let name = c"self/ns/mnt";
        let mount_namespace = namespace_link(self.procfs.fd(), name, "mnt").ok().flatten();
        Ok(MountedNamespaces { mount_namespace, points })
    }

    /// Returns `true` if this process ignores SIGCHLD. The kernel then discards the exit
    /// status of its children (`wait(2)`).
    pub fn are_forgotten(&self) -> Result<bool, Error> {
        const SIGCHLD: u64 = 1 << (Signal::CHILD.as_raw() - 1);
        let status = self.own_file(c"self/status")?;
        Ok(parse::signals(&status, b"SigIgn:").is_some_and(|ignored| ignored & SIGCHLD != 0))
    }

    fn own_file(&self, name: &CStr) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        read(self.procfs.fd(), name, &mut bytes).map_err(|errno| Error::Read {
            path: self.procfs.path.join(name.to_string_lossy().as_ref()),
            source: errno.into(),
        })?;
        Ok(bytes)
    }

    /// Adds the command line and the start time to each process in `processes` that is a
    /// descendant.
    pub fn add_details(&self, processes: &mut [Process]) {
        let mut pids = BTreeSet::new();
        self.walk(|it| {
            pids.insert(it.pid);
        });
        let mut buffer = Vec::new();
        for process in processes.iter_mut().filter(|it| pids.contains(&it.pid)) {
            let file = |name: &str, buffer: &mut Vec<u8>| {
                read(self.procfs.fd(), &process_file(process.pid, name)?, buffer)
            };
            if file("stat", &mut buffer).is_ok() {
                process.start_time = clock::start_time_in(&buffer);
            }
            if file("cmdline", &mut buffer).is_ok() {
                let args = parse::cmdline(&buffer);
                process.details.get_or_insert_default().args = Some(args);
            }
        }
    }

    /// Returns the descendants that have terminated and have not been reaped.
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

    /// Returns `true` if there are any descendants.
    #[must_use]
    pub fn any(&self) -> bool {
        let mut any = false;
        self.walk(|_| any = true);
        any
    }

    /// Returns `true` if the process with this PID is a descendant. `pid` is its PID in the PID
    /// namespace of pidns.
    #[must_use]
    pub fn contains(&self, pid: Pid) -> bool {
        // If the procfs belongs to another namespace, it shows different PIDs, so the result is
        // `false`.
        let mut ancestor = self.procfs.own.then_some(pid);
        while let Some(pid) = ancestor {
            if pid == self.viewer {
                return true;
            }
            ancestor = status(&self.procfs, pid).and_then(|status| status.ppid);
        }
        false
    }

    /// Visits every descendant, parents before their children. A process that is forked or orphaned
    /// during the walk can be missed, so repeat the walk until it finds no descendant.
    pub fn walk(&self, mut visit: impl FnMut(&Descendant)) {
        let mut seen = HashSet::new();
        let mut todo = vec![self.viewer];
        let mut buffer = Vec::new();
        let mut of_all = None;
        while let Some(parent) = todo.pop() {
            let children = self.children(parent, &mut buffer).unwrap_or_else(|| {
                let of_all = of_all.get_or_insert_with(|| self.children_of_all());
                of_all.get(&parent).cloned().unwrap_or_default()
            });
            for pid in children {
                if (parent == self.viewer && self.inherited.contains(&pid)) || !seen.insert(pid) {
                    continue;
                }
                todo.push(pid);
                if let Some(descendant) = self.open_child(pid, parent) {
                    visit(&descendant);
                }
            }
        }
    }

    /// Opens a process that was listed as a child of `parent`, if it is still a descendant.
    fn open_child(&self, pid: Pid, parent: Pid) -> Option<Descendant> {
        let raw = |pid: Pid| RawPid::from_raw(i32::try_from(pid.as_u32()).ok()?);
        let raw = if self.level == 0 {
            raw(pid)?
        } else {
            raw(*status(&self.procfs, pid)?.nspid.get(self.level)?)?
        };
        let pidfd = match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(pidfd) => Some(pidfd),
            Err(Errno::SRCH) => return None,
            Err(_) => None,
        };
        // The status is read after the pidfd was opened: if the PID had been reused before that,
        // the status shows another parent. If `parent` has exited, pidns has adopted its children,
        // so pidns is accepted as the parent too.
        let status = status(&self.procfs, pid)?;
        let is_ours = status.ppid.is_some_and(|it| it == parent || it == self.viewer);
        let is_zombie = matches!(status.state, 'Z' | 'X');
        is_ours.then_some(Descendant { pid, parent, is_zombie, pidfd, raw })
    }

    /// Lists the children of all threads of a process (`/proc/PID/task/TID/children`, since Linux
    /// 3.5). The list is empty if the process is gone. Returns `None` if the kernel was built
    /// without these files (`CONFIG_PROC_CHILDREN`).
    fn children(&self, parent: Pid, buffer: &mut Vec<u8>) -> Option<Vec<Pid>> {
        let mut children = Vec::new();
        let Ok(tasks) = process_file(parent, "task")
            .and_then(|name| Dir::new(open_dir(self.procfs.fd(), &name)?))
        else {
            return Some(children);
        };
        for task in tasks.flatten() {
            let Some(tid) = parse::entry(task.file_name().to_bytes()).and_then(Pid::new) else {
                continue;
            };
            let name = children_file(parent, tid).ok()?;
            match read(self.procfs.fd(), &name, buffer) {
                Ok(()) => children.extend(parse_pids(buffer)),
                Err(Errno::NOENT) if self.lacks_children_files() => return None,
                Err(_) => {}
            }
        }
        Some(children)
    }

    fn lacks_children_files(&self) -> bool {
        children_file(self.viewer, self.viewer)
            .and_then(|name| read(self.procfs.fd(), &name, &mut Vec::new()))
            .is_err()
    }

    /// Finds the children of all processes by reading the `PPid` of each process.
    fn children_of_all(&self) -> HashMap<Pid, Vec<Pid>> {
        let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
        for pid in self.procfs.pids().into_iter().flatten().map_while(Result::ok) {
            if let Some(parent) = status(&self.procfs, pid).and_then(|status| status.ppid) {
                children.entry(parent).or_default().push(pid);
            }
        }
        children
    }
}

fn children_file(pid: Pid, tid: Pid) -> SysResult<CString> {
    process_file(pid, &format!("task/{tid}/children"))
}

fn status(procfs: &Procfs, pid: Pid) -> Option<parse::Status> {
    let mut buffer = Vec::new();
    let name = process_file(pid, "status").ok()?;
    try_twice(|| read(procfs.fd(), &name, &mut buffer)).ok()?;
    Some(parse::status(&buffer))
}

/// Parses PIDs separated by spaces.
fn parse_pids(text: &[u8]) -> impl Iterator<Item = Pid> {
    text.split(u8::is_ascii_whitespace).filter_map(|word| parse::entry(word).and_then(Pid::new))
}
