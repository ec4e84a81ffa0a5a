//! Translates the PID of a process from one PID namespace to another.

use std::collections::HashMap;

use super::resolve::resolve;
use crate::graph::PidGraph;
use crate::model::{
    Level, Lineage, NamespaceId, NamespaceRef, NotFound, Pid, Process, Translation,
};

/// Translates the PID `pid` of a process from the namespace `from` to the namespace `to`.
///
/// If only one of the two namespaces is given, the other one defaults to the PID namespace that the
/// procfs shows. If neither is given, `from` is the namespace that the procfs shows, and `to` is
/// the process's own namespace.
///
/// # Errors
/// Fails if the process or a namespace does not exist, or if the process is not visible in `to`.
pub fn translate(
    graph: &PidGraph,
    pid: Pid,
    from: Option<NamespaceRef>,
    to: Option<NamespaceRef>,
) -> Result<Translation, NotFound> {
    let home = graph.snapshot().procfs.namespace;
    let lineage = Lineage::new(&graph.snapshot().namespaces);
    let inward = from.is_none() && to.is_none();
    let from = from.map(|from| resolve_or_home(graph, from)).transpose()?;
    let process = match from {
        Some(from) if Some(from) != home => {
            // A procfs does not show PIDs in ancestors of its PID namespace.
            if home.is_some_and(|home| lineage.is_within(home, from)) {
                return Err(NotFound::NotTold { pid, namespace: from });
            }
            process_in(graph, from, pid)
        }
        _ => graph.process(pid),
    };
    let process = process.ok_or(NotFound::Process { pid, namespace: from })?;
    let to = to.map(|to| resolve_or_home(graph, to)).transpose()?;
    let levels = levels(graph, &lineage, process);
    let (to, translated) = match to {
        None if inward => (process.namespace, innermost(graph, process)?),
        Some(to) if Some(to) != home => (Some(to), number(&lineage, process, &levels, to)?),
        _ => (home, process.pid),
    };
    Ok(Translation { pid, from: from.or(home), to, translated, levels })
}

/// Returns the ID of a namespace. The PID namespace that the procfs shows is accepted, even if a
/// filter has removed it from the graph.
fn resolve_or_home(graph: &PidGraph, namespace: NamespaceRef) -> Result<NamespaceId, NotFound> {
    match (namespace, graph.snapshot().procfs.namespace) {
        (NamespaceRef::Id(id), Some(home)) if id == home => Ok(home),
        _ => resolve(graph, namespace),
    }
}

/// Returns the process's PID in its own namespace.
fn innermost(graph: &PidGraph, process: &Process) -> Result<Pid, NotFound> {
    let pid = process.pid;
    match (process.nspid.last(), process.namespace) {
        (Some(&own), _) => Ok(own),
        // Without NSpid (before Linux 4.1), the PID is known only in the PID namespace that the
        // procfs shows.
        (None, Some(home)) if graph.snapshot().procfs.namespace == Some(home) => Ok(pid),
        (None, Some(namespace)) => Err(NotFound::NotTold { pid, namespace }),
        (None, None) => Err(NotFound::Ambiguous(pid)),
    }
}

/// Returns the process's PID in each namespace in which it is visible, outermost namespace first.
fn levels(graph: &PidGraph, lineage: &Lineage, process: &Process) -> Vec<Level> {
    let mut namespaces = process.namespace.into_iter().flat_map(|own| lineage.climb(own));
    let inward = process.nspid.iter().rev();
    let mut levels: Vec<_> =
        inward.map(|&pid| Level { namespace: namespaces.next(), pid }).collect();
    if levels.is_empty() {
        levels.push(Level { namespace: None, pid: process.pid });
    }
    levels.reverse();
    // The outermost PID always belongs to the PID namespace that the procfs shows.
    if let Some(outermost) = levels.first_mut() {
        outermost.namespace = graph.snapshot().procfs.namespace.or(outermost.namespace);
    }
    levels
}

/// Returns the process's PID in namespace `to`.
fn number(
    lineage: &Lineage,
    process: &Process,
    levels: &[Level],
    to: NamespaceId,
) -> Result<Pid, NotFound> {
    if let Some(level) = levels.iter().find(|level| level.namespace == Some(to)) {
        return Ok(level.pid);
    }
    let (pid, namespace) = (process.pid, to);
    let own = process.namespace.ok_or(NotFound::Ambiguous(pid))?;
    // If the namespace of a level is unknown, it may be `to`, so the process may be visible in
    // `to`.
    let unknown = levels.iter().any(|level| level.namespace.is_none());
    Err(if unknown || lineage.is_within(own, to) {
        NotFound::NotTold { pid, namespace }
    } else {
        NotFound::NotVisible { pid, namespace }
    })
}

