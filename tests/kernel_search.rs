//! Tests `--search kernel`, which finds namespaces that /proc does not show, and their holders.

mod common;

use std::process::{Command, Output};

use common::Need::*;
use common::*;

const KERNEL: [&str; 2] = ["--search", "kernel"];

#[test]
fn shows_namespaces_missing_in_proc_with_their_holders() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn, Program("python3"), NamespaceList);
    let keepers = KEEPERS.map(|(kind, does)| (kind, keeper(does)));
    let without = Document::of(&["--search", "proc"]);
    let with = Document::of(&KERNEL);
    assert_eq!(with.searched, ["processes", "children", "fds", "mounts", "kernel"]);
    let text = stdout(&pidns(&["-q", "--no-fold", "--search", "kernel"]));
    for (kind, Keeper { running, namespace, fd }) in &keepers {
        let (pid, fd) = (running.pid(), fd.expect("is reported"));
        assert!(without.find_namespace(namespace).is_none(), "{kind}");
        let found = with.namespace(namespace);
        assert_eq!((found.state.as_str(), found.init, found.members.len()), ("dead", None, 0));
        assert_eq!(found.parent.as_ref(), Some(&with.home(pid).id), "{kind}");
        assert_eq!(found.holders, [Holder::File { kind: (*kind).to_owned(), pid, fd }]);
        let by = match *kind {
            "pidfd" => format!("pidfd {fd}"),
            "socket" => format!("unix socket {fd} whose peer was in it"),
            "listener" => format!("listening unix socket {fd}, opened in it"),
            "message" => format!("unread message from it to its socket {fd}"),
            "in_flight" => format!("descriptor in flight to its socket {fd}"),
            _ => format!("open file of its /proc, fd {fd}"),
        };
        let line = format!(
            "─ {namespace}  DEAD: its init has exited\n   └─ kept by {pid} python3: {by}\n"
        );
        assert!(text.replace('│', " ").contains(&line), "{line}{text}");
    }
    assert!(with.diagnostic("held-unseen").is_none());
}

#[test]
fn root_on_the_host_finds_the_state_of_a_covered_mount_in_kernel_memory() {
    needs!(HostRoot, Bpf, NamespaceList);
    let dir = tempfile::tempdir().unwrap();
    let (dead, inits) = nest(1);
    let (_live, above) = nest(1);
    let id = namespace_of(inits[0]);
    let script = "mount -t tmpfs none $1; touch $1/ns; mount --bind /proc/$2/ns/pid $1/ns; \
                  mount --bind /proc/$3/ns/pid $1/ns; echo ready; exec sleep 600";
    let [lower, upper] = [inits[0], above[0]].map(|it| it.to_string());
    let at = dir.path().to_str().unwrap();
    let (_other, _) = start_command(&mut in_mount_namespace(script, &[at, &lower, &upper]));
    drop(dead);
    until("the init is gone", || link(format!("/proc/{lower}/ns/pid")).is_none());
    let check = |arguments: &[&str]| {
        let output = pidns(&[&["check", "-q", "--root", &id], arguments].concat());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let unknown = check(&[]);
    assert!(unknown.contains("\n  run pidns with --search kernel; end "), "{unknown}");
    let found = check(&KERNEL);
    assert!(found.contains("DENIED dead-namespace: "), "{found}");
    let note = format!(": no command removes {at}/ns: another mount covers it in mnt:[");
    assert!(unknown.contains(&note) && found.contains(&note), "{unknown}{found}");
}

#[test]
fn every_format_shows_the_holders() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn, Program("python3"), NamespaceList);
    let of_kind = |wanted| KEEPERS.iter().find(|(kind, _)| *kind == wanted).unwrap().1;
    let kept = keeper(of_kind("pidfd"));
    let (pid, fd) = (kept.running.pid(), kept.fd.unwrap());
    for (format, expected) in [
        ("dot", format!("kept by {pid} python3: pidfd {fd}")),
        ("mermaid", format!("kept by {pid} python3: pidfd {fd}")),
        ("yaml", "  - kind: \"pidfd\"\n".to_owned()),
        ("ndjson", format!("{{\"kind\":\"pidfd\",\"pid\":{pid},")),
        ("openmetrics", "{keeper=\"pidfd\"} 1\n".to_owned()),
    ] {
        let written = stdout(&pidns(&["-q", "-f", format, "--search", "kernel"]));
        assert!(written.contains(&expected), "{expected}: {written}");
    }
    let check = pidns(&["check", "-q", "--deny", "dead-namespace", "--search", "kernel"]);
    assert_eq!(check.status.code(), Some(1));
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(said.contains(&format!("kept by {pid} python3: pidfd {fd}")), "{said}");
    let advice = format!(
        "end {pid} only if user root does not need it: fd {fd} may come from a process in the namespace"
    );
    assert!(said.contains(&advice), "{said}");
}

