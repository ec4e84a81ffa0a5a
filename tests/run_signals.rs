//! Tests which signals `pidns run` passes on to the command, and what the command inherits.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::Need::*;
use common::runner::*;
use common::*;
use rustix::process::Signal;

/// Sends a signal, by its name in bash, to a process.
fn send_by_name(pid: u32, name: &str) {
    stdout(&run(Command::new("bash").args(["-c", &format!("kill -s {name} {pid}")])));
}

/// A script that counts a signal until it gets SIGABRT.
fn count(name: &str) -> String {
    format!(
        "count=0; trap 'count=$((count+1))' {name}; trap 'echo $count; exit 9' ABRT
         echo ready; while :; do sleep 0.01; done"
    )
}

#[test]
fn every_signal_is_passed_on_once() {
    for name in [
        "HUP", "INT", "QUIT", "PIPE", "TERM", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "WINCH",
        "CONT", "URG", "IO", "PWR", "XCPU", "STKFLT", "RTMIN", "RTMIN+3", "RTMAX",
    ] {
        let (mut running, stdout) = start_job(&[], &count(name));
        send_by_name(running.pid(), name);
        thread::sleep(Duration::from_millis(200));
        // Another signal, since pidns would pass on the same one again.
        send_by_name(running.pid(), "ABRT");
        let lines: Vec<_> = stdout.lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["1"], "{name}");
        assert_eq!(running.0.wait().unwrap().code(), Some(9), "{name}");
    }
}

#[test]
fn a_command_that_makes_pidns_its_tracer_does_not_hang() {
    needs!(Program("python3"));
    for (end, status) in [
        ("subprocess.run(['true']); sys.exit(4)", 4),
        ("os.execvp('sh', ['sh', '-c', 'exit 5'])", 5),
        ("os.kill(os.getpid(), signal.SIGTERM)", 128 + 15),
        ("os.kill(os.getpid(), signal.SIGRTMIN)", 128 + 34),
    ] {
        let program = format!(
            "import ctypes, os, signal, subprocess, sys; ctypes.CDLL(None).ptrace(0, 0, 0, 0); {end}"
        );
        let mut command = Command::new("timeout");
        let output = run(command.args(["20", PIDNS, "run", "--", "python3", "-c", &program]));
        assert_eq!(output.status.code(), Some(status), "{end}: {output:?}");
    }
}

#[test]
fn an_init_passes_signals_on() {
    needs!(Namespaces);
    for name in ["TERM", "RTMIN+3"] {
        let mut command = in_container(&format!("exec {PIDNS} run -- bash -c \"$SCRIPT\""));
        let command = command.env("SCRIPT", count(name)).stdout(Stdio::piped());
        let mut running = Running::spawn(command);
        let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
        stdout.read_line(&mut String::new()).unwrap();
        let init = children(running.pid())[0];
        send_by_name(init, name);
        thread::sleep(Duration::from_millis(200));
        send_by_name(init, "ABRT");
        let lines: Vec<_> = stdout.lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["1"], "{name}");
        assert_eq!(running.0.wait().unwrap().code(), Some(9), "{name}");
    }
}

#[test]
fn a_signal_that_ends_the_command_gives_its_status() {
    for (signal, status) in [(Signal::TERM, 143), (Signal::PIPE, 141), (Signal::HUP, 129)] {
        let (mut running, _stdout) = start_job(&[], "echo ready; exec sleep 641");
        send(running.pid(), signal);
        assert_eq!(running.0.wait().unwrap().code(), Some(status));
    }
}

#[test]
fn pidns_ends_by_sigint_as_the_command_did() {
    let (mut running, _stdout) = start_job(&[], "echo ready; exec sleep 641.1");
    send(running.pid(), Signal::INT);
    assert_eq!(running.0.wait().unwrap().signal(), Some(Signal::INT.as_raw()));
    // A command that handles SIGINT and exits by itself ends with its own status.
    let (mut running, _stdout) =
        start_job(&[], "trap 'exit 130' INT; echo ready; while :; do sleep 0.01; done");
    send(running.pid(), Signal::INT);
    assert_eq!(running.0.wait().unwrap().code(), Some(130));
}

#[test]
fn the_interrupt_key_ends_the_shell_script_around_pidns() {
    needs!(Program("script"));
    let script = "$PIDNS run -- bash -c 'echo ready; exec sleep 641.2'; echo went on";
    let mut terminal = Terminal::start(&format!("bash -c \"{script}\""));
    terminal.wait_for("ready");
    terminal.press("\u{3}");
    let (status, shown) = terminal.end();
    assert!(!shown.contains("went on"), "{shown}");
    assert_eq!(status, Some(130), "{shown}");
}

