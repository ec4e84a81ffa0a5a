//! Makes each limit full on the real kernel, and compares `pidns limits` with the error of fork or
//! unshare.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::Need::*;
use common::*;
use serde_json::Value;

/// The limits that `pidns limits` shows for a process, and its exit status.
fn limits_of(pid: u32) -> (Vec<Value>, i32) {
    let output = pidns(&["limits", "-q", "-f", "json", &pid.to_string()]);
    (rows(&output), output.status.code().expect("exits"))
}

/// A limit in short: its numbers, and whether it is full.
#[derive(Debug, PartialEq)]
struct Numbers {
    used: u64,
    max: u64,
    full: bool,
}

fn full(used: u64, max: u64) -> Numbers {
    Numbers { used, max, full: true }
}

fn open(used: u64, max: u64) -> Numbers {
    Numbers { used, max, full: false }
}

fn numbers(row: &Value) -> Numbers {
    Numbers {
        used: row["used"].as_u64().unwrap_or_else(|| panic!("{row:#}")),
        max: row["max"].as_u64().unwrap_or_else(|| panic!("{row:#}")),
        full: row["full"].as_bool().unwrap_or_else(|| panic!("{row:#}")),
    }
}

/// Returns the numbers of a limit, and checks the exit status, which says if any limit is full.
fn limit(pid: u32, kind: &str, scope: &[(&str, Value)]) -> Numbers {
    let (rows, status) = limits_of(pid);
    let any = rows.iter().any(|it| it["full"] == true);
    assert_eq!(status, i32::from(any), "{rows:#?}");
    if any {
        assert_eq!(rows[0]["full"], true, "full limits come first");
    }
    numbers(find(&rows, kind, scope))
}

/// Returns the namespace of the forker's children, and the PID of the forker itself.
fn inner(forker: &Forker) -> (u32, Value) {
    until("the init is there", || !children(forker.child.id()).is_empty());
    let init = children(forker.child.id())[0];
    until("the init runs Python", || comm(init).starts_with("python"));
    (init, namespace_of(init).into())
}

const CONTAINER: &str = "unshare -pf --mount-proc --kill-child";

#[test]
fn pid_max_is_full_before_and_after_the_wrap_around() {
    needs!(HostRoot, Initial("pid"), Bpf, Linux(6, 14), Program("python3"));
    let mut forker = Forker::start(CONTAINER);
    let (init, id) = inner(&forker);
    let here = [("namespace", id)];
    assert_eq!(forker.tell("write 310 /proc/sys/kernel/pid_max"), "ok");
    // The init has PID 1, and PIDs are less than the maximum.
    assert_eq!(forker.until_refused("fork"), (308, "EAGAIN".to_owned()));
    assert_eq!(limit(init, "pid_max", &here), full(309, 310));
    // Until PIDs have wrapped around, ending any process other than the init helps.
    let end = format!("or end a process in {} other than its init {init} (", namespace_of(init));
    assert!(advice(init)[1].starts_with(&end), "{:?}", advice(init));
    forker.tell("kill");
    assert_eq!(limit(init, "pid_max", &here), open(308, 310));
    assert_eq!(forker.until_refused("fork"), (1, "EAGAIN".to_owned()));
    // From now on, only PIDs from 300 on are handed out.
    for _ in 0..308 {
        assert_eq!(forker.tell("kill"), "ok");
    }
    assert_eq!(limit(init, "pid_max", &here), open(1, 310));
    assert_eq!(forker.until_refused("fork"), (10, "EAGAIN".to_owned()));
    assert_eq!(limit(init, "pid_max", &here), full(11, 310));
    forker.tell("kill");
    let (rows, _) = limits_of(init);
    let row = find(&rows, "pid_max", &here);
    assert_eq!((numbers(row), &row["free"]), (open(10, 310), &1.into()));
    assert_eq!(forker.tell("fork"), "ok");
    let text = pidns(&["limits", "-q", &init.to_string()]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.starts_with(&format!(
            "fork fails with \"Resource temporarily unavailable\": {} has 11 PIDs in use and 0 free \
             (kernel.pid_max 310; the kernel now assigns only PIDs 300 to 309)",
            here[0].1.as_str().unwrap()
        )),
        "{text}"
    );
    // A process in the namespace can follow the first advice without a fork.
    let advice = advice(init);
    let id = namespace_of(init);
    let write = format!(
        "in a shell in {id} (where {init} {} is PID 1), as root: echo 620 > /proc/sys/kernel/pid_max",
        comm(init)
    );
    assert_eq!(advice[0], write);
    assert_eq!(forker.tell("write 620 /proc/sys/kernel/pid_max"), "ok");
    assert_eq!(limit(init, "pid_max", &here), open(11, 620));
    assert_eq!(forker.tell("fork"), "ok");
    // The command of the second advice needs a free PID, and the kernel assigns only PIDs from 300
    // on.
    let inode = &id["pid:[".len()..id.len() - 1];
    let end = format!(
        "or end a process in {id} whose PID there is 300 or higher (pidns --root {inode} --no-fold \
         shows them), because the next command (nsenter) needs a free PID"
    );
    assert_eq!(advice[1], end);
    assert!(shown_by(&end).contains(" → 309 "), "{}", shown_by(&end));
    forker.tell("kill");
    assert_eq!(forker.tell("write 310 /proc/sys/kernel/pid_max"), "ok");
    forker.tell("kill");
    follow(&advice[2]);
    assert_eq!(limit(init, "pid_max", &here), open(10, 620));
    assert_eq!(advice.len(), 3, "{advice:?}");
}

