//! Tests the advice of `pidns check`: each finding names the process that causes the problem, and
//! the advised commands solve the problem.

mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use common::Need::*;
use common::*;
use rustix::process::Signal;
use serde_json::Value;

/// Python program that traces the process `argv[1]` by ptrace(2) with the options `argv[2]`, and
/// never waits for that process. 0x4206 is `PTRACE_SEIZE`.
const TRACER: &str = "import ctypes, sys, time\n\
     target, options = map(int, sys.argv[1:])\n\
     assert ctypes.CDLL(None).ptrace(0x4206, target, 0, options) == 0\n\
     print('ready', flush=True)\n\
     time.sleep(600)";

/// Python program that traces the process `argv[1]` in a thread that is not the leader.
const TRACER_THREAD: &str = "import ctypes, sys, threading, time\n\
     def trace():\n    \
         assert ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), 0, 0) == 0\n    \
         print('ready', flush=True)\n    \
         time.sleep(600)\n\
     threading.Thread(target=trace).start()";

/// The option `PTRACE_O_TRACEEXIT`, which stops a traced process when it begins to exit.
const STOP_AT_EXIT: u32 = 0x40;

fn trace(target: u32, options: u32) -> Running {
    let arguments = [target.to_string(), options.to_string()];
    start_command(Command::new("python3").args(["-c", TRACER]).args(arguments)).0
}

/// A finding in the report of `pidns check`.
#[derive(Debug)]
struct Found {
    code: String,
    message: String,
    advice: Vec<String>,
    enter: String,
}

/// Runs `pidns check`, and returns the findings about a process (PID) or a namespace (ID).
fn findings(subject: &str) -> Vec<Found> {
    findings_of(&[], subject)
}

/// Runs `pidns check` with these arguments, and returns the findings about a process (PID) or a
/// namespace (ID).
fn findings_of(arguments: &[&str], subject: &str) -> Vec<Found> {
    let output = pidns(&[&["check", "-q", "-f", "json"], arguments].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let about = |it: &&Value| {
        it["pid"].as_u64().is_some_and(|pid| pid.to_string() == subject)
            || it["namespace_id"] == subject
    };
    let found = report["findings"].as_array().unwrap().iter().filter(about).map(|it| Found {
        code: text(&it["code"]),
        message: text(&it["message"]),
        advice: it["advice"].as_array().unwrap().iter().map(text).collect(),
        enter: text(&it["enter"]),
    });
    found.collect()
}

/// Returns the finding with this code about a process or namespace.
fn finding(subject: &str, code: &str) -> Found {
    with_code(code, findings(subject))
}

/// Returns the advice in the finding with this code about a process or namespace that is new since
/// the saved document.
fn advice_since(before: &Path, subject: &str, code: &str) -> Vec<String> {
    with_code(code, findings_of(&["--since", before.to_str().unwrap()], subject)).advice
}

fn with_code(code: &str, mut found: Vec<Found>) -> Found {
    let index = found.iter().position(|it| it.code == code);
    found.swap_remove(index.unwrap_or_else(|| panic!("no {code} in {found:?}")))
}

/// Runs each advised command in a shell.
fn follow(advice: &[String]) {
    assert!(!advice.is_empty());
    for command in advice {
        // A mount is busy while a scan by another test has a namespace open through it.
        until(command, || run(Command::new("bash").args(["-c", command])).status.success());
    }
}

/// Pastes a command that starts a shell, and types a command into that shell.
fn paste(line: &str, command: &str) -> String {
    let script = format!("echo '{command}' | {{ {line}\n}}");
    stdout(&run(Command::new("bash").args(["-c", &script]))).trim_end().to_owned()
}

#[test]
fn pidns_with_a_pid_ends_with_the_command_that_enters_its_namespace() {
    needs!(Namespaces);
    let (_container, contained) = container(&format!("{SLEEP} echo ready; wait"));
    let (_nest, inits) = nest(2);
    // A user namespace without a root user.
    let mut command = Command::new("unshare");
    let command = command.args(["-Upf", "--kill-child", "bash", "-c", "echo ready; sleep 600; :"]);
    let (unmapped, _) = start_command(command);
    let unmapped = children(unmapped.pid())[0];
    for (pid, options) in [
        (contained, "-a"),
        (sleep_of(contained), "-a"),
        (sleep_of(inits[1]), "-a"),
        (unmapped, "-a --preserve-credentials"),
    ] {
        for arguments in [&["-q"][..], &["-q", "--tree"]] {
            let text = stdout(&pidns(&[arguments, &[&pid.to_string()]].concat()));
            let line = text.lines().last().expect("a line");
            let namespace = namespace_of(pid);
            assert_eq!(line, guarded(pid, "pid", &format!("nsenter -t {pid} {options} sh")));
            assert_eq!(paste(line, "readlink /proc/self/ns/pid"), namespace);
        }
        // In a saved document, the PIDs may be those of other processes by now.
        let dir = tempfile::tempdir().unwrap();
        let saved = dir.path().join("saved");
        let words = [pid.to_string()];
        fs::write(&saved, stdout(&pidns(&["-q", "-f", "json", &words[0]]))).unwrap();
        let text = stdout(&pidns(&["-q", "-i", saved.to_str().unwrap(), &words[0]]));
        assert!(!text.contains("nsenter -t"), "{text}");
    }
    // The namespace of the reader needs no entering.
    let own = stdout(&pidns(&["-q", &std::process::id().to_string()]));
    assert!(!own.contains("nsenter -t"), "{own}");
}

/// Returns a command that first checks if a process is still in its present namespace.
fn guarded(pid: u32, kind: &str, command: &str) -> String {
    let path = format!("/proc/{pid}/ns/{kind}");
    format!("[ \"$(readlink {path})\" = '{}' ] && {command}", link(&path).unwrap())
}

/// Returns the advice about a process of root that does not reap its child or tracee, which also
/// belongs to root. Another user could have started the child.
fn end_carefully(pid: u32, child: u32) -> String {
    format!("end {pid} only if user root does not need it: another user may have started {child}")
}

/// Returns the advice about a process of `user` that keeps a namespace only because its children
/// would start there.
fn end_if_idle(pid: u32, user: &str) -> String {
    format!("end {pid} only if user {user} does not need it: it may also do other work")
}

/// Saves a document about this host in a directory.
fn save(dir: &tempfile::TempDir) -> PathBuf {
    let path = dir.path().join("before");
    fs::write(&path, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    path
}

fn is_gone(pid: u32) -> bool {
    status(pid, "State").is_empty()
}

fn state(pid: u32) -> String {
    status(pid, "State").first().cloned().unwrap_or_default()
}

/// Scans with each collector that works on this kernel, and returns the documents.
fn documents() -> Vec<Document> {
    let works = pidns(&["--collector", "bpf", "--search", "processes"]).status.success();
    let collectors: &[&str] = if works { &["proc", "bpf"] } else { &["proc"] };
    collectors.iter().map(|collector| Document::of(&["--collector", collector])).collect()
}

/// Returns the only entry of `blocked_by` in the namespace of an init: the PID of the blocking
/// process, the reason, and the PID of the process that must reap it.
fn blocker(document: &Document, init: u32) -> (u32, String, Option<u32>) {
    let [blocker] = &document.home(init).blocked_by[..] else {
        panic!("{:?}", document.home(init))
    };
    (blocker.pid, blocker.reason.clone(), blocker.reaper)
}

#[test]
fn a_traced_zombie_waits_for_its_tracer() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let (running, inits) = nest(1);
    let (init, member) = (inits[0], sleep_of(inits[0]));
    let tracer = trace(member, 0);
    kill(member, Signal::KILL);
    until("the member is a zombie", || state(member) == "Z");
    for document in documents() {
        assert_eq!(document.process(member).tracer, Some(tracer.pid()));
        assert_eq!(document.diagnostic("init-does-not-reap"), None);
    }
    let zombie = finding(&member.to_string(), "zombie");
    assert_eq!(zombie.advice, [end_carefully(tracer.pid(), member)]);
    let said = format!("{} python3 does not reap {member}", tracer.pid());
    assert!(zombie.message.starts_with(&said), "{}", zombie.message);
    assert!(zombie.message.ends_with(", which it traces"), "{}", zombie.message);
    let text = stdout(&pidns(&["-q"]));
    assert!(text.contains(&format!("zombie traced by {} python3\n", tracer.pid())), "{text}");

    kill(init, Signal::KILL);
    until("the init has exited", || status(init, "VmSize").is_empty());
    for document in documents() {
        let expected = (member, "zombie".to_owned(), Some(tracer.pid()));
        assert_eq!(blocker(&document, init), expected);
        let diagnostic = document.diagnostic("init-blocked").expect("is reported");
        assert_eq!(diagnostic.pids, [tracer.pid()]);
        let said = format!("a zombie that its tracer {} (python3) does not reap", tracer.pid());
        assert!(diagnostic.message.contains(&said), "{}", diagnostic.message);
    }
    let end = end_carefully(tracer.pid(), member);
    let dead = finding(&namespace_of(init), "dead-namespace").advice;
    // `unshare` also keeps the namespace alive, through its `pid_for_children`.
    assert_eq!(dead, [end.clone(), end_if_idle(running.pid(), "root")]);
    let blocked = finding(&namespace_of(init), "blocked-init").advice;
    assert_eq!(blocked, [end]);
    kill(tracer.pid(), Signal::TERM);
    until("the init is gone", || is_gone(init));
}

#[test]
fn a_tracer_is_a_process_even_if_another_thread_traces() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let (_running, inits) = nest(1);
    let (init, member) = (inits[0], sleep_of(inits[0]));
    let arguments = ["-c", TRACER_THREAD, &member.to_string()];
    let (tracer, _) = start_command(Command::new("python3").args(arguments));
    kill(member, Signal::KILL);
    until("the member is a zombie", || state(member) == "Z");
    assert_ne!(status(member, "TracerPid"), [tracer.pid().to_string()], "it is a TID");
    kill(init, Signal::KILL);
    until("the init has exited", || status(init, "VmSize").is_empty());
    for document in documents() {
        assert_eq!(document.process(member).tracer, Some(tracer.pid()));
        let expected = (member, "zombie".to_owned(), Some(tracer.pid()));
        assert_eq!(blocker(&document, init), expected);
    }
    let blocked = finding(&namespace_of(init), "blocked-init").advice;
    assert_eq!(blocked, [end_carefully(tracer.pid(), member)]);
    kill(tracer.pid(), Signal::TERM);
    until("the init is gone", || is_gone(init));
}

