//! Tests what counts as new since an earlier snapshot, in `pidns check --since` and `pidns diff`:
//! which snapshots can be compared, what an incomplete snapshot proves, and which processes run only
//! because a snapshot is taken.

mod common;

use std::fs;
use std::process::{Command, Output};

use common::Need::*;
use common::*;
use rustix::process::Signal;
use serde_json::{Value, json};

/// A directory with documents and scripts.
struct Workspace(tempfile::TempDir);

impl Workspace {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Saves a snapshot.
    fn save(&self, name: &str, arguments: &[&str]) -> String {
        self.write(name, &stdout(&pidns(&[&["-q", "-f", "json"], arguments].concat())))
    }

    /// Saves a changed copy of a document.
    fn change(&self, name: &str, document: &str, change: impl Fn(&mut Value)) -> String {
        let mut value = serde_json::from_slice(&fs::read(document).unwrap()).unwrap();
        change(&mut value);
        self.write(name, &value.to_string())
    }

    /// Runs a Bash script in the directory, with pidns as `$P`.
    fn script(&self, script: &str) -> Output {
        let mut command = Command::new("bash");
        run(command.args(["-c", script]).env("P", PIDNS).current_dir(&self.0))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Starts a `sleep`.
fn sleeping() -> Running {
    let running = Running::spawn(Command::new("sleep").arg("600"));
    until("the process sleeps", || comm(running.pid()) == "sleep");
    running
}

#[test]
fn a_snapshot_of_another_boot_host_or_pid_namespace_cannot_be_compared() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    let here = files.save("here", &[]);
    let _sleeping = sleeping();
    let other_boot = |value: &mut Value| {
        value["host"]["boot_id"] = json!("11111111-2222-3333-4444-555555555555");
    };
    let boot = files.change("boot", &here, other_boot);
    let host = files.change("host", &here, |value| {
        other_boot(value);
        value["host"]["hostname"] = json!("other");
    });
    let inner = run(Command::new("unshare").args(["-mpf", "--mount-proc", PIDNS, "-f", "json"]));
    let inner = files.write("inner", &stdout(&inner));
    for (before, why) in [
        (&boot, "they are from different boots"),
        (&host, "they are from different hosts"),
        (&inner, "their PIDs belong to different PID namespaces"),
    ] {
        for arguments in
            [&["check", "--since", before][..], &["diff", before], &["diff", before, &here]]
        {
            let output = pidns(arguments);
            let with =
                if arguments.len() == 3 && arguments[0] == "diff" { &here } else { "this host" };
            let expected = format!("pidns: cannot compare {before} with {with}: {why}\n");
            assert_eq!(stderr(&output), expected);
            assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b""[..]));
        }
    }
}

#[test]
fn a_part_of_a_snapshot_denies_only_what_is_certainly_new() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    let _old = sleeping();
    let mut parts = vec![
        files.save("members", &["--members", "none"]),
        files.save("comm", &["--comm", "sleep"]),
        files.save("search", &["--search", "processes"]),
    ];
    let whole = files.save("whole", &[]);
    parts.push(files.change("incomplete", &whole, |value| {
        value["complete"] = json!(false);
        value["diagnostics"] = json!([{"code": "processes-hidden", "severity": "warning",
            "message": "hidden", "errno": null, "pids": []}]);
    }));
    for part in &parts {
        for (strict, status) in [(&[][..], 0), (&["--strict"], 3)] {
            let output = pidns(&[&["check", "--since", part], strict].concat());
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(status), "{part} {said}");
            assert!(said.starts_with("pidns: problems may be missing: "), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(text, "Nothing was found, but problems may be missing.\n");
        }
        let document = pidns(&["check", "-f", "json", "--since", part]);
        let document: Value = serde_json::from_slice(&document.stdout).unwrap();
        assert_ne!(document["caveats"], json!([]));
    }
    // Its start time, or its absence from an unfiltered list, proves that a process is new.
    let new = sleeping();
    for part in &parts {
        let output = pidns(&["check", "-q", "--since", part]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{part} {text}");
        let expected = format!("DENIED leftover-process: {} sleep ", new.pid());
        assert!(text.starts_with(&expected) && text.contains("\n1 denied.\n"), "{text}");
    }
    // Unknown limits are no gap, because limits are not compared.
    let limits = files.save("limits", &["--details", "limits", "--collector", "proc"]);
    let text = std::fs::read_to_string(&limits).unwrap();
    assert!(text.contains(r#""complete":false"#) && text.contains("limits-unknown"), "{text}");
    for (document, status) in [(&whole, 1), (&limits, 0)] {
        let output = pidns(&["check", "--since", document, "--strict"]);
        assert_eq!((output.status.code(), stderr(&output)), (Some(status), String::new()));
    }
}

#[test]
fn a_process_that_started_during_the_first_scan_is_no_leftover() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    let before = files.save("before", &[]);
    let sleep = sleeping();
    let document = Document::read(&stdout(&pidns(&["-q", "-f", "json"])));
    let start = document.process(sleep.pid()).start_time.unwrap();
    for (scan_end, status) in [(start + 1, 0), (start, 1)] {
        let path = files.change("other", &before, |value| {
            value["observer"]["scan_end"] = json!(scan_end);
        });
        assert_eq!(pidns(&["check", "-q", "--since", &path]).status.code(), Some(status));
    }
    // The job can start right after the scan.
    assert_eq!(pidns(&["check", "-q", "--since", &before]).status.code(), Some(1));
}

/// Python program with a thread that, after SIGUSR1, keeps a dead PID namespace.
const KEEPER_THREAD: &str = "import ctypes, os, signal, threading, time\n\
     wake = threading.Event()\n\
     def keep():\n    \
         wake.wait()\n    \
         assert ctypes.CDLL(None).unshare(0x20000000) == 0\n    \
         pid = os.fork()\n    \
         if pid == 0: os._exit(0)\n    \
         os.waitpid(pid, 0)\n    \
         open('kept', 'w').close()\n    \
         time.sleep(600)\n\
     signal.signal(signal.SIGUSR1, lambda *_: wake.set())\n\
     threading.Thread(target=keep, daemon=True).start()\n\
     print('ready', flush=True)\n\
     while True: signal.pause()";

#[test]
fn a_check_also_searches_places_that_the_earlier_scan_did_not_search() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let files = Workspace::new();
    let mut command = Command::new("python3");
    let (keeper, _) = start_command(command.args(["-c", KEEPER_THREAD]).current_dir(&files.0));
    let default = files.save("default", &[]);
    let threads = files.save("threads", &["--search", "proc"]);
    kill(keeper.pid(), Signal::USR1);
    until("the namespace is dead", || fs::exists(files.path("kept")).unwrap());
    let check = |before: &str, search: &[&str]| {
        let output = pidns(&[&["check", "-f", "json", "--since", before], search].concat());
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = document["findings"].as_array().unwrap().iter();
        let verdicts: Vec<_> = findings
            .filter(|it| it["code"] == "dead-namespace")
            .map(|it| it["verdict"].as_str().unwrap().to_owned())
            .collect();
        (output.status.code(), verdicts, stderr(&output))
    };
    let (nothing, warned) = (Vec::<String>::new(), vec!["warn".to_owned()]);
    // By default, the check searches where the earlier scan has searched.
    assert_eq!(check(&default, &[]), (Some(0), nothing, String::new()));
    let (status, verdicts, _) = check(&threads, &[]);
    assert_eq!((status, verdicts), (Some(1), vec!["deny".to_owned()]));
    // The namespace may be older than the document, whose scan did not search threads.
    let (status, verdicts, said) = check(&default, &["--search", "proc"]);
    assert_eq!((status, verdicts), (Some(0), warned));
    assert!(said.starts_with("pidns: problems may be missing: ") && said.contains("searched"));
    assert_eq!(check(&default, &["--search", "proc", "--strict"]).0, Some(3));
    // A narrower search does not make the check miss what the earlier scan could have found.
    let (status, verdicts, said) = check(&threads, &["--search", "processes"]);
    assert_eq!((status, verdicts, &*said), (Some(1), vec!["deny".to_owned()], ""));
}