#[test]
fn no_advice_kills_a_process_that_others_can_connect_to() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn, Program("python3"), NamespaceList);
    for (kind, does) in KEEPERS {
        if !["socket", "message", "in_flight"].contains(&kind) {
            continue;
        }
        let kept = keeper(does);
        let (pid, fd) = (kept.running.pid(), kept.fd.unwrap());
        let check =
            stdout(&pidns(&["check", "-q", "--warn", "dead-namespace", "--search", "kernel"]));
        let advice = match kind {
            "socket" => {
                format!("at the other end of socket {fd} of {pid} (ss -xp shows both ends)")
            }
            _ => format!("let {pid} read its socket {fd} empty, or close it"),
        };
        assert!(check.contains(&advice), "{advice} in {check}");
        assert!(!check.contains(&format!("kill {pid}")), "{check}");
    }
}

#[test]
fn reports_a_namespace_without_a_visible_holder() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn, Program("python3"), NamespaceList);
    let kept = keeper(MOUNTED);
    let document = Document::of(&KERNEL);
    let found = document.namespace(&kept.namespace);
    assert_eq!((found.state.as_str(), found.holders.len()), ("dead", 0));
    let said = document.diagnostic("held-unseen").expect("is reported");
    let expected = format!(
        "no holder was found for {}; it may be a detached mount, or a mount of its procfs, which no search shows",
        kept.namespace
    );
    assert_eq!((said.message.as_str(), said.pids.len()), (expected.as_str(), 0));
    // The document contains the namespace, so it is complete, although the holder is unknown.
    assert!(document.complete, "{:?}", document.diagnostics);
    let text = stdout(&pidns(&["--search", "kernel"]));
    let line = "DEAD: its init has exited\n   └─ kept by something that no search finds\n";
    assert!(text.contains(line), "{text}");
    drop(kept);
    until("the namespace is gone", || Document::of(&KERNEL).diagnostic("held-unseen").is_none());
}

#[test]
fn a_namespace_kept_by_a_nested_one_is_not_reported_as_unseen() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn, Program("python3"), NamespaceList);
    // The init of the outer namespace creates an inner namespace. A pidfd of the inner init keeps
    // the inner namespace alive, which keeps its parent alive.
    let kept = keeper(
        "def inside():\n    \
             libc.unshare(0x20000000)\n    \
             inner = os.fork()\n    \
             if inner == 0:\n        \
                 send(os.pidfd_open(os.getpid())); os._exit(0)\n    \
             os.waitpid(inner, 0)\n\
         namespace(inside=inside)",
    );
    let document = Document::of(&KERNEL);
    let outer = document.namespace(&kept.namespace);
    assert_eq!((outer.state.as_str(), outer.holders.len(), outer.children.len()), ("dead", 0, 1));
    let inner = document.namespace(&outer.children[0]);
    assert_eq!((inner.state.as_str(), inner.holders.len()), ("dead", 1));
    assert!(document.diagnostic("held-unseen").is_none());
}

