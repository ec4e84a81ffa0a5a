//! Tests that `pidns watch` reports what happens on the real kernel, ends as it should, and needs
//! constant memory.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use common::Need::*;
use common::*;
use rustix::process::Signal;
use serde_json::Value;

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let printed = stdout(&pidns(&["schema", "watch-record"]));
    jsonschema::validator_for(&serde_json::from_str(&printed).unwrap()).unwrap()
});

/// A running `pidns watch -f ndjson`. Killed on drop.
struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// The records so far.
    records: Vec<Value>,
}

impl Watch {
    /// Starts a watch, and waits until it has taken its first snapshot.
    fn start(arguments: &[&str]) -> Self {
        // The tests may have been started with ignored signals, as by nohup(1).
        let mut command = Command::new("env");
        command.arg("--default-signal").arg(PIDNS);
        Self::start_by(command.args(["watch", "-f", "ndjson"]).args(arguments))
    }

    fn start_by(command: &mut Command) -> Self {
        let mut child = command
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut watch = Self { child, lines, records: Vec::new() };
        assert_eq!(watch.next().expect("the first record")["record"], "watch");
        watch
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next record, and returns its content under the name of its kind. Returns `None`
    /// at the end.
    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        if line.is_empty() {
            return None;
        }
        let record: Value = serde_json::from_str(&line).unwrap();
        let errors: Vec<_> = SCHEMA.iter_errors(&record).map(|it| it.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{line}");
        self.records.push(record.clone());
        Some(record)
    }

    /// Waits for a record that `is_expected` accepts.
    fn wait_for(&mut self, what: &str, is_expected: impl Fn(&Value) -> bool) -> Value {
        let records = self.records.clone().into_iter();
        if let Some(record) = { records }.find(|it| is_expected(it)) {
            return record;
        }
        while let Some(record) = self.next() {
            if is_expected(&record) {
                return record;
            }
        }
        panic!("the watch has ended without {what}: {:#?}", self.records);
    }

    /// Waits for the end of the watch. Returns its exit status, and its standard error.
    fn end(&mut self) -> (Option<i32>, String) {
        while self.next().is_some() {}
        let status = self.child.wait().unwrap();
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (status.code(), stderr)
    }

    /// Sends a signal, and waits for the end.
    fn end_by(&mut self, signal: Signal) -> (Option<i32>, String) {
        kill(self.pid(), signal);
        self.end()
    }

    /// Returns the contents of all records of a kind.
    fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.records.iter().filter(|it| it["record"] == kind).map(|it| &it[kind]).collect()
    }