#[test]
fn a_tracer_that_stops_an_exit_blocks_the_namespace() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let (_running, inits) = nest(1);
    let (init, member) = (inits[0], sleep_of(inits[0]));
    let tracer = trace(member, STOP_AT_EXIT);
    kill(init, Signal::KILL);
    until("the member is in its exit stop", || state(member) == "t");
    until("the init has exited", || status(init, "VmSize").is_empty());
    for document in documents() {
        let expected = (member, "traced".to_owned(), Some(tracer.pid()));
        assert_eq!(blocker(&document, init), expected);
    }
    let text = stdout(&pidns(&["-q"]));
    let said =
        format!("stuck until {} python3, its tracer, lets {member} sleep exit", tracer.pid());
    assert!(text.contains(&said), "{text}");
    let advice = finding(&namespace_of(init), "blocked-init").advice;
    assert_eq!(advice, [end_carefully(tracer.pid(), member)]);
    kill(tracer.pid(), Signal::TERM);
    until("the init is gone", || is_gone(init));
}

#[test]
fn the_advice_continues_a_stopped_init() {
    needs!(NamespaceOfItsOwn);
    let (_running, inits) = nest(1);
    let (init, member) = (inits[0], sleep_of(inits[0]));
    stop(init);
    kill(member, Signal::KILL);
    until("the member is a zombie", || state(member) == "Z");
    assert_eq!(Document::of(&[]).diagnostic("init-does-not-reap"), None);
    let found = findings(&init.to_string());
    assert_eq!(found.iter().map(|it| &*it.code).collect::<Vec<_>>(), ["stopped-init"]);
    assert_eq!(found[0].advice, [format!("kill -CONT {init}")]);
    let zombie = finding(&member.to_string(), "zombie");
    let said = format!("{init} bash is stopped and does not reap its child {member}");
    assert!(zombie.message.starts_with(&said), "{}", zombie.message);
    assert_eq!(zombie.advice, [format!("kill -CONT {init}")]);
    for it in [&found[0], &zombie] {
        let enter = guarded(init, "pid", &format!("nsenter -t {init} -a sh"));
        assert_eq!(it.enter, enter, "a zombie cannot be entered");
    }
    follow(&zombie.advice);
    until("the zombie is reaped", || is_gone(member));
}

#[test]
fn an_init_stopped_by_its_tracer_needs_the_tracer() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let (_running, inits) = nest(1);
    let tracer = trace(inits[0], 0);
    // A traced process stops when it gets a signal, and only its tracer can continue it.
    kill(inits[0], Signal::USR1);
    until("the init is stopped", || state(inits[0]) == "t");
    let found = finding(&inits[0].to_string(), "stopped-init");
    let said = format!("stopped by its tracer {} python3", tracer.pid());
    assert!(found.message.ends_with(&said), "{}", found.message);
    assert_eq!(found.advice, [end_carefully(tracer.pid(), inits[0])]);
    kill(tracer.pid(), Signal::TERM);
    until("the init goes on", || state(inits[0]) == "S");
}

/// Python program whose leader thread exits while another thread runs, and that never reaps a child.
const EXITED_LEADER: &str = "import ctypes, os, platform, threading, time\n\
     threading.Thread(target=time.sleep, args=(600,)).start()\n\
     if os.fork() == 0: os._exit(0)\n\
     print('ready', flush=True)\n\
     ctypes.CDLL(None).syscall(93 if platform.machine() == 'aarch64' else 60, 0)";

#[test]
fn the_advice_continues_a_stopped_init_whose_leader_has_exited() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let arguments = ["-pf", "--kill-child", "python3", "-c", EXITED_LEADER];
    let (running, _) = start_command(Command::new("unshare").args(arguments));
    let init = children(running.pid())[0];
    until("the leader has exited", || state(init) == "Z");
    let text = stdout(&pidns(&["-q"]));
    assert!(text.contains("python3, leader thread exited\n"), "{text}");
    let zombie = children_of_threads(init)[0];
    kill(init, Signal::STOP);
    let is_stopped = |entry: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(entry.unwrap().path().join("status")).unwrap_or_default();
        text.contains("State:\tT")
    };
    until("the thread is stopped", || {
        fs::read_dir(format!("/proc/{init}/task")).unwrap().any(is_stopped)
    });
    assert_eq!(Document::of(&[]).diagnostic("init-does-not-reap"), None);
    let zombie = finding(&zombie.to_string(), "zombie");
    assert!(zombie.message.contains("python3 is stopped and does not reap"), "{}", zombie.message);
    assert_eq!(zombie.advice, [format!("kill -CONT {init}")]);
    let stopped = finding(&init.to_string(), "stopped-init");
    assert!(stopped.message.ends_with(" is an init and is stopped"), "{}", stopped.message);
    assert_eq!(stopped.advice, zombie.advice);
    let watch = ["watch", "-q", "--until", "stopped-init", "--interval", "0.1", "--for", "60"];
    assert!(pidns(&watch).status.success());
    follow(&stopped.advice);
    let accused = || Document::of(&[]).diagnostic("init-does-not-reap").is_some();
    until("the init does not reap although it runs", accused);
    let codes = findings(&init.to_string()).into_iter().map(|it| it.code).collect::<Vec<_>>();
    assert_eq!(codes, ["init-does-not-reap"]);
}

#[test]
fn the_advice_ends_the_tracer_of_a_stopped_init_whose_leader_has_exited() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let arguments = ["-pf", "--kill-child", "python3", "-c", EXITED_LEADER];
    let (running, _) = start_command(Command::new("unshare").args(arguments));
    let init = children(running.pid())[0];
    until("the leader has exited", || state(init) == "Z");
    let thread = fs::read_dir(format!("/proc/{init}/task")).unwrap();
    let thread = thread.filter_map(|it| it.unwrap().file_name().to_str()?.parse().ok());
    let thread = thread.max().unwrap();
    let tracer = trace(thread, 0);
    // The kernel drops a signal to the leader of an init, which is not traced.
    kill(thread, Signal::USR1);
    until("the thread is stopped", || state(thread) == "t");
    let stopped = finding(&init.to_string(), "stopped-init");
    let said = format!(" is an init and is stopped by its tracer {} python3", tracer.pid());
    assert!(stopped.message.ends_with(&said), "{}", stopped.message);
    assert_eq!(stopped.advice, [end_carefully(tracer.pid(), init)]);
    let zombie = finding(&children_of_threads(init)[0].to_string(), "zombie");
    assert_eq!(zombie.advice, stopped.advice);
    kill(tracer.pid(), Signal::TERM);
    until("the thread goes on", || state(thread) == "S");
    assert!(!findings(&init.to_string()).iter().any(|it| it.code == "stopped-init"));
}

