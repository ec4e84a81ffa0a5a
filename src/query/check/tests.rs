use super::*;
use crate::model::{
    BlockReason, Blocker, Container, Diagnostic, Holder, Namespace, NamespaceId, NamespaceState,
    ProcessDetails, Severity, Snapshot,
};
use crate::query::Rule;
use crate::testing::{farm, namespace, process, snapshot};

fn pid(raw: u32) -> Pid {
    Pid::new(raw).unwrap()
}

fn policy(rules: &[(Verdict, &str)]) -> Policy {
    let mut policy = Policy::default();
    policy.add(rules.iter().map(|(verdict, rule)| (*verdict, rule.parse().unwrap())).collect());
    policy
}

fn found(snapshot: Snapshot, policy: &Policy) -> Vec<(Verdict, &'static str, Subject)> {
    let check = Check::new(PidGraph::new(snapshot), Unsettled::default(), policy);
    check.findings.iter().map(|it| (it.verdict, it.code.name(), it.subject)).collect()
}

/// Returns a snapshot of a host that has one problem of each kind.
fn troubled() -> Snapshot {
    let mut namespaces = vec![namespace(10, None)];
    namespaces.extend((11..=40).map(|inode| namespace(inode, Some(inode - 1))));
    namespaces[1].state = NamespaceState::Nascent;
    namespaces[2].state = NamespaceState::Unknown;
    namespaces[3].blocked_by =
        vec![Blocker { pid: pid(5), comm: "x".into(), reason: BlockReason::Zombie, reaper: None }];
    let mut processes = vec![
        process(&[1], Some(10)),
        process(&[2], Some(10)),
        process(&[3], Some(10)),
        process(&[4], Some(10)),
        process(&[7, 1], Some(14)),
    ];
    for (process, state) in processes.iter_mut().zip(['S', 'D', 'Z', 'Z', 'T']) {
        process.state = state;
        process.ppid = Pid::new(1);
    }
    // Process 4 still has a running thread, so it is not a zombie.
    processes[3].threads = std::num::NonZeroU32::new(2);
    let mut snapshot = snapshot(namespaces, processes);
    snapshot.complete = false;
    snapshot.diagnostics.push(Diagnostic {
        code: "init-does-not-reap".to_owned(),
        severity: Severity::Warning,
        message: "init 1 does not reap its children: 1 zombie".to_owned(),
        errno: None,
        pids: vec![pid(1)],
    });
    snapshot
}

#[test]
fn finds_each_kind_of_problem_and_nothing_else() {
    let (process, namespace) =
        (|raw| Subject::Process(pid(raw)), |inode| Subject::Namespace(NamespaceId::Inode(inode)));
    let warn = |code, subject| (Verdict::Warn, code, subject);
    assert_eq!(
        found(troubled(), &Policy::default()),
        [
            (Verdict::Deny, "blocked-init", namespace(13)),
            warn("nascent-namespace", namespace(11)),
            warn("zombie", process(3)),
            warn("init-does-not-reap", process(1)),
            warn("stopped-init", process(7)),
            warn("uninterruptible", process(2)),
            warn("deep-nesting", namespace(38)),
            warn("deep-nesting", namespace(39)),
            warn("deep-nesting", namespace(40)),
            warn("unknown-state", namespace(12)),
            warn("incomplete", Subject::Snapshot),
        ]
    );
    let dead = found(farm(), &Policy::default());
    assert_eq!(dead[0].1, "dead-namespace");
    let sound = snapshot(vec![namespace_of_one()], vec![crate::testing::process(&[1], Some(10))]);
    assert_eq!(found(sound, &Policy::default()), []);
}

fn namespace_of_one() -> Namespace {
    namespace(10, None)
}

/// Returns the verdict on the zombie in [`troubled`] according to these lists of rules.
fn verdict(lists: &[&[(Verdict, &str)]]) -> Verdict {
    let mut policy = Policy::default();
    for rules in lists {
        policy.add(rules.iter().map(|(verdict, rule)| (*verdict, rule.parse().unwrap())).collect());
    }
    let mut host = troubled();
    let zombie = host.processes.iter_mut().find(|it| it.pid == pid(3)).unwrap();
    zombie.details = Some(Box::new(ProcessDetails {
        cgroup: Some("/docker/3f2a1b9c04de".to_owned() + &"0".repeat(52)),
        container: Some(Container::new("docker", "3f2a1b9c04de")),
        environment: ["JOB=7".parse().unwrap()].into(),
        ..ProcessDetails::default()
    }));
    let found = found(host, &policy);
    found.iter().find(|(_, code, _)| *code == "zombie").map_or(Verdict::Allow, |it| it.0)
}