    fn notices(&self) -> Vec<&str> {
        self.of_kind("notice").iter().map(|it| it["code"].as_str().unwrap()).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_change(record: &Value, kind: &str, change: &str, id: &Value) -> bool {
    let content = &record[kind];
    record["record"] == kind
        && content["change"] == change
        && [&content["id"], &content["pid"]].contains(&id)
}

/// Starts a process that keeps the PID namespace of `init` open under the descriptor 9.
fn holder(init: u32) -> Running {
    let script = "exec 9< \"$0\"; echo ready; exec sleep 600";
    let mut command = Command::new("bash");
    let (holder, _) = start_command(command.args(["-c", script, &format!("/proc/{init}/ns/pid")]));
    until("the holder sleeps", || comm(holder.pid()) == "sleep");
    holder
}

#[test]
fn the_death_of_a_held_init_ends_the_watch_and_both_snapshots_are_saved() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let (_container, init) = container("echo ready; sleep 600");
    let (id, holder) = (namespace_of(init), holder(init));
    let save = dir.path().to_str().unwrap();
    let mut watch = Watch::start(&["--until", "dead-namespace", "--save", save, "--interval", "2"]);
    kill(init, Signal::KILL);
    let killed = Instant::now();
    assert_eq!(watch.end(), (Some(0), String::new()));
    assert!(killed.elapsed() < Duration::from_secs(4), "within two intervals");
    let change = watch.wait_for("the death", |it| {
        is_change(it, "namespace_change", "changed", &id.clone().into())
    });
    let change = &change["namespace_change"];
    assert_eq!(
        (&change["before"]["state"], &change["after"]["state"]),
        (&"live".into(), &"dead".into())
    );
    let [finding] = watch.of_kind("finding")[..] else { panic!("{:#?}", watch.records) };
    assert_eq!(finding["code"], "dead-namespace");
    let message = finding["message"].as_str().unwrap();
    let kept = format!("kept by {} sleep: open fd 9", holder.pid());
    assert!(message.contains(&id) && message.contains(&kept), "{message}");
    // The saved snapshots are documents.
    let saved = watch.of_kind("notice").into_iter().find(|it| it["code"] == "saved").unwrap();
    let files: Vec<&str> =
        saved["files"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let states = files.iter().map(|file| {
        Document::read(&fs::read_to_string(file).unwrap()).namespace(&id).state.clone()
    });
    assert_eq!(states.collect::<Vec<_>>(), ["live", "dead"], "{files:?}");
    assert_eq!(pidns(&["diff", "-q", files[0], files[1]]).status.code(), Some(1));
}

#[test]
fn text_has_a_line_for_each_change_with_the_local_time() {
    needs!(NamespaceOfItsOwn);
    let (_container, init) = container("echo ready; exec sleep 600");
    until("the init sleeps", || comm(init) == "sleep");
    let (id, holder) = (namespace_of(init), holder(init));
    let watch = |zone: &str, arguments: &[&str]| {
        let mut command = Command::new(PIDNS);
        let command = command.args(["watch", "--interval", "0.1"]).args(arguments);
        let command = command.env("LC_ALL", "C.UTF-8").env("TZ", zone);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let text = |child: Child| String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    // One line has the date, and one describes the watch.
    let quiet = text(watch("UTC0", &["--for", "0.3", "--comm", "nothing"]));
    let lines: Vec<&str> = quiet.lines().collect();
    assert!(lines[0].ends_with(", UTC+00:00"), "{quiet}");
    assert!(lines[1].contains("every 0.1 s"), "{quiet}");
    assert!(lines.last().unwrap().contains("ended after the time of --for"), "{quiet}");
    let mut running = watch("XYZ-5:30", &["--until", "dead-namespace"]);
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().ends_with(", UTC+05:30"));
    assert!(lines.next().unwrap().unwrap().contains("watching "));
    kill(init, Signal::KILL);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(running.wait().unwrap().success());
    let held =
        format!("{id}  DEAD: its init has exited; kept by {} sleep: open fd 9", holder.pid());
    let said: Vec<&str> = rest.iter().map(|line| &line[9..]).collect();
    // `unshare`, the parent of the init, may keep the namespace, too, before it exits.
    let has = |begin: &str, end: &str| {
        said.iter().any(|line| line.starts_with(begin) && line.ends_with(end))
    };
    assert!(has(&format!("~ {held}"), "; was live"), "{rest:#?}");
    assert!(has(&format!("- {init} → 1 sleep  init, in {id}"), ""), "{rest:#?}");
    assert!(has(&format!("! dead-namespace: {held}"), ""), "{rest:#?}");
    assert!(has("  to solve it: end ", ""), "{rest:#?}");
    for line in &rest {
        let time = line.as_bytes();
        assert!(time[2] == b':' && time[5] == b':' && time[8] == b' ', "{line}");
    }
}

#[test]
fn a_container_that_comes_and_goes_between_two_rounds_is_not_reported() {
    needs!(NamespaceOfItsOwn);
    let mut watch = Watch::start(&["--interval", "3"]);
    let header = watch.of_kind("watch")[0];
    let caveats = header["caveats"].as_array().unwrap();
    assert!(caveats.iter().any(|it| it["code"] == "short-lived"), "{header}");
    assert_eq!((&header["interval"], &header["first"]["complete"]), (&3.0.into(), &true.into()));
    let (short, init) = container("echo ready; sleep 600");
    let short_id = namespace_of(init);
    drop(short);
    until("it is gone", || comm(init).is_empty());
    let (_long, init) = container("echo ready; sleep 600");
    let came = watch.wait_for("the second container", |it| {
        is_change(it, "process_change", "came", &init.into())
    });
    // The window in which the change happened is one interval long.
    assert!(came["since"].as_str().unwrap() < came["captured_at"].as_str().unwrap());
    assert_eq!(watch.end_by(Signal::TERM), (Some(0), String::new()));
    let text = format!("{:?}", watch.records);
    // The inode of the first namespace can be reused by the second.
    assert!(namespace_of(init) == short_id || !text.contains(&short_id), "{text}");
}

#[test]
fn what_a_shell_starts_beside_the_watch_is_reported() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // The watch and the `sleep` are children of the same shell.
    let script = "\"$0\" watch -f ndjson --interval 0.1 & read -r _ < \"$1\"; sleep 600 & wait";
    let mut command = Command::new("bash");
    let mut shell = Watch::start_by(command.args(["-c", script, PIDNS]).arg(&fifo));
    let watch = children(shell.pid())[0];
    fs::write(&fifo, "\n").unwrap();
    let came = shell.wait_for("the sibling", |it| it["process_change"]["after"]["comm"] == "sleep");
    assert_eq!(came["process_change"]["after"]["ppid"], shell.pid());
    kill(watch, Signal::TERM);
}

#[test]
fn signals_and_a_closed_pipe_end_the_watch() {
    needs!(NamespaceOfItsOwn);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut watch = Watch::start(&["--interval", "60"]);
        assert_eq!(watch.end_by(signal), (Some(0), String::new()));
        assert_eq!(watch.notices(), ["ended"]);
        // The problem did not occur.
        let mut watch = Watch::start(&["--interval", "60", "--until", "zombie"]);
        assert_eq!(watch.end_by(signal), (Some(1), String::new()));
    }
    let mut watch = Watch::start(&["--interval", "60"]);
    // Nothing is written, but the watch notices that nobody reads any more.
    let pid = watch.pid();
    let mut other = Running::spawn(Command::new("true").stdout(Stdio::piped()));
    watch.lines = BufReader::new(other.0.stdout.take().unwrap());
    until("the watch has ended", || status(pid, "State").first().is_some_and(|it| it == "Z"));
    assert_eq!(watch.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_signal_ends_the_watch_although_nobody_reads() {
    needs!(NamespaceOfItsOwn);
    let mut watch = Watch::start(&["--interval", "0.05"]);
    rustix::pipe::fcntl_setpipe_size(watch.lines.get_ref(), 4096).unwrap();
    let pid = watch.pid();
    let _many: Vec<Running> =
        (0..30).map(|_| Running::spawn(Command::new("sleep").arg("600"))).collect();
    // The watch waits for the reader, in poll(2) and not in write(2).
    until("the pipe is full", || {
        let stack = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
        let syscall = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        stack.contains("poll") && syscall.split(' ').nth(2) == Some("0x2")
    });
    std::thread::sleep(Duration::from_millis(500));
    kill(pid, Signal::TERM);
    until("the watch has ended", || status(pid, "State").first().is_some_and(|it| it == "Z"));
    assert_eq!(watch.child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_ignored_signal_does_not_end_the_watch() {
    needs!(NamespaceOfItsOwn);
    let mut nohup = Command::new("env");
    let command = nohup.args(["--ignore-signal=HUP", PIDNS, "watch", "-f", "ndjson"]);
    let mut watch = Watch::start_by(command.args(["--interval", "0.1"]));
    kill(watch.pid(), Signal::HUP);
    let sleeping = Running::spawn(Command::new("sleep").arg("600"));
    watch.wait_for("a change after the signal", |it| {
        is_change(it, "process_change", "came", &sleeping.pid().into())
    });
    assert_eq!(watch.end_by(Signal::TERM), (Some(0), String::new()));
}

#[test]
fn the_time_limit_ends_the_watch_after_a_last_round() {
    needs!(NamespaceOfItsOwn);
    for (arguments, expected) in [(&[][..], 0), (&["--until", "zombie"], 1)] {
        let mut watch = Watch::start(&[&["--for", "1", "--interval", "60"], arguments].concat());
        let sleeping = Running::spawn(Command::new("sleep").arg("600"));
        assert_eq!(watch.end(), (Some(expected), String::new()));
        watch.wait_for("the change", |it| {
            is_change(it, "process_change", "came", &sleeping.pid().into())
        });
    }
}

#[test]
fn a_zombie_ends_the_watch_only_if_it_stays() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let mut watch =
        Watch::start(&["--until", "zombie:comm=lasting", "--interval", "0.1", "--for", "30"]);
    let script = "import os, signal, time\n\
        def zombie(name):\n    \
            pid = os.fork()\n    \
            if pid == 0:\n        \
                open('/proc/self/comm', 'w').write(name)\n        \
                os._exit(0)\n    \
            return pid\n\
        for _ in range(50):\n    \
            os.waitpid(zombie('brief'), 0)\n    \
            time.sleep(0.01)\n\
        zombie('lasting')\n\
        print('ready', flush=True)\n\
        signal.pause()";
    let (_python, _) = start_command(Command::new("python3").args(["-c", script]));
    assert_eq!(watch.end(), (Some(0), String::new()));
    let [finding] = watch.of_kind("finding")[..] else { panic!("{:#?}", watch.records) };
    assert_eq!(
        (&finding["code"], &finding["process"]["comm"]),
        (&"zombie".into(), &"lasting".into())
    );
}

#[test]
fn a_problem_that_is_already_there_does_not_count() {
    needs!(NamespaceOfItsOwn);
    let _shell = unshared("/bin/true;");
    let mut watch =
        Watch::start(&["--until", "dead-namespace", "--interval", "0.1", "--for", "20"]);
    watch.wait_for("the notice", |it| it["notice"]["code"] == "already-there");
    let second = unshared("/bin/true;");
    assert_eq!(watch.end(), (Some(0), String::new()));
    let [finding] = watch.of_kind("finding")[..] else { panic!("{:#?}", watch.records) };
    let holder = &finding["namespace"]["holders"][0];
    assert_eq!(holder["pid"], second.pid());
}

#[test]
fn a_full_disk_is_one_message_and_no_file_is_overwritten() {
    needs!(Namespaces);
    let dir = public_dir();
    let disk = dir.path().to_str().unwrap();
    // Two blocks: too small for a document, but enough for empty files.
    let script = "mount -t tmpfs -o size=8k none \"$1\" && cd \"$1\" || exit 9\n\
        (sleep 1; sleep 3) &\n\
        \"$2\" watch -f ndjson --until leftover-process --interval 0.2 --for 20 --save .\n\
        status=$?; ls; exit $status";
    let output = run(&mut in_mount_namespace(script, &[disk, PIDNS]));
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{text}");
    assert_eq!(text.matches("\"not-saved\"").count(), 2, "{text}");
    assert!(text.contains("No space left on device"), "{text}");
    // The incomplete files are removed.
    assert!(!text.contains("\n20"), "{text}");
}

#[test]
fn wrong_arguments_fail_before_the_watch() {
    for (arguments, expected) in [
        (&["--interval", "0.01"][..], "not a number of seconds (0.05 to"),
        (&["--interval", "-1"], "not a number of seconds (0.05 to"),
        (&["--save", "/tmp"], "--until"),
        (&["--until", "zombi"], "no code \"zombi\""),
        (&["--until", "zombie", "--save", "/nonexistent"], "cannot write /nonexistent"),
        (&["--root", "4026530000"], "no namespace"),
        (&["--procfs", "/nonexistent"], "cannot read /nonexistent"),
        (&["-f", "json"], "possible values: text, ndjson"),
        (&["-i", "file"], "watch has no option '--input'"),
    ] {
        let output = pidns(&[&["watch"], arguments].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(expected) && stderr.lines().count() == 1, "{stderr}");
        assert!(
            matches!(output.status.code(), Some(1 | 2)) && output.stdout.is_empty(),
            "{stderr}"
        );
    }
}

#[test]
fn trouble_with_proc_is_one_message_and_the_watch_goes_on() {
    needs!(NamespaceOfItsOwn);
    let dir = public_dir();
    let proc = dir.path().to_str().unwrap();
    let mounted = |command: &str| {
        assert!(
            run(Command::new("bash").args(["-c", command, proc])).status.success(),
            "{command}"
        );
    };
    mounted("mount -t proc proc \"$0\"");
    let mut watch = Watch::start(&["--procfs", proc, "--interval", "0.1"]);
    mounted("umount -l \"$0\"");
    let failed = watch.wait_for("the failure", |it| it["notice"]["code"] == "scan-failed");
    assert!(failed["notice"]["message"].as_str().unwrap().contains(proc), "{failed}");
    mounted("sleep 0.5; mount -t proc proc \"$0\"");
    let works = watch.wait_for("the end of the failure", |it| it["notice"]["code"] == "scan-works");
    assert!(works["notice"]["count"].as_u64().unwrap() > 1, "{works}");
    let sleeping = Running::spawn(Command::new("sleep").arg("600"));
    watch
        .wait_for("a change", |it| is_change(it, "process_change", "came", &sleeping.pid().into()));
    assert_eq!(watch.end_by(Signal::TERM), (Some(0), String::new()));
    assert_eq!(watch.notices().iter().filter(|code| **code == "scan-failed").count(), 1);
    mounted("umount \"$0\"");
}

#[test]
fn the_watch_ends_if_the_namespace_of_root_goes() {
    needs!(NamespaceOfItsOwn);
    let (container, init) = container("echo ready; sleep 600");
    let (file, pid) = (format!("/proc/{init}/ns/pid"), format!("@{init}"));
    let mut watches =
        [&file, &pid].map(|root| Watch::start(&["--interval", "0.1", "--root", root]));
    let id = namespace_of(init);
    drop(container);
    for watch in &mut watches {
        assert_eq!(watch.end(), (Some(0), String::new()));
        watch.wait_for("the end", |it| {
            is_change(it, "namespace_change", "went", &id.clone().into())
        });
        assert!(watch.of_kind("process_change").iter().all(|it| it["change"] != "came"));
    }
}

/// Returns the resident memory of a process in KiB, and the number of its descriptors.
fn size(pid: u32) -> (u64, usize) {
    let memory = status(pid, "VmRSS")[0].parse().unwrap();
    (memory, fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count())
}

#[test]
fn memory_and_descriptors_stay_constant_beside_churn() {
    needs!(NamespaceOfItsOwn);
    let mut command = Command::new(PIDNS);
    let file = tempfile::NamedTempFile::new().unwrap();
    command.args(["watch", "--interval", "0.05"]).stdout(file.reopen().unwrap());
    let watch = Running::spawn(&mut command);
    // Namespaces and processes come and go in each round.
    let script = "while :; do unshare -pf bash -c 'sleep 0.1 & sleep 0.1'; done";
    let churn: Vec<Running> =
        (0..3).map(|_| Running::spawn(Command::new("bash").args(["-c", script]))).collect();
    let lines = || fs::read_to_string(file.path()).unwrap().lines().count();
    until("the watch has reported changes", || lines() > 200);
    let (memory, descriptors) = size(watch.pid());
    std::thread::sleep(Duration::from_secs(15));
    let (later, descriptors_later) = size(watch.pid());
    drop(churn);
    assert!(lines() > 400, "{} lines", lines());
    assert!(later < memory + memory / 4, "{memory} KiB, then {later} KiB");
    // During a scan, there is one descriptor for each namespace, and some for other files.
    assert!(
        descriptors_later < descriptors.max(10) + 40,
        "{descriptors}, then {descriptors_later}"
    );
}