#[test]
fn distinguishes_nascent_from_dead() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn, Program("python3"), NamespaceList);
    let does = "maker = os.fork()\n\
         if maker == 0:\n    \
             libc.unshare(0x20000000); one.send(b'x'); time.sleep(600)\n\
         other.recv(1)\n\
         import fcntl\n\
         fd = fcntl.ioctl(os.pidfd_open(maker), 0xff06)\n\
         print('namespace', os.stat(fd).st_ino)\n\
         send(fd); os.close(fd); os.kill(maker, 9); os.waitpid(maker, 0)\n\
         print('fd', other.fileno())";
    let kept = keeper(does);
    let document = Document::of(&KERNEL);
    let found = document.namespace(&kept.namespace);
    let (pid, fd) = (kept.running.pid(), kept.fd.unwrap());
    assert_eq!(found.state, "nascent");
    assert_eq!(found.holders, [Holder::File { kind: "in_flight".to_owned(), pid, fd }]);
}

#[test]
fn searches_a_threads_private_descriptor_table() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn, Program("python3"), NamespaceList);
    let does = "import threading\n\
         done = threading.Event()\n\
         def hold():\n    \
             libc.unshare(0x400)\n    \
             namespace(lambda init: print('fd', os.pidfd_open(init)))\n    \
             done.set(); time.sleep(600)\n\
         threading.Thread(target=hold, daemon=True).start(); done.wait()";
    let kept = keeper(does);
    let document = Document::of(&KERNEL);
    let (pid, fd) = (kept.running.pid(), kept.fd.unwrap());
    let expected = Holder::File { kind: "pidfd".to_owned(), pid, fd };
    assert_eq!(document.namespace(&kept.namespace).holders, [expected]);
}

#[test]
fn searches_a_descriptor_table_that_processes_share_once() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn, Program("python3"), NamespaceList);
    // 56 is clone(2) on x86-64, 0x411 is CLONE_FILES with SIGCHLD.
    let does = "import resource\n\
         resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))\n\
         namespace(lambda init: print('fd', os.pidfd_open(init)))\n\
         namespace(inside=lambda: send(os.pidfd_open(os.getpid())))\n\
         print('socket', other.fileno())\n\
         first = os.open('/dev/null', os.O_RDONLY)\n\
         for _ in range(18000): os.dup(first)\n\
         for _ in range(800):\n    \
             if libc.syscall(56, 0x411, 0, 0, 0, 0) == 0:\n        \
                 libc.prctl(1, 9); time.sleep(600)";
    let (running, names) = start_keeper(does);
    // Searching the table once for each process would take several seconds.
    let mut command = with_processor_seconds(2, PIDNS);
    let document = Document::read(&stdout(&run(command.args(["-q", "-f", "json"]).args(KERNEL))));
    let dead = document.namespaces.iter().filter(|it| it.state == "dead");
    let holders: Vec<_> = dead.map(|it| &it.holders).collect();
    let [one, other] = &holders[..] else { panic!("{holders:?}") };
    let mut pids = children(running.pid());
    pids.push(running.pid());
    pids.sort_unstable();
    for (kind, fd) in [("pidfd", names["fd"]), ("in_flight", names["socket"])] {
        let file = |&pid: &u32| Holder::File { kind: kind.to_owned(), pid, fd };
        let expected: Vec<_> = pids.iter().map(file).collect();
        assert!(**one == expected || **other == expected, "{kind}: {one:?}\n{other:?}");
    }
}

