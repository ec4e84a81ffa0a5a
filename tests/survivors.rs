//! Tests namespaces that outlive their processes, the holders that keep them alive, and inits that
//! cannot exit completely.

mod common;

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use common::Need::*;
use common::*;
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Creates a namespace, opens it, and kills its init. Returns its ID and the descriptor.
fn dead_namespace() -> (String, File) {
    let (running, inits) = nest(1);
    let file = File::open(format!("/proc/{}/ns/pid", inits[0])).unwrap();
    let id = namespace_of(inits[0]);
    drop(running);
    until("the init has exited", || status(inits[0], "State").is_empty());
    (id, file)
}

/// Returns a path through which other processes can open a file that this test has open.
fn path_of(file: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}

/// Returns the holder that pidns must show for a descriptor of this test process.
fn held_by_us(file: &File) -> Holder {
    Holder::Fd { pid: std::process::id(), fd: u32::try_from(file.as_raw_fd()).unwrap() }
}

#[test]
fn a_descriptor_keeps_a_dead_namespace_and_its_parent() {
    needs!(Namespaces);
    let (running, inits) = nest(2);
    let file = File::open(format!("/proc/{}/ns/pid", inits[1])).unwrap();
    let (outer, inner) = (namespace_of(inits[0]), namespace_of(inits[1]));
    drop(running);
    until("the inits have exited", || inits.iter().all(|&init| status(init, "State").is_empty()));
    let mut document = Document::of(&[]);
    // The forked child of another test may hold the namespace for a moment, until it calls exec.
    until("nobody holds the outer namespace", || {
        document = Document::of(&[]);
        document.namespace(&outer).holders.is_empty()
    });
    let (outer, inner) = (document.namespace(&outer), document.namespace(&inner));
    assert_eq!(inner.parent.as_ref(), Some(&outer.id));
    for dead in [outer, inner] {
        assert_eq!((dead.state.as_str(), dead.init, dead.members.len()), ("dead", None, 0));
        assert_eq!(dead.evidence, "kernel");
    }
    assert!(inner.holders.contains(&held_by_us(&file)));
    assert_eq!(outer.holders, []);
    let name = comm(std::process::id());
    let expected = format!(
        "\n└─ {}  DEAD: its init has exited\n   └─ kept by {} {name}: open fd {}\n",
        inner.id,
        std::process::id(),
        file.as_raw_fd()
    );
    // A forked child of another test has copies of all our descriptors until it calls exec.
    until(&expected, || stdout(&pidns(&["-q", "--root", &outer.id])).contains(&expected));
    // With `--search processes`, pidns does not find a namespace without processes.
    assert!(Document::of(&["--search", "processes"]).find_namespace(&inner.id).is_none());
}

#[test]
fn two_bind_mounts_are_two_holders() {
    needs!(Namespaces);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (one, two) = (path("one"), path("a b\\c"));
    let (id, file) = dead_namespace();
    // Mount the namespace twice in a private mount namespace.
    let script = "touch \"$2\" \"$3\"; mount -c --bind \"$1\" \"$2\"; mount -c --bind \"$1\" \"$3\"; echo ready; exec sleep 600";
    let at = path_of(&file);
    let (running, _) = start_command(&mut in_mount_namespace(script, &[&at, &one, &two]));
    drop(file);
    let mount_namespace = link(format!("/proc/{}/ns/mnt", running.pid())).unwrap();
    assert_ne!(Some(&mount_namespace), link("/proc/self/ns/mnt").as_ref());
    let document = Document::of(&[]);
    let held = document.namespace(&id);
    let mut paths: Vec<_> = held
        .holders
        .iter()
        .map(|holder| match holder {
            Holder::Mount { path, mount_namespace: inode } => {
                assert_eq!(mount_namespace, format!("mnt:[{inode}]"));
                path.as_str()
            }
            // Ignore other holders, such as a forked child of another test that has not called exec
            // yet.
            _ => "",
        })
        .filter(|path| !path.is_empty())
        .collect();
    paths.sort_unstable();
    let mut expected = [one.as_str(), two.as_str()];
    expected.sort_unstable();
    assert_eq!(paths, expected);
    assert_eq!(held.state, "dead");
    assert_eq!(held.parent, document.procfs.namespace);
    assert!(stdout(&pidns(&["-q"])).contains(&format!(
        "─ kept by mount {} (in {mount_namespace})\n",
        paths[0].replace('\\', "\\\\")
    )));
}

