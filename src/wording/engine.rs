//! Commands of a container engine (`docker` or `podman`), for use instead of `kill` or a cgroup
//! file. The engine may restart a killed container. If somebody else thaws a paused container, the
//! engine does not notice.

use std::path::Path;

use super::shell::{shell_comment, shell_word};
use super::subject::container_of;
use crate::graph::PidGraph;
use crate::model::{Container, FrozenCgroup, Pid, Process, cgroup};

/// Maximum number of ancestors to search for the first process of a container. The maximum is
/// necessary, because a saved document can contain parent cycles.
const GENERATIONS: usize = 1000;

/// Returns the processes that end if a process is killed, at most one for each container. Usually,
/// this is only the process itself. If the process is a monitor of containers, returns its children
/// in these containers.
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

/// Returns the command that stops the container of a process. Returns `None` unless the container's
/// init is a leftover, because the process may have entered an older container.
///
/// The command does not delete the container: the engine may have restarted an older container.
pub fn stop(
    graph: &PidGraph,
    process: &Process,
    is_leftover: &dyn Fn(Pid) -> bool,
) -> Option<String> {
    let container = engine_container(graph, process)?;
    // Root in a container can create a cgroup with the name of another container.
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
/// the container's cgroup, or if the engine is unknown.
pub fn unpause(graph: &PidGraph, pid: Pid, frozen: &FrozenCgroup) -> Option<String> {
    let (FrozenCgroup::V1(dir) | FrozenCgroup::V2(dir)) = frozen;
    let container = engine_container(graph, graph.known_process(pid)?)?;
    let is_its_cgroup =
        names_container(dir)?.is_same(container) && names_container(dir.parent()?).is_none();
    is_its_cgroup.then(|| command("unpause", container))
}

/// Returns the container of a process, if its engine runs as root in the PID namespace of the
/// procfs. For other containers, the command would have to run as another user or in a container.
fn engine_container<'a>(graph: &'a PidGraph, process: &'a Process) -> Option<&'a Container> {
    let container = container_of(graph, process)?;
    let parent = |it: &&Process| graph.known_process(it.ppid?);
    let is_inside = |it: &&Process| container_of(graph, it).is_some_and(|it| it.is_same(container));
    let ancestors = std::iter::successors(Some(process), parent).take(GENERATIONS);
    let first = ancestors.take_while(is_inside).last()?;
    is_started_by_engine(graph, first, container).then_some(container)
}

/// Returns `true` if the parent of a process is the monitor of this container, and runs as root in
/// the PID namespace of the procfs.
fn is_started_by_engine(graph: &PidGraph, process: &Process, container: &Container) -> bool {
    let monitor = process.ppid.and_then(|it| graph.known_process(it));
    monitor.is_some_and(|it| {
        engine_monitor(container) == Some(&*it.comm) && it.uid == 0 && it.nspid.len() <= 1
    })
}

/// Returns a command of the container's engine. The command contains the container's ID, because
/// the name may not be unique.
fn command(verb: &str, container: &Container) -> String {
    let command = format!("{} {verb} {}", container.runtime, shell_word(container.short_id()));
    match &container.name {
        Some(name) => format!("{command} # {}", shell_comment(name)),
        None => command,
    }
}

/// Returns the process name of the monitor of a docker or podman container: the parent of its first
/// process. Returns `None` for other runtimes, and for a pod, because the kubelet manages pods.
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
