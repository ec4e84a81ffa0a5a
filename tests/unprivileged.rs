//! Tests pidns with limited permissions: as `nobody`, with the mount option hidepid, and in a
//! container that sees the host's /proc. For each process, pidns must show the correct namespace or
//! an unknown one.

mod common;

use std::process::{Command, Output};

use common::Need::*;
use common::*;

#[test]
fn nobody_gets_the_namespace_of_every_process_if_none_was_injected() {
    needs!(Namespaces);
    let forests: Vec<_> = (1..=4).map(nest).collect();
    let truth = truth();
    let output = as_nobody(&["-f", "json"]);
    let document = Document::read(&stdout(&output));
    assert!(!document.complete);
    let mut pids = Vec::new();
    for (_, inits) in &forests {
        for (depth, &init) in inits.iter().enumerate() {
            pids.push(init);
            pids.extend(children(init));
            let namespace = document.home(init);
            assert_eq!(namespace.id, format!("pid:[?{init}]"));
            assert_eq!((namespace.inode, namespace.evidence.as_str()), (None, "inferred"));
            assert_eq!(namespace.init, Some(init));
            let parent = match depth {
                0 => document.procfs.namespace.clone(),
                _ => Some(format!("pid:[?{}]", inits[depth - 1])),
            };
            assert_eq!(namespace.parent, parent);
            assert_eq!(document.process(init).evidence, "inferred");
        }
    }
    assert_eq!(compare(&document, &truth, &pids), pids.len());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.starts_with("pidns: incomplete: cannot read the namespace links of ")
            && stderr.contains(" (Permission denied), and ")
            && stderr.ends_with(" more; see .diagnostics in -f json\n"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1);
    assert_eq!(as_nobody(&["-q", "--strict"]).status.code(), Some(3));
}

/// Mounts a procfs with this option, such as `hidepid=1`, in a private mount namespace, and runs
/// pidns on it as `nobody`.
fn with_hidepid(option: &str, arguments: &str) -> Output {
    let (dir, program) = public_copy();
    let at = dir.path().join("proc");
    std::fs::create_dir(&at).unwrap();
    let script = "mount -t proc -o $1 proc $2 && exec $5 $3 --procfs $2 $4";
    let at = at.to_str().unwrap();
    run(&mut in_mount_namespace(script, &[option, at, &program, arguments, nobody()]))
}

#[test]
fn hidepid_is_reported() {
    needs!(Namespaces);
    let (_running, inits) = nest(2);
    let document = Document::read(&stdout(&with_hidepid("hidepid=1", "-q -f json")));
    assert!(!document.complete);
    assert!(document.find_process(inits[0]).is_none());
    let told = document.diagnostic("process-unreadable").expect("is reported");
    assert!(told.pids.contains(&inits[0]) && told.pids.contains(&inits[1]));
    assert_eq!(told.errno.as_deref(), Some("EPERM"));
    for option in ["hidepid=2", "hidepid=4"] {
        let document = Document::read(&stdout(&with_hidepid(option, "-q -f json")));
        assert!(!document.complete, "{option}");
        assert!(document.find_process(inits[0]).is_none());
        assert!(document.diagnostic("processes-hidden").is_some());
    }
    let output = with_hidepid("hidepid=2", "--strict");
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("hidepid"));
}

