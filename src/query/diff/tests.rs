use super::*;
use crate::model::{NamespaceState, Observer, Process};
use crate::testing::{farm, namespace, process, snapshot};

fn pid(raw: u32) -> Pid {
    Pid::new(raw).unwrap()
}

fn compare(before: Snapshot, after: Snapshot) -> Diff {
    Diff::new(PidGraph::new(before), PidGraph::new(after)).unwrap()
}

/// Returns a snapshot with an init and these processes.
fn host(processes: Vec<Process>) -> Snapshot {
    let mut processes = processes;
    processes.push(process(&[1], Some(10)));
    for process in &mut processes {
        process.start_time.get_or_insert(5);
    }
    let mut namespaces: Vec<_> = processes.iter().filter_map(|it| it.namespace?.inode()).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    let namespaces =
        namespaces.into_iter().map(|inode| namespace(inode, (inode != 10).then_some(10))).collect();
    snapshot(namespaces, processes)
}

/// Formats the differences, one line for each change.
fn lines(diff: &Diff) -> Vec<String> {
    let sign = |happened| match happened {
        Happened::Came => '+',
        Happened::Went => '-',
        Happened::Hidden => '?',
        Happened::Changed => '~',
    };
    let namespaces = diff.namespaces.iter().map(|it| {
        let id = it.after.or(it.before).unwrap();
        format!("{} {id} {:?}", sign(it.happened()), it.fields)
    });
    let processes = diff.processes.iter().map(|it| {
        let pid = it.after.or(it.before).unwrap();
        format!("{} {pid} {:?}", sign(it.happened()), it.fields)
    });
    namespaces.chain(processes).collect()
}

#[test]
fn a_graph_does_not_differ_from_itself() {
    let diff = compare(farm(), farm());
    assert!(!diff.differs());
    assert_eq!(diff.relation, Relation::SameBoot);
    assert_eq!(lines(&diff), Vec::<String>::new());
    // The five processes match only weakly, because their start times are unknown.
    assert_eq!(diff.weak, WeakMatches { namespaces: 0, processes: 5 });
    let caveats: Vec<_> = diff.caveats().into_iter().collect();
    assert_eq!(caveats, [DiffCaveat::Incomplete, DiffCaveat::WeakProcesses]);
}

#[test]
fn a_reused_pid_is_another_process() {
    let mut again = process(&[7], Some(10));
    again.start_time = Some(6);
    let diff = compare(host(vec![process(&[7], Some(10))]), host(vec![again]));
    assert_eq!(lines(&diff), ["~ pid:[10] [Members]", "- 7 []", "+ 7 []"]);
    let members = &diff.namespaces[0];
    assert_eq!((&members.members_came, &members.members_went), (&vec![pid(7)], &vec![pid(7)]));
    assert_eq!(diff.weak, WeakMatches::default());
}

#[test]
fn without_start_times_a_match_by_pid_and_namespace_is_weak() {
    let unknown = |mut snapshot: Snapshot| {
        for process in &mut snapshot.processes {
            process.start_time = None;
        }
        snapshot
    };
    let before = host(vec![process(&[7, 2], Some(20)), process(&[8], Some(10))]);
    let after = host(vec![process(&[7, 3], Some(20)), process(&[8], Some(10))]);
    let diff = compare(unknown(before), after);
    assert_eq!(lines(&diff), ["~ pid:[20] [Members]", "- 7 []", "+ 7 []"]);
    assert_eq!(diff.weak.processes, 2);
}

#[test]
fn only_lasting_properties_of_a_process_are_compared() {
    let changed = |change: fn(&mut Process)| {
        let mut after = host(vec![process(&[7], Some(10))]);
        change(&mut after.processes[0]);
        let diff = compare(host(vec![process(&[7], Some(10))]), after);
        diff.processes.first().map(|it| it.fields.clone()).unwrap_or_default()
    };
    for state in ['R', 'D', 'I'] {
        let mut after = host(vec![process(&[7], Some(10))]);
        after.processes[0].state = state;
        assert!(!compare(host(vec![process(&[7], Some(10))]), after).differs(), "{state}");
    }
    assert_eq!(changed(|it| it.state = 'Z'), [ProcessField::State]);
    assert_eq!(changed(|it| it.state = 'T'), [ProcessField::State]);
    assert_eq!(changed(|it| it.comm = "sh".into()), [ProcessField::Comm]);
    assert_eq!(changed(|it| it.uid = 5), [ProcessField::User]);
    assert_eq!(changed(|it| it.ppid = Pid::new(1)), [ProcessField::Parent]);
    assert_eq!(changed(|it| it.namespace = None), [ProcessField::Namespace]);
    assert_eq!(changed(|it| it.user = Some("other".into())), []);
}

