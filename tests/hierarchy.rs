//! Compares the hierarchy that pidns shows with data that the tests read from /proc. Covers nested
//! namespaces, runs of pidns in other namespaces, and processes that exit during the scan or are
//! unusual.

mod common;

use std::process::{Command, Stdio};

use common::Need::*;
use common::*;

#[test]
fn nested_namespaces_match_proc() {
    needs!(Namespaces);
    let (_running, inits) = nest(4);
    let document = Document::of(&[]);
    for (depth, &init) in inits.iter().enumerate() {
        let namespace = document.home(init);
        assert_eq!(namespace.id, namespace_of(init));
        assert_eq!(namespace.level, Some(depth + 1));
        assert_eq!(namespace.init, Some(init));
        assert_eq!(namespace.state, "live");
        assert_eq!(namespace.evidence, "kernel");
        assert_eq!(namespace.inode.map(|inode| format!("pid:[{inode}]")), Some(namespace_of(init)));
        assert_eq!(document.process(init).nspid, nspid(init));
        let owner = namespace.owner.as_ref().expect("is reachable");
        assert_eq!((owner.uid, owner.user.as_deref()), (Some(0), Some("root")));
        let user = link(format!("/proc/{init}/ns/user")).expect("is readable");
        assert_eq!(user, format!("user:[{}]", owner.user_namespace));
        let mut members: Vec<u32> = vec![init];
        members.extend(children(init));
        assert_eq!(namespace.members, members);
        let parent = if depth == 0 {
            namespace_of(std::process::id())
        } else {
            namespace_of(inits[depth - 1])
        };
        assert_eq!(namespace.parent, Some(parent));
    }
    let own = document.procfs.namespace.clone().expect("is known");
    assert_eq!(document.roots, std::slice::from_ref(&own));
    assert_eq!(own, namespace_of(std::process::id()));
    assert!(document.procfs.own);
}

#[test]
fn every_process_is_in_the_namespace_that_its_link_names() {
    needs!(Namespaces);
    let (_running, _) = nest(3);
    let truth: Vec<_> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| Some((pid, link(format!("/proc/{pid}/ns/pid"))?, nspid(pid))))
        .collect();
    let document = Document::of(&[]);
    let mut compared = 0;
    for (pid, namespace, nspid) in truth {
        let stays = link(format!("/proc/{pid}/ns/pid")).as_ref() == Some(&namespace);
        if let Some(process) = document.find_process(pid).filter(|_| stays) {
            assert_eq!(process.namespace.as_ref(), Some(&namespace), "{pid}");
            assert_eq!(process.nspid, nspid, "{pid}");
            compared += 1;
        }
    }
    assert!(compared > 6, "{compared}");
}

#[test]
fn works_in_a_user_namespace_without_root() {
    needs!(HostRoot, UserNamespaces);
    let script = "exec setpriv --reuid=65534 --regid=65534 --clear-groups \
                  unshare --user --map-root-user --pid --fork --mount-proc --kill-child \
                  bash -c 'echo ready; sleep 600; true'";
    let (running, _) = start(script);
    let init = children(running.pid())[0];
    let document = Document::of(&[]);
    let owner = document.home(init).owner.clone().expect("is reachable");
    assert_eq!((owner.uid, owner.user.as_deref()), (Some(65534), Some("nobody")));
    assert_eq!(
        Some(owner.user_namespace),
        document.home(init).owner.as_ref().map(|it| it.user_namespace)
    );
    assert_ne!(
        document.namespace(&document.roots[0]).owner.as_ref().map(|it| it.user_namespace),
        Some(owner.user_namespace)
    );
}

#[test]
fn every_format_shows_the_pids_of_all_four_levels() {
    needs!(Namespaces);
    let (_running, inits) = nest(3);
    let sleep = sleep_of(inits[2]);
    let numbers = nspid(sleep);
    assert_eq!(numbers.len(), 4);
    let words: Vec<_> = numbers.iter().map(u32::to_string).collect();
    let text = stdout(&pidns(&["-q"]));
    assert!(text.contains(&format!("─ {} sleep\n", words.join(" → "))), "{text}");
    let ascii = stdout(&pidns(&["-q", "--ascii"]));
    assert!(ascii.is_ascii());
    assert!(ascii.contains(&format!("- {} sleep\n", words.join(" -> "))), "{ascii}");
    assert_eq!(Document::of(&[]).process(sleep).nspid, numbers);
    let yaml = stdout(&pidns(&["-q", "-f", "yaml"]));
    let yaml: serde_json::Value = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!(Document::read(&yaml.to_string()).process(sleep).nspid, numbers);
    let dot = stdout(&pidns(&["-q", "-f", "dot"]));
    assert!(dot.contains(&format!(">{} sleep<br", words.join(" → "))), "{dot}");
}

