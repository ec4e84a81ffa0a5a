//! Tests on the real kernel that a process keeps its identity: its start time is the same in every
//! time namespace, and its parent is a process of the document.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::Need::*;
use common::*;
use rustix::process::Signal;

/// Python program that runs the command `argv[3:]` in a new time namespace (0x80 is
/// `CLONE_NEWTIME`). The boot-time clock there is shifted by `argv[1]` seconds and `argv[2]`
/// nanoseconds.
const SHIFT: &str = "import ctypes, os, sys\n\
     assert ctypes.CDLL(None).unshare(0x80) == 0\n\
     with open('/proc/self/timens_offsets', 'w') as offsets:\n    \
         offsets.write('boottime %s %s' % (sys.argv[1], sys.argv[2]))\n\
     child = os.fork()\n\
     if child == 0:\n    os.execvp(sys.argv[3], sys.argv[3:])\n\
     sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))";

/// Runs a command with the boot-time clock shifted by these seconds and nanoseconds.
fn shifted((seconds, nanoseconds): (i64, u32), command: &[&str]) -> Output {
    let offsets = [seconds.to_string(), nanoseconds.to_string()];
    run(Command::new("python3").args(["-c", SHIFT]).args(offsets).args(command))
}

/// Returns `true` if the kernel has time namespaces.
fn has_time_namespaces() -> bool {
    let has = link("/proc/self/ns/time").is_some();
    if !has {
        say_skipped("time namespaces", "needs Linux 5.6");
    }
    has
}

/// Returns the collectors that work here.
fn collectors() -> &'static [&'static str] {
    let works = pidns(&["--collector", "bpf", "--search", "processes"]).status.success();
    if works { &["proc", "bpf"] } else { &["proc"] }
}

/// Returns the start times of all processes that both documents contain.
fn start_times(one: &Document, other: &Document) -> Vec<[Option<u64>; 2]> {
    let both = |process: &Process| {
        let there = other.find_process(process.pid)?;
        Some([process.start_time, there.start_time])
    };
    one.processes.iter().filter(|it| it.comm != "pidns").filter_map(both).collect()
}

#[test]
fn start_times_are_the_same_in_every_time_namespace() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    if !has_time_namespaces() {
        return;
    }
    let (_running, inits) = nest(2);
    let here = Document::of(&[]);
    assert!(here.process(inits[1]).start_time.is_some());
    for offset in [(500_000, 0), (86_400, 120_000_000)] {
        for collector in collectors() {
            let pidns = [PIDNS, "-f", "json", "--collector", collector];
            let there = Document::read(&stdout(&shifted(offset, &pidns)));
            assert!(there.complete);
            for [here, there] in start_times(&here, &there) {
                assert_eq!(here, there, "{offset:?} {collector}");
            }
        }
    }
}

/// Offsets by which the kernel rounds start times differently, or makes some of them negative.
const LOSSY: [(i64, u32); 3] = [(0, 5_000_000), (7, 1), (-1, 995_000_000)];

#[test]
fn start_times_are_exact_where_the_clock_is_shifted_by_less_than_a_tick() {
    needs!(HostRoot, NamespaceOfItsOwn, Program("python3"));
    if !has_time_namespaces() {
        return;
    }
    // The more processes, the more of them are rounded differently.
    let _farm = farm(2, 20);
    let here = Document::of(&[]);
    for offset in LOSSY {
        for collector in collectors() {
            let pidns = [PIDNS, "-f", "json", "--collector", collector];
            let there = Document::read(&stdout(&shifted(offset, &pidns)));
            assert!(there.complete);
            for [here, there] in start_times(&here, &there) {
                assert!(here.is_some());
                assert_eq!(here, there, "{offset:?} {collector}");
            }
        }
    }
}

#[test]
fn start_times_that_cannot_be_known_are_null_with_a_diagnostic() {
    needs!(HostRoot, NamespaceOfItsOwn, Program("python3"));
    if !has_time_namespaces() {
        return;
    }
    let without = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps=-all", PIDNS, "-q"];
    let (_running, inits) = nest(1);
    for offset in LOSSY {
        let output = shifted(offset, &[&without[..], &["-f", "json"]].concat());
        let document = Document::read(&stdout(&output));
        let unknown = document.processes.iter().filter(|it| it.start_time.is_none());
        let unknown: Vec<u32> = unknown.map(|it| it.pid).collect();
        assert!(unknown.contains(&inits[0]) || offset.0 < 0, "{offset:?}");
        let diagnostic = document.diagnostic("start-time-unreadable").expect("is reported");
        assert_eq!(diagnostic.pids, unknown);
        assert!(diagnostic.message.contains("run pidns in the initial time namespace"));
        // An unprivileged pidns can subtract a whole number of ticks.
        let output = shifted((9, 0), &[&without[..], &["-f", "json"]].concat());
        let document = Document::read(&stdout(&output));
        assert!(document.diagnostic("start-time-unreadable").is_none());
        assert!(document.process(inits[0]).start_time.is_some());
    }
}