#[test]
fn a_process_needs_a_free_pid_at_every_level() {
    needs!(HostRoot, Initial("pid"), Bpf, Linux(6, 14), Program("python3"));
    let mut outer = Forker::start(CONTAINER);
    let (outer_init, outer_id) = inner(&outer);
    assert_eq!(outer.tell("write 310 /proc/sys/kernel/pid_max"), "ok");
    let mut nested = Forker::start(&format!("nsenter -t {outer_init} -p -m {CONTAINER}"));
    // The forker's processes are nsenter, its child in the outer namespace, and the nested init.
    let entered = children(nested.child.id())[0];
    until("the nested init is there", || !children(entered).is_empty());
    let nested_init = children(entered)[0];
    let nested_id: Value = namespace_of(nested_init).into();
    assert_ne!(nested_id, outer_id);
    let (started, _) = outer.until_refused("fork");
    assert_eq!(nested.tell("fork"), "EAGAIN");
    let (rows, status) = limits_of(nested_init);
    assert_eq!(status, 1);
    assert_eq!(rows[0]["scope"]["namespace"], outer_id);
    // Besides the children of the outer init: that init, unshare and the nested init.
    assert_eq!(numbers(&rows[0]), full(u64::try_from(started).unwrap() + 3, 310));
    let own = find(&rows, "pid_max", &[("namespace", nested_id)]);
    assert_eq!((numbers(own), &own["used"]), (open(1, 4_194_304), &1.into()));
    outer.tell("kill");
    assert_eq!(nested.tell("fork"), "ok");
}

/// A sysctl, which gets its old value back on drop.
struct Sysctl(&'static str, String);

impl Sysctl {
    fn set(file: &'static str, value: u64) -> Self {
        let old = std::fs::read_to_string(file).expect("is readable");
        std::fs::write(file, value.to_string()).unwrap_or_else(|error| panic!("{file}: {error}"));
        Self(file, old)
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        std::fs::write(self.0, &self.1).expect("is written");
    }
}

/// A shell that waits for a line, and then becomes `pidns limits -f json`, without a fork.
struct Shell(Child);

impl Shell {
    fn start(pid: u32) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read -r _; exec \"$@\"", "sh", PIDNS, "limits", "-q", "-f", "json"]);
        command.arg(pid.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.stderr(Stdio::piped()).spawn().expect("starts"))
    }

    fn exec(mut self) -> (Vec<Value>, i32) {
        self.0.stdin.take().expect("piped").write_all(b"\n").expect("is read");
        let output = self.0.wait_with_output().expect("ends");
        (rows(&output), output.status.code().expect("exits"))
    }
}

#[test]
fn threads_max_is_full_and_a_shell_that_cannot_fork_executes_pidns() {
    needs!(OwnKernel, Program("python3"));
    let mut forker = Forker::start("env");
    let pid = forker.child.id();
    let shells = [Shell::start(pid), Shell::start(pid)];
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    let tasks: u64 = load.split([' ', '/']).nth(4).unwrap().parse().unwrap();
    let max = tasks + 5;
    let threads_max = Sysctl::set("/proc/sys/kernel/threads-max", max);
    assert_eq!(forker.until_refused("fork"), (5, "EAGAIN".to_owned()));
    let [first, second] = shells;
    let (rows, status) = first.exec();
    assert_eq!((numbers(find(&rows, "threads_max", &[])), status), (full(max, max), 1));
    assert_eq!(rows[0]["limit"], "threads_max");
    // The shell that has become pidns is gone.
    assert_eq!(forker.tell("fork"), "ok");
    assert_eq!(forker.tell("fork"), "EAGAIN");
    // The shell becomes a pidns with two threads.
    forker.tell("kill");
    forker.tell("kill");
    let (rows, status) = second.exec();
    assert_eq!((numbers(find(&rows, "threads_max", &[])), status), (open(max - 1, max), 0));
    assert_eq!(forker.tell("fork"), "ok");
    drop(threads_max);
}

#[test]
fn the_pid_max_of_the_host_is_full() {
    needs!(OwnKernel, Bpf, Program("python3"));
    let host = [("namespace", "pid:[4026531836]".into())];
    let mut forker = Forker::start(CONTAINER);
    let (init, id) = inner(&forker);
    let shells = [Shell::start(init), Shell::start(init)];
    // All PIDs in use are below the maximum, and a few are left until the wrap-around.
    let max = shells[1].0.id() + 10;
    let pid_max = Sysctl::set("/proc/sys/kernel/pid_max", max.into());
    assert_eq!(forker.until_refused("fork").1, "EAGAIN");
    let [first, second] = shells;
    let (rows, status) = first.exec();
    let row = find(&rows, "pid_max", &host);
    assert_eq!((&row["max"], &row["free"], &row["full"]), (&max.into(), &0.into(), &true.into()));
    assert_eq!((&rows[0]["scope"]["namespace"], status), (&row["scope"]["namespace"], 1));
    // Before Linux 6.14, the same maximum applies to the nested namespace.
    let nested = find(&rows, "pid_max", &[("namespace", id)]);
    let nested_max = if kernel_version() < (6, 14) { max } else { 4_194_304 };
    assert_eq!((&nested["max"], &nested["full"]), (&nested_max.into(), &false.into()));
    // The PID of the shell that has become pidns is free again.
    assert_eq!(forker.tell("fork"), "ok");
    assert_eq!(forker.tell("fork"), "EAGAIN");
    // The shell becomes a pidns with two threads, each of which has a PID.
    forker.tell("kill");
    forker.tell("kill");
    let (rows, status) = second.exec();
    let row = find(&rows, "pid_max", &host);
    assert_eq!((&row["max"], &row["free"], &row["full"]), (&max.into(), &1.into(), &false.into()));
    assert_eq!((forker.tell("fork").as_str(), status), ("ok", 0));
    drop(pid_max);
}