#[test]
fn an_empty_document_is_explained() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    let none = pidns(&["--user", "4294967294", "-f", "json"]);
    assert_eq!((none.status.code(), &none.stdout[..]), (Some(1), &b""[..]));
    let empty = files.write("empty", "");
    for arguments in [&["check", "--since", &empty][..], &["diff", &empty], &["-i", &empty]] {
        let output = pidns(arguments);
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b""[..]));
        let expected = format!(
            "pidns: cannot use {empty}: is empty: pidns saves nothing if a filter matches nothing, \
             so save it without a filter\n"
        );
        assert_eq!(stderr(&output), expected);
    }
    let whole = files.save("whole", &[]);
    let output = pidns(&["check", "--user", "4294967294", "--since", &whole]);
    assert_eq!(stdout(&output), "Nothing is wrong; nothing matches the filter.\n");
}

#[test]
fn what_an_ordinary_user_could_not_see_is_not_new_to_root() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    let _old = sleeping();
    let remount = |hidepid: &str| {
        let option = format!("remount,hidepid={hidepid}");
        stdout(&run(Command::new("mount").args(["-o", &option, "/proc"])));
    };
    remount("2");
    let before = files.write("before", &stdout(&as_nobody(&["-q", "-f", "json"])));
    remount("0");
    let document: Value = serde_json::from_str(&files.read("before")).unwrap();
    if document["processes"].as_array().unwrap().iter().any(|it| it["comm"] == "sleep") {
        // Without root on the host, the tester can see all of its processes.
        return;
    }
    let output = pidns(&["check", "--since", &before]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said.starts_with("pidns: problems may be missing: ") && said.lines().count() == 1);
    let differences = pidns(&["diff", "-q", "-f", "json", &before]);
    let differences: Value = serde_json::from_slice(&differences.stdout).unwrap();
    let came =
        differences["processes"].as_array().unwrap().iter().filter(|it| it["change"] == "came");
    assert_eq!(came.count(), 0, "{differences}");
}

#[test]
fn a_dead_namespace_whose_state_was_unknown_is_only_warned_about() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    let file = files.write("dead", "");
    stdout(&run(Command::new("unshare").args([&format!("--pid={file}"), "--fork", "true"])));
    let before = files.write("before", &stdout(&as_nobody(&["-q", "-f", "json"])));
    let document: Value = serde_json::from_str(&files.read("before")).unwrap();
    let mut states = document["namespaces"].as_array().unwrap().iter().map(|it| &it["state"]);
    if !states.any(|it| it == "unknown") {
        // Without root on the host, the tester can read all of its mounts.
        return;
    }
    let output = pidns(&["check", "--since", &before, "-f", "json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = document["findings"].as_array().unwrap();
    let codes: Vec<_> = findings.iter().map(|it| [&it["code"], &it["verdict"]]).collect();
    assert_eq!(codes, [["dead-namespace", "warn"]]);
}

#[test]
fn a_problem_of_older_processes_is_only_warned_about() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    // An agent has a PID namespace for each of its jobs, a monitor has that namespace open, and the
    // namespace is bind-mounted. A server does not reap its child.
    let script = "have() { for _ in {1..200}; do [[ $(pgrep -xc sleep) -lt $1 ]] || return; \
                                                 sleep 0.05; done; exit 9; }; \
                  unshare -p perl -e 'system qw(sleep 601); sleep 60' > /dev/null & \
                  perl -e 'fork or exec qw(sleep 602); sleep 60' > /dev/null & have 2; \
                  job=$(pgrep -fx 'sleep 601'); touch bound; mount --bind /proc/$job/ns/pid bound; \
                  sleep 603 9< bound > /dev/null & have 3; $P -q -f json > before; \
                  kill -KILL $job $(pgrep -fx 'sleep 602'); CHANGE; \
                  $P check -q --since before --deny zombie; echo $?";
    let text = stdout(&in_own_namespace(&files, &script.replace("CHANGE", ":")));
    assert_eq!(text.matches("warning ").count(), 2, "{text}");
    assert!(text.contains("(it and everything that keeps it may be older than BEFORE)"), "{text}");
    assert!(text.contains("(both processes may be older than BEFORE)"), "{text}");
    assert!(text.ends_with("\n0\n"), "{text}");
    // A new process or mount keeps the namespace.
    for change in ["sleep 604 9< bound > /dev/null & have 2", "touch new; mount --bind bound new"] {
        let script = script.replace("CHANGE", change);
        let text = String::from_utf8(in_own_namespace(&files, &script).stdout).unwrap();
        assert!(text.contains("DENIED dead-namespace: ") && text.contains("\n1\n"), "{text}");
    }
}

/// Commands that run `$C`, a command of pidns, as CI scripts do.
const PIPELINES: [&str; 15] = [
    "$C",
    "exec 3> >(cat > /dev/null); timeout 9 $C; s=$?; exec 3>&-; wait $!; exit $s",
    "strace -Df -o /dev/null $C",
    "strace -D -o /dev/null bash -c \"true; $C; exit\"",
    "timeout 9 $C | tee log",
    "su root -s /bin/sh -c \"$C\" | tee log",
    "{ true; $C; } | tee log",
    "exec > >(tee log) 2>&1; true; $C; exit $?",
    "$C > out 2> >(cat >&2)",
    "true | timeout 9 $C | cat | (cat; true)",
    "rm -f fifo; mkfifo fifo; tee log < fifo & exec 8> fifo; \
     until [ \"$(</proc/$!/comm)\" = tee ]; do :; done; \
     timeout 9 $C >&8 8>&-; s=$?; exec 8>&-; wait $!; exit $s",
    "true | timeout 9 bash -c \"true; $C\" 2>&1 | grep . | tee log",
    "cat <($C | sort -r; echo ${PIPESTATUS[0]} > status); exit $(<status)",
    "rm -f fifo; mkfifo fifo; cat fifo & $C > fifo; s=$?; wait $!; exit $s",
    "rm -f fifo; mkfifo fifo; sleep 9 > fifo & cat fifo | $C; s=$?; kill $!; exit $s",
];

#[test]
fn the_pipeline_of_a_check_is_no_leftover() {
    needs!(NamespaceOfItsOwn, Program("su"), Program("strace"));
    let files = Workspace::new();
    let before = files.save("before", &[]);
    for pipeline in PIPELINES {
        let script = |first: &str| {
            let script =
                format!("set -o pipefail; C='{PIDNS} check --since {before}'; {first} {pipeline}");
            files.script(&script)
        };
        let output = script("");
        assert_eq!(output.status.code(), Some(0), "{pipeline}: {output:?}");
        // A process that the same script has started before the check is a leftover.
        let output = script("sleep 601 > /dev/null 2>&1 &");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &files.read("out");
        files.write("out", "");
        assert_eq!(output.status.code(), Some(1), "{pipeline}: {output:?}");
        assert_eq!(text.matches("leftover-process").count(), 1, "{pipeline}: {text}");
        assert!(text.contains(" sleep "), "{pipeline}: {text}");
        let (_, finding) = text.split_once("leftover-process: ").unwrap();
        let left: u32 = finding.split(' ').next().unwrap().parse().unwrap();
        kill(left, Signal::KILL);
        until("the process is gone", || status(left, "State").is_empty());
    }
}

/// Runs a Bash script in a PID namespace, with the namespace's /proc at `hostproc`, too. A document
/// of the namespace is in `before`.
fn in_own_namespace(files: &Workspace, script: &str) -> Output {
    let script = format!(
        "mkdir -p hostproc; mount --rbind /proc hostproc; $P -q -f json > before; {script}"
    );
    let mut command = Command::new("unshare");
    command.args(["-mpf", "--mount-proc", "--kill-child", "bash", "-c", &script]);
    run(command.env("P", PIDNS).current_dir(&files.0))
}