#[test]
fn a_namespace_is_matched_by_its_id_or_else_by_inode_and_init() {
    let one = || host(vec![process(&[7, 1], Some(20))]);
    // The second snapshot has a different namespace with the same, reused inode.
    let mut other = one();
    other.namespaces[1].ns_id = Some(99);
    other.processes[0].start_time = Some(6);
    let again = ["- pid:[20] []", "+ pid:[20] []", "- 7 []", "+ 7 []"];
    assert_eq!(lines(&compare(one(), other.clone())), again);
    // If a 64-bit ID is unknown, different start times of the inits mean different namespaces.
    other.namespaces[1].ns_id = None;
    assert_eq!(lines(&compare(one(), other.clone())), again);
    // A dead namespace never gets a new init, so the live namespace is a different one.
    let mut dead = one();
    dead.processes.remove(0);
    dead.namespaces[1].init = None;
    dead.namespaces[1].ns_id = None;
    dead.namespaces[1].state = NamespaceState::Dead;
    let revived = compare(dead.clone(), one());
    assert_eq!(lines(&revived), ["- pid:[20] []", "+ pid:[20] []", "+ 7 []"]);
    // The init has ended, so the namespaces match only by inode.
    let died = compare(one(), dead);
    assert_eq!(lines(&died), ["~ pid:[20] [State, Members]", "- 7 []"]);
    assert_eq!(died.weak.namespaces, 1);
}

#[test]
fn a_namespace_without_an_inode_is_matched_by_its_init() {
    let mut unread = host(vec![process(&[7, 1], Some(20))]);
    unread.namespaces[1].id = NamespaceId::Unread(pid(7));
    unread.namespaces[1].ns_id = None;
    unread.processes[0].namespace = Some(NamespaceId::Unread(pid(7)));
    let diff = compare(unread, host(vec![process(&[7, 1], Some(20))]));
    assert_eq!(lines(&diff), Vec::<String>::new());
    assert_eq!(diff.counterpart(NamespaceId::Unread(pid(7))), Some(NamespaceId::Inode(20)));
}

#[test]
fn snapshots_of_another_boot_host_or_procfs_cannot_be_compared() {
    let relation = |change: fn(&mut Snapshot)| {
        let mut after = host(Vec::new());
        change(&mut after);
        let diff = Diff::new(PidGraph::new(host(Vec::new())), PidGraph::new(after));
        diff.map(|it| it.relation)
    };
    assert_eq!(relation(|_| {}), Ok(Relation::SameBoot));
    assert_eq!(relation(|it| it.host.boot_id = None), Ok(Relation::BootUnknown));
    let other_boot = relation(|it| it.host.boot_id = Some("other".to_owned()));
    assert_eq!(other_boot, Err(Incomparable::OtherBoot));
    let other_host = relation(|it| {
        it.host.boot_id = Some("other".to_owned());
        it.host.hostname = Some("ci-8".to_owned());
    });
    assert_eq!(other_host, Err(Incomparable::OtherHost));
    // Snapshots of one boot are from the same host, even if a container has its own host name.
    let renamed = relation(|it| it.host.hostname = Some("ci-8".to_owned()));
    assert_eq!(renamed, Ok(Relation::SameBoot));
    let inner = relation(|it| it.namespaces[0].ns_id = Some(99));
    assert_eq!(inner, Err(Incomparable::OtherProcfs));
}

/// Sets the observer of a snapshot to a pidns process with this PID and start time.
fn seen_by(mut host: Snapshot, raw: u32, start_time: u64) -> Snapshot {
    host.observer = Some(Observer {
        pid: pid(raw),
        start_time: Some(start_time),
        scan_end: None,
        step: None,
        companions: Vec::new(),
        attendants: Vec::new(),
    });
    host
}

#[test]
fn what_is_older_than_the_first_pidns_did_not_come() {
    let started = |raw: u32, start_time| {
        let mut process = process(&[raw, 1], Some(u64::from(raw) + 100));
        process.start_time = Some(start_time);
        process
    };
    let before = host(Vec::new());
    // In the same clock tick, process 7 started before pidns (PID 50), and process 60 after it.
    let after = host(vec![started(7, 9), started(8, 8), started(60, 9), started(9, 10)]);
    let came = |before: Snapshot, after: Snapshot| {
        let diff = compare(before, after);
        let processes: Vec<_> =
            diff.processes.iter().filter_map(|it| it.after).map(Pid::as_u32).collect();
        let namespaces: Vec<_> =
            diff.namespaces.iter().filter_map(|it| it.after?.inode()).collect();
        (processes, namespaces)
    };
    let at = |host: &Snapshot, raw, start_time| seen_by(host.clone(), raw, start_time);
    let younger = (vec![9, 60], vec![109, 160]);
    assert_eq!(came(at(&before, 50, 9), at(&after, 70, 12)), younger);
    // If the snapshots are in the wrong order, start times do not show which processes are new.
    let all = (vec![7, 8, 9, 60], vec![107, 108, 109, 160]);
    assert_eq!(came(at(&before, 50, 9), at(&after, 40, 9)), all);
    assert_eq!(came(before, after), all);
}

