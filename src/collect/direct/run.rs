//! Finds the descendants of `pidns run` faster than a full scan.

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

/// Maximum number of children to open before a visit to their parent, if the parent is in another
/// PID namespace.
///
/// If the visit ends the parent, another init adopts the children, and the walk can no longer list
/// them.
const LOOK_AHEAD: usize = 64;

/// Finds the descendants of this pidns process in a procfs.
#[derive(Debug)]
pub struct Descendants {
    procfs: Procfs,
    /// PID of this pidns process, as the procfs shows it.
    viewer: Pid,
    /// In the `NSpid` line of a descendant, the PID at this index is the one in pidns's own PID
    /// namespace.
    level: usize,
}

/// A process that descends from this pidns process.
#[derive(Debug)]
pub struct Descendant {
    /// PID of the descendant in the PID namespace that the procfs shows.
    pub pid: Pid,
    /// `true` if the process has terminated and waits to be reaped.
    pub has_exited: bool,
    /// `true` if pidns itself can reap the process.
    is_reapable: bool,
    /// `true` if the process is known to be in another PID namespace than pidns. The namespaces of
    /// pidns's own children are not read.
    pub is_nested: bool,
    /// A pidfd of the process (since Linux 5.3).
    pidfd: Option<OwnedFd>,
    /// PID of the descendant in the PID namespace of pidns, for use in system calls.
    raw: RawPid,
}

impl Descendant {
    /// Creates a running process of which only the PIDs are known.
    fn new(pid: Pid, raw: RawPid, pidfd: Option<OwnedFd>) -> Self {
        Self { pid, has_exited: false, is_reapable: false, is_nested: false, pidfd, raw }
    }

    /// Sends a signal to the process, and returns the same errors as kill(2).
    pub fn signal(&self, signal: Signal) -> SysResult<()> {
        match self.pidfd.as_ref().map(|pidfd| pidfd_send_signal(pidfd, signal)) {
            // A seccomp filter may block pidfd_send_signal(2), but allow kill(2).
            Some(Err(Errno::NOSYS)) if !self.still_has_its_pid() => Err(Errno::SRCH),
            Some(Err(Errno::NOSYS)) | None => kill_process(self.raw, signal),
            Some(result) => result,
        }
    }