#[test]
fn scoped_rules_win_then_later_lists_then_allow() {
    use Verdict::{Allow, Deny, Warn};
    for (lists, expected) in [
        (&[][..], Warn),
        (&[&[(Deny, "zombie")][..]], Deny),
        // Within one list, allow wins over warn, and warn over deny.
        (&[&[(Deny, "zombie"), (Allow, "zombie")]], Allow),
        (&[&[(Allow, "zombie"), (Warn, "zombie"), (Deny, "zombie")]], Allow),
        (&[&[(Warn, "zombie"), (Deny, "zombie")]], Warn),
        (&[&[(Deny, "zombie:comm=sl*p"), (Warn, "zombie:user=root")]], Warn),
        // A rule with a scope takes precedence over a rule without a scope, in any order.
        (&[&[(Deny, "zombie"), (Allow, "zombie:comm=sl*p")]], Allow),
        (&[&[(Allow, "zombie"), (Deny, "zombie:comm=sl*p")]], Deny),
        (&[&[(Deny, "zombie:comm=sl*p")], &[(Allow, "zombie")]], Deny),
        // The rule in the later list wins, if both rules have a scope or neither has one.
        (&[&[(Allow, "zombie")], &[(Deny, "zombie")]], Deny),
        (&[&[(Allow, "zombie:user=0")], &[(Deny, "zombie:comm=sleep")]], Deny),
        (&[&[(Deny, "zombie")], &[(Allow, "dead-namespace")]], Deny),
        // The zombie is named `sleep` and belongs to user 0. A rule applies only if its scope
        // matches the zombie.
        (&[&[(Deny, "zombie:comm=other")]], Warn),
        (&[&[(Deny, "zombie:user=root")]], Deny),
        (&[&[(Deny, "zombie:user=7")]], Warn),
        (&[&[(Deny, "zombie:ns=10")]], Deny),
        (&[&[(Deny, "zombie:ns=@1")]], Deny),
        (&[&[(Deny, "zombie:ns=@7")]], Warn),
        (&[&[(Deny, "zombie:container=3F2A1")]], Deny),
        (&[&[(Deny, "zombie:container=f2a1")]], Warn),
        (&[&[(Deny, "zombie:cgroup=/docker/*")]], Deny),
        (&[&[(Deny, "zombie:cgroup=/docker")]], Warn),
        (&[&[(Deny, "zombie:env=JOB=7")]], Deny),
        (&[&[(Deny, "zombie:env=JOB")]], Warn),
    ] {
        assert_eq!(verdict(lists), expected, "{lists:?}");
    }
    let of_container = policy(&[(Allow, "dead-namespace:container=3f2a")]);
    assert_eq!(
        found(farm(), &of_container)[0].1,
        "dead-namespace",
        "its namespace is in no container"
    );
    assert!(of_container.needs_cgroups() && !policy(&[(Allow, "zombie")]).needs_cgroups());
}

#[test]
fn new_processes_and_namespaces_are_leftovers() {
    let mut after = troubled();
    after.complete = true;
    let mut before = after.clone();
    before.processes.retain(|process| ![2, 3, 4].map(pid).contains(&process.pid));
    before.namespaces.pop();
    // Processes 2 and 4 and the zombie 3 are new.
    let diff = Diff::new(PidGraph::new(before), PidGraph::new(after)).unwrap();
    let check = Check::since(diff, Unsettled::default(), &Policy::default(), false);
    let denied: Vec<_> = check
        .findings
        .iter()
        .filter(|it| it.verdict == Verdict::Deny)
        .map(|it| it.code.name())
        .collect();
    // The blocked init is not denied, because the earlier snapshot already had it.
    assert_eq!(denied, ["leftover-process", "leftover-process", "leftover-namespace"]);
    assert_eq!(check.count(Verdict::Deny), 3);
    assert_eq!(check.since.as_deref(), Some("2026-11-23T14:28:00.123456Z"));
}

