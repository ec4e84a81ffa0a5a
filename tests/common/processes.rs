//! Creates processes, namespaces and cgroups on the real kernel.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{children, comm, run, status, stdout};

/// A child process that leads its own process group. The group is killed on drop.
pub struct Running(pub Child);

impl Running {
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).process_group(0).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw);
        let _ = rustix::process::kill_process_group(group.expect("is a PID"), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Starts a shell script and waits until the script prints `ready`. Before that, the script may
/// print lines of the form `NAME PID`, which are returned as a map.
pub fn start(script: &str) -> (Running, BTreeMap<String, u32>) {
    let mut command = Command::new("bash");
    command.arg("-c").arg(script);
    start_command(&mut command)
}

pub fn start_command(command: &mut Command) -> (Running, BTreeMap<String, u32>) {
    let mut running = Running::spawn(command.stdout(Stdio::piped()));
    let mut names = BTreeMap::new();
    for line in BufReader::new(running.0.stdout.take().expect("piped")).lines() {
        let line = line.expect("is text");
        if line == "ready" {
            return (running, names);
        }
        let (name, pid) =
            line.split_once(' ').unwrap_or_else(|| panic!("not a name and a PID: {line}"));
        names.insert(name.to_owned(), pid.parse().expect("a PID"));
    }
    panic!("ended before it was ready: {command:?}");
}

/// Returns a command that runs a shell script as the init of a new PID namespace with its own
/// /proc.
pub fn in_container(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-pf", "--mount-proc", "--kill-child", "bash", "-c", script]);
    command
}

/// Starts a shell script as the init of a new PID namespace, and waits until the script prints
/// `ready`. Returns the PID of the init.
pub fn container(script: &str) -> (Running, u32) {
    let (running, _) = start_command(&mut in_container(script));
    let init = children(running.pid())[0];
    (running, init)
}

/// Shell script that starts `sleep` in the background and waits until its exec has succeeded.
pub const SLEEP: &str = "sleep 600 & until [ \"$(</proc/$!/comm)\" = sleep ]; do :; done;";

/// Returns a command that runs a shell script in a new mount namespace, with `arguments` as
/// `$1`, `$2` and so on.
pub fn in_mount_namespace(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-m", "bash", "-c", script, "bash"]).args(arguments);
    command
}

/// Starts a shell whose `pid_for_children` is a new namespace. The shell runs the script `first`,
/// and then executes `sleep`. If `first` starts no child, the namespace stays nascent. If `first`
/// starts a child, the namespace is dead after that child has exited.
pub fn unshared(first: &str) -> Running {
    let script = format!("{first} echo ready; exec sleep 600");
    let (running, _) = start_command(Command::new("unshare").args(["-p", "bash", "-c", &script]));
    until("the process sleeps", || comm(running.pid()) == "sleep");
    running
}

/// Python program whose main thread exits while another thread keeps running. System call 60 on
/// x86-64 is exit(2), which ends only the calling thread.
pub const LEADER_EXITS: &str = "import ctypes, threading, time\n\
     threading.Thread(target=time.sleep, args=(600,)).start()\n\
     print('ready', flush=True)\n\
     ctypes.CDLL(None).syscall(60, 0)";

/// Compiles a program in `dir` that calls exec from its second thread over and over. Each exec
/// makes the calling thread the new thread-group leader. The program is static and small, so
/// that each exec is fast and a scan often coincides with one.
pub fn execute_again(dir: &Path) -> PathBuf {
    compile(dir, "execute-again")
}

/// Compiles the C program `name` of `tests/fixtures` in `dir`.
pub fn compile(dir: &Path, name: &str) -> PathBuf {
    let program = dir.join(name);
    let source = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/{}.c"), name);
    let mut cc = Command::new("cc");
    stdout(&run(cc.args(["-O", "-static", "-pthread", "-o"]).arg(&program).arg(source)));
    program
}

/// Runs a command in the PID namespace of `target` by `nsenter`. The parent of the command is
/// `nsenter`, which stays outside of the namespace. Waits until the command has started `sleeps`
/// processes called `sleep`, including itself.
pub fn inject(target: u32, command: &[&str], sleeps: usize) -> Running {
    let target = target.to_string();
    let mut nsenter = Command::new("nsenter");
    let injector = Running::spawn(nsenter.args(["-t", &target, "-p"]).args(command));
    until("the processes are injected", || {
        injected_by(&injector).into_iter().filter(|&pid| comm(pid) == "sleep").count() == sleeps
    });
    injector
}

/// Returns the PIDs of the processes that [`inject`] has started.
pub fn injected_by(injector: &Running) -> Vec<u32> {
    let first = children(injector.pid());
    first.into_iter().flat_map(|pid| [vec![pid], children(pid)].concat()).collect()
}

/// Starts a PID namespace with `namespaces` child namespaces. Each child namespace has an init and
/// `processes` other processes, which sleep.
pub fn farm(namespaces: usize, processes: usize) -> Running {
    let inner = format!("for j in $(seq {processes}); do sleep 600 & done; wait");
    let script = format!(
        "for i in $(seq {namespaces}); do unshare -pf --kill-child bash -c '{inner}' & done; \
         echo ready; wait"
    );
    let mut command = Command::new("unshare");
    let (running, _) = start_command(command.args(["-pf", "--kill-child", "bash", "-c", &script]));
    let outer = children(running.pid())[0];
    until("all processes are started", || {
        let inits = children(outer).into_iter().flat_map(children);
        inits.map(|init| children(init).len()).sum::<usize>() == namespaces * processes
    });
    running
}

/// Starts a process that has a file open `descriptors` times, and `processes` others that share its
/// descriptor table (`CLONE_FILES`). Needs python3.
pub fn share_descriptors(processes: usize, descriptors: usize, path: &str) -> Running {
    // 56 is clone(2) on x86-64.
    let script = "import ctypes, os, resource, signal, sys\n\
         processes, descriptors = int(sys.argv[1]), int(sys.argv[2])\n\
         resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors + 100, descriptors + 100))\n\
         first = os.open(sys.argv[3], os.O_RDONLY)\n\
         for _ in range(descriptors - 1): os.dup(first)\n\
         for _ in range(processes):\n    \
             if ctypes.CDLL(None).syscall(56, 0x400 | signal.SIGCHLD, 0, 0, 0, 0) == 0:\n        \
                 signal.pause()\n\
         print('ready', flush=True)\n\
         signal.pause()";
    let mut command = Command::new("python3");
    command.args(["-c", script, &processes.to_string(), &descriptors.to_string(), path]);
    start_command(&mut command).0
}

/// Starts a process whose child has its PID namespace open `descriptors` times. The child has
/// `threads` threads that have exited, but that their tracer, the process, does not reap. Needs
/// python3.
pub fn unreaped_threads(threads: usize, descriptors: usize) -> Running {
    let script = "import ctypes, os, resource, signal, sys, threading, time\n\
         threads, descriptors = int(sys.argv[1]), int(sys.argv[2])\n\
         resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors + 100, descriptors + 100))\n\
         (started, start), (go, let) = os.pipe(), os.pipe()\n\
         traced = os.fork()\n\
         if traced == 0:\n    \
             threading.stack_size(32768)\n    \
             end = threading.Event()\n    \
             for _ in range(threads): threading.Thread(target=end.wait).start()\n    \
             first = os.open('/proc/self/ns/pid', os.O_RDONLY)\n    \
             for _ in range(descriptors - 1): os.dup(first)\n    \
             os.write(start, b'x'); os.read(go, 1); end.set()\n    \
             while True: signal.pause()\n\
         os.read(started, 1)\n\
         tasks = [int(it) for it in os.listdir('/proc/%d/task' % traced)]\n\
         for tid in tasks:\n    \
             if tid != traced: assert ctypes.CDLL(None).ptrace(0x4206, tid, 0, 0) == 0\n\
         os.write(let, b'x')\n\
         state = lambda tid: open('/proc/%d/task/%d/stat' % (traced, tid)).read().split()[2]\n\
         while any(state(tid) != 'Z' for tid in tasks if tid != traced): time.sleep(0.01)\n\
         print('ready', flush=True)\n\
         signal.pause()";
    let mut command = Command::new("python3");
    command.args(["-c", script, &threads.to_string(), &descriptors.to_string()]);
    start_command(&mut command).0
}

/// Many idle processes, with which a host is so large that `auto` uses BPF.
pub struct Crowd {
    running: Option<Running>,
    /// Only one test at a time has a crowd, so that tests do not count each other's processes.
    _alone: MutexGuard<'static, ()>,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let group = self.running.as_ref().map(Running::pid);
        let group = group.and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
        self.running = None;
        // The orphans of the group are reaped by init.
        holds_within(Duration::from_secs(20), || {
            group.is_none_or(|group| rustix::process::test_kill_process_group(group).is_err())
        });
    }
}