#[test]
fn a_mount_covered_by_another_still_counts() {
    needs!(Namespaces);
    let dir = tempfile::tempdir().unwrap();
    let (id, file) = dead_namespace();
    let script = "mkdir \"$1/d\"; touch \"$1/d/ns\"; \
         mount -c --bind \"$2\" \"$1/d/ns\"; \
         mount -t tmpfs none \"$1/d\"; echo ready; exec sleep 600";
    let at = dir.path().to_str().unwrap();
    let file_at = path_of(&file);
    let (_running, _) = start_command(&mut in_mount_namespace(script, &[at, &file_at]));
    drop(file);
    let mut document = Document::of(&[]);
    until("only the mount is left", || {
        document = Document::of(&[]);
        document.namespace(&id).holders.len() == 1
    });
    let path = format!("{at}/d/ns");
    let covered = document.namespaces.iter().find(|it| {
        it.holders
            .iter()
            .any(|holder| matches!(holder, Holder::Mount { path: at, .. } if *at == path))
    });
    let covered = covered.expect("is found");
    assert_eq!((covered.parent.as_ref(), covered.device), (None, None));
    assert!(!document.complete);
    assert!(document.diagnostic("namespace-unopened").is_some());
}

#[test]
fn names_the_shell_whose_children_would_start_in_a_dead_namespace() {
    needs!(Namespaces);
    let running = unshared("/bin/true;");
    let id = link(format!("/proc/{}/ns/pid_for_children", running.pid())).unwrap();
    assert_ne!(id, namespace_of(running.pid()));
    let document = Document::of(&[]);
    let dead = document.namespace(&id);
    assert_eq!((dead.state.as_str(), dead.init), ("dead", None));
    let holder = Holder::PidForChildren { pid: running.pid(), tid: running.pid() };
    assert!(dead.holders.contains(&holder));
    let said = format!("kept by {} sleep: its children would start here\n", running.pid());
    until(&said, || stdout(&pidns(&["-q"])).contains(&said));
}

#[test]
fn the_thread_search_includes_the_leader() {
    needs!(Namespaces);
    let running = unshared("/bin/true;");
    let id = link(format!("/proc/{}/ns/pid_for_children", running.pid())).unwrap();
    let document = Document::of(&["--search", "threads"]);
    let holder = Holder::PidForChildren { pid: running.pid(), tid: running.pid() };
    assert!(document.namespace(&id).holders.contains(&holder));
}

#[test]
fn a_dead_namespace_is_dead_in_a_containers_proc_too() {
    needs!(Namespaces);
    // The container's init keeps a nested namespace open, whose own init has exited.
    let script = "unshare -pf --kill-child sleep 600 & u=$!; \
         until read -rd ' ' init </proc/$u/task/$u/children; do :; done; exec 9</proc/$init/ns/pid; \
         kill -9 $init; wait; echo ready; exec sleep 600";
    let (_running, init) = container(script);
    let id = link(format!("/proc/{init}/fd/9")).unwrap();
    for arguments in [&[][..], &["--procfs", &format!("/proc/{init}/root/proc")]] {
        let document = Document::of(arguments);
        let dead = document.namespace(&id);
        // pidns must find the state even if the procfs belongs to another PID namespace than pidns.
        assert_eq!(dead.state, "dead", "{arguments:?}");
    }
}

#[test]
fn a_namespace_without_a_first_process_is_nascent() {
    needs!(Namespaces);
    let running = unshared("");
    assert_eq!(link(format!("/proc/{}/ns/pid_for_children", running.pid())), None);
    let document = Document::of(&[]);
    let holder = Holder::PidForChildren { pid: running.pid(), tid: running.pid() };
    let nascent = document.namespaces.iter().find(|namespace| namespace.holders.contains(&holder));
    let nascent = nascent.expect("is found");
    assert_eq!((nascent.state.as_str(), nascent.members.len()), ("nascent", 0));
    assert_eq!(nascent.parent, document.procfs.namespace);
    let said = format!("{}  not started yet (nascent): no process in it\n", nascent.id);
    assert!(stdout(&pidns(&["-q"])).contains(&said));
    // The kernel does not show a nascent namespace in a procfs of another PID namespace.
    let dir = tempfile::tempdir().unwrap();
    let output = in_child_namespace_with_host_proc(&dir, &["-q", "-f", "json", "--procfs"]);
    let document = Document::read(&stdout(&output));
    let told = document.diagnostic("nascent-unreadable").expect("is reported");
    assert!(told.pids.contains(&running.pid()));
}

/// Runs pidns in a new PID namespace, with the host's /proc mounted at the path of `dir`.
fn in_child_namespace_with_host_proc(
    dir: &tempfile::TempDir,
    arguments: &[&str],
) -> std::process::Output {
    let at = dir.path().to_str().unwrap();
    let script = "at=$1; shift; mount --rbind /proc $at; \
         exec unshare -pf --mount-proc --kill-child \"$@\" $at";
    run(&mut in_mount_namespace(script, &[&[at, PIDNS], arguments].concat()))
}