#[test]
fn keys_reach_a_command_with_a_process_group_of_its_own() {
    needs!(Program("script"));
    // timeout(1) makes itself the leader of a process group. The script is for sh, because Bash
    // ignores SIGQUIT until it executes `sleep`.
    for (key, status) in [("\u{3}", 130), ("\u{1c}", 131)] {
        let start = Instant::now();
        let mut terminal = Terminal::start(
            "$PIDNS run -- timeout 60 sh -c 'ulimit -c 0; echo ready; exec sleep 60'",
        );
        terminal.wait_for("ready");
        terminal.press(key);
        let (code, shown) = terminal.end();
        assert!(start.elapsed() < Duration::from_secs(30), "{shown}");
        assert!(code.is_some_and(|code| [status, 124, 137].contains(&code)), "{code:?} {shown}");
    }
}

#[test]
fn the_suspend_key_stops_a_command_with_a_process_group_of_its_own() {
    needs!(Program("script"));
    let mut terminal = Terminal::start("env PS1='at your service: ' bash --norc --noprofile -i");
    terminal.wait_for("at your service: ");
    terminal.press("$PIDNS run -- timeout 60 sh -c 'echo started; sleep 1; exit 6'\n");
    terminal.wait_for("\nstarted");
    terminal.press("\u{1a}");
    terminal.wait_for("Stopped");
    terminal.press("fg\n");
    terminal.press("echo status=$?\n");
    terminal.wait_for("status=6");
    terminal.press("exit\n");
    terminal.end();
}

#[test]
fn without_a_terminal_a_command_that_is_stopped_and_continued_returns_its_status() {
    let job = "(sleep 0.5; kill -CONT $$) & kill -TSTP $$; wait; exit 5";
    // `timeout` puts pidns into a process group of its own, which is not orphaned.
    let script = format!("timeout -s KILL 60 {PIDNS} run -- sh -c '{job}'; exit $?");
    let output = run(Command::new("setsid").args(["-w", "bash", "-c", &script]));
    assert_eq!(output.status.code(), Some(5), "{output:?}");
}

#[test]
fn an_alarm_that_pidns_inherited_reaches_the_command() {
    needs!(Program("python3"));
    let start = Instant::now();
    let program = "import os, signal, sys; signal.alarm(1); os.execv(sys.argv[1], sys.argv[1:])";
    let mut command = Command::new("python3");
    let output = run(command.args(["-c", program, PIDNS, "run", "sleep", "641.3"]));
    assert_eq!(output.status.code(), Some(142), "{output:?}");
    assert!(start.elapsed() < Duration::from_secs(60));
}

/// Prints the signal mask and the ignored signals. Signals 32 and 33 are left out: the C library
/// uses them internally, and a program that it has started can ignore them.
const DISPOSITIONS: &str =
    "grep -E '^Sig(Ign|Blk)' /proc/self/status | sed 's/0000000180/0000000000/'";

#[test]
fn the_command_inherits_the_disposition_of_every_signal() {
    for ignored in ["", "PIPE", "HUP INT QUIT", "TERM USR1 TSTP", "RTMIN+3 PIPE"] {
        let print = |run: &str| {
            let trap = if ignored.is_empty() { ":" } else { &format!("trap '' {ignored}") };
            let script = format!("{trap}; exec {run} sh -c \"{DISPOSITIONS}\"");
            let mut command = Command::new("env");
            stdout(&common::run(command.args(["--default-signal", "bash", "-c", &script])))
        };
        assert_eq!(print(&format!("{PIDNS} run --")), print(""), "{ignored}");
    }
}

#[test]
fn the_command_inherits_the_signal_mask() {
    needs!(Program("python3"));
    let program = "import os, signal, sys
signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR1, signal.SIGINT, 40, 64])
os.execvp(sys.argv[1], sys.argv[1:])";
    let print = |run: &[&str]| {
        let mut command = Command::new("python3");
        command.args(["-c", program]).args(run).args(["sh", "-c", DISPOSITIONS]);
        stdout(&common::run(&mut command))
    };
    let under = print(&[PIDNS, "run", "--"]);
    assert_eq!(under, print(&[]));
    assert!(under.contains("SigBlk:\t8000008000000202"), "{under}");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_as_without_pidns() {
    let script = |run: &str| {
        format!(
            "trap '' PIPE; {run} bash -c 'yes 2>/dev/null | head -1 >&2; echo ${{PIPESTATUS[0]}}'"
        )
    };
    let print = |run: &str| stdout(&common::run(Command::new("bash").args(["-c", &script(run)])));
    assert_eq!(print(&format!("{PIDNS} run --")), print(""));
}