/// Returns the children of a process whose leader thread has exited: the kernel has given them to
/// another thread.
fn children_of_threads(pid: u32) -> Vec<u32> {
    let lists = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let text = lists.map(|it| fs::read_to_string(it.unwrap().path().join("children")).unwrap());
    text.collect::<String>().split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn an_init_with_a_running_thread_is_not_stopped() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let (_running, init, _member, _) = with_two_threads();
    let arguments = ["-pf", "--kill-child", "python3", "-c", THREADS];
    let running = Running::spawn(Command::new("unshare").args(arguments));
    let mut threaded = 0;
    until("the init has two threads", || {
        threaded = children(running.pid()).first().copied().unwrap_or_default();
        status(threaded, "Threads") == ["2"] && comm(threaded) == "python3"
    });
    for (pid, expected) in [(threaded, &[][..]), (init, &["stopped-init"])] {
        let _tracer = trace(pid, 0);
        kill(pid, Signal::USR1);
        until("the leader is stopped", || state(pid) == "t");
        let found = findings(&pid.to_string());
        assert_eq!(found.iter().map(|it| &*it.code).collect::<Vec<_>>(), expected);
    }
}

/// A cgroup whose processes can be frozen. On drop, the cgroup is thawed and removed.
struct Freezer {
    mount: tempfile::TempDir,
    dir: PathBuf,
    is_v2: bool,
}

/// Number of cgroups that the tests have made.
static FREEZERS: AtomicU32 = AtomicU32::new(0);

impl Freezer {
    fn new(is_v2: bool) -> Self {
        let count = FREEZERS.fetch_add(1, Ordering::Relaxed);
        Self::named(is_v2, format!("pidns-test-{}-{count}", std::process::id()))
    }

    fn named(is_v2: bool, name: impl AsRef<Path>) -> Self {
        let mount = tempfile::tempdir().unwrap();
        let kind: &[&str] =
            if is_v2 { &["-t", "cgroup2"] } else { &["-t", "cgroup", "-o", "freezer"] };
        let mounted = run(Command::new("mount").args(kind).arg("none").arg(mount.path()));
        assert!(mounted.status.success(), "{mounted:?}");
        let dir = mount.path().join(name);
        fs::create_dir(&dir).unwrap();
        Self { mount, dir, is_v2 }
    }

    /// Moves a task to this cgroup, and freezes the cgroup.
    fn freeze(&self, task: u32) {
        let (tasks, file, value) = if self.is_v2 {
            ("cgroup.procs", "cgroup.freeze", "1")
        } else {
            ("tasks", "freezer.state", "FROZEN")
        };
        fs::write(self.dir.join(tasks), task.to_string()).unwrap();
        fs::write(self.dir.join(file), value).unwrap();
        let is_frozen = || {
            let read = |file| fs::read_to_string(self.dir.join(file)).unwrap_or_default();
            read("cgroup.events").contains("frozen 1") || read("freezer.state") == "FROZEN\n"
        };
        until("the cgroup is frozen", is_frozen);
    }

    /// Returns the beginning and the end of the command that thaws this cgroup. The text in between
    /// is a mount point of the cgroup hierarchy, which may have several mount points.
    fn thaw(&self) -> (&'static str, String) {
        let name = self.dir.file_name().unwrap().to_str().unwrap();
        let (command, file) = if self.is_v2 {
            ("echo 0 > ", "cgroup.freeze")
        } else {
            ("echo THAWED > ", "freezer.state")
        };
        (command, format!("/{name}/{file}"))
    }

