//! Which processes keep a terminated init from going: the one rule for
//! `blocked_by`. Whether the init has terminated is decided before; how it is
//! said to people is not decided here, but for the diagnostic.
//!
//! The kernel ends a PID namespace only once every process in it and below it
//! is reaped. Its init kills them all and waits (`zap_pid_ns_processes`), and
//! must then be reaped itself. What was only just killed is gone in a moment.
//! Three things last:
//!
//! - The init is a zombie. Its parent is always outside, and does not reap it.
//! - A process in or below the namespace is a zombie whose parent is outside.
//!   The kernel reaps for a parent that it kills, and that one it does not kill.
//! - A process in or below the namespace is in uninterruptible sleep, in which
//!   the kill does not reach it.

use std::collections::HashMap;

use crate::collect::log::DiagnosticLog;
use crate::model::{
    BlockReason, Blocker, DiagnosticCode, Lineage, Namespace, NamespaceId, NamespaceState, Pid,
    Process,
};

/// Blockers that the diagnostic names of one namespace; the rest are in `blocked_by`.
const NAMED: usize = 3;

/// Fills in `blocked_by` of every dead namespace whose init is still there.
/// The processes are sorted by PID, and every state and init is known.
pub fn find_blockers(namespaces: &mut [Namespace], processes: &[Process]) {
    let lineage = Lineage::new(namespaces);
    let mut waiting: HashMap<NamespaceId, (Pid, Vec<Blocker>)> = HashMap::new();
    for namespace in namespaces.iter_mut().filter(|it| it.state == NamespaceState::Dead) {
        let Some(init) = namespace.init.and_then(|init| find(processes, init)) else { continue };
        if init.is_zombie() {
            namespace.blocked_by = vec![blocker(init, BlockReason::Zombie, init.ppid)];
        } else {
            waiting.insert(namespace.id, (init.pid, Vec::new()));
        }
    }
    if waiting.is_empty() {
        return;
    }
    // One walk over the processes for all namespaces, as a host that goes down
    // has thousands of both.
    for process in processes {
        for id in process.namespace.into_iter().flat_map(|id| lineage.climb(id)) {
            if let Some((init, blockers)) = waiting.get_mut(&id)
                && *init != process.pid
            {
                blockers.extend(member_blocker(process, id, processes, &lineage));
            }
        }
    }
    for namespace in namespaces {
        if let Some((_, blockers)) = waiting.remove(&namespace.id) {
            namespace.blocked_by = blockers;
        }
    }
}

/// How a process in or below a dead namespace keeps its init waiting, if it does.
fn member_blocker(
    process: &Process,
    dead: NamespaceId,
    processes: &[Process],
    lineage: &Lineage,
) -> Option<Blocker> {
    if process.is_zombie() {
        let reaper = match process.ppid {
            // This /proc does not show the parent, which is then outside of
            // all that this /proc shows.
            None => None,
            Some(ppid) => {
                let parent = find(processes, ppid)?;
                if parent.namespace.is_some_and(|id| lineage.is_within(id, dead)) {
                    return None;
                }
                Some(parent.pid)
            }
        };
        return Some(blocker(process, BlockReason::Zombie, reaper));
    }
    (process.state == 'D').then(|| blocker(process, BlockReason::Uninterruptible, None))
}

fn blocker(process: &Process, reason: BlockReason, reaper: Option<Pid>) -> Blocker {
    Blocker { pid: process.pid, comm: process.comm.clone(), reason, reaper }
}

fn find(processes: &[Process], pid: Pid) -> Option<&Process> {
    let index = processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
    processes.get(index)
}

/// Notes every terminated init that waits for others. One that is a zombie
/// itself waits for nobody, and is often reaped in a moment.
pub fn note_blocked_inits(
    namespaces: &[Namespace],
    processes: &[Process],
    log: &mut DiagnosticLog,
) {
    for namespace in namespaces {
        let Some(init) = namespace.init.and_then(|init| find(processes, init)) else { continue };
        let blockers = &namespace.blocked_by;
        if blockers.is_empty() || blockers.iter().any(|blocker| blocker.pid == init.pid) {
            continue;
        }
        let named: Vec<_> =
            blockers.iter().take(NAMED).map(|blocker| account(blocker, processes)).collect();
        let more = if blockers.len() > NAMED { " and more" } else { "" };
        let message = format!(
            "init {} ({}) of {} has terminated, but waits for {}{more}",
            init.pid,
            init.comm,
            namespace.id,
            named.join(", ")
        );
        // Who could do something about it.
        let culprits = blockers.iter().map(|blocker| blocker.reaper.unwrap_or(blocker.pid));
        log.note_as(DiagnosticCode::InitBlocked, message, culprits);
    }
}

