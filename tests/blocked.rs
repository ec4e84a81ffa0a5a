//! Tests that processes can block reads of their memory only for some seconds. These tests have a
//! program of their own, because such processes would block the other tests too.

mod common;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::Need::*;
use common::*;
use rustix::process::Signal;
use serde_json::Value;

/// Python program that mounts a FUSE file system over a file, and starts a process that opens this
/// file, waits for SIGUSR1, and then calls `execve(2)`. The call closes the file, and the file
/// system does not answer the request `FUSE_FLUSH` until SIGUSR2 arrives. In its new program, the
/// process does the same again. Once the file system has ended, the process calls `sleep`.
const BLOCKED_EXEC: &str = "
import ctypes, os, signal, struct, sys
INIT, OPEN, FLUSH = 26, 14, 25
WAIT_AND_EXEC = '''
import os, signal, sys
try:
    os.open(sys.argv[1], os.O_RDONLY)
except OSError:
    os.execvp('sleep', ['sleep', '60'])
signal.sigwait([signal.SIGUSR1])
os.execvp('python3', ['python3', '-c', sys.argv[2], *sys.argv[1:]])
'''
device = os.open('/dev/fuse', os.O_RDWR)
options = f'fd={device},rootmode=100644,user_id=0,group_id=0'.encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b'mute', sys.argv[1].encode(), b'fuse', 0, options):
    sys.exit(os.strerror(ctypes.get_errno()))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])
child = os.fork()
if child == 0:
    os.execvp('python3', ['python3', '-c', WAIT_AND_EXEC, sys.argv[1], WAIT_AND_EXEC])
opened = False
while True:
    _, opcode, unique = struct.unpack('IIQ', os.read(device, 131072)[:16])
    body, error = b'', -38
    if opcode == INIT:
        body = struct.pack('IIIIHHIIHH8I', 7, 31, 65536, 0, 0, 0, 65536, 1, 0, 0, *[0] * 8)
        error = 0
    elif opcode == OPEN:
        body, error = bytes(16), 0
    elif opcode == FLUSH:
        open(sys.argv[1] + '.flushed', 'w').close()
        signal.sigwait([signal.SIGUSR2])
        os.unlink(sys.argv[1] + '.flushed')
        error = 0
    os.write(device, struct.pack('IiQ', 16 + len(body), error, unique) + body)
    if opcode == OPEN and not opened:
        opened = True
        print('opened', child)
        print('ready', flush=True)
";

/// A process that can block reads of its memory.
struct Blocker {
    /// The FUSE file system.
    holder: Running,
    pid: u32,
    dir: tempfile::TempDir,
}

impl Blocker {
    /// Starts a process that does not yet block reads.
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let mut command = Command::new("unshare");
        let script = ["-m", "--propagation", "private", "python3", "-c", BLOCKED_EXEC];
        let command = command.args(script).arg(&file).env("PIDNS_TEST", "1");
        let (holder, pids) = start_command(command);
        Self { holder, pid: pids["opened"], dir }
    }

    /// From now on, reads of the process are blocked.
    fn block(&self) {
        kill(self.pid, Signal::USR1);
        let flushed = self.dir.path().join("file.flushed");
        until("execve(2) has closed the file", || flushed.exists());
    }

    /// The process no longer blocks reads, until the next call of `block`.
    fn release(&self) {
        kill(self.holder.pid(), Signal::USR2);
        let flushed = self.dir.path().join("file.flushed");
        until("the file system has answered", || !flushed.exists());
    }
}

/// A running `pidns watch`, and its records so far. Killed on drop.
struct Watch(Child, BufReader<ChildStdout>, Vec<Value>);