#[test]
fn finds_all_ancestors_over_twenty_nine_levels() {
    needs!(Namespaces);
    let (_running, inits) = nest(29);
    let document = Document::of(&[]);
    let deepest = document.home(inits[28]);
    assert_eq!(deepest.level, Some(29));
    assert_eq!(document.process(inits[28]).nspid, nspid(inits[28]));
    let lineage: Vec<_> = inits.iter().map(|&init| namespace_of(init)).collect();
    assert_eq!(document.lineage(&deepest.id)[1..], lineage);
}

#[test]
fn shows_and_reports_an_unreadable_process() {
    // On some machines, even root has no permission to read the namespace links of PID 1.
    let document = Document::of(&[]);
    let init = document.process(1);
    assert_eq!(init.namespace, document.procfs.namespace);
    if link("/proc/1/ns/pid_for_children").is_none() {
        assert!(!document.complete);
        let told = document.diagnostic("namespace-unreadable").expect("is reported");
        assert!(told.pids.contains(&1));
        assert_eq!(told.errno.as_deref(), Some("EACCES"));
        let output = pidns(&["--strict", "-f", "json"]);
        assert_eq!(output.status.code(), Some(3));
        assert!(!Document::read(&String::from_utf8(output.stdout).unwrap()).complete);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with("pidns: incomplete: "), "{stderr}");
        assert_eq!(stderr.lines().count(), 1);
    }
}

#[test]
fn a_search_of_processes_is_complete_for_root() {
    needs!(Namespaces);
    // The document is complete even if the link of PID 1 is unreadable, since the inode of the
    // initial namespace is a constant.
    let document = Document::of(&["--search", "processes", "--strict"]);
    assert!(document.complete);
    // On some machines, PID 1 reaps zombies late. Such zombies do not make the document incomplete.
    let gaps: Vec<_> =
        document.diagnostics.iter().filter(|it| it.code != "init-does-not-reap").collect();
    assert_eq!(gaps, [] as [&Diagnostic; 0]);
}

#[test]
fn an_ancestors_proc_is_complete_from_a_child_namespace() {
    needs!(Namespaces);
    let output = run(Command::new("unshare").args(["-pf", PIDNS, "-q", "-f", "json"]));
    let document = Document::read(&stdout(&output));
    assert!(!document.procfs.own);
    let host = namespace_of(std::process::id());
    assert_eq!(document.procfs.namespace.as_ref(), Some(&host));
    let viewer = document.processes.iter().find(|it| it.comm == "pidns" && it.nspid.len() == 2);
    let viewer = viewer.expect("the viewer is visible from outside");
    let inner = document.home(viewer.pid);
    assert_eq!(inner.parent.as_ref(), Some(&host), "its parent is inferred");
    assert_eq!(inner.evidence, "inferred");
    assert!(!document.complete);
    assert!(document.process(std::process::id()).namespace.as_ref() == Some(&host));
}

#[test]
fn the_viewers_own_namespace_is_the_root_of_its_own_proc() {
    needs!(Namespaces);
    // The final `exit` keeps bash from executing pidns without a fork, as bash does for the last
    // command of a script.
    let script = format!("{SLEEP} {PIDNS} -f json --strict; exit $?");
    let output = run(&mut in_container(&script));
    let document = Document::read(&stdout(&output));
    assert!(document.complete && document.procfs.own);
    assert_eq!(document.namespaces.len(), 1);
    let pids: Vec<_> = document.processes.iter().map(|it| (it.pid, it.comm.as_str())).collect();
    assert_eq!(pids[..2], [(1, "bash"), (2, "sleep")]);
    assert_eq!(document.process(1).ppid, None);
    assert_eq!(document.process(2).ppid, Some(1));
}

