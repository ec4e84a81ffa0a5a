//! Looks up facts about processes and mounts after a scan, to give advice to the user.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;

use rustix::process::geteuid;
use rustix::thread::CapabilitySet;

use super::mount_facts;
use crate::collect::discovery::Sleeps;
use crate::collect::error::Error;
use crate::collect::kernel::sys::{namespace_link, own_namespace, read};
use crate::collect::kernel::viewer;
use crate::collect::parse;
use crate::collect::proc::process_dir::ProcessDir;
use crate::collect::proc::procfs::Procfs;
use crate::collect::proc::relatives::restarted;
use crate::collect::proc::status::{is_there, namespace_of, read_now};
use crate::collect::proc::waiting::{self, Freezer, Sleep};
use crate::collect::unblocked::unless_blocked;
use crate::model::{BindMount, LiveFacts, Pid, Process};

/// The processes that a scan found, and the procfs that shows their current state.
pub struct LiveHost {
    procfs: Procfs,
    processes: Arc<[Process]>,
}

impl LiveHost {
    /// Opens the procfs mounted at `path`. It must be the procfs that the scan has read.
    pub fn open(path: &Path, processes: &[Process]) -> Result<Self, Error> {
        Ok(Self::of(Procfs::open(path)?, processes))
    }

    /// Creates a `LiveHost` from the `procfs` that the scan has opened.
    pub fn of(procfs: Procfs, processes: &[Process]) -> Self {
        Self { procfs, processes: processes.into() }
    }

    /// Finds the threads in uninterruptible sleep, grouped by the PID of their process.
    pub fn uninterruptible_sleeps(&self) -> Result<BTreeMap<Pid, Sleeps>, Error> {
        self.sleeps_of(|it| {
            let may_hide_one = it.threads.is_some_and(|threads| threads.get() > 1);
            !it.kernel_thread && (it.state == 'D' || may_hide_one)
        })
    }

    /// Finds processes with a thread that has stayed in uninterruptible sleep since `earlier`. Maps
    /// the PID of each process to the TID of the thread.
    pub fn lasting_sleeps(
        &self,
        earlier: &BTreeMap<Pid, Sleeps>,
    ) -> Result<BTreeMap<Pid, Pid>, Error> {
        let now = self.sleeps_of(|it| earlier.contains_key(&it.pid))?;
        let lasting = |(pid, mut sleeps): (Pid, Sleeps)| {
            sleeps.retain(|tid, switches| {
                earlier.get(&pid).and_then(|it| it.get(tid)) == Some(switches)
            });
            let tid = if sleeps.contains_key(&pid) { pid } else { *sleeps.keys().next()? };
            Some((pid, tid))
        };
        Ok(now.into_iter().filter_map(lasting).collect())
    }

    fn sleeps_of(
        &self,
        is_asked: impl Fn(&Process) -> bool,
    ) -> Result<BTreeMap<Pid, Sleeps>, Error> {
        self.read(is_asked, |procfs, process| {
            let sleeps = waiting::uninterruptible_sleeps(procfs, process);
            (!sleeps.is_empty()).then_some((process.pid, sleeps))
        })
    }

    /// Returns the processes with a stopped leader and at least one thread that is not stopped.
    pub fn partly_stopped(&self) -> Result<BTreeSet<Pid>, Error> {
        let may_run =
            |it: &Process| it.is_stopped() && it.threads.is_some_and(|threads| threads.get() > 1);
        self.read(may_run, |procfs, process| {
            waiting::stopped_by(procfs, process).is_none().then_some(process.pid)
        })
    }

    /// Returns each init whose leader thread has exited and whose other threads are all stopped.
    pub fn stopped_inits(&self) -> Result<BTreeSet<Pid>, Error> {
        let may_be_stopped = |it: &Process| it.has_exited_leader() && it.is_init();
        self.read(may_be_stopped, |procfs, process| {
            waiting::stopped_by(procfs, process).is_some().then_some(process.pid)
        })
    }

