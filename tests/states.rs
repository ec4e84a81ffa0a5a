//! Tests that pidns shows the right state of a namespace, even if the init starts or exits during
//! the scan. Also tests the diagnostics that pidns reports if the kernel refuses a request.

mod common;

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::Need::*;
use common::*;
use rustix::process::Signal;

/// Python program that runs a command under a seccomp filter, which makes some ioctls fail. The
/// first argument is a list of ioctl codes and error numbers, such as `CODE:ERRNO,CODE:ERRNO`. The
/// other arguments are the command.
const REFUSE: &str = "import ctypes, os, platform, struct, sys\n\
     rules = [[int(it, 0) for it in rule.split(':')] for rule in sys.argv[1].split(',')]\n\
     ioctl = {'x86_64': 16, 'aarch64': 29}[platform.machine()]\n\
     line = lambda *it: struct.pack('HBBI', *it)\n\
     text = line(0x20, 0, 0, 0) + line(0x15, 0, 1 + 2 * len(rules), ioctl) + line(0x20, 0, 0, 24)\n\
     for code, errno in rules:\n    \
         text += line(0x15, 0, 1, code) + line(0x06, 0, 0, 0x50000 | errno)\n\
     text += line(0x06, 0, 0, 0x7fff0000)\n\
     filter = ctypes.create_string_buffer(text)\n\
     program = struct.pack('HP', len(text) // 8, ctypes.addressof(filter))\n\
     libc = ctypes.CDLL(None)\n\
     assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0\n\
     os.execvp(sys.argv[2], sys.argv[2:])";

const GET_USERNS: &str = "0xb701";
const GET_PARENT: &str = "0xb702";
const GET_OWNER_UID: &str = "0xb704";
const GET_ID: &str = "0x8008b70d";
/// Makes the PID translation ioctls of Linux 6.11 fail with `ENOTTY`, as on an older kernel.
const BEFORE_6_11: &str = "0x8004b706:25,0x8004b707:25,0x8004b708:25,0x8004b709:25";

const EPERM: u32 = 1;
const EIO: u32 = 5;
const ENOMEM: u32 = 12;
const EMFILE: u32 = 24;
const ENOTTY: u32 = 25;

/// Returns a command prefix that makes the ioctls in `rules` fail.
fn refusing(rules: &str) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", REFUSE, rules]);
    command
}

/// Appends pidns and its arguments to a command prefix, runs the command, and returns the document.
fn document(command: &mut Command, arguments: &[&str]) -> Document {
    Document::read(&stdout(&run(command.args([PIDNS, "-q", "-f", "json"]).args(arguments))))
}

/// Starts a process with a new PID namespace for its children. When the process gets SIGCONT, it
/// starts a `sleep`, the init of that namespace.
fn expecting() -> Running {
    let script = "echo ready; kill -STOP $$; sleep 600 & wait";
    let (running, _) = start_command(Command::new("unshare").args(["-p", "bash", "-c", script]));
    until("the process waits", || status(running.pid(), "State")[0] == "T");
    running
}

/// Runs pidns under `strace`, which delays the system calls in `inject`. During the delay, the
/// first process starts in a nascent namespace. Returns the document and the ID of that namespace.
fn born_while_looking(mut before: Command, inject: &str) -> (Document, String) {
    let mother = expecting();
    let inject = format!("inject={inject}");
    let strace = before.args(["strace", "-f", "-o", "/dev/null", "-e", &inject]);
    let looker = strace.args([PIDNS, "-q", "-f", "json"]).stdin(Stdio::null());
    let looker = looker.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // After one second, pidns is usually waiting in a delayed system call. If pidns is slower, it
    // finds the init without a race, and the test still passes.
    std::thread::sleep(Duration::from_secs(1));
    kill(mother.pid(), Signal::CONT);
    until("the init exists", || !children(mother.pid()).is_empty());
    let output: Output = looker.wait_with_output().unwrap();
    let init = children(mother.pid())[0];
    assert_eq!(nspid(init).last(), Some(&1));
    (Document::read(&stdout(&output)), namespace_of(init))
}

