//! Making processes, namespaces and cgroups of the real kernel.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{children, comm, run, status, stdout};

/// A process of ours, ended with all that it started: they are one process
/// group.
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

/// Starts a shell script. It says `ready` when all is in place, after lines
/// of `NAME PID`, in the numbers of the host, which are returned.
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
        let (name, pid) = line.split_once(' ').unwrap_or_else(|| panic!("no pair: {line}"));
        names.insert(name.to_owned(), pid.parse().expect("a PID"));
    }
    panic!("not ready: {command:?}");
}

/// A command that runs a shell script as the init of a container: a PID
/// namespace with a /proc of its own.
pub fn in_container(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-pf", "--mount-proc", "--kill-child", "bash", "-c", script]);
    command
}

/// Starts a container whose init runs this script, as [`start`] does; its init.
pub fn container(script: &str) -> (Running, u32) {
    let (running, _) = start_command(&mut in_container(script));
    let init = children(running.pid())[0];
    (running, init)
}

/// For scripts: starts a `sleep`, and goes on when it is one and no more a shell.
pub const SLEEP: &str = "sleep 600 & until [ \"$(</proc/$!/comm)\" = sleep ]; do :; done;";

/// A command that runs a shell script in a mount namespace of its own, whose
/// mounts nobody else sees, with `$1`, `$2` and so on.
pub fn in_mount_namespace(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-m", "bash", "-c", script, "bash"]).args(arguments);
    command
}

/// A process whose `pid_for_children` is another namespace than its own; `first`
/// is what its shell does before it becomes `sleep`. After one child that
/// namespace is dead, before any it is nascent.
pub fn unshared(first: &str) -> Running {
    let script = format!("{first} echo ready; exec sleep 600");
    let (running, _) = start_command(Command::new("unshare").args(["-p", "bash", "-c", &script]));
    until("it sleeps", || comm(running.pid()) == "sleep");
    running
}

/// A program of Python whose main thread ends by the system call of that name
/// for threads, exit, while another one goes on.
pub const LEADER_EXITS: &str = "import ctypes, threading, time\n\
     threading.Thread(target=time.sleep, args=(600,)).start()\n\
     print('ready', flush=True)\n\
     ctypes.CDLL(None).syscall(60, 0)";

/// Makes a program, in a directory, whose leader waits while another thread executes
/// it anew, over and over, and takes the leader's place each time. The smaller it
/// is, the more often a look falls in between.
pub fn execute_again(dir: &Path) -> PathBuf {
    let program = dir.join("execute-again");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/execute-again.c");
    let mut cc = Command::new("cc");
    stdout(&run(cc.args(["-O", "-static", "-pthread", "-o"]).arg(&program).arg(source)));
    program
}

/// Runs a command in the namespace of `target`, by `nsenter`, which stays as
/// the parent outside. Returns as soon as `sleeps` processes called `sleep` are in.
pub fn inject(target: u32, command: &[&str], sleeps: usize) -> Running {
    let target = target.to_string();
    let mut nsenter = Command::new("nsenter");
    let injector = Running::spawn(nsenter.args(["-t", &target, "-p"]).args(command));
    until("it is in", || {
        injected_by(&injector).into_iter().filter(|&pid| comm(pid) == "sleep").count() == sleeps
    });
    injector
}

/// The processes that [`inject`] brought in.
pub fn injected_by(injector: &Running) -> Vec<u32> {
    let first = children(injector.pid());
    first.into_iter().flat_map(|pid| [vec![pid], children(pid)].concat()).collect()
}

/// A farm: a namespace with so many more in it, which have an init and
/// `processes` that sleep each.
pub fn farm(namespaces: usize, processes: usize) -> Running {
    let inner = format!("for j in $(seq {processes}); do sleep 600 & done; wait");
    let script = format!(
        "for i in $(seq {namespaces}); do unshare -pf --kill-child bash -c '{inner}' & done; \
         echo ready; wait"
    );
    let mut command = Command::new("unshare");
    let (running, _) = start_command(command.args(["-pf", "--kill-child", "bash", "-c", &script]));
    let outer = children(running.pid())[0];
    until("a farm", || {
        let inits = children(outer).into_iter().flat_map(children);
        inits.map(|init| children(init).len()).sum::<usize>() == namespaces * processes
    });
    running
}