    /// Looks up facts about the processes in `concerned`, and about the bind mounts in `mounts`.
    pub fn facts(
        &self,
        concerned: &HashSet<Pid>,
        mounts: &BTreeSet<BindMount>,
    ) -> Result<LiveFacts, Error> {
        unless_blocked(|| {
            let facts = FactReader {
                procfs: self.procfs.try_clone()?,
                processes: Arc::clone(&self.processes),
            };
            let (concerned, mounts) = (concerned.clone(), mounts.clone());
            Ok(move || facts.read(&concerned, &mounts))
        })
    }

    /// Calls `read` for each process that `is_asked` selects, and collects the results.
    fn read<T, C: FromIterator<T> + Default + Send + 'static>(
        &self,
        is_asked: impl Fn(&Process) -> bool,
        read: fn(&Procfs, &Process) -> Option<T>,
    ) -> Result<C, Error>
    where
        T: 'static,
    {
        let asked: Vec<Process> =
            self.processes.iter().filter(|it| is_asked(it)).cloned().collect();
        if asked.is_empty() {
            return Ok(C::default());
        }
        unless_blocked(|| {
            let (procfs, asked) = (self.procfs.try_clone()?, asked.clone());
            Ok(move || asked.iter().filter_map(|it| read(&procfs, it)).collect())
        })
    }
}

/// Reads the facts that [`LiveHost::facts`] returns.
struct FactReader {
    procfs: Procfs,
    processes: Arc<[Process]>,
}

impl FactReader {
    fn read(&self, concerned: &HashSet<Pid>, mounts: &BTreeSet<BindMount>) -> LiveFacts {
        let mut facts = LiveFacts {
            own_pid: self.procfs.viewer,
            own_mount_namespace: namespace_link(self.procfs.fd(), c"self/ns/mnt", "mnt")
                .or_else(|_| own_namespace(c"self/ns/mnt", "mnt"))
                .ok()
                .flatten(),
            is_host_root: viewer::is_host_root(),
            may_raise_hard_limits: viewer::may_raise_hard_limits(),
            ..LiveFacts::default()
        };
        let freezer = Freezer::of_viewer();
        for process in self.processes.iter().filter(|it| concerned.contains(&it.pid)) {
            if self.has_ended(process) {
                facts.ended.insert(process.pid);
                continue;
            }
            let frozen = freezer.frozen_cgroups(&self.procfs, process);
            let is_frozen = !frozen.is_empty();
            if is_frozen {
                facts.frozen.insert(process.pid, frozen);
            }
            if waiting::ignores_sigterm(&self.procfs, process) {
                facts.ignore_sigterm.insert(process.pid);
            }
            if process.is_zombie()
                && let Some(by) = waiting::stopped_by(&self.procfs, process)
            {
                facts.stopped.insert(process.pid, by);
            }
            if process.state == 'D' || process.has_exited_leader() {
                let sleep = waiting::sleep(&self.procfs, process);
                facts.uninterruptible.extend(sleep.map(|_| process.pid));
                let is_unkillable = sleep == Some(Sleep::Unkillable) && !is_frozen;
                facts.unkillable.extend(is_unkillable.then_some(process.pid));
            }
            if let Some(hard) = self.hard_nproc(process) {
                facts.hard_nproc.insert(process.pid, hard);
            }
            if let Some(inode) = namespace_of(&self.procfs, process, c"ns/user", "user") {
                facts.user_namespaces.insert(process.pid, inode);
            }
            if self.is_container_root(process) {
                facts.container_roots.insert(process.pid);
            }
            // nsenter(1) accepts only PIDs of its own PID namespace. Assume that this is also the
            // PID namespace of pidns.
            if self.procfs.own && !process.is_zombie() && !process.kernel_thread {
                facts.enterable.insert(process.pid, self.keeps_user(process));
            }
        }
        facts.restarted = self.restarted(&facts.ended);
        mount_facts::add(&self.procfs, &self.processes, mounts, &mut facts);
        facts
    }

