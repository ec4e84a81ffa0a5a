//! Tests the inference on random process trees with unreadable namespace links.

use std::collections::HashMap;
use std::iter::successors;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{RngSeed, TestRunner};

use self::oracle::{World, possible_worlds};
use super::*;
use crate::testing::forest::{Forest, View, calls, sights, sights_of_some};
use crate::testing::{namespace, process};

mod oracle;

/// A proptest configuration with a fixed seed.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

/// The processes and namespaces after the inference, and the inferred ID of the namespace that the
/// procfs shows.
struct Inferred {
    view: View,
    mount: Option<NamespaceId>,
}

fn infer_all(mut view: View, all_seen: bool, is_there: &dyn Fn(&Process) -> bool) -> Inferred {
    let known = Known {
        mount: view.known_mount,
        leaders: &view.leaders,
        terminated: &view.terminated,
        all_seen,
        refused_parents: &RefusedParents::default(),
        is_there,
    };
    let mut log = DiagnosticLog::default();
    let mount = infer(&mut view.processes, &mut view.namespaces, &known, &mut log);
    Inferred { view, mount }
}

/// Compares the inferred data with `forest`, and returns the first mistake as an error.
fn check(forest: &Forest, Inferred { view, mount }: &Inferred) -> Result<(), String> {
    let meant = |id| view.meant(forest, id);
    if let Some(mount) = mount.filter(|&it| meant(it) != view.mount) {
        return Err(format!("{mount} is not that of /proc"));
    }
    for process in &view.processes {
        let truth = forest.tasks[view.task_of[&process.pid]].namespace;
        if let Some(id) = process.namespace.filter(|&it| meant(it) != truth) {
            return Err(format!("{} is not in {id}", process.pid));
        }
    }
    for namespace in &view.namespaces {
        let truth = meant(namespace.id);
        let is_right =
            |parent: &NamespaceId| Some(meant(*parent)) == forest.namespaces[truth].parent;
        if let Some(id) = namespace.parent.filter(|it| !is_right(it)) {
            return Err(format!("{} was not made in {id}", namespace.id));
        }
    }
    let mut ids = HashMap::new();
    for id in view.processes.iter().filter_map(|it| it.namespace) {
        if let Some(other) = ids.insert(meant(id), id).filter(|&it| it != id) {
            return Err(format!("{other} is {id}"));
        }
    }
    Ok(())
}

/// Infers the namespaces of the processes in `nested`. The processes are children of PID 1. Each is
/// paired with the inode of its namespace, or with `None` if the inode is unreadable.
fn place(nested: &[(Process, Option<u64>)], all_seen: bool) -> Vec<Option<String>> {
    let init = process(&[1], Some(1000));
    let nested_ones = nested.iter().map(|(it, inode)| Process {
        ppid: Some(Pid::INIT),
        namespace: inode.map(NamespaceId::Inode),
        ..it.clone()
    });
    let mut processes: Vec<_> = std::iter::once(init).chain(nested_ones).collect();
    let mut namespaces = vec![namespace(1000, None)];
    namespaces.extend(nested.iter().filter_map(|&(_, inode)| Some(namespace(inode?, Some(1000)))));
    let is_ended = |it: &&Process| it.is_zombie() && it.nspid.last() == Some(&Pid::INIT);
    let known = Known {
        mount: Some(NamespaceId::Inode(1000)),
        leaders: &HashMap::new(),
        terminated: &processes.iter().filter(is_ended).map(|it| it.pid).collect(),
        all_seen,
        refused_parents: &RefusedParents::default(),
        is_there: &|_| true,
    };
    infer(&mut processes, &mut namespaces, &known, &mut DiagnosticLog::default());
    processes[1..].iter().map(|it| it.namespace.map(|id| id.to_string())).collect()
}

fn zombie(nspid: &[u32], threads: u32) -> Process {
    Process { state: 'Z', threads: NonZeroU32::new(threads), ..process(nspid, None) }
}

#[test]
fn a_zombie_init_has_other_members_only_if_it_has_threads() {
    let others = [process(&[4, 1], None), zombie(&[5, 2], 1)].map(|it| (it, None));
    let place = |init| place(&[&[(init, None)], &others[..]].concat(), true)[2].clone();
    assert_eq!(place(zombie(&[2, 1], 2)), None);
    assert_eq!(place(zombie(&[2, 1], 1)).as_deref(), Some("pid:[?4]"));
}