    /// Returns another handle to the process, or `None` if it has no pidfd.
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        let pidfd = Some(self.pidfd.as_ref()?.try_clone().ok()?);
        Some(Self { pidfd, ..*self })
    }

    /// Returns `true` if the process has a pidfd, and has not exited.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.pidfd.is_some() && self.still_has_its_pid()
    }

    /// Returns the PID and the pidfd's inode, which is unique to the process since Linux 6.9.
    #[must_use]
    pub fn identity(&self) -> (Pid, Option<u64>) {
        let stat = self.pidfd.as_ref().and_then(|pidfd| fstat(pidfd).ok());
        (self.pid, stat.map(|stat| stat.st_ino))
    }

    /// Returns `true` unless the pidfd shows that the process has exited.
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
        // The command can unmount /proc, so open `/proc/self/fd` before the command starts. Ignore
        // an error here, because the scan will report it.
        let _ = own_descriptors();
        let unseen = || Error::Read { path: path.join("self"), source: Errno::NOENT.into() };
        let viewer = procfs.viewer.ok_or_else(unseen)?;
        let level = status(&procfs, viewer).map_or(0, |it| it.nspid.len().saturating_sub(1));
        Ok(Self { procfs, viewer, level })
    }

    /// Returns `true` if pidns may have descendants that do not belong to the command that it runs.
    ///
    /// Call this method before the command starts.
    #[must_use]
    pub fn adopts_others(&self) -> bool {
        // The init of a PID namespace adopts orphans.
        getpid().is_init()
            // After `exec pidns` in a shell, the children of the shell are children of pidns.
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

    /// Returns the directory of this process's version 2 cgroup, or `None` if it is not visible.
    pub fn own_cgroup(&self) -> Result<Option<PathBuf>, Error> {
        let table = self.own_file(c"self/mountinfo")?;
        let cgroups = self.own_file(c"self/cgroup")?;
        let below = |mount: parse::CgroupMount| {
            let path = mount.cgroup(&cgroups).filter(|_| mount.is_v2())?;
            Some(Path::new(OsStr::from_bytes(&mount.point)).join(OsStr::from_bytes(path)))
        };
        Ok(parse::cgroup_mounts(&table, "").find_map(below))
    }

    /// Opens the processes whose PIDs `list` returns. The PIDs must be those in pidns's own PID
    /// namespace.
    pub fn open_listed(&self, list: impl Fn() -> HashSet<RawPid>) -> Vec<Descendant> {
        let mut opened: Vec<_> =
            list().into_iter().filter_map(|raw| self.open_member(raw)).collect();
        // A PID may have been reused before its pidfd was opened, so list the PIDs again.
        let again = list();
        opened.retain(|it| again.contains(&it.raw));
        opened
    }

    /// Opens a process by its PID in pidns's own PID namespace.
    #[must_use]
    pub fn open_member(&self, raw: RawPid) -> Option<Descendant> {
        let pidfd = pidfd_open(raw, PidfdFlags::empty()).ok();
        let pid = if self.level == 0 {
            model_pid(raw)?
        } else {
            // The `fdinfo` file of a pidfd shows the PID of the process in this procfs.
            let name = format!("self/fdinfo/{}", pidfd.as_ref()?.as_raw_fd());
            parse::pidfd_process(&self.own_file(&CString::new(name).ok()?).ok()?)?
        };
        Some(Descendant::new(pid, raw, pidfd))
    }

    /// Returns `true` if pidns ignores SIGCHLD, so its children leave no zombies (`wait(2)`).
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

    /// Returns the descendants whose leader thread has exited, except those that pidns can reap.
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

    /// Returns the living descendants that the procfs hides (`hidepid=` in `proc(5)`).
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

    /// Returns `true` if this PID (in the PID namespace of pidns) belongs to a descendant.
    #[must_use]
    pub fn contains(&self, pid: RawPid) -> bool {
        // In a procfs of another namespace, `pid` may refer to a different process.
        let mut ancestor = model_pid(pid).filter(|_| self.procfs.own);
        while let Some(pid) = ancestor {
            if pid == self.viewer {
                return true;
            }
            ancestor = status(&self.procfs, pid).and_then(|status| status.ppid);
        }
        false
    }

    /// Visits the descendants, parents before their children, until `visit` breaks.
    ///
    /// A walk may miss processes that are forked or orphaned during the walk. But if `visit` ends a
    /// process in another PID namespace, whose init then adopts the children, the walk still
    /// visits the children (up to a maximum).
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
        let mut open = |pid: Pid, parent: Option<&Descendant>| {
            seen.insert(pid).then(|| self.open_child(pid, parent)).flatten()
        };
        // A stack of ancestors (`None` is pidns itself), each with its unvisited children, of which
        // some are already open.
        let mut ancestors = vec![(None, Vec::new().into_iter(), list(self.viewer))];
        while let Some((parent, opened, listed)) = ancestors.last_mut() {
            let child = if let Some(child) = opened.next() {
                Some(child)
            } else if let Some(pid) = listed.next() {
                open(pid, parent.as_ref())
            } else {
                ancestors.pop();
                continue;
            };
            let Some(child) = child else { continue };
            let mut listed = list(child.pid);
            // `is_nested` is never set for pidns's own children.
            let is_nested = child.is_nested
                || parent.is_none()
                    && !listed.as_slice().is_empty()
                    && status(&self.procfs, child.pid).is_some_and(|it| self.is_nested(&it));
            let ahead = listed.by_ref().take(if is_nested { LOOK_AHEAD } else { 0 });
            let opened = ahead.filter_map(|pid| open(pid, Some(&child)));
            let opened: Vec<Descendant> = opened.collect();
            if visit(&child).is_break() {
                return;
            }
            ancestors.push((Some(child), opened.into_iter(), listed));
        }
    }

    /// Opens a process that was listed as a child of `parent` (`None` is pidns itself).
    fn open_child(&self, pid: Pid, parent: Option<&Descendant>) -> Option<Descendant> {
        let raw = self.raw(pid)?;
        let pidfd = match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(pidfd) => Some(pidfd),
            Err(Errno::SRCH) => return None,
            Err(_) => None,
        };
        let child = Descendant::new(pid, raw, pidfd);
        if parent.is_none() {
            // Check this before waitid(2). In the reverse order, a process that exits between the
            // two checks would seem to have exited without being reapable.
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
        // If the PID was reused before the pidfd was opened, the status shows another parent.
        let status = status(&self.procfs, pid)?;
        // A descendant becomes a child of pidns if pidns adopts it as an orphan.
        let is_child = status.ppid == Some(self.viewer);
        let is_grandchild = parent.is_some_and(|parent| {
            // If the parent has exited, its PID may belong to another process by now.
            status.ppid == Some(parent.pid) && parent.still_has_its_pid()
        });
        let is_zombie = matches!(status.state, 'Z' | 'X');
        let has_exited = is_zombie && status.threads.is_none_or(|threads| threads.get() == 1);
        let is_reapable = has_exited && is_child;
        let is_nested = self.is_nested(&status);
        let child = Descendant { has_exited, is_reapable, is_nested, ..child };
        (is_child || is_grandchild).then_some(child)
    }

    /// Returns `true` if a process is in another PID namespace than pidns.
    fn is_nested(&self, status: &parse::Status) -> bool {
        status.nspid.len() > self.level + 1
    }

    /// Converts a PID as shown in the procfs to the PID that system calls expect.
    fn raw(&self, pid: Pid) -> Option<RawPid> {
        let raw = if self.level == 0 {
            pid
        } else {
            *status(&self.procfs, pid)?.nspid.get(self.level)?
        };
        RawPid::from_raw(i32::try_from(raw.as_u32()).ok()?)
    }

    /// Lists the children of a process through `/proc/PID/task/TID/children` (since Linux 3.5).
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
    /// The state is unknown, because waitid(2) does not accept a pidfd before Linux 5.4.
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