fn account(blocker: &Blocker, processes: &[Process]) -> String {
    let Blocker { pid, comm, reason, reaper } = blocker;
    match (reason, reaper) {
        (BlockReason::Zombie, Some(reaper)) => {
            let name = find(processes, *reaper)
                .map_or(String::new(), |reaper| format!(" ({})", reaper.comm));
            format!("{pid} ({comm}), a zombie that its parent {reaper}{name} does not reap")
        }
        (BlockReason::Zombie, None) => {
            format!(
                "{pid} ({comm}), a zombie that its parent, outside of this /proc, does not reap"
            )
        }
        (BlockReason::Uninterruptible, _) => format!("{pid} ({comm}), in uninterruptible sleep"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{namespace, process};

    const HOST: u64 = 1;
    const DEAD: u64 = 2;
    const BELOW: u64 = 3;

    fn pid(raw: u32) -> Pid {
        Pid::new(raw).unwrap()
    }

    fn member(nspid: &[u32], namespace: u64, state: char, ppid: Option<u32>) -> Process {
        let mut process = process(nspid, Some(namespace));
        (process.state, process.ppid) = (state, ppid.and_then(Pid::new));
        process
    }

    /// A host with a shell (5), and a dead namespace with init 10 and one below.
    fn model(init_state: char, others: Vec<Process>) -> (Vec<Namespace>, Vec<Process>) {
        let mut namespaces =
            vec![namespace(HOST, None), namespace(DEAD, Some(HOST)), namespace(BELOW, Some(DEAD))];
        namespaces[1].state = NamespaceState::Dead;
        namespaces[1].init = Some(pid(10));
        let mut processes =
            vec![member(&[5], HOST, 'S', Some(1)), member(&[10, 1], DEAD, init_state, Some(5))];
        processes.extend(others);
        find_blockers(&mut namespaces, &processes);
        (namespaces, processes)
    }

    fn blockers(init_state: char, others: Vec<Process>) -> Vec<(u32, BlockReason, Option<u32>)> {
        let (namespaces, _) = model(init_state, others);
        assert!(namespaces[0].blocked_by.is_empty(), "the host is not dead");
        let blockers = namespaces[1].blocked_by.iter();
        blockers.map(|it| (it.pid.as_u32(), it.reason, it.reaper.map(Pid::as_u32))).collect()
    }

    #[test]
    fn a_zombie_init_is_blocked_by_itself_and_its_parent_is_to_reap_it() {
        let zombie = member(&[11, 2], DEAD, 'Z', Some(5));
        assert_eq!(blockers('Z', vec![zombie]), [(10, BlockReason::Zombie, Some(5))]);
    }

    #[test]
    fn an_init_waits_for_zombies_of_parents_outside_in_and_below_its_namespace() {
        let others = vec![
            member(&[11, 2], DEAD, 'Z', Some(5)),
            member(&[12, 3], DEAD, 'Z', Some(10)),
            member(&[13, 4, 1], BELOW, 'Z', Some(5)),
            member(&[14, 5, 2], BELOW, 'Z', Some(12)),
            // A parent that was not seen may be anywhere.
            member(&[15, 6], DEAD, 'Z', Some(99)),
            // A parent that this /proc does not show is outside.
            member(&[16, 7], DEAD, 'Z', None),
            member(&[17, 8], DEAD, 'S', Some(5)),
        ];
        assert_eq!(
            blockers('S', others),
            [
                (11, BlockReason::Zombie, Some(5)),
                (13, BlockReason::Zombie, Some(5)),
                (16, BlockReason::Zombie, None),
            ]
        );
    }

    #[test]
    fn an_init_waits_for_uninterruptible_sleep_in_and_below_its_namespace() {
        let others = vec![
            member(&[11, 2], DEAD, 'D', Some(10)),
            member(&[12, 3, 1], BELOW, 'D', Some(5)),
            member(&[20], HOST, 'D', Some(1)),
        ];
        let expected =
            [(11, BlockReason::Uninterruptible, None), (12, BlockReason::Uninterruptible, None)];
        assert_eq!(blockers('S', others), expected);
    }

    #[test]
    fn nothing_blocks_what_is_alive_or_on_its_way_out() {
        assert_eq!(blockers('S', vec![member(&[11, 2], DEAD, 'S', Some(10))]), []);
        let mut namespaces = vec![namespace(HOST, None)];
        namespaces[0].init = Some(pid(10));
        let processes =
            [member(&[5], HOST, 'S', None), member(&[10, 1], HOST, 'S', Some(5))].into_iter();
        let mut processes: Vec<_> = processes.collect();
        processes.push(member(&[11, 2], HOST, 'Z', Some(5)));
        find_blockers(&mut namespaces, &processes);
        assert_eq!(namespaces[0].blocked_by, []);
    }

    #[test]
    fn the_diagnostic_says_whom_an_init_waits_for_and_names_the_first_few() {
        let mut others: Vec<_> =
            (11..=14).map(|raw| member(&[raw, raw - 9], DEAD, 'D', Some(10))).collect();
        others[0] = member(&[11, 2], DEAD, 'Z', Some(5));
        let (namespaces, processes) = model('S', others);
        let mut log = DiagnosticLog::default();
        note_blocked_inits(&namespaces, &processes, &mut log);
        let diagnostics = log.into_diagnostics("");
        assert_eq!(
            diagnostics[0].message,
            "init 10 (sleep) of pid:[2] has terminated, but waits for 11 (sleep), a zombie that \
             its parent 5 (sleep) does not reap, 12 (sleep), in uninterruptible sleep, \
             13 (sleep), in uninterruptible sleep and more"
        );
        assert_eq!(diagnostics[0].pids, [5, 12, 13, 14].map(pid));

        let (namespaces, processes) = model('Z', Vec::new());
        let mut log = DiagnosticLog::default();
        note_blocked_inits(&namespaces, &processes, &mut log);
        assert!(log.into_diagnostics("").is_empty(), "a zombie init waits for nobody");
    }
}