#[test]
fn a_namespace_that_gets_its_init_during_the_scan_is_live() {
    needs!(NamespaceOfItsOwn, Program("strace"));
    // To find out if a namespace ever had an init, pidns calls setns(2) in a thread.
    let (document, id) = born_while_looking(Command::new("env"), "setns:delay_enter=2500000");
    assert_eq!(document.namespace(&id).state, "live");
    assert_eq!(document.diagnostics, []);
}

#[test]
fn a_namespace_that_gets_its_init_after_the_listing_is_live_on_older_kernels() {
    needs!(NamespaceOfItsOwn, Program("strace"), Program("python3"));
    let inject = "getdents64:delay_exit=2500000:when=1";
    let (document, id) = born_while_looking(refusing(BEFORE_6_11), inject);
    assert_eq!(document.namespace(&id).state, "live");
    assert_eq!(document.diagnostic("state-unproved"), None);
}

#[test]
fn an_init_that_executes_from_another_thread_is_live() {
    needs!(NamespaceOfItsOwn, Program("cc"));
    let dir = tempfile::tempdir().unwrap();
    let program = execute_again(dir.path());
    let inits: Vec<_> = (0..3)
        .map(|_| {
            let mut unshare = Command::new("unshare");
            Running::spawn(unshare.args(["-pf", "--kill-child"]).arg(&program))
        })
        .collect();
    until("there are three inits", || inits.iter().all(|it| !children(it.pid()).is_empty()));
    for search in ["processes", "processes,children,fds,mounts"] {
        for _ in 0..500 {
            let document = Document::of(&["--search", search]);
            assert!(document.complete, "{:?}", document.diagnostics);
            for running in &inits {
                let init = children(running.pid())[0];
                assert_eq!(document.home(init).state, "live");
            }
        }
    }
}

/// Returns the time since boot in hundredths of a second, the unit of start times.
fn ticks() -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime = uptime.split_whitespace().next().unwrap().replace('.', "");
    uptime.parse().unwrap()
}

/// Returns the start time of a living init, or `None` for any other process. A terminated init that
/// waits until its members are reaped is in state S as well, but no longer has memory.
fn started(pid: u32) -> Option<u64> {
    let is_init = nspid(pid).last() == Some(&1);
    let lives = !status(pid, "VmSize").is_empty();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok().filter(|_| is_init && lives)
}

/// Returns namespaces that the document wrongly calls dead: each of them has a living init that
/// started before pidns did (at `began`). The inode cannot belong to a newer namespace, because no
/// inode is reused while the init lives.
fn called_dead_wrongly(document: &Document, began: u64) -> Vec<&Namespace> {
    let truth = truth();
    let inits = truth.iter().filter(|(pid, _)| started(**pid).is_some_and(|it| it < began));
    let alive: Vec<_> = inits.map(|(_, (id, _))| id).collect();
    let dead = document.namespaces.iter().filter(|it| it.state == "dead");
    dead.filter(|it| alive.contains(&&it.id)).collect()
}

/// Shell script that creates and ends namespaces all the time. Some are nested, and some have
/// several members.
const STORM: &str = "for i in 1 2 3; do \
         while ((SECONDS < 300)); do unshare -pf --kill-child sleep 0.$RANDOM; done & \
         while ((SECONDS < 300)); do unshare -pf bash -c 'sleep 0.1 & unshare -pf sleep 0.1; :'; done & \
         while ((SECONDS < 300)); do unshare -p bash -c 'sleep 0.0$RANDOM; :'; done & \
     done; echo ready; wait";

/// Returns the number of scans to make. `PIDNS_TEST_SCANS` overrides the default.
fn scans() -> u32 {
    std::env::var("PIDNS_TEST_SCANS").map_or(40, |scans| scans.parse().expect("a number"))
}

