//! What the tests share: running the program, making real processes and
//! namespaces, and an independent reading of /proc.
#![allow(dead_code, reason = "every test program uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// The program under test.
pub const PIDNS: &str = env!("CARGO_BIN_EXE_pidns");

/// Whether namespaces can be made here. A test that needs them skips
/// otherwise, which in CI is a failure.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("CI").is_none(), "CI runs as root, so nothing is skipped");
        eprintln!("skipped: needs root to make PID namespaces");
    }
    root
}

/// Runs the program to its end.
pub fn pidns(arguments: &[&str]) -> Output {
    run(Command::new(PIDNS).args(arguments))
}

/// Runs any command to its end.
pub fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Standard output of a run that must succeed.
pub fn stdout(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    String::from_utf8(output.stdout.clone()).expect("output is UTF-8")
}

/// Feeds `input` to a command and returns what it prints; it must succeed and
/// say nothing on standard error.
pub fn pipe(command: &mut Command, input: &[u8]) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("waits");
    writer.join().expect("does not panic").expect("is read to the end");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, "", "{command:?}");
    stdout(&output)
}

/// Runs pidns as nobody.
pub fn as_nobody(arguments: &[&str]) -> Output {
    let (_dir, program) = public_copy();
    let mut command = Command::new("setpriv");
    run(command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", &program])
        .args(arguments))
}

/// The program where anyone may execute it; its own directory may be closed.
pub fn public_copy() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("pidns");
    // Copied by another process: with a descriptor open for writing in this one,
    // a child of another test could keep it busy.
    let copied = run(Command::new("install").args(["-m755", PIDNS]).arg(&program));
    assert!(copied.status.success(), "{copied:?}");
    (dir, program.into_os_string().into_string().unwrap())
}

/// Where every process really is, as root reads it: namespace and level.
pub fn truth() -> BTreeMap<u32, (String, usize)> {
    let pids = std::fs::read_dir("/proc").unwrap();
    pids.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter_map(|pid| {
            Some((pid, (link(format!("/proc/{pid}/ns/pid"))?, nspid(pid).len().checked_sub(1)?)))
        })
        .collect()
}

/// Compares the places of `pids` with the truth; returns how many were placed.
pub fn compare(document: &Document, truth: &BTreeMap<u32, (String, usize)>, pids: &[u32]) -> usize {
    // A namespace that was not read goes by its init: which one is that?
    let real = |id: &str| match id.strip_prefix("pid:[?") {
        None => id.to_owned(),
        Some(pid) => truth[&pid.trim_end_matches(']').parse().unwrap()].0.clone(),
    };
    let mut placed = 0;
    for pid in pids {
        let process = document.process(*pid);
        let Some(id) = &process.namespace else { continue };
        placed += 1;
        let (expected, level) = &truth[pid];
        assert_eq!(&real(id), expected, "{pid} is in the wrong place");
        let namespace = document.namespace(id);
        if namespace.parent.is_some() || *level == 0 {
            assert_eq!(namespace.level, *level, "{pid}");
        }
        if let Some(parent) = &namespace.parent {
            // Some process of the parent tells whether that is right.
            let above = truth.iter().find(|(_, (id, _))| *id == real(parent));
            let (_, (_, above)) = above.expect("a parent with processes");
            assert_eq!(above + 1, *level, "the parent of {id}");
        }
    }
    placed
}

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
        let _ = rustix::process::kill_process_group(
            group.expect("is a PID"),
            rustix::process::Signal::KILL,
        );
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

/// A namespace with an init and `depth - 1` more nested in it, each with an
/// init and a `sleep`; the host PIDs of the inits, outermost first.
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
            std::thread::sleep(Duration::from_millis(100));
            let left = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            if !left.contains(&self.name) || !self.mount() {
                break;
            }
        }
    }
}

/// Waits until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A field of `/proc/PID/status`, word by word; empty where the process is gone.
pub fn status(pid: u32, field: &str) -> Vec<String> {
    let status = std::fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status).into_owned();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

pub fn nspid(pid: u32) -> Vec<u32> {
    status(pid, "NSpid").iter().map(|number| number.parse().expect("a PID")).collect()
}

pub fn comm(pid: u32) -> String {
    let comm = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&comm).trim_end_matches('\n').to_owned()
}

pub fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    text.unwrap_or_default().split_whitespace().map(|pid| pid.parse().expect("a PID")).collect()
}

/// Where a link of /proc leads, as text.
pub fn link(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_link(path).ok()?.into_os_string().into_string().ok()
}

/// The PID namespace of a process, as readlink prints it.
pub fn namespace_of(pid: u32) -> String {
    link(format!("/proc/{pid}/ns/pid")).unwrap_or_else(|| panic!("no namespace of {pid}"))
}

pub fn kill(pid: u32, signal: &str) {
    let status = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status();
    assert!(status.expect("kill runs").success(), "kill -{signal} {pid}");
}

