//! Suggests commands such as `docker stop` instead of `kill`, because a container engine can
//! restart a container that was killed.

use std::path::Path;

use super::shell::{shell_comment, shell_word};
use crate::graph::PidGraph;
use crate::model::{Container, FrozenCgroup, Namespace, Pid, Process, cgroup, runtime};

/// Maximum number of ancestors to search, in case a document contains parent cycles.
const GENERATIONS: usize = 1000;

/// Daemons that can end their containers, including older ones, when they exit.
const ENGINES: [&str; 2] = [runtime::DOCKERD, "containerd"];

/// Returns `true` if a process is the daemon of a container engine.
pub fn is_engine(process: &Process) -> bool {
    ENGINES.contains(&&*process.comm)
}

/// Returns `true` if this process or one of its descendants (`timeout 60 docker attach`) can pass
/// SIGTERM on to a container, which can be older than the process.
pub fn passes_signals_on(graph: &PidGraph, pid: Pid) -> bool {
    let is_client = |it: &Process| runtime::CLIENTS.contains(&&*it.comm);
    graph.with_descendants([pid]).into_iter().filter_map(|it| graph.process(it)).any(is_client)
}

/// Returns the processes that must be ended to make `process` end.
///
/// For a container monitor, returns one process of each of its containers, because the monitor ends
/// when its containers have ended. Otherwise, returns only `process` itself.
pub fn ended_with<'a>(graph: &'a PidGraph, process: &'a Process) -> Vec<&'a Process> {
    if !runtime::MONITORS.contains(&&*process.comm) {
        return vec![process];
    }
    let mut inside = graph.child_processes(process);
    inside.retain(|it| graph.container_of(it).is_some());
    inside.dedup_by(|a, b| {
        let containers = graph.container_of(a).zip(graph.container_of(b));
        containers.is_some_and(|(a, b)| a.is_same(b))
    });
    inside
}

/// Returns the init of a leftover process's container, and the shell command that stops the
/// container. Returns `process` as the init if the container has no PID namespace of its own.
///
/// Returns `None` if the init is not a leftover, or if the command may stop the wrong container.
pub fn stop(
    graph: &PidGraph,
    process: &Process,
    is_leftover: &dyn Fn(Pid) -> bool,
) -> Option<(Pid, String)> {
    let container = engine_container(graph, process)?;
    // Root in a container can create a cgroup with the name of another container. So check that all
    // container names in the path of the process's cgroup refer to the process's own container.
    let mut cgroups = Path::new(process.cgroup()?).ancestors();
    let is_inside = cgroups.all(|it| names_container(it).is_none_or(|it| it.is_same(container)));
    // A leftover process may have entered a container that is not a leftover.
    // A process in an older container can have created a PID namespace.
    let is_left = |init: Pid| {
        let init = graph.process(init).filter(|_| is_leftover(init));
        init.is_some_and(|it| {
            is_started_by_engine(graph, it, container) && is_oldest(graph, it, container)
        })
    };
    let is_its = |it: &&Namespace| it.container.as_ref().is_some_and(|it| it.is_same(container));
    let mut namespaces = graph.snapshot().namespaces.iter().filter(is_its);
    let init = namespaces.find_map(|it| it.init.filter(|&init| is_left(init)));
    // A container that shares the PID namespace of another container or of the host has no init of
    // its own, so check whether all processes of the container are leftovers.
    let shares = process.other_container().is_some();
    let is_whole = || shares && is_whole_leftover(graph, container, is_leftover);
    let init = init.or_else(|| is_whole().then_some(process.pid))?;
    // Suggest stopping the container, not deleting it. The container may be older than its init,
    // because an engine can restart an existing container.
    is_inside.then(|| (init, command("stop", container)))
}

/// Returns `true` if no process of a container is older than `init`.
fn is_oldest(graph: &PidGraph, init: &Process, container: &Container) -> bool {
    members(graph, container).all(|it| it.start_time >= init.start_time)
}