/// Scans during a storm, and asserts that no live namespace is called dead.
fn scan_in_a_storm(mut scan: impl FnMut() -> Document) {
    let (mut namespaces, mut dead, mut unknown) = (0, 0, 0);
    // Remember dead namespaces by the 64-bit ID of Linux 6.18, which is never reused.
    let mut ever_dead = BTreeSet::new();
    for _ in 0..scans() {
        let began = ticks();
        let document = scan();
        let wrong = called_dead_wrongly(&document, began);
        assert!(wrong.is_empty(), "{wrong:?}");
        for namespace in &document.namespaces {
            let Some(ns_id) = namespace.ns_id else { continue };
            match namespace.state.as_str() {
                "dead" => _ = ever_dead.insert(ns_id),
                "live" => {
                    assert!(
                        !ever_dead.contains(&ns_id),
                        "it was called dead before: {namespace:?}"
                    );
                }
                _ => {}
            }
        }
        let count = |state| document.namespaces.iter().filter(|it| it.state == state).count();
        namespaces += document.namespaces.len();
        dead += count("dead");
        unknown += count("unknown");
        for namespace in document.namespaces.iter().filter(|it| it.state == "dead") {
            // The kernel removes an init only after all members, so a dead namespace without an
            // init must have no members.
            assert!(namespace.init.is_some() || namespace.members.is_empty(), "{namespace:?}");
        }
    }
    eprintln!("{} scans: {namespaces} namespaces, {dead} dead, {unknown} unknown", scans());
    assert!(
        namespaces > 2 * scans() as usize,
        "too few namespaces were seen, so this test proves nothing"
    );
}

#[test]
fn no_live_namespace_is_called_dead_in_a_storm() {
    needs!(NamespaceOfItsOwn);
    let _storm = start(STORM);
    scan_in_a_storm(|| Document::of(&[]));
}

#[test]
fn no_live_namespace_is_called_dead_in_a_storm_on_older_kernels() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let _storm = start(STORM);
    scan_in_a_storm(|| document(&mut refusing(BEFORE_6_11), &[]));
}

#[test]
fn no_live_namespace_is_called_dead_in_a_storm_in_a_containers_proc() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let (_storm, init) = container(STORM);
    let procfs = format!("/proc/{init}/root/proc");
    let arguments = ["--procfs", &procfs];
    scan_in_a_storm(|| Document::of(&arguments));
    scan_in_a_storm(|| document(&mut refusing(BEFORE_6_11), &arguments));
}

#[test]
fn an_unreadable_parent_is_inferred_or_reported() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let (_running, inits) = nest(2);
    let own = namespace_of(std::process::id());
    let refused = format!("{GET_PARENT}:{EPERM}");
    let inferred = document(&mut refusing(&refused), &[]);
    // pidns can infer the parent of a namespace with processes, because the `NSpid` of the
    // processes shows the level.
    assert_eq!(inferred.roots, std::slice::from_ref(&own));
    for (depth, &init) in inits.iter().enumerate() {
        let namespace = inferred.home(init);
        assert_eq!(
            (namespace.id.as_str(), namespace.level),
            (&*namespace_of(init), Some(depth + 1))
        );
        assert_eq!((namespace.evidence.as_str(), namespace.state.as_str()), ("inferred", "live"));
    }
    assert!(inferred.diagnostic("parents-inferred").is_some());
    assert_eq!(inferred.diagnostic("parent-unreadable"), None);
    // pidns cannot infer the parent of a namespace without processes, because its level is unknown.
    let file = std::fs::File::open(format!("/proc/{}/ns/pid", inits[1])).unwrap();
    kill(inits[1], Signal::KILL);
    until("the inner init has exited", || status(inits[1], "State").is_empty());
    let told = document(&mut refusing(&refused), &[]);
    let unread = told.diagnostic("parent-unreadable").expect("is reported");
    assert_eq!(unread.errno.as_deref(), Some("EPERM"));
    assert!(!told.complete);
    assert_eq!(Document::of(&[]).diagnostic("parent-unreadable"), None);
    drop(file);
}

