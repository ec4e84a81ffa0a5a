//! Tests on the real kernel that the mounts, limits and memory of another user cost pidns little
//! memory and few descriptors.

mod common;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::Need::*;
use common::*;
use rustix::process::Signal;

/// Python program that runs pidns with the arguments `argv[1:]`, writes its output, and ends with
/// its peak memory in KiB as the last line.
const MEASURE: &str = "
import resource, subprocess, sys
output = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE).stdout
sys.stdout.buffer.write(output)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
";

/// Runs pidns with these arguments. Returns its output, and its peak memory in KiB.
fn measure(arguments: &[&str]) -> (String, usize) {
    let mut command = Command::new("python3");
    let output = stdout(&run(command.args(["-S", "-E", "-c", MEASURE, PIDNS]).args(arguments)));
    let (output, peak) = output.trim_end().rsplit_once('\n').expect("has several lines");
    (output.to_owned(), peak.parse().expect("is a number"))
}

/// Python code that mounts a new file system at the path `argv[1]`, and enters it.
const ENTER_FILE_SYSTEM: &str = "
import ctypes, os, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def mount(source, target, kind, flags):
    if libc.mount(source, target, kind, flags, None):
        sys.exit(os.strerror(ctypes.get_errno()))
mount(b'none', sys.argv[1].encode(), b'tmpfs', 0)
os.chdir(sys.argv[1])
";

/// Python program that mounts the namespace at the path `argv[2]` over a file in deep directories
/// 3,000 times. Follows [`ENTER_FILE_SYSTEM`]. The path of the file has 51,200 bytes.
const DEEP: &str = "
for _ in range(200):
    os.mkdir('d' * 255)
    os.chdir('d' * 255)
open('ns', 'w').close()
for _ in range(3000):
    mount(sys.argv[2].encode(), b'ns', None, 4096)
print('ready', flush=True)
signal.pause()
";

#[test]
fn the_paths_of_mounts_in_deep_directories_cost_no_memory() {
    needs!(Namespaces, Program("python3"));
    let dir = tempfile::tempdir().unwrap();
    let (nest, inits) = nest(1);
    let (id, at) = (namespace_of(inits[0]), format!("/proc/{}/ns/pid", inits[0]));
    let script = "exec python3 -c \"$1\" \"$2\" \"$3\"";
    let program = [ENTER_FILE_SYSTEM, DEEP].concat();
    let path = dir.path().to_str().unwrap();
    let mut mounter = in_mount_namespace(script, &[&program, path, &at]);
    let (_mounter, _) = start_command(&mut mounter);
    drop(nest);
    until("the init has exited", || status(inits[0], "State").is_empty());
    let (output, peak) = measure(&["-q", "-f", "json"]);
    let document = Document::read(&output);
    let holders = &document.namespace(&id).holders;
    let [Holder::Mount { path, .. }] = &holders[..] else { panic!("{holders:?}") };
    assert_eq!(path, "(path too long)");
    assert!(peak < 64 * 1024, "{peak} KiB");
    // No command can name the mount.
    let text = String::from_utf8(pidns(&["check", "-q"]).stdout).unwrap();
    assert!(text.contains("kept by mount (path too long)"), "{text}");
    assert!(!text.contains("umount"), "{text}");
}

/// Shell script that bind-mounts the mount namespace of a later process at 400 files below `$1`.
const MANY: &str = "PATH=$PATH:/usr/sbin:/sbin; mount -t tmpfs none $1; \
    unshare -m sleep 600 & until [ \"$(</proc/$!/comm)\" = sleep ]; do :; done; \
    for i in {1..400}; do :>$1/$i; mount --bind /proc/$!/ns/mnt $1/$i; done; \
    echo ready; wait";

#[test]
fn many_mounts_of_a_mount_namespace_cost_one_descriptor() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let (_mounter, _) = start_command(&mut in_mount_namespace(MANY, &[path]));
    let script = "ulimit -n 128; exec \"$0\" -q -f json";
    let output = stdout(&run(Command::new("bash").args(["-c", script, PIDNS])));
    let document = Document::read(&output);
    assert!(document.complete, "{:?}", document.diagnostics);
}