#[test]
fn the_thread_search_finds_a_threads_pid_for_children() {
    needs!(Namespaces);
    let (id, file) = dead_namespace();
    let (tell, told) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::ProcessID)).unwrap();
        drop(file);
        tell.send(rustix::thread::gettid()).unwrap();
        let _ = ended.recv();
    });
    let tid = u32::try_from(told.recv().unwrap().as_raw_nonzero().get()).unwrap();
    let of_thread = |it: &Holder| matches!(it, Holder::PidForChildren { .. });
    let without = Document::of(&[]);
    assert!(!without.find_namespace(&id).is_some_and(|it| it.holders.iter().any(of_thread)));
    let document = Document::of(&["--search", "threads"]);
    assert_eq!(document.searched, ["processes", "threads"]);
    let found = document.namespace(&id);
    assert!(found.holders.contains(&Holder::PidForChildren { pid: std::process::id(), tid }));
    assert_eq!(found.state, "dead");
    let all = Document::of(&["--search", "proc"]);
    assert_eq!(all.searched, ["processes", "children", "threads", "fds", "mounts"]);
    assert!(
        all.namespace(&id)
            .holders
            .contains(&Holder::PidForChildren { pid: std::process::id(), tid })
    );
    drop(end);
    thread.join().unwrap();
}

#[test]
fn searches_the_threads_of_an_exited_leader() {
    needs!(Namespaces, Program("python3"));
    let (id, file) = dead_namespace();
    let at = file.as_raw_fd();
    let keep = format!("exec 7</proc/{}/fd/{at}; exec python3 -c \"$0\"", std::process::id());
    let (running, _) = start_command(Command::new("bash").args(["-c", &keep, LEADER_EXITS]));
    drop(file);
    until("the leader has exited", || status(running.pid(), "State")[0] == "Z");
    let document = Document::of(&[]);
    assert!(document.namespace(&id).holders.contains(&Holder::Fd { pid: running.pid(), fd: 7 }));
}

#[test]
fn a_namespace_held_in_five_ways_has_five_holders() {
    needs!(Namespaces);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns");
    let (id, file) = dead_namespace();
    let at = path_of(&file);
    let mounting = "touch \"$2\"; mount -c --bind \"$1\" \"$2\"; \
         sleep 600 9<\"$1\" & exec 9<\"$1\"; echo ready; wait";
    let arguments = [&*at, path.to_str().unwrap()];
    let (mounter, _) = start_command(&mut in_mount_namespace(mounting, &arguments));
    let (other, _) = start_command(Command::new("bash").args([
        "-c",
        "exec 8<\"$0\" 7<\"$0\"; echo ready; exec sleep 600",
        &at,
    ]));
    let sleep = children(mounter.pid())[0];
    until("both processes sleep", || {
        [other.pid(), sleep].into_iter().all(|pid| comm(pid) == "sleep")
    });
    let document = Document::of(&[]);
    let found = document.namespace(&id);
    let fd = |pid, fd| Holder::Fd { pid, fd };
    for holder in [
        fd(mounter.pid(), 9),
        fd(sleep, 9),
        fd(other.pid(), 7),
        fd(other.pid(), 8),
        held_by_us(&file),
    ] {
        assert!(found.holders.contains(&holder), "{holder:?} in {:?}", found.holders);
    }
    let mounts = found.holders.iter().filter(|it| matches!(it, Holder::Mount { .. }));
    assert_eq!(mounts.count(), 1);
    assert_eq!(document.namespaces.iter().filter(|it| it.id == id).count(), 1);
    let text = stdout(&pidns(&["-q"]));
    assert!(text.lines().filter(|line| line.contains("─ kept by ")).count() >= 5, "{text}");
}

#[test]
fn names_the_process_that_blocks_an_exited_init() {
    needs!(Namespaces);
    let (running, inits) = nest(1);
    let init = inits[0];
    // Inject a process whose parent is outside of the namespace and does not reap it.
    let mut injector = inject(init, &["sleep", "600"], 1);
    let injected = children(injector.pid())[0];
    stop(injector.pid());
    let document = Document::of(&[]);
    assert_eq!(
        document.home(injected).init,
        Some(init),
        "the injected process is in the namespace"
    );
    kill(init, Signal::KILL);
    until("the injected process is a zombie", || status(injected, "State")[0] == "Z");
    until("the other processes have exited", || status(init, "VmSize").is_empty());
    let document = Document::of(&[]);
    let namespace = document.home(init);
    assert_eq!((namespace.state.as_str(), namespace.init), ("dead", Some(init)));
    assert_eq!(namespace.members, [init, injected]);
    assert_eq!(document.process(init).state, "S");
    let blamed = document.diagnostic("init-blocked").expect("has its own diagnostic");
    assert_eq!(blamed.pids, [injector.pid()]);
    assert_eq!(
        blamed.message,
        format!(
            "init {init} (bash) of {} has terminated, but waits for {injected} (sleep), \
             a zombie that its parent {} (nsenter) does not reap",
            namespace.id,
            injector.pid()
        )
    );
    let text = stdout(&pidns(&["-q"]));
    assert!(
        text.contains(&format!(
            "DEAD: its init {init} has exited, stuck until {} nsenter reaps zombie {injected}",
            injector.pid()
        )),
        "{text}"
    );
    kill(injector.pid(), Signal::CONT);
    let _ = injector.0.wait();
    drop(running);
}