#[test]
fn an_unread_init_may_belong_to_a_namespace_with_read_members() {
    let (one, other) = ((process(&[2, 1], None), None), (process(&[3, 1], None), None));
    let member = (process(&[4, 2], None), Some(1001));
    let read = || Some("pid:[1001]".to_owned());
    // Either of the two inits may be the init of namespace 1001.
    let placed = place(&[one.clone(), other.clone(), member.clone()], true);
    assert_eq!(placed, [None, None, read()]);
    // The init of namespace 1001 may be process 2 or a hidden process.
    assert_eq!(place(&[one.clone(), member.clone()], false), [None, read()]);
    // A zombie init without other threads is the last member of its namespace.
    let zombie = (zombie(&[5, 1], 1), None);
    let placed = place(&[one.clone(), other, member.clone(), zombie], true);
    assert_eq!(placed, [None, None, read(), Some("pid:[?5]".to_owned())]);
    assert_eq!(place(&[one.clone(), member], true), [read(), read()]);
    let elsewhere = (process(&[4, 1], None), Some(1001));
    assert_eq!(place(&[one, elsewhere], true), [Some("pid:[?2]".to_owned()), read()]);
}

#[test]
fn distinguishes_namespaces_at_the_same_level_by_their_parents() {
    // Process 2 has started process 6 in the namespace of init 4 or of init 5.
    let child = |nspid: &[u32], parent| Process { ppid: Pid::new(parent), ..process(nspid, None) };
    let mut processes = vec![
        process(&[1], Some(1000)),
        child(&[2, 1], 1),
        child(&[3, 1], 1),
        child(&[4, 2, 1], 2),
        child(&[5, 2, 1], 3),
        child(&[6, 3, 2], 2),
    ];
    let known = Known {
        refused_parents: &RefusedParents::default(),
        mount: Some(NamespaceId::Inode(1000)),
        leaders: &HashMap::new(),
        terminated: &HashSet::new(),
        all_seen: true,
        is_there: &|_| true,
    };
    let mut namespaces = vec![namespace(1000, None)];
    infer(&mut processes, &mut namespaces, &known, &mut DiagnosticLog::default());
    assert_eq!(processes[5].namespace, Pid::new(4).map(NamespaceId::Unread));
}

#[test]
fn a_session_links_a_process_to_its_leader() {
    // Init 2 has adopted process 5, and process 4 is the session leader of process 5.
    let adopted = Process { ppid: Pid::new(2), ..process(&[5, 3], None) };
    let outside = |nspid: &[u32]| Process { ppid: Some(Pid::INIT), ..process(nspid, None) };
    let mut processes = vec![
        process(&[1], Some(1000)),
        outside(&[2, 1]),
        outside(&[3, 1]),
        outside(&[4, 2]),
        adopted,
    ];
    let mut namespaces = vec![namespace(1000, None)];
    let leads = |pid, session| (pid, Leaders { session, group: None });
    let mut known = Known {
        refused_parents: &RefusedParents::default(),
        mount: Some(NamespaceId::Inode(1000)),
        leaders: &HashMap::new(),
        terminated: &HashSet::new(),
        all_seen: true,
        is_there: &|_| true,
    };
    let of_4 = |processes: &[Process]| processes[3].namespace;
    let (mut without, mut log) = (processes.clone(), DiagnosticLog::default());
    infer(&mut without, &mut namespaces.clone(), &known, &mut log);
    // Without the session, process 4 may be in the namespace of init 2 or of init 3.
    assert_eq!(of_4(&without), None);
    let leaders = HashMap::from([leads(processes[4].pid, Pid::new(4))]);
    known.leaders = &leaders;
    infer(&mut processes, &mut namespaces, &known, &mut log);
    assert_eq!(of_4(&processes), Pid::new(2).map(NamespaceId::Unread));
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn nothing_is_placed_wrongly(calls in calls(60, 4), sight in sights()) {
        let forest = Forest::grow(&calls);
        let inferred = infer_all(View::of(&forest, &sight), true, &|_| true);
        prop_assert_eq!(check(&forest, &inferred), Ok(()));
    }

    #[test]
    fn nothing_is_placed_wrongly_if_processes_are_hidden(
        calls in calls(60, 4),
        sight in sights_of_some(),
    ) {
        let forest = Forest::grow(&calls);
        let inferred = infer_all(View::of(&forest, &sight), false, &|_| true);
        prop_assert_eq!(check(&forest, &inferred), Ok(()));
    }

    #[test]
    fn nothing_is_placed_wrongly_if_processes_vanish(
        calls in calls(60, 4),
        sight in sights_of_some(),
    ) {
        let forest = Forest::grow(&calls);
        let view = View::of(&forest, &sight);
        let view_mount = view.mount;
        let seen = view.task_of.clone();
        // A process has ended if its namespace or an ancestor has no init.
        let is_there = |process: &Process| {
            let own = forest.tasks[seen[&process.pid]].namespace;
            let mut above = successors(Some(own), |&it| forest.namespaces[it].parent);
            above.all(|it| {
                let init = forest.namespaces[it].init;
                it == view_mount || seen.values().any(|&task| Some(task) == init)
            })
        };
        let inferred = infer_all(view, true, &is_there);
        prop_assert_eq!(check(&forest, &inferred), Ok(()));
    }

    #[test]
    fn without_injected_processes_everything_is_placed(
        calls in calls(60, 0),
        sight in sights(),
    ) {
        let forest = Forest::grow(&calls);
        let view = View::of(&forest, &sight);
        prop_assert!(!view.has_injected(&forest));
        let inferred = infer_all(view, true, &|_| true);
        prop_assert_eq!(check(&forest, &inferred), Ok(()));
        for process in &inferred.view.processes {
            let id = process.namespace;
            prop_assert!(id.is_some(), "{} is not placed", process.pid);
            let namespace = inferred.view.namespaces.iter().find(|it| Some(it.id) == id);
            let parent = namespace.map(|it| it.parent.is_some());
            prop_assert!(id == inferred.mount || parent == Some(true), "{id:?} has no parent");
        }
    }
}