#[test]
fn the_pid_namespace_of_a_check_or_of_its_pipeline_is_no_leftover() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    for command in ["check --since before", "diff before"] {
        for script in [
            // A container that has the /proc of the host, and pidns is its init.
            "unshare -mpf --mount-proc $P $C --procfs hostproc",
            "unshare -mpf --mount-proc bash -c '$P $C --procfs hostproc; exit $?'",
            "unshare -pf bash -c '$P $C; exit $?'",
            "unshare -pf unshare -pf $P $C",
            // A namespace without a process, and a dead one. Both end together with pidns.
            "unshare -p $P $C",
            "unshare -p bash -c '(exit); exec $P $C'",
            // The namespace of another command of the pipeline.
            "set -o pipefail; $P $C | { sleep 0.1; exec unshare -mpf --mount-proc sh -c 'cat; :'; }",
            "set -o pipefail; { sleep 0.3; $P $C; } | unshare -mpf --mount-proc sh -c 'cat; :'",
        ] {
            let output =
                in_own_namespace(&files, &format!("export C='{command}'; {script}; exit $?"));
            let text = String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(0), "{script} {command}: {output:?}");
            assert!(!text.contains("DENIED"), "{script} {command}: {text}");
        }
    }
    // Nor is it gone in a later snapshot.
    let script = "unshare -pf $P -q -f json > inner; $P diff inner; echo $?";
    let text = stdout(&in_own_namespace(&files, script));
    assert!(text.starts_with("No difference: ") && text.ends_with(" PID namespace in both.\n0\n"));
}

#[test]
fn a_leftover_in_the_pid_namespace_of_a_check_is_killed_alone() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    let nested = "unshare -pf --kill-child sleep 611";
    for (leftover, denied) in [("sleep 611", 2), (nested, 4)] {
        // The shell that runs the check is the init of the leftover's namespace.
        let script = format!(
            "unshare -pf bash -c '{leftover} > /dev/null 2>&1 & \
             until pgrep -x sleep > /dev/null; do :; done; \
             $P check -q --since before -f json > found; echo $?; \
             $P check -q --since before'; pgrep -x sleep"
        );
        let output = in_own_namespace(&files, &script);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.starts_with("1\nDENIED leftover-process: "), "{output:?}");
        let found: Value = serde_json::from_str(&files.read("found")).unwrap();
        let findings = found["findings"].as_array().unwrap();
        let findings: Vec<_> = findings.iter().filter(|it| it["verdict"] == "deny").collect();
        assert_eq!(findings.len(), denied, "{found}");
        let is_leftover = |it: &&Value| it["code"] == "leftover-process";
        let (processes, namespaces): (Vec<_>, Vec<_>) = findings.into_iter().partition(is_leftover);
        let kill = |it: &Value| {
            let advice = it["advice"].as_array().unwrap().iter();
            let words =
                advice.map(|it| it.as_str().unwrap().rsplit(' ').next().unwrap().to_owned());
            words.collect::<std::collections::BTreeSet<_>>()
        };
        let left: std::collections::BTreeSet<_> = processes.into_iter().flat_map(kill).collect();
        for namespace in namespaces {
            assert_eq!(namespace["code"], "leftover-namespace");
            let killed = kill(namespace);
            assert!(!killed.is_empty() && killed.is_subset(&left), "{left:?} {found}");
        }
    }
}

#[test]
fn a_namespace_that_only_an_older_ancestor_of_the_check_holds_is_a_leftover() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    // The shell that runs the check has the namespace of an ended job open.
    let script = "unshare -pf --mount-proc --kill-child sleep 612 > /dev/null & \
                  until pgrep -x sleep > /dev/null; do :; done; \
                  exec 9< /proc/$(pgrep -x sleep)/ns/pid; kill -KILL $!; wait; \
                  $P check -q --since before; echo $?";
    let text = stdout(&in_own_namespace(&files, script));
    assert!(text.contains("DENIED leftover-namespace: ") && text.ends_with("\n1\n"), "{text}");
    // The shell of a later step ends with the step.
    let script = format!("bash -c '{}; exit'", script.replace("echo $?", "exit $?"));
    let output = in_own_namespace(&files, &format!("{script}; echo $?"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("DENIED") && text.ends_with("\n0\n"), "{output:?}");
}

#[test]
fn a_command_that_ends_during_the_check_is_no_leftover() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    // The shell starts the command, and then executes pidns, so the command is a child of pidns.
    for (command, redirection) in [
        ("check --allow zombie --since before", "< <(exec sleep 0.0$((RANDOM % 3)))"),
        ("diff before", "< <(exec sleep 0.0$((RANDOM % 3)))"),
        ("check --allow zombie --since before", "2> >(exec sleep 0.0$((RANDOM % 3)))"),
        (
            "check --allow zombie --since before",
            "< <(exec unshare -pf sleep 0.0$((RANDOM % 3)) 2> /dev/null)",
        ),
    ] {
        // A command that has outlived its pidns must not be there at the next iteration.
        let script = format!(
            "for i in {{1..15}}; do \
               ($P -q {command} {redirection}; :); while pgrep -x sleep > /dev/null; do :; done; \
             done"
        );
        let output = in_own_namespace(&files, &script);
        let text = String::from_utf8_lossy(&output.stdout);
        let is_clean = |it: &str| it == "Nothing is wrong." || it.starts_with("No difference: ");
        assert!(text.lines().all(is_clean), "{command} {redirection}: {text}");
        assert_eq!(text.lines().count(), 15, "{command} {redirection}: {output:?}");
    }
}

#[test]
fn a_daemon_that_reads_the_output_of_the_step_is_a_leftover() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    for daemon in ["sleep 604", "setsid sleep 604"] {
        let script = format!(
            "$P -q -f json > before; ({daemon} < /proc/self/fd/1 > /dev/null 2>&1 &); \
             $P check --since before | cat"
        );
        // The init, timeout, adopts the daemon.
        let mut command = Command::new("unshare");
        command.args(["-mpf", "--mount-proc", "--kill-child", "timeout", "60", "bash", "-c"]);
        let output = run(command.arg(&script).env("P", PIDNS).current_dir(&files.0));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.starts_with("DENIED leftover-process: "), "{output:?}");
        assert_eq!(text.matches("leftover-process").count(), 1, "{text}");
    }
}

#[test]
fn the_pipeline_of_a_shell_that_has_redirected_itself_is_no_leftover() {
    needs!(NamespaceOfItsOwn, Program("busybox"), Program("zsh"));
    let files = Workspace::new();
    let check = "$P check -q --since before > out; echo $? > status";
    let group = "{ $P check -q --since before; echo $? > status; } > out";
    let run = |shell: &str, script: &str| {
        files.write("script", script);
        files.write("status", "");
        in_own_namespace(&files, &shell.replace("$S", "script"));
        (files.read("status"), files.read("out"))
    };
    for (shell, script) in [
        ("dash $S | cat", check),
        ("busybox sh $S | cat", check),
        ("bash $S | cat", group),
        ("zsh $S | cat", group),
        ("bash -c 'exec > >(cat); . ./$S'", group),
        ("{ echo; sleep 0.5; } | dash $S", &format!("while read -r _; do {check}; done < before")),
        // zsh starts a process that copies the output.
        ("zsh -c 'bash $S > copy | cat'", check),
    ] {
        let (status, out) = run(shell, script);
        assert_eq!((&*status, &*out), ("0\n", "Nothing is wrong.\n"), "{shell}: {script}");
    }
    // A coprocess is a leftover.
    let script = format!("coproc cat; until pgrep -x cat > copy; do :; done; {group}");
    let (status, out) = run("bash $S < before > copy 2>&1", &script);
    assert!(status == "1\n" && out.contains(" cat "), "{out}");
    // So is a server that has inherited the read end of the pipe from a CI agent.
    let script = "exec 9< /proc/self/fd/1; sleep 60 > /dev/null 2>&1 & \
                  until pgrep -x sleep > /dev/null; do :; done; $P check -q --since before";
    let out = in_own_namespace(&files, script).stdout;
    let out = String::from_utf8_lossy(&out);
    assert!(out.starts_with("DENIED") && out.contains(" sleep "), "{out}");
}

