//! Tests on the real kernel how pidns treats itself: descriptors that any pidns opens for its
//! scan do not count as holders, but descriptors that it has inherited do.

mod common;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::Need::*;
use common::*;
use rustix::process::Signal;

/// Returns the collectors that work here.
fn collectors() -> &'static [&'static str] {
    let works = pidns(&["--collector", "bpf", "--search", "processes"]).status.success();
    if works { &["proc", "bpf"] } else { &["proc"] }
}

/// Returns the descriptors through which a process has a namespace open.
fn descriptors(pid: u32, namespace: &str) -> Vec<u32> {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let is_open = |fd: &u32| link(format!("/proc/{pid}/fd/{fd}")).as_deref() == Some(namespace);
    fds.filter_map(|fd| fd.file_name().to_str()?.parse().ok()).filter(is_open).collect()
}

/// Starts scans by this command until one of them has the namespace open, and stops it there. The
/// descriptors that it has inherited have lower numbers than `first`.
fn stopped_scan(command: &mut Command, namespace: &str, first: u32) -> Running {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        let scan = Running::spawn(command.stdout(Stdio::null()));
        let is_open = || descriptors(scan.pid(), namespace).iter().any(|&fd| fd >= first);
        while status(scan.pid(), "State")[0] != "Z" {
            if is_open() {
                stop(scan.pid());
                if is_open() {
                    return scan;
                }
                break;
            }
        }
    }
    panic!("no scan was stopped in time");
}

/// Returns the holders of all namespaces that are this process.
fn held_by(document: &Document, pid: u32) -> Vec<(&str, &Holder)> {
    let is_its = |holder: &&Holder| match holder {
        Holder::Fd { pid: holder, .. }
        | Holder::PidForChildren { pid: holder, .. }
        | Holder::File { pid: holder, .. } => *holder == pid,
        Holder::Mount { .. } => false,
    };
    let mut held = Vec::new();
    for Namespace { id, holders, .. } in &document.namespaces {
        held.extend(holders.iter().filter(is_its).map(|holder| (id.as_str(), holder)));
    }
    held
}

#[test]
fn the_descriptors_of_another_scan_do_not_count() {
    needs!(NamespaceOfItsOwn);
    let (_live, _) = nest(2);
    let (running, inits) = nest(1);
    let id = namespace_of(inits[0]);
    let scan = stopped_scan(Command::new(PIDNS).args(["-q", "-f", "json"]), &id, 3);
    drop(running);
    until("the init is gone", || status(inits[0], "State").is_empty());
    assert!(!descriptors(scan.pid(), &id).is_empty(), "the scan keeps the namespace");
    for search in ["fds", "processes,children,fds,mounts", "threads", "proc"] {
        let document = Document::of(&["--search", search]);
        assert_eq!(held_by(&document, scan.pid()), [], "--search {search}");
        assert!(document.find_namespace(&id).is_none(), "--search {search}");
        assert!(document.complete);
    }
    for collector in collectors() {
        let document = Document::of(&["--collector", collector]);
        assert_eq!(held_by(&document, scan.pid()), [], "{collector}");
        assert!(document.find_namespace(&id).is_none(), "{collector}");
    }
    let check = pidns(&["check", "-q"]);
    assert!(!String::from_utf8_lossy(&check.stdout).contains("dead"), "{check:?}");
    // A process that only imitates a scan can hide what it holds for a short time. So a scan that
    // doesn't go on is a holder like any other process.
    until("the stopped scan counts", || {
        Document::of(&[]).find_namespace(&id).is_some_and(|namespace| {
            assert_eq!((namespace.state.as_str(), namespace.holders.len()), ("dead", 1));
            matches!(namespace.holders[0], Holder::Fd { pid, .. } if pid == scan.pid())
        })
    });
    kill(scan.pid(), Signal::CONT);
}

#[test]
fn the_kernel_search_leaves_out_other_scans_too() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn, NamespaceList);
    let (running, inits) = nest(1);
    let id = namespace_of(inits[0]);
    let scan = stopped_scan(Command::new(PIDNS).args(["-q", "-f", "json"]), &id, 3);
    drop(running);
    until("the init is gone", || status(inits[0], "State").is_empty());
    let document = Document::of(&["--search", "kernel"]);
    assert_eq!(held_by(&document, scan.pid()), []);
    assert!(document.find_namespace(&id).is_none());
}

#[test]
fn another_scan_counts_with_what_it_has_inherited() {
    needs!(NamespaceOfItsOwn);
    let (running, inits) = nest(1);
    let id = namespace_of(inits[0]);
    let script = format!("exec 9</proc/{}/ns/pid; exec \"$0\" -q -f json", inits[0]);
    let scan = stopped_scan(Command::new("bash").args(["-c", &script, PIDNS]), &id, 10);
    drop(running);
    until("the init is gone", || status(inits[0], "State").is_empty());
    let document = Document::of(&[]);
    let inherited = Holder::Fd { pid: scan.pid(), fd: 9 };
    assert_eq!(held_by(&document, scan.pid()), [(id.as_str(), &inherited)]);
    assert_eq!(document.namespace(&id).state, "dead");
}

