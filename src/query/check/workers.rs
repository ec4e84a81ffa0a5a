//! Finds new processes that a daemon or container in the earlier snapshot probably started:
//! replacement workers, and the processes of restarted containers.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::graph::PidGraph;
use crate::model::{Container, Observer, Pid, Process, runtime};
use crate::query::diff::Diff;

/// Names of programs that can adopt orphans without being the init of a namespace.
const SUBREAPERS: [&str; 5] = [runtime::SHIM, runtime::CONMON, "systemd", "tini", "pidns"];

/// Name of the process that forwards a port to a container. It is a child of `dockerd`, and is not
/// in the container's cgroup or namespaces.
const PROXY: &str = "docker-proxy";

/// A daemon or container in the earlier snapshot that probably started a new process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The PID of a daemon that has replaced a worker.
    Daemon(Pid),
    /// A container that its engine has restarted.
    Container(Container),
}

/// Maps new processes to the daemon or container in the earlier snapshot that probably started
/// them. These processes are probably not leftovers.
pub fn origins(diff: &Diff) -> BTreeMap<Pid, Origin> {
    let mut found = new_workers(diff);
    found.extend(restarted(diff));
    found
}

/// Finds the containers that their engine probably restarted, and maps each of their processes to
/// its container.
///
/// A container counts as restarted if the earlier snapshot contains it (or may lack it) and its
/// first process is certainly new. Its processes are the first process and its descendants, and the
/// new monitor. Processes started by `docker exec` are children of the monitor, so they are not
/// included.
fn restarted(diff: &Diff) -> BTreeMap<Pid, Origin> {
    let (before, after) = (&diff.before, &diff.after);
    let is_new = |it: &Process| !contains(before, it) && diff.is_certainly_new(it);
    let mut found = BTreeMap::new();
    let earlier = first_processes(before);
    for (id, (container, first)) in first_processes(after) {
        // Count a container only if a monitor started it. Without an engine, a job can start a
        // container with the name of an earlier one, for example with `runc run` or
        // `systemd-nspawn`.
        let is_monitor = |it: &&Process| runtime::MONITORS.contains(&&*it.comm);
        let monitor = first.ppid.and_then(|it| after.process(it)).filter(is_monitor);
        let Some(monitor) = monitor else { continue };
        let was_there = earlier.contains_key(id) || diff.may_lack_processes();
        if was_there && is_new(first) {
            let mut pids = after.with_descendants([first.pid]);
            pids.extend(Some(monitor).filter(|it| is_new(it)).map(|it| it.pid));
            let origin = Origin::Container(container.clone());
            found.extend(pids.into_iter().map(|pid| (pid, origin.clone())));
        }
    }
    found
}

/// Maps the ID of each container in a graph to the container and its oldest process.
fn first_processes(graph: &PidGraph) -> HashMap<&str, (&Container, &Process)> {
    let mut first: HashMap<_, (&Container, &Process)> = HashMap::new();
    // Zombies of the container's earlier processes can remain after a restart, if the container
    // shares the PID namespace of another one.
    for process in graph.processes().iter().filter(|it| !it.is_unreaped()) {
        let Some(container) = graph.container_of(process) else { continue };
        // Without root privileges, the runtime of a container can be unknown.
        let entry = first.entry(&*container.id);
        let (_, oldest) = entry.or_insert((container, process));
        if (process.start_time, process.pid) < (oldest.start_time, oldest.pid) {
            *oldest = process;
        }
    }
    first
}

/// Finds new workers of daemons in the earlier snapshot, and maps each worker and its descendants
/// to the daemon.
///
/// A new child of a daemon is probably a worker if an earlier child of that daemon had the same
/// name and has ended. If the earlier snapshot may lack processes, each new child of an older daemon
/// counts as a worker, because the earlier child may be missing. The proxy of a container always
/// counts as a worker: if the container was left behind, pidns reports the container itself.
fn new_workers(diff: &Diff) -> BTreeMap<Pid, Origin> {
    let (before, after) = (&diff.before, &diff.after);
    let kind = |it: &Process| Some((it.ppid?, it.comm.clone()));
    let ended = before.processes().iter().filter(|it| !contains(after, it));
    let ended: HashSet<_> = ended.filter_map(kind).collect();
    let observers = [before, after].map(|it| it.snapshot().observer.as_ref());
    let is_daemon = |it: &Process| {
        // The ancestors of pidns, such as the job's shells and CI agent, do not count as daemons.
        // New children of a daemon are its workers, but new children of these ancestors are
        // leftovers of the job.
        let is_of_job = |observer: &Observer| observer.attendants.contains(&it.pid);
        let may_adopt = it.pid == Pid::INIT || it.is_init() || SUBREAPERS.contains(&&*it.comm);
        !may_adopt && !observers.into_iter().flatten().any(is_of_job)
    };
    let mut found = BTreeMap::new();
    // If the pidns process that took the later snapshot is unknown, the job's shells and CI agent
    // cannot be distinguished from daemons. A leftover of the job could then pass for a daemon's
    // worker, so return no workers.
    if observers[1].is_none() {
        return found;
    }
    let lacks_some = diff.may_lack_processes();
    let is_old = |it: &&Process| contains(before, it) || lacks_some && !diff.is_certainly_new(it);
    for process in after.processes().iter().filter(|it| !is_old(it)) {
        let parent = process.ppid.and_then(|it| after.process(it));
        let Some(parent) = parent.filter(is_old) else { continue };
        let has_replaced = || lacks_some || kind(process).is_some_and(|kind| ended.contains(&kind));
        let is_proxy = process.comm == PROXY && parent.comm == runtime::DOCKERD;
        if is_proxy || is_daemon(parent) && has_replaced() {
            let workers = after.with_descendants([process.pid]);
            found.extend(workers.into_iter().map(|pid| (pid, Origin::Daemon(parent.pid))));
        }
    }
    found
}

/// Returns `true` if the graph contains this process. Start times may be missing.
fn contains(graph: &PidGraph, process: &Process) -> bool {
    graph.process(process.pid).is_some_and(|it| {
        it.start_time.zip(process.start_time).is_none_or(|(one, other)| one == other)
    })
}
