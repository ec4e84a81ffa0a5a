//! Finds tracers, stuck threads and frozen cgroups that block a process.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use memchr::memmem;

use super::process_dir::{ProcessDir, for_each_task};
use super::procfs::Procfs;
use super::status::{is_there, text_now};
use crate::collect::discovery::{HeldThread, Sleeps};
use crate::collect::kernel::sys::{read, read_own};
use crate::collect::parse::{self, CgroupMount};
use crate::model::{FrozenCgroup, Pid, Process, StoppedBy};

/// Kernel functions in which SIGKILL ends an uninterruptible sleep (`TASK_KILLABLE`).
///
/// Only the beginning of a name is compared, because a compiler may add a suffix. The list also
/// contains callers, because a compiler may inline a function. Names that contain `killable` need
/// no entry.
///
/// The list excludes `request_wait_answer` (FUSE) and `p9_client_rpc` (9P), which may ignore
/// SIGKILL.
const KILLABLE: [&[u8]; 16] = [
    // `vfork(2)` waits until the child executes a program or exits.
    b"wait_for_vfork_done",
    b"kernel_clone",
    // `execve(2)` waits until the other threads of the process have exited.
    b"begin_new_exec",
    b"de_thread",
    // The owner of a userfaultfd has not handled a page fault, or has not read an event.
    b"handle_userfault",
    b"userfaultfd_event_wait_completion",
    // The listener of a seccomp filter with the flag `WAIT_KILLABLE_RECV` has not answered.
    b"seccomp_do_user_notification",
    b"__seccomp_filter",
    // A program such as a virus scanner has not yet permitted access to a file (fanotify).
    b"fanotify_handle_event",
    // The automount daemon has not answered.
    b"autofs_wait",
    // A writer waits because too many pages are dirty.
    b"balance_dirty_pages",
    // The memory cgroup is above its limit `memory.high`, or out of memory.
    b"mem_cgroup_handle_over_high",
    b"__mem_cgroup_handle_over_high",
    b"mem_cgroup_oom_synchronize",
    // The thread waits until the kernel has reclaimed memory.
    b"throttle_direct_reclaim",
    // The metadata server of a Ceph file system has not answered.
    b"ceph_mdsc_wait_request",
];

/// Maximum number of distinct contents of `/proc/PID/task/TID/cgroup` to evaluate for one process.
const MAX_CGROUPS: usize = 64;

/// Maximum number of cgroups to read on the way up from a cgroup to the root cgroup.
const MAX_LEVELS: usize = 64;

/// Returns the tracer of a process, if this procfs shows it.
pub fn tracer(procfs: &Procfs, process: &Process) -> Option<Pid> {
    parse::tracer(&text_now(procfs, process)?).map(|tid| process_of(procfs, tid))
}

/// Returns the PID of the process to which a thread belongs.
fn process_of(procfs: &Procfs, tid: Pid) -> Pid {
    let mut status = Vec::new();
    let dir = ProcessDir::open(procfs.fd(), tid);
    let read = dir.and_then(|dir| read(dir.as_fd(), c"status", &mut status));
    read.ok().and_then(|()| parse::thread_group(&status)).unwrap_or(tid)
}

/// Returns the reason why a process is stopped, if all its living threads are stopped.
pub fn stopped_by(procfs: &Procfs, process: &Process) -> Option<StoppedBy> {
    let (mut stopped, mut running) = (None, false);
    for_each_status(procfs, process, |_, _, text| match parse::status(text).state {
        'T' => stopped = stopped.or(Some(StoppedBy::Signal)),
        't' => stopped = Some(StoppedBy::Tracer(parse::tracer(text))),
        'Z' | 'X' => {}
        _ => running = true,
    })?;
    (!running).then_some(())?;
    Some(match stopped? {
        StoppedBy::Tracer(tracer) => StoppedBy::Tracer(tracer.map(|tid| process_of(procfs, tid))),
        StoppedBy::Signal => StoppedBy::Signal,
    })
}

/// Effect of SIGKILL on a process whose living threads are all in uninterruptible sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// SIGKILL wakes at least one thread (`TASK_KILLABLE`).
    Killable,
    /// SIGKILL can't wake any of the threads.
    Unkillable,
}