impl Watch {
    /// Starts a watch, and waits until it has taken its first snapshot. The watch ends before the
    /// test takes too long.
    fn start() -> Self {
        let mut command = Command::new(PIDNS);
        command.args(["watch", "-f", "ndjson", "--interval", "1", "--for", "50"]);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut watch = Self(child, lines, Vec::new());
        assert_eq!(watch.next()["record"], "watch");
        watch
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the watch has ended: {:#?}", self.2);
        serde_json::from_str(&line).unwrap()
    }

    /// Waits for a change of a process or namespace, and returns the change.
    fn wait_for(&mut self, kind: &str, id: impl Into<Value>, change: &str) -> Value {
        let id = id.into();
        loop {
            let record = self.next();
            self.2.push(record.clone());
            let it = &record[kind];
            if it["change"] == change && [&it["pid"], &it["id"]].contains(&&id) {
                return it.clone();
            }
        }
    }

    fn end(&mut self) -> (Option<i32>, String) {
        kill(self.0.id(), Signal::TERM);
        let mut stderr = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.0.wait().unwrap().code(), stderr)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `pidns run --kill` with a command that prints its cgroups and leaves a process behind.
fn run_and_kill(options: &[&str]) -> JoinHandle<Output> {
    let script = "cat /proc/self/cgroup; sleep 681 >/dev/null 2>&1 & echo $!";
    let mut command = Command::new(PIDNS);
    command.args(["run", "--kill", "--grace", "0.1"]).args(options);
    command.args(["--", "sh", "-c", script]);
    thread::spawn(move || command.output().unwrap())
}

/// Returns the directory of a cgroup, given its line in `/proc/PID/cgroup`.
fn cgroup_dir(line: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line_of_mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    Some(Path::new(line_of_mount.split(' ').nth(4)?).join(line.strip_prefix("0::/")?))
}

const CAUSE: &str = "blocks pidns, because its memory or its files stay locked, for example while \
                     it waits for a file system that does not respond";

#[test]
fn processes_that_block_pidns_are_shown_in_part() {
    needs!(HostRoot, NamespaceOfItsOwn, Program("python3"));
    // Its PIDs are lower, so a scan has opened its namespace when it is blocked.
    let (_container, init) = container(&format!("{SLEEP} echo ready; wait"));
    let blockers = [Blocker::start(), Blocker::start()];
    let blocked = blockers.each_ref().map(|it| it.pid);
    let before = stdout(&pidns(&["-q", "-f", "json"]));
    let mut watch = Watch::start();
    blockers.iter().for_each(Blocker::block);
    let started = Instant::now();
    let file = blockers[0].dir.path().join("before");
    fs::write(&file, before).unwrap();
    let start = |arguments: &[&str]| {
        let mut command = Command::new(PIDNS);
        command.args(arguments).stdin(File::open(&file).unwrap());
        thread::spawn(move || command.output().unwrap())
    };
    let documents = [
        (start(&["-f", "json", "--details", "args"]), "args-unreadable"),
        (start(&["-f", "json", "--collector", "proc", "--details", "args"]), "args-unreadable"),
        (start(&["-f", "json", "--env", "PIDNS_TEST=1"]), "environment-unreadable"),
    ];
    let checks = [
        start(&["check", "--env", "PIDNS_TEST=1"]),
        start(&["check", "--env", "PIDNS_TEST=1", "--since", "-"]),
    ];
    let runs = [run_and_kill(&[]), run_and_kill(&["--cgroup"])];
    // On some kernels, these commands are not blocked.
    let others = [start(&["limits"]), start(&["run", "true"]), start(&["check"])];
    // The end of the FUSE programs releases everything that waits for an answer. It bounds the time
    // that a failing test takes.
    let join = |it: JoinHandle<Output>| {
        until("pidns ends", || it.is_finished());
        let Output { status, stdout, stderr } = it.join().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    };
    let names_one = |error: &str| {
        blocked.iter().any(|pid| error.contains(&format!("{pid} {CAUSE}; scanning again")))
    };
    for (document, code) in documents {
        let (status, stdout, error) = join(document);
        assert_eq!(status, Some(0), "{error}");
        assert!(names_one(&error), "{error}");
        let document: Document = serde_json::from_str(&stdout).unwrap();
        assert!(!document.complete);
        let is_busy = |it: &&Diagnostic| it.code == code && it.errno.as_deref() == Some("EBUSY");
        let busy = document.diagnostics.iter().find(is_busy).expect(code);
        assert_eq!(busy.pids, blocked);
        if code == "args-unreadable" {
            assert!(blocked.iter().all(|&pid| document.process(pid).args.is_none()));
            assert!(blockers.iter().all(|it| document.process(it.holder.pid()).args.is_some()));
        }
    }
    for (status, _, error) in checks.map(join) {
        assert_eq!(status, Some(0), "{error}");
        assert!(names_one(&error), "{error}");
    }
    for (status, stdout, error) in runs.map(join) {
        assert_eq!(status, Some(0), "{error}");
        let (cgroup, left) = (stdout.lines().next().unwrap(), stdout.lines().last().unwrap());
        assert!(!Path::new("/proc").join(left).exists(), "{error}");
        if cgroup.contains("pidns-run-") {
            assert!(!cgroup_dir(cgroup).unwrap().exists(), "{error}");
        }
    }
    for (status, _, error) in others.map(join) {
        assert!(status == Some(0) || names_one(&error), "{error}");
    }
    watch_goes_on(&mut watch, &blockers, init);
    assert!(started.elapsed() < Duration::from_secs(50), "{:?}", started.elapsed());
}

#[test]
fn a_process_that_blocks_again_does_not_delay_a_watch_again() {
    needs!(HostRoot, NamespaceOfItsOwn, Program("python3"));
    let blocker = Blocker::start();
    let mut watch = Watch::start();
    let mut delay = |sleep_time: &str| {
        let started = Instant::now();
        let new = Running::spawn(Command::new("sleep").arg(sleep_time));
        watch.wait_for("process_change", new.pid(), "came");
        started.elapsed()
    };
    blocker.block();
    let first = delay("683");
    blocker.release();
    // In this snapshot, the abandoned thread has ended.
    delay("684");
    blocker.block();
    let second = delay("685");
    assert!(first >= Duration::from_secs(10) && second < Duration::from_secs(8), "{second:?}");
    let (status, error) = watch.end();
    assert_eq!(status, Some(0), "{error}");
    let warning = format!("process {} {CAUSE}; scanning again", blocker.pid);
    assert!(error.contains(&warning) && error.lines().count() == 1, "{error}");
}

/// Tests a watch that processes have blocked. `container` is the init
/// of a namespace that the watch has opened before.
fn watch_goes_on(watch: &mut Watch, blockers: &[Blocker; 2], container: u32) {
    let namespace = Some(namespace_of(container));
    let new = Running::spawn(Command::new("sleep").arg("682"));
    watch.wait_for("process_change", new.pid(), "came");
    // The blocked threads do not keep a namespace alive that they have opened.
    let descriptors = format!("/proc/{}/fd", watch.0.id());
    let is_open =
        || fs::read_dir(&descriptors).unwrap().flatten().any(|it| link(it.path()) == namespace);
    until("no thread has the namespace open", || !is_open());
    // Facts that can't be read have not changed.
    let is_blocked = |it: &Value| blockers.iter().any(|blocker| it["pid"] == blocker.pid);
    let changed: Vec<_> = watch.2.iter().filter(|it| is_blocked(&it["process_change"])).collect();
    assert!(changed.is_empty(), "{changed:#?}");
    // The status of the processes is still read.
    for blocker in blockers {
        kill(blocker.holder.pid(), Signal::KILL);
    }
    let change = watch.wait_for("process_change", blockers[0].pid, "changed");
    assert_eq!(change["after"]["comm"], "sleep", "{change:#?}");
    let (status, error) = watch.end();
    assert_eq!(status, Some(0), "{error}");
    let count = error.matches(CAUSE).count();
    assert!(count <= 2 && error.lines().count() == count, "{error}");
}
