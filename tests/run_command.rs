//! Tests `pidns run` with commands that leave processes and namespaces behind.

mod common;

use std::fs;
use std::io::BufRead as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::Need::*;
use common::runner::*;
use common::*;
use expect_test::{Expect, expect};
use rustix::process::Signal;

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
fn kill_works_if_the_command_becomes_the_init_of_a_new_namespace() {
    needs!(NamespaceOfItsOwn);
    let script = "unshare -p $P run --kill -- sh -c 'echo $$; exit 3'";
    let output = run(Command::new("bash").args(["-c", script]).env("P", PIDNS));
    assert_eq!((output.status.code(), &*output.stdout), (Some(3), &b"1\n"[..]), "{output:?}");
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
        &["--report", "junt:report.xml"],
        &["--report", "yaml:/dev/null"],
        &["--kil"],
    ] {
        let output = run(Command::new(PIDNS).arg("run").args(arguments).args(["touch", mark]));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(125), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(!Path::new(mark).exists(), "{arguments:?}");
    }
    assert_eq!(pidns(&["run"]).status.code(), Some(125));
    assert_eq!(pidns(&["-q", "run", "touch", mark]).status.code(), Some(125));
    // With correct arguments, the command runs.
    assert_eq!(pidns(&["run", "--grace", "0.5", "touch", mark]).status.code(), Some(0));
    assert!(Path::new(mark).exists());
}

#[test]
fn an_unwritable_report_does_not_change_the_status() {
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
    assert_eq!(run("true"), (Some(0), line.to_owned()));
    assert_eq!(run("exit 5"), (Some(5), line.to_owned()));
}

#[test]
fn a_report_file_whose_name_looks_like_a_format_needs_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let report = |file| {
        let mut command = Command::new(PIDNS);
        run(command.args(["run", "-q", "--report", file, "true"]).current_dir(&dir))
    };
    let output = report("junt:a");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("junit") && stderr.contains("./junt:a"), "{stderr}");
    for file in ["./junt:a", "a1:b", ":d"] {
        let output = report(file);
        let is_written = dir.path().join(file).exists();
        assert_eq!((output.status.code(), is_written), (Some(0), true), "{file}");
    }
}

#[test]
fn a_fifo_can_get_its_reader_from_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let report = |script: &str| {
        let mut command = Command::new(PIDNS);
        command.args([
            "run",
            "--grace",
            "0.2",
            "--report",
            "json:fifo",
            "--",
            "bash",
            "-c",
            script,
        ]);
        let output = run(command.current_dir(&dir));
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert!(run(Command::new("mkfifo").arg(dir.path().join("fifo"))).status.success());
    let read = || {
        serde_json::from_str::<serde_json::Value>(
            &fs::read_to_string(dir.path().join("got")).unwrap(),
        )
    };
    let (status, stderr) = report("cat fifo > got 2> /dev/null & exit 5");
    assert_eq!(status, Some(5), "{stderr}");
    assert!(!stderr.contains("cannot write"), "{stderr}");
    until("the reader has the report", || read().is_ok());
    assert_eq!(read().unwrap()["status"], 5);
    // Nobody reads the report.
    let (status, stderr) = report("timeout 0.1 cat fifo; exit 6");
    assert_eq!(status, Some(6), "{stderr}");
    assert_eq!(stderr, "pidns: cannot write fifo: no process reads from this FIFO\n");
    // The command replaces the FIFO.
    let (status, stderr) = report("rm fifo; echo kept > fifo; exit 7");
    assert_eq!(status, Some(7), "{stderr}");
    assert_eq!(stderr, "pidns: cannot write fifo: the command has replaced the file\n");
    assert_eq!(fs::read_to_string(dir.path().join("fifo")).unwrap(), "kept\n");
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
    let outcome = bash(&["--grace", "0.2", "--details", "args"], &script);
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
    assert_eq!(outcome.status, 123);
    assert!(outcome.stderr.ends_with("pidns: denied: leftover-process\n"), "{}", outcome.stderr);
    assert_eq!(outcome.report.denied, ["leftover-process", "zombie"]);
    assert!(outcome.report.findings[0].denied);
    assert_eq!(bash(&options, &format!("{daemon} exit 7")).status, 7);
    assert_eq!(bash(&["--grace", "0", "--deny", "dead-namespace"], daemon).status, 0);
    let quiet = bash(&["--quiet", "--grace", "0", "--deny", "leftover-process"], daemon);
    assert_eq!((quiet.status, quiet.stderr.as_str()), (123, ""));
}

#[test]
fn a_process_whose_leader_thread_has_exited_is_no_zombie() {
    needs!(Program("python3"));
    let program = "import ctypes, os, signal, threading, time
os.setsid()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=time.sleep, args=[300]).start()
ctypes.CDLL(None).syscall(60, 0)  # leader-678";
    let options = ["--kill", "--grace", "0.5", "--deny", "leftover-process"];
    let script = "python3 -c \"$0\" >/dev/null 2>&1 &
        until grep -qs '^State:.Z' /proc/$!/status; do sleep 0.02; done";
    let outcome = run_job(&options, &["bash", "-c", script, program]);
    assert_eq!(outcome.status, 123, "{}", outcome.stderr);
    assert_eq!(outcome.report.codes(), ["leftover-process"]);
    assert!(outcome.stderr.contains("leader thread exited"), "{}", outcome.stderr);
    let killed = outcome.report.killed.as_ref().unwrap();
    assert_eq!((killed.sigkill.len(), killed.remaining.len()), (1, 0), "{}", outcome.stderr);
}