#[test]
fn a_check_in_another_time_namespace_finds_no_leftovers() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    if !has_time_namespaces() {
        return;
    }
    let (_running, _inits) = nest(2);
    let dir = tempfile::tempdir().unwrap();
    let before = dir.path().join("before.json");
    std::fs::write(&before, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let before = before.to_str().unwrap();
    let check = shifted((500_000, 0), &[PIDNS, "check", "--since", before]);
    assert!(check.status.success(), "{check:?}");
    // Ages are on the same clock as start times.
    let left = "setsid sleep 600 >/dev/null 2>&1 &";
    let options = ["--grace", "0", "--kill", "--details", "args", "--", "bash", "-c", left];
    let command = [&[PIDNS, "run"], &options[..]].concat();
    let output = shifted((500_000, 0), &command);
    let said = String::from_utf8_lossy(&output.stderr);
    // Right after its start, the process has not executed `sleep` yet.
    let line = said.lines().find(|line| line.starts_with("└─ ")).expect("is reported");
    assert!(line.ends_with(" s old"), "{said}");
    // The command stays in the time namespace, and so does pidns. So ages are unknown there.
    let output = shifted((500_000, 5_000_000), &command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("left 1 process:\n└─ ") && !said.contains(" s old"), "{said}");
    assert!(said.contains("pidns: killed 1 process"), "{said}");
}

/// Shell script that starts many sleeping processes.
const SLEEPERS: &str = "for i in {1..400}; do sleep 600 & done; echo ready; wait";

/// Python program that starts parents with higher PIDs than their children, and prints the PIDs as
/// `S0`, `C0`, `S1` and so on. The kernel reaps the parents as soon as they end.
const LATE_PARENTS: &str = "import os, signal\n\
     signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n\
     def fork(after, run):\n    \
         with open('/proc/sys/kernel/ns_last_pid', 'w') as last: last.write(str(after))\n    \
         pid = os.fork()\n    \
         if pid == 0: run(); os._exit(0)\n    \
         return pid\n\
     def parent(index):\n    \
         child = fork(10000 + 10 * index, signal.pause)\n    \
         os.write(pipe[1], b'C%d %d\\n' % (index, child)); signal.pause()\n\
     pipe = os.pipe()\n\
     for index in range(20):\n    \
         print('S%d %d' % (index, fork(20000 + 10 * index, lambda: parent(index))))\n    \
         print(os.read(pipe[0], 50).decode(), end='')\n\
     print('ready', flush=True)\n\
     signal.pause()";

/// Parents end while pidns scans: after their children were read, but before they are read
/// themselves. The kernel has given the children another parent by then.
#[test]
fn the_parent_of_a_process_is_in_the_document() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    // The PIDs of the sleeping processes are between the PIDs of the children and of the parents.
    std::fs::write("/proc/sys/kernel/ns_last_pid", "15000").unwrap();
    let (_sleepers, _) = start(SLEEPERS);
    for collector in collectors() {
        // How long a scan takes depends on the machine.
        let begin = Instant::now();
        Document::of(&["--collector", collector]);
        let whole = begin.elapsed();
        let mut adopted = 0;
        for attempt in 0..12 {
            let (running, pids) = start_command(Command::new("python3").args(["-c", LATE_PARENTS]));
            adopted += end_parents_while_scanning(collector, &pids, whole * attempt / 12);
            drop(running);
        }
        assert!(adopted > 0, "{collector}: no parent has ended during a scan");
    }
}

/// Starts pidns, and ends all parents after `pause`. Returns the number of children that have
/// another parent in the document.
fn end_parents_while_scanning(
    collector: &str,
    pids: &BTreeMap<String, u32>,
    pause: Duration,
) -> usize {
    let mut command = Command::new(PIDNS);
    command.args(["-q", "-f", "json", "--collector", collector]).stdout(Stdio::piped());
    let mut scan = Running::spawn(&mut command);
    std::thread::sleep(pause);
    for (_, &pid) in pids.iter().filter(|(name, _)| name.starts_with('S')) {
        kill(pid, Signal::KILL);
    }
    let mut json = String::new();
    let mut out = BufReader::new(scan.0.stdout.take().expect("piped"));
    assert!(out.fill_buf().is_ok() && out.read_to_string(&mut json).is_ok());
    // Reading the document checks that it contains every parent.
    let document = Document::read(&json);
    let pairs = (0..20).map(|index| [pids[&format!("S{index}")], pids[&format!("C{index}")]]);
    let is_adopted = |[parent, child]: &[u32; 2]| {
        let ppid = document.process(*child).ppid;
        assert!(ppid.is_some(), "{child} is alive and has a parent here");
        ppid != Some(*parent)
    };
    pairs.filter(is_adopted).count()
}