#[test]
fn a_cgroup_and_its_ancestor_are_full() {
    needs!(HostRoot, Initial("cgroup"), Program("python3"));
    let Some(cgroup) = PidsCgroup::new() else {
        say_skipped("a_cgroup_and_its_ancestor_are_full", "the pids controller is not mounted");
        return;
    };
    let mut forker = Forker::start("env");
    let pid = forker.child.id();
    cgroup.write("job/cgroup.procs", &pid.to_string());
    cgroup.write("job/pids.max", "4");
    let own = [("cgroup", cgroup.path("/job"))];
    let above = [("cgroup", cgroup.path(""))];
    assert_eq!(forker.until_refused("fork"), (3, "EAGAIN".to_owned()));
    let (rows, status) = limits_of(pid);
    let row = find(&rows, "pids_cgroup", &own);
    assert_eq!((numbers(row), status), (full(4, 4), 1));
    assert_eq!(row["refused"], 1);
    let unlimited = find(&rows, "pids_cgroup", &above);
    assert_eq!((&unlimited["max"], &unlimited["full"]), (&Value::Null, &false.into()));
    assert_eq!(unlimited["used"], 4);
    // A zombie counts, and the process that must reap it is named.
    assert_eq!(forker.tell("zombie"), "ok");
    let (rows, _) = limits_of(pid);
    let row = find(&rows, "pids_cgroup", &own);
    assert_eq!((numbers(row), &row["zombies"]), (full(4, 4), &1.into()));
    assert_eq!(row["reaper"]["pid"], pid);
    let text = pidns(&["limits", "-q", &pid.to_string()]);
    let text = String::from_utf8(text.stdout).unwrap();
    let expected = format!(
        "fork fails with \"Resource temporarily unavailable\": cgroup {} has 4 of 4 tasks (refused \
         once); 1 zombie of {pid} {}\n",
        own[0].1.as_str().unwrap(),
        comm(pid)
    );
    assert!(text.starts_with(&expected), "{text}");
    assert!(text.contains(&format!("echo 8 > {}/job/pids.max", cgroup.0.display())), "{text}");
    forker.tell("kill");
    assert_eq!(limit(pid, "pids_cgroup", &own), open(3, 4));
    assert_eq!(forker.tell("fork"), "ok");
    // The same at the ancestor.
    cgroup.write("job/pids.max", "max");
    cgroup.write("pids.max", "4");
    assert_eq!(forker.tell("fork"), "EAGAIN");
    assert_eq!(limit(pid, "pids_cgroup", &above), full(4, 4));
    forker.tell("kill");
    assert_eq!(limit(pid, "pids_cgroup", &above), open(3, 4));
    assert_eq!(forker.tell("fork"), "ok");
    let advice = advice(pid);
    let path = cgroup.path("");
    let path = path.as_str().unwrap();
    let end = format!("or end a task of cgroup {path} (pidns --tree {pid} shows them)");
    assert_eq!(advice[1], end);
    let shown = shown_by(&end);
    assert!(children(pid).iter().all(|it| shown.contains(&it.to_string())), "{shown}");
    follow(&advice[0]);
    assert_eq!(limit(pid, "pids_cgroup", &above), open(4, 8));
    assert_eq!(forker.tell("fork"), "ok");
    // If more tasks are in use than allowed, several have to end. If none is allowed, ending tasks
    // does not help.
    cgroup.write("pids.max", "3");
    assert!(self::advice(pid)[1].starts_with("or end 3 tasks of "), "{:?}", self::advice(pid));
    for _ in 0..3 {
        forker.tell("kill");
    }
    assert_eq!(forker.tell("fork"), "ok");
    cgroup.write("pids.max", "0");
    assert_eq!(self::advice(pid).len(), 1, "{:?}", self::advice(pid));
}

/// Directories that are removed on drop, the last one first.
#[derive(Default)]
struct Dirs(Vec<PathBuf>);

impl Dirs {
    /// Makes a cgroup, and passes the pids controller on to its children (cgroup version 2).
    fn make(&mut self, dir: &Path) {
        fs::create_dir(dir).unwrap();
        self.0.push(dir.to_owned());
        let _ = fs::write(dir.join("cgroup.subtree_control"), "+pids");
    }
}

impl Drop for Dirs {
    fn drop(&mut self) {
        for dir in self.0.iter().rev() {
            until("the cgroup is removed", || fs::remove_dir(dir).is_ok());
        }
    }
}