/// How many namespaces can be nested here: 32 on the host, fewer in a container.
pub fn levels_left() -> usize {
    let script = "echo; unshare -pf bash -c \"$SCRIPT\" 2>/dev/null";
    let mut command = Command::new("bash");
    let output = run(command.args(["-c", script]).env("SCRIPT", script));
    String::from_utf8_lossy(&output.stdout).lines().count() - 1
}

/// A namespace with an init and `depth - 1` more nested in it, each with an
/// init and a `sleep`, which all do nothing any more; the host PIDs of the
/// inits, outermost first.
pub fn nest(depth: usize) -> (Running, Vec<u32>) {
    // Each level runs the same script, which is in the environment: quoting
    // it in itself would double it every time.
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
            outer = unshare.expect("the next unshare is there");
        }
    }
    // The shells that became `sleep`, and who waits, are at rest from here on.
    for &init in &inits {
        sleep_of(init);
        let at_rest = |&pid: &u32| status(pid, "State").first().is_some_and(|it| it == "S");
        until("all of them wait", || at_rest(&init) && children(init).iter().all(at_rest));
    }
    (running, inits)
}

/// The `sleep` of an init of [`nest`], as soon as it is one.
pub fn sleep_of(init: u32) -> u32 {
    let find = || children(init).into_iter().find(|&pid| comm(pid) == "sleep");
    until("sleep sleeps", || find().is_some());
    find().expect("it stays")
}

/// A cgroup hierarchy of our own, as a container runtime names its cgroups.
pub struct Cgroup {
    name: String,
    mount: tempfile::TempDir,
    path: String,
}

/// How many were made: each has a hierarchy of its own.
static CGROUPS: AtomicU32 = AtomicU32::new(0);

impl Cgroup {
    /// The cgroup at `path` of a new hierarchy called `name`, with one process.
    pub fn of(name: &str, path: &str, pid: u32) -> Self {
        let mount = tempfile::tempdir().expect("is made");
        let count = CGROUPS.fetch_add(1, Ordering::Relaxed);
        let name = format!("name=pidns-{name}-{}-{count}", std::process::id());
        let cgroup = Self { name, mount, path: path.to_owned() };
        assert!(cgroup.mount());
        let dir = cgroup.mount.path().join(path);
        std::fs::create_dir_all(&dir).expect("is made");
        std::fs::write(dir.join("cgroup.procs"), pid.to_string()).expect("moves");
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
        // Whoever is still in there goes back to the top.
        for dir in Path::new(&self.path).ancestors().filter(|it| !it.as_os_str().is_empty()) {
            let dir = top.join(dir);
            for pid in procs(&dir).unwrap_or_default().lines() {
                let _ = std::fs::write(top.join("cgroup.procs"), pid);
            }
            let _ = std::fs::remove_dir(&dir);
        }
        // The hierarchy goes soon after its last mount, unless the kernel was
        // not done with the cgroups then.
        for _ in 0..20 {
            let _ = Command::new("umount").arg(top).status();
            let left = || std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            let gone = || !left().contains(&self.name);
            if holds_within(Duration::from_millis(100), gone) || !self.mount() {
                break;
            }
        }
    }
}

/// Waits until `condition` holds.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(Duration::from_secs(20), condition), "timed out: {what}");
}

/// Whether `condition` comes to hold in that time.
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

/// Sends a signal to a process.
pub fn kill(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("is a PID"), signal).expect("is sent");
}

/// Stops a process. The signal takes effect a moment after it is sent: until
/// then a process that waits for its children still reaps one that ends.
pub fn stop(pid: u32) {
    kill(pid, Signal::STOP);
    until("it is stopped", || status(pid, "State").first().is_some_and(|state| state == "T"));
}