/// Python program that becomes the tracer of a `sleep` process, and never waits for it. The
/// arguments are: the argument of `sleep`, a file to create, and `kill` to kill the process.
const TRACER: &str = "import ctypes, os, signal, sys, time
def read(path):
    try: return open(path).read()
    except OSError: return ''
def sleepers():
    return [it for it in os.listdir('/proc') if read(f'/proc/{it}/cmdline') == f'sleep\\0{sys.argv[1]}\\0']
while not (found := sleepers()): time.sleep(0.01)
pid = int(found[0])
PTRACE_SEIZE = 0x4206
assert ctypes.CDLL(None).ptrace(PTRACE_SEIZE, pid, 0, 0) == 0
if 'kill' in sys.argv:
    os.kill(pid, signal.SIGKILL)
    while 'State:\\tZ' not in read(f'/proc/{pid}/status'): time.sleep(0.01)
open(sys.argv[2] + '.new', 'w').close()
os.rename(sys.argv[2] + '.new', sys.argv[2])
time.sleep(300)";

/// Starts the program [`TRACER`], and runs pidns with a command that leaves a traced process.
fn run_traced(program: &mut Command, options: &[&str], number: &str, kill: &str) -> (u32, Outcome) {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("traced").display().to_string();
    // Other builds of this test can run at the same time.
    let argument = format!("{number}{}", std::process::id());
    let mut tracer = Command::new("python3");
    let tracer = Running::spawn(tracer.args(["-c", TRACER, &argument, &mark, kill]));
    let script = format!(
        "setsid sleep {argument} >/dev/null 2>&1 &
         for i in {{1..2000}}; do [ -e {mark} ] && exit 0; sleep 0.01; done; exit 7"
    );
    let outcome = run_job_by(program, options, &["bash", "-c", &script]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    (tracer.pid(), outcome)
}

#[test]
fn a_zombie_that_only_its_tracer_can_reap_takes_no_grace_time() {
    needs!(HostRoot, Program("python3"), Linux(5, 4));
    let start = Instant::now();
    let options = ["--kill", "--grace", "60", "--deny", "leftover-process"];
    let (tracer, outcome) = run_traced(&mut pidns_run(), &options, "681.1", "kill");
    assert!(start.elapsed() < Duration::from_secs(50), "{}", outcome.stderr);
    assert_eq!(outcome.report.codes(), ["zombie"], "{}", outcome.stderr);
    assert!(outcome.report.killed.is_none(), "{}", outcome.stderr);
    let by = format!("sleep  zombie: {tracer} python3 does not reap it, ");
    assert!(outcome.stderr.contains(&by), "{}", outcome.stderr);
}

#[test]
fn kill_does_not_wait_for_the_tracer_of_a_zombie() {
    needs!(HostRoot, Program("python3"), Linux(5, 4));
    let options = ["--kill", "--grace", "0.2"];
    let start = Instant::now();
    let (_, outcome) = run_traced(&mut pidns_run(), &options, "681.2", "keep");
    // pidns repeats SIGKILL for ten seconds if a process stays.
    assert!(start.elapsed() < Duration::from_secs(9), "{}", outcome.stderr);
    let killed = outcome.report.killed.as_ref().unwrap();
    assert_eq!((killed.sigkill.len(), killed.remaining.len()), (1, 0), "{}", outcome.stderr);
    assert_eq!(killed.unreaped, killed.sigkill);
}

#[test]
fn a_dead_namespace_that_pidns_inherited_or_that_was_mounted_is_not_the_commands() {
    needs!(HostRoot, Program("python3"));
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("namespace");
    fs::write(&mount, "").unwrap();
    let mount = mount.display();
    let start = "setsid sleep 679 >/dev/null 2>&1 &";
    for (before, within) in [
        (format!("exec 9<{mount}; umount {mount}"), String::new()),
        (String::new(), format!("exec 9<{mount};")),
    ] {
        let script = format!(
            "unshare --pid={mount} --fork true; {before}
             {PIDNS} run --kill --grace 0.1 --deny dead-namespace -- sh -c '{within} {start}'"
        );
        let mut command = Command::new("unshare");
        let output = run(command.args(["-m", "bash", "-c", &script]));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(stderr.contains(" and left 1 process after 0.1 s:"), "{stderr}");
    }
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
fn kill_ends_leftovers_that_another_init_adopts() {
    needs!(Namespaces);
    let (_container, inits) = nest(1);
    let before = children(inits[0]);
    // In the second case, a process that ignores SIGTERM outlives its parent. In the third case, all
    // processes inside ignore SIGTERM.
    for inside in [
        "sleep 671 & sleep 672; :",
        "(trap '' TERM; exec sleep 671) & sleep 672; :",
        "trap '' TERM; sleep 671 & sleep 672; :",
    ] {
        let script = format!(
            "nsenter -t {} -p sh -c \"{inside}\" & \
             until [ \"$(pgrep -fxc 'sleep 67[12]')\" = 2 ]; do :; done",
            inits[0]
        );
        let mut command = Command::new("timeout");
        command.args(["20", PIDNS, "run", "--kill", "--grace", "0.3", "--", "bash", "-c", &script]);
        let output = run(&mut command);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("killed 4 processes"), "{inside} {text}");
        assert_eq!(children(inits[0]), before, "{inside} {text}");
    }
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
    for seconds in ["621", "623", "624"] {
        assert_eq!(sleeping(seconds), 0, "{seconds}");
    }
    assert_eq!(with_argument("parent-626"), 0);
}

#[test]
fn kill_names_the_processes_of_others_in_a_namespace_of_the_command() {
    needs!(Namespaces);
    // The init ignores SIGTERM, so it lives until SIGKILL. One process of the test enters its
    // namespace at once, and another one after the scan.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("init");
    let script = format!(
        "exec >/dev/null 2>&1; unshare -pf bash -c 'trap \"\" TERM; while :; do sleep 6.27; done' & \
         until read -rd ' ' init < /proc/$!/task/$!/children; do :; done; echo $init > {}; sleep 0.5",
        file.display()
    );
    let outsiders = std::thread::spawn(move || {
        let mut init = String::new();
        until("the namespace has an init", || {
            init = fs::read_to_string(&file).unwrap_or_default();
            init.ends_with('\n')
        });
        let init: u32 = init.trim().parse().unwrap();
        let enter = |seconds| {
            let nsenter = inject(init, &["sleep", seconds], 1);
            let pid = children(nsenter.pid())[0];
            (nsenter, pid)
        };
        let first = enter("627");
        // The scan for leftovers comes 2 s after the init was started, and SIGKILL 1.5 s later.
        std::thread::sleep(Duration::from_millis(2500));
        [first, enter("628")]
    });
    let outcome = bash(&["--kill", "--grace", "1.5"], &script);
    let entered = outsiders.join().unwrap();
    let killed = outcome.report.killed.as_ref().unwrap();
    let leftovers = outcome.report.pids("leftover-process");
    let mut names: Vec<String> = Vec::new();
    for (nsenter, pid) in &entered {
        names.push(format!("{pid} sleep (entered by {} nsenter)", nsenter.pid()));
        assert!(killed.sigkill.contains(pid) && !leftovers.contains(pid), "{killed:?}");
        assert!(!is_running(*pid));
    }
    let said = format!("; killed with the init of their PID namespace: {}\n", names.join(", "));
    assert!(outcome.stderr.ends_with(&said), "{}{said}", outcome.stderr);
}

#[test]
fn kill_does_not_wait_for_a_signal_that_seccomp_refuses() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    // The filter refuses pidfd_send_signal(2) with ENOSYS, EPERM or EACCES. kill(2) replaces a system
    // call that does not exist, but a refusal is final.
    let (eperm, eacces) = (0x0005_0001, 0x0005_000d);
    for (action, seconds, is_killed) in
        [(ENOSYS, "629.1", true), (eperm, "629.2", false), (eacces, "629.3", false)]
    {
        let script = format!("setsid sleep {seconds} >/dev/null 2>&1 & sleep 0.2");
        let command = [PIDNS, "run", "--kill", "--grace", "0.1", "--", "bash", "-c", &script];
        let start = Instant::now();
        let output = run(&mut with_seccomp(action, "424", &command));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert_eq!(output.status.code(), Some(0));
        let stderr = String::from_utf8(output.stderr).unwrap();
        let last = stderr.lines().last().unwrap();
        assert_eq!(last == "pidns: killed 1 process", is_killed, "{stderr}");
        let refused = "pidns: killed 0 processes; not permitted to signal ";
        assert_eq!(last.starts_with(refused), !is_killed, "{stderr}");
        assert_eq!(sleeping(seconds) == 0, is_killed, "{stderr}");
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
    assert_eq!(outcome.status, 123, "{}", outcome.stderr);
    assert!(outcome.stderr.contains(" and left "), "{}", outcome.stderr);
    assert_eq!(outcome.report.killed.as_ref().unwrap().remaining, [0; 0]);
    assert_eq!(with_argument("comet-632"), 0);
}

#[test]
fn with_too_few_descriptors_the_command_is_not_started() {
    // With a low limit, either the command is not started, or its leftovers are found and killed.
    let job = "echo started; setsid sleep 630 >/dev/null 2>&1 & exit 7";
    let run = format!("{PIDNS} run --kill --grace 0.1 -- bash -c '{job}'");
    let (mut refused, mut started) = (0, 0);
    for limit in 5..=24 {
        let output = bash_with(&format!("ulimit -n {limit}; exec {run}"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.stdout.is_empty() {
            refused += 1;
            assert_eq!(output.status.code(), Some(125), "{limit}: {stderr}");
            assert!(stderr.starts_with("pidns: cannot "), "{limit}: {stderr}");
            assert!(stderr.ends_with(": Too many open files (os error 24)\n"), "{limit}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{limit}: {stderr}");
        } else {
            started += 1;
            assert_eq!(output.status.code(), Some(7), "{limit}: {stderr}");
            assert!(stderr.ends_with("pidns: killed 1 process\n"), "{limit}: {stderr}");
        }
        assert_eq!(sleeping("630"), 0, "{limit}: {stderr}");
    }
    assert!(refused >= 5 && started >= 5, "{refused} {started}");
    // pidns raises a low soft limit for itself, but not for the command.
    let output = bash_with(&format!("ulimit -Sn 8; {PIDNS} run -- bash -c 'ulimit -Sn'"));
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"8\n"[..]), "{output:?}");
    // Other verbs need a scan.
    for verb in ["", "check"] {
        for limit in 4..=20 {
            let output = bash_with(&format!("ulimit -n {limit}; exec {PIDNS} {verb} -q"));
            let stderr = String::from_utf8_lossy(&output.stderr);
            let is_error = output.status.code() == Some(2);
            let said = "pidns: cannot read /proc: Too many open files (os error 24)\n";
            assert_eq!(stderr, if is_error { said } else { "" }, "{limit}");
            assert_eq!(output.stdout.is_empty(), is_error, "{limit}");
        }
    }
}

fn bash_with(script: &str) -> std::process::Output {
    run(Command::new("bash").args(["-c", script]))
}

#[test]
fn kill_is_done_even_if_the_scan_fails() {
    needs!(HostRoot);
    let (dir, program) = public_copy();
    let script = format!("{program} run --kill --grace 0.1 -- bash -c 'setsid sleep 633 &'");
    let mut command = Command::new("setpriv");
    let output = run(command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c", &script])
        // An ordinary user may not load BPF programs.
        .env("PIDNS_COLLECTOR", "bpf")
        .current_dir(dir.path()));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    let [killed, error] = stderr.lines().collect::<Vec<_>>()[..] else { panic!("{stderr}") };
    assert_eq!(killed, "pidns: killed 1 process");
    assert!(error.starts_with("pidns: cannot ") && error.contains("BPF"), "{error}");
    assert_eq!(sleeping("633"), 0);
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
fn an_older_orphan_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    // The first subshell is a child of pidns. It ends while the command runs, and pidns adopts the
    // orphan.
    let script = format!(
        "( (setsid sleep 661 2>&1 & echo $! > {0}/orphan; sleep 0.6) & sleep 0.2
         exec 2>{0}/said; exec {PIDNS} run --grace 0.2 --kill --deny leftover-process -- sleep 1 ) \
         >/dev/null 2>&1",
        dir.path().display()
    );
    let output = run(Command::new("bash").args(["-c", &script]));
    let stderr = fs::read_to_string(dir.path().join("said")).unwrap();
    let orphan = fs::read_to_string(dir.path().join("orphan")).unwrap().trim().parse().unwrap();
    assert!(is_running(orphan), "{stderr}");
    send(orphan, Signal::KILL);
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn an_orphan_that_an_older_process_starts_later_is_left_alone() {
    let older = "bash -c 'sleep 0.5; (setsid sleep 669 &); exec sleep 669'";
    let script =
        format!("{older} >/dev/null 2>&1 & exec {PIDNS} run --kill --grace 0.1 -- sleep 1.5");
    let output = run(Command::new("bash").args(["-c", &script]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
    // The orphan and the process that started it.
    assert_eq!(sleeping("669"), 2);
    run(Command::new("pkill").args(["-KILL", "-f", "sleep 669$"]));
}

#[test]
fn an_older_child_is_left_alone_if_its_start_time_is_unknown() {
    needs!(HostRoot, Program("python3"));
    // The kernel rounds the start times in this time namespace.
    let program = "import ctypes, os, sys
assert ctypes.CDLL(None).unshare(0x80) == 0
open('/proc/self/timens_offsets', 'w').write('boottime 100 5000000')
child = os.fork()
if child == 0: os.execvp('bash', ['bash', '-c', sys.argv[1]])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))";
    let script = format!(
        "sleep 676 >/dev/null 2>&1 & sleep 0.3; exec {PIDNS} run --kill --grace 0.1 \
         --deny leftover-process -- sh -c 'setsid sleep 675 >/dev/null 2>&1 &'"
    );
    let output = run(Command::new("python3").args(["-c", program, &script]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(123), "{stderr}");
    assert!(stderr.contains(" and left 1 process after 0.1 s:"), "{stderr}");
    assert_eq!((sleeping("675"), sleeping("676")), (0, 1));
    run(Command::new("pkill").args(["-KILL", "-f", "sleep 676$"]));
}

#[test]
fn an_older_child_that_proc_hides_is_left_alone() {
    needs!(HostRoot);
    let (_dir, program) = public_copy();
    let script = format!(
        "mount -o remount,hidepid=2 /proc
         bash -c 'sleep 100 & exec setpriv --reuid 65534 --regid 65534 --clear-groups \
         {program} run --kill --grace 0.1 --deny leftover-process -- true'; exit $?"
    );
    let mut command = Command::new("unshare");
    let output = run(command.args(["-mpf", "--mount-proc", "--kill-child", "bash", "-c", &script]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn processes_are_found_even_if_their_pids_have_wrapped() {
    needs!(HostRoot, Linux(6, 14));
    // The older child, the command and its daemons get PIDs from 397 to 400 and from 300 on, often
    // within a clock tick.
    let script = format!(
        "sysctl -qw kernel.pid_max=400
         for i in {{1..10}}; do
             bash -c 'sleep 100 & echo 396 > /proc/sys/kernel/ns_last_pid
                 exec {PIDNS} run -q --kill --grace 0 --deny leftover-process -- \
                 bash -c \"sleep 101 & sleep 101 & exit 0\"' >/dev/null 2>&1
             echo $? $(pgrep -cf \"sleep 100$\") $(pgrep -cf \"sleep 101$\")
             pkill -f \"sleep 100$\"
         done"
    );
    let mut command = Command::new("unshare");
    let output = run(command.args(["-mpf", "--mount-proc", "--kill-child", "bash", "-c", &script]));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "123 1 0\n".repeat(10));
}

#[test]
fn an_init_adopts_older_orphans_without_reporting_them() {
    needs!(Namespaces);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let wait_for = |name: &str| format!("until [ -e {} ]; do sleep 0.02; done", path(name));
    let (mut container, init) = container(&format!(
        "echo ready; {}; exec {PIDNS} run --kill --grace 0.1 --deny leftover-process -- \
         sh -c 'touch {}; {}'",
        wait_for("start"),
        path("started"),
        wait_for("end"),
    ));
    // The parent of the orphan is outside of the namespace, as with `docker exec`.
    let script = format!("setsid sleep 662 & {}", wait_for("started"));
    let inside = ["-t", &init.to_string(), "-p", "sh", "-c", &script];
    let mut entered = Running::spawn(Command::new("nsenter").args(inside));
    until("the process is inside", || sleeping("662") == 1);
    fs::write(path("start"), "").unwrap();
    entered.0.wait().unwrap();
    until("the init has adopted it", || children(init).len() == 2);
    fs::write(path("end"), "").unwrap();
    assert_eq!(container.0.wait().unwrap().code(), Some(0));
}

/// Returns a command that becomes root and then executes its arguments. `nobody` may execute the
/// command, but may not signal it: the set-user-ID copy of `setpriv` in `dir` also changes the real
/// user ID.
fn becomes_root(dir: &Path) -> String {
    let program = dir.join("setpriv");
    let copy = format!("install -m4755 \"$(command -v setpriv)\" {}", program.display());
    assert!(run(Command::new("sh").args(["-c", &copy])).status.success());
    format!("{} --reuid 0 --regid 0 --clear-groups", program.display())
}

#[test]
fn a_process_that_may_not_be_signalled_is_reported_at_once() {
    needs!(HostRoot);
    let (dir, program) = public_copy();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let become_root = format!("{} setsid -f sleep 663", becomes_root(dir.path()));
    fs::write(path("report"), "").unwrap();
    assert!(run(Command::new("chmod").args(["666", &path("report")])).status.success());
    for (hidepid, name) in [(0, "sleep of user root"), (2, "(no name)")] {
        let script = format!(
            "mount -o remount,hidepid={hidepid} /proc
             setpriv --reuid 65534 --regid 65534 --clear-groups \
             {program} run --grace 0.2 --kill --deny leftover-process --report {} -f json -- \
             {become_root} >/dev/null; exit $?",
            path("report")
        );
        let start = Instant::now();
        let mut command = Command::new("unshare");
        let output =
            run(command.args(["-mpf", "--mount-proc", "--kill-child", "bash", "-c"]).arg(script));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(123), "{stderr}");
        assert!(start.elapsed() < Duration::from_secs(20), "{stderr}");
        let report = fs::read_to_string(path("report")).unwrap();
        is_as_its_schema_says(&report);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let pid = report["killed"]["refused"][0].as_u64().expect("a PID");
        assert_eq!(
            report["killed"],
            serde_json::json!({
                "sigterm": [], "sigkill": [], "refused": [pid], "remaining": [pid], "unreaped": []
            })
        );
        let last = stderr.lines().last().unwrap();
        let expected = format!(
            "pidns: killed 0 processes; not permitted to signal {pid} {name}; still there: {pid}"
        );
        assert!(last.starts_with(&expected), "{stderr}");
        assert_eq!(report["findings"][0]["pid"], pid, "{stderr}");
    }
}

#[test]
fn zombies_of_a_process_that_may_not_be_signalled_are_reported() {
    needs!(HostRoot);
    let (dir, program) = public_copy();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let become_root = becomes_root(dir.path());
    // `nobody` may signal only the child `sleep 678`.
    let script = "true & setpriv --reuid 65534 --regid 65534 --clear-groups sleep 678 & \
                  exec sleep 677";
    let script = format!(
        "setpriv --reuid 65534 --regid 65534 --clear-groups {program} run --grace 0.2 --kill \
         --report json:{} --report markdown:{} -- {become_root} setsid -f sh -c '{script}' \
         >/dev/null; exit $?",
        path("report"),
        path("markdown")
    );
    for name in ["report", "markdown"] {
        fs::write(path(name), "").unwrap();
        assert!(run(Command::new("chmod").args(["666", &path(name)])).status.success());
    }
    let mut command = Command::new("unshare");
    let output =
        run(command.args(["-mpf", "--mount-proc", "--kill-child", "bash", "-c"]).arg(script));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let report = fs::read_to_string(path("report")).unwrap();
    is_as_its_schema_says(&report);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let zombie = &findings.iter().find(|it| it["code"] == "zombie").expect("a zombie")["pid"];
    let (ended, pid) = (&report["killed"]["sigterm"][0], &report["killed"]["refused"][0]);
    assert_eq!(
        report["killed"],
        serde_json::json!({
            "sigterm": [ended], "sigkill": [], "refused": [pid], "remaining": [pid],
            "unreaped": [zombie, ended]
        })
    );
    let last = stderr.lines().last().unwrap();
    let expected = format!(
        "pidns: killed 1 process; not permitted to signal {pid} sleep of user root; still there: \
         {pid} sleep; not reaped: {zombie} sh, {ended} sleep"
    );
    assert_eq!(last, expected, "{stderr}");
    let markdown = fs::read_to_string(path("markdown")).unwrap();
    let row = |text: &str| {
        let found = markdown.lines().find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("{text} in {markdown}"))
    };
    let row_of_zombie = row(&format!("| {zombie} sh was"));
    let expected = format!(" old) | end {pid} only if user root does not need it");
    assert!(row_of_zombie.contains(&expected), "{row_of_zombie}");
    let ended = row(&format!("| {ended} sleep was"));
    let expected = format!(" old); pidns has ended it, but {pid} sleep does not reap it | ");
    assert!(ended.contains(&expected), "{ended}");
}

#[test]
fn a_leftover_that_reuses_a_pid_gets_sigterm_too() {
    needs!(HostRoot, Linux(6, 9));
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let successor = format!("trap \"echo \\$\\$ > {}; exit\" TERM; sleep 679 & wait", path("new"));
    // When the daemon gets SIGTERM, it waits until its child has ended, and starts a child with the
    // same PID.
    let daemon = format!(
        "sleep 679 & child=$!
         trap 'wait $child; echo $((child - 1)) > /proc/sys/kernel/ns_last_pid
             bash -c '\\''{successor}'\\'' & echo $child > {}; wait; exit' TERM
         wait",
        path("old")
    );
    fs::write(path("daemon"), daemon).unwrap();
    let script = format!(
        "{PIDNS} run --kill --grace 4 -- bash -c 'setsid bash {} >/dev/null 2>&1 & sleep 0.3'",
        path("daemon")
    );
    let start = Instant::now();
    let mut command = Command::new("unshare");
    let output = run(command.args(["-mpf", "--mount-proc", "--kill-child", "bash", "-c", &script]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let pid = |name: &str| fs::read_to_string(path(name)).unwrap_or_else(|_| panic!("{stderr}"));
    assert_eq!(pid("new"), pid("old"));
    assert!(stderr.ends_with("pidns: killed 3 processes\n"), "{stderr}");
    assert!(start.elapsed() < Duration::from_secs(30), "{stderr}");
}

#[test]
fn a_command_may_unmount_proc_or_mount_another_one() {
    needs!(Namespaces);
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report");
    for script in ["sleep 664 & umount -l /proc", "sleep 664 & mount -t tmpfs none /proc"] {
        let script = format!(
            "{PIDNS} run --grace 0.1 --kill --details limits,cgroup --report {} -f json -- \
             sh -c '{script}' >/dev/null; exit $?",
            report.display()
        );
        let mut command = Command::new("unshare");
        let command = command.args(["-mpf", "--mount-proc", "--kill-child"]);
        let output = run(command.args(["--propagation", "private", "bash", "-c", &script]));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        let report = fs::read_to_string(&report).unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let codes: Vec<_> = findings.iter().map(|it| it["code"].as_str().unwrap()).collect();
        assert_eq!(codes, ["leftover-process"], "{stderr}");
        assert_eq!(report["killed"]["remaining"], serde_json::json!([]), "{stderr}");
    }
    // Without a mount namespace of its own, another /proc shows another PID namespace.
    let script = "mount -t proc proc /proc; sleep 665 & true";
    let mut command = Command::new("unshare");
    let command = command.args(["-mpf", "--kill-child", "--propagation", "private"]);
    let output =
        run(command.args([PIDNS, "run", "--grace", "0.1", "--kill", "--", "sh", "-c", script]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(" and left 1 process after 0.1 s:\n"), "{stderr}");
    assert!(stderr.ends_with("pidns: killed 1 process\n"), "{stderr}");
}

/// C program with twenty processes, each of which forks a child and exits over and over: the child
/// does the same. It ends by itself after twenty seconds.
const METEORS: &str = "#include <time.h>
#include <unistd.h>
int main(void) {
  time_t end = time(0) + 20;
  for (int i = 0; i < 20; i++) {
    if (fork() == 0) {
      setsid();
      for (int fd = 0; fd < 3; fd++) close(fd);
      while (time(0) < end) if (fork() > 0) _exit(0);
      _exit(0);
    }
  }
}";

#[test]
fn a_storm_of_orphans_is_reaped_reported_and_killed() {
    // Only root may raise the priority of pidns above that of the storm.
    needs!(HostRoot, Program("cc"));
    let dir = tempfile::tempdir().unwrap();
    let (source, meteors) = (dir.path().join("meteors.c"), dir.path().join("meteors"));
    fs::write(&source, METEORS).unwrap();
    stdout(&run(Command::new("cc").arg("-O2").arg("-o").arg(&meteors).arg(&source)));
    let start = Instant::now();
    let said = dir.path().join("said");
    let options = ["--grace", "0.5", "--kill", "--deny", "leftover-process,zombie", "--"];
    let mut command = Command::new(PIDNS);
    command.arg("run").args(options).arg(&meteors).stderr(fs::File::create(&said).unwrap());
    let mut running = Running::spawn(&mut command);
    let mut peak = 0;
    let status = loop {
        if let Some(status) = running.0.try_wait().unwrap() {
            break status;
        }
        peak = peak.max(children(running.pid()).len());
        thread::sleep(Duration::from_millis(5));
    };
    let stderr = fs::read_to_string(&said).unwrap();
    assert_eq!(status.code(), Some(123), "{stderr}");
    assert!(start.elapsed() < Duration::from_secs(18), "{:?} {stderr}", start.elapsed());
    // Far fewer than the tens of thousands without a reaper, but more than on an idle host.
    assert!(peak < 3000, "{peak} children at the same time");
    assert!(stderr.contains("ended with status 0 and left "), "{stderr}");
    assert!(!stderr.contains("still there"), "{stderr}");
}

#[test]
fn every_ci_format_names_the_leftovers() {
    needs!(Program("xmllint"));
    let report = |format: &str| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report");
        let options = ["--grace", "0", "--deny", "leftover-process", "-q", "-f", format];
        let mut command = pidns_run();
        command.args(options).arg("--report").arg(&path);
        let script = "setsid sleep 666 >/dev/null 2>&1 & \
                      until [ \"$(</proc/$!/comm)\" = sleep ]; do :; done; echo $!";
        let output = run(command.args(["--", "bash", "-c", script]));
        assert_eq!(output.status.code(), Some(123), "{format}");
        let pid: u32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        send(pid, Signal::KILL);
        (pid, fs::read_to_string(path).unwrap())
    };
    let (pid, github) = report("github");
    let line = format!("::error title=pidns%3A leftover-process::{pid} sleep was left behind (");
    assert!(github.starts_with(&line), "{github}");
    assert!(github.ends_with(&format!("; kill {pid}\n")), "{github}");
    let (pid, markdown) = report("markdown");
    let heading = "### pidns run: bash ended with status 0 and left 1 process\n";
    assert!(markdown.starts_with(heading), "{markdown}");
    let row = format!("| **denied** | leftover-process | {pid} sleep was left behind (");
    assert!(markdown.contains(&row), "{markdown}");
    assert!(markdown.contains("\n```mermaid\n") && markdown.ends_with("\n```\n"), "{markdown}");
    let (pid, junit) = report("junit");
    assert!(junit.contains("<testsuite name=\"pidns run\""), "{junit}");
    let read = read_as_junit(&junit);
    assert!(read.contains(&format!("{pid} sleep was left behind (")), "{read}");
}

#[test]
fn the_report_can_be_ascii() {
    for (options, branch) in [(&["--ascii"][..], "`- "), (&[], "└─ ")] {
        let script = "setsid sleep 668 >/dev/null 2>&1 &";
        let outcome = bash(&[options, &["--grace", "0"]].concat(), script);
        let lines: Vec<_> = outcome.stderr.lines().collect();
        assert!(lines.iter().any(|line| line.starts_with(branch)), "{lines:?}");
        assert_eq!(outcome.stderr.is_ascii(), branch.is_ascii(), "{lines:?}");
    }
}

#[test]
fn a_report_that_the_command_deletes_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report");
    let path = report.to_str().unwrap();
    let output = pidns(&["run", "--report", path, "-f", "json", "--", "rm", path]);
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    is_as_its_schema_says(&fs::read_to_string(report).unwrap());
}

#[test]
fn a_file_that_replaces_the_report_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("victim"), "secret\n").unwrap();
    for replace in ["mkfifo report", "ln -s victim report", "ln -s nowhere report", "echo > report"]
    {
        let report = path("report");
        let script = format!("cd {}; rm report; {replace}; exit 4", dir.path().display());
        let options = ["run", "--grace", "0", "--report"];
        let mut command = Command::new("timeout");
        let command = command.args(["60", PIDNS]).args(options).arg(&report);
        let output = run(command.args(["-f", "json", "--", "sh", "-c", &script]));
        assert_eq!(output.status.code(), Some(4), "{replace}");
        let line = format!("pidns: cannot write {report}: the command has replaced the file\n");
        assert_eq!(String::from_utf8_lossy(&output.stderr), line, "{replace}");
        assert_eq!(fs::read_to_string(path("victim")).unwrap(), "secret\n", "{replace}");
        assert!(!Path::new(&path("nowhere")).exists());
        fs::remove_file(report).unwrap();
    }
}

#[test]
fn a_markdown_report_is_appended_and_others_replace_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report");
    let written = |format: &str| {
        fs::write(&report, "before\n").unwrap();
        let option = format!("--report={format}:{}", report.display());
        let script = format!("cat {0}; printf within >> {0}", report.display());
        let output = pidns(&["run", &option, "--", "sh", "-c", &script]);
        assert_eq!(stdout(&output), "before\n");
        fs::read_to_string(&report).unwrap()
    };
    let heading = "### pidns run: sh ended with status 0 and left nothing\n";
    assert_eq!(written("markdown"), format!("before\nwithin\n{heading}"));
    is_as_its_schema_says(&written("json"));
    assert_eq!(written("text"), "pidns: sh ended with status 0 and left nothing\n");
}

#[test]
fn nested_runs_may_write_the_same_report_file() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report");
    let option = format!("--report=json:{}", report.display());
    let long = "a long argument ".repeat(1000);
    let inner = [PIDNS, "run", &option, "--", "true", &long];
    let output = pidns(&[&["run", &option, "--"][..], &inner].concat());
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    let report = fs::read_to_string(report).unwrap();
    is_as_its_schema_says(&report);
    let report: Report = serde_json::from_str(&report).unwrap();
    assert_eq!(report.command, inner);
}

