//! Runs `pidns run`, and reads its report.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::{Document, PIDNS, Running, pidns, stdout};

/// The JSON report of `pidns run`. Deserialization fails if a field is unknown or missing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub schema_version: String,
    pub generator: Generator,
    pub command: Vec<String>,
    pub status: u8,
    pub signal: Option<u8>,
    pub grace: f64,
    pub denied: Vec<String>,
    pub findings: Vec<Finding>,
    pub killed: Option<Killed>,
    pub document: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    pub name: String,
    pub version: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    pub code: String,
    pub denied: bool,
    pub pid: Option<u32>,
    pub namespace: Option<String>,
    pub age: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Killed {
    pub sigterm: Vec<u32>,
    pub sigkill: Vec<u32>,
    pub refused: Vec<u32>,
    pub remaining: Vec<u32>,
    pub unreaped: Vec<u32>,
}

impl Report {
    pub fn codes(&self) -> Vec<&str> {
        self.findings.iter().map(|finding| finding.code.as_str()).collect()
    }

    pub fn pids(&self, code: &str) -> Vec<u32> {
        let findings = self.findings.iter().filter(|finding| finding.code == code);
        findings.filter_map(|finding| finding.pid).collect()
    }

    /// Reads and checks the document in the report.
    pub fn document(&self) -> Document {
        Document::read(&self.document.as_ref().expect("something was left").to_string())
    }
}

/// Kills the leftover processes.
impl Drop for Report {
    fn drop(&mut self) {
        for pid in self.findings.iter().filter_map(|finding| finding.pid) {
            send(pid, Signal::KILL);
        }
    }
}

/// The result of `pidns run`.
pub struct Outcome {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
    pub report: Report,
}

/// Runs `pidns run` with a command, and waits for its exit. Output goes to files, since leftover
/// processes would keep a pipe open.
pub fn run_job(options: &[&str], command: &[&str]) -> Outcome {
    run_job_by(&mut pidns_run(), options, command)
}

/// Returns the command `pidns run`, in a private mount namespace if that is permitted. Otherwise
/// pidns could mistake a mount of another test for one of the command.
pub fn pidns_run() -> Command {
    static CAN_BE: LazyLock<bool> = LazyLock::new(|| {
        Command::new("unshare").args(["-m", "true"]).output().is_ok_and(|it| it.status.success())
    });
    // Reset all signals, since a background command of a shell script starts with SIGINT and
    // SIGQUIT ignored.
    let mut command = Command::new("env");
    command.arg("--default-signal");
    if *CAN_BE {
        command.args(["unshare", "-m"]);
    }
    command.args([PIDNS, "run"]);
    command
}

pub fn run_job_by(program: &mut Command, options: &[&str], command: &[&str]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let path = |name| dir.path().join(name);
    let file = |name| File::create(path(name)).unwrap();
    let text = |name| fs::read_to_string(path(name)).unwrap();
    let status = program
        .args(options)
        .args(["-f", "json", "--report"])
        .arg(path("report"))
        .arg("--")
        .args(command)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(file("stdout"))
        .stderr(file("stderr"))
        .status()
        .unwrap();
    let report = text("report");
    is_as_its_schema_says(&report);
    Outcome {
        status: status.code().expect("pidns is not killed"),
        stdout: text("stdout"),
        stderr: text("stderr"),
        report: serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}")),
    }
}

/// The schema of reports, as pidns prints it.
pub static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let printed = stdout(&pidns(&["schema", "run"]));
    assert_eq!(printed, include_str!("../../schemas/pidns-run-1.schema.json"));
    jsonschema::validator_for(&serde_json::from_str(&printed).unwrap()).unwrap()
});

pub fn is_as_its_schema_says(report: &str) {
    let report = serde_json::from_str(report).unwrap();
    let errors: Vec<_> = SCHEMA.iter_errors(&report).map(|it| it.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
}

pub fn bash(options: &[&str], script: &str) -> Outcome {
    run_job(options, &["bash", "-c", script])
}

pub fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a PID");
    let _ = kill_process(pid, signal);
}

/// Returns `true` if the process exists and is not a zombie.
pub fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

/// Counts the processes with this text in their command line.
pub fn with_argument(text: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
}

/// Counts the processes that execute `sleep` with this argument.
pub fn sleeping(seconds: &str) -> usize {
    with_argument(&format!("sleep\u{0}{seconds}\u{0}"))
}

/// Waits until the condition holds. Panics after 20 seconds.
pub fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_true() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Starts `pidns run` with a shell script, and waits for the script's first line, `ready`.
pub fn start_job(options: &[&str], script: &str) -> (Running, BufReader<ChildStdout>) {
    let mut command = pidns_run();
    let command = command.args(options).args(["--", "bash", "-c", script]);
    let mut running = Running::spawn(command.stdout(Stdio::piped()));
    let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (running, stdout)
}

/// Runs pidns on a pseudoterminal by script(1).
pub struct Terminal {
    pub child: Child,
    dir: tempfile::TempDir,
}

impl Terminal {
    pub fn start(command: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shown = File::create(dir.path().join("shown")).unwrap();
        let child = Command::new("script")
            // Use `exec`, so that no shell remains that also gets the signals of the terminal.
            .args(["-qefc", &format!("exec env --default-signal {command}"), "/dev/null"])
            .current_dir(dir.path())
            .env("PIDNS", PIDNS)
            .env("SHELL", "/bin/sh")
            .env("TERM", "dumb")
            .stdin(Stdio::piped())
            .stdout(shown)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    pub fn shown(&self) -> String {
        fs::read_to_string(self.dir.path().join("shown")).unwrap()
    }

    pub fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.shown().contains(text) {
            assert!(Instant::now() < deadline, "no {text} in {}", self.shown());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn press(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    pub fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        (status.code(), self.shown())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