#[test]
fn an_init_that_is_a_zombie_names_the_parent_that_must_reap_it() {
    needs!(Namespaces);
    let (running, _) = start("unshare -pf bash -c 'exec sleep 600' & echo ready; wait");
    let unshare = children(running.pid())[0];
    until("there is an init", || children(unshare).iter().any(|&pid| comm(pid) == "sleep"));
    let init = children(unshare)[0];
    stop(unshare);
    kill(init, Signal::KILL);
    until("there is a zombie", || status(init, "State")[0] == "Z");
    let document = Document::of(&[]);
    let namespace = document.home(init);
    assert_eq!((namespace.state.as_str(), namespace.init), ("dead", Some(init)));
    assert!(document.diagnostic("init-blocked").is_none_or(|it| !it.pids.contains(&unshare)));
    let text = stdout(&pidns(&["-q"]));
    assert!(
        text.contains(&format!(
            "DEAD: its init {init} has exited, stuck until {unshare} unshare reaps it"
        )),
        "{text}"
    );
    kill(unshare, Signal::KILL);
}

#[test]
fn an_init_whose_leader_exited_before_its_threads_is_alive() {
    needs!(Namespaces, Program("python3"));
    let (running, _) = start_command(Command::new("unshare").args([
        "-pf",
        "--kill-child",
        "python3",
        "-c",
        LEADER_EXITS,
    ]));
    let init = children(running.pid())[0];
    until("the leader has exited", || status(init, "State")[0] == "Z");
    assert_eq!(Document::of(&[]).home(init).state, "live");
}

#[test]
fn distinguishes_nascent_and_dead_namespaces_held_by_descriptors() {
    needs!(Namespaces, Program("python3"));
    let script = "import ctypes, fcntl, os, time\n\
         libc = ctypes.CDLL(None)\n\
         r, w = os.pipe()\n\
         maker = os.fork()\n\
         if maker == 0:\n    libc.unshare(0x20000000); os.write(w, b'x'); time.sleep(600)\n\
         os.read(r, 1)\n\
         fd = fcntl.ioctl(os.pidfd_open(maker), 0xff06)\n\
         os.kill(maker, 9); os.wait()\n\
         print('fd', fd, flush=True); print('ready', flush=True)\n\
         time.sleep(600)";
    let (running, names) = start_command(Command::new("python3").args(["-c", script]));
    let (dead, _file) = dead_namespace();
    let document = Document::of(&[]);
    let holder = Holder::Fd { pid: running.pid(), fd: names["fd"] };
    let nascent =
        document.namespaces.iter().find(|it| it.holders.contains(&holder)).expect("is found");
    assert_eq!(nascent.state, "nascent");
    assert_eq!(document.namespace(&dead).state, "dead");
}

#[test]
fn a_reused_inode_never_merges_a_dead_and_a_live_namespace() {
    needs!(Namespaces);
    // Create and end namespaces all the time, so that the kernel reuses inodes. It must not reuse
    // the inode of a dead namespace that is still open.
    let (held, _file) = dead_namespace();
    let churn = Running::spawn(
        Command::new("bash")
            .args([
                "-c",
                "while ((SECONDS < 300)); do unshare -pf --kill-child unshare -pf /bin/true; done",
            ])
            .stderr(Stdio::null()),
    );
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..60 {
        let document = Document::of(&[]);
        let dead = document.namespace(&held);
        assert_eq!((dead.members.len(), dead.state.as_str(), dead.init), (0, "dead", None));
        for namespace in &document.namespaces {
            // If an inode has two different 64-bit IDs in turn, the kernel has reused the inode.
            seen.entry(namespace.inode).or_insert_with(Vec::new).push(namespace.ns_id);
            assert!(
                namespace
                    .members
                    .iter()
                    .filter(|&&pid| document.process(pid).nspid.last() == Some(&1))
                    .count()
                    <= 1
            );
        }
    }
    drop(churn);
    let reused = seen.values().any(|ids| ids.iter().any(|id| *id != ids[0]));
    assert!(reused, "no inode was reused, so this test proves nothing");
}
