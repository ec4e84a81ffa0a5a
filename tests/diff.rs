//! Tests that `pidns diff` shows the changes that real jobs cause, on the live host and between
//! saved documents.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use common::Need::*;
use common::*;
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::{Value, json};

/// The JSON output of `pidns diff`. Deserialization fails if a field is unknown or missing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "some fields are only checked to be present")]
struct Comparison {
    schema_version: String,
    generator: Generator,
    before: Side,
    after: Side,
    relation: String,
    differs: bool,
    caveats: Vec<Caveat>,
    namespaces: Vec<NamespaceChange>,
    processes: Vec<ProcessChange>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "some fields are only checked to be present")]
struct Side {
    captured_at: String,
    host: Host,
    procfs: Procfs,
    searched: Vec<String>,
    details: Vec<String>,
    selected: Vec<Criterion>,
    complete: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "some fields are only checked to be present")]
struct Caveat {
    code: String,
    message: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "some fields are only checked to be present")]
struct NamespaceChange {
    id: String,
    change: String,
    fields: Vec<String>,
    members_came: Vec<u32>,
    members_went: Vec<u32>,
    before: Option<Namespace>,
    after: Option<Namespace>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcessChange {
    pid: u32,
    change: String,
    fields: Vec<String>,
    before: Option<Process>,
    after: Option<Process>,
}

impl Comparison {
    fn processes(&self, change: &str) -> Vec<u32> {
        self.processes.iter().filter(|it| it.change == change).map(|it| it.pid).collect()
    }
}

/// A temporary directory for the files of one test.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs pidns and saves its document. Returns the path.
    fn save(&self, name: &str, arguments: &[&str]) -> String {
        let document = stdout(&pidns(&[&["-q", "-f", "json"], arguments].concat()));
        self.write(name, &document)
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }
}

/// Runs `pidns diff`, and asserts that it finds a difference if and only if `differs` is `true`.
fn diff(arguments: &[&str], differs: bool) -> Comparison {
    let output = pidns(&[&["diff", "-q", "-f", "json"], arguments].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(i32::from(differs)), "{stderr}");
    assert_eq!(stderr, "");
    let comparison: Comparison = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(comparison.differs, differs);
    comparison
}

