//! Finds living inits that do not reap their children.
//!
//! The init of a namespace must reap orphaned processes with wait(2). Many programs were not
//! written to be an init. Their zombies accumulate until PIDs run out.
//!
//! The module `blockers` handles terminated inits.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;
use std::thread;
use std::time::{Duration, Instant};

use crate::collect::discovery::FollowUp;
use crate::collect::log::DiagnosticLog;
use crate::model::{DiagnosticCode, Namespace, NamespaceState, Pid, Process};

/// Maximum time an init may take to reap its zombie children. A slower init is reported.
const PATIENCE: Duration = Duration::from_millis(100);

/// Pause between two checks of the same zombies.
const PAUSE: Duration = Duration::from_millis(10);

/// Adds a diagnostic for every living init that does not reap its zombie children within
/// [`PATIENCE`].
pub fn note_inits_that_do_not_reap(
    source: &dyn FollowUp,
    namespaces: &[Namespace],
    processes: &[Process],
    log: &mut DiagnosticLog,
) {
    // A zombie cannot be reaped until all other threads of the process have exited.
    let can_be_reaped = |it: &&Process| it.is_zombie() && it.threads == Some(NonZeroU32::MIN);
    // The reaper of a traced zombie is its tracer, not its parent.
    let zombies = processes.iter().filter(can_be_reaped).filter_map(|it| Some((it.reaper()?, it)));
    let zombies: Vec<_> = zombies.collect();
    if zombies.is_empty() {
        return;
    }
    let lives = |it: &&Namespace| it.state == NamespaceState::Live;
    let of_init: HashMap<Pid, &Namespace> =
        namespaces.iter().filter(lives).filter_map(|it| Some((it.init?, it))).collect();
    let mut by_init: BTreeMap<Pid, Vec<&Process>> = BTreeMap::new();
    for (parent, zombie) in zombies.into_iter().filter(|(parent, _)| of_init.contains_key(parent)) {
        by_init.entry(parent).or_default().push(zombie);
    }
    let find = |pid: Pid| {
        let index = processes.binary_search_by_key(&pid, |process| process.pid);
        index.ok().and_then(|index| processes.get(index))
    };
    // After vfork(2), a parent is in uninterruptible sleep until its child executes a program.
    let sleeps = |init| find(init).is_some_and(|it| source.is_uninterruptible(it));
    let mut asleep: HashSet<Pid> = by_init.keys().copied().collect();
    let start = Instant::now();
    while !by_init.is_empty() && start.elapsed() < PATIENCE {
        asleep.retain(|&init| sleeps(init));
        thread::sleep(PAUSE);
        by_init.retain(|_, zombies| {
            zombies.retain(|zombie| source.is_zombie(zombie));
            !zombies.is_empty()
        });
    }
    for (init, zombies) in by_init {
        let Some(namespace) = of_init.get(&init) else { continue };
        let process = find(init);
        // An init that is blocked, stopped or frozen cannot reap its children yet.
        if asleep.contains(&init)
            || process.is_some_and(|it| source.is_stopped(it) || source.is_frozen(it))
        {
            continue;
        }
        let name = process.map_or(String::new(), |it| format!(" ({})", it.comm));
        let count = zombies.len();
        let message = format!(
            "init {init}{name} of {} does not reap its children: {count} zombie{}",
            namespace.id,
            if count == 1 { "" } else { "s" }
        );
        log.note_as(DiagnosticCode::InitDoesNotReap, message, Some(init));
    }
}

#[cfg(test)]
mod tests {

    use rustix::io::Result as SysResult;

    use super::*;
    use crate::collect::discovery::{HeldThread, InitNow, ListedInit, Sleeps};
    use crate::collect::kernel::nsfs::NamespaceFd;

    use crate::testing::{namespace, process};