/// Python program that starts 2,000 processes of one user, each with its own soft `RLIMIT_NPROC`.
const OWN_LIMITS: &str = "
import ctypes, os, resource, signal
libc = ctypes.CDLL(None)
os.setgid(54321)
os.setuid(54321)
hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
for i in range(2000):
    resource.setrlimit(resource.RLIMIT_NPROC, (20000 + i, hard))
    if os.fork() == 0:
        libc.prctl(1, signal.SIGKILL)
        signal.pause()
print('ready', flush=True)
signal.pause()
";

#[test]
fn a_limit_for_each_process_of_a_user_costs_little_memory() {
    needs!(HostRoot, Program("python3"));
    let (_running, _) = start_command(Command::new("python3").args(["-c", OWN_LIMITS]));
    for collector in ["auto", "proc"] {
        let details = ["--details", "limits", "--collector", collector];
        let (output, peak) = measure(&[&["-q", "-f", "json"], &details[..]].concat());
        let document: serde_json::Value = serde_json::from_str(&output).unwrap();
        let limits = document["limits"].as_array().unwrap();
        let is_its = |it: &&serde_json::Value| {
            it["limit"] == "nproc" && it["scope"]["uid"] == 54321 && !it["largest"].is_null()
        };
        assert_eq!(limits.iter().filter(is_its).count(), 2000, "{collector}");
        assert!(peak < 40 * 1024, "{collector}: {peak} KiB");
    }
}

/// Python program that makes 5,000 mounts in its mount namespace. Then 20 processes copy this mount
/// namespace again and again. Follows [`ENTER_FILE_SYSTEM`].
const COPY_MOUNTS: &str = "
os.mkdir('d')
for i in range(5000):
    os.mkdir(str(i))
    mount(b'd', str(i).encode(), None, 4096)
end = time.monotonic() + 60
for _ in range(20):
    if os.fork() == 0:
        libc.prctl(1, signal.SIGKILL)
        while time.monotonic() < end:
            libc.unshare(0x20000)
        os._exit(0)
print('ready', flush=True)
signal.pause()
";

