//! Inits that live and do not reap. What a terminated init waits for is told
//! by `blockers`.
//!
//! Whoever loses its parent becomes a child of its namespace's init, which is
//! to wait for it (`wait(2)`) when it has ended. A program that was not made to
//! be an init may not do so, and zombies gather until the PIDs run out.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::thread;
use std::time::{Duration, Instant};

use crate::collect::discovery::Source;
use crate::collect::log::DiagnosticLog;
use crate::model::{DiagnosticCode, Namespace, NamespaceState, Pid, Process};

/// How long an init has to reap a child before it is said not to.
const PATIENCE: Duration = Duration::from_millis(100);

/// Between two looks at the same zombies.
const PAUSE: Duration = Duration::from_millis(10);

/// Notes every living init that has zombies for children which stay. It takes
/// time only where there are such zombies, and no more than [`PATIENCE`].
pub fn note_inits_that_do_not_reap(
    source: &dyn Source,
    namespaces: &[Namespace],
    processes: &[Process],
    log: &mut DiagnosticLog,
) {
    // A leader that has exited before its other threads is not to be reaped.
    let is_ended = |it: &&Process| it.is_zombie() && it.threads == Some(NonZeroU32::MIN);
    let ended = processes.iter().filter(is_ended).filter_map(|it| Some((it.ppid?, it)));
    let ended: Vec<_> = ended.collect();
    if ended.is_empty() {
        return;
    }
    let lives = |it: &&Namespace| it.state == NamespaceState::Live;
    let of_init: HashMap<Pid, &Namespace> =
        namespaces.iter().filter(lives).filter_map(|it| Some((it.init?, it))).collect();
    let mut zombies: BTreeMap<Pid, Vec<&Process>> = BTreeMap::new();
    for (parent, zombie) in ended.into_iter().filter(|(parent, _)| of_init.contains_key(parent)) {
        zombies.entry(parent).or_default().push(zombie);
    }
    let start = Instant::now();
    while !zombies.is_empty() && start.elapsed() < PATIENCE {
        thread::sleep(PAUSE);
        zombies.retain(|_, zombies| {
            zombies.retain(|zombie| source.is_zombie(zombie));
            !zombies.is_empty()
        });
    }
    for (init, zombies) in zombies {
        let Some(namespace) = of_init.get(&init) else { continue };
        let name = processes
            .binary_search_by_key(&init, |process| process.pid)
            .map_or(String::new(), |index| format!(" ({})", processes[index].comm));
        let count = zombies.len();
        let said = format!(
            "init {init}{name} of {} does not reap its children: {count} zombie{}",
            namespace.id,
            if count == 1 { "" } else { "s" }
        );
        log.note_as(DiagnosticCode::InitDoesNotReap, said, Some(init));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rustix::io::Result as SysResult;

    use super::*;
    use crate::collect::discovery::{Discovery, InitNow, ListedInit};
    use crate::collect::error::Error;
    use crate::collect::kernel::nsfs::NamespaceFd;
    use crate::collect::registry::NamespaceRegistry;
    use crate::model::{Detail, SearchScope};
    use crate::testing::{namespace, process};

    /// Knows which zombies are never reaped.
    struct NeverReaped(&'static [u32]);

    impl Source for NeverReaped {
        fn discover(
            &self,
            _: &BTreeSet<SearchScope>,
            _: &BTreeSet<Detail>,
            _: &NamespaceRegistry,
        ) -> Result<Discovery, Error> {
            unreachable!("zombies are looked at after all was read")
        }

        fn is_there(&self, _: &Process) -> bool {
            unreachable!("a zombie is looked for, and not whether the process is there")
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

    /// What is said of a host with a shell (5), a live namespace (init 6) and
    /// a dead one (init 7) in it.
    fn said(zombies: Vec<Process>, never_reaped: &'static [u32]) -> Vec<(String, Vec<u32>)> {
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
    fn an_init_whose_children_stay_zombies_is_named_with_their_number() {
        let zombies = || vec![zombie(&[8, 2], 6, 1), zombie(&[9, 3], 6, 1), zombie(&[10, 4], 6, 1)];
        let advice = "; use an init that does, such as tini or docker run --init";
        let message = |zombies: &str| {
            format!("init 6 (sleep) of pid:[2] does not reap its children: {zombies}{advice}")
        };
        assert_eq!(said(zombies(), &[8, 9]), [(message("2 zombies"), vec![6])]);
        assert_eq!(said(zombies(), &[10]), [(message("1 zombie"), vec![6])]);
        // It was only slow.
        assert_eq!(said(zombies(), &[]), []);
    }

    #[test]
    fn no_other_parent_and_no_terminated_init_is_accused() {
        let of_a_shell = zombie(&[8], 5, 1);
        let of_a_dead_init = zombie(&[9, 2], 7, 1);
        let with_threads = zombie(&[10, 2], 6, 2);
        assert_eq!(said(vec![of_a_shell, of_a_dead_init, with_threads], &[8, 9, 10]), []);
    }
}