#[test]
fn a_process_with_a_low_pid_is_new_if_pids_have_started_again() {
    let started = |raw| Process { start_time: Some(9), ..process(&[raw], Some(10)) };
    let before = seen_by(host(Vec::new()), 32_700, 9);
    // The second snapshot is from the same clock tick, but PIDs have wrapped around to 300.
    let after = seen_by(host(vec![started(310), started(32_600)]), 320, 9);
    assert_eq!(lines(&compare(before, after)), ["~ pid:[10] [Members]", "+ 310 []"]);
}

#[test]
fn attendants_of_either_snapshot_are_no_differences() {
    let attended = |raws: &[u32], mut host: Snapshot, raw| {
        host = seen_by(host, raw, u64::from(raw));
        let observer = host.observer.as_mut().unwrap();
        observer.attendants = raws.iter().map(|&it| pid(it)).collect();
        (observer.step, observer.companions) = (Some(pid(raws[0])), vec![pid(raws[0] + 1)]);
        host
    };
    let other = |raws: &[u32]| {
        let made = raws.iter().map(|&it| {
            let mut process = process(&[it], Some(10));
            process.start_time = Some(u64::from(it));
            process
        });
        host(made.collect())
    };
    // Shells 20 and 40 run the CI steps, with background processes 21 and 41.
    let before = attended(&[20], other(&[20, 21, 22]), 25);
    let after = attended(&[40], other(&[40, 41, 42]), 45);
    let expected = ["~ pid:[10] [Members]", "- 22 []", "+ 42 []"];
    assert_eq!(lines(&compare(before.clone(), after.clone())), expected);
    // Background processes are ignored only if their shell is missing from the other snapshot.
    // Shell 20 is in both snapshots, so its background process 21 is reported.
    let same = attended(&[20], other(&[20, 42]), 45);
    assert_eq!(lines(&compare(before, same))[1..], ["- 21 []", "- 22 []", "+ 42 []"]);
}

#[test]
fn different_searches_and_selections_are_caveats() {
    let mut other = host(Vec::new());
    other.searched.clear();
    other.selected =
        vec![crate::model::Criterion { by: crate::model::FilterOption::Comm, values: Vec::new() }];
    let caveats: Vec<_> = compare(host(Vec::new()), other).caveats().into_iter().collect();
    assert_eq!(caveats, [DiffCaveat::OtherSearch, DiffCaveat::OtherSelection]);
}

#[test]
fn a_gone_namespace_that_is_still_in_the_kernel_is_hidden() {
    let mut before = host(vec![process(&[7, 1], Some(20)), process(&[8, 1], Some(30))]);
    before.namespaces[0].ns_id = Some(1010);
    let mut diff = compare(before, host(Vec::new()));
    diff.hide(&BTreeSet::from([NamespaceId::Inode(30), NamespaceId::Inode(10)]));
    let namespaces: Vec<_> = lines(&diff).into_iter().filter(|it| it.contains(':')).collect();
    assert_eq!(namespaces, ["- pid:[20] []", "? pid:[30] []"], "10 is in both graphs");
}

#[test]
fn a_process_that_leaves_the_selection_is_not_gone() {
    let before = host(vec![process(&[7], Some(10)), process(&[8], Some(10))]);
    let mut after = before.clone();
    // Process 7 no longer matches the filter, because its name has changed.
    after.processes[0].comm = "bash".into();
    after.processes.push(process(&[9], Some(10)));
    after.processes.last_mut().unwrap().start_time = Some(6);
    let sleeps = |snapshot: &Snapshot| {
        let mut part = snapshot.clone();
        part.processes.retain(|it| it.comm == "sleep" && it.pid != pid(9));
        PidGraph::new(part)
    };
    let (before_part, after_part) = (sleeps(&before), sleeps(&after));
    let mut diff = compare(before, after);
    assert_eq!(lines(&diff), ["~ pid:[10] [Members]", "~ 7 [Comm]", "+ 9 []"]);
    diff.select(&before_part, &after_part);
    assert_eq!(lines(&diff), ["~ 7 [Comm]"]);
}