/// A mirror of the document: what leaves or enters it unnoticed fails here.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub schema_version: String,
    pub generator: Generator,
    pub captured_at: String,
    pub host: Host,
    pub procfs: Procfs,
    pub searched: Vec<String>,
    pub selected: Vec<Criterion>,
    pub complete: bool,
    pub roots: Vec<String>,
    pub namespaces: Vec<Namespace>,
    pub processes: Vec<Process>,
    pub diagnostics: Vec<Diagnostic>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    pub name: String,
    pub version: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Host {
    pub hostname: Option<String>,
    pub kernel_release: Option<String>,
    pub boot_id: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Procfs {
    pub path: String,
    pub own: bool,
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Criterion {
    pub by: String,
    pub values: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    pub id: String,
    pub inode: Option<u64>,
    pub device: Option<u64>,
    pub ns_id: Option<u64>,
    pub level: usize,
    pub parent: Option<String>,
    pub children: Vec<String>,
    pub state: String,
    pub init: Option<u32>,
    pub members: Vec<u32>,
    pub member_count: usize,
    pub owner: Option<Owner>,
    pub holders: Vec<Holder>,
    pub container: Option<Container>,
    pub evidence: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    pub user_namespace: u64,
    pub uid: Option<u32>,
    pub user: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Holder {
    Fd { pid: u32, fd: u32 },
    Mount { path: String, mount_namespace: u64 },
    PidForChildren { pid: u32, tid: u32 },
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Container {
    pub runtime: String,
    pub id: String,
    pub pod: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Process {
    pub pid: u32,
    pub ppid: Option<u32>,
    pub namespace: Option<String>,
    pub nspid: Vec<u32>,
    pub comm: String,
    pub state: String,
    pub uid: u32,
    pub user: Option<String>,
    pub kernel_thread: bool,
    pub evidence: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Diagnostic {
    pub code: String,
    pub severity: String,
    pub message: String,
    pub errno: Option<String>,
    pub pids: Vec<u32>,
}

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../../schemas/pidns-1.schema.json"));
    jsonschema::validator_for(&schema.expect("is JSON")).expect("is a schema")
});

/// What the published schema has against a document.
pub fn schema_errors(document: &serde_json::Value) -> Vec<String> {
    SCHEMA
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

impl Document {
    /// Reads a document that must hold to the schema, and agree with itself.
    pub fn read(json: &str) -> Self {
        let value: serde_json::Value = serde_json::from_str(json).expect("is JSON");
        assert_eq!(schema_errors(&value), Vec::<String>::new());
        let document: Self = serde_json::from_value(value).expect("is as its mirror");
        document.check();
        document
    }

    /// Runs the program for a document; it must exit with 0.
    pub fn of(arguments: &[&str]) -> Self {
        let mut all = vec!["-q", "-f", "json"];
        all.extend(arguments);
        Self::read(&stdout(&pidns(&all)))
    }

    /// Every relation holds from both ends.
    fn check(&self) {
        let mut before: BTreeMap<&str, &Namespace> = BTreeMap::new();
        for namespace in &self.namespaces {
            let id = namespace.id.as_str();
            match namespace.parent.as_deref() {
                None => {
                    assert_eq!(namespace.level, 0, "{id}");
                    assert!(self.roots.iter().any(|root| root == id), "{id} is a root");
                }
                Some(parent) => {
                    let parent = before.get(parent).expect("a parent comes first");
                    assert_eq!(namespace.level, parent.level + 1, "{id}");
                    assert!(parent.children.contains(&namespace.id), "{id}");
                }
            }
            let members: Vec<u32> = self
                .processes
                .iter()
                .filter(|process| process.namespace.as_deref() == Some(id))
                .map(|process| process.pid)
                .collect();
            assert_eq!(namespace.members, members, "{id}");
            let whole = self.selected.is_empty();
            if let Some(init) = namespace.init.filter(|&pid| whole || members.contains(&pid)) {
                assert_eq!(self.process(init).nspid.last(), Some(&1), "{id}");
            }
            assert!(
                namespace.member_count == members.len()
                    || (!whole && namespace.member_count > members.len()),
                "{id}"
            );
            assert!(before.insert(id, namespace).is_none(), "{id} comes once");
        }
        assert!(self.processes.is_sorted_by(|one, other| one.pid < other.pid));
        for process in &self.processes {
            assert_eq!(process.nspid[0], process.pid);
            if let Some(namespace) = &process.namespace {
                assert!(before.contains_key(namespace.as_str()), "{namespace}");
            }
        }
        let kinds: BTreeSet<_> = self.diagnostics.iter().map(|it| (&it.code, &it.errno)).collect();
        assert_eq!(kinds.len(), self.diagnostics.len(), "one entry for each code and errno");
        let unplaced = self.processes.iter().any(|process| process.namespace.is_none());
        let inferred = self.processes.iter().any(|process| process.evidence == "inferred")
            || self.namespaces.iter().any(|namespace| namespace.evidence == "inferred");
        assert!(!self.complete || !(unplaced || inferred), "complete is not the truth");
        assert!(self.complete || !self.diagnostics.is_empty(), "why is it incomplete?");
    }

    pub fn process(&self, pid: u32) -> &Process {
        self.find_process(pid).unwrap_or_else(|| panic!("no process {pid}"))
    }

    pub fn find_process(&self, pid: u32) -> Option<&Process> {
        let index = self.processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        Some(&self.processes[index])
    }

    pub fn namespace(&self, id: &str) -> &Namespace {
        self.find_namespace(id).unwrap_or_else(|| panic!("no namespace {id}"))
    }

    pub fn find_namespace(&self, id: &str) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.id == id)
    }

    /// The namespace of a process.
    pub fn home(&self, pid: u32) -> &Namespace {
        let process = self.process(pid);
        self.namespace(process.namespace.as_ref().unwrap_or_else(|| panic!("{pid} is unplaced")))
    }

    /// A namespace and its ancestors, outermost first.
    pub fn lineage(&self, id: &str) -> Vec<&str> {
        let mut lineage = vec![self.namespace(id).id.as_str()];
        while let Some(parent) = &self.namespace(lineage[lineage.len() - 1]).parent {
            lineage.push(parent);
        }
        lineage.reverse();
        lineage
    }

    pub fn diagnostic(&self, code: &str) -> Option<&Diagnostic> {
        self.diagnostics.iter().find(|diagnostic| diagnostic.code == code)
    }
}