    fn is_thawed_by(&self, advice: &[String]) {
        let (start, end) = self.thaw();
        let [command] = advice else { panic!("{advice:?}") };
        assert!(command.starts_with(start) && command.ends_with(&end), "{command}");
        follow(advice);
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let (value, file) =
            if self.is_v2 { ("0", "cgroup.freeze") } else { ("THAWED", "freezer.state") };
        let _ = fs::write(self.dir.join(file), value);
        let root = if self.is_v2 { "cgroup.procs" } else { "tasks" };
        for task in fs::read_to_string(self.dir.join(root)).unwrap_or_default().lines() {
            let _ = fs::write(self.mount.path().join(root), task);
        }
        for _ in 0..100 {
            if fs::remove_dir(&self.dir).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = Command::new("umount").arg(self.mount.path()).status();
    }
}

#[test]
fn the_advice_thaws_a_frozen_init() {
    needs!(Initial("cgroup"));
    for is_v2 in [true, false] {
        let (_running, inits) = nest(1);
        let (init, member) = (inits[0], sleep_of(inits[0]));
        let freezer = Freezer::new(is_v2);
        freezer.freeze(init);
        kill(member, Signal::KILL);
        until("the member is a zombie", || state(member) == "Z");
        let document = Document::of(&[]);
        let accused = document.diagnostic("init-does-not-reap");
        assert!(accused.is_none_or(|it| !it.pids.contains(&init)), "{accused:?}");
        let zombie = finding(&member.to_string(), "zombie");
        let said = format!("{init} bash is frozen and does not reap its child {member}");
        assert!(zombie.message.starts_with(&said), "{}", zombie.message);
        freezer.is_thawed_by(&zombie.advice);
        until("the zombie is reaped", || is_gone(member));
    }
}

#[test]
fn the_advice_thaws_a_cgroup_whose_name_is_not_text() {
    needs!(Initial("cgroup"));
    let name = [&b"pidns-test-\xff"[..], std::process::id().to_string().as_bytes()].concat();
    for is_v2 in [true, false] {
        let (_running, inits) = nest(1);
        let (init, member) = (inits[0], sleep_of(inits[0]));
        let freezer = Freezer::named(is_v2, std::ffi::OsStr::from_bytes(&name));
        freezer.freeze(init);
        kill(member, Signal::KILL);
        until("the member is a zombie", || state(member) == "Z");
        let zombie = finding(&member.to_string(), "zombie");
        assert!(zombie.message.contains(" is frozen and does not reap "), "{}", zombie.message);
        follow(&zombie.advice);
        until("the zombie is reaped", || is_gone(member));
    }
}

/// Python program that starts a second thread. Both threads wait for a pipe, because the freezer
/// wakes them from this wait. It does not wake a thread from nanosleep(2).
const THREADS: &str = "import os, threading\n\
     pipe, _ = os.pipe()\n\
     threading.Thread(target=os.read, args=(pipe, 1)).start()\n\
     os.read(pipe, 1)";

/// Starts a namespace whose init has a child with two threads. Returns the PIDs of the init and
/// the child, and the TID of the second thread.
fn with_two_threads() -> (Running, u32, u32, u32) {
    let mut command = Command::new("unshare");
    let script = "python3 -c \"$0\" & echo ready; wait";
    let (running, _) =
        start_command(command.args(["-pf", "--kill-child", "bash", "-c", script, THREADS]));
    let init = children(running.pid())[0];
    let mut tids = Vec::new();
    until("there are two threads", || {
        let Some(&member) = children(init).first() else { return false };
        let tasks = fs::read_dir(format!("/proc/{member}/task")).into_iter().flatten();
        let tid =
            |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
        tids = tasks.filter_map(tid).collect::<Vec<u32>>();
        tids.sort_unstable();
        tids.len() == 2 && comm(member) == "python3"
    });
    (running, init, tids[0], tids[1])
}

#[test]
fn a_stuck_thread_is_found_and_blocks_its_namespace() {
    needs!(Initial("cgroup"), Program("python3"));
    let (_running, init, member, thread) = with_two_threads();
    let dir = tempfile::tempdir().unwrap();
    let before = dir.path().join("before");
    fs::write(&before, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let freezer = Freezer::new(false);
    freezer.freeze(thread);
    // The process is older than the snapshot, which does not show if the thread was stuck.
    let verdicts = |more: &[&str]| {
        let since = ["check", "-q", "-f", "json", "--deny", "uninterruptible", "--since"];
        let output = pidns(&[&since[..], &[before.to_str().unwrap()], more].concat());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let of_it = report["findings"].as_array().unwrap().iter();
        let of_it = of_it.filter(|it| it["code"] == "uninterruptible" && it["pid"] == member);
        of_it.map(|it| it["verdict"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(verdicts(&[]), ["warn"]);
    assert_eq!(verdicts(&["--all"]), ["deny"]);
    let document = Document::of(&["--search", "threads"]);
    let diagnostic = document.diagnostic("thread-uninterruptible").expect("is reported");
    assert!(diagnostic.pids.contains(&member), "{diagnostic:?}");
    assert_ne!(document.process(member).state, "D");
    let found = finding(&member.to_string(), "uninterruptible");
    let said = format!(": its thread {thread} is in uninterruptible sleep");
    assert!(found.message.ends_with(&said), "{}", found.message);

    kill(init, Signal::KILL);
    until("the leader has exited", || state(member) == "Z");
    until("the init has exited", || status(init, "VmSize").is_empty());
    for document in documents() {
        assert_eq!(blocker(&document, init), (member, "uninterruptible".to_owned(), None));
    }
    let advice = finding(&namespace_of(init), "blocked-init").advice;
    freezer.is_thawed_by(&advice);
    until("the init is gone", || is_gone(init));
}

#[test]
fn a_task_that_runs_between_two_uninterruptible_sleeps_is_not_reported() {
    needs!(Initial("cgroup"), Program("python3"));
    let (_running, _, member, thread) = with_two_threads();
    let python = Running::spawn(Command::new("python3").args(["-c", THREADS]));
    let freezer = Freezer::new(false);
    freezer.freeze(thread);
    freezer.freeze(python.pid());
    let is_reported =
        |pid: u32| findings(&pid.to_string()).iter().any(|found| found.code == "uninterruptible");
    let is_noted = || {
        let document = Document::of(&["--search", "threads"]);
        document.diagnostic("thread-uninterruptible").is_some_and(|it| it.pids.contains(&member))
    };
    assert!(is_reported(member) && is_reported(python.pid()) && is_noted());
    let is_over = AtomicBool::new(false);
    let reports = std::thread::scope(|scope| {
        // Both tasks sleep uninterruptibly almost all the time.
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for value in ["THAWED", "FROZEN"] {
                    fs::write(freezer.dir.join("freezer.state"), value).unwrap();
                    std::thread::sleep(Duration::from_millis(if value == "FROZEN" {
                        20
                    } else {
                        1
                    }));
                }
            }
        });
        let reports = (0..8)
            .map(|_| [is_reported(member), is_reported(python.pid()), is_noted()])
            .fold([0; 3], |sum, next| [0, 1, 2].map(|it| sum[it] + u32::from(next[it])));
        is_over.store(true, Ordering::Relaxed);
        reports
    });
    // On a busy host, a process can sleep longer than it asked for.
    assert!(reports.iter().all(|&count| count <= 2), "{reports:?}");
}

#[test]
fn the_advice_shows_where_a_process_waits() {
    needs!(Initial("cgroup"), Program("python3"));
    // pidns cannot advise how to thaw a cgroup whose hierarchy is not mounted.
    let script = format!("umount -a -t cgroup; exec {PIDNS} check -q -f json");
    let advice = |pid: u32| -> Vec<String> {
        let output = run(Command::new("unshare").args(["-m", "sh", "-c", &script]));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap().iter();
        let of_pid = findings.filter(|it| it["code"] == "uninterruptible" && it["pid"] == pid);
        let advice = of_pid.flat_map(|it| it["advice"].as_array().unwrap());
        advice.map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let shows_freezer = |command: &str, file: &str| {
        assert!(command.starts_with(&format!("cat /proc/{file} # ")), "{command}");
        let output = run(Command::new("bash").args(["-c", command]));
        let stack = stdout(&output);
        assert!(stack.contains("refrigerator") || stack.contains("[<0>] "), "{stack}");
    };
    let (_running, init, member, thread) = with_two_threads();
    let sleep = Running::spawn(Command::new("sleep").arg("600"));
    // Dropped before the processes, which end only after it has thawed them.
    let freezer = Freezer::new(false);
    freezer.freeze(thread);
    let [command] = &advice(member)[..] else { panic!("one command") };
    shows_freezer(command, &format!("{member}/task/{thread}/stack"));
    freezer.freeze(sleep.pid());
    let [command] = &advice(sleep.pid())[..] else { panic!("one command") };
    shows_freezer(command, &format!("{}/stack", sleep.pid()));
    // The leader exits, and its thread is still frozen.
    kill(init, Signal::KILL);
    until("the leader has exited", || state(member) == "Z");
    let output = run(Command::new("unshare").args(["-m", "sh", "-c", &script]));
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.contains(&format!("cat /proc/{member}/task/{thread}/stack # ")), "{report}");
}

#[test]
fn no_advice_kills_a_process_that_sigkill_does_not_end() {
    needs!(Initial("cgroup"));
    let dir = tempfile::tempdir().unwrap();
    let before = save(&dir);
    let sleep = Running::spawn(Command::new("sleep").arg("600"));
    let pid = sleep.pid();
    let freezer = Freezer::new(false);
    freezer.freeze(pid);
    // pidns cannot see that the process is frozen, only that it is in uninterruptible sleep.
    let script =
        format!("umount -a -t cgroup; exec {PIDNS} check -q -f json --since {}", before.display());
    let assert_shows_where_it_waits = || {
        let output = run(Command::new("unshare").args(["-m", "sh", "-c", &script]));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let found: Vec<_> = findings.iter().filter(|it| it["pid"] == pid).collect();
        let codes: Vec<_> = found.iter().map(|it| it["code"].as_str().unwrap()).collect();
        assert_eq!(codes, ["leftover-process", "uninterruptible"]);
        let shows = format!("cat /proc/{pid}/stack # the kernel function that it waits in");
        for finding in found {
            assert_eq!(finding["advice"], serde_json::json!([shows]));
        }
    };
    assert_shows_where_it_waits();
    kill(pid, Signal::KILL);
    assert_shows_where_it_waits();
    // Thawing ends this sleep.
    let advice = advice_since(&before, &pid.to_string(), "leftover-process");
    let [thaw, kill] = &advice[..] else { panic!("{advice:?}") };
    freezer.is_thawed_by(std::slice::from_ref(thaw));
    assert_eq!(*kill, format!("kill {pid}"));
    until("the process has ended", || state(pid) == "Z");
}

#[test]
fn an_init_that_reaps_leaves_no_zombies() {
    needs!(NamespaceOfItsOwn, Program("tini"));
    // Starts an init, and an orphan that exits after a second.
    let start = |init: &[&str]| {
        let script = "(sleep 1 &); echo ready; exec sleep 600";
        let mut command = Command::new("unshare");
        command.args(["-pf", "--kill-child"]).args(init).args(["bash", "-c", script]);
        let (running, _) = start_command(&mut command);
        let init = children(running.pid())[0];
        (running, init)
    };
    let (_running, init) = start(&[]);
    until("the orphan is a zombie", || children(init).iter().any(|&it| state(it) == "Z"));
    let advice = finding(&init.to_string(), "init-does-not-reap").advice;
    assert_eq!(advice, ["use an init that reaps its children, such as docker run --init"]);
    // `docker run --init` runs tini.
    let (_running, init) = start(&["tini", "--"]);
    until("the orphan is reaped", || children(init).len() == 1);
    assert!(findings(&init.to_string()).is_empty());
}

/// Python program that has a zombie child, and starts another child with vfork(2). That child opens
/// the FIFO `argv[1]` before it executes a program, so the parent sleeps until there is a writer.
const IN_VFORK: &str = "import os, sys\n\
     if os.fork() == 0: os._exit(0)\n\
     print('ready', flush=True)\n\
     os.posix_spawn('/bin/true', ['true'], {},\n    \
         file_actions=[(os.POSIX_SPAWN_OPEN, 9, sys.argv[1], os.O_RDONLY, 0)])\n\
     while True: os.wait()";

#[test]
fn the_advice_shows_what_an_init_that_cannot_reap_waits_for() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo").to_str().unwrap().to_owned();
    stdout(&run(Command::new("mkfifo").arg(&fifo)));
    let mut command = Command::new("unshare");
    let command = command.args(["-pf", "--kill-child", "python3", "-c", IN_VFORK, &fifo]);
    let (parent, _) = start_command(command);
    let init = children(parent.pid())[0];
    until("the init is in vfork", || state(init) == "D");
    let is_zombie = |pid: &u32| state(*pid) == "Z";
    until("a child is a zombie", || children(init).iter().any(is_zombie));
    let zombie = children(init).into_iter().find(is_zombie).unwrap();
    for document in documents() {
        assert_eq!(document.diagnostic("init-does-not-reap"), None);
    }
    assert!(findings(&init.to_string()).is_empty());
    let found = finding(&zombie.to_string(), "zombie");
    let said = format!("{init} python3 is in uninterruptible sleep and does not reap its child");
    assert!(found.message.starts_with(&said), "{}", found.message);
    let shows = format!("cat /proc/{init}/stack # the kernel function that it waits in");
    assert_eq!(found.advice, [shows]);
    follow(&found.advice);
    fs::write(&fifo, "").unwrap();
    until("the zombie is reaped", || is_gone(zombie));
}

#[test]
fn a_killable_sleep_is_not_uninterruptible() {
    needs!(HostRoot, NamespaceOfItsOwn, Program("cc"));
    let dir = tempfile::tempdir().unwrap();
    let program = compile(dir.path(), "sleep-killably");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let reasons = ["vfork", "exec", "userfaultfd", "fanotify", "seccomp"];
    let (parents, sleepers): (Vec<_>, Vec<_>) = reasons
        .map(|reason| {
            let (parent, pids) = start_command(Command::new(&program).arg(reason).arg(&file));
            (parent, pids["child"])
        })
        .into_iter()
        .unzip();
    let threads = |pid| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let sleeps = |pid: u32| {
        let tids = threads(pid).filter_map(|it| it.file_name().to_str()?.parse().ok());
        tids.into_iter().any(|tid: u32| state(tid) == "D")
    };
    for (&pid, reason) in sleepers.iter().zip(reasons) {
        until(&format!("{reason} sleeps"), || sleeps(pid));
        let found = findings(&pid.to_string());
        assert!(!found.iter().any(|it| it.code == "uninterruptible"), "{reason}: {found:?}");
    }
    let document = Document::of(&["--search", "threads"]);
    let stuck = document.diagnostic("thread-uninterruptible");
    let is_sleeper = |pid: &u32| sleepers.contains(pid);
    assert!(!stuck.is_some_and(|it| it.pids.iter().any(is_sleeper)), "{stuck:?}");
    for (&pid, reason) in sleepers.iter().zip(reasons) {
        assert!(sleeps(pid), "{reason}");
        kill(pid, Signal::KILL);
        until(&format!("SIGKILL has ended {reason}"), || !sleeps(pid));
    }
    drop(parents);
}

/// Starts a namespace, bind-mounts it at `path`, and kills its processes. Returns its ID.
fn mount_dead_namespace(path: &Path) -> String {
    let (running, inits) = nest(1);
    fs::write(path, "").unwrap();
    bind(inits[0], path);
    let id = namespace_of(inits[0]);
    drop(running);
    until("the init is gone", || is_gone(inits[0]));
    id
}

#[test]
fn the_advice_unmounts_in_each_mount_namespace() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a b");
    let id = mount_dead_namespace(&path);
    let here = format!("umount '{}'", path.display());
    assert_eq!(finding(&id, "dead-namespace").advice, std::slice::from_ref(&here));
    // A new mount namespace contains a copy of the mount, which must be unmounted as well.
    let script = "echo ready; exec sleep 600";
    let (other, _) = start_command(&mut in_mount_namespace(script, &[]));
    let there = format!("umount -i -n -N {} '{}'", other.pid(), path.display());
    let there = guarded(other.pid(), "mnt", &there);
    let mut advice = finding(&id, "dead-namespace").advice;
    advice.sort_unstable();
    assert_eq!(advice, [there.clone(), here.clone()]);
    follow(&[here]);
    let advice = finding(&id, "dead-namespace").advice;
    assert_eq!(advice, [there]);
    // If the PID belongs to a process in another mount namespace, the command does nothing there.
    let own = Running::spawn(Command::new("sleep").arg("600"));
    let [theirs, here] = [other.pid(), own.pid()].map(|pid| pid.to_string());
    fs::write(dir.path().join("kept"), "").unwrap();
    let kept = dir.path().join("kept").display().to_string();
    stdout(&run(Command::new("mount").args(["--bind", &kept, &kept])));
    let reused = advice[0].replace(&theirs, &here).replace(&path.display().to_string(), &kept);
    assert!(!run(Command::new("bash").args(["-c", &reused])).status.success());
    stdout(&run(Command::new("umount").arg(&kept)));
    follow(&advice);
    assert!(Document::of(&[]).find_namespace(&id).is_none());
}