#[test]
fn deeply_nested_cgroups_are_read_in_little_time() {
    needs!(HostRoot, Initial("cgroup"), NamespaceOfItsOwn);
    let Some(cgroup) = PidsCgroup::new() else {
        let test = "deeply_nested_cgroups_are_read_in_little_time";
        say_skipped(test, "the pids controller is not mounted");
        return;
    };
    let (mut dirs, mut dir, mut running) = (Dirs::default(), cgroup.0.join("top"), Vec::new());
    dirs.make(&dir);
    for level in 1..=1800 {
        dir.push("x");
        dirs.make(&dir);
        // pidns reads 64 levels for each process.
        if level % 60 == 0 {
            let member = dir.join("member");
            fs::create_dir(&member).unwrap();
            let process = Running::spawn(Command::new("sleep").arg("600"));
            fs::write(member.join("cgroup.procs"), process.pid().to_string()).unwrap();
            dirs.0.push(member);
            running.push(process);
        }
    }
    // Looking up the whole path of each file would take more than a second.
    let mut command = with_processor_seconds(1, PIDNS);
    command.args(["limits", "-q", "-f", "json"]);
    command.args(running.iter().map(|it| it.pid().to_string()));
    let document: Value = serde_json::from_str(&stdout(&run(&mut command))).unwrap();
    let above = cgroup.path("/top/x");
    let is_nested = |it: &&Value| {
        it["scope"]["cgroup"].as_str().is_some_and(|it| it.starts_with(above.as_str().unwrap()))
    };
    let nested = document["limits"].as_array().unwrap().iter().filter(is_nested);
    let used = nested.map(|it| it["used"].as_u64().unwrap());
    // Each cgroup contains the processes of all cgroups below it.
    assert_eq!(used.sum::<u64>(), 30 + (1..=30).map(|it| 60 * it).sum::<u64>());
    // Only limits of the deeply nested processes are left out.
    let said = |pid: u32| stdout(&pidns(&["limits", "-q", &pid.to_string()]));
    let left_out = "limits of cgroups more than 64 levels above a process are unknown";
    assert!(said(running[29].pid()).contains(left_out));
    assert!(!said(std::process::id()).contains(left_out));
    drop(running);
}

#[test]
fn rlimit_nproc_is_full_in_the_initial_user_namespace() {
    needs!(HostRoot, Program("python3"));
    let mut forker = Forker::start(&format!("prlimit --nproc=5: {}", as_user(54_321)));
    let pid = forker.child.id();
    assert_eq!(forker.until_refused("fork"), (4, "EAGAIN".to_owned()));
    let user = [("uid", 54_321.into()), ("user_namespace", 4_026_531_837_u64.into())];
    assert_eq!(limit(pid, "nproc", &user), full(5, 5));
    let proc = pidns(&["limits", "-q", "-f", "json", "--collector", "proc", &pid.to_string()]);
    assert_eq!(numbers(find(&rows(&proc), "nproc", &user)), full(5, 5));
    forker.tell("kill");
    assert_eq!(limit(pid, "nproc", &user), open(4, 5));
    assert_eq!(forker.tell("fork"), "ok");
    // Root may lack CAP_SYS_RESOURCE, so the user follows the advice. Only the soft limit is low.
    let name = format!("{pid} {}", comm(pid));
    let soft = format!(
        "prlimit --pid {pid} --nproc=10: # for {name}; as user 54321, or with CAP_SYS_RESOURCE"
    );
    let end = format!("end a task of user 54321 (pidns --tree {pid} shows them)");
    assert_eq!(advice(pid), [soft.clone(), format!("or {end}")]);
    follow(&format!("{} sh -c '{soft}'", as_user(54_321)));
    assert_eq!(limit(pid, "nproc", &user), open(5, 10));
    // Now the hard limit is low, too.
    assert_eq!(forker.tell("nproc 5"), "ok");
    let prlimit = format!("prlimit --pid {pid} --nproc=10 # for {name}");
    let (advised, hard) = (advice(pid), "; raising the hard limit of 5 needs CAP_SYS_RESOURCE");
    if has_sys_resource() {
        assert_eq!(advised, [format!("{prlimit}{hard}"), format!("or {end}")]);
    } else {
        let lacking = "or with CAP_SYS_RESOURCE (pidns runs without it): ";
        assert_eq!(advised, [end, format!("{lacking}{prlimit}")]);
    }
    let followed = run(Command::new("sh").args(["-c", &prlimit]));
    assert_eq!(followed.status.success(), has_sys_resource(), "{followed:?}");
    let raised = if has_sys_resource() { open(5, 10) } else { full(5, 5) };
    assert_eq!(limit(pid, "nproc", &user), raised);
}

/// Returns `true` if this process has `CAP_SYS_RESOURCE`.
fn has_sys_resource() -> bool {
    let capabilities = status(std::process::id(), "CapEff");
    u64::from_str_radix(&capabilities[0], 16).unwrap() & 1 << 24 != 0
}

#[test]
fn rlimit_nproc_is_full_in_another_user_namespace() {
    needs!(HostRoot, Initial("pid"), Bpf, UserNamespaces, Program("python3"));
    let mut forker = Forker::start(&format!("{} unshare -U", as_user(54_322)));
    let pid = forker.child.id();
    forker.tell("nproc 5");
    assert_eq!(forker.until_refused("fork"), (4, "EAGAIN".to_owned()));
    let inode = link(format!("/proc/{pid}/ns/user")).unwrap();
    let inode: u64 = inode["user:[".len()..].trim_end_matches(']').parse().unwrap();
    let user = [("uid", 54_322.into()), ("user_namespace", inode.into())];
    assert_eq!(limit(pid, "nproc", &user), full(5, 5));
    forker.tell("kill");
    assert_eq!(limit(pid, "nproc", &user), open(4, 5));
    assert_eq!(forker.tell("fork"), "ok");
}