#[test]
fn a_leftover_that_has_ended_since_the_scan_is_not_reported() {
    let before = snapshot(vec![namespace(10, None)], vec![process(&[1], Some(10))]);
    let mut after = before.clone();
    after.namespaces.extend([namespace(20, Some(10)), namespace(30, Some(10))]);
    let holder = Holder::Fd { pid: pid(2), comm: None, fd: 3 };
    after.namespaces[2].holders = vec![holder];
    let members = [process(&[3, 1], Some(20)), process(&[4, 2], Some(20))];
    after.processes.extend(members.into_iter().chain([process(&[2], Some(10))]));
    after.namespaces[1].init = Some(pid(3));
    let left = |ended: &[u32]| {
        let [before, after] = [&before, &after].map(|it| PidGraph::new(it.clone()));
        let diff = Diff::new(before, after).unwrap();
        let mut check = Check::since(diff, Unsettled::default(), &Policy::default(), false);
        let ended = ended.iter().map(|&raw| pid(raw)).collect();
        check.add_live_facts(LiveFacts { ended, ..LiveFacts::default() });
        let subjects = check.findings.iter().map(|it| match it.subject {
            Subject::Process(pid) => u64::from(pid.as_u32()),
            Subject::Namespace(id) => id.inode().unwrap(),
            subject => panic!("{subject:?}"),
        });
        subjects.collect::<Vec<_>>()
    };
    assert_eq!(left(&[]), [2, 3, 4, 20, 30]);
    assert_eq!(left(&[4]), [2, 3, 20, 30]);
    assert_eq!(left(&[3]), [2, 30], "the kernel has killed process 4");
    assert_eq!(left(&[2]), [3, 4, 20], "30 has lost its holder");
}

#[test]
fn an_init_is_reported_only_if_the_collector_reported_it() {
    let mut host = troubled();
    host.diagnostics.clear();
    let found = found(host, &Policy::default());
    assert!(found.iter().any(|it| it.1 == "zombie"));
    assert!(!found.iter().any(|it| it.1 == "init-does-not-reap"), "{found:?}");
}

#[test]
fn a_process_with_a_stuck_thread_is_a_finding() {
    let policy = policy(&[(Verdict::Deny, "uninterruptible:ns=14"), (Verdict::Allow, "zombie")]);
    let mut check = Check::new(PidGraph::new(troubled()), Unsettled::default(), &policy);
    assert_eq!(check.count(Verdict::Deny), 1, "the blocked init");
    // Process 99 is not in the graph.
    let stuck = [(pid(7), pid(8)), (pid(99), pid(100))].into();
    check.add_thread_problems(ThreadProblems { stuck, ..Default::default() }, &policy);
    let denied = check.findings.iter().filter(|it| it.verdict == Verdict::Deny);
    let denied: Vec<_> = denied.map(|it| (it.code.name(), it.subject)).collect();
    assert_eq!(denied[1], ("uninterruptible", Subject::Process(pid(7))));
    assert_eq!(denied.len(), 2);
}

#[test]
fn a_stuck_thread_is_denied_only_in_a_new_process() {
    use Verdict::{Deny, Warn};
    let policy = policy(&[(Verdict::Deny, "uninterruptible")]);
    let verdicts = |change: fn(&mut Snapshot), all| {
        let mut after = troubled();
        after.complete = true;
        let mut before = after.clone();
        // Process 4 is new, and process 2 is stuck in both snapshots.
        before.processes.retain(|it| it.pid != pid(4));
        change(&mut before);
        let diff = Diff::new(PidGraph::new(before), PidGraph::new(after)).unwrap();
        let mut check = Check::since(diff, Unsettled::default(), &policy, all);
        let older = check.older;
        let stuck = [2, 4, 7].map(|raw| (pid(raw), pid(99))).into();
        check.add_thread_problems(ThreadProblems { stuck, ..Default::default() }, &policy);
        let found = check.findings.iter().filter(|it| it.code == CheckCode::Uninterruptible);
        let found = found.map(|it| match it.subject {
            Subject::Process(pid) => (pid.as_u32(), it.verdict),
            subject => panic!("{subject:?}"),
        });
        (found.collect::<Vec<_>>(), check.older - older)
    };
    assert_eq!(verdicts(|_| {}, false), (vec![(4, Deny), (7, Warn)], 1));
    let incomplete: fn(&mut Snapshot) = |before| before.complete = false;
    assert_eq!(verdicts(incomplete, false), (vec![(4, Deny), (7, Warn)], 1));
    let (all, older) = verdicts(|_| {}, true);
    assert_eq!(
        (all.len(), all[1..].to_vec(), older),
        (4, vec![(2, Deny), (4, Deny), (7, Deny)], 0)
    );
}