/// Scans that overlap all the time never name each other.
#[test]
fn scans_that_run_at_the_same_time_do_not_name_each_other() {
    needs!(NamespaceOfItsOwn);
    let (_live, _) = nest(3);
    let scan = "while ((SECONDS < 60)); do \"$0\" -q -f json >/dev/null; done";
    let churn = "while ((SECONDS < 60)); do unshare -pf --kill-child true; done";
    let _scans: Vec<_> =
        (0..2).map(|_| Running::spawn(Command::new("bash").args(["-c", scan, PIDNS]))).collect();
    let _churn = Running::spawn(Command::new("bash").args(["-c", churn]));
    for _ in 0..40 {
        let text = stdout(&pidns(&["-q"]));
        let line = text.lines().find(|line| line.contains("kept by") && line.contains("pidns"));
        assert_eq!(line, None);
    }
}

/// Runs pidns by a shell script with a namespace whose init has exited: `$1` is the PID of the init,
/// `kill` ends it, and `"$@"` is pidns. Returns the document and the ID of the namespace.
fn inherits(script: &str, collector: &str) -> (Document, String) {
    let (running, inits) = nest(1);
    let id = namespace_of(inits[0]);
    let kill = "end() { kill -9 $init; while [ -e /proc/$init ]; do sleep 0.01; done; }";
    let script = format!("init=$1; shift; {kill}; {script}");
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash", &inits[0].to_string(), PIDNS, "-q", "-f", "json"]);
    let output = run(command.args(["--collector", collector]));
    drop(running);
    (Document::read(&stdout(&output)), id)
}

/// Returns the PID of pidns itself in its document.
fn own_pid(document: &Document) -> u32 {
    document.processes.iter().find(|it| it.comm == "pidns").expect("shows itself").pid
}

#[test]
fn a_descriptor_that_pidns_inherits_counts() {
    needs!(NamespaceOfItsOwn);
    for collector in collectors() {
        let script = "exec 9</proc/$init/ns/pid; end; exec \"$@\"";
        let (document, id) = inherits(script, collector);
        let found = document.namespace(&id);
        assert_eq!(found.state, "dead", "{collector}");
        assert_eq!(found.holders, [Holder::Fd { pid: own_pid(&document), fd: 9 }]);
        assert_eq!(held_by(&document, own_pid(&document)).len(), 1, "{collector}");
    }
}

#[test]
fn the_namespace_for_children_that_pidns_inherits_counts() {
    needs!(NamespaceOfItsOwn);
    for collector in collectors() {
        for (first, state) in [("", "nascent"), ("/bin/true;", "dead")] {
            let script = format!("{first} exec \"$@\"");
            let mut command = Command::new("unshare");
            command.args(["-p", "bash", "-c", &script, "bash", PIDNS, "-q", "-f", "json"]);
            let output = run(command.args(["--collector", collector]));
            let document = Document::read(&stdout(&output));
            let pid = own_pid(&document);
            let held = held_by(&document, pid);
            let [(id, Holder::PidForChildren { tid, .. })] = held[..] else {
                panic!("{collector}: {held:?}")
            };
            assert_eq!(*tid, pid);
            let found = document.namespace(id);
            assert_eq!((found.state.as_str(), found.holders.len()), (state, 1), "{collector}");
        }
    }
}

#[test]
fn a_mount_namespace_that_pidns_inherits_counts() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns");
    std::fs::write(&path, "").unwrap();
    for collector in collectors() {
        // pidns is the only process in the mount namespace, or has only a descriptor of it.
        let mount = format!("mount --bind /proc/$init/ns/pid {}; end;", path.display());
        let inside = format!("unshare -m bash -c '{mount} exec \"$@\"' bash \"$@\"");
        let outside = format!(
            "exec 8< <(exec unshare -m bash -c '{mount} echo; exec sleep 600'); read -r _ <&8; \
             exec 9</proc/$!/ns/mnt; kill -9 $!; while [ -e /proc/$! ]; do sleep 0.01; done; \
             exec \"$@\""
        );
        for script in [inside, outside] {
            let script = format!("export -f end; export init; {script}");
            let (document, id) = inherits(&script, collector);
            let found = document.namespace(&id);
            assert_eq!(found.state, "dead", "{collector}");
            let [Holder::Mount { path: shown, .. }] = &found.holders[..] else {
                panic!("{collector}: {:?}", found.holders)
            };
            assert_eq!(shown, path.to_str().unwrap());
        }
    }
}