#[test]
fn two_runs_on_a_quiet_host_print_the_same() {
    needs!(Namespaces);
    // In a PID namespace with its own /proc, no processes of other tests are visible.
    let script = format!(
        "sleep 600 & unshare -pf --kill-child bash -c 'sleep 600 & sleep 600' & \
         until [ $(grep -slx sleep /proc/[0-9]*/comm | wc -l) = 3 ]; do sleep 0.02; done; \
         for f in json text; do {PIDNS} -f $f; {PIDNS} -f $f; done"
    );
    let output = stdout(&run(&mut in_container(&script)));
    let (json, text) = output.split_once("\npid:[").expect("text follows");
    // Ignore the line of pidns itself, since its PID differs in each run.
    let trees: Vec<_> = text.lines().filter(|line| !line.ends_with(" pidns")).collect();
    let (one, two) = trees.split_at(trees.len() / 2);
    assert!(one.len() > 6, "{text}");
    assert_eq!(one[1..], two[1..]);
    assert_eq!(format!("pid:[{}", one[0]), two[0]);
    let runs: Vec<_> = json.lines().map(Document::read).collect();
    let [one, two] = &runs[..] else { panic!("{json}") };
    let without_pidns = |document: &Document| {
        let mut document = document.clone();
        let own = document.processes.iter().find(|it| it.comm == "pidns").expect("is listed").pid;
        document.captured_at.clear();
        document.observer = None;
        document.processes.retain(|it| it.pid != own);
        document.namespaces[0].members.retain(|&pid| pid != own);
        document
    };
    assert_eq!(without_pidns(one), without_pidns(two));
}

#[test]
fn recognizes_kernel_threads_and_zombies() {
    // The child exits after its parent has executed `sleep`, which never reaps children.
    let (running, _) = start(
        "(until [ \"$(</proc/$$/comm)\" = sleep ]; do :; done; exec sleep 0) &
         echo ready; exec sleep 600",
    );
    until("there is a zombie", || {
        children(running.pid()).iter().any(|&pid| status(pid, "State")[0] == "Z")
    });
    let zombie = children(running.pid())[0];
    let document = Document::of(&[]);
    assert_eq!(document.process(zombie).state, "Z");
    assert_eq!(document.process(zombie).namespace, document.procfs.namespace);
    assert_eq!(document.process(zombie).ppid, Some(running.pid()));
    let text = stdout(&pidns(&["-q"]));
    assert!(
        text.contains(&format!("─ {zombie} sleep, zombie of {} sleep\n", running.pid())),
        "{text}"
    );
    if comm(2) == "kthreadd" {
        assert!(document.process(2).kernel_thread);
        assert!(!document.process(running.pid()).kernel_thread);
        assert!(text.contains(" kernel threads\n"), "{text}");
        assert!(stdout(&pidns(&["-q", "--no-fold"])).contains("─ 2 [kthreadd]\n"));
    }
}

#[test]
fn stable_processes_keep_their_namespace_during_a_fork_storm() {
    needs!(Namespaces);
    let (_nest, inits) = nest(3);
    let mut stable: Vec<u32> = inits.clone();
    stable.extend(inits.iter().flat_map(|&init| children(init)));
    let truth: Vec<_> = stable.iter().map(|&pid| (pid, namespace_of(pid), nspid(pid))).collect();
    let storm = "while ((SECONDS < 300)); do /bin/true & /bin/true & wait; done";
    let storms: Vec<_> = [
        storm,
        storm,
        "while ((SECONDS < 300)); do unshare -pf /bin/true; done",
        "while ((SECONDS < 300)); do unshare -pf unshare -pf /bin/true; done",
    ]
    .map(|script| Running::spawn(Command::new("bash").args(["-c", script]).stdout(Stdio::null())))
    .into();
    for _ in 0..200 {
        let document = Document::of(&[]);
        for (pid, namespace, nspid) in &truth {
            let process = document.process(*pid);
            assert_eq!(process.namespace.as_ref(), Some(namespace), "{pid}");
            assert_eq!(&process.nspid, nspid, "{pid}");
        }
        // If an inode is reused during the scan, pidns must not merge the two namespaces into one
        // with two inits.
        for namespace in &document.namespaces {
            let inits = namespace
                .members
                .iter()
                .filter(|&&pid| document.process(pid).nspid.last() == Some(&1));
            assert!(inits.count() <= 1, "{}", namespace.id);
            // Each namespace must still have a member, a holder or a child. Otherwise the process
            // by which pidns found the namespace has exited, and the document must omit the
            // namespace.
            let leads = (&namespace.members, &namespace.holders, &namespace.children);
            assert!(
                !(leads.0.is_empty() && leads.1.is_empty() && leads.2.is_empty()),
                "{namespace:?}"
            );
        }
    }
    drop(storms);
}