#[test]
fn a_client_that_lets_a_service_run_the_check_is_no_leftover() {
    needs!(NamespaceOfItsOwn, Program("busybox"));
    let files = Workspace::new();
    // The service runs the check as a container engine does. The client waits for the result.
    files.write("service", "while read -r _ < request; do eval \"$C\" > answer; done");
    let client = "echo > request; read -ru3 line 3< answer; echo \"$line\"; :";
    // The first shell replaces itself by pidns, and the second one has options before `-c`.
    let replaced = format!("bash -c 'cd . && {PIDNS} check -q --since before'");
    let options = format!("bash -euo pipefail -c '{PIDNS} check -q --since before; :'");
    let images = [&replaced, &options].map(|it| format!("image {it}"));
    let long = format!("-e {} image $P check -q --since before", "x".repeat(9000));
    let command = format!("host \"cd . && {PIDNS} check -q --since before\"");
    for (program, check, image) in [
        ("docker", &*replaced, &*images[0]),
        ("docker", &*options, &*images[1]),
        ("docker", "$P check -q --since before", "image $P check -q --since before"),
        ("docker", "$P check -q --since before", "entrypoint check -q --since before"),
        ("docker", "$P check -q --since before", &*long),
        (
            "docker",
            "bash -c '$P check -q --since before; :'",
            "image bash -c '$P check -q --since before; :'",
        ),
        ("ssh", "$P check -q --since before", "host $P check -q --since before"),
        ("ssh", &*replaced, &*command),
    ] {
        let run = |client: &str, image: &str| {
            // The server that `ssh` connects to is called `sshd`.
            let script = format!(
                "mkfifo request answer; for name in {program} {program}d; do cp \"$(command -v bash)\" $name; done; \
                 ./{program}d service & $P -q -f json > before; \
                 timeout 9 ./{program} -c '{client}' run {image} | (cat; :); kill $!; rm request answer"
            );
            let mut command = Command::new("unshare");
            command.args(["-mpf", "--mount-proc", "--kill-child", "bash", "-c", &script]);
            command.env("C", check).env("P", PIDNS).current_dir(&files.0);
            stdout(&run(&mut command))
        };
        assert_eq!(run(client, image), "Nothing is wrong.\n", "{image}");
        let other = run(client, "image $P check --since before");
        assert!(other.starts_with("DENIED leftover-process: "), "{image}: {other}");
        let leftover = format!("sleep 613 > /dev/null 2>&1 & {client}");
        let found = run(&leftover, image);
        assert!(found.starts_with("DENIED ") && found.contains(" sleep "), "{found}");
    }
    files.write("ci.sh", "#!/bin/sh -e\n$P check -q --wait 1 --since before\n:");
    for command in ["$P check -q --wait 1 --since before", "./ci.sh 5"] {
        let script = format!("chmod +x ci.sh; busybox timeout 9 {command}");
        let text = stdout(&in_own_namespace(&files, &script));
        assert_eq!(text, "Nothing is wrong.\n", "{command}");
    }
    // The subshell has the same arguments as the shell.
    let check = format!("until pgrep -x sleep; do :; done > log; {PIDNS} check -q --since before");
    let script = format!("busybox sh -c '(sleep 613; :) > /dev/null 2>&1 & {check}'; :");
    let text = stdout(&in_own_namespace(&files, &script));
    assert!(text.contains(" busybox ") && text.contains(" sleep "), "{text}");
}

#[test]
fn a_reader_of_the_checks_output_is_no_leftover_whoever_has_started_it() {
    needs!(NamespaceOfItsOwn, Program("busybox"), Program("strace"));
    let files = Workspace::new();
    // The wrapper keeps no descriptor of the pipe that its child reads.
    files.write("wrapper", "exec 3<&0 < /dev/null; \"$@\" <&3 3<&- & exec 3<&-; wait; :");
    let check = "$P check -q --since before";
    for pipeline in [
        format!("setsid -f {check} | cat"),
        format!("setsid -f {check} | (sort | cat; :)"),
        format!("(sleep 0.3; {check}) | bash wrapper cat"),
        format!("(sleep 0.3; {check}) | sort | bash wrapper cat"),
        format!("(sleep 0.3; {check}) | strace -o trace cat"),
        format!("(sleep 0.3; {check}) | busybox timeout 9 cat"),
        format!("{check} | tee >(setsid -f sort > sorted)"),
    ] {
        let text = stdout(&in_own_namespace(&files, &pipeline));
        assert_eq!(text, "Nothing is wrong.\n", "{pipeline}");
        let server = format!("sleep 615 > /dev/null 2>&1 & {pipeline}");
        let text = stdout(&in_own_namespace(&files, &server));
        assert!(text.contains(" sleep "), "{pipeline}: {text}");
        assert_eq!(text.matches("DENIED").count(), 1, "{pipeline}: {text}");
    }
}

#[test]
fn a_check_that_runs_at_the_same_time_is_no_leftover() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    let check = "$P check -q --wait 1 --since before";
    let script = format!(
        "set -o pipefail; mkdir bin; cp $P bin; \
         timeout 9 bin/{} -f junit | cat > junit.xml & {check} > out; echo $?; \
         wait $!; echo $?; cat out",
        check.replace("$P", "pidns")
    );
    let text = stdout(&in_own_namespace(&files, &script));
    assert_eq!(text, "0\n0\nNothing is wrong.\n");
    // `pidns watch` is a leftover.
    let script = format!("$P watch > log 2>&1 & until pgrep -x pidns > pid; do :; done; {check}");
    let output = in_own_namespace(&files, &script);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn the_log_command_of_a_shell_that_has_become_the_init_is_no_leftover() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    let check = "$P check -q --since before > out; echo $? >> out; exit";
    let script = format!("exec > >(cat > log); exec timeout 9 sh -c '{check}'");
    in_own_namespace(&files, &script);
    assert_eq!(files.read("out"), "Nothing is wrong.\n0\n");
    let server = "sleep 614 > /dev/null 2>&1 &";
    in_own_namespace(
        &files,
        &script.replace("timeout 9 sh -c '", &format!("timeout 9 sh -c '{server} ")),
    );
    assert!(files.read("out").contains(" sleep "), "{}", files.read("out"));
}

#[test]
fn a_zombie_that_the_program_around_the_check_reaps_later_is_no_problem() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let files = Workspace::new();
    let program = "import os, subprocess\n\
                   job = subprocess.Popen(['echo', 'x'], stdout=subprocess.PIPE)\n\
                   check = [os.environ['P'], 'check', '-q', '--since', 'before', '--deny', 'zombie']\n\
                   subprocess.run(check, stdin=job.stdout)\n\
                   job.wait()";
    files.write("pipeline.py", program);
    let text = stdout(&in_own_namespace(&files, "python3 pipeline.py; true"));
    assert_eq!(text, "Nothing is wrong.\n");
}

#[test]
fn the_advice_does_not_end_the_shell_that_runs_the_check() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    // The namespace has ended, but the shell still holds a descriptor of it.
    let script = "$P -q -f json > before; unshare -pf sleep 600 & \
                  until i=$(pgrep -x sleep); do :; done; exec 9< /proc/$i/ns/pid; \
                  kill -KILL $i; wait; $P check -q --since before; exec 9<&-; echo";
    files.write("step.sh", script);
    let text = stdout(&in_own_namespace(&files, "bash step.sh; true"));
    assert!(text.contains("  close descriptor 9 of ") && !text.contains("  end "), "{text}");
    assert!(text.contains(" bash, which belongs to this check\n"), "{text}");
}