#[test]
fn a_report_over_the_file_size_limit_does_not_change_the_status() {
    for (script, status) in [("exit 0", 0), ("exit 5", 5)] {
        let dir = tempfile::tempdir().unwrap();
        let report = dir.path().join("report");
        let shell = format!(
            "ulimit -f 1; exec {PIDNS} run --kill --grace 0 --report {} -f json -- \
             bash -c 'setsid sleep 641.4 & {script}'",
            report.display()
        );
        let output = run(Command::new("bash").args(["-c", &shell]));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{stderr}");
        assert!(stderr.contains(": File too large (os error 27)\n"), "{stderr}");
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
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report");
    let option = format!("--report=text:{}", report.display());
    let (mut running, _stdout) = start_job(&["--grace", "600", "--kill", "-q", &option], script);
    thread::sleep(Duration::from_millis(300));
    send(running.pid(), Signal::TERM);
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(60));
    // The report says how long pidns waited, rounded to tenths of a second.
    let report = fs::read_to_string(report).unwrap();
    let (_, waited) = report.lines().next().unwrap().rsplit_once(" left 1 process after ").unwrap();
    let waited: f64 = waited.strip_suffix(" s:").unwrap().parse().unwrap();
    assert!((0.1..60.0).contains(&waited), "{report}");
    assert_eq!(sleeping("642"), 0);
}

#[test]
fn an_ignored_signal_does_not_end_the_grace_time() {
    let script = format!(
        "trap '' HUP; exec {PIDNS} run --kill --grace 1.5 -- \
         bash -c 'setsid sleep 642.1 >/dev/null 2>&1 & echo ready'"
    );
    let mut command = Command::new("env");
    let command = command.args(["--default-signal", "bash", "-c", &script]);
    let mut running = Running::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    for _ in 0..2 {
        thread::sleep(Duration::from_millis(600));
        send(running.pid(), Signal::HUP);
    }
    let stderr = std::io::read_to_string(running.0.stderr.take().unwrap()).unwrap();
    assert!(stderr.contains(" left 1 process after 1.5 s:\n"), "{stderr}");
    assert!(stderr.ends_with("pidns: killed 1 process\n"), "{stderr}");
}

#[test]
fn a_signal_ends_the_wait_for_a_slow_reader_of_the_report() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report");
    let script = "setsid sleep 642.2 >/dev/null 2>&1 & exit 3";
    for report in ["github:-", "github:/dev/stdout"] {
        let (_reader, writer) = std::io::pipe().unwrap();
        fill(&writer);
        let file = format!("json:{}", file.display());
        let mut command = pidns_run();
        command.args(["--grace", "0", "--kill", "--report", report, "--report", &file, "--"]);
        command.args(["sh", "-c", script]).stdout(writer.try_clone().unwrap()).stderr(writer);
        let mut running = Running::spawn(&mut command);
        let start = Instant::now();
        let status = loop {
            thread::sleep(Duration::from_millis(600));
            match running.0.try_wait().unwrap() {
                Some(status) => break status,
                None => send(running.pid(), Signal::TERM),
            }
            assert!(start.elapsed() < Duration::from_secs(60));
        };
        assert_eq!(status.code(), Some(3));
    }
    // A report that needs no reader is still written.
    is_as_its_schema_says(&fs::read_to_string(&file).unwrap());
}

/// Fills a pipe.
fn fill(mut pipe: &std::io::PipeWriter) {
    let flags = rustix::fs::fcntl_getfl(pipe).unwrap();
    rustix::fs::fcntl_setfl(pipe, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while pipe.write(&[b'x'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(pipe, flags).unwrap();
}

#[test]
fn signals_at_short_intervals_end_the_grace_time() {
    let start = Instant::now();
    let script = "setsid sleep 644 >/dev/null 2>&1 & echo ready; exec sleep 644";
    let (mut running, _stdout) = start_job(&["--grace", "600", "--kill", "-q"], script);
    // The first signal ends the command.
    while running.0.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(60));
        send(running.pid(), Signal::INT);
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(sleeping("644"), 0);
}

#[test]
fn the_second_signal_of_timeout_does_not_end_the_grace_time() {
    let dir = tempfile::tempdir().unwrap();
    let cleaned = dir.path().join("cleaned");
    let daemon = format!("trap 'sleep 0.3; touch {}; exit' TERM", cleaned.display());
    for _ in 0..5 {
        let script = format!("({daemon}; while :; do sleep 0.1; done) & exec sleep 100");
        let mut command = Command::new("timeout");
        command.args(["0.5", PIDNS, "run", "-q", "--kill", "--grace", "30", "--", "sh", "-c"]);
        assert_eq!(run(command.arg(script)).status.code(), Some(124));
        until("the daemon has cleaned up", || fs::remove_file(&cleaned).is_ok());
    }
}

#[test]
fn the_interrupt_key_reaches_the_command_once() {
    needs!(Program("script"));
    // Bash ignores SIGINT in a background process only some time after the fork.
    let script = "(setsid sleep 647 >/dev/null 2>&1 & \
                  until [ \\\"\\$(</proc/\\$!/comm)\\\" = sleep ]; do :; done); \
                  trap 'echo got it' INT; echo ready; \
                  for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done; exit 4";
    let options = "--kill --grace 0.1 --details args";
    let command = format!("$PIDNS run {options} -- bash -c \"{script}\"");
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