#[test]
fn two_reports_to_one_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("file"), "before").unwrap();
    fs::hard_link(path("file"), path("link")).unwrap();
    let reports = |one: &str, other: &str| {
        let mut command = Command::new(PIDNS);
        let command = command.args(["run", "--report", one, "--report", other, "-f", "markdown"]);
        run(command.args(["--", "touch", &path("mark")]))
    };
    let output = reports(&path("file"), &path("link"));
    assert_eq!(output.status.code(), Some(125));
    let line = format!(
        "pidns: two reports cannot go to the same file: --report {} and --report {}\n",
        path("file"),
        path("link")
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), line);
    assert_eq!(fs::read_to_string(path("file")).unwrap(), "before");
    assert!(!Path::new(&path("mark")).exists());
    assert_eq!(reports("-", "-").status.code(), Some(0));
    assert_eq!(reports("/dev/null", "/dev/null").status.code(), Some(0));
}

#[test]
fn a_report_to_an_inherited_descriptor_overwrites_nothing() {
    let heading = "pidns: echo ended with status 0 and left nothing\n";
    for (report, from) in [
        ("/dev/stdout", ">> log"),
        ("/dev/stdout", "> log"),
        ("log", "> log"),
        ("/dev/stderr", "2> log"),
        ("/dev/stdout", "| cat > log"),
        ("/dev/fd/3", "3>> log >&3"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("log"), "before\n").unwrap();
        let run = format!("{PIDNS} run -f text --report {report} -- echo within");
        let script = format!("{{ echo first >&2; {run}; echo last; }} {from}");
        let output = run_in(dir.path(), &script);
        assert!(output.status.success(), "{report} {from}: {output:?}");
        let log = fs::read_to_string(dir.path().join("log")).unwrap();
        let before = if from.contains(">>") { "before\n" } else { "" };
        let expected = match from {
            "2> log" => format!("first\n{heading}"),
            _ => format!("{before}within\n{heading}last\n"),
        };
        assert_eq!(log, expected, "{report} {from}");
    }
}