/// Returns the kind of sleep, if all living threads are in uninterruptible sleep.
pub fn sleep(procfs: &Procfs, process: &Process) -> Option<Sleep> {
    const SIGKILL: u64 = 1 << 8;
    let (mut sleep, mut awake) = (None, false);
    for_each_status(procfs, process, |_, task, text| match parse::status(text).state {
        'D' => {
            // A thread that already has a pending SIGKILL is not in killable sleep.
            let is_sent = parse::signals(text, b"SigPnd:").is_some_and(|it| it & SIGKILL != 0);
            if !is_sent && sleeps_killably(task) {
                sleep = Some(Sleep::Killable);
            }
            sleep = sleep.or(Some(Sleep::Unkillable));
        }
        'Z' | 'X' => {}
        _ => awake = true,
    })?;
    sleep.filter(|_| !awake)
}

/// Finds a thread that keeps its process from exiting, preferably one in uninterruptible sleep.
pub fn held_thread(procfs: &Procfs, process: &Process) -> Option<HeldThread> {
    if let Some(&tid) = uninterruptible_sleeps(procfs, process).keys().next() {
        return Some(HeldThread::Uninterruptible(tid));
    }
    let mut tracer = None;
    for_each_status(procfs, process, |_, _, text| {
        if matches!(parse::status(text).state, 't' | 'Z') {
            tracer = tracer.or_else(|| parse::tracer(text));
        }
    })?;
    tracer.map(|tid| HeldThread::Traced(process_of(procfs, tid)))
}

/// Finds the process's threads in uninterruptible sleep, except threads that SIGKILL can wake.
pub fn uninterruptible_sleeps(procfs: &Procfs, process: &Process) -> Sleeps {
    let mut sleeps = Sleeps::new();
    let read = for_each_status(procfs, process, |tid, task, text| {
        if parse::status(text).state == 'D' && !sleeps_killably(task) {
            sleeps.insert(tid, parse::context_switches(text));
        }
    });
    read.map_or_else(Sleeps::new, |()| sleeps)
}