#[test]
fn the_limit_at_the_creation_of_a_user_namespace_applies_to_its_creator() {
    needs!(HostRoot, Initial("pid"), Bpf, UserNamespaces, Program("python3"));
    let limited = "prlimit --nproc=5:9 unshare -U prlimit --nproc=9:";
    let mut forker = Forker::start(&format!("{} {limited}", as_user(54_323)));
    let pid = forker.child.id();
    assert_eq!(forker.until_refused("fork"), (4, "EAGAIN".to_owned()));
    let above = [("uid", 54_323.into()), ("user_namespace", 4_026_531_837_u64.into())];
    assert_eq!(limit(pid, "nproc", &above), full(5, 5));
    // The limit of the process itself would change nothing, so the advice is another one.
    let text = stdout_of_full(&pidns(&["limits", "-q", &pid.to_string()]));
    let inode = link(format!("/proc/{pid}/ns/user")).unwrap();
    let advice = format!(
        "{inode} keeps this limit; start the process outside, or in a new user namespace with "
    );
    let (_, command) = text.split_once(&advice).unwrap_or_else(|| panic!("{text}"));
    let command = command.lines().next().unwrap();
    assert_eq!(command, "prlimit --nproc=10 unshare --user");
    assert!(!text.contains(&format!("--pid {pid}")), "{text}");
    let mut started = Forker::start(&format!("{} {command}", as_user(54_323)));
    assert_eq!(started.until_refused("fork"), (4, "EAGAIN".to_owned()));
    drop(started);
    forker.tell("kill");
    until("the other processes have ended", || limit(pid, "nproc", &above) == open(4, 5));
    assert_eq!(forker.tell("fork"), "ok");
}

#[test]
fn the_limits_of_pidns_in_a_nascent_namespace_are_known() {
    needs!(HostRoot, Initial("pid"), Bpf, NamespaceList);
    let mut command = Command::new("unshare");
    let script = "exec \"$0\" limits -q -f json $$";
    let output = run(command.args(["--pid", "sh", "-c", script, PIDNS]));
    let text = stdout(&output);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["unknown"], 0, "{text}");
    let rows = document["limits"].as_array().unwrap();
    let nascent = rows.iter().filter(|it| it["limit"] == "pid_max" && it["used"] == 0);
    assert_eq!(nascent.map(|it| &it["max"]).collect::<Vec<_>>(), [&4_194_304], "{text}");
}

/// Python program that starts processes which create their children in the namespace of another
/// process.
const FOR_CHILDREN: &str = "
import ctypes, os, signal, sys
libc = ctypes.CDLL(None)
init, count = sys.argv[1:]
namespace = os.open(f'/proc/{init}/ns/pid', os.O_RDONLY)
ready, done = os.pipe()
for _ in range(int(count)):
    if os.fork() == 0:
        libc.prctl(1, signal.SIGKILL)
        os.write(done, b'x' if libc.setns(namespace, 0) == 0 else b'')
        signal.pause()
for _ in range(int(count)): os.read(ready, 1)
print('ready', flush=True)
signal.pause()
";

#[test]
fn the_pids_of_a_namespace_are_counted_once_and_in_a_read_of_their_own() {
    needs!(HostRoot, Initial("pid"), Bpf, Program("python3"), Program("strace"));
    let (_outer, init) = container("unshare -pf --kill-child sleep 600 & echo ready; wait");
    until("the nested init is there", || {
        children(init).first().is_some_and(|&it| !children(it).is_empty())
    });
    let nested = children(children(init)[0])[0];
    let mut command = Command::new("python3");
    let arguments = ["-c", FOR_CHILDREN, &nested.to_string(), "300"];
    let (_processes, _) = start_command(command.args(arguments));
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-xx", "-s", "4", "-e", "trace=read", "-o"]).arg(&log);
    let output = run(command.args([PIDNS, "limits", "-q", "-f", "json"]));
    serde_json::from_slice::<Value>(&output.stdout).expect("is a document");
    // A record has 32 bytes, and begins with the inode of its namespace.
    let text = std::fs::read_to_string(log).unwrap();
    let reads: Vec<&str> = text.lines().filter(|line| line.ends_with(", 32) = 32")).collect();
    for pid in [init, nested] {
        let id = namespace_of(pid);
        let inode: u32 = id["pid:[".len()..].trim_end_matches(']').parse().unwrap();
        let bytes: String = inode.to_le_bytes().map(|byte| format!("\\x{byte:02x}")).concat();
        let of_it = reads.iter().filter(|line| line.contains(&format!("\"{bytes}\"")));
        assert_eq!(of_it.count(), 1, "{id}: {text}");
    }
}

#[test]
fn rlimit_nproc_does_not_apply_to_root() {
    needs!(HostRoot, Program("python3"));
    let mut forker = Forker::start("prlimit --nproc=1:");
    assert_eq!(forker.tell("fork"), "ok");
    let (rows, _) = limits_of(forker.child.id());
    assert!(rows.iter().all(|it| it["limit"] != "nproc"), "{rows:#?}");
}

#[test]
fn user_max_pid_namespaces_is_full() {
    needs!(HostRoot, Initial("pid"), Bpf, UserNamespaces, Program("python3"));
    let mut forker = Forker::start("unshare -Ur");
    let pid = forker.child.id();
    assert_eq!(forker.tell("write 2 /proc/sys/user/max_pid_namespaces"), "ok");
    assert_eq!(forker.until_refused("unshare"), (2, "ENOSPC".to_owned()));
    let inode = link(format!("/proc/{pid}/ns/user")).unwrap();
    let inode: u64 = inode["user:[".len()..].trim_end_matches(']').parse().unwrap();
    let here = [("user_namespace", inode.into())];
    assert_eq!(limit(pid, "max_pid_namespaces", &here), full(2, 2));
    // The owner of the user namespace could read the environment of a process that enters it.
    let who = format!("as root of user:[{inode}], for example in {pid} {}", comm(pid));
    let write = "echo 4 > /proc/sys/user/max_pid_namespaces";
    assert_eq!(advice(pid), [format!("{who}: {write}")]);
    // The last two children are the refused one and the creator of the second namespace.
    forker.tell("kill");
    forker.tell("kill");
    until("the namespace is gone", || limit(pid, "max_pid_namespaces", &here) == open(1, 2));
    assert_eq!(forker.tell("unshare"), "ok");
    assert_eq!(forker.tell("unshare"), "ENOSPC");
    assert_eq!(forker.tell("write 4 /proc/sys/user/max_pid_namespaces"), "ok");
    assert_eq!(limit(pid, "max_pid_namespaces", &here), open(2, 4));
    assert_eq!(forker.tell("unshare"), "ok");
}