fn run_in(dir: &Path, script: &str) -> std::process::Output {
    run(Command::new("bash").args(["-c", script]).current_dir(dir))
}

#[test]
fn the_report_can_go_to_standard_error() {
    let options = ["run", "--grace", "0", "-q", "-f", "github", "--report", "-", "--"];
    let mut command = Command::new(PIDNS);
    let script = "setsid sleep 667 >/dev/null 2>&1 & echo $!";
    let output = run(command.args(options).args(["bash", "-c", script]));
    let pid: u32 = stdout(&output).trim().parse().unwrap();
    send(pid, Signal::KILL);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let line = format!("::warning title=pidns%3A leftover-process::{pid} ");
    assert!(stderr.starts_with(&line), "{stderr}");
}

#[test]
fn several_reports_can_have_different_formats() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mut command = Command::new(PIDNS);
    let output = run(command
        .args(["run", "-q", "-f", "junit", "--report", &path("a"), "--report"])
        .args([format!("json:{}", path("b:c")), "--report".to_owned(), "./yaml:d".to_owned()])
        .args(["--report=markdown:-", "--", "true"])
        .current_dir(dir.path()));
    assert_eq!(output.status.code(), Some(0));
    let heading = "### pidns run: true ended with status 0 and left nothing\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), heading);
    let read = |name: &str| fs::read_to_string(path(name)).unwrap();
    assert!(read("a").contains("<testsuite name=\"pidns run\""));
    assert!(read("b:c").starts_with("{\n  \"schema_version\""), "{}", read("b:c"));
    // `yaml` is not a format of `run`, so this is the name of a file.
    assert_eq!(read("yaml:d"), read("a"));
}