#[test]
fn an_init_whose_other_threads_are_stopped_is_a_finding() {
    let policy = policy(&[(Verdict::Deny, "stopped-init"), (Verdict::Allow, "blocked-init")]);
    let mut check = Check::new(PidGraph::new(farm()), Unsettled::default(), &policy);
    let stopped_inits = [pid(6), pid(99)].into();
    check.add_thread_problems(ThreadProblems { stopped_inits, ..Default::default() }, &policy);
    let found = check.findings.iter().filter(|it| it.code == CheckCode::StoppedInit);
    let found: Vec<_> = found.map(|it| (it.verdict, it.subject)).collect();
    assert_eq!(found, [(Verdict::Deny, Subject::Process(pid(6)))]);
}

#[test]
fn unknown_limits_are_no_gap() {
    let mut host = troubled();
    host.diagnostics[0].code = "limits-unknown".to_owned();
    let has_gap = |host: Snapshot| {
        let found = found(host, &Policy::default());
        found.iter().any(|it| it.1 == "incomplete")
    };
    assert!(!has_gap(host.clone()));
    host.diagnostics[0].code = "processes-hidden".to_owned();
    assert!(has_gap(host.clone()));
    host.diagnostics.clear();
    assert!(has_gap(host));
}

#[test]
fn an_invalid_rule_is_rejected_with_a_reason() {
    let error = |text: &str| text.parse::<Rule>().unwrap_err().to_string();
    assert!(error("zombies").starts_with("no code \"zombies\"; the codes are dead-namespace, "));
    assert!(error("zombie:name=x").starts_with("\"name=x\" is not comm=GLOB"));
    assert!(error("zombie:comm").starts_with("\"comm\" is not comm=GLOB"));
    assert_eq!(error("zombie:comm="), "\"comm=\" has no value");
    assert!(error("zombie:ns=x").starts_with("ns=x: not an inode"));
    assert!(error("zombie:comm=[").starts_with("comm=[: Pattern syntax error"));
    assert_eq!(error("zombie:env==x"), "env==x: not NAME or NAME=VALUE");
}

#[test]
fn branches_contain_only_what_findings_concern() {
    let mut host = farm();
    host.processes.push(process(&[20], Some(4_026_531_836)));
    host.processes.push(process(&[21], Some(4_026_531_836)));
    host.processes[5].state = 'Z';
    host.processes[5].ppid = Pid::new(1);
    let mut well = namespace(4_026_532_190, Some(4_026_531_836));
    well.ns_id = Some(4242);
    host.namespaces.push(well);
    let check = Check::new(PidGraph::new(host), Unsettled::default(), &Policy::default());
    let branches = check.branches();
    let pids: Vec<_> = branches.processes().iter().map(|it| it.pid.as_u32()).collect();
    // Process 1 is the parent of the zombie 20, and process 4 holds the dead namespace.
    assert_eq!(pids, [1, 4, 20]);
    let namespaces: Vec<_> = branches.tree().iter().map(|(it, _)| it.id.to_string()).collect();
    assert_eq!(namespaces, ["pid:[4026531836]", "pid:[4026532179]", "pid:[4026532180]"]);
}

#[test]
fn unsettled_states_are_not_reported() {
    let processes = BTreeSet::from([pid(2), pid(3)]);
    let unsettled = Unsettled { processes, ..Unsettled::default() };
    let check = Check::new(PidGraph::new(troubled()), unsettled, &Policy::default());
    let codes: Vec<_> = check.findings.iter().map(|it| it.code).collect();
    for code in [CheckCode::Uninterruptible, CheckCode::Zombie, CheckCode::InitDoesNotReap] {
        assert!(!codes.contains(&code), "{code:?}");
    }
    assert_eq!(check.findings.len(), 8, "all others are still found");
}