#[test]
fn a_container_root_without_cap_sys_resource_is_not_told_to_raise_a_limit() {
    needs!(HostRoot, Initial("pid"), Bpf, UserNamespaces, Program("setpriv"));
    let file = "/proc/sys/user/max_pid_namespaces";
    let sleep = format!("echo 0 > {file}; exec setpriv --bounding-set=-sys_resource sleep 600");
    let mut command = Command::new("unshare");
    let sleep = Running::spawn(command.args(["-Ur", "sh", "-c", &sleep]));
    let pid = sleep.pid();
    until("sleep has started", || comm(pid) == "sleep");
    let write = format!("nsenter --target {pid} --user -- sh -c 'echo 1 > {file}'");
    let user = link(format!("/proc/{pid}/ns/user")).unwrap();
    let ask = format!("ask root of {user}, which limits {pid} sleep, to write 1 to {file}");
    assert_eq!(advice(pid), [ask]);
    follow(&write);
    let (rows, status) = limits_of(pid);
    assert_eq!(status, 0, "{rows:#?}");
}

#[test]
fn the_deepest_namespace_cannot_have_children() {
    needs!(HostRoot, Initial("pid"), Program("python3"));
    let (running, inits) = nest(32);
    let (deepest, above) = (inits[31], inits[30]);
    assert_eq!(limit(deepest, "nesting", &[]), full(32, 32));
    assert_eq!(limit(above, "nesting", &[]), open(31, 32));
    let unshare = |pid: u32| {
        let mut nsenter = std::process::Command::new("nsenter");
        run(nsenter.args(["-t", &pid.to_string(), "-p", "unshare", "-p", "true"]))
    };
    let refused = String::from_utf8(unshare(deepest).stderr).unwrap();
    assert!(refused.contains("No space left on device"), "{refused}");
    assert!(unshare(above).status.success());
    drop(running);
}

#[test]
fn no_child_can_start_in_a_namespace_whose_init_has_terminated() {
    needs!(HostRoot, Program("python3"));
    let mut forker = Forker::start("unshare -p");
    let pid = forker.child.id();
    let of_children = |full: bool| {
        let (rows, status) = limits_of(pid);
        let row = find(&rows, "init_terminated", &[]);
        assert_eq!((&row["full"], status), (&full.into(), i32::from(full)), "{rows:#?}");
        row["scope"]["namespace"].clone()
    };
    assert_eq!(forker.tell("fork"), "ok");
    let live = of_children(false);
    assert_ne!(live, namespace_of(pid));
    forker.tell("kill");
    assert_eq!(forker.tell("fork"), "ENOMEM");
    assert_eq!(of_children(true), live);
    let text = pidns(&["limits", "-q", &pid.to_string()]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.starts_with("fork fails with \"Cannot allocate memory\": "), "{text}");
}

#[test]
fn a_shell_sets_its_namespace_for_children_back_without_a_fork() {
    needs!(HostRoot, Initial("pid"));
    let (_container, init) = container("sleep 600 & echo ready; wait");
    for is_nested in [false, true] {
        let enter = if is_nested { format!("nsenter -t {init} -p -m ") } else { String::new() };
        let mut shell = Command::new("sh");
        // Only an interactive shell goes on after a failed fork. It must not take over the terminal.
        shell.args(["-c", &format!("exec setsid {enter}unshare -p bash --norc -i")]);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut shell = shell.spawn().expect("starts");
        let (mut input, output) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
        let mut lines = BufReader::new(output).lines().map(|line| line.expect("is text"));
        // The first child is the init of the namespace for children.
        input.write_all(b"/bin/true; echo ready\n").unwrap();
        assert_eq!(lines.next().as_deref(), Some("ready"));
        let pid = if is_nested { children(shell.id())[0] } else { shell.id() };
        let advice = advice(pid);
        let elsewhere = "start the process from another shell: children of";
        assert_eq!(advice[0], format!("{elsewhere} {pid} bash cannot start"));
        let command =
            advice[1].strip_prefix("or in a shell with this limit, as root (replaces the shell): ");
        let command = command.unwrap_or_else(|| panic!("{advice:?}"));
        let forks = "/bin/echo forked; readlink /proc/self/ns/pid";
        input.write_all(format!("{forks}\n{command}\n{forks}\n").as_bytes()).unwrap();
        drop(input);
        let namespace = if is_nested { init } else { std::process::id() };
        assert_eq!(lines.collect::<Vec<_>>(), ["forked".to_owned(), namespace_of(namespace)]);
        let output = shell.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("fork: Cannot allocate memory"), "{said}");
    }
}