/// Starts this many idle processes. Needs python3.
pub fn crowd(processes: usize) -> Crowd {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let script = "import os, signal, sys\n\
         for _ in range(int(sys.argv[1])):\n    \
             if os.fork() == 0:\n        \
                 signal.pause()\n\
         print('ready', flush=True)\n\
         signal.pause()";
    let mut command = Command::new("python3");
    let (running, _) = start_command(command.args(["-c", script, &processes.to_string()]));
    Crowd { running: Some(running), _alone: alone }
}

/// Number of processes from which on `auto` uses BPF in a search of the default places.
pub const LARGE_HOST: usize = 1100;

/// Measures how many PID namespaces can be nested: 32 on the host, and fewer in a container.
pub fn levels_left() -> usize {
    let script = "echo; unshare -pf bash -c \"$SCRIPT\" 2>/dev/null";
    let mut command = Command::new("bash");
    let output = run(command.args(["-c", script]).env("SCRIPT", script));
    String::from_utf8_lossy(&output.stdout).lines().count() - 1
}

/// Nests `depth` namespaces, each with an init and a `sleep`, and waits until all these
/// processes sleep. Returns the PIDs of the inits, outermost first.
pub fn nest(depth: usize) -> (Running, Vec<u32>) {
    // Each level runs the same script, which is passed in the environment: a script quoted
    // inside itself would double in length at each level.
    let script = "sleep 600 & if [ $1 -gt 1 ]; \
                  then unshare -pf --kill-child bash -c \"$SCRIPT\" bash $(($1 - 1)); \
                  else echo ready; wait; fi";
    let mut command = Command::new("unshare");
    command.args(["-pf", "--kill-child", "bash", "-c", script, "bash", &depth.to_string()]);
    let (running, _) = start_command(command.env("SCRIPT", script));
    let mut inits = Vec::new();
    let mut outer = running.pid();
    while inits.len() < depth {
        let init = children(outer)
            .into_iter()
            .find(|&pid| status(pid, "NSpid").last().map(String::as_str) == Some("1"));
        if let Some(init) = init {
            inits.push(init);
            outer = init;
        } else {
            let unshare = children(outer).into_iter().find(|&pid| comm(pid) == "unshare");
            outer = unshare.expect("the next unshare exists");
        }
    }
    for &init in &inits {
        sleep_of(init);
        let at_rest = |&pid: &u32| status(pid, "State").first().is_some_and(|it| it == "S");
        until("all processes wait", || at_rest(&init) && children(init).iter().all(at_rest));
    }
    (running, inits)
}