/// Runs `pidns diff`, and returns its output as text, unless the arguments select another format.
fn text(arguments: &[&str]) -> String {
    let output = pidns(&[&["diff", "-q"], arguments].concat());
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn names_a_jobs_leftovers_live_and_from_saved_documents() {
    needs!(NamespaceOfItsOwn);
    let files = Files::new();
    let before = files.save("before", &[]);
    diff(&[&before], false);
    let left = leave(&files.path("namespace"));
    let after = files.save("after", &[]);
    for arguments in [&[&before[..]][..], &[&before, &after]] {
        let comparison = diff(arguments, true);
        assert_eq!(comparison.relation, "same-boot");
        let mut expected = left.all();
        expected.sort_unstable();
        assert_eq!(comparison.processes("came"), expected, "{comparison:#?}");
        assert_eq!(comparison.processes("went"), Vec::<u32>::new());
        let came = |pid| {
            let it = comparison.processes.iter().find(|it| it.pid == pid).unwrap();
            assert!(it.before.is_none() && it.fields.is_empty());
            it.after.as_ref().unwrap()
        };
        assert_eq!(came(left.zombie).state, "Z");
        assert_eq!(came(left.zombie).ppid, Some(left.parent));
        assert_eq!(came(left.stopped).state, "T");
        let new: Vec<_> = comparison.namespaces.iter().filter(|it| it.change == "came").collect();
        let [dead] = new.as_slice() else { panic!("{new:?}") };
        let dead = dead.after.as_ref().unwrap();
        assert_eq!(dead.state, "dead");
        assert!(matches!(&dead.holders[..], [Holder::Mount { .. }]), "{dead:?}");
        let root = comparison.namespaces.iter().find(|it| it.change == "changed").unwrap();
        assert_eq!(
            (&root.fields[..], &root.members_came[..]),
            (&["members".to_owned()][..], &expected[..])
        );
        let tree = text(arguments);
        for line in [
            format!("+ ├─ {} sleep\n", left.daemon),
            format!("+ ├─ {} sleep  stopped\n", left.stopped),
            format!("+ ├─ {} bash  zombie\n", left.zombie),
            format!("+ └─ {}  DEAD: its init has exited; kept by mount ", dead.id),
        ] {
            assert!(tree.contains(&line), "{line} in {tree}");
        }
        assert!(tree.ends_with("\nProcesses: 4 came. PID namespace: 1 came.\n"), "{tree}");
        let picture = text(&[arguments, &["-f", "mermaid"]].concat());
        assert!(picture.contains(&format!("+ {} sleep  stopped", left.stopped)), "{picture}");
        let lines = text(&[arguments, &["-f", "ndjson"]].concat());
        let records: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let processes = records.iter().filter(|it| it["record"] == "process_change");
        let pids = processes.map(|it| it["process_change"]["pid"].as_u64().unwrap());
        assert!(pids.eq(expected.iter().map(|&pid| u64::from(pid))), "{lines}");
    }
    // If the two documents are swapped, everything that was new is reported as gone.
    let back = diff(&[&after, &before], true);
    assert_eq!(back.processes("went").len(), 4);
    assert_eq!(back.processes("came"), Vec::<u32>::new());
    // Continue the stopped process, and kill the parent of the zombie.
    kill(left.stopped, Signal::CONT);
    until("the process goes on", || {
        status(left.stopped, "State").first().is_some_and(|it| it == "S")
    });
    kill(left.parent, Signal::KILL);
    until("the zombie is reaped", || status(left.zombie, "State").is_empty());
    let later = diff(&[&after], true);
    assert_eq!(later.processes("changed"), [left.stopped]);
    let mut gone = [left.zombie, left.parent];
    gone.sort_unstable();
    assert_eq!(later.processes("went"), gone);
    let changed = later.processes.iter().find(|it| it.change == "changed").unwrap();
    assert_eq!(changed.fields, ["state"]);
    assert!(
        text(&[&after])
            .contains(&format!("─ {} sleep  stopped → running or waiting\n", left.stopped))
    );
}

#[test]
fn a_namespace_kept_only_by_a_descriptor_in_flight_is_hidden() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let files = Files::new();
    let (container, init) = container(&format!("{SLEEP} echo ready; wait"));
    let id = namespace_of(init);
    // A descriptor that has been sent over a socket and then closed is in flight: it keeps the
    // namespace alive, but no process has it in its descriptor table.
    let keep = "import os, signal, socket, sys
ends = socket.socketpair()
namespace = os.open(sys.argv[1], os.O_RDONLY)
socket.send_fds(ends[0], [b'x'], [namespace])
os.close(namespace)
print('ready', flush=True)
signal.pause()";
    let of_init = format!("/proc/{init}/ns/pid");
    let (keeper, _) = start_command(Command::new("python3").args(["-c", keep, &of_init]));
    let before = files.save("before", &[]);
    drop(container);
    until("no scan shows it", || !stdout(&pidns(&["-q"])).contains(&id));
    let change = |arguments: &[&str]| {
        let change = diff(arguments, true).namespaces.into_iter().find(|it| it.id == id).unwrap();
        assert!(change.after.is_none());
        // Since Linux 6.18, pidns can ask the kernel if a namespace still exists.
        (change.change, change.before.unwrap().ns_id.is_some())
    };
    let (happened, can_tell) = change(&[&before]);
    assert_eq!(happened, if can_tell { "hidden" } else { "went" });
    let line = format!(
        "? ├─ {id}  hidden: still in the kernel, kept by something that /proc does not show\n"
    );
    let tree = text(&[&before]);
    assert_eq!(tree.replace("└", "├").contains(&line), can_tell, "{tree}");
    // When pidns compares two saved documents, it does not ask the kernel if a namespace exists.
    let after = files.save("after", &[]);
    assert_eq!(change(&[&before, &after]).0, "went");
    drop(keeper);
    until("the namespace is gone", || change(&[&before]).0 == "went");
}

/// Sets the start time of each process in a document to the time that /proc shows.
fn with_start_times(document: &str) -> String {
    let mut document: Value = serde_json::from_str(document).unwrap();
    for process in document["processes"].as_array_mut().unwrap() {
        let stat = fs::read_to_string(format!("/proc/{}/stat", process["pid"])).unwrap_or_default();
        let field = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(19));
        if let Some(start_time) = field.and_then(|field| field.parse::<u64>().ok()) {
            process["start_time"] = json!(start_time);
        }
    }
    document.to_string()
}

