//! Finds the processes that block the removal of a terminated init (`blocked_by` of a namespace).
//!
//! An exiting init waits until all other processes in its namespace and in descendant namespaces
//! are reaped (`zap_pid_ns_processes`). The init can remain for a long time in these cases:
//!
//! - The init is a zombie, and its parent does not reap it.
//! - A zombie is not reaped by its parent, and the exiting init does not kill this parent, because
//!   the parent is outside of these namespaces.
//! - A thread is in uninterruptible sleep, so SIGKILL has no effect yet.
//! - A tracer does not reap a zombie, or keeps a killed process stopped (`PTRACE_EVENT_EXIT`).

use std::cell::LazyCell;
use std::collections::HashMap;

use crate::collect::discovery::HeldThread;
use crate::collect::log::DiagnosticLog;
use crate::model::{
    BlockReason, Blocker, DiagnosticCode, Lineage, Namespace, NamespaceId, NamespaceState, Pid,
    Process,
};

/// Maximum number of blockers that the diagnostic lists for each namespace.
const MAX_NAMED: usize = 3;

/// Fills in `blocked_by` of each dead namespace that still has an init. The states, inits and
/// tracers must already be known.
pub fn find_blockers(
    namespaces: &mut [Namespace],
    processes: &[Process],
    held_thread: &dyn Fn(&Process) -> Option<HeldThread>,
) {
    let lineage = Lineage::new(namespaces);
    let mut waiting: HashMap<NamespaceId, (Pid, Vec<Blocker>)> = HashMap::new();
    for namespace in namespaces.iter_mut().filter(|it| it.state == NamespaceState::Dead) {
        let Some(init) = namespace.init.and_then(|init| find(processes, init)) else { continue };
        if init.is_unreaped() {
            namespace.blocked_by = vec![blocker(init, BlockReason::Zombie, init.reaper())];
        } else {
            waiting.insert(namespace.id, (init.pid, Vec::new()));
        }
    }
    if waiting.is_empty() {
        return;
    }
    // Visit each process once, instead of once for each of thousands of dead namespaces.
    for process in processes {
        // Examine the threads of a process once, even if it blocks 32 nested inits.
        let held_thread = LazyCell::new(|| held_thread(process));
        for id in process.namespace.into_iter().flat_map(|id| lineage.climb(id)) {
            let Some((init, blockers)) = waiting.get_mut(&id) else { continue };
            if *init != process.pid {
                blockers.extend(member_blocker(process, id, processes, &lineage, || *held_thread));
            } else if process.is_zombie() {
                blockers.extend(thread_blocker(process, *held_thread));
            }
        }
    }
    for namespace in namespaces {
        if let Some((_, blockers)) = waiting.remove(&namespace.id) {
            namespace.blocked_by = blockers;
        }
    }
}

/// Returns a blocker if `process` can delay the removal of a terminated init for a long time.
/// `dead` is the init's namespace, and the process is in it or in one of its descendants.
fn member_blocker(
    process: &Process,
    dead: NamespaceId,
    processes: &[Process],
    lineage: &Lineage,
    held_thread: impl Fn() -> Option<HeldThread>,
) -> Option<Blocker> {
    // An exiting init does not kill a parent or tracer outside of its namespace.
    let is_outside = |pid| {
        let namespace = find(processes, pid).map(|process| process.namespace);
        namespace.is_some_and(|id| !id.is_some_and(|id| lineage.is_within(id, dead)))
    };
    if process.is_unreaped() {
        // If the procfs shows no parent (PPid 0), the parent is outside of `dead`.
        let lasts = process.reaper().is_none_or(is_outside);
        return lasts.then(|| blocker(process, BlockReason::Zombie, process.reaper()));
    }
    if process.is_zombie() {
        return thread_blocker(process, held_thread());
    }
    match process.state {
        'D' => Some(blocker(process, BlockReason::Uninterruptible, None)),
        't' if process.tracer().is_none_or(is_outside) => {
            Some(blocker(process, BlockReason::Traced, process.tracer()))
        }
        _ => None,
    }
}

/// Returns a blocker if the zombie `process` has a thread that cannot exit yet (`held_thread`).
fn thread_blocker(process: &Process, held_thread: Option<HeldThread>) -> Option<Blocker> {
    Some(match held_thread? {
        HeldThread::Uninterruptible(_) => blocker(process, BlockReason::Uninterruptible, None),
        HeldThread::Traced(tracer) => blocker(process, BlockReason::Traced, Some(tracer)),
    })
}

fn blocker(process: &Process, reason: BlockReason, reaper: Option<Pid>) -> Blocker {
    Blocker { pid: process.pid, comm: process.comm.clone(), reason, reaper }
}

/// Finds a process by PID in a list sorted by PID.
fn find(processes: &[Process], pid: Pid) -> Option<&Process> {
    let index = processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
    processes.get(index)
}

/// Adds a diagnostic for every terminated init that waits for other processes.
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
            blockers.iter().take(MAX_NAMED).map(|blocker| sentence(blocker, processes)).collect();
        let more = if blockers.len() > MAX_NAMED { " and more" } else { "" };
        let message = format!(
            "init {} ({}) of {} has terminated, but waits for {}{more}",
            init.pid,
            init.comm,
            namespace.id,
            named.join(", ")
        );
        // The cause of the delay is the reaper, or the blocker if no reaper is known.
        let culprits = blockers.iter().map(|blocker| blocker.reaper.unwrap_or(blocker.pid));
        log.note_as(DiagnosticCode::InitBlocked, message, culprits);
    }
}