#[test]
fn never_shows_namespaces_that_have_just_ended_or_are_being_made() {
    // This test needs the initial PID namespace, because pidns in a nested namespace cannot see
    // holders outside of it.
    needs!(HostRoot, UserNamespaces, Bpf, NamespaceList);
    // The loops create namespaces that end at different times: at once, or before or after the end
    // of the process that created them.
    let storms = "while ((SECONDS < 300)); do unshare -pf --kill-child true; done &
         while ((SECONDS < 300)); do unshare -p bash -c '(:); sleep 0.0$((RANDOM % 9))'; done &
         while ((SECONDS < 300)); do unshare -p bash -c 'sleep 0.0$((RANDOM % 9)) & exec sleep 0.02'; done &
         while ((SECONDS < 300)); do unshare -p sleep 0.0$((RANDOM % 9)); done &
         echo ready; wait";
    // Create these PID namespaces in a new user namespace, which becomes their owner. The owner
    // distinguishes them from the PID namespaces of other tests.
    let mut command = Command::new("unshare");
    let (storms, _) = start_command(command.args(["-Ur", "bash", "-c", storms]));
    let owner = link(format!("/proc/{}/ns/user", storms.pid())).unwrap();
    let mut seen = 0;
    for _ in 0..50 {
        let document = Document::of(&KERNEL);
        for namespace in &document.namespaces {
            let owned_by = namespace.owner.as_ref().map(|it| it.user_namespace);
            if owned_by.is_some_and(|inode| owner == format!("user:[{inode}]")) {
                let is_held = !(namespace.holders.is_empty() && namespace.children.is_empty());
                assert!(is_held || namespace.init.is_some(), "{namespace:?}");
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn the_queue_of_a_socket_is_searched_once() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn, Program("python3"), Program("strace"), NamespaceList);
    let does = "import resource\n\
         resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))\n\
         namespace(inside=lambda: send(os.pidfd_open(os.getpid())))\n\
         one.setblocking(False)\n\
         try:\n    \
             while True: one.send(b'x')\n\
         except BlockingIOError: pass\n\
         for _ in range(15000): os.dup(other.fileno())\n\
         print('fd', other.fileno())";
    let kept = keeper(does);
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-T", "-e", "trace=read", "-o"]).arg(&log);
    let output = run(command.args([PIDNS, "-q", "-f", "json"]).args(KERNEL));
    let document = Document::read(&stdout(&output));
    let found = document.namespace(&kept.namespace);
    let pid = kept.running.pid();
    let is_its = |it: &Holder| matches!(it, Holder::File { kind, pid: holder, .. } if kind == "in_flight" && *holder == pid);
    assert!(found.holders.iter().all(is_its));
    assert_eq!(found.holders.len(), 10_000);
    assert!(document.diagnostic("holders-left-out").is_some());
    // For each descriptor, the kernel would look at all messages, millions of them in one read.
    let text = std::fs::read_to_string(log).unwrap();
    let time = |line: &str| line.rsplit_once('<')?.1.strip_suffix('>')?.parse::<f64>().ok();
    let longest = text.lines().filter_map(time).fold(0.0, f64::max);
    assert!(longest < 1.0, "a read of {longest} s");
}

/// Asserts that a run failed with status 2 and an empty standard output. Returns its standard
/// error.
fn refused(output: &Output) -> String {
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_error_says_why_the_kernel_search_is_impossible() {
    needs!(HostRoot, Bpf, Program("strace"), NamespaceList);
    let cause = |cause: &str| format!("pidns: cannot read the kernel through BPF: {cause}\n");
    for (capabilities, missing) in [
        ("-sys_ptrace", "CAP_SYS_PTRACE"),
        ("-sys_admin", "CAP_SYS_ADMIN"),
        ("-sys_admin,-bpf", "CAP_SYS_ADMIN"),
    ] {
        for collector in ["auto", "proc", "bpf"] {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set", capabilities, "--inh-caps=-all", PIDNS]);
            let output = run(command.args(["--collector", collector]).args(KERNEL));
            let said = cause(&format!("it needs {missing} in the initial user namespace"));
            assert_eq!(refused(&output), said, "--collector {collector}");
        }
    }
    for (call, name) in [
        ("bpf", "bpf(BPF_BTF_LOAD)"),
        ("open_by_handle_at", "cannot open a namespace by its ID (open_by_handle_at)"),
    ] {
        let mut command = Command::new("strace");
        let inject = format!("inject={call}:error=EPERM");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &inject, PIDNS]);
        let said = cause(&format!("{name}: Operation not permitted (os error 1)"));
        assert_eq!(refused(&run(command.args(KERNEL))), said);
    }
    let (container, init) = container("echo ready; sleep 600; true");
    let inner = format!("/proc/{init}/root/proc");
    let elsewhere = "it covers only the PID namespace of pidns, and this /proc shows another";
    let output = pidns(&["--procfs", &inner, "--search", "kernel"]);
    assert_eq!(refused(&output), cause(elsewhere));
    drop(container);
}
