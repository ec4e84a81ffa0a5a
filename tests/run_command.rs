//! Tests `pidns run` with commands that leave processes and namespaces behind.

mod common;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use common::Need::*;
use common::*;
use expect_test::{Expect, expect};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

/// The JSON report of `pidns run`. Deserialization fails if a field is unknown or missing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    schema_version: String,
    generator: Generator,
    command: Vec<String>,
    status: u8,
    signal: Option<u8>,
    grace: f64,
    denied: Vec<String>,
    findings: Vec<Finding>,
    killed: Option<Killed>,
    document: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Generator {
    name: String,
    version: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Finding {
    code: String,
    denied: bool,
    pid: Option<u32>,
    namespace: Option<String>,
    age: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Killed {
    sigterm: Vec<u32>,
    sigkill: Vec<u32>,
    remaining: Vec<u32>,
}

impl Report {
    fn codes(&self) -> Vec<&str> {
        self.findings.iter().map(|finding| finding.code.as_str()).collect()
    }

    fn pids(&self, code: &str) -> Vec<u32> {
        let findings = self.findings.iter().filter(|finding| finding.code == code);
        findings.filter_map(|finding| finding.pid).collect()
    }

    /// Reads and checks the document in the report.
    fn document(&self) -> Document {
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
struct Outcome {
    status: i32,
    stdout: String,
    stderr: String,
    report: Report,
}

/// Runs `pidns run` with a command, and waits for its exit. Output goes to files, since leftover
/// processes would keep a pipe open.
fn run_job(options: &[&str], command: &[&str]) -> Outcome {
    run_job_by(&mut pidns_run(), options, command)
}

/// Returns the command `pidns run`, in a private mount namespace if that is permitted. In a shared
/// mount namespace, pidns could mistake a mount of another test for a mount of the command.
fn pidns_run() -> Command {
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

fn run_job_by(program: &mut Command, options: &[&str], command: &[&str]) -> Outcome {
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
static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let printed = stdout(&pidns(&["schema", "run"]));
    assert_eq!(printed, include_str!("../schemas/pidns-run-1.schema.json"));
    jsonschema::validator_for(&serde_json::from_str(&printed).unwrap()).unwrap()
});

fn is_as_its_schema_says(report: &str) {
    let report = serde_json::from_str(report).unwrap();
    let errors: Vec<_> = SCHEMA.iter_errors(&report).map(|it| it.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
}

fn bash(options: &[&str], script: &str) -> Outcome {
    run_job(options, &["bash", "-c", script])
}

fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a PID");
    let _ = kill_process(pid, signal);
}

/// Returns `true` if the process exists and is not a zombie.
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

/// Counts the processes with this text in their command line.
fn with_argument(text: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
}

/// Waits until the condition holds. Panics after 20 seconds.
fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_true() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_exit_status_is_that_of_the_command() {
    for (script, status) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
        ("kill -SEGV $$", 139),
    ] {
        let outcome = bash(&["--deny", "leftover-process"], script);
        assert_eq!(outcome.status, status, "{script}");
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""), "{script}");
        let report = &outcome.report;
        assert_eq!(i32::from(report.status), status, "{script}");
        assert_eq!(
            report.signal.map(i32::from),
            (status > 128 && status < 255).then(|| status - 128)
        );
        assert!(report.findings.is_empty() && report.document.is_none(), "{report:?}");
        assert_eq!(report.command, ["bash", "-c", script]);
    }
}

#[test]
fn a_command_that_cannot_run_gives_status_126_or_127() {
    fn fails(command: &str, status: i32, expected: &Expect) {
        let output = pidns(&["run", "--", command]);
        assert_eq!(output.status.code(), Some(status), "{command}");
        assert_eq!(output.stdout, b"");
        expected.assert_eq(&String::from_utf8(output.stderr).unwrap());
    }
    let not_found = expect![[r#"
        pidns: cannot run no-such-command: No such file or directory (os error 2)
    "#]];
    fails("no-such-command", 127, &not_found);
    let hostile = expect![[r#"
        pidns: cannot run /no/such\n\x1b[31mcommand: No such file or directory (os error 2)
    "#]];
    fails("/no/such\n\u{1b}[31mcommand", 127, &hostile);
    let not_executable = expect![[r#"
        pidns: cannot run /etc/passwd: Permission denied (os error 13)
    "#]];
    fails("/etc/passwd", 126, &not_executable);
    fails(
        "/etc",
        126,
        &expect![[r#"
        pidns: cannot run /etc: Permission denied (os error 13)
    "#]],
    );
}

#[test]
fn wrong_arguments_are_refused_before_the_command_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    let mark = mark.to_str().unwrap();
    for arguments in [
        &["--deny", "daemons"][..],
        &["--grace", "soon"],
        &["--grace", "-1"],
        &["--grace", "inf"],
        &["-f", "json"],
        &["-f", "yaml", "--report", "/dev/null"],
        &["--report", "/nowhere/report"],
    ] {
        let output = run(Command::new(PIDNS).arg("run").args(arguments).args(["touch", mark]));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(!Path::new(mark).exists(), "{arguments:?}");
    }
    assert_eq!(pidns(&["run"]).status.code(), Some(2));
    // If the arguments are correct, `pidns run` runs the command.
    assert_eq!(pidns(&["run", "--grace", "0.5", "touch", mark]).status.code(), Some(0));
    assert!(Path::new(mark).exists());
}

#[test]
fn an_unwritable_report_fails_unless_the_command_failed() {
    let run = |script| {
        let output = run(Command::new(PIDNS).args([
            "run",
            "--report",
            "/dev/full",
            "--",
            "sh",
            "-c",
            script,
        ]));
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let line = "pidns: cannot write /dev/full: No space left on device (os error 28)\n";
    assert_eq!(run("true"), (Some(2), line.to_owned()));
    assert_eq!(run("exit 5"), (Some(5), line.to_owned()));
}

#[test]
fn the_command_inherits_everything_unchanged() {
    // The command inherits ignored and blocked signals, on which nohup and background commands of
    // sh rely.
    let signals = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status";
    let print = |run: &str| {
        let script = format!("trap '' HUP INT; {run} {signals}");
        let mut command = Command::new("env");
        stdout(&common::run(command.args(["--default-signal", "bash", "-c", &script])))
    };
    let (under, alone) = (print(&format!("{PIDNS} run")), print(""));
    assert_eq!(under, alone);
    assert!(alone.lines().any(|it| it.starts_with("SigIgn:") && it.ends_with('3')), "{alone}");
    // The command also inherits descriptors, process group, environment and working directory.
    let state = "ls -l /proc/self/fd | sed 's/.* \\([0-9]* -> .*\\)/\\1/' | grep -v proc; \
                 ps -o pgid=,sid=,tty= $$; env | grep -v ^_=; pwd";
    let script = |run: &str| format!("exec 7</dev/null; {run} bash -c \"$STATE\"; true");
    let print = |run: &str| {
        let mut command = Command::new("bash");
        let command = command.args(["-c", &script(run)]).env("STATE", state).process_group(0);
        // Each run has a different process group. The lines that begin with its number are ignored
        // below.
        let text = stdout(&common::run(command));
        text.lines()
            .map(str::trim)
            .filter(|line| !line.contains("pipe:"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let number = |line: &String| line.split(' ').next().is_some_and(|it| it.parse::<u32>().is_ok());
    let (under, alone) = (print(&format!("{PIDNS} run")), print(""));
    let rest = |lines: &[String]| {
        lines.iter().filter(|it| !number(it) || it.contains("->")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(rest(&under), rest(&alone));
    assert!(under.iter().any(|line| line == "7 -> /dev/null"), "{under:?}");
}

#[test]
fn the_command_reads_standard_input() {
    let mut command = Command::new(PIDNS);
    let text = "a line\n".repeat(20_000);
    let command = command.args(["run", "cat"]);
    assert_eq!(pipe(command, text.as_bytes()), text);
}

/// Bash command that exits after its parent process has executed `sleep`, which never reaps it.
const ENDS_LATER: &str = "(until [ \"$(</proc/$$/comm)\" = sleep ]; do :; done; exec sleep 0)";

#[test]
fn names_every_leftover() {
    needs!(Namespaces);
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("ns");
    let mount = mount.to_str().unwrap();
    fs::write(mount, "").unwrap();
    let script = format!(
        "exec >/dev/null 2>&1
         ( (exec sleep 601) & )
         setsid bash -c '(exec sleep 602) & exit'
         bash -c '{ENDS_LATER} & exec sleep 611' &
         sleep 603 & stopped=$!
         unshare -pf --kill-child bash -c '(sleep 604 &) ; exec sleep 605' &
         unshare --pid={mount} -f true
         sleep 606 & sleep 606 & sleep 606 & sleep 606 &
         sleep 0.5; kill -STOP $stopped"
    );
    let outcome = bash(&["--grace", "0.2"], &script);
    let stderr = &outcome.stderr;
    // Without `--deny`, leftovers do not change the exit status.
    assert_eq!(outcome.status, 0, "{stderr}");
    let report = &outcome.report;
    assert_eq!(report.schema_version, "1.0");
    assert_eq!(
        (report.generator.name.as_str(), report.generator.version.as_str()),
        ("pidns", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!((report.grace, report.denied.len()), (0.2, 0));
    let document = report.document();
    let names: Vec<_> = document.processes.iter().map(|process| process.comm.as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name == "sleep").count(), 11, "{stderr}");
    assert_eq!(report.pids("zombie").len(), 1, "{stderr}");
    assert_eq!(report.codes().iter().filter(|code| **code == "leftover-namespace").count(), 2);
    let dead: Vec<_> = report.findings.iter().filter(|it| it.code == "dead-namespace").collect();
    assert_eq!(dead.len(), 1, "{stderr}");
    assert_eq!(document.namespace(dead[0].namespace.as_ref().unwrap()).state, "dead");
    assert!(report.findings.iter().all(|it| !it.denied));
    assert!(
        report
            .findings
            .iter()
            .filter(|it| it.pid.is_some())
            .all(|it| it.age.is_some_and(|age| age < 60.0))
    );

    let lines: Vec<_> = stderr.lines().collect();
    let line = |text: &str| {
        let found: Vec<_> = lines.iter().filter(|line| line.contains(text)).collect();
        assert_eq!(found.len(), 1, "{text} in {stderr}");
        *found[0]
    };
    assert!(lines[0].starts_with("pidns: bash ended with status 0 and left 11 processes, 1 zombie and 2 PID namespaces after 0.2 s:"), "{stderr}");
    assert!(line(" sleep 601  ").starts_with("├─ "));
    line(" sleep 602  ");
    assert!(line(" sleep 603  ").contains("  stopped, "));
    // The kernel makes an orphan a child of the init of its PID namespace.
    assert!(line(" → 1 sleep 605  ").starts_with("│  └─ "), "{stderr}");
    assert!(line(" sleep 605  ").contains("  init of pid:["));
    assert!(line(" sleep 604  ").starts_with("│     └─ "), "{stderr}");
    assert!(line(" does not reap it").contains(" sleep  zombie: "), "{stderr}");
    assert!(line("├─ 4 × sleep 606: ").contains("  up to "), "{stderr}");
    assert!(line("DEAD: its init has exited").ends_with(&format!("; umount {mount}")), "{stderr}");
}

#[test]
fn denied_leftovers_change_only_a_successful_status() {
    let daemon = "setsid sleep 612 >/dev/null 2>&1 &";
    let options = ["--grace", "0", "--deny", "zombie,leftover-process"];
    let outcome = bash(&options, daemon);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.ends_with("pidns: denied: leftover-process\n"), "{}", outcome.stderr);
    assert_eq!(outcome.report.denied, ["leftover-process", "zombie"]);
    assert!(outcome.report.findings[0].denied);
    assert_eq!(bash(&options, &format!("{daemon} exit 7")).status, 7);
    assert_eq!(bash(&["--grace", "0", "--deny", "dead-namespace"], daemon).status, 0);
    let quiet = bash(&["--quiet", "--grace", "0", "--deny", "leftover-process"], daemon);
    assert_eq!((quiet.status, quiet.stderr.as_str()), (1, ""));
}

#[test]
fn a_process_that_exits_within_the_grace_time_is_not_a_leftover() {
    let start = Instant::now();
    let outcome = bash(
        &["--grace", "60", "--deny", "leftover-process"],
        "(sleep 0.3; exec sleep 0.2) >/dev/null 2>&1 &",
    );
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn kill_ends_every_leftover() {
    needs!(Namespaces);
    let script = &format!(
        "exec >/dev/null 2>&1
        ( (exec sleep 621) & )
        setsid bash -c 'trap \"\" TERM; while :; do sleep 6.22; done' &
        sleep 623 & stopped=$!
        unshare -pf bash -c 'trap \"\" TERM; (setsid sleep 624 &) ; while :; do sleep 6.25; done' &
        bash -c '{ENDS_LATER} & exec -a parent-626 sleep 626' &
        sleep 0.5; kill -STOP $stopped"
    );
    let outcome = bash(&["--kill", "--grace", "0.3"], script);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let report = &outcome.report;
    let killed = report.killed.as_ref().unwrap();
    assert_eq!(killed.remaining, [0; 0], "{}", outcome.stderr);
    assert!(killed.sigterm.len() >= 8 && !killed.sigkill.is_empty(), "{killed:?}");
    let last = outcome.stderr.lines().last().unwrap();
    assert!(last.starts_with("pidns: killed ") && last.ends_with("of them by SIGKILL"), "{last}");
    for pid in report.pids("leftover-process") {
        assert!(!is_running(pid), "{pid} in {}", outcome.stderr);
    }
    for argument in ["sleep\u{0}621", "sleep\u{0}623", "sleep\u{0}624", "parent-626"] {
        assert_eq!(with_argument(argument), 0, "{argument}");
    }
}

/// Python program that ignores SIGTERM, and repeatedly forks a child and exits. The child does the
/// same, so the PID changes all the time.
const COMET: &str = "import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setsid()
open(sys.argv[1], 'w').close()
end = time.monotonic() + 300
while time.monotonic() < end and (os.fork() == 0 or os._exit(0)): pass";

#[test]
fn reports_and_kills_a_process_that_no_scan_can_show() {
    needs!(Program("python3"));
    let dir = tempfile::tempdir().unwrap();
    let (comet, flying) = (dir.path().join("comet-632"), dir.path().join("flying"));
    fs::write(&comet, COMET).unwrap();
    let script = format!(
        "python3 {} {flying} >/dev/null 2>&1 &
         for i in {{1..500}}; do [ -e {flying} ] && exit 0; sleep 0.02; done; exit 7",
        comet.display(),
        flying = flying.display()
    );
    // A scan rarely shows the process, whose PID changes all the time, and may show it only as a
    // zombie.
    let options = ["--kill", "--grace", "0.1", "--deny", "leftover-process,zombie"];
    let outcome = bash(&options, &script);
    assert_eq!(outcome.status, 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains(" and left "), "{}", outcome.stderr);
    assert_eq!(outcome.report.killed.as_ref().unwrap().remaining, [0; 0]);
    assert_eq!(with_argument("comet-632"), 0);
}

#[test]
fn kill_finds_processes_that_keep_forking() {
    needs!(Program("python3"));
    // One process changes its PID all the time, and other processes start new processes as fast as
    // they can. All of them ignore SIGTERM.
    let dir = tempfile::tempdir().unwrap();
    let (comet, flying) = (dir.path().join("storm-631"), dir.path().join("flying"));
    fs::write(&comet, COMET).unwrap();
    let storm = "trap '' TERM; while ((SECONDS < 300)); do (sleep 0.01; sleep 0.01 & ) & sleep 0.002; done # storm-631";
    let script = format!(
        "exec >/dev/null 2>&1
         python3 {comet} {flying} & for i in 1 2 3; do setsid bash -c \"$0\" & done
         for i in {{1..500}}; do [ -e {flying} ] && break; sleep 0.02; done; sleep 0.1",
        comet = comet.display(),
        flying = flying.display()
    );
    let start = Instant::now();
    let outcome = run_job(&["--kill", "--grace", "0.2"], &["bash", "-c", &script, storm]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(flying.exists());
    let killed = outcome.report.killed.as_ref().unwrap();
    assert_eq!(killed.remaining, [0; 0], "{killed:?}");
    assert_eq!(with_argument("storm-631"), 0);
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn ten_thousand_orphans_take_little_time() {
    // The command prints two CPU times, that of its parent (pidns) and its own, and the number of
    // bytes that pidns has read. The test compares the two CPU times with each other, because the
    // machine may be slow or busy.
    let script = "i=0; while [ $i -lt 10000 ]; do (: &); i=$((i+1)); done
        cat /proc/$PPID/stat /proc/$$/stat /proc/$PPID/io";
    let outcome = run_job(&["--deny", "leftover-process,zombie"], &["sh", "-c", script]);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    // Take the fields utime, stime, cutime and cstime of `/proc/PID/stat`.
    let ticks = |line: &str| -> [u64; 4] {
        let (_, fields) = line.rsplit_once(')').unwrap();
        let ticks: Vec<_> = fields.split(' ').skip(12).take(4).collect();
        std::array::from_fn(|index| ticks[index].parse().unwrap())
    };
    let ([user, system, orphans @ ..], command) = (ticks(lines[0]), ticks(lines[1]));
    let (pidns, job) = (user + system, orphans.iter().chain(&command).sum::<u64>());
    assert!(pidns * 2 <= job, "{pidns} hundredths of a second, and {job} of the command");
    let count = |name: &str| -> u64 {
        let value = lines.iter().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim().parse().unwrap()
    };
    // pidns must learn about orphans from signals, and not by reading /proc.
    let (bytes, calls) = (count("rchar:"), count("syscr:"));
    assert!(bytes <= 10_000 * 256, "{bytes} bytes read");
    assert!(calls <= 10_000 * 4, "{calls} times");
}

/// Starts `pidns run` with a shell script, and waits for the script's first line, `ready`.
fn start_job(options: &[&str], script: &str) -> (Running, BufReader<std::process::ChildStdout>) {
    let mut command = pidns_run();
    let command = command.args(options).args(["--", "bash", "-c", script]);
    let mut running = Running::spawn(command.stdout(Stdio::piped()));
    let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (running, stdout)
}

#[test]
fn signals_are_passed_on_once() {
    for (name, signal) in [
        ("TERM", Signal::TERM),
        ("INT", Signal::INT),
        ("HUP", Signal::HUP),
        ("QUIT", Signal::QUIT),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("ALRM", Signal::ALARM),
        ("WINCH", Signal::WINCH),
        ("CONT", Signal::CONT),
    ] {
        let script = format!(
            "count=0; trap 'count=$((count+1))' {name}; trap 'echo $count; exit 9' PIPE
             echo ready; while :; do sleep 0.01; done"
        );
        let (mut running, stdout) = start_job(&[], &script);
        send(running.pid(), signal);
        thread::sleep(Duration::from_millis(200));
        // Send SIGPIPE to the command itself, since pidns does not pass that signal on.
        let child = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid()));
        send(child.unwrap().trim().parse().unwrap(), Signal::PIPE);
        let lines: Vec<_> = stdout.lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["1"], "{name}");
        assert_eq!(running.0.wait().unwrap().code(), Some(9), "{name}");
    }
}

#[test]
fn a_signal_that_ends_the_command_gives_its_status() {
    for (signal, status) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let (mut running, _stdout) = start_job(&[], "echo ready; exec sleep 641");
        send(running.pid(), signal);
        assert_eq!(running.0.wait().unwrap().code(), Some(status));
    }
}

#[test]
fn signals_to_the_commands_own_group_are_not_sent_twice() {
    let script = "echo ready; trap 'count=$((count+1))' TERM; kill -TERM 0; sleep 0.3; echo $count";
    let (mut running, stdout) = start_job(&[], script);
    let lines: Vec<_> = stdout.lines().map(Result::unwrap).collect();
    assert_eq!(lines, ["1"]);
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_ends_the_grace_time() {
    let start = Instant::now();
    let script = "setsid sleep 642 >/dev/null 2>&1 & echo ready; exit 0";
    let (mut running, _stdout) = start_job(&["--grace", "600", "--kill", "-q"], script);
    thread::sleep(Duration::from_millis(300));
    send(running.pid(), Signal::TERM);
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(60));
    assert_eq!(with_argument("sleep\u{0}642"), 0);
}

#[test]
fn if_pidns_is_killed_the_command_survives_without_kill() {
    for (options, stays) in [(&[][..], true), (&["--kill"], false)] {
        let (running, mut stdout) = start_job(options, "echo ready; echo $$; exec sleep 643");
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let command: u32 = line.trim().parse().unwrap();
        send(running.pid(), Signal::KILL);
        if stays {
            thread::sleep(Duration::from_millis(300));
            assert!(is_running(command));
            send(command, Signal::KILL);
        }
        wait_until("the command has ended", || !is_running(command));
    }
}

#[test]
fn earlier_children_are_not_leftovers() {
    let script = format!(
        "sleep 644 >/dev/null 2>&1 & echo $!
         exec {PIDNS} run --grace 600 --deny leftover-process -- sh -c 'sleep 0.1 &'"
    );
    let start = Instant::now();
    let output = run(Command::new("bash").args(["-c", &script]));
    let sleep: u32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert!(is_running(sleep));
    send(sleep, Signal::KILL);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn an_ignored_sigchld_is_refused() {
    let script = format!("trap '' CHLD; exec {PIDNS} run -- true");
    // The shell executes pidns without a fork, and SIGCHLD stays ignored.
    let output = run(Command::new("bash").args(["-c", &script]));
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "pidns: cannot get the exit status of a command: SIGCHLD is ignored; \
         start pidns with 'env --default-signal=CHLD pidns'\n"
    );
}

#[test]
fn works_with_the_proc_of_an_outer_namespace() {
    needs!(Namespaces);
    // /proc still shows the PIDs of the outer namespace, which are not valid for kill(2) in the new
    // namespace.
    let mut command = Command::new("unshare");
    let command = command.args(["-pf", "--kill-child", PIDNS, "run"]);
    let outcome = run_job_by(
        command,
        &["--kill", "--grace", "0.1", "--deny", "leftover-process"],
        &["bash", "-c", "setsid sleep 645 >/dev/null 2>&1 &"],
    );
    assert_eq!(outcome.status, 1, "{}", outcome.stderr);
    let killed = outcome.report.killed.as_ref().unwrap();
    assert_eq!((killed.sigterm.len(), killed.remaining.len()), (1, 0), "{}", outcome.stderr);
    assert_eq!(outcome.report.document().process(killed.sigterm[0]).comm, "sleep");
    assert_eq!(with_argument("sleep\u{0}645"), 0);
}

#[test]
fn an_ordinary_user_can_run_a_command() {
    needs!(HostRoot);
    let (dir, program) = public_copy();
    let script = format!(
        "{program} run --kill --grace 0.1 --deny leftover-process -- \
         bash -c 'setsid sleep 646 >/dev/null 2>&1 &'"
    );
    let mut command = Command::new("setpriv");
    let output = run(command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c", &script])
        .current_dir(dir.path()));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(" sleep 646  "), "{stderr}");
    assert!(stderr.ends_with("pidns: killed 1 process\n"), "{stderr}");
    assert_eq!(with_argument("sleep\u{0}646"), 0);
}

/// A pseudoterminal, created by script(1), on which pidns runs.
struct Terminal {
    child: Child,
    dir: tempfile::TempDir,
}

impl Terminal {
    fn start(command: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shown = File::create(dir.path().join("shown")).unwrap();
        let child = Command::new("script")
            // Use `exec` to replace the shell, which would otherwise also get the signals of the
            // terminal.
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

    fn shown(&self) -> String {
        fs::read_to_string(self.dir.path().join("shown")).unwrap()
    }

    fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.shown().contains(text) {
            assert!(Instant::now() < deadline, "no {text} in {}", self.shown());
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn press(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    fn end(mut self) -> (Option<i32>, String) {
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

#[test]
fn the_interrupt_key_reaches_the_command_once() {
    needs!(Program("script"));
    let script = "(setsid sleep 647 >/dev/null 2>&1 &); trap 'echo got it' INT; echo ready; \
                  for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done; exit 4";
    let command = format!("$PIDNS run --kill --grace 0.1 -- bash -c \"{script}\"");
    let mut terminal = Terminal::start(&command);
    terminal.wait_for("ready");
    terminal.press("\u{3}");
    let (status, shown) = terminal.end();
    assert_eq!(shown.matches("got it").count(), 1, "{shown}");
    assert_eq!(status, Some(4), "{shown}");
    assert!(shown.contains("bash ended with status 4 and left 1 process after 0.1 s:"), "{shown}");
    assert!(shown.contains(" sleep 647  "), "{shown}");
}

#[test]
fn the_interrupt_key_ends_the_command_and_pidns_reports() {
    needs!(Program("script"));
    let command = "$PIDNS run --kill --grace 0.1 -- bash -c 'setsid sleep 648 >/dev/null 2>&1 & \
                   sleep 0.3; echo ready; exec sleep 100'";
    let mut terminal = Terminal::start(command);
    terminal.wait_for("ready");
    terminal.press("\u{3}");
    let (status, shown) = terminal.end();
    assert_eq!(status, Some(130), "{shown}");
    assert!(
        shown.contains("bash was ended by signal 2 and left 1 process after 0.1 s:"),
        "{shown}"
    );
}

#[test]
fn the_suspend_key_stops_the_command_and_fg_continues_it() {
    needs!(Program("script"));
    let mut terminal = Terminal::start("env PS1='at your service: ' bash --norc --noprofile -i");
    terminal.wait_for("at your service: ");
    terminal.press("$PIDNS run -- bash -c 'echo started; sleep 1; echo finished; exit 6'\n");
    terminal.wait_for("\nstarted");
    terminal.press("\u{1a}");
    terminal.wait_for("Stopped");
    terminal.press("fg\n");
    terminal.wait_for("\nfinished");
    terminal.press("echo status=$?\n");
    terminal.wait_for("status=6");
    terminal.press("exit\n");
    terminal.end();
}

#[test]
fn two_hundred_runs_during_a_fork_storm_are_correct() {
    let storm = Running::spawn(
        Command::new("bash").args(["-c", "while ((SECONDS < 300)); do (: & : & :) & wait; done"]),
    );
    // Run several commands at the same time, so that they get more CPU time than the fork storm.
    let runs = |numbers: std::ops::Range<i32>| {
        for number in numbers {
            let argument = format!("651.{number:03}");
            let script =
                format!("(setsid sleep {argument} >/dev/null 2>&1 &) ; exit {}", number % 100);
            let outcome = run_job(&["--kill", "--grace", "0.01"], &["sh", "-c", &script]);
            let stderr = &outcome.stderr;
            assert_eq!(outcome.status, number % 100, "{stderr}");
            assert_eq!(outcome.report.codes(), ["leftover-process"], "{stderr}");
            assert!(stderr.contains(&format!(" {argument}  ")), "{stderr}");
            assert_eq!(outcome.report.killed.as_ref().unwrap().remaining, [0; 0]);
        }
    };
    thread::scope(|scope| {
        for quarter in 0..4 {
            scope.spawn(move || runs(50 * quarter..50 * (quarter + 1)));
        }
    });
    drop(storm);
    assert_eq!(with_argument("sleep\u{0}651."), 0);
}