#[test]
fn nobody_is_told_to_end_a_pidns_that_has_ended_by_itself() {
    needs!(NamespaceOfItsOwn);
    let (running, inits) = nest(1);
    let script = "exec 9</proc/$1/ns/pid; kill -9 $1; while [ -e /proc/$1 ]; do sleep 0.01; done; \
                  exec \"$0\" check -q -f json";
    let output = run(Command::new("bash").args(["-c", script, PIDNS, &inits[0].to_string()]));
    drop(running);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let dead = findings.iter().find(|it| it["code"] == "dead-namespace").expect("is reported");
    assert!(dead["message"].as_str().unwrap().contains(" pidns: open fd 9"), "{dead}");
    assert_eq!(dead["advice"], serde_json::json!([]));
}

/// Python program that starts three children, and then replaces itself with the command in the
/// other arguments. If `argv[1]` is `ended`, the children have terminated by then. Otherwise, they
/// terminate `argv[1]` seconds later. The first child is an ordinary child, the second child is the
/// init of a PID namespace, and the third child sends no signal when it terminates. 56 is clone(2)
/// on x86-64.
const PARENT: &str = "import ctypes, os, sys, time\n\
     clone = lambda flags: ctypes.CDLL(None).syscall(56, flags, 0, 0, 0, 0)\n\
     state = lambda pid: open('/proc/%d/stat' % pid).read().split()[2]\n\
     children = []\n\
     for flags in 17, 0x20000000 | 17, 0:\n    \
         children.append(clone(flags))\n    \
         if children[-1] == 0:\n        \
             if sys.argv[1] != 'ended': time.sleep(float(sys.argv[1]))\n        \
             os._exit(0)\n\
     while sys.argv[1] == 'ended' and any(state(it) != 'Z' for it in children): time.sleep(0.01)\n\
     os.execv(sys.argv[2], sys.argv[2:])";

/// Runs pidns as the parent of the children that [`PARENT`] starts. pidns is also the init of a
/// PID namespace, in which no other processes run.
fn with_children(when: &str, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new("unshare");
    command.args(["-pf", "--mount-proc", "--kill-child", "python3", "-c", PARENT, when, PIDNS]);
    run(command.args(arguments))
}

#[test]
fn pidns_is_never_the_parent_of_zombies() {
    needs!(Namespaces, Program("python3"));
    for collector in collectors() {
        let show = |format| {
            stdout(&with_children("ended", &["--collector", collector, "-q", "-f", format]))
        };
        let document = Document::read(&show("json"));
        let comms: Vec<_> = document.processes.iter().map(|it| it.comm.as_str()).collect();
        assert_eq!((comms, document.namespaces.len()), (vec!["pidns"], 1), "{collector}");
        assert!(document.diagnostics.is_empty(), "{:?}", document.diagnostics);
        let text = show("text");
        assert!(!text.contains("zombie") && !text.contains("DEAD"), "{text}");
        let metrics = show("openmetrics");
        assert!(metrics.contains("\npidns_zombies 0\n"), "{metrics}");
    }
    let denied = ["--deny", "zombie", "--deny", "init-does-not-reap", "--deny", "leftover-process"];
    let check = with_children("ended", &[&["check", "-q"], &denied[..]].concat());
    assert_eq!(stdout(&check), "Nothing is wrong.\n");
    let limits = stdout(&with_children("ended", &["limits", "-q", "-f", "json"]));
    assert!(!limits.contains("\"zombies\":3"), "{limits}");

    // The children terminate while pidns runs.
    let until = "--until=zombie,init-does-not-reap,blocked-init,dead-namespace";
    let watch = with_children("0.5", &["watch", "-q", until, "--interval", "0.1", "--for", "2"]);
    assert_eq!(watch.status.code(), Some(1), "{watch:?}");
}

/// Runs `pidns check --since BEFORE` with a script that starts it by `$CHECK`. Only the script runs
/// on the host.
fn check_in_container(script: &str) -> std::process::Output {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("\"$PIDNS\" -q -f json >\"$BEFORE\"; {script}");
    let check = format!("{PIDNS} check -q --deny zombie --since");
    let mut command = in_container(&script);
    command.env("PIDNS", PIDNS).env("BEFORE", dir.path().join("before")).env("CHECK", check);
    run(command.env("PARENT", PARENT))
}

#[test]
fn children_that_pidns_inherits_are_left_behind_until_they_terminate() {
    needs!(Namespaces, Program("python3"));
    let wait = "exec python3 -c \"$PARENT\" 1 $CHECK \"$BEFORE\" --wait 20";
    assert_eq!(stdout(&check_in_container(wait)), "Nothing is wrong.\n");
    let stay = "exec python3 -c \"$PARENT\" 600 $CHECK \"$BEFORE\"";
    let check = check_in_container(stay);
    let report = String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(1), "{report}");
    assert_eq!(report.matches("DENIED leftover-process").count(), 3, "{report}");
}

#[test]
fn a_process_substitution_is_not_a_zombie() {
    needs!(Namespaces);
    let script = "$CHECK - < <(cat \"$BEFORE\"); :";
    assert_eq!(stdout(&check_in_container(script)), "Nothing is wrong.\n");
}