/// Waits until a child of this init has executed `sleep`, and returns its PID.
pub fn sleep_of(init: u32) -> u32 {
    let find = || children(init).into_iter().find(|&pid| comm(pid) == "sleep");
    until("the child is sleep", || find().is_some());
    find().expect("sleep keeps running")
}

/// A cgroup in a new hierarchy, with a path like a container runtime's cgroup path.
pub struct Cgroup {
    name: String,
    mount: tempfile::TempDir,
    path: String,
}

/// Number of cgroup hierarchies created so far, which makes the name of each hierarchy unique.
static CGROUPS: AtomicU32 = AtomicU32::new(0);

impl Cgroup {
    /// Mounts a new cgroup hierarchy called `name`, creates the cgroup `path` in it, and moves
    /// the process `pid` there.
    pub fn of(name: &str, path: &str, pid: u32) -> Self {
        let mount = tempfile::tempdir().expect("is made");
        let count = CGROUPS.fetch_add(1, Ordering::Relaxed);
        let name = format!("name=pidns-{name}-{}-{count}", std::process::id());
        let cgroup = Self { name, mount, path: path.to_owned() };
        assert!(cgroup.mount());
        let dir = cgroup.mount.path().join(path);
        std::fs::create_dir_all(&dir).expect("is made");
        std::fs::write(dir.join("cgroup.procs"), pid.to_string()).expect("is moved");
        cgroup
    }

    fn mount(&self) -> bool {
        let options = format!("none,{}", self.name);
        let mut command = Command::new("mount");
        command.args(["-t", "cgroup", "-o", &options, "none"]).arg(self.mount.path());
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let top = self.mount.path();
        let procs = |dir: &Path| std::fs::read_to_string(dir.join("cgroup.procs"));
        // Only a cgroup without processes can be removed, so move its processes to the root cgroup
        // first.
        for dir in Path::new(&self.path).ancestors().filter(|it| !it.as_os_str().is_empty()) {
            let dir = top.join(dir);
            for pid in procs(&dir).unwrap_or_default().lines() {
                let _ = std::fs::write(top.join("cgroup.procs"), pid);
            }
            let _ = std::fs::remove_dir(&dir);
        }
        // The kernel removes the hierarchy soon after its last umount, unless some of its cgroups
        // are still being destroyed. In that case, mount and unmount the hierarchy again.
        for _ in 0..100 {
            let _ = Command::new("umount").arg(top).status();
            let left = || std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            let gone = || !left().contains(&self.name);
            if holds_within(Duration::from_millis(100), gone) || !self.mount() {
                break;
            }
        }
    }
}

/// Waits until the condition holds. Panics after 20 seconds.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(Duration::from_secs(20), what, condition);
}

/// Waits until the condition holds. Panics after `time`.
pub fn until_within(time: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(time, condition), "timed out: {what}");
}

/// Returns `true` as soon as the condition holds, or `false` if it does not hold within `time`.
fn holds_within(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn kill(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("is a PID"), signal).expect("is sent");
}

/// Stops a process, and waits until it is stopped and thus no longer reaps its children.
pub fn stop(pid: u32) {
    kill(pid, Signal::STOP);
    until("the process is stopped", || {
        status(pid, "State").first().is_some_and(|state| state == "T")
    });
}