#[test]
fn no_command_ends_an_older_process() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    // The agent of an ordinary user does not reap its child. Debian always has perl.
    let agent = "setpriv --reuid nobody --clear-groups perl -e '<STDIN>; fork || exit; sleep 600'";
    let script = format!(
        "mkfifo start; {agent} < start & agent=$!; exec 4> start; \
         for i in {{1..200}}; do pgrep -x perl > pids && break; sleep 0.05; done; \
         $P -q -f json > before; echo >&4; \
         for i in {{1..200}}; do [ $(pgrep -xc perl) = 2 ] && break; sleep 0.05; done; \
         $P check -q --since before --deny zombie; kill $agent"
    );
    let text = stdout(&in_own_namespace(&files, &script));
    let advice = " only if user nobody does not need it: it may be older than the job\n";
    assert!(text.contains("  end ") && text.contains(advice), "{text}");
    assert!(!text.contains("  kill "), "{text}");
}

#[test]
fn a_server_that_writes_to_another_descriptor_of_the_shell_is_a_leftover() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    let script = "$P -q -f json > before; exec 3< <(echo ready; exec sleep 610); read -r <&3; \
                  until pgrep -x sleep > /dev/null; do :; done; \
                  $P check -q --since before; echo $?";
    let mut command = Command::new("unshare");
    command.args(["-mpf", "--mount-proc", "--kill-child", "bash", "-c", script]);
    let text = stdout(&run(command.env("P", PIDNS).current_dir(&files.0)));
    assert!(text.starts_with("DENIED leftover-process: "), "{text}");
    assert!(text.contains(" sleep ") && text.ends_with("\n1\n"), "{text}");
}

#[test]
fn a_daemon_is_a_leftover_if_pidns_has_replaced_the_shell_that_started_it() {
    needs!(NamespaceOfItsOwn, Program("tini"));
    let files = Workspace::new();
    let daemon = "$P -q -f json > before; (setsid sleep 607 > /dev/null 2>&1 &); \
                  until pgrep -x sleep > /dev/null; do :; done";
    let own_init = ["unshare", "-mpf", "--mount-proc", "--kill-child"];
    let below = |parent: &[&str]| {
        let commands = ["check --since before", "check --wait 1 --since before", "diff before"];
        for command in commands {
            let script = format!("{daemon}; exec $P {command} -q");
            let words = [parent, &["bash", "-c", &script]].concat();
            let mut child = Command::new(words[0]);
            let output = run(child.args(&words[1..]).env("P", PIDNS).current_dir(&files.0));
            let text = String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(1), "{parent:?} {command}: {output:?}");
            assert!(text.contains(" sleep"), "{parent:?} {command}: {text}");
            files.script("pkill -x sleep; while pgrep -x sleep; do :; done");
        }
    };
    below(&own_init);
    below(&[&own_init[..], &["tini", "--"]].concat());
    below(&["tini", "-s", "--"]);
    below(&[PIDNS, "run", "-q", "--grace", "0", "--"]);
    // The shell that is replaced is a subshell, beside the job.
    let output = files.script(
        "$P -q -f json > before; \
         (until pgrep -x sleep > /dev/null; do :; done; exec $P check -q --since before) & \
         sleep 607 > /dev/null 2>&1 & wait -n; echo $?",
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(" sleep ") && text.ends_with("\n1\n"), "{output:?}");
    files.script("pkill -x sleep");
}

#[test]
fn a_new_worker_of_an_older_daemon_is_only_warned_about() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    // The daemon starts another worker, with another child, when its worker has ended.
    let script = "(while :; do sh -c 'sleep 600; true'; done) & echo daemon $!; echo ready; wait";
    let (_shell, names) = start(script);
    let daemon = names["daemon"];
    let worker = || {
        let [worker] = children(daemon)[..] else { return None };
        let [child] = children(worker)[..] else { return None };
        (comm(child) == "sleep").then_some([worker, child])
    };
    until("the worker runs", || worker().is_some());
    let before = files.save("before", &[]);
    // The filter hides the daemon and its worker.
    let part = files.save("part", &["--comm", "sleep"]);
    // The document has no start times.
    let fast = files.save("fast", &["--search", "processes"]);
    let earlier = worker();
    for pid in earlier.unwrap() {
        kill(pid, Signal::KILL);
    }
    until("another worker runs", || worker().is_some_and(|now| Some(now) != earlier));
    let [new, child] = worker().unwrap();
    let after = files.save("after", &[]);
    for (before, options) in [
        (&before, &[][..]),
        (&before, &["--wait", "1"]),
        (&before, &["-i", &after]),
        (&part, &[]),
        (&fast, &["-i", &after]),
    ] {
        let text = stdout(&pidns(&[&["check", "-q", "--since", before], options].concat()));
        let line = |pid: u32, phrase: &str| {
            text.lines().any(|it| {
                it.starts_with(&format!("warning leftover-process: {pid} "))
                    && it.ends_with(&format!(" {phrase} of {daemon} bash"))
            })
        };
        assert!(line(new, "may be a new worker"), "{text}");
        assert!(line(child, "may belong to a new worker"), "{text}");
        assert!(text.ends_with("\n2 warnings.\n") && !text.contains("kill"), "{text}");
    }
    // A worker with another name is not a replacement.
    let before = files.change("other", &before, |value| {
        for process in value["processes"].as_array_mut().unwrap() {
            if process["ppid"] == daemon {
                process["comm"] = json!("other");
            }
        }
    });
    assert_eq!(pidns(&["check", "-q", "--since", &before]).status.code(), Some(1));
}

#[test]
fn a_port_that_dockerd_forwards_to_a_container_is_only_warned_about() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    // The test's own daemon stands for dockerd, because containers in tests have no network.
    let daemon = "rm -f before.json; cp $(command -v bash) dockerd; cp $(command -v sleep) docker-proxy; \
                  ./dockerd -c 'until [ -e before.json ]; do sleep 0.05; done; ./docker-proxy 600 & \
                                wait' > /dev/null 2>&1 & \
                  until pgrep -x dockerd; do sleep 0.05; done > log; \
                  $P -q -f json > saved; mv saved before.json; \
                  until pgrep -x docker-proxy; do sleep 0.05; done > log; \
                  $P check -q --comm docker-proxy --since before.json";
    // In a container that runs Docker, dockerd can be the init.
    let init = "rm -f before.json; cp $(command -v bash) dockerd; cp $(command -v sleep) docker-proxy; \
                exec ./dockerd -c '$P -q -f json > before.json; ./docker-proxy 600 > /dev/null 2>&1 & \
                                   until pgrep -x docker-proxy; do sleep 0.05; done > log; \
                                   $P check -q --comm docker-proxy --since before.json; :'";
    for script in [daemon, init] {
        let text = stdout(&in_own_namespace(&files, script));
        let warning = " may be a new worker of ";
        assert!(text.contains(" docker-proxy ") && text.contains(warning), "{text}");
        assert!(text.ends_with("\n1 warning.\n"), "{text}");
    }
}

#[test]
fn a_child_of_the_jobs_shell_or_of_an_init_is_no_new_worker() {
    needs!(NamespaceOfItsOwn, Program("tini"));
    let files = Workspace::new();
    // In the second case, the init or the subreaper adopts the daemon.
    for sleep in ["sleep 601 > /dev/null 2>&1 & :", "(setsid sleep 601 > /dev/null 2>&1 &)"] {
        let ready = "until pgrep -x sleep > /dev/null; do :; done";
        let script = format!(
            "{sleep}; {ready}; $P -q -f json > before; pkill -x sleep; \
             while pgrep -x sleep > /dev/null; do :; done; {sleep}; {ready}; \
             $P check -q --since before; echo $?; pkill -x sleep"
        );
        for parent in [&["bash", "-c"][..], &["tini", "-s", "--", "bash", "-c"]] {
            let mut command = Command::new("unshare");
            command.args(["-mpf", "--mount-proc", "--kill-child", "bash", "-c"]);
            command.args(["\"$@\"; exit", "bash"]).args(parent).arg(&script);
            let output = run(command.env("P", PIDNS).current_dir(&files.0));
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                text.starts_with("DENIED leftover-process: "),
                "{parent:?} {script}: {output:?}"
            );
            assert!(text.ends_with("\n1\n"), "{parent:?} {script}: {output:?}");
        }
    }
}