/// Returns `true` if all processes of a container are leftovers.
fn is_whole_leftover(
    graph: &PidGraph,
    container: &Container,
    is_leftover: &dyn Fn(Pid) -> bool,
) -> bool {
    // Return `false` for a filtered snapshot, because the container may have an older process that
    // is not a leftover and is missing from the snapshot.
    let is_filtered = !graph.snapshot().selected.is_empty();
    let mut members = members(graph, container).filter(|it| !it.is_unreaped());
    !is_filtered && members.all(|it| is_leftover(it.pid))
}

/// Iterates over the processes of a container.
fn members<'a>(graph: &'a PidGraph, container: &'a Container) -> impl Iterator<Item = &'a Process> {
    let is_inside = |it: &&Process| graph.container_of(it).is_some_and(|it| it.is_same(container));
    graph.processes().iter().filter(is_inside)
}

/// Returns the command that unpauses a container, if `frozen` is the container's cgroup. For a
/// container that may be older than the earlier snapshot, returns a sentence instead.
pub fn unpause(graph: &PidGraph, pid: Pid, frozen: &FrozenCgroup) -> Option<String> {
    let (FrozenCgroup::V1(dir) | FrozenCgroup::V2(dir)) = frozen;
    let process = graph.known_process(pid)?;
    let container = engine_container(graph, process)?;
    let is_its_cgroup =
        names_container(dir)?.is_same(container) && names_container(dir.parent()?).is_none();
    let init = process.namespace.and_then(|it| graph.namespace(it)?.init);
    let is_older = init.is_some_and(|init| graph.is_older(init));
    // The engine does not notice if a paused container is thawed through its cgroup.
    is_its_cgroup.then(|| {
        if is_older {
            format!("unpause {container} only if its users agree: it may be older than the job")
        } else {
            command("unpause", container)
        }
    })
}

/// Returns the container of a process if the container's engine runs as root in the PID namespace
/// that the procfs shows.
fn engine_container<'a>(graph: &'a PidGraph, process: &'a Process) -> Option<&'a Container> {
    let container = graph.container_of(process)?;
    let parent = |it: &&Process| graph.known_process(it.ppid?);
    let is_inside = |it: &&Process| graph.container_of(it).is_some_and(|it| it.is_same(container));
    let ancestors = std::iter::successors(Some(process), parent).take(GENERATIONS);
    let first = ancestors.take_while(is_inside).last()?;
    // Commands that root runs on the host do not reach an engine that runs as another user or in a
    // container, so return `None` for the containers of such an engine.
    is_started_by_engine(graph, first, container).then_some(container)
}

/// Returns `true` if the parent of a process is the container's monitor and runs as root.
fn is_started_by_engine(graph: &PidGraph, process: &Process, container: &Container) -> bool {
    let monitor = process.ppid.and_then(|it| graph.known_process(it));
    monitor.is_some_and(|it| {
        engine_monitor(container) == Some(&*it.comm) && it.uid == 0 && it.nspid.len() <= 1
    })
}

/// Returns an engine command for a container.
fn command(verb: &str, container: &Container) -> String {
    // The name of a container may not be unique, so use the ID.
    let command = format!("{} {verb} {}", container.runtime, shell_word(container.short_id()));
    match &container.name {
        Some(name) => format!("{command} # {}", shell_comment(name)),
        None => command,
    }
}

/// Returns the name of the process that monitors a docker or podman container.
fn engine_monitor(container: &Container) -> Option<&'static str> {
    match container.runtime.as_str() {
        // The kubelet manages the containers of pods.
        _ if container.pod.is_some() => None,
        "docker" => Some(runtime::SHIM),
        "podman" => Some(runtime::CONMON),
        _ => None,
    }
}

/// Returns the container that a cgroup path names.
fn names_container(cgroup: &Path) -> Option<Container> {
    cgroup::of_path(cgroup.to_str()?, None).filter(|it| !it.is_unit())
}