#[test]
fn the_start_time_distinguishes_a_reused_pid() {
    needs!(NamespaceOfItsOwn);
    let files = Files::new();
    let sleep = || Running::spawn(Command::new("sleep").arg("600"));
    let first = sleep();
    let pid = first.pid();
    until("the process sleeps", || comm(pid) == "sleep");
    let save = |name: &str| {
        let path = files.save(name, &[]);
        files.write(name, &with_start_times(&fs::read_to_string(path).unwrap()))
    };
    let before = save("before");
    drop(first);
    // Wait longer than a clock tick, the resolution of start times.
    std::thread::sleep(std::time::Duration::from_millis(20));
    // The kernel gives the next process the PID after ns_last_pid. This file needs
    // CONFIG_CHECKPOINT_RESTORE.
    let mut second = None;
    until("the PID is reused", || {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let again = sleep();
        second = (again.pid() == pid).then_some(again);
        second.is_some()
    });
    until("the process sleeps", || comm(pid) == "sleep");
    let after = save("after");
    let comparison = diff(&[&before, &after], true);
    let changes: Vec<_> =
        comparison.processes.iter().map(|it| (it.pid, it.change.as_str())).collect();
    assert_eq!(changes, [(pid, "went"), (pid, "came")]);
    assert_eq!(comparison.caveats.len(), 0, "{:?}", comparison.caveats);
    // Without start times, pidns cannot distinguish the two processes with the same PID, and must
    // warn about this.
    let without = |name: &str, path: &str| {
        let mut document: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        for process in document["processes"].as_array_mut().unwrap() {
            process["start_time"] = Value::Null;
        }
        files.write(name, &document.to_string())
    };
    let (before, after) = (without("weak before", &before), without("weak after", &after));
    let comparison = diff(&[&before, &after], false);
    let codes: Vec<_> = comparison.caveats.iter().map(|it| it.code.as_str()).collect();
    assert!(codes.contains(&"weak-processes"), "{codes:?}");
    let output = pidns(&["diff", &before, &after]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("the kernel reuses PIDs") && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn filters_apply_to_both_documents() {
    needs!(NamespaceOfItsOwn);
    let files = Files::new();
    let before = files.save("before", &[]);
    let _running = Running::spawn(Command::new("sleep").arg("600"));
    until("the process sleeps", || {
        diff(&[&before], true)
            .processes
            .iter()
            .any(|it| it.after.as_ref().is_some_and(|it| it.comm == "sleep"))
    });
    let comparison = diff(&[&before, "--comm", "sl*p"], true);
    assert_eq!(comparison.processes("came").len(), 1);
    assert_eq!(comparison.after.selected, comparison.before.selected);
    // The namespace is also in the first snapshot, but had no process with that name.
    let [namespace] = &comparison.namespaces[..] else { panic!("{comparison:?}") };
    assert_eq!((&*namespace.change, namespace.members_came.len()), ("changed", 1));
    let none = pidns(&["diff", &before, "--comm", "nobody"]);
    assert_eq!((none.status.code(), &none.stdout[..]), (Some(1), &b""[..]));
    assert!(
        String::from_utf8_lossy(&none.stderr).starts_with("pidns: nothing matches comm nobody")
    );
    // The init, a bash process, has not changed.
    diff(&[&before, "--comm", "bash"], false);
}

#[test]
fn the_live_host_is_searched_like_the_document() {
    needs!(NamespaceOfItsOwn);
    let files = Files::new();
    let before = files.save("before", &["--search", "processes"]);
    let comparison = diff(&[&before], false);
    assert_eq!(comparison.after.searched, ["processes"]);
    assert_eq!(comparison.before.searched, comparison.after.searched);
    let whole = files.save("whole", &[]);
    let comparison = diff(&[&before, &whole], false);
    let codes: Vec<_> = comparison.caveats.iter().map(|it| it.code.as_str()).collect();
    assert!(codes.contains(&"other-search"), "{codes:?}");
}

#[test]
fn an_invalid_document_fails_and_prints_nothing() {
    let files = Files::new();
    let none = files.write("none", "[]");
    for (arguments, said) in [
        (&["/nowhere"][..], "cannot read /nowhere: No such file"),
        (&[&none], "cannot use "),
        (&["-", "-"], "only one of two documents can be standard input"),
        (&[], "required arguments were not provided: <BEFORE>"),
        (&[&none, &none, "--procfs", "/proc"], "cannot be used with"),
    ] {
        let output = pidns(&[&["diff"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(output.stdout, b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(said) && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn strict_applies_only_if_nothing_differs() {
    needs!(NamespaceOfItsOwn);
    let files = Files::new();
    let document = stdout(&pidns(&["-q", "-f", "json"]));
    let mut incomplete: Value = serde_json::from_str(&document).unwrap();
    incomplete["complete"] = false.into();
    let (whole, part) =
        (files.write("whole", &document), files.write("part", &incomplete.to_string()));
    let status = |arguments: &[&str]| pidns(&[&["diff", "-q"], arguments].concat()).status.code();
    assert_eq!(status(&[&whole, &part]), Some(0));
    assert_eq!(status(&[&whole, &part, "--strict"]), Some(3));
    assert_eq!(status(&[&whole, &whole, "--strict"]), Some(0));
    let mut other = incomplete;
    other["processes"][0]["comm"] = "other".into();
    let other = files.write("other", &other.to_string());
    assert_eq!(status(&[&whole, &other, "--strict"]), Some(1));
}

#[test]
fn compares_large_documents_in_linear_time() {
    let files = Files::new();
    let document = |name: &str, count: u32, shift: u64| {
        let host = json!({"id": "pid:[10]", "inode": 10, "device": 4, "ns_id": 1, "level": 0,
            "parent": null, "children": [], "state": "live", "init": 1,
            "members": (1..=count).collect::<Vec<_>>(), "member_count": count, "owner": null,
            "holders": [], "blocked_by": [], "container": null, "evidence": "kernel"});
        let process = |pid: u32| {
            json!({"pid": pid, "ppid": (pid > 1).then_some(1), "namespace": "pid:[10]",
                "nspid": [pid], "comm": format!("p{}", pid % 7), "args": null, "state": "S",
                "uid": 0, "user": "root", "threads": 1,
                "start_time": u64::from(pid) + if pid.is_multiple_of(2) { shift } else { 0 },
                "kernel_thread": false, "namespaces": null, "cgroup": null, "tracer": null,
                "frozen": false, "evidence": "kernel"})
        };
        let document = json!({"schema_version": "1.0",
            "generator": {"name": "pidns", "version": "0.1.0"},
            "captured_at": "2026-11-23T14:28:00.123456Z",
            "host": {"hostname": "a", "kernel_release": "6.18",
                "boot_id": "7d0f5a5e-4b43-4a0b-9f3c-1c5f4f1d2a3b"},
            "procfs": {"path": "/proc", "own": true, "namespace": "pid:[10]"},
            "searched": ["processes"], "details": [], "selected": [], "complete": true,
            "roots": ["pid:[10]"], "namespaces": [host],
            "processes": (1..=count).map(process).collect::<Vec<_>>(), "diagnostics": []});
        files.write(name, &document.to_string())
    };
    let time = |count| {
        let (before, after) = (document("before", count, 0), document("after", count, 1));
        let start = Instant::now();
        let comparison = diff(&[&before, &after], true);
        let elapsed = start.elapsed();
        assert_eq!(comparison.processes("came").len(), count as usize / 2);
        assert_eq!(comparison.processes("went").len(), count as usize / 2);
        assert!(text(&[&before, &after]).lines().count() < 30, "equal processes share a line");
        elapsed
    };
    let (few, many) = (time(500), time(5_000));
    assert!(many < few * 100, "{few:?} for 500 and {many:?} for 5,000");
}

#[test]
fn the_schemas_of_comparisons_are_printed() {
    for (name, committed) in [
        ("diff", include_str!("../schemas/pidns-diff-1.schema.json")),
        ("diff-record", include_str!("../schemas/pidns-diff-record-1.schema.json")),
    ] {
        assert_eq!(stdout(&pidns(&["schema", name])), committed);
    }
}