#[test]
fn a_daemon_that_detaches_during_a_check_is_a_leftover() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    // The shell that calls pidns is the init, and adopts the daemon.
    let script = "$P -q -f json > before; \
                  (setsid sh -c 'sleep 1; setsid sleep 608 & exit' > /dev/null 2>&1 &); \
                  $P check -q --since before --wait 3; echo $?";
    let mut command = Command::new("unshare");
    command.args(["-mpf", "--mount-proc", "--kill-child", "sh", "-c", script]);
    let text = stdout(&run(command.env("P", PIDNS).current_dir(&files.0)));
    assert!(text.contains(" sleep ") && text.ends_with("\n1\n"), "{text}");
}

/// Python program that replaces itself by a younger sibling every few milliseconds.
const HOPPER: &str = "import ctypes, os, platform, time\n\
     libc, end = ctypes.CDLL(None), time.time() + 30\n\
     clone = 220 if platform.machine() == 'aarch64' else 56\n\
     while time.time() < end:\n\
     \x20   if libc.syscall(clone, 0x8000 | 17, 0, 0, 0, 0): os._exit(0)\n\
     \x20   time.sleep(0.005)";

#[test]
fn a_job_that_replaces_itself_by_siblings_is_a_leftover() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let files = Workspace::new();
    files.write("hopper.py", HOPPER);
    // A scan can miss the process, so repeat the check.
    let script = "$P -q -f json > before; python3 hopper.py > /dev/null 2>&1; \
                  for i in {1..50}; do $P check -q --since before > out && continue; \
                  cat out; break; done; pkill -x python3 || true";
    let text = stdout(&files.script(script));
    assert!(text.contains("leftover-process: ") && text.contains(" python3 "), "{text}");
}

#[test]
fn a_job_whose_leader_thread_has_exited_is_a_leftover() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let files = Workspace::new();
    let program = "import ctypes, platform, threading, time\n\
                   threading.Thread(target=time.sleep, args=(30,)).start()\n\
                   ctypes.CDLL(None).syscall(93 if platform.machine() == 'aarch64' else 60, 0)";
    files.write("job.py", program);
    let script = "$P -q -f json > before; JOB=7 python3 job.py > /dev/null 2>&1 & \
                  until grep -q '^State:.Z' /proc/$!/status; do :; done; \
                  for command in 'check --since before' 'check --wait 1 --since before' 'diff before' \
                  'check --since before --env JOB=7' 'diff before --env JOB=7'; \
                  do $P $command -q; echo $?; done; $P check --since before --env JOB=8 -q; kill $!";
    let text = stdout(&files.script(script));
    assert_eq!(text.matches(" python3 ").count(), 5, "{text}");
    assert_eq!(text.lines().filter(|&it| it == "1").count(), 5, "{text}");
    assert!(text.ends_with("\nNothing is wrong; nothing matches the filter.\n"), "{text}");
}

/// Pipelines in which pidns has no permission to read the descriptors of some commands. `$C` is the
/// check, `$CAT` is a program that changes its user, as sudo does, and `$U` changes root to an
/// ordinary user. The first word is the user who runs the pipeline.
const FOREIGN: [(&str, &str); 19] = [
    ("nobody", "$C | $CAT"),
    ("nobody", "{ true; $C; } | $CAT"),
    ("nobody", "true | timeout 9 $C | cat | $CAT | cat"),
    ("nobody", "setsid -w $C | $CAT"),
    ("nobody", "$C > >($CAT)"),
    ("nobody", "timeout 9 $C > >($CAT)"),
    ("nobody", "exec > >($CAT); true; $C; exit $?"),
    ("nobody", "exec > >($CAT); (true; $C) 2>&1 | cat; exit $?"),
    (
        "nobody",
        "cp $(command -v bash) bash; ./bash -o pipefail -c \"rm bash; $C | $CAT; exit \\$?\"",
    ),
    ("nobody", "$CAT before | ${C% *} -"),
    ("nobody", "cat before | $CAT | cat | ${C% *} -"),
    ("root", "$U $C | cat"),
    ("root", "timeout 9 $U $C | cat | cat"),
    ("root", "timeout 9 $U $C > >(cat)"),
    ("root", "exec > >(cat); true; $U $C; exit $?"),
    (
        "nobody",
        "coproc $CAT >&2; until [ $(</proc/$!/comm) = su-cat ]; do :; done; $C >&${COPROC[1]}",
    ),
    ("root", "su nobody -s /bin/sh -c \"sleep 0.2; $C\" | su nobody -s /bin/sh -c cat"),
    ("root", "exec > >(su nobody -s /bin/sh -c cat); $U sh -c \"sleep 0.2; $C\"; exit $?"),
    (
        "root",
        "perl -e 'exit system(@ARGV) >> 8' bash -c \"exec > >(cat); su nobody -s /bin/sh -c '$C'\"",
    ),
];

#[test]
fn a_program_of_another_user_in_the_pipeline_is_no_leftover() {
    needs!(HostRoot);
    let (dir, program) = public_copy();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let copy = |name: &str| {
        format!("install -m4755 \"$(command -v {name})\" {}; ", path(&format!("su-{name}")))
    };
    let copies = copy("cat") + &copy("sleep") + "mkdir -m777 \"$0\"";
    let made = run(Command::new("bash").args(["-ec", &copies, &path("work")]));
    assert!(made.status.success(), "{made:?}");
    let check = |init: bool, user: &str, script: &str| {
        let script = format!(
            "trap 'echo $? > status' EXIT; set -o pipefail; $P -q -f json > before; {script}"
        );
        fs::write(path("script.sh"), script).unwrap();
        let as_user = if user == "root" { String::new() } else { nobody().to_owned() };
        // If this is the last command, the shell replaces itself, and the script runs in the init.
        let end = if init { "" } else { "; until ! pgrep -x '(su-)?cat'; do :; done" };
        // Close the descriptors that the test has inherited: one may be a pipe from outside.
        let close = "for i in /proc/$$/fd/*; do i=${i##*/}; ((i < 3)) || eval \"exec $i>&-\"; done";
        let start = format!(
            "{close}; cd {}; rm -f *; {as_user} bash ../script.sh < /dev/null > out 2>&1 {end}",
            path("work")
        );
        let mut command = Command::new("unshare");
        command.args(["-mpf", "--mount-proc", "--kill-child", "bash", "-c", &start]);
        command.env("C", format!("{program} check -q --since before")).env("P", &program);
        let output = run(command.env("CAT", path("su-cat")).env("U", nobody()));
        let text = |name| fs::read_to_string(path(name)).unwrap_or_default();
        (text("work/status"), text("work/out") + &format!("{output:?}"))
    };
    let sleep = path("su-sleep");
    let started = "until [ $(</proc/$!/comm) = su-sleep ]; do :; done";
    for (user, pipeline) in FOREIGN {
        for init in [false, true] {
            let (status, text) = check(init, user, pipeline);
            assert_eq!(status, "0\n", "{init} {pipeline}: {text}");
        }
        let daemon = format!("setsid {sleep} 609 > /dev/null 2>&1 & {started}; {pipeline}");
        let (status, text) = check(false, user, &daemon);
        assert_eq!(status, "1\n", "{pipeline}: {text}");
        assert_eq!(text.matches("leftover-process").count(), 1, "{pipeline}: {text}");
        assert!(text.contains(" su-sleep "), "{pipeline}: {text}");
    }
    // These programs are older than the pipeline, or no pipe may connect them.
    for pipeline in [
        "$C | $CAT",
        "timeout 9 $C | cat | $CAT | cat",
        "$C > >($CAT)",
        "$C | cat",
        "$C",
        "exec 2> >(cat); $C > report; s=$?; cat report; exit $s",
    ] {
        let daemon = format!("{sleep} 609 > /dev/null 2>&1 & {started}; {pipeline}");
        let (status, text) = check(false, "nobody", &daemon);
        assert_eq!(status, "1\n", "{pipeline}: {text}");
        assert_eq!(text.matches("leftover-process").count(), 1, "{pipeline}: {text}");
        assert!(text.contains(" su-sleep "), "{pipeline}: {text}");
    }
}