#[test]
fn a_namespace_with_an_unreadable_parent_is_not_a_root() {
    needs!(Initial("pid"), Program("python3"));
    let (_running, inits) = nest(2);
    let file = std::fs::File::open(format!("/proc/{}/ns/pid", inits[1])).unwrap();
    let id = namespace_of(inits[1]);
    kill(inits[1], Signal::KILL);
    until("the inner init has exited", || status(inits[1], "State").is_empty());
    for errno in [EPERM, EMFILE, ENOTTY] {
        let refused = format!("{GET_PARENT}:{errno}");
        let told = document(&mut refusing(&refused), &[]);
        let namespace = told.namespace(&id);
        assert_eq!((&namespace.parent, &*namespace.state), (&None, "dead"));
        assert_eq!((namespace.level, told.roots.contains(&id)), (None, false));
        assert!(!told.complete && told.diagnostic("parent-unreadable").is_some());
        let mut text = refusing(&refused);
        let text = stdout(&run(text.args([PIDNS, "-q", "--no-fold", "--color", "never"])));
        let line = text.lines().find(|line| line.starts_with(&id)).expect("is at the left");
        assert!(line.ends_with(", parent unknown"), "{line}");
    }
    drop(file);
}

#[test]
fn every_refused_ioctl_has_its_own_diagnostic() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let (_running, inits) = nest(1);
    let told = |rules: &str| document(&mut refusing(rules), &["--search", "processes"]);
    for (code, rule, errno) in [
        ("parent-unreadable", format!("{GET_PARENT}:{EMFILE}"), "EMFILE"),
        ("owner-unreadable", format!("{GET_USERNS}:{ENOMEM}"), "ENOMEM"),
        ("owner-uid-unreadable", format!("{GET_OWNER_UID}:{EPERM}"), "EPERM"),
        ("ns-id-unreadable", format!("{GET_ID}:{EIO}"), "EIO"),
    ] {
        let document = told(&rule);
        let diagnostic =
            document.diagnostic(code).unwrap_or_else(|| panic!("{code} is not reported"));
        assert_eq!(diagnostic.errno.as_deref(), Some(errno));
        assert!(!document.complete);
    }
    let all = [GET_USERNS, GET_OWNER_UID, GET_ID].map(|it| format!("{it}:25")).join(",");
    let old = told(&all);
    let namespace = old.home(inits[0]);
    assert_eq!((&namespace.owner, namespace.ns_id), (&None, None));
    assert_eq!(old.diagnostics, [], "an older kernel causes no diagnostic");
}

#[test]
fn names_an_init_that_does_not_reap_and_counts_its_zombies() {
    needs!(NamespaceOfItsOwn);
    // The children exit after the shell has executed `sleep`, which never reaps them.
    let script = "sleep 1 & sleep 1 & echo ready; exec sleep 600";
    let (running, _) =
        start_command(Command::new("unshare").args(["-pf", "--kill-child", "bash", "-c", script]));
    let init = children(running.pid())[0];
    let is_zombie = |&pid: &u32| status(pid, "State").first().is_some_and(|state| state == "Z");
    until("there are two zombies", || {
        children(init).len() == 2 && children(init).iter().all(is_zombie)
    });
    // In this namespace, the init reaps its children.
    let (_other, inits) = nest(1);
    let document = Document::of(&[]);
    let told = document.diagnostic("init-does-not-reap").expect("is reported");
    assert_eq!(told.pids, [init]);
    let id = namespace_of(init);
    let said = format!("init {init} (sleep) of {id} does not reap its children: 2 zombies; ");
    assert!(told.message.starts_with(&said), "{}", told.message);
    assert!(document.complete, "the view is incomplete");
    assert_eq!(document.home(init).state, "live");
    assert_eq!(document.home(inits[0]).state, "live");
    kill(running.pid(), Signal::KILL);
    until("the namespace is gone", || status(init, "State").is_empty());
    assert_eq!(Document::of(&[]).diagnostic("init-does-not-reap"), None);
}