/// Bind-mounts the PID namespace of a process at `path`.
fn bind(init: u32, path: &Path) {
    let namespace = format!("/proc/{init}/ns/pid");
    stdout(&run(Command::new("mount").args(["--bind", &namespace]).arg(path)));
}

/// Returns the inode of the mount namespace of a process.
fn mount_namespace_inode(pid: u32) -> String {
    let link = link(format!("/proc/{pid}/ns/mnt")).unwrap();
    link.trim_start_matches("mnt:[").trim_end_matches(']').to_owned()
}

#[test]
fn no_advice_unmounts_the_mount_that_covers_another() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let before = save(&dir);
    let path = dir.path().join("ns");
    let (running, inits) = nest(1);
    let (_above, above) = nest(1);
    fs::write(&path, "").unwrap();
    bind(inits[0], &path);
    bind(above[0], &path);
    let id = namespace_of(inits[0]);
    drop(running);
    until("the init is gone", || is_gone(inits[0]));
    let note = format!(
        "no command removes {}: another mount covers it in mnt:[{}]",
        path.display(),
        mount_namespace_inode(std::process::id())
    );
    assert_eq!(advice_since(&before, &id, "leftover-namespace"), std::slice::from_ref(&note));
    // The state cannot be determined, because the namespace cannot be opened.
    assert_eq!(finding(&id, "unknown-state").advice[1..], [note]);
    let umount = format!("umount {}", path.display());
    follow(std::slice::from_ref(&umount));
    assert_eq!(finding(&id, "dead-namespace").advice, std::slice::from_ref(&umount));
    // Two mounts of one namespace at one path are removed one after the other.
    stdout(&run(Command::new("mount").arg("--bind").args([&path, &path])));
    for _ in 0..2 {
        follow(&finding(&id, "dead-namespace").advice);
    }
    assert!(Document::of(&[]).find_namespace(&id).is_none());
}

#[test]
fn the_advice_names_the_process_that_keeps_a_covered_copy_of_a_mount() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let before = save(&dir);
    let path = dir.path().join("ns");
    let id = mount_dead_namespace(&path);
    let script = "mount -t tmpfs none \"$1\"; touch \"$1/ns\"; echo ready; exec sleep 600";
    let arguments = [dir.path().to_str().unwrap()];
    let (other, _) = start_command(&mut in_mount_namespace(script, &arguments));
    follow(&[format!("umount {}", path.display())]);
    let expected = format!(
        "end {} only if nothing needs it: no command removes {}: another mount covers it in mnt:[{}]",
        other.pid(),
        path.display(),
        mount_namespace_inode(other.pid()),
    );
    assert_eq!(advice_since(&before, &id, "leftover-namespace"), [expected]);
    drop(other);
    until("the namespace is gone", || Document::of(&[]).find_namespace(&id).is_none());
}

#[test]
fn the_advice_names_the_processes_that_keep_a_locked_mount() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns");
    let id = mount_dead_namespace(&path);
    let script = "echo ready; exec sleep 600";
    let mut command = Command::new("unshare");
    let (other, _) = start_command(command.args(["-Urm", "bash", "-c", script]));
    follow(&[format!("umount {}", path.display())]);
    let expected = format!(
        "end {pid} only if nothing needs it: no command removes {}: it may be locked in mnt:[{}], \
         which another user namespace owns",
        path.display(),
        mount_namespace_inode(other.pid()),
        pid = other.pid(),
    );
    assert_eq!(finding(&id, "dead-namespace").advice, [expected]);
    let mut umount = Command::new("umount");
    umount.args(["-i", "-n", "-N", &other.pid().to_string()]).arg(&path);
    assert!(!run(&mut umount).status.success());
    drop(other);
    until("the namespace is gone", || Document::of(&[]).find_namespace(&id).is_none());
}