/// Describes a blocker in words, for the diagnostic.
fn sentence(blocker: &Blocker, processes: &[Process]) -> String {
    let Blocker { pid, comm, reason, reaper } = blocker;
    let process = find(processes, *pid);
    let (tracer, is_frozen) =
        (process.and_then(Process::tracer), process.is_some_and(Process::is_frozen));
    let role = if reaper.is_some() && *reaper == tracer { "tracer" } else { "parent" };
    let reaper = reaper.map(|pid| match find(processes, pid) {
        Some(reaper) => format!("{pid} ({})", reaper.comm),
        None => pid.to_string(),
    });
    match (reason, reaper) {
        (BlockReason::Zombie, Some(reaper)) => {
            format!("{pid} ({comm}), a zombie that its {role} {reaper} does not reap")
        }
        (BlockReason::Zombie, None) => {
            format!("{pid} ({comm}), a zombie that its parent outside of this /proc does not reap")
        }
        (BlockReason::Uninterruptible, _) if is_frozen => {
            format!("{pid} ({comm}), which is frozen")
        }
        (BlockReason::Uninterruptible, _) => format!("{pid} ({comm}), in uninterruptible sleep"),
        (BlockReason::Traced, Some(reaper)) => {
            format!("{pid} ({comm}), held by its tracer {reaper}")
        }
        (BlockReason::Traced, None) => {
            format!("{pid} ({comm}), held by its tracer outside of this /proc")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::num::NonZeroU32;

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

    /// Finds the blockers on a host with a shell (PID 5), a dead namespace (init 10), and a child
    /// of the dead namespace. `others` contains all other processes.
    fn model(init_state: char, others: Vec<Process>) -> (Vec<Namespace>, Vec<Process>) {
        let mut namespaces =
            vec![namespace(HOST, None), namespace(DEAD, Some(HOST)), namespace(BELOW, Some(DEAD))];
        namespaces[1].state = NamespaceState::Dead;
        namespaces[1].init = Some(pid(10));
        let mut processes =
            vec![member(&[5], HOST, 'S', Some(1)), member(&[10, 1], DEAD, init_state, Some(5))];
        processes.extend(others);
        find_blockers(&mut namespaces, &processes, &|_| None);
        (namespaces, processes)
    }

    fn blockers(init_state: char, others: Vec<Process>) -> Vec<(u32, BlockReason, Option<u32>)> {
        let (namespaces, _) = model(init_state, others);
        assert!(namespaces[0].blocked_by.is_empty(), "the host is not dead");
        let blockers = namespaces[1].blocked_by.iter();
        blockers.map(|it| (it.pid.as_u32(), it.reason, it.reaper.map(Pid::as_u32))).collect()
    }

    #[test]
    fn a_zombie_init_blocks_itself_and_its_parent_must_reap_it() {
        let zombie = member(&[11, 2], DEAD, 'Z', Some(5));
        assert_eq!(blockers('Z', vec![zombie]), [(10, BlockReason::Zombie, Some(5))]);
    }

    #[test]
    fn an_init_waits_for_zombies_whose_parent_is_outside_its_namespace() {
        let others = vec![
            member(&[11, 2], DEAD, 'Z', Some(5)),
            member(&[12, 3], DEAD, 'Z', Some(10)),
            member(&[13, 4, 1], BELOW, 'Z', Some(5)),
            member(&[14, 5, 2], BELOW, 'Z', Some(12)),
            // The scan did not find the parent, so the parent may be in any namespace.
            member(&[15, 6], DEAD, 'Z', Some(99)),
            // The procfs does not show the parent, so the parent is outside of the dead namespace.
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
    fn an_init_waits_for_uninterruptible_processes_in_its_namespace_and_below() {
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
    fn the_threads_of_a_process_that_blocks_nested_inits_are_examined_once() {
        let nested = |id, above, init| {
            let mut it = namespace(id, above);
            (it.state, it.init) = (NamespaceState::Dead, Pid::new(init));
            it
        };
        let mut namespaces = vec![
            namespace(HOST, None),
            nested(DEAD, Some(HOST), 10),
            nested(BELOW, Some(DEAD), 11),
        ];
        let mut zombie = member(&[12, 3, 2], BELOW, 'Z', Some(11));
        zombie.threads = NonZeroU32::new(2);
        let inits =
            [member(&[10, 1], DEAD, 'S', Some(5)), member(&[11, 2, 1], BELOW, 'S', Some(10))];
        let processes: Vec<_> = inits.into_iter().chain([zombie]).collect();
        let asked = Cell::new(0);
        find_blockers(&mut namespaces, &processes, &|_| {
            asked.set(asked.get() + 1);
            Some(HeldThread::Uninterruptible(pid(13)))
        });
        let blocked = |it: &Namespace| it.blocked_by.iter().map(|it| it.pid).collect::<Vec<_>>();
        assert_eq!(
            namespaces.iter().map(blocked).collect::<Vec<_>>(),
            [vec![], vec![pid(12)], vec![pid(12)]]
        );
        assert_eq!(asked.get(), 1);
    }

    #[test]
    fn neither_a_live_nor_a_quickly_ending_namespace_has_blockers() {
        assert_eq!(blockers('S', vec![member(&[11, 2], DEAD, 'S', Some(10))]), []);
        let mut namespaces = vec![namespace(HOST, None)];
        namespaces[0].init = Some(pid(10));
        let processes =
            [member(&[5], HOST, 'S', None), member(&[10, 1], HOST, 'S', Some(5))].into_iter();
        let mut processes: Vec<_> = processes.collect();
        processes.push(member(&[11, 2], HOST, 'Z', Some(5)));
        find_blockers(&mut namespaces, &processes, &|_| None);
        assert_eq!(namespaces[0].blocked_by, []);
    }

    #[test]
    fn the_diagnostic_names_the_first_three_blockers() {
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
        assert!(log.into_diagnostics("").is_empty(), "a zombie init waits for no process");
    }
}