#[test]
fn processes_that_copy_mounts_all_the_time_delay_only_the_search_of_mounts() {
    needs!(HostRoot, NamespaceOfItsOwn, Program("python3"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let program = [ENTER_FILE_SYSTEM, COPY_MOUNTS].concat();
    let mut copier = in_mount_namespace("exec python3 -c \"$1\" \"$2\"", &[&program, path]);
    let (copier, _) = start_command(&mut copier);
    let started = Instant::now();
    let output = pidns(&["-q", "-f", "json"]);
    let elapsed = started.elapsed();
    let copier_pid = copier.pid();
    drop(copier);
    let document = Document::read(&stdout(&output));
    assert!(document.find_process(copier_pid).is_some());
    // On a quiet host, the waits may stay below the limit. On a busy host, the processes may leave
    // their mount namespaces before pidns searches these.
    let codes = ["mounts-busy", "mounts-unsearched"];
    let is_reported = codes.iter().any(|code| document.diagnostic(code).is_some());
    assert_eq!(document.complete, !is_reported, "{:?}", document.diagnostics);
    assert!(output.stderr.is_empty(), "{output:?}");
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
}

#[test]
fn processes_that_lock_their_shared_memory_delay_only_the_reads_of_command_lines() {
    needs!(NamespaceOfItsOwn, Program("cc"));
    let dir = tempfile::tempdir().unwrap();
    let program = compile(dir.path(), "fork-shared");
    let (forker, _) = start_command(&mut Command::new(&program));
    for (option, value, code) in
        [("--details", "args", "args-unreadable"), ("--env", "PATH", "environment-unreadable")]
    {
        let started = Instant::now();
        let output = pidns(&["-q", "-f", "json", option, value]);
        let elapsed = started.elapsed();
        let document = Document::read(&stdout(&output));
        // On a quiet host, the waits may stay below the limit.
        let unread = document.diagnostic(code);
        assert_eq!(document.complete, unread.is_none(), "{:?}", document.diagnostics);
        assert!(
            unread.is_none_or(|it| it.message.ends_with("; locked for too long")),
            "{unread:?}"
        );
        assert!(elapsed < Duration::from_secs(15), "{elapsed:?}");
    }
    drop(forker);
}

/// Python program that makes 1,900 nested cgroups in the cgroup at `argv[1]`, and starts 700
/// processes, each in a cgroup of its own in the innermost. Removes everything after
/// SIGTERM.
const NEST_CGROUPS: &str = "
import ctypes, os, signal, sys
libc = ctypes.CDLL(None)
def enter(name):
    global at
    inner = os.open(name, os.O_RDONLY, dir_fd=at)
    os.close(at)
    at = inner
at = os.open(sys.argv[1], os.O_RDONLY)
for _ in range(1900):
    os.mkdir('x', dir_fd=at)
    enter('x')
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
pids = []
for i in range(700):
    os.mkdir(str(i), dir_fd=at)
    pids.append(os.fork())
    if pids[-1] == 0:
        libc.prctl(1, signal.SIGKILL)
        signal.pause()
    with open(os.open('%d/cgroup.procs' % i, os.O_WRONLY, dir_fd=at), 'w') as procs:
        procs.write(str(pids[-1]))
print('first', pids[0])
print('ready', flush=True)
signal.sigwait({signal.SIGTERM})
for i, pid in enumerate(pids):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.rmdir(str(i), dir_fd=at)
for _ in range(1900):
    enter('..')
    os.rmdir('x', dir_fd=at)
";

#[test]
fn processes_in_deeply_nested_cgroups_delay_a_scan_only_for_some_time() {
    needs!(HostRoot, Initial("cgroup"), Initial("pid"), Program("python3"));
    let test = "processes_in_deeply_nested_cgroups_delay_a_scan_only_for_some_time";
    let Some(cgroup) = PidsCgroup::new() else {
        say_skipped(test, "the pids controller is not mounted");
        return;
    };
    let mut command = Command::new("python3");
    command.args(["-c", NEST_CGROUPS]).arg(cgroup.0.join("job"));
    let (mut nester, names) = start_command(&mut command);
    let output = pidns(&["--details", "limits", "-q", "-f", "json"]);
    let of_first = pidns(&["limits", "-q", "-f", "json", &names["first"].to_string()]);
    let details = pidns(&["--details", "cgroup", "-q", "-f", "json"]);
    kill(nester.pid(), Signal::TERM);
    nester.0.wait().unwrap();
    let unread = "the limits of cgroups that take too long to read, because they are nested deeply, \
                  are unknown";
    let says = |output: &Output| {
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let diagnostics = document["diagnostics"].as_array().unwrap();
        diagnostics.iter().any(|it| it["message"] == unread)
    };
    let paths =
        rows(&output).into_iter().filter_map(|it| Some(it["scope"]["cgroup"].as_str()?.to_owned()));
    let innermost = paths.filter(|it| it.contains("/x/x/") && !it.ends_with('x')).count();
    // The time is not compared: on a busy host, pidns waits for a processor, which does not count.
    assert!(says(&output) && innermost < 700, "{innermost}");
    // The other processes do not use up the time for a process that the user names.
    let is_innermost = |it: &serde_json::Value| {
        it["scope"]["cgroup"].as_str().is_some_and(|it| it.ends_with("/x/0"))
    };
    assert!(rows(&of_first).iter().any(is_innermost));
    let document = Document::read(&stdout(&details));
    let busy = document.diagnostic("cgroup-unreadable").unwrap();
    assert!(
        busy.message.ends_with("; cgroups are nested so deeply that reading them takes too long")
    );
    let is_unread = |pid: &u32| document.process(*pid).cgroup.is_none();
    assert!(!busy.pids.is_empty() && busy.pids.iter().all(is_unread), "{busy:?}");
    assert!(!document.complete);
}

/// Shell script that starts twelve inits, and twelve processes that enter the namespace of the last
/// of these inits.
const INITS_AND_ENTERED: &str = "
for i in {1..12}; do unshare -pf --kill-child sleep 600 & done
own=$(readlink /proc/self/ns/pid)
until new=$(readlink /proc/$!/ns/pid_for_children) && [ $new != $own ]; do sleep 0.01; done
exec 3</proc/$!/ns/pid_for_children
for i in {1..12}; do nsenter --pid=/proc/self/fd/3 sleep 600 & done
until [ $(pgrep -cx sleep) = 24 ]; do sleep 0.01; done
echo ready
wait
";

#[test]
fn slow_cgroup_files_delay_the_search_for_containers_only_for_some_time() {
    needs!(HostRoot, NamespaceOfItsOwn, Program("strace"));
    let (_running, _) = start_command(Command::new("bash").args(["-c", INITS_AND_ENTERED]));
    let before = Document::read(&stdout(&pidns(&["-q", "-f", "json"])));
    let sleeps = before.processes.iter().filter(|it| it.comm == "sleep");
    let (inits, entered): (Vec<u32>, Vec<u32>) =
        sleeps.map(|it| it.pid).partition(|&pid| before.process(pid).nspid.last() == Some(&1));
    assert_eq!((inits.len(), entered.len()), (12, 12));
    // Each read of their cgroups takes half a second.
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=pread64:delay_enter=500000"]);
    for pid in inits.iter().chain(&entered) {
        command.args(["-P", &format!("/proc/{pid}/cgroup")]);
    }
    let output = run(command.args([PIDNS, "-q", "-f", "json"]));
    let document = Document::read(&stdout(&output));
    let unread = |errno: Option<&str>| {
        let mut all = document.diagnostics.iter().filter(|it| it.code == "cgroup-unreadable");
        &all.find(|it| it.errno.as_deref() == errno).expect("is reported").pids
    };
    for (unread, slow) in [(unread(Some("EBUSY")), &inits), (unread(None), &entered)] {
        assert!((1..12).contains(&unread.len()), "{unread:?}");
        assert!(unread.iter().all(|it| slow.contains(it)), "{unread:?}");
    }
    assert!(!document.complete);
}

#[test]
fn siblings_that_lock_their_shared_memory_delay_the_search_for_the_pipeline_only_once() {
    needs!(NamespaceOfItsOwn, Program("cc"), Program("strace"));
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // 300 children of an ancestor of pidns have the same name as the ancestor, so pidns compares
    // their command lines. strace makes pidns wait for the lock more often.
    let script = "strace -f -qq -e trace=read -o \"$1\" \"$0\" -q -f json | cat >\"$2\"; \
                  mv \"$2\" \"$3\"";
    let mut command = Command::new(compile(dir.path(), "fork-shared"));
    command.args(["/bin/sh", "-c", script, PIDNS]).args(["log", "output", "done"].map(path));
    let (forker, _) = start_command(&mut command);
    // On two processors this takes 8 seconds, and longer if other tests run at the same time.
    // Without the limit on waiting it takes 56 seconds.
    until_within(Duration::from_secs(40), "pidns has ended", || path("done").exists());
    let document = Document::read(&std::fs::read_to_string(path("done")).unwrap());
    assert!(document.find_process(forker.pid()).is_some());
}

#[test]
fn the_name_of_a_user_with_many_limits_is_looked_up_once() {
    needs!(HostRoot, Program("python3"), Program("strace"));
    let (_running, _) = start_command(Command::new("python3").args(["-c", OWN_LIMITS]));
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=openat", "-o"]).arg(&log);
    stdout(&run(command.args([PIDNS, "-q", "-f", "json", "--details", "limits"])));
    let log = std::fs::read_to_string(log).unwrap();
    let opened = log.lines().filter(|line| line.contains("/etc/passwd")).count();
    assert!((1..100).contains(&opened), "{opened}");
}