#[test]
fn no_advice_unmounts_where_umount_finds_no_procfs() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns");
    let id = mount_dead_namespace(&path);
    let script = "mount -t tmpfs none /proc; (echo ready; exec sleep 600) & wait";
    let (other, _) = start_command(&mut in_mount_namespace(script, &[]));
    let sleep = children(other.pid())[0];
    follow(&[format!("umount {}", path.display())]);
    let mut pids = [other.pid(), sleep];
    pids.sort_unstable();
    let expected = format!(
        "end {}, {} only if nothing needs them: no command removes {}: umount finds no /proc/self \
         in mnt:[{}]",
        pids[0],
        pids[1],
        path.display(),
        mount_namespace_inode(other.pid()),
    );
    assert_eq!(finding(&id, "dead-namespace").advice, [expected]);
    let mut umount = Command::new("umount");
    umount.args(["-i", "-n", "-N", &other.pid().to_string()]).arg(&path);
    assert!(!run(&mut umount).status.success());
}

#[test]
fn the_advice_enters_a_mount_namespace_through_the_descriptor_or_mount_that_keeps_it() {
    needs!(NamespaceOfItsOwn);
    let sleep = "unshare -m sleep 600 & until [ \"$(</proc/$!/comm)\" = sleep ]; do :; done";
    let end = "kill -9 $!; wait 2>/dev/null";
    let by_fd = format!("{sleep}; exec 9</proc/$!/ns/mnt; {end}; echo ready; exec sleep 600");
    // The kernel refuses to mount a mount namespace whose ID is lower than that of the current one.
    let by_mount = format!(
        "until {sleep}; mount --bind /proc/$!/ns/mnt $1/mnt 2>/dev/null; do {end}; done; {end}; \
         echo ready; exec sleep 600"
    );
    for (script, is_by_fd) in [(by_fd, true), (by_mount, false)] {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_str().unwrap();
        for arguments in [["-t", "tmpfs", "none", at].as_slice(), &["--make-private", at]] {
            stdout(&run(Command::new("mount").args(arguments)));
        }
        let [path, mount] = ["ns", "mnt"].map(|name| dir.path().join(name));
        fs::write(&mount, "").unwrap();
        let id = mount_dead_namespace(&path);
        let mut command = Command::new("bash");
        let (keeper, _) = start_command(command.args(["-c", &script, "bash", at]));
        follow(&[format!("umount {}", path.display())]);
        let by_fd = format!("/proc/{}/fd/9", keeper.pid());
        let file = if is_by_fd { by_fd } else { mount.display().to_string() };
        let advice = finding(&id, "dead-namespace").advice;
        let end = format!(" && umount -i -n -N {file} {}", path.display());
        assert!(advice.len() == 1 && advice[0].ends_with(&end), "{advice:?}");
        // The command does nothing if the file is another mount namespace now.
        let other = advice[0].replace(&format!("%i {file}"), "%i /proc/self/ns/mnt");
        assert!(!run(Command::new("bash").args(["-c", &other])).status.success());
        follow(&advice);
        assert!(Document::of(&[]).find_namespace(&id).is_none());
        drop(keeper);
        if !is_by_fd {
            stdout(&run(Command::new("umount").arg(&mount)));
        }
        stdout(&run(Command::new("umount").args(["-l", at])));
    }
}

#[test]
fn the_advice_sends_an_init_no_signal_that_it_ignores() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let dir = tempfile::tempdir().unwrap();
    let before = save(&dir);
    // The children of an init would start in a dead namespace. The kernel ignores SIGTERM for an
    // init without a handler, so the advice must use SIGKILL.
    let program = "import ctypes, os, signal; ctypes.CDLL(None).unshare(0x20000000)\n\
                   if os.fork() == 0: os._exit(0)\n\
                   os.wait(); print('ready', flush=True); signal.pause()";
    let (_container, init) = container(&format!("exec python3 -c \"{program}\""));
    let id = link(format!("/proc/{init}/ns/pid_for_children")).unwrap();
    let advice = advice_since(&before, &id, "dead-namespace");
    assert_eq!(advice, [format!("kill -KILL {init}")]);
    follow(&advice);
    until("the namespace is gone", || Document::of(&[]).find_namespace(&id).is_none());
}

/// Python program that starts a child in a new PID namespace when it gets SIGUSR1, as a CI agent
/// starts a job.
const AGENT: &str = "
import ctypes, os, signal
def start(*_):
    assert ctypes.CDLL(None).unshare(0x20000000) == 0
    if os.fork() == 0: os.execvp('sleep', ['sleep', '600'])
signal.signal(signal.SIGUSR1, start)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print('ready', flush=True)
while True: signal.pause()
";

#[test]
fn the_advice_kills_the_parent_of_an_init_only_if_it_was_left_behind() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let before_agent = save(&dirs[0]);
    let (agent, _) = start_command(Command::new("python3").args(["-c", AGENT]));
    let before_job = save(&dirs[1]);
    kill(agent.pid(), Signal::USR1);
    let job = sleep_of(agent.pid());
    let (id, pid) = (namespace_of(job), agent.pid());
    let (kill_job, kill_agent) = (format!("kill -KILL {job}"), format!("kill {pid}"));
    // The agent is older than the job, so it may have other jobs.
    let advice = advice_since(&before_job, &id, "leftover-namespace");
    assert_eq!(advice, [kill_job.clone(), end_if_idle(pid, "root")]);
    let advice = advice_since(&before_agent, &id, "leftover-namespace");
    assert_eq!(advice, [kill_job.clone(), kill_agent.clone()]);
    follow(&[kill_job]);
    until("the job is gone", || is_gone(job));
    for code in ["leftover-namespace", "dead-namespace"] {
        let advice = advice_since(&before_job, &id, code);
        assert_eq!(advice, [end_if_idle(pid, "root")], "{code}");
    }
    assert_eq!(finding(&id, "dead-namespace").advice, [end_if_idle(pid, "root")]);
    let advice = advice_since(&before_agent, &id, "dead-namespace");
    assert_eq!(advice, [kill_agent]);
    follow(&advice);
    until("the namespace is gone", || Document::of(&[]).find_namespace(&id).is_none());
}

#[test]
fn the_advice_ignores_holders_that_end_with_the_init() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let before = save(&dir);
    let script = "exec 9</proc/self/ns/pid; sleep 600 & echo ready; wait";
    let (parent, init) = container(script);
    let id = namespace_of(init);
    assert_eq!(link(format!("/proc/{init}/fd/9")).as_ref(), Some(&id));
    let advice = advice_since(&before, &id, "leftover-namespace");
    assert_eq!(advice, [format!("kill -KILL {init}"), format!("kill {}", parent.pid())]);
    follow(&advice[..1]);
    until("the namespace is gone", || Document::of(&[]).find_namespace(&id).is_none());
}

/// Python program that becomes user `argv[2]`, enters the user namespace and the PID namespace of
/// the process `argv[1]`, starts a child there, and never reaps it.
const ENTERS: &str = "
import ctypes, os, signal, sys
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
for kind in 'user', 'pid':
    fd = os.open('/proc/%s/ns/%s' % (sys.argv[1], kind), os.O_RDONLY)
    ctypes.CDLL(None).setns(fd, 0)
    os.close(fd)
if os.fork() == 0: os.execvp('sleep', ['sleep', '600'])
print('ready', flush=True)
signal.pause()
";

#[test]
fn a_warning_about_a_process_replaces_the_advice_to_kill_it() {
    needs!(HostRoot, UserNamespaces, Program("python3"));
    for (uid, user) in [("54321", "54321"), ("0", "root")] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", uid, "--clear-groups", "unshare", "-Urpf", "--kill-child"]);
        let (maker, _) = start_command(command.args(["bash", "-c", "echo ready; sleep 600; :"]));
        let init = children(maker.pid())[0];
        let python = ["-c", ENTERS, &init.to_string(), uid];
        let (parent, _) = start_command(Command::new("python3").args(python));
        let child = sleep_of(parent.pid());
        let (id, pid) = (namespace_of(child), parent.pid());
        assert_eq!(id, namespace_of(init));
        kill(child, Signal::KILL);
        until("the child is a zombie", || state(child) == "Z");
        kill(init, Signal::KILL);
        until("the init has exited", || status(init, "VmSize").is_empty());
        // The parent does not reap its child, and its next child would start in the namespace.
        let blocked = finding(&id, "blocked-init").advice;
        let mut dead = finding(&id, "dead-namespace").advice;
        let maker = end_if_idle(maker.pid(), user);
        if user == "root" {
            assert_eq!(blocked, [end_carefully(pid, child)]);
            assert_eq!(dead, [end_carefully(pid, child), maker]);
            kill(pid, Signal::TERM);
        } else {
            dead.sort_unstable();
            let mut expected = [end_if_idle(pid, user), maker];
            expected.sort_unstable();
            assert_eq!(dead, expected);
            assert_eq!(blocked, [format!("kill {pid}")]);
            follow(&blocked);
        }
        until("the init is gone", || is_gone(init));
    }
}