#[test]
fn two_documents_that_pipelines_wrote_do_not_differ() {
    needs!(NamespaceOfItsOwn, Program("su"), Program("strace"));
    let files = Workspace::new();
    for (index, pipeline) in PIPELINES.iter().enumerate() {
        let script = format!("set -o pipefail; C='{PIDNS} -q -f json'; {pipeline}");
        let output = files.script(&script);
        assert_eq!(output.status.code(), Some(0), "{pipeline}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let text = if text.is_empty() { files.read("out") } else { text };
        files.write(&format!("document{index}"), &text);
    }
    let first = files.path("document0");
    for (index, pipeline) in PIPELINES.iter().enumerate().skip(1) {
        let other = files.path(&format!("document{index}"));
        for documents in [[&first, &other], [&other, &first]] {
            let output = pidns(&["diff", documents[0], documents[1]]);
            assert_eq!(output.status.code(), Some(0), "{pipeline} {output:?}");
        }
        // The check of a saved document leaves out the same processes.
        let output = pidns(&["check", "--since", &first, "-i", &other]);
        assert_eq!(output.status.code(), Some(0), "{pipeline} {output:?}");
    }
    let output = pidns(&["diff", &first]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// Shell commands that start a wrapper, `$W`, like agents that run the steps of a Jenkins Pipeline
/// (the durable-task plugin).
const AGENTS: [&str; 3] =
    ["setsid -w nohup sh -c \"$W\"", "nohup bash -c \"$W\"", "nohup sh -c \"($W) >&- 2>&- &\""];

/// Runs a script like a step of a Jenkins Pipeline: a shell starts heartbeats and, beside them,
/// another shell with the script. Returns the output and the status.
fn step(files: &Workspace, agent: &str, name: &str, script: &str) -> (String, String) {
    files.write(&format!("{name}.sh"), script);
    let wrapper = format!(
        "{{ while [ ! -f {name}.result ]; do touch {name}.log; sleep 0.5; done; }} & \
         sh -xe {name}.sh > {name}.out 2>&1 & script=\\$!; \
         {{ while [ ! -f {name}.result ]; do sleep 0.5; done; }} & \
         wait \\$script; echo \\$? > {name}.tmp; mv {name}.tmp {name}.result; wait"
    );
    let agent = agent.replace("$W", &wrapper);
    let mut command = Command::new("bash");
    command.args(["-c", &agent]).env("P", PIDNS).current_dir(&files.0);
    // Nothing reads its output, and leftovers must not keep a pipe open.
    let status = command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    assert!(status.unwrap().success());
    until("the step has ended", || !files.read(&format!("{name}.result")).is_empty());
    let heartbeat = format!("while .* {name}.result");
    until("the heartbeat has ended", || {
        !run(Command::new("pgrep").args(["-f", &heartbeat])).status.success()
    });
    let result = files.read(&format!("{name}.result"));
    fs::remove_file(files.path(&format!("{name}.result"))).unwrap();
    (files.read(&format!("{name}.out")), result.trim().to_owned())
}

#[test]
fn the_heartbeat_of_a_jenkins_step_is_no_leftover() {
    needs!(NamespaceOfItsOwn);
    for agent in AGENTS {
        let files = Workspace::new();
        let (out, status) = step(&files, agent, "before", "sleep 0.1; $P -q -f json > before");
        assert_eq!(status, "0", "{agent}: {out}");
        for check in [
            "sleep 0.1; $P check --since before",
            "sleep 0.1; $P check --since before --wait 1",
            "sleep 0.1; timeout 9 $P check --since before | tee log",
            "sleep 0.1; $P diff before",
            "sleep 0.1; $P -f json > after; $P diff before after",
            // The heartbeat is older than the first document.
            "sleep 0.1; $P -q -f json > old; sleep 0.7; $P check --since old; $P diff old",
            "sleep 0.1; $P -q -f json > old; $P check --since old --wait 1; $P diff --comm sleep old",
        ] {
            let (out, status) = step(&files, agent, "check", check);
            assert_eq!(status, "0", "{agent}: {check}: {out}");
        }
        let (out, status) = step(&files, agent, "job", "setsid sleep 602 > /dev/null 2>&1 & :");
        assert_eq!(status, "0", "{agent}: {out}");
        // The leftovers of an earlier step and of the same step.
        let script = "sleep 603 > /dev/null 2>&1 & sleep 0.1; $P check --since before";
        let (out, status) = step(&files, agent, "last", script);
        assert_eq!(status, "1", "{agent}: {out}");
        assert_eq!(out.matches("DENIED leftover-process").count(), 2, "{agent}: {out}");
        assert_eq!(out.matches("kill ").count(), 2, "{agent}: {out}");
        files.script("pkill -x sleep; while pgrep -x sleep; do :; done");
    }
}

/// Commands that Jenkins (the plugin durable-task) runs for a step with the script `NAME.sh`.
const DURABLE_TASK: &str = "(nohup sh -c \"({ while [ -d '$1' -a \\! -f '$1/res' ]; do touch '$1/log'; \
     sleep 3; done } & jsc=durable-x; JENKINS_SERVER_COOKIE=\\$jsc 'sh' -xe '$1.sh' > '$1/log' 2>&1; \
     echo \\$? > '$1/res.tmp'; mv '$1/res.tmp' '$1/res'; wait) >&- 2>&- &\" > /dev/null 2>&1)";

#[test]
fn the_heartbeat_of_another_jenkins_step_is_no_leftover() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    files.write("start.sh", DURABLE_TASK);
    files.write("save.sh", "$P -q -f json > before");
    files.write("job.sh", "sleep 0.1");
    files.write("other.sh", "until [ -e stop ]; do :; done");
    files.write("left.sh", "sleep 614 > /dev/null 2>&1 &");
    files.write("check.sh", "$P check -q --since before");
    for (job, status) in [("job", "0"), ("left", "1")] {
        let script = format!(
            "rm -rf save {job} other check stop; \
             mkdir other; bash start.sh other; until [ -f other/log ]; do :; done; \
             for step in save {job} check; do \
               mkdir $step; bash start.sh $step; until [ -f $step/res ]; do :; done; \
               [ $step = check ] || sleep 2; \
             done; touch stop; cat check/res check/log; until ! pgrep -f '^sleep 3$' > log; do :; done"
        );
        let text = stdout(&files.script(&script));
        assert!(text.starts_with(&format!("{status}\n")), "{job}: {text}");
        assert_eq!(text.matches("DENIED").count().to_string(), status, "{job}: {text}");
        files.script("pkill -x sleep");
    }
}

#[test]
fn a_server_that_a_step_has_started_is_no_heartbeat() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    let before = files.save("before", &[]);
    // The server is called `sh` until it has executed sleep.
    let check =
        format!("until pgrep -x sleep > /dev/null; do :; done; {PIDNS} check --since {before}");
    files.write("check.sh", &check);
    files.write("step.sh", "sleep 605 > /dev/null 2>&1 & sh check.sh");
    files.write("saved.sh", "(sleep 605; :) > /dev/null 2>&1 & sh check.sh > out || cat out");
    for step in [
        "sh -e step.sh",
        "sh -e saved.sh",
        "sh -c 'sleep 605 > /dev/null 2>&1 & sh check.sh; true'",
        "sh -c 'sleep 605 > /dev/null 2>&1 & sh check.sh > out; cat out'",
        // A subshell waits for the server, as a heartbeat waits for its commands.
        "sh -c '(sleep 605; :) > /dev/null 2>&1 & sh check.sh > out; cat out'",
        "bash -c '(cd / && sleep 605; true) > /dev/null 2>&1 & sh check.sh; :'",
        "bash -c '(true; (sleep 605; true); true) > /dev/null 2>&1 & sh check.sh; :'",
        // A server that starts late, and a loop that runs another program between its sleeps.
        "sh -c '(sleep 9; exec sleep 6) > /dev/null 2>&1 & sh check.sh > out; cat out'",
        "sh -c '(for i in 1 2; do cat wait; sleep 9; done) > /dev/null 2>&1 & sh check.sh > out; cat out'",
    ] {
        let text = stdout(&files.script(&format!("setsid -w {step} < /dev/null | cat")));
        assert!(text.contains("DENIED leftover-process: "), "{step}: {text}");
        assert!(text.contains(" sleep "), "{step}: {text}");
        stdout(&files.script("pkill -x sleep; until ! pgrep -x sleep; do :; done"));
    }
}

#[test]
fn a_daemon_that_an_init_has_adopted_is_not_in_its_pipeline() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    let check = format!("{PIDNS} -q check --since before");
    for daemon in ["sleep 606", "setsid sleep 606"] {
        let script = format!(
            "{PIDNS} -q -f json > before; \
             sh -c 'sleep 0.2; ({daemon} 2> /dev/null &); echo ok; sleep 0.1' | \
             {{ read -r; sleep 0.3; {check}; }}; \
             echo $?"
        );
        // The init is the shell that has started the pipeline. If it adopted the daemon before it
        // started the second half of the pipeline, the daemon would look like the first half.
        let mut command = Command::new("unshare");
        command.args(["-pf", "--mount-proc", "--kill-child", "bash", "-c", &script]);
        let text = stdout(&run(command.current_dir(&files.0)));
        assert!(text.contains(" sleep ") && text.ends_with("\n1\n"), "{daemon}: {text}");
        // The daemon is a younger sibling of pidns.
        let script = format!(
            "{PIDNS} -q -f json > before; \
             sh -c 'sleep 0.1; ({daemon} 2> /dev/null &); sleep 0.1' | \
             {{ sleep 0.4; exec {check}; }}; echo $?"
        );
        let mut command = Command::new("unshare");
        command.args(["-pf", "--mount-proc", "--kill-child", "bash", "-c", &script]);
        let text = stdout(&run(command.current_dir(&files.0)));
        assert!(text.contains(" sleep ") && text.ends_with("\n1\n"), "{daemon}: {text}");
    }
    // The init has adopted the daemon before it starts pidns, but after it has started the reader of
    // the daemon's pipe. In the second pipeline, the init has started the writer before the reader.
    let script = format!(
        "mkfifo p1 p2; {PIDNS} -q -f json > before; \
         cat < p1 > p2 & (sleep 606 > p1 2> /dev/null &); {check} < p2; echo $?; \
         pkill sleep; wait; sleep 1 > p1 & cat < p1 > p2 & {check} < p2"
    );
    let mut command = Command::new("unshare");
    command.args(["-pf", "--mount-proc", "--kill-child", "bash", "-c", &script]);
    let text = stdout(&run(command.current_dir(&files.0)));
    assert_eq!(text.matches("DENIED leftover-process").count(), 1, "{text}");
    assert!(text.contains(" sleep ") && text.ends_with("\n1\nNothing is wrong.\n"), "{text}");
    let script = format!(
        "{PIDNS} -q -f json > before; exec > >(cat) 2>&1; \
         {check} | tee log | cat; sleep 1 | {{ true; {check}; }} | cat; \
         sleep 1 | timeout 9 {check} | (cat; true); {check} < <(sleep 1)"
    );
    let mut command = Command::new("unshare");
    command.args(["-pf", "--mount-proc", "--kill-child", "bash", "-c", &script]);
    let text = stdout(&run(command.current_dir(&files.0)));
    assert_eq!(text, "Nothing is wrong.\n".repeat(4));
}