#[test]
fn an_ignored_sigchld_is_refused() {
    let script = format!("trap '' CHLD; exec {PIDNS} run -- true");
    // The shell executes pidns without a fork, and SIGCHLD stays ignored.
    let output = run(Command::new("bash").args(["-c", &script]));
    assert_eq!(output.status.code(), Some(125));
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
    assert_eq!(outcome.status, 123, "{}", outcome.stderr);
    let killed = outcome.report.killed.as_ref().unwrap();
    assert_eq!((killed.sigterm.len(), killed.remaining.len()), (1, 0), "{}", outcome.stderr);
    assert_eq!(outcome.report.document().process(killed.sigterm[0]).comm, "sleep");
    assert_eq!(sleeping("645"), 0);
}

#[test]
fn an_ordinary_user_can_run_a_command() {
    needs!(HostRoot);
    let (dir, program) = public_copy();
    let script = format!(
        "{program} run --kill --grace 0.1 --details args --deny leftover-process -- \
         bash -c 'setsid sleep 646 >/dev/null 2>&1 &'"
    );
    let mut command = Command::new("setpriv");
    let output = run(command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c", &script])
        .current_dir(dir.path()));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(123), "{stderr}");
    assert!(stderr.contains(" sleep 646  "), "{stderr}");
    assert!(stderr.ends_with("pidns: killed 1 process\n"), "{stderr}");
    assert_eq!(sleeping("646"), 0);
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
            let options = ["--kill", "--grace", "0.01", "--details", "args"];
            let outcome = run_job(&options, &["sh", "-c", &script]);
            let stderr = &outcome.stderr;
            assert_eq!(outcome.status, number % 100, "{stderr}");
            assert_eq!(outcome.report.codes(), ["leftover-process"], "{stderr}");
            // On a busy host, the subshell may not have executed setsid yet.
            assert!(stderr.contains(&argument), "{stderr}");
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