#[test]
fn the_advice_runs_no_program_of_another_mount_namespace() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let [path, trap, ran, secret] =
        ["ns", "trap", "ran", "secret"].map(|name| dir.path().join(name));
    let id = mount_dead_namespace(&path);
    let script = format!("#!/bin/sh\ntouch '{}'\n", ran.display());
    fs::write(&trap, script).unwrap();
    fs::set_permissions(&trap, fs::Permissions::from_mode(0o755)).unwrap();
    // The user of a mount namespace covers `umount`, and a helper for this file system type.
    // `umount` changes the mode of `utab.lock` if `utab` mentions the mount.
    let script = "for it in /bin/umount /usr/bin/umount; do mount --bind \"$1\" $it; done; \
                  mount -t tmpfs none /sbin; cp \"$1\" /sbin/umount.nsfs; \
                  mount -t tmpfs none /run; mkdir /run/mount; ln -s \"$2\" /run/mount/utab.lock; \
                  echo \"SRC=nsfs TARGET=$3 ROOT=/ OPTS=uhelper=nsfs\" > /run/mount/utab; \
                  echo ready; exec sleep 600";
    fs::write(&secret, "").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let arguments = [&trap, &secret, &path].map(|it| it.to_str().unwrap());
    let (_other, _) = start_command(&mut in_mount_namespace(script, &arguments));
    follow(&[format!("umount {}", path.display())]);
    follow(&finding(&id, "dead-namespace").advice);
    assert!(Document::of(&[]).find_namespace(&id).is_none());
    assert!(!ran.exists());
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn no_advice_kills_the_parent_of_another_users_zombie() {
    needs!(HostRoot);
    // The child exits after its parent has become a process that never reaps.
    let script = "setpriv --reuid=54321 --clear-groups bash -c \
                  'until [ \"$(</proc/$PPID/comm)\" = sleep ]; do :; done' & \
                  echo zombie $!; echo ready; exec sleep 600";
    let (parent, names) = start(script);
    let zombie = names["zombie"];
    until("the zombie is there", || state(zombie) == "Z");
    let advice = finding(&zombie.to_string(), "zombie").advice;
    let root = "only if user root does not need it";
    assert_eq!(advice, [format!("end {} {root}: {zombie} belongs to user 54321", parent.pid())]);
}

#[test]
fn the_advice_kills_a_parent_only_if_no_other_user_can_have_started_its_child() {
    needs!(HostRoot);
    let script = "bash -c 'until [ \"$(</proc/$PPID/comm)\" = sleep ]; do :; done' & \
                  echo zombie $!; echo ready; exec sleep 600";
    // The UID of a child of root does not show who started it: it may run a set-user-ID program.
    for uid in ["0", "54321"] {
        let mut command = Command::new("setpriv");
        let command = command.args(["--reuid", uid, "--clear-groups", "bash", "-c", script]);
        let (parent, names) = start_command(command);
        let (pid, zombie) = (parent.pid(), names["zombie"]);
        until("the zombie is there", || state(zombie) == "Z");
        let advice = finding(&zombie.to_string(), "zombie").advice;
        if uid == "0" {
            assert_eq!(advice, [end_carefully(pid, zombie)]);
            kill(pid, Signal::TERM);
        } else {
            assert_eq!(advice, [format!("kill {pid}")]);
            follow(&advice);
        }
        until("another process must reap it", || status(zombie, "PPid") != [pid.to_string()]);
    }
}

#[test]
fn no_advice_kills_a_process_to_which_another_user_may_have_sent_the_namespace() {
    needs!(HostRoot, UserNamespaces);
    let opens = |uid: &str, init: u32| {
        let script = format!("exec 9</proc/{init}/ns/pid; echo ready; exec sleep 600");
        let mut command = Command::new("setpriv");
        start_command(command.args(["--reuid", uid, "--clear-groups", "bash", "-c", &script])).0
    };
    for owner in ["54321", "0"] {
        let script = "echo ready; sleep 600; :";
        let mut command = Command::new("setpriv");
        command.args(["--reuid", owner, "--clear-groups", "unshare", "-Urpf", "--kill-child"]);
        let (maker, _) = start_command(command.args(["bash", "-c", script]));
        let init = children(maker.pid())[0];
        let (id, user) = (namespace_of(init), link(format!("/proc/{init}/ns/user")).unwrap());
        let from = if owner == "0" { &user } else { "user 54321" };
        let (by_root, by_owner) = (opens("0", init), opens(owner, init));
        drop(maker);
        until("the init is gone", || is_gone(init));
        let end = |pid: u32| {
            format!("end {pid} only if user root does not need it: fd 9 may come from {from}")
        };
        // Root of a user namespace is not root of the host, even if root made the namespace.
        let of_owner = by_owner.pid();
        let of_owner = if owner == "0" { end(of_owner) } else { format!("kill {of_owner}") };
        let mut found = finding(&id, "dead-namespace").advice;
        found.sort_unstable();
        assert_eq!(found, [end(by_root.pid()), of_owner.clone()]);
        if owner != "0" {
            follow(&[of_owner]);
            until("only root keeps it", || finding(&id, "dead-namespace").advice.len() == 1);
        }
    }
}

/// Python program that receives a descriptor by a socket with the abstract name `argv[1]`, and keeps
/// it.
const RECEIVER: &str = "
import signal, socket, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind('\\0' + sys.argv[1])
print('ready', flush=True)
_, (fd,), _, _ = socket.recv_fds(listener, 1, 1)
signal.pause()
";

/// Python program that becomes user 54321, and sends its PID namespace to the socket with the
/// abstract name `argv[1]`.
const SENDER: &str = "
import os, socket, sys
os.setgid(54321)
os.setuid(54321)
sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sender.connect('\\0' + sys.argv[1])
socket.send_fds(sender, [b'x'], [os.open('/proc/self/ns/pid', os.O_RDONLY)])
print(os.readlink('/proc/self/ns/pid'))
";

#[test]
fn no_advice_kills_a_process_to_which_a_container_of_root_has_sent_its_namespace() {
    needs!(HostRoot, Program("python3"));
    let name = format!("pidns-advice-{}", std::process::id());
    let (daemon, _) = start_command(Command::new("python3").args(["-c", RECEIVER, &name]));
    // Root has created the namespace, and another user runs in it (a set-user-ID sandbox).
    let mut sandbox = Command::new("unshare");
    let id = stdout(&run(sandbox.args(["-pf", "python3", "-c", SENDER, &name])));
    let mut advice = Vec::new();
    until("the daemon keeps the namespace", || {
        advice = findings(id.trim_end()).into_iter().flat_map(|it| it.advice).collect();
        !advice.is_empty() && !advice[0].contains("socket")
    });
    let pid = daemon.pid();
    let from = "may come from a process in the namespace";
    let [advice] = &advice[..] else { panic!("{advice:?}") };
    assert!(advice.starts_with(&format!("end {pid} only if user root does not need it: fd ")));
    assert!(advice.ends_with(from), "{advice}");
}

#[test]
fn advice_with_pids_of_another_procfs_says_in_which_pid_namespace_it_works() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report");
    let file = format!("junit:{}", report.display());
    // The report is about PIDs of this /proc, although pidns runs in a nested PID namespace.
    let command = [PIDNS, "run", "-q", "--grace", "0", "--report", &file, "--", "sh", "-c"];
    let mut unshare = Command::new("unshare");
    unshare.args(["-pf", "--kill-child", "sh", "-c", "\"$@\"; exec sleep 600", "sh"]).args(command);
    let _running = Running::spawn(unshare.arg("setsid sleep 600 >/dev/null 2>&1 &"));
    let text = || fs::read_to_string(&report).unwrap_or_default();
    until("the report is written", || text().contains("</testsuites>"));
    let here = format!("in {}: kill ", namespace_of(std::process::id()));
    let text = text();
    let (_, rest) = text.split_once(&here).unwrap_or_else(|| panic!("no {here} in {text}"));
    let pid: u32 = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
    assert_eq!(comm(pid), "sleep");
    follow(&[format!("kill {pid}")]);
    until("the leftover is gone", || is_gone(pid) || state(pid) == "Z");
}

