//! Commands of a container engine (`docker` or `podman`), to use instead of `kill` or a
//! cgroup file. An engine with a restart policy starts a killed container again, and an engine does
//! not notice if someone else thaws a container that it has paused.

use std::path::Path;

use super::sanitize::Sanitized;
use super::shell::shell_word;
use super::subject::container_of;
use crate::graph::PidGraph;
use crate::model::{Container, FrozenCgroup, Pid, Process, cgroup};

/// Maximum number of ancestors that are searched for the first process of a container. There is a
/// maximum, because a saved document can contain parent cycles.
const GENERATIONS: usize = 1000;

/// Returns the processes that end if a process is killed, one of each container: the process itself
/// or, if it is the monitor of containers, its children in these containers.
pub fn ended_with<'a>(graph: &'a PidGraph, process: &'a Process) -> Vec<&'a Process> {
    if ![cgroup::SHIM, cgroup::CONMON].contains(&&*process.comm) {
        return vec![process];
    }
    let mut inside = graph.child_processes(process);
    inside.retain(|it| container_of(graph, it).is_some());
    inside.dedup_by(|a, b| {
        let containers = container_of(graph, a).zip(container_of(graph, b));
        containers.is_some_and(|(a, b)| a.is_same(b))
    });
    inside
}

/// Returns the command that stops the container of a process. Returns `None` unless the init of the
/// container is a leftover, too: the process could have entered an older container.
///
/// The command does not delete the container, because the container itself may be older: it could
/// have been started again.
pub fn stop(
    graph: &PidGraph,
    process: &Process,
    is_leftover: &dyn Fn(Pid) -> bool,
) -> Option<String> {
    let container = engine_container(graph, process)?;
    // Root in a container can move a process into a cgroup that is named after another container.
    let mut cgroups = Path::new(process.cgroup()?).ancestors();
    let is_inside = cgroups.all(|it| names_container(it).is_none_or(|it| it.is_same(container)));
    let is_left = |init: Pid| {
        let init = graph.process(init).filter(|_| is_leftover(init));
        init.is_some_and(|it| is_started_by_engine(graph, it, container))
    };
    let mut namespaces = graph.snapshot().namespaces.iter();
    let is_whole = namespaces.any(|it| {
        it.container.as_ref().is_some_and(|it| it.is_same(container))
            && it.init.is_some_and(is_left)
    });
    (is_inside && is_whole).then(|| command("stop", container))
}

/// Returns the command that unpauses the container of a process. Returns `None` if `frozen` is not
/// the cgroup of that container, or if the engine of the container is unknown.
pub fn unpause(graph: &PidGraph, pid: Pid, frozen: &FrozenCgroup) -> Option<String> {
    let (FrozenCgroup::V1(dir) | FrozenCgroup::V2(dir)) = frozen;
    let container = engine_container(graph, graph.known_process(pid)?)?;
    let is_its_cgroup =
        names_container(dir)?.is_same(container) && names_container(dir.parent()?).is_none();
    is_its_cgroup.then(|| command("unpause", container))
}

/// Returns the container of a process, if users manage it by the command of an engine that runs as
/// root in the PID namespace of the procfs. Otherwise, the command would have to run as another
/// user, or in another container.
fn engine_container<'a>(graph: &'a PidGraph, process: &'a Process) -> Option<&'a Container> {
    let container = container_of(graph, process)?;
    let parent = |it: &&Process| graph.known_process(it.ppid?);
    let is_inside = |it: &&Process| container_of(graph, it).is_some_and(|it| it.is_same(container));
    let ancestors = std::iter::successors(Some(process), parent).take(GENERATIONS);
    let first = ancestors.take_while(is_inside).last()?;
    is_started_by_engine(graph, first, container).then_some(container)
}

/// Returns `true` if the parent of a process is the monitor of this container, and belongs to an
/// engine that runs as root in the PID namespace of the procfs.
fn is_started_by_engine(graph: &PidGraph, process: &Process, container: &Container) -> bool {
    let monitor = process.ppid.and_then(|it| graph.known_process(it));
    monitor.is_some_and(|it| {
        engine_monitor(container) == Some(&*it.comm) && it.uid == 0 && it.nspid.len() <= 1
    })
}

/// Returns a command of the container's engine. It contains the ID of the container, because
/// another daemon could have a container with the same name.
fn command(verb: &str, container: &Container) -> String {
    let command = format!("{} {verb} {}", container.runtime, shell_word(container.short_id()));
    match &container.name {
        Some(name) => format!("{command} # {}", Sanitized(name)),
        None => command,
    }
}

/// Returns the process name of the monitor of a container that users manage by a command with the
/// name of the runtime (`docker` or `podman`). The monitor is the parent of the container's first
/// process. Returns `None` for other containers, and for a Kubernetes pod, which the kubelet manages.
fn engine_monitor(container: &Container) -> Option<&'static str> {
    match container.runtime.as_str() {
        _ if container.pod.is_some() => None,
        "docker" => Some(cgroup::SHIM),
        "podman" => Some(cgroup::CONMON),
        _ => None,
    }
}

/// Returns the container that a cgroup path names.
fn names_container(cgroup: &Path) -> Option<Container> {
    cgroup::of_path(cgroup.to_str()?, None).filter(|it| !it.is_unit())
}