#[derive(Debug, Default)]
struct Share {
    /// Number of nested processes with an unreadable namespace link and an inferred namespace.
    placed: usize,
    /// Number of nested processes with an unreadable namespace link.
    open: usize,
}

#[test]
fn two_thirds_of_processes_are_placed_despite_injected_processes() {
    let mut share = Share::default();
    let mut runner = TestRunner::new(cases(500));
    let strategy = (calls(60, 20), sights());
    for _ in 0..500 {
        let (calls, sight) = strategy.new_tree(&mut runner).unwrap().current();
        let forest = Forest::grow(&calls);
        let view = View::of(&forest, &sight);
        if !view.has_injected(&forest) {
            continue;
        }
        let is_open = |it: &Process| it.namespace.is_none() && it.nspid.len() > 1;
        let open: Vec<_> =
            (0..view.processes.len()).filter(|&at| is_open(&view.processes[at])).collect();
        let inferred = infer_all(view, true, &|_| true);
        assert_eq!(check(&forest, &inferred), Ok(()));
        share.open += open.len();
        share.placed +=
            open.iter().filter(|&&at| inferred.view.processes[at].namespace.is_some()).count();
    }
    assert!(share.open > 1_000, "{share:?}");
    assert!(share.placed * 3 > share.open * 2, "{share:?}");
}

proptest! {
    #![proptest_config(cases(1_000))]

    /// Compares the inference with a brute-force search of all possible namespace assignments.
    #[test]
    fn a_process_is_placed_only_if_all_possible_worlds_agree(
        // Keep the process trees small. In larger trees, the brute-force search finds namespaces
        // that the inference cannot determine.
        calls in calls(16, 20),
        sight in sights(),
    ) {
        let forest = Forest::grow(&calls);
        let told = View::of(&forest, &sight);
        let Some(worlds) = possible_worlds(&told, 300) else { return Ok(()) };
        prop_assert!(worlds.iter().any(|world| is_truth(world, &told, &forest)));
        let Inferred { view, .. } = infer_all(told.clone(), true, &|_| true);
        for world in &worlds {
            let mut ids = HashMap::new();
            for (process, &home) in view.processes.iter().zip(&world.home) {
                let Some(id) = process.namespace else { continue };
                prop_assert_eq!(world.meant(&view, id), Some(home), "{} {:?}", process.pid, world);
                prop_assert_eq!(*ids.entry(home).or_insert(id), id);
            }
            for namespace in &view.namespaces {
                let before = told.namespaces.iter().find(|it| it.id == namespace.id);
                if before.is_some_and(|it| it.parent.is_some()) {
                    continue;
                }
                let Some(parent) = namespace.parent else { continue };
                let above = match world.meant(&view, namespace.id) {
                    Some(Some(init)) => Some(world.above[&init]),
                    other => other,
                };
                prop_assert_eq!(world.meant(&view, parent), above, "{} {:?}", namespace.id, world);
            }
        }
        for (at, process) in view.processes.iter().enumerate() {
            let name = |world: &World| (world.home[at], world.inode(world.home[at]));
            let agree = worlds.iter().all(|world| name(world) == name(&worlds[0]));
            prop_assert!(process.namespace.is_some() || !agree, "{} is not placed", process.pid);
        }
    }
}

/// Returns `true` if `world` assigns every process to its true namespace in `forest`.
fn is_truth(world: &World, view: &View, forest: &Forest) -> bool {
    let own = |at: usize| forest.tasks[view.task_of[&view.processes[at].pid]].namespace;
    (0..view.processes.len()).all(|at| world.home[at].is_none_or(|init| own(init) == own(at)))
}