#[test]
fn the_first_child_can_start_in_a_new_namespace() {
    needs!(HostRoot, Program("python3"));
    let mut forker = Forker::start("unshare -p");
    let pid = forker.child.id();
    let output = pidns(&["limits", "-q", "-f", "json", &pid.to_string()]);
    let rows = rows(&output);
    assert_eq!(output.status.code(), Some(0), "{rows:#?}");
    if kernel_version() < (6, 11) {
        // An older kernel does not show the namespace of its children before the first fork.
        assert!(rows.iter().all(|it| it["scope"]["namespace"].is_null()), "{rows:#?}");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let diagnostics = document["diagnostics"].as_array().unwrap();
        let unknown = diagnostics.iter().find(|it| it["code"] == "limits-unknown");
        assert_eq!(unknown.expect("is unknown")["pids"], serde_json::json!([pid]));
    } else {
        let row = find(&rows, "init_terminated", &[]);
        assert_ne!(row["scope"]["namespace"], namespace_of(pid));
        assert_eq!(row["full"], false);
    }
    assert_eq!(forker.tell("fork"), "ok");
}

#[test]
fn a_saved_document_answers_the_same() {
    needs!(HostRoot, Program("python3"));
    let mut forker = Forker::start(&as_user(54_324));
    let pid = forker.child.id().to_string();
    forker.tell("nproc 3");
    forker.until_refused("fork");
    let saved = pidns(&["-q", "--details", "limits", "-f", "json"]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("saved.json");
    std::fs::write(&path, &saved.stdout).unwrap();
    let path = path.to_str().unwrap();
    let of = |arguments: &[&str]| {
        let output = pidns(&[&["limits", "-q", "-f", "json", "-i", path], arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let rows = rows(&output);
        numbers(find(&rows, "nproc", &[("uid", 54_324.into())]))
    };
    assert_eq!(of(&[&pid]), full(3, 3));
    assert_eq!(of(&[]), full(3, 3));
    let without = pidns(&["-q", "-f", "json"]);
    std::fs::write(path, &without.stdout).unwrap();
    let output = pidns(&["limits", "-i", path]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("save a document with 'pidns --details limits -f json'"), "{stderr}");
}

#[test]
fn check_denies_a_full_limit_and_warns_of_a_close_one() {
    needs!(HostRoot, Program("python3"));
    let mut forker = Forker::start(&as_user(54_325));
    let pid = forker.child.id().to_string();
    let verdict = |arguments: &[&str]| {
        let output = pidns(&[&["check", "-q", "-f", "json"], arguments].concat());
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = document["findings"].as_array().unwrap().iter();
        let mut ours = findings.filter(|it| it["limit"]["scope"]["uid"] == 54_325);
        ours.find(|it| it["code"] == "task-limit").map(|it| it["verdict"].clone())
    };
    let first_line = || {
        let text = stdout(&pidns(&["-q", &pid]));
        text.lines().next().unwrap().to_owned()
    };
    let ratio = || {
        let text = stdout(&pidns(&["-q", "--details", "limits", "-f", "openmetrics"]));
        text.contains("\npidns_limit_used_ratio{limit=\"nproc\"} 1.0\n")
    };
    forker.tell("nproc 10");
    assert_eq!(forker.until_refused("fork"), (9, "EAGAIN".to_owned()));
    assert_eq!(verdict(&[]), Some("deny".into()));
    assert_eq!(verdict(&["--allow", "task-limit:user=54325"]), None);
    let full =
        "fork fails with \"Resource temporarily unavailable\": user 54325 has 10 of 10 tasks";
    assert!(first_line().starts_with(full), "{}", first_line());
    assert!(ratio());
    forker.tell("kill");
    assert_eq!(verdict(&[]), Some("warn".into()));
    assert_eq!(verdict(&["--deny", "task-limit"]), Some("warn".into()));
    assert!(first_line().starts_with("pid:["), "{}", first_line());
    forker.tell("kill");
    assert_eq!(verdict(&[]), None);
    assert_eq!(verdict(&["--warn-at", "80"]), Some("warn".into()));
}

#[test]
fn a_limit_that_was_full_in_the_earlier_document_is_left_out() {
    needs!(HostRoot, Initial("cgroup"), Program("python3"));
    let name = "a_limit_that_was_full_in_the_earlier_document_is_left_out";
    let Some(cgroup) = PidsCgroup::new() else {
        say_skipped(name, "the pids controller is not mounted");
        return;
    };
    let mut forker = Forker::start("env");
    cgroup.write("job/cgroup.procs", &forker.child.id().to_string());
    let dir = tempfile::tempdir().unwrap();
    let save = |name: &str, arguments: &[&str]| {
        let path = dir.path().join(name).to_str().unwrap().to_owned();
        fs::write(&path, stdout(&pidns(&[&["-qf", "json"], arguments].concat()))).unwrap();
        path
    };
    let verdict = |arguments: &[&str]| {
        let output = pidns(&[&["check", "-qf", "json"], arguments].concat());
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut findings = document["findings"].as_array().unwrap().iter();
        let ours = findings.find(|it| it["limit"]["scope"]["cgroup"] == cgroup.path("/job"));
        ours.map(|it| it["verdict"].as_str().unwrap().to_owned())
    };
    let (deny, warn) = (Some("deny".to_owned()), Some("warn".to_owned()));
    cgroup.write("job/pids.max", "10");
    assert_eq!(forker.tell("fork"), "ok");
    let low = save("low", &["--details", "limits"]);
    assert_eq!(forker.until_refused("fork"), (8, "EAGAIN".to_owned()));
    let full = save("full", &["--details", "limits"]);
    let without = save("without", &[]);
    assert_eq!(verdict(&["--since", &full]), None);
    assert_eq!(verdict(&["--since", &full, "--all"]), deny);
    assert_eq!(verdict(&["--since", &low]), deny);
    // All processes in the cgroup are older.
    assert_eq!(verdict(&["--since", &without]), warn);
    forker.tell("kill");
    let close = save("close", &["--details", "limits"]);
    assert_eq!(verdict(&["--since", &full]), None);
    assert_eq!(verdict(&["--since", &close]), None);
    assert_eq!(verdict(&["--since", &low]), warn);
    assert_eq!(forker.tell("fork"), "ok");
    assert_eq!(verdict(&["--since", &close]), deny, "it was not full");
    cgroup.write("job/pids.max", "9");
    let others = "another maximum, but the new process replaces an older one";
    assert_eq!(verdict(&["--since", &full]), warn, "{others}");
    assert_eq!(verdict(&["--since", &close]), deny, "another maximum");
}

#[test]
fn a_limit_that_is_already_full_does_not_end_a_watch() {
    needs!(HostRoot, Program("python3"));
    let mut forker = Forker::start(&as_user(54_329));
    forker.tell("nproc 3");
    forker.until_refused("fork");
    let until = ["--until", "task-limit:user=54329"];
    let output = pidns(&[&["watch", "-q", "--interval", "0.3", "--for", "1"], &until[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn an_unknown_limit_makes_a_check_incomplete_if_the_user_asked_for_limits() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (saved, policy) = (path("saved"), path("policy"));
    fs::write(&saved, stdout(&pidns(&["-qf", "json"]))).unwrap();
    fs::write(&policy, "deny: [task-limit]").unwrap();
    let warning = "pidns: problems may be missing: some limits are unknown (see pidns limits)\n";
    // Without BPF, the number of PIDs in use is unknown.
    let live = ["check", "--collector", "proc"];
    // The document has no limits.
    let file = ["check", "-i", &saved];
    for (check, arguments, said, status) in [
        (&live, &[][..], "", 0),
        (&live, &["--warn", "task-limit"], "", 0),
        (&live, &["--deny", "task-limit"], warning, 3),
        (&live, &["--warn-at", "90"], warning, 3),
        (&live, &["--policy", &policy], warning, 3),
        (&file, &[], "", 0),
        (&file, &["--deny", "task-limit"], warning, 3),
    ] {
        let strict = pidns(&[&check[..], arguments, &["--strict"]].concat());
        assert_eq!(String::from_utf8_lossy(&strict.stderr), said, "{arguments:?}");
        assert_eq!(strict.status.code(), Some(status), "{arguments:?}");
        assert_eq!(
            pidns(&[&check[..], arguments].concat()).status.code(),
            Some(0),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_missing_process_is_an_error_without_output() {
    let output = pidns(&["limits", "2147483647"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("pidns: no process 2147483647"), "{stderr}");
}

#[test]
fn the_pids_of_another_procfs_are_not_compared_with_pidns_s_own_pid_max() {
    needs!(HostRoot, Initial("pid"), Program("python3"));
    let forker = Forker::start(CONTAINER);
    let (init, id) = inner(&forker);
    let procfs = format!("/proc/{init}/root/proc");
    let output = pidns(&["limits", "-q", "-f", "json", "--procfs", &procfs, "1"]);
    let rows = rows(&output);
    let row = find(&rows, "pid_max", &[("namespace", id)]);
    for unknown in ["used", "max", "full"] {
        assert_eq!(row[unknown], Value::Null, "{row:#}");
    }
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["complete"], false);
}

#[test]
fn an_unknown_limit_is_null_and_has_a_diagnostic() {
    needs!(HostRoot, Initial("pid"));
    let pid = std::process::id().to_string();
    let output = pidns(&["limits", "-q", "-f", "json", "--collector", "proc", &pid]);
    let rows = rows(&output);
    let row = find(&rows, "pid_max", &[]);
    assert_eq!((&row["used"], &row["full"]), (&Value::Null, &Value::Null));
    assert!(row["max"].is_u64(), "{row:#}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["complete"], false);
    assert!(document["unknown"].as_u64() > Some(0), "{document:#}");
    let diagnostics = document["diagnostics"].as_array().unwrap();
    assert!(diagnostics.iter().any(|it| it["code"] == "limits-unknown"), "{document:#}");
    let text = pidns(&["limits", "-q", "--collector", "proc"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(!text.contains("Nothing is close to a limit"), "{text}");
}

#[test]
fn a_namespace_for_children_that_may_not_be_read_is_not_guessed() {
    needs!(HostRoot, Program("setpriv"));
    let shell = unshared("/bin/true;");
    let output = as_nobody(&["limits", "-q", "-f", "json", &shell.pid().to_string()]);
    let rows = rows(&output);
    assert!(rows.iter().all(|it| it["limit"] != "init_terminated"), "{rows:#?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let refused = document["diagnostics"].as_array().unwrap().iter().any(|it| {
        it["code"] == "limits-unknown"
            && it["errno"] == "EACCES"
            && it["pids"] == serde_json::json!([shell.pid()])
    });
    assert!(refused, "{document:#}");
}

#[test]
fn a_seccomp_filter_that_kills_for_bpf_does_not_end_pidns() {
    needs!(HostRoot, Initial("pid"), Program("python3"));
    let pid = std::process::id().to_string();
    for arguments in [&["limits"][..], &["check"], &[&pid], &["--details", "limits"]] {
        let command = [&[PIDNS, "-q"], arguments].concat();
        // 321 is bpf(2) on x86-64.
        let output = run(&mut with_seccomp(KILL_PROCESS, "321", &command));
        assert_eq!(output.status.signal(), None, "{arguments:?}");
    }
}
