use super::*;
use crate::model::{BlockReason, Blocker, Snapshot};
use crate::testing::{farm, namespace, process, snapshot};

fn pid(raw: u32) -> Pid {
    Pid::new(raw).unwrap()
}

fn policy(rules: &[(Verdict, &str)]) -> Policy {
    let mut policy = Policy::default();
    policy.add(rules.iter().map(|(verdict, rule)| (*verdict, rule.parse().unwrap())).collect());
    policy
}

fn found(snapshot: Snapshot, policy: &Policy) -> Vec<(Verdict, &'static str, CheckSubject)> {
    let check = Check::new(PidGraph::new(snapshot), policy);
    check.findings.iter().map(|it| (it.verdict, it.code.name(), it.subject)).collect()
}

/// A host with one of everything that is wrong.
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
    // The leader has terminated; its other threads go on.
    processes[3].threads = std::num::NonZeroU32::new(2);
    let mut snapshot = snapshot(namespaces, processes);
    snapshot.complete = false;
    snapshot
}

#[test]
fn everything_that_is_wrong_is_found_and_nothing_else() {
    let (process, namespace) = (
        |raw| CheckSubject::Process(pid(raw)),
        |inode| CheckSubject::Namespace(NamespaceId::Inode(inode)),
    );
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
            warn("incomplete", CheckSubject::View),
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

#[test]
fn a_rule_with_a_scope_goes_before_one_without() {
    use Verdict::{Allow, Deny, Warn};
    let zombie = |rules: &[(Verdict, &str)]| {
        let found = found(troubled(), &policy(rules));
        found.iter().find(|(_, code, _)| *code == "zombie").map(|(verdict, ..)| *verdict)
    };
    assert_eq!(zombie(&[]), Some(Warn));
    assert_eq!(zombie(&[(Deny, "zombie")]), Some(Deny));
    assert_eq!(zombie(&[(Deny, "zombie"), (Allow, "zombie")]), None);
    assert_eq!(zombie(&[(Deny, "zombie"), (Allow, "zombie:comm=sl*p")]), None);
    assert_eq!(zombie(&[(Allow, "zombie"), (Deny, "zombie:comm=sl*p")]), Some(Deny));
    assert_eq!(zombie(&[(Deny, "zombie:comm=other")]), Some(Warn));
    assert_eq!(zombie(&[(Deny, "zombie:user=root")]), Some(Deny));
    assert_eq!(zombie(&[(Deny, "zombie:user=7")]), Some(Warn));
    assert_eq!(zombie(&[(Deny, "zombie:ns=10")]), Some(Deny));
    assert_eq!(zombie(&[(Deny, "zombie:ns=@7")]), Some(Warn));
    let mut later = policy(&[(Allow, "zombie")]);
    later.add(vec![(Deny, "zombie".parse().unwrap())]);
    assert!(found(troubled(), &later).iter().any(|it| it.0 == Deny && it.1 == "zombie"));
    let of_container = policy(&[(Allow, "dead-namespace:container=3f2a")]);
    assert_eq!(found(farm(), &of_container)[0].1, "dead-namespace", "that one is in no container");
}

#[test]
fn what_was_not_there_before_is_left_over() {
    let mut after = troubled();
    after.complete = true;
    let mut before = after.clone();
    before.processes.retain(|process| ![2, 3, 4].map(pid).contains(&process.pid));
    before.namespaces.pop();
    // Of the three that are new one runs the check, and one is a zombie.
    let attendants = BTreeSet::from([pid(4)]);
    let diff = Diff::new(PidGraph::new(before), PidGraph::new(after));
    let check = Check::since(diff, &attendants, &Policy::default());
    let denied: Vec<_> = check
        .findings
        .iter()
        .filter(|it| it.verdict == Verdict::Deny)
        .map(|it| it.code.name())
        .collect();
    assert_eq!(denied, ["blocked-init", "leftover-process", "leftover-namespace"]);
    assert_eq!(check.count(Verdict::Deny), 3);
    assert_eq!(check.since.as_deref(), Some("2026-11-23T14:28:00.123456Z"));
}

#[test]
fn what_is_no_rule_says_why() {
    let error = |text: &str| text.parse::<Rule>().unwrap_err().to_string();
    assert!(error("zombies").starts_with("no code \"zombies\"; the codes are dead-namespace, "));
    assert!(error("zombie:name=x").starts_with("\"name=x\" is not comm=GLOB"));
    assert!(error("zombie:comm").starts_with("\"comm\" is not comm=GLOB"));
    assert_eq!(error("zombie:comm="), "\"comm=\" has no value");
    assert!(error("zombie:ns=x").starts_with("not an inode"));
    assert!(error("zombie:comm=[").contains("attern"));
}

#[test]
fn the_branches_with_something_wrong_hold_who_is_to_blame_and_no_more() {
    let mut host = farm();
    host.processes.push(process(&[20], Some(4_026_531_836)));
    host.processes.push(process(&[21], Some(4_026_531_836)));
    host.processes[5].state = 'Z';
    host.processes[5].ppid = Pid::new(1);
    let mut well = namespace(4_026_532_190, Some(4_026_531_836));
    well.ns_id = Some(4242);
    host.namespaces.push(well);
    let check = Check::new(PidGraph::new(host), &Policy::default());
    let branches = check.branches();
    let pids: Vec<_> = branches.processes().iter().map(|it| it.pid.as_u32()).collect();
    // The holder of the dead namespace, the zombie, and its parent.
    assert_eq!(pids, [1, 4, 20]);
    let namespaces: Vec<_> = branches.tree().iter().map(|(it, _)| it.id.to_string()).collect();
    assert_eq!(namespaces, ["pid:[4026531836]", "pid:[4026532179]", "pid:[4026532180]"]);
}
