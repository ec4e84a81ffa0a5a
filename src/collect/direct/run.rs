//! Finds the descendants of `pidns run`. The search is fast, so it can be repeated often. All other
//! facts about the descendants come from a scan.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{CStr, CString, OsStr};
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Dir, fstat};
use rustix::io::{Errno, Result as SysResult};
use rustix::process::{
    Pid as RawPid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, kill_process, pidfd_open,
    pidfd_send_signal, waitid,
};

use super::lookup::process_file;
use crate::collect::error::Error;
use crate::collect::kernel::sys::{namespace_link, open_dir, own_descriptors, read};
use crate::collect::parse;
use crate::collect::proc::process_dir::try_twice;
use crate::collect::proc::procfs::Procfs;
use crate::model::{MountedNamespaces, Pid, Process};

/// Finds the descendants of this pidns process in a procfs.
///
/// Some descendants may not belong to the command of `pidns run`: children of a shell that replaced
/// itself with pidns (`exec pidns`), and orphans that pidns adopts as the init of its PID
/// namespace. In these cases, [`adopts_others`](Self::adopts_others) returns `true`.
#[derive(Debug)]
pub struct Descendants {
    procfs: Procfs,
    /// PID of this pidns process, as the procfs shows it.
    viewer: Pid,
    /// Level of pidns's own PID namespace, counted from the namespace that the procfs shows. The
    /// entry with this index in `NSpid` is a descendant's PID in pidns's own namespace.
    level: usize,
}

/// A process that descends from this pidns process.
#[derive(Debug)]
pub struct Descendant {
    /// PID of the descendant, as the procfs shows it.
    pub pid: Pid,
    /// `true` if the process has terminated and waits to be reaped.
    pub has_exited: bool,
    /// `true` if pidns can reap the process. A traced zombie can be reaped only by its tracer.
    is_reapable: bool,
    /// A pidfd, which refers to this process even if its PID is reused. `None` before Linux 5.3.
    pidfd: Option<OwnedFd>,
    /// PID of the descendant in the PID namespace of pidns, for use in system calls.
    raw: RawPid,
}

impl Descendant {
    /// Sends a signal. Fails with `EPERM` if pidns has no permission to signal the process.
    pub fn signal(&self, signal: Signal) -> SysResult<()> {
        match self.pidfd.as_ref().map(|pidfd| pidfd_send_signal(pidfd, signal)) {
            // A seccomp filter may block pidfd_send_signal(2), but allow kill(2).
            Some(Err(Errno::NOSYS)) if !self.still_has_its_pid() => Err(Errno::SRCH),
            Some(Err(Errno::NOSYS)) | None => kill_process(self.raw, signal),
            Some(result) => result,
        }
    }

    /// Returns the PID and the inode of the pidfd. Since Linux 6.9, a later process with the same
    /// PID has another inode.
    #[must_use]
    pub fn identity(&self) -> (Pid, Option<u64>) {
        let stat = self.pidfd.as_ref().and_then(|pidfd| fstat(pidfd).ok());
        (self.pid, stat.map(|stat| stat.st_ino))
    }

    /// Returns `false` if the process has exited, because its PID may have been reused. Without a
    /// pidfd, always returns `true`.
    fn still_has_its_pid(&self) -> bool {
        let Some(pidfd) = &self.pidfd else { return true };
        // A pidfd becomes readable when all threads of its process have exited.
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0)
    }
}