/// Calls `visit` with the TID, the directory and the status of each thread.
fn for_each_status(
    procfs: &Procfs,
    process: &Process,
    mut visit: impl FnMut(Pid, BorrowedFd<'_>, &[u8]),
) -> Option<()> {
    let dir = ProcessDir::open(procfs.fd(), process.pid).ok()?;
    let mut text = Vec::new();
    let visit = |tid, task: OwnedFd| {
        if read(task.as_fd(), c"status", &mut text).is_ok() {
            visit(tid, task.as_fd(), &text);
        }
    };
    for_each_task(dir.as_fd(), visit).ok()?;
    // Check that the directory belongs to `process`, because the PID may have been reused.
    is_there(procfs, process).then_some(())
}

/// Returns `true` if SIGKILL can wake a thread from uninterruptible sleep.
fn sleeps_killably(task: BorrowedFd<'_>) -> bool {
    let mut function = Vec::new();
    read(task, c"wchan", &mut function).is_ok()
        && (KILLABLE.iter().any(|it| function.starts_with(it))
            || memmem::find(&function, b"killable").is_some())
}

/// Finds frozen cgroups, and caches the results.
#[derive(Debug)]
pub struct Freezer {
    /// The cgroup hierarchies.
    mounts: Vec<CgroupMount>,
    /// Maps the contents of a `/proc/PID/task/TID/cgroup` file to the thread's frozen cgroups,
    /// including frozen ancestors.
    known: Mutex<HashMap<Vec<u8>, Vec<FrozenCgroup>>>,
}

impl Freezer {
    /// Finds the cgroup hierarchies in pidns's own mount namespace.
    pub fn of_viewer() -> Self {
        // Use the paths of pidns's own mount namespace, because the user's shell can open them.
        let table = read_own(c"self/mountinfo").unwrap_or_default();
        let mounts = parse::cgroup_mounts(&table, "freezer").collect();
        Self { mounts, known: Mutex::default() }
    }

    /// Returns the frozen cgroups that contain a thread of a process, directly or in a descendant.
    pub fn frozen_cgroups(&self, procfs: &Procfs, process: &Process) -> Vec<FrozenCgroup> {
        let Ok(dir) = ProcessDir::open(procfs.fd(), process.pid) else { return Vec::new() };
        let mut cgroups: Vec<Vec<u8>> = Vec::new();
        // In cgroup version 1, each thread can be in a different cgroup.
        let visit = |_, task: OwnedFd| {
            let mut text = Vec::new();
            if cgroups.len() < MAX_CGROUPS
                && read(task.as_fd(), c"cgroup", &mut text).is_ok()
                && !cgroups.contains(&text)
            {
                cgroups.push(text);
            }
        };
        if for_each_task(dir.as_fd(), visit).is_err() || !is_there(procfs, process) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for cgroup in cgroups {
            for it in self.frozen(cgroup) {
                if !found.contains(&it) {
                    found.push(it);
                }
            }
        }
        found
    }

    /// Returns `true` if `cgroups` (`/proc/PID/cgroup`) names a frozen version 2 cgroup.
    pub fn is_frozen_cgroup(&self, cgroups: &[u8]) -> bool {
        let mut mounts = self.mounts.iter().filter(|it| it.is_v2());
        let found = mounts.find_map(|it| Some((it, it.cgroup(cgroups)?)));
        let events = found.and_then(|(mount, path)| {
            let dir = Path::new(OsStr::from_bytes(&mount.point)).join(OsStr::from_bytes(path));
            fs::read(dir.join("cgroup.events")).ok()
        });
        events.is_some_and(|events| memmem::find(&events, b"frozen 1").is_some())
    }

    /// Returns the frozen cgroups among a thread's cgroups and their ancestors. `cgroups` holds the
    /// contents of `/proc/PID/task/TID/cgroup`.
    fn frozen(&self, cgroups: Vec<u8>) -> Vec<FrozenCgroup> {
        // A panic can't leave the map half changed, so a poisoned lock can still be used.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let find = |is_v2| {
            let mut mounts = self.mounts.iter().filter(move |it| it.is_v2() == is_v2);
            mounts.find_map(|it| Some((it, it.cgroup(&cgroups)?)))
        };
        if let Some(frozen) = known.get(&cgroups) {
            return frozen.clone();
        }
        let found = [find(true), find(false)].into_iter().flatten();
        let frozen: Vec<_> = found.flat_map(|(mount, path)| frozen_above(mount, path)).collect();
        known.insert(cgroups, frozen.clone());
        frozen
    }
}

/// Returns the frozen cgroups on the way up from the cgroup at `path` to the root cgroup.
fn frozen_above(mount: &CgroupMount, path: &[u8]) -> Vec<FrozenCgroup> {
    let (point, path) = (OsStr::from_bytes(&mount.point), OsStr::from_bytes(path));
    // The root cgroup has neither of these files, because it can't be frozen.
    let file = if mount.is_v2() { "cgroup.freeze" } else { "freezer.self_freezing" };
    let is_frozen =
        |dir: &&Path| fs::read(dir.join(file)).is_ok_and(|value| value.starts_with(b"1"));
    let cgroup = Path::new(point).join(path);
    let above = cgroup.ancestors().take_while(|dir| dir.starts_with(point)).take(MAX_LEVELS);
    let above = above.filter(is_frozen);
    let name = |dir: &Path| {
        let dir = dir.to_owned();
        if mount.is_v2() { FrozenCgroup::V2(dir) } else { FrozenCgroup::V1(dir) }
    };
    above.map(name).collect()
}

/// Returns `true` if SIGTERM does not end a process.
pub fn ignores_sigterm(procfs: &Procfs, process: &Process) -> bool {
    const SIGTERM: u64 = 1 << 14;
    let Some(status) = text_now(procfs, process) else { return false };
    let has = |name: &[u8]| parse::signals(&status, name).is_some_and(|set| set & SIGTERM != 0);
    let is_init = process.nspid.last() == Some(&Pid::INIT);
    // The kernel drops SIGTERM if an init neither handles nor blocks the signal.
    has(b"SigIgn:") || (is_init && !has(b"SigCgt:") && !has(b"SigBlk:"))
}