    /// A source that always reports the processes with these PIDs as zombies.
    struct NeverReaped(&'static [u32]);

    impl FollowUp for NeverReaped {
        fn is_there(&self, _: &Process) -> bool {
            unreachable!("only is_zombie is asked")
        }

        fn tracer(&self, _: &Process) -> Option<Pid> {
            None
        }

        fn held_thread(&self, _: &Process) -> Option<HeldThread> {
            None
        }

        fn uninterruptible_sleeps(&self, _: &Process) -> Sleeps {
            Sleeps::new()
        }

        fn is_stopped(&self, process: &Process) -> bool {
            process.is_stopped()
        }

        fn is_uninterruptible(&self, process: &Process) -> bool {
            process.state == 'D'
        }

        fn is_frozen(&self, process: &Process) -> bool {
            process.comm == "frozen"
        }

        fn is_frozen_cgroup(&self, _: &[u8]) -> bool {
            false
        }

        fn is_zombie(&self, process: &Process) -> bool {
            self.0.contains(&process.pid.as_u32())
        }

        fn init_of(&self, _: &NamespaceFd) -> SysResult<Pid> {
            unreachable!("inits are known")
        }

        fn had_init(&self, _: &NamespaceFd) -> Option<bool> {
            unreachable!("states are known")
        }

        fn init_now(&self, _: &NamespaceFd) -> InitNow {
            unreachable!("states are known")
        }

        fn list_inits(&self) -> SysResult<Vec<ListedInit>> {
            unreachable!("inits are known")
        }
    }

    fn zombie(nspid: &[u32], parent: u32, threads: u32) -> Process {
        let ppid = Pid::new(parent);
        Process { ppid, state: 'Z', threads: NonZeroU32::new(threads), ..process(nspid, Some(2)) }
    }

    /// Returns the diagnostics for a host with a shell (5), a live init (6) and a dead init (7).
    fn diagnostics(zombies: Vec<Process>, never_reaped: &'static [u32]) -> Vec<(String, Vec<u32>)> {
        let mut namespaces = vec![namespace(1, None), namespace(2, Some(1)), namespace(3, Some(1))];
        for (namespace, init) in namespaces.iter_mut().zip([1, 6, 7]) {
            namespace.init = Pid::new(init);
        }
        namespaces[2].state = NamespaceState::Dead;
        let mut processes = vec![process(&[1], Some(1)), process(&[5], Some(1))];
        processes.extend([process(&[6, 1], Some(2)), process(&[7, 1], Some(3))]);
        processes.extend(zombies);
        let mut log = DiagnosticLog::default();
        let source = NeverReaped(never_reaped);
        note_inits_that_do_not_reap(&source, &namespaces, &processes, &mut log);
        assert!(log.is_complete());
        let pids = |pids: Vec<Pid>| pids.into_iter().map(Pid::as_u32).collect();
        log.into_diagnostics("").into_iter().map(|it| (it.message, pids(it.pids))).collect()
    }

    #[test]
    fn reports_an_init_whose_children_stay_zombies() {
        let zombies = || vec![zombie(&[8, 2], 6, 1), zombie(&[9, 3], 6, 1), zombie(&[10, 4], 6, 1)];
        let advice = "; use an init that does, such as tini or docker run --init";
        let message = |zombies: &str| {
            format!("init 6 (sleep) of pid:[2] does not reap its children: {zombies}{advice}")
        };
        assert_eq!(diagnostics(zombies(), &[8, 9]), [(message("2 zombies"), vec![6])]);
        assert_eq!(diagnostics(zombies(), &[10]), [(message("1 zombie"), vec![6])]);
        // If the init reaps all zombies, there is no diagnostic.
        assert_eq!(diagnostics(zombies(), &[]), []);
    }

    #[test]
    fn reports_neither_other_parents_nor_terminated_inits() {
        let of_a_shell = zombie(&[8], 5, 1);
        let of_a_dead_init = zombie(&[9, 2], 7, 1);
        let with_threads = zombie(&[10, 2], 6, 2);
        assert_eq!(diagnostics(vec![of_a_shell, of_a_dead_init, with_threads], &[8, 9, 10]), []);
    }

    #[test]
    fn an_init_that_cannot_reap_is_not_reported() {
        let mut traced = zombie(&[8, 2], 6, 1);
        traced.details.get_or_insert_default().tracer = Pid::new(5);
        assert_eq!(diagnostics(vec![traced.clone()], &[8]), []);
        traced.details.get_or_insert_default().tracer = Pid::new(6);
        assert_eq!(diagnostics(vec![traced], &[8]).len(), 1, "it is the tracer itself");
        let namespaces = {
            let mut namespaces = vec![namespace(1, None), namespace(2, Some(1))];
            namespaces[1].init = Pid::new(6);
            namespaces
        };
        for (state, comm, count) in
            [('S', "sleep", 1), ('T', "sleep", 0), ('D', "sleep", 0), ('S', "frozen", 0)]
        {
            let init = Process { state, comm: comm.into(), ..process(&[6, 1], Some(2)) };
            let processes = [init, zombie(&[8, 2], 6, 1)];
            let mut log = DiagnosticLog::default();
            note_inits_that_do_not_reap(&NeverReaped(&[8]), &namespaces, &processes, &mut log);
            assert_eq!(log.into_diagnostics("").len(), count, "{state} {comm}");
        }
    }
}