impl Descendants {
    /// Opens the procfs mounted at `path`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let procfs = Procfs::open(path)?;
        // Open `/proc/self/fd` before the command can change the mounts. Ignore an error, because
        // the scan will report it.
        let _ = own_descriptors();
        let unseen = || Error::Read { path: path.join("self"), source: Errno::NOENT.into() };
        let viewer = procfs.viewer.ok_or_else(unseen)?;
        let level = status(&procfs, viewer).map_or(0, |it| it.nspid.len().saturating_sub(1));
        Ok(Self { procfs, viewer, level })
    }

    /// Returns `true` if pidns may adopt orphans that do not descend from the command: it is the
    /// init of its PID namespace, or already has children. Must be called before the command is
    /// started.
    #[must_use]
    pub fn adopts_others(&self) -> bool {
        getpid().is_init()
            || match self.children(self.viewer, &mut Vec::new()) {
                Some(children) => !children.is_empty(),
                None => has_children(),
            }
    }

    /// Returns another handle to the procfs.
    pub fn procfs(&self) -> Result<Procfs, Error> {
        self.procfs.try_clone()
    }

    /// Returns the PID of this pidns process, as the procfs shows it.
    #[must_use]
    pub fn viewer(&self) -> Pid {
        self.viewer
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

    /// Returns the directory of this process's cgroup in the version 2 hierarchy. Returns `None` if
    /// this hierarchy is not mounted or does not show the cgroup.
    pub fn own_cgroup(&self) -> Result<Option<PathBuf>, Error> {
        let table = self.own_file(c"self/mountinfo")?;
        let cgroups = self.own_file(c"self/cgroup")?;
        let below = |mount: parse::CgroupMount| {
            let path = mount.cgroup(&cgroups).filter(|_| mount.is_v2())?;
            Some(Path::new(OsStr::from_bytes(&mount.point)).join(OsStr::from_bytes(path)))
        };
        Ok(parse::cgroup_mounts(&table, "").find_map(below))
    }

    /// Opens each process whose PID `list` returns. The PIDs must be PIDs in pidns's own PID
    /// namespace, even if the procfs shows another namespace.
    pub fn open_listed(&self, list: impl Fn() -> HashSet<RawPid>) -> Vec<Descendant> {
        let mut opened: Vec<_> =
            list().into_iter().filter_map(|raw| self.open_member(raw)).collect();
        // A PID may have been reused before its pidfd was opened. So list the PIDs again, and drop
        // the processes that are missing from the second list.
        let again = list();
        opened.retain(|it| again.contains(&it.raw));
        opened
    }

    /// Opens a process by its PID in pidns's own PID namespace. Returns `None` if the process is
    /// gone.
    ///
    /// If the procfs shows another PID namespace, also returns `None` before Linux 5.3. Only a
    /// pidfd can identify the process in that procfs.
    #[must_use]
    pub fn open_member(&self, raw: RawPid) -> Option<Descendant> {
        let pidfd = pidfd_open(raw, PidfdFlags::empty()).ok();
        let pid = if self.level == 0 {
            model_pid(raw)?
        } else {
            // The fdinfo file of a pidfd contains the PID of the process in the namespace of this
            // procfs.
            let name = format!("self/fdinfo/{}", pidfd.as_ref()?.as_raw_fd());
            parse::pidfd_process(&self.own_file(&CString::new(name).ok()?).ok()?)?
        };
        Some(Descendant { pid, has_exited: false, is_reapable: false, pidfd, raw })
    }

    /// Returns `true` if pidns ignores SIGCHLD, so that the kernel discards the exit status of its
    /// children (`wait(2)`).
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

    /// Returns the descendants whose leader thread has exited. Leaves out the children that pidns
    /// can reap.
    #[must_use]
    pub fn zombies(&self) -> BTreeSet<Pid> {
        let mut zombies = BTreeSet::new();
        self.walk(|it| {
            let status = status(&self.procfs, it.pid);
            if !it.is_reapable && status.is_some_and(|it| matches!(it.state, 'Z' | 'X')) {
                zombies.insert(it.pid);
            }
            ControlFlow::Continue(())
        });
        zombies
    }

    /// Returns the descendants that the procfs hides (`hidepid=` in `proc(5)`), except terminated
    /// processes. Only their PIDs are known.
    #[must_use]
    pub fn hidden(&self) -> Vec<Process> {
        let mut hidden = Vec::new();
        self.walk(|it| {
            let is_hidden = status(&self.procfs, it.pid).is_none() && it.still_has_its_pid();
            if is_hidden && !it.has_exited {
                hidden.push(Process { ppid: Some(self.viewer), ..Process::unread(it.pid) });
            }
            ControlFlow::Continue(())
        });
        hidden
    }

    /// Returns `true` if the process with this PID is a descendant of pidns. `pid` is its PID in
    /// the PID namespace of pidns.
    #[must_use]
    pub fn contains(&self, pid: RawPid) -> bool {
        // In a procfs of another namespace, `pid` may refer to a different process, so return
        // `false`.
        let mut ancestor = model_pid(pid).filter(|_| self.procfs.own);
        while let Some(pid) = ancestor {
            if pid == self.viewer {
                return true;
            }
            ancestor = status(&self.procfs, pid).and_then(|status| status.ppid);
        }
        false
    }

    /// Visits every descendant, parents before their children, until `visit` breaks. May miss a
    /// process that is forked or orphaned during the walk. Repeat the walk until it finds no new
    /// descendants.
    pub fn walk(&self, mut visit: impl FnMut(&Descendant) -> ControlFlow<()>) {
        let mut seen = HashSet::new();
        let mut buffer = Vec::new();
        let mut of_all = None;
        let mut list = |parent: Pid| {
            let children = self.children(parent, &mut buffer).unwrap_or_else(|| {
                let of_all = of_all.get_or_insert_with(|| self.children_of_all());
                of_all.get(&parent).cloned().unwrap_or_default()
            });
            children.into_iter()
        };
        // The ancestors of the next process, each with its children that are still to be visited.
        // `None` is pidns itself.
        let mut ancestors = vec![(None, list(self.viewer))];
        while let Some((parent, children)) = ancestors.last_mut() {
            let Some(pid) = children.next() else {
                ancestors.pop();
                continue;
            };
            let child = seen.insert(pid).then(|| self.open_child(pid, parent.as_ref())).flatten();
            if let Some(child) = child {
                if visit(&child).is_break() {
                    return;
                }
                let children = list(pid);
                ancestors.push((Some(child), children));
            }
        }
    }

    /// Opens a process that was listed as a child of `parent`, or of pidns if `parent` is `None`.
    /// Returns `None` if the process is gone, or if its parent is now neither `parent` nor pidns.
    fn open_child(&self, pid: Pid, parent: Option<&Descendant>) -> Option<Descendant> {
        let raw = self.raw(pid)?;
        let pidfd = match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(pidfd) => Some(pidfd),
            Err(Errno::SRCH) => return None,
            Err(_) => None,
        };
        let child = Descendant { pid, has_exited: false, is_reapable: false, pidfd, raw };
        if parent.is_none() {
            // Check the pidfd before waitid(2). Otherwise, a process that exits between the two
            // checks would look like a zombie that pidns cannot reap.
            let has_exited = !child.still_has_its_pid();
            match child.pidfd.as_ref().map_or(ChildState::Unknown, child_state) {
                ChildState::NotReapable => return Some(Descendant { has_exited, ..child }),
                ChildState::Reapable => {
                    return Some(Descendant { has_exited: true, is_reapable: true, ..child });
                }
                ChildState::NotAChild => return None,
                ChildState::Unknown => {}
            }
        }
        // Accept the process only if its parent is the expected parent or pidns, which adopts
        // orphans. If the PID was reused before the pidfd was opened, the status shows another
        // parent.
        let status = status(&self.procfs, pid)?;
        let is_child = status.ppid == Some(self.viewer);
        let is_grandchild = parent.is_some_and(|parent| {
            // If the parent has exited, its PID may belong to another process by now.
            status.ppid == Some(parent.pid) && parent.still_has_its_pid()
        });
        let is_zombie = matches!(status.state, 'Z' | 'X');
        let has_exited = is_zombie && status.threads.is_none_or(|threads| threads.get() == 1);
        let is_reapable = has_exited && is_child;
        (is_child || is_grandchild).then_some(Descendant { has_exited, is_reapable, ..child })
    }

    /// Returns the PID of a process for use in system calls. `pid` is its PID in the procfs.
    fn raw(&self, pid: Pid) -> Option<RawPid> {
        let raw = if self.level == 0 {
            pid
        } else {
            *status(&self.procfs, pid)?.nspid.get(self.level)?
        };
        RawPid::from_raw(i32::try_from(raw.as_u32()).ok()?)
    }

    /// Lists the children of a process (`/proc/PID/task/TID/children`, since Linux 3.5). Returns an
    /// empty list if the process is gone. Returns `None` if the list cannot be read.
    fn children(&self, parent: Pid, buffer: &mut Vec<u8>) -> Option<Vec<Pid>> {
        let mut children = Vec::new();
        let tasks = process_file(parent, "task")
            .and_then(|name| Dir::new(open_dir(self.procfs.fd(), &name)?));
        let tasks = match tasks {
            Ok(tasks) => tasks,
            Err(Errno::NOENT | Errno::SRCH) => return Some(children),
            Err(_) => return None,
        };
        for task in tasks.flatten() {
            let Some(tid) = parse::entry(task.file_name().to_bytes()).and_then(Pid::new) else {
                continue;
            };
            let name = children_file(parent, tid).ok()?;
            match read(self.procfs.fd(), &name, buffer) {
                Ok(()) => children.extend(parse_pids(buffer)),
                Err(Errno::NOENT) if self.lacks_children_files() => return None,
                Err(Errno::NOENT | Errno::SRCH) => {}
                Err(_) => return None,
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

/// Returns `true` if this process has a child.
fn has_children() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::All, options), Err(Errno::CHILD))
}

/// The state of a process that was listed as a child of pidns.
enum ChildState {
    /// The process is running, or only its tracer can reap it.
    NotReapable,
    /// The process has terminated, and pidns can reap it.
    Reapable,
    /// The process is not a child of pidns.
    NotAChild,
    /// Linux before 5.4 does not report the state of a child.
    Unknown,
}

/// Returns the state of a child of pidns, even if the procfs hides the child.
fn child_state(pidfd: &OwnedFd) -> ChildState {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::PidFd(pidfd.as_fd()), options) {
        Ok(None) => ChildState::NotReapable,
        Ok(Some(_)) => ChildState::Reapable,
        Err(Errno::CHILD) => ChildState::NotAChild,
        Err(_) => ChildState::Unknown,
    }
}

fn model_pid(raw: RawPid) -> Option<Pid> {
    u32::try_from(raw.as_raw_nonzero().get()).ok().and_then(Pid::new)
}

/// Parses PIDs separated by spaces.
fn parse_pids(text: &[u8]) -> impl Iterator<Item = Pid> {
    text.split(u8::is_ascii_whitespace).filter_map(|word| parse::entry(word).and_then(Pid::new))
}