/// Returns the process with this PID in `namespace`.
fn process_in(graph: &PidGraph, namespace: NamespaceId, pid: Pid) -> Option<&Process> {
    // A process also has a PID in each ancestor of its own namespace.
    let mut depths = HashMap::new();
    let mut todo = vec![(graph.namespace(namespace)?, 0)];
    while let Some((namespace, depth)) = todo.pop() {
        depths.insert(namespace.id, depth);
        todo.extend(graph.children(namespace).into_iter().map(|child| (child, depth + 1)));
    }
    graph.processes().iter().find(|process| {
        let depth = process.namespace.and_then(|own| depths.get(&own));
        depth.is_some_and(|&depth| process.nspid.iter().rev().nth(depth) == Some(&pid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{Selection, select};
    use crate::testing::{farm, namespace, process, snapshot};

    fn pid(raw: u32) -> Pid {
        Pid::new(raw).unwrap()
    }

    fn id(inode: u64) -> NamespaceRef {
        NamespaceRef::Id(NamespaceId::Inode(inode))
    }

    fn translated(
        graph: &PidGraph,
        raw: u32,
        from: impl Into<Option<NamespaceRef>>,
        to: impl Into<Option<NamespaceRef>>,
    ) -> Result<u32, String> {
        let translation = translate(graph, pid(raw), from.into(), to.into());
        translation.map(|it| it.translated.as_u32()).map_err(|error| error.to_string())
    }

    #[test]
    fn translates_to_ancestors_descendants_and_its_own_namespace() {
        let graph = PidGraph::new(farm());
        let (host, container) = (id(4_026_531_836), id(4_026_532_179));
        assert_eq!(translated(&graph, 7, None, None), Ok(2));
        assert_eq!(translated(&graph, 4, None, None), Ok(4));
        assert_eq!(translated(&graph, 7, None, container), Ok(2));
        assert_eq!(translated(&graph, 7, host, container), Ok(2));
        assert_eq!(translated(&graph, 2, container, None), Ok(7));
        assert_eq!(translated(&graph, 2, container, container), Ok(2));
        assert_eq!(translated(&graph, 2, NamespaceRef::Of(pid(6)), host), Ok(7));
        let levels = translate(&graph, pid(7), None, None).unwrap().levels;
        let levels: Vec<_> = levels
            .iter()
            .map(|level| (level.namespace.unwrap().to_string(), level.pid.as_u32()))
            .collect();
        assert_eq!(
            levels,
            [("pid:[4026531836]".to_owned(), 7), ("pid:[4026532179]".to_owned(), 2)]
        );
    }

    #[test]
    fn an_error_names_the_process_and_the_namespace() {
        let graph = PidGraph::new(farm());
        let (container, dead) = (id(4_026_532_179), id(4_026_532_180));
        let process = Some(NamespaceRef::Of(pid(98)));
        for (raw, from, to, expected) in [
            (99, None, None, "no process 99"),
            (99, Some(container), None, "no process 99 in pid:[4026532179]"),
            (4, None, Some(container), "process 4 is not visible in pid:[4026532179]"),
            (7, None, Some(dead), "process 7 is not visible in pid:[4026532180]"),
            (7, Some(id(5)), None, "no namespace pid:[5]"),
            (7, None, process, "no process 98"),
        ] {
            assert_eq!(translated(&graph, raw, from, to).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_pid_that_this_procfs_does_not_show_is_an_error() {
        // The procfs belongs to namespace 20, so it shows no PIDs in the outer namespace 10.
        let mut inner = snapshot(
            vec![namespace(10, None), namespace(20, Some(10))],
            vec![process(&[2], Some(20)), process(&[3], None)],
        );
        inner.procfs.namespace = Some(NamespaceId::Inode(20));
        let graph = PidGraph::new(inner);
        assert_eq!(
            translated(&graph, 2, None, id(10)),
            Err("this /proc does not show the PID of process 2 in pid:[10]".to_owned())
        );
        assert_eq!(
            translated(&graph, 2, id(10), None),
            Err("this /proc does not show the PID of process 2 in pid:[10]".to_owned())
        );
        assert_eq!(
            translated(&graph, 3, None, id(10)),
            Err("the namespace of process 3 is ambiguous".to_owned())
        );
        assert_eq!(translated(&graph, 3, None, None), Ok(3));
        // Kernels before Linux 4.1 do not report NSpid.
        let mut old = farm();
        old.processes[4].nspid.clear();
        let graph = PidGraph::new(old);
        assert_eq!(
            translated(&graph, 7, None, None),
            Err("this /proc does not show the PID of process 7 in pid:[4026532179]".to_owned())
        );
        // The second PID of process 5 belongs to an unknown namespace, which may be namespace 20.
        let mut apart = snapshot(
            vec![namespace(10, None), namespace(20, None), namespace(30, None)],
            vec![process(&[1], Some(10)), process(&[5, 3, 1], Some(30))],
        );
        apart.procfs.namespace = Some(NamespaceId::Inode(10));
        assert_eq!(
            translated(&PidGraph::new(apart), 5, None, id(20)),
            Err("this /proc does not show the PID of process 5 in pid:[20]".to_owned())
        );
    }

    #[test]
    fn the_namespace_of_the_procfs_is_known_even_if_filtered_out() {
        let root = Some(id(4_026_532_179));
        let part = Selection { root, ..Default::default() };
        let graph = select(PidGraph::new(farm()), &part).unwrap();
        let host = id(4_026_531_836);
        assert_eq!(translated(&graph, 7, host, None), Ok(7));
        assert_eq!(translated(&graph, 2, id(4_026_532_179), host), Ok(7));
    }
}