#[test]
fn a_warning_about_a_process_of_another_procfs_says_in_which_pid_namespace_it_is() {
    needs!(NamespaceOfItsOwn);
    // Bash would reap a child that exits before Bash executes `sleep`.
    let script = "(until [ \"$(</proc/$$/comm)\" = sleep ]; do :; done) & exec sleep 600";
    let parent = Running::spawn(Command::new("bash").args(["-c", script]));
    let zombie = || children(parent.pid()).into_iter().find(|&it| state(it) == "Z");
    until("there is a zombie", || zombie().is_some());
    let zombie = zombie().unwrap();
    // This /proc shows the PIDs of the outer PID namespace.
    let check = ["-pf", "--kill-child", PIDNS, "check", "-q", "-f", "json"];
    let output = run(Command::new("unshare").args(check));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|it| it["pid"] == zombie).expect("the zombie");
    let here = namespace_of(std::process::id());
    let expected = format!("in {here}: {}", end_carefully(parent.pid(), zombie));
    assert_eq!(found["advice"], serde_json::json!([expected]));
}

/// Returns the command at the end of the line about a dead namespace.
fn command_in(text: &str) -> String {
    let line = text.lines().find(|line| line.contains("  DEAD: ")).expect("has such a line");
    let (_, command) = line.rsplit_once("; ").unwrap_or_else(|| panic!("no command: {line}"));
    command.to_owned()
}

#[test]
fn diff_and_run_unmount_where_the_mount_is() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let [before, path] = ["before.json", "ns"].map(|name| dir.path().join(name));
    fs::write(&before, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let id = mount_dead_namespace(&path);
    let (other, _) = start_command(&mut in_mount_namespace("echo ready; exec sleep 600", &[]));
    stdout(&run(Command::new("umount").arg(&path)));
    let there = format!("umount -i -n -N {} {}", other.pid(), path.display());
    let there = guarded(other.pid(), "mnt", &there);
    let diff = pidns(&["diff", "-q", before.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&diff.stdout).into_owned();
    assert_eq!(command_in(&text), there, "{text}");
    follow(&[there]);
    assert!(Document::of(&[]).find_namespace(&id).is_none());

    // A process that is left behind has the mount in its own mount namespace. It also has the
    // namespace open, so the command is known to have made the namespace.
    let script = format!(
        "unshare -pf --kill-child sleep 600 & u=$!; \
         until read -rd ' ' init </proc/$u/task/$u/children; do :; done; \
         exec 9</proc/$init/ns/pid; mount --bind /proc/$init/ns/pid {}; kill -9 $init; wait $u; \
         setsid sleep 600 >/dev/null 2>&1 &",
        path.display()
    );
    let arguments = ["run", "--grace", "0", "--", "unshare", "-m", "bash", "-c", &script];
    let output = pidns(&arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let command = command_in(&text);
    assert!(command.contains(" && umount -i -n -N "), "{text}");
    assert!(command.ends_with(&format!(" {}", path.display())), "{text}");
    follow(&[command]);
    let mounts = |it: &Holder| matches!(it, Holder::Mount { .. });
    let document = Document::of(&[]);
    assert!(document.namespaces.iter().all(|it| !it.holders.iter().any(mounts)));
}

#[test]
fn the_advice_on_leftovers_ends_them() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let before = dir.path().join("before").to_str().unwrap().to_owned();
    fs::write(&before, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let left = leave(&dir.path().join("namespace"));
    // The orphan that ignores SIGTERM, and the members of a namespace.
    let (ignores, names) = start("trap '' TERM; sleep 600 & echo sleep $!; echo ready; wait");
    let (namespace, inits) = nest(1);
    let arguments = ["check", "-q", "-f", "json", "--deny", "zombie", "--since", &before];
    let advice = || {
        let report: Value = serde_json::from_slice(&pidns(&arguments).stdout).unwrap();
        let findings = report["findings"].as_array().unwrap().clone();
        let denied = findings.iter().filter(|it| it["verdict"] == "deny");
        let commands = denied.flat_map(|it| it["advice"].as_array().unwrap().clone());
        let commands: Vec<_> = commands.map(|it| it.as_str().unwrap().to_owned()).collect();
        (findings.len(), commands)
    };
    let (_, commands) = advice();
    assert!(commands.contains(&format!("kill -KILL {}", names["sleep"])), "{commands:?}");
    assert!(commands.contains(&format!("kill -KILL {}", inits[0])), "{commands:?}");
    // The command of one finding can also solve another, and then fails. A mount is busy while
    // another test scans it.
    for command in &commands {
        until(command, || {
            let output = run(Command::new("bash").args(["-c", command]));
            !String::from_utf8_lossy(&output.stderr).contains("busy")
        });
    }
    for pid in left.all() {
        until("the leftover is gone", || is_gone(pid));
    }
    // Their parent, this test, reaps them.
    drop((ignores, namespace));
    until("nothing is left", || advice() == (0, Vec::new()));
}

#[test]
fn the_advice_names_the_processes_that_end_with_an_init_but_are_no_leftovers() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let before = dir.path().join("before").to_str().unwrap().to_owned();
    fs::write(&before, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    // The namespace has a member and a child namespace.
    let script = format!("unshare -pf --kill-child sleep 600 & {SLEEP} echo ready; wait");
    let (_job, init) = container(&script);
    let inner = || {
        let [unshare, _] = children(init)[..] else { return None };
        children(unshare).first().copied().filter(|&pid| comm(pid) == "sleep")
    };
    until("the inner init sleeps", || inner().is_some());
    let advice = |options: &[&str]| {
        let since = [&["--since", &before], options].concat();
        let found = findings_of(&since, &init.to_string());
        with_code("leftover-process", found).advice.join("; ")
    };
    assert_eq!(advice(&[]), format!("kill -KILL {init}"));
    let name = dir.path().join("x;y");
    stdout(&run(Command::new("cp").arg("/bin/sleep").arg(&name)));
    let enter = |target: u32, command: &str| {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["-t", &target.to_string(), "-p", command, "600"]);
        let guest = Running::spawn(nsenter.env("PIDNS_TEST_JOB", "2"));
        let name = command.rsplit('/').next().unwrap();
        until("the process runs", || children(guest.pid()).iter().any(|&it| comm(it) == name));
        let pid = children(guest.pid())[0];
        (guest, pid)
    };
    let allow = ["--allow", "leftover-process:env=PIDNS_TEST_JOB=2"];
    let guests = [enter(init, "sleep"), enter(inner().unwrap(), "sleep")];
    let named = guests.each_ref().map(|it| format!("{} sleep of user root", it.1)).join(", ");
    assert_eq!(advice(&[]), format!("kill -KILL {init}"));
    assert_eq!(advice(&allow), format!("kill -KILL {init} # also ends {named}"));
    let name = name.to_str().unwrap();
    let more = [enter(init, name), enter(init, name)];
    let named = format!("'{named}, {} x;y of user root and 1 more'", more[0].1);
    assert_eq!(advice(&allow), format!("kill -KILL {init} # also ends {named}"));
    // A filter hides the members of the namespace, too.
    assert!(advice(&["--comm", "bash"]).ends_with(" of user root and 4 more"));
}

#[test]
fn no_advice_names_a_process_that_has_ended() {
    needs!(Namespaces);
    let mut stays = Running::spawn(Command::new("sleep").arg("600"));
    let mut ends = Running::spawn(Command::new("sleep").arg("600"));
    let pid = |it: &Running| pidns::model::Pid::new(it.pid()).unwrap();
    let request = pidns::collect::Request {
        procfs: PathBuf::from("/proc"),
        search: pidns::model::SearchScope::default_set(),
        details: std::collections::BTreeSet::new(),
        environment: std::collections::BTreeSet::new(),
        collector: pidns::model::Collector::Proc,
    };
    let snapshot = pidns::collect::collect(&request).unwrap().snapshot;
    ends.0.kill().unwrap();
    ends.0.wait().unwrap();
    let live = pidns::collect::LiveHost::open(Path::new("/proc"), &snapshot.processes).unwrap();
    let concerned = [pid(&stays), pid(&ends)].into_iter().collect();
    let facts = live.facts(&concerned, &std::collections::BTreeSet::new());
    assert_eq!(facts.unwrap().ended.into_iter().collect::<Vec<_>>(), [pid(&ends)]);
    stays.0.kill().unwrap();
}
