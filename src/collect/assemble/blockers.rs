//! Whom a terminated init waits for.

use std::collections::BTreeMap;

use crate::collect::log::DiagnosticLog;
use crate::model::{DiagnosticCode, Lineage, Namespace, NamespaceId, NamespaceState, Pid, Process};

/// Names whom a terminated init waits for.
pub fn blockers(
    namespaces: &[Namespace],
    lineage: &Lineage,
    processes: &[Process],
    log: &mut DiagnosticLog,
) {
    let find = |pid: Pid| {
        let index = processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        Some(&processes[index])
    };
    // Those whose init waits, with what is left in and below them: found in one
    // walk over the processes, as a host that goes down has thousands of both.
    let mut waiting: BTreeMap<NamespaceId, (&Process, Vec<&Process>)> = namespaces
        .iter()
        .filter(|it| it.state == NamespaceState::Dead)
        .filter_map(|it| Some((it.id, (find(it.init?)?, Vec::new()))))
        .filter(|(_, (init, _))| !init.is_zombie())
        .collect();
    if waiting.is_empty() {
        return;
    }
    for process in processes {
        for id in process.namespace.into_iter().flat_map(|id| lineage.climb(id)) {
            if let Some((init, rest)) = waiting.get_mut(&id)
                && init.pid != process.pid
            {
                rest.push(process);
            }
        }
    }
    for (namespace, (init, rest)) in waiting {
        let is_inside = |process: &Process| {
            process.namespace.is_some_and(|id| lineage.is_within(id, namespace))
        };
        let mut message = format!(
            "init {} ({}) of {} has terminated, but waits for ",
            init.pid, init.comm, namespace
        );
        let mut to_blame = Vec::new();
        // What was only just killed will be gone in a moment: blocked is what a
        // parent outside does not reap, or the kernel cannot interrupt.
        for process in rest {
            let outside = process.ppid.and_then(find).filter(|parent| !is_inside(parent));
            let (pid, comm) = (process.pid, &process.comm);
            let (culprit, said) = match (outside, process.state) {
                (Some(parent), 'Z') => {
                    let (to_reap, name) = (parent.pid, &parent.comm);
                    let said = format!(
                        "{pid} ({comm}), a zombie that its parent {to_reap} ({name}) does not reap"
                    );
                    (to_reap, said)
                }
                (_, 'D') => (pid, format!("{pid} ({comm}), in uninterruptible sleep")),
                _ => continue,
            };
            match to_blame.len() {
                0 => message.push_str(&said),
                1 | 2 => message.extend([", ", &said]),
                3 => message.push_str(" and more"),
                _ => {}
            }
            to_blame.push(culprit);
        }
        if !to_blame.is_empty() {
            log.note_as(DiagnosticCode::InitBlocked, message, to_blame);
        }
    }
}