#[test]
fn limits_that_cannot_be_read_are_an_error() {
    needs!(Namespaces);
    let own = std::process::id();
    for (option, arguments) in [
        ("hidepid=2,subset=pid", "limits".to_owned()),
        ("hidepid=2,subset=pid", "limits -f json".to_owned()),
        ("subset=pid", format!("limits {own}")),
        ("subset=pid", format!("limits -q -f json {own}")),
    ] {
        let output = with_hidepid(option, &arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{stderr}");
        assert!(stderr.starts_with("pidns: cannot tell which limits are full: "), "{stderr}");
        assert!(stderr.contains("threads_max unknown: cannot read "), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn a_bind_mount_and_a_process_give_nobody_one_namespace() {
    needs!(Namespaces);
    let (_running, inits) = nest(1);
    let dir = public_dir();
    let (_copy, program) = public_copy();
    let script = "touch $1/ns; mount --bind /proc/$2/ns/pid $1/ns; exec $4 $3 -q -f json";
    let (at, init) = (dir.path().to_str().unwrap(), inits[0].to_string());
    let output = run(&mut in_mount_namespace(script, &[at, &init, &program, nobody()]));
    let document = Document::read(&stdout(&output));
    assert_eq!(document.home(inits[0]).id, namespace_of(inits[0]));
    assert!(document.find_namespace(&format!("pid:[?{init}]")).is_none());
    let holders = &document.home(inits[0]).holders;
    assert!(
        matches!(&holders[..], [Holder::Mount { path, .. }] if *path == format!("{at}/ns")),
        "{holders:?}"
    );
}

#[test]
fn reports_unread_namespaces_in_a_foreign_proc() {
    needs!(Namespaces);
    let dir = public_dir();
    let (_copy, program) = public_copy();
    // Mount the procfs of a nested PID namespace, and read it from outside.
    let script = "unshare -pf --kill-child bash -c \"mount -t proc proc $1; exec sleep 600\" & \
         until grep -qs sleep $1/1/comm; do sleep 0.02; done; \
         $3 $2 -q -f json --search processes --procfs $1; kill -9 $!";
    let at = dir.path().to_str().unwrap();
    let output = run(&mut in_mount_namespace(script, &[at, &program, nobody()]));
    let document = Document::read(&stdout(&output));
    assert!(!document.complete);
    assert_eq!(document.process(1).namespace.as_deref(), Some("pid:[?1]"));
    assert_eq!(document.process(1).evidence, "inferred");
    assert!(document.diagnostic("namespace-unreadable").is_some());
}

#[test]
fn hidepid_does_not_limit_root() {
    needs!(HostRoot);
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    let script = "mount -t proc -o hidepid=2 proc $1 && \
         exec $2 --search processes --strict -f json --procfs $1";
    let output = run(&mut in_mount_namespace(script, &[at, PIDNS]));
    assert!(Document::read(&stdout(&output)).complete);
}

#[test]
fn a_container_with_the_hosts_proc_sees_one_tree() {
    // A dying namespace of another test would be a second root, so this test runs in its own PID
    // namespace.
    needs!(NamespaceOfItsOwn);
    let (_running, inits) = nest(3);
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    // The container has its own /proc, and the host's /proc at another path. First, pidns runs
    // there with all capabilities, then with CAP_SYS_PTRACE only.
    let script = "mount --rbind /proc $1; \
         exec unshare -pf --mount-proc --kill-child $3 $2 -q -f json --procfs $1";
    for privileges in ["", "setpriv --bounding-set -all,+sys_ptrace --inh-caps -all"] {
        let script = script.replace("$3", privileges);
        let output = run(&mut in_mount_namespace(&script, &[at, PIDNS]));
        let document = Document::read(&stdout(&output));
        assert!(!document.procfs.own && !document.complete);
        assert_eq!(document.procfs.path, at);
        let host = namespace_of(std::process::id());
        assert_eq!(document.procfs.namespace.as_ref(), Some(&host));
        assert_eq!(document.roots, [host], "{:?}", document.namespaces);
        for (depth, &init) in inits.iter().enumerate() {
            let namespace = document.home(init);
            assert_eq!(namespace.id, namespace_of(init));
            assert_eq!(
                (namespace.level, namespace.evidence.as_str()),
                (Some(depth + 1), "inferred")
            );
            assert_eq!(document.process(init).nspid, nspid(init));
        }
        let codes: Vec<_> = document.diagnostics.iter().map(|it| it.code.as_str()).collect();
        assert_eq!(codes, ["parents-inferred"], "{:?}", document.diagnostics);
    }
}

#[test]
fn a_containers_proc_on_the_host_shows_all_ancestors() {
    needs!(Namespaces);
    let script = "sleep 600 & unshare -pf --kill-child sleep 600 & echo ready; wait";
    let (_running, init) = container(script);
    until("there are three levels", || children(init).iter().any(|&pid| !children(pid).is_empty()));
    let document = Document::of(&["--procfs", &format!("/proc/{init}/root/proc")]);
    assert!(!document.procfs.own);
    let host = namespace_of(std::process::id());
    let container = namespace_of(init);
    assert_eq!(document.roots, std::slice::from_ref(&host));
    assert_eq!(document.procfs.namespace.as_ref(), Some(&container));
    assert_eq!(document.namespace(&container).parent.as_ref(), Some(&host));
    assert_eq!(document.namespace(&host).state, "live");
    assert!(document.namespace(&host).members.is_empty());
    assert_eq!(document.process(1).nspid, [1]);
    assert_eq!(document.home(1).id, container);
    assert_eq!(document.home(1).init, Some(1));
    let deepest = document.processes.iter().find(|it| it.nspid.len() == 2).expect("is nested");
    let deepest = document.home(deepest.pid);
    assert_eq!((deepest.level, deepest.parent.as_ref()), (Some(2), Some(&container)));
}

#[test]
fn user_namespace_root_gets_correct_namespaces_from_the_hosts_proc() {
    needs!(HostRoot, UserNamespaces);
    let (_running, inits) = nest(2);
    let (_dir, program) = public_copy();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "unshare",
        "-Upf",
        "--map-root-user",
    ]);
    let output = run(command.arg(program).args(["-f", "json"]));
    let document = Document::read(&stdout(&output));
    assert!(!document.complete && !document.procfs.own);
    for (depth, &init) in inits.iter().enumerate() {
        assert_eq!(document.home(init).level, Some(depth + 1));
        assert_eq!(document.home(init).id, format!("pid:[?{init}]"));
    }
    let viewer =
        document.processes.iter().find(|it| it.comm.starts_with("pidns") && it.nspid.len() == 2);
    assert_eq!(document.home(viewer.expect("pidns shows itself").pid).level, Some(1));
    let advice = "run as root on the host";
    assert!(document.diagnostics.iter().any(|it| it.message.contains(advice)), "{document:?}");
}

#[test]
fn nobody_gets_all_thirty_two_levels() {
    needs!(Namespaces);
    let levels = levels_left();
    let host = namespace_of(std::process::id());
    if host == "pid:[4026531836]" {
        assert_eq!(levels, 32, "levels below the initial namespace");
    }
    let (_running, inits) = nest(levels);
    for document in [Document::of(&[]), Document::read(&stdout(&as_nobody(&["-q", "-f", "json"])))]
    {
        let deepest = document.process(inits[levels - 1]);
        assert_eq!(deepest.nspid.len(), levels + 1);
        assert_eq!(document.home(inits[levels - 1]).level, Some(levels));
    }
}