    /// Returns the processes in `ended` that have a new sibling with the same name. They were
    /// probably restarted.
    fn restarted(&self, ended: &BTreeSet<Pid>) -> BTreeSet<Pid> {
        let ended: Vec<_> = self.processes.iter().filter(|it| ended.contains(&it.pid)).collect();
        restarted(&self.procfs, &self.processes, &ended)
    }

    /// Returns the hard limit `RLIMIT_NPROC` of a process, or `u64::MAX` if it is unlimited.
    fn hard_nproc(&self, process: &Process) -> Option<u64> {
        let dir = ProcessDir::open(self.procfs.fd(), process.pid).ok()?;
        let mut text = Vec::new();
        read(dir.as_fd(), c"limits", &mut text).ok()?;
        let (_, hard) = parse::max_processes(&text)?;
        Some(hard.number().unwrap_or(u64::MAX))
    }

    /// Returns `true` if a process is root in its user namespace and has `CAP_SYS_RESOURCE`.
    fn is_container_root(&self, process: &Process) -> bool {
        let Ok(dir) = ProcessDir::open(self.procfs.fd(), process.pid) else { return false };
        let (mut status, mut map) = (Vec::new(), Vec::new());
        let is_read = read(dir.as_fd(), c"status", &mut status).is_ok()
            && read(dir.as_fd(), c"uid_map", &mut map).is_ok();
        // The kernel requires this capability for writing to /proc/sys/user.
        let capability = CapabilitySet::SYS_RESOURCE.bits();
        is_read
            && parse::zero_maps_to(&map) == Some(process.uid.into())
            && parse::capabilities(&status).is_some_and(|it| it & capability != 0)
    }

    /// Returns `true` if a process has disappeared or become a zombie since the scan.
    fn has_ended(&self, process: &Process) -> bool {
        let now = read_now(&self.procfs, process.pid).ok();
        let is_same = |now: &Process| match process.start_time {
            Some(start_time) => now.start_time == Some(start_time),
            None => is_there(&self.procfs, process),
        };
        let now = now.filter(is_same);
        now.is_none_or(|now| now.is_unreaped() && !process.is_unreaped())
    }

    /// Returns `true` if nsenter(1) needs `--preserve-credentials` for this process.
    fn keeps_user(&self, process: &Process) -> bool {
        let Ok(dir) = ProcessDir::open(self.procfs.fd(), process.pid) else { return false };
        let theirs = namespace_link(dir.as_fd(), c"ns/user", "user").ok().flatten();
        let own = own_namespace(c"self/ns/user", "user").ok().flatten();
        if theirs.is_none() || theirs == own {
            return false;
        }
        let mut map = Vec::new();
        let mut maps_root = |name| {
            read(dir.as_fd(), name, &mut map).is_ok_and(|()| parse::zero_maps_to(&map).is_some())
        };
        // By default, nsenter(1) becomes root, which requires a mapping of UID 0 and GID 0.
        !geteuid().is_root() || !maps_root(c"uid_map") || !maps_root(c"gid_map")
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::collect::proc::status;

    #[test]
    fn a_process_has_ended_if_it_is_gone_or_a_new_zombie() {
        let procfs = || Procfs::open(Path::new("/proc")).unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::new(child.id()).unwrap();
        let read = || status::read_now(&procfs(), pid).unwrap();
        let has_ended = |process: &Process| {
            let live = LiveHost::of(procfs(), std::slice::from_ref(process));
            let facts = live.facts(&[pid].into(), &BTreeSet::new()).unwrap();
            facts.ended.contains(&pid)
        };
        let running = read();
        assert!(!has_ended(&running));
        let other = Process { start_time: running.start_time.map(|it| it - 1), ..running.clone() };
        assert!(has_ended(&other), "another process has this PID");
        drop(child.stdin.take());
        while !read().is_zombie() {
            std::thread::yield_now();
        }
        assert!(has_ended(&running));
        assert!(!has_ended(&read()), "it was a zombie at the scan");
        let unknown = Process { start_time: None, ..running.clone() };
        assert!(has_ended(&unknown));
        child.wait().unwrap();
        assert!(has_ended(&running) && has_ended(&unknown));
    }
}