#[test]
fn a_descendant_of_a_command_in_the_pipeline_is_a_leftover_only_if_nothing_connects_it() {
    needs!(NamespaceOfItsOwn, Program("su"), Program("script"));
    let files = Workspace::new();
    let outcome = |ready: &str, reader: &str| {
        let script = format!(
            "{PIDNS} -q -f json > before; \
             {{ sleep 0.5; {ready} {PIDNS} -q check --since before; echo $?; }} 2>&1 | {reader}"
        );
        let mut command = Command::new("unshare");
        command.args(["-pf", "--mount-proc", "--kill-child", "bash", "-c", &script]);
        stdout(&run(command.current_dir(&files.0)))
    };
    let off = "< /dev/null > /dev/null 2>&1";
    for attached in [
        format!("{{ sleep 605 {off} & timeout 9 cat; kill $!; }}"),
        "setsid -w cat".to_owned(),
        "(cat | setsid -w cat | setsid -w cat; true)".to_owned(),
        "su -c 'sh -c cat; true'".to_owned(),
        format!("su -c 'sleep 605 {off} & cat; kill $!'"),
        "tee >(setsid -w cat > log)".to_owned(),
        format!("{{ script -qc 'sleep 605 {off}' log {off} & cat; kill $!; }}"),
    ] {
        let text = outcome("", &attached);
        assert!(text.ends_with("0\n") && !text.contains("DENIED"), "{attached}: {text}");
    }
    for detached in [
        format!("{{ setsid sleep 606 {off} & cat; kill $!; }}"),
        // The pipe is the output of the step.
        "{ setsid sleep 606 < /dev/null 2> /dev/null & cat; kill $!; }".to_owned(),
    ] {
        let text = outcome("until pgrep -x sleep > log; do :; done;", &detached);
        assert_eq!(text.matches("DENIED leftover-process").count(), 1, "{detached}: {text}");
        assert!(text.contains(" sleep ") && text.ends_with("\n1\n"), "{detached}: {text}");
    }
}

#[test]
fn a_leftover_is_found_if_the_pids_start_again() {
    needs!(HostRoot, Initial("pid"), Linux(6, 14));
    let files = Workspace::new();
    let script = format!(
        "echo 400 > /proc/sys/kernel/pid_max; {PIDNS} -q -f json > before; \
         for i in 1 2 3 4 5 6 7 8; do \
           echo 397 > /proc/sys/kernel/ns_last_pid; sleep 600 > /dev/null & \
           echo 399 > /proc/sys/kernel/ns_last_pid; \
           {PIDNS} check -q --since before > out; echo $?; kill $!; wait $! 2> /dev/null; \
         done; true"
    );
    let mut command = Command::new("unshare");
    command.args(["-pf", "--mount-proc", "--kill-child", "bash", "-c", &script]);
    let text = stdout(&run(command.current_dir(&files.0)));
    assert_eq!(text, "1\n".repeat(8));
}

#[test]
fn a_job_with_the_name_of_pidns_is_a_leftover() {
    needs!(NamespaceOfItsOwn);
    let files = Workspace::new();
    let before = files.save("before", &[]);
    let program = files.path("pidns");
    stdout(&run(Command::new("cp").args(["/bin/sleep", &program])));
    let job = Running::spawn(Command::new(&program).arg("600"));
    until("the job runs", || comm(job.pid()) == "pidns");
    let after = files.save("after", &[]);
    for source in [&[][..], &["-i", &after]] {
        let output = pidns(&[&["check", "-q", "--since", &before], source].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("leftover-process: {} ", job.pid())), "{text}");
        assert_eq!(text.matches("leftover-process").count(), 1, "{text}");
    }
    assert_eq!(pidns(&["diff", "-q", &before]).status.code(), Some(1));
    assert_eq!(pidns(&["diff", "-q", &before, &after]).status.code(), Some(1));
}
