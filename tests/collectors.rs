//! Tests that the collectors for BPF and /proc produce the same document, and that pidns uses /proc
//! if BPF is not available.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output};

use common::Need::*;
use common::*;
use serde_json::Value;

/// Values of `--search` to test.
const SEARCHES: [&str; 6] =
    ["processes", "children", "fds", "mounts", "processes,children,fds,mounts", "children,fds"];

/// Returns the document that pidns writes with this collector.
fn document(collector: &str, search: &str) -> Value {
    document_of(Command::new(PIDNS), collector, search, collector)
}

/// Runs the command `pidns` with this collector, and returns the document. Asserts that the debug
/// output names `way` as the collector.
fn document_of(mut pidns: Command, collector: &str, search: &str, way: &str) -> Value {
    let arguments = ["-q", "-f", "json", "--collector", collector, "--search", search];
    let output = run(pidns.args(arguments).env("PIDNS_DEBUG", "1"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with(&format!("pidns: collector: {way}")), "{said}");
    let json = stdout(&output);
    Document::read(&json);
    serde_json::from_str(&json).expect("is JSON")
}

/// Removes the capture time and pidns's own process from a document.
fn without_pidns(mut document: Value) -> String {
    let is_pidns = |process: &Value| process["comm"] == "pidns";
    document["captured_at"].take();
    document["observer"].take();
    let processes = document["processes"].as_array_mut().expect("a list");
    let own: Vec<Value> =
        processes.iter().filter(|it| is_pidns(it)).map(|it| it["pid"].clone()).collect();
    processes.retain(|process| !is_pidns(process));
    for namespace in document["namespaces"].as_array_mut().expect("a list") {
        let members = namespace["members"].as_array_mut().expect("a list");
        members.retain(|pid| !own.contains(pid));
    }
    document.to_string()
}

/// Asserts that both collectors produce the same document for each value of `--search`.
fn agree() {
    SEARCHES.into_iter().for_each(agree_in);
}

fn agree_in(search: &str) {
    let bpf = without_pidns(document("bpf", search));
    let proc = without_pidns(document("proc", search));
    assert_eq!(bpf, proc, "--search {search}");
}

/// Asserts that both collectors produce the same document on a kernel before Linux 6.2, which has
/// type information but lacks `bpf_rdonly_cast`. Renames that function to simulate such a kernel.
fn agree_on_an_older_kernel() {
    const TYPES: &str = "/sys/kernel/btf/vmlinux";
    let dir = tempfile::tempdir().unwrap();
    let older = dir.path().join("types");
    let mut types = std::fs::read(TYPES).unwrap();
    let name = b"\0bpf_rdonly_cast\0";
    if let Some(at) = types.windows(name.len()).position(|it| it == name) {
        types[at + 1] = b'?';
    }
    std::fs::write(&older, types).unwrap();
    let mount = format!("mount --bind \"$1\" {TYPES} || exit 99; shift; exec \"$@\"");
    let pidns = || in_mount_namespace(&mount, &[older.to_str().unwrap(), PIDNS]);
    let way = "bpf, with the program for older kernels: this kernel has no \
               bpf_rdonly_cast in the form that pidns expects";
    for search in SEARCHES {
        let bpf = without_pidns(document_of(pidns(), "bpf", search, way));
        let proc = without_pidns(document_of(pidns(), "proc", search, "proc"));
        assert_eq!(bpf, proc, "--search {search}");
    }
}

#[test]
fn both_collectors_write_the_same_bytes_for_random_namespaces() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn);
    for seed in 100..120 {
        until("the last forest is gone", || truth().values().all(|(_, level)| *level == 0));
        let _forest = Forest::grow(seed);
        agree();
        if seed % 5 == 0 {
            agree_on_an_older_kernel();
        }
    }
}

#[test]
fn both_collectors_write_the_same_bytes_for_dead_and_nascent_namespaces() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn, Program("python3"));
    let _dead = unshared("true;");
    let _nascent = unshared("");
    let (leaderless, _) = start_command(Command::new("python3").args(["-c", LEADER_EXITS]));
    let container = ["-pf", "--kill-child", "python3", "-c", LEADER_EXITS];
    let (leaderless_init, _) = start_command(Command::new("unshare").args(container));
    for pid in [leaderless.pid(), children(leaderless_init.pid())[0]] {
        until("the leader has exited", || status(pid, "State")[0] == "Z");
    }
    // Add a zombie, a stopped process, and a process whose name /proc escapes.
    let dir = tempfile::tempdir().unwrap();
    let left = leave(&dir.path().join("ns"));
    let name = "printf 'a\\\\\\nb\\377' >/proc/$$/comm; echo ready; read x";
    let (_named, _) = start_command(Command::new("unshare").args(["-pf", "bash", "-c", name]));
    // Nest more levels than fit into one record of the BPF program.
    let (_nest, inits) = nest(9);
    agree();
    agree_on_an_older_kernel();
    let document: Document =
        serde_json::from_value(document("bpf", "processes,children,fds,mounts")).unwrap();
    assert_eq!(document.process(left.zombie).state, "Z");
    assert_eq!(document.process(left.stopped).state, "T");
    assert_eq!(document.process(inits[8]).nspid, nspid(inits[8]));
    let states: BTreeSet<_> = document.namespaces.iter().map(|it| it.state.as_str()).collect();
    assert_eq!(states, BTreeSet::from(["dead", "live", "nascent"]));
}

/// The document of a run by this collector that takes at most three seconds of CPU time.
fn quick_document(collector: &str) -> Document {
    let mut command = with_processor_seconds(3, PIDNS);
    let output = run(command.args(["-q", "-f", "json", "--collector", collector]));
    assert!(output.status.success(), "{collector}: {}", output.status);
    Document::read(&stdout(&output))
}

#[test]
fn processes_that_share_a_descriptor_table_are_searched_once() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn, Program("python3"));
    // A search of each process would take minutes.
    let _null = share_descriptors(400, 10_000, "/dev/null");
    let namespaces = share_descriptors(400, 10_000, "/proc/self/ns/pid");
    for collector in ["bpf", "proc"] {
        let document = quick_document(collector);
        let home = document.home(namespaces.pid());
        assert_eq!(home.holders.len(), 10_000);
        let left_out = document.diagnostic("holders-left-out").expect("is reported");
        let expected = format!(
            "{} holders are left out, because at most 10000 of one kind are shown for a namespace",
            401 * 10_000 - 10_000
        );
        assert_eq!(left_out.message, expected, "{collector}");
        assert!(!document.complete);
    }
}

#[test]
fn each_process_that_shares_a_descriptor_table_is_a_holder() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn, Program("python3"));
    let running = share_descriptors(10, 100, "/proc/self/ns/pid");
    let pids = [vec![running.pid()], children(running.pid())].concat();
    agree();
    let document: Document = serde_json::from_value(document("bpf", "fds")).unwrap();
    for pid in pids {
        let is_its = |it: &&Holder| matches!(it, Holder::Fd { pid: holder, .. } if *holder == pid);
        assert_eq!(document.home(pid).holders.iter().filter(is_its).count(), 100, "{pid}");
    }
    assert!(document.diagnostic("holders-left-out").is_none());
}

#[test]
fn a_process_with_unreaped_threads_is_read_once() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn, Program("python3"));
    let _few = unreaped_threads(20, 50);
    agree();
    // If the process were read once for each thread, that would take half a minute.
    let running = unreaped_threads(1000, 5000);
    let traced = children(running.pid())[0];
    for collector in ["bpf", "proc"] {
        let document = quick_document(collector);
        assert_eq!(document.process(traced).threads, Some(1001));
        assert_eq!(document.home(traced).holders.len(), 5050);
    }
}

#[test]
fn both_write_the_same_bytes_for_processes_covered_by_mounts() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn);
    let (_forest, (running, inits)) = (Forest::grow(3), nest(4));
    let holder = start_command(
        Command::new("bash").args(["-c", "exec 9</proc/self/ns/pid; echo ready; read x; :"]),
    );
    let pids = [running.pid(), inits[0], inits[1], inits[2], inits[3], holder.0.pid()];
    let pids = pids.map(|pid| pid.to_string());
    let cover = "mount -t tmpfs none /proc/$1; mount --bind /proc/self/status /proc/$2/status; \
                 mount --bind /proc/self/stat /proc/$3/stat; mount -t tmpfs none /proc/$4/ns; \
                 mount --bind /dev/zero /proc/$5/cgroup; mount -t tmpfs none /proc/$6/fd; \
                 shift 6; exec \"$@\"";
    for search in SEARCHES {
        let [bpf, proc] = ["bpf", "proc"].map(|collector| {
            let arguments: Vec<&str> = pids.iter().map(String::as_str).chain([PIDNS]).collect();
            let command = in_mount_namespace(cover, &arguments);
            without_pidns(document_of(command, collector, search, collector))
        });
        assert_eq!(bpf, proc, "--search {search}");
    }
}

#[test]
fn finds_three_thousand_namespaces_held_by_one_process() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn, Program("python3"));
    let script = "import os, resource, time\n\
         resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))\n\
         held = [os.open('/proc/self/ns/pid', os.O_RDONLY) for _ in range(3000)]\n\
         print('ready', flush=True)\n\
         time.sleep(600)";
    let (holder, _) = start_command(Command::new("python3").args(["-c", script]));
    agree();
    let document: Document = serde_json::from_value(document("bpf", "fds")).unwrap();
    let is_its = |it: &&Holder| matches!(it, Holder::Fd { pid, .. } if *pid == holder.pid());
    assert_eq!(document.home(holder.pid()).holders.iter().filter(is_its).count(), 3000);
}

#[test]
fn both_collectors_write_the_same_bytes_with_the_kernel_search() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn, Program("python3"), NamespaceList);
    let _keepers = KEEPERS.map(|(_, does)| keeper(does));
    let (_mounted, _forest) = (keeper(MOUNTED), Forest::grow(7));
    agree_in("kernel");
}

/// Returns the objects in a list of the document, as a map from the value of each object's `key` to
/// the object as JSON.
fn rows(document: &Value, list: &str, key: &str) -> BTreeMap<String, String> {
    let rows = document[list].as_array().expect("a list");
    rows.iter().map(|row| (row[key].to_string(), row.to_string())).collect()
}

/// Scans a busy host through /proc, through BPF, and through /proc again. A process or namespace
/// that is the same in both /proc scans must be the same in the BPF scan.
#[test]
fn both_collectors_agree_on_stable_processes_in_a_fork_storm() {
    needs!(HostRoot, Bpf, NamespaceOfItsOwn);
    let (_farm, _dead, _nascent) = (farm(10, 10), unshared("true;"), unshared(""));
    let _storm: Vec<_> = (0..2)
        .map(|_| {
            Running::spawn(
                Command::new("bash").args(["-c", "while ((SECONDS < 300)); do (:) & wait; done"]),
            )
        })
        .collect();
    let _namespaces = Running::spawn(
        Command::new("bash")
            .args(["-c", "while ((SECONDS < 300)); do unshare -pf --kill-child true; done"]),
    );
    let mut compared = 0;
    for _ in 0..10 {
        for search in ["processes", "processes,children,fds,mounts"] {
            let [before, between, after] =
                ["proc", "bpf", "proc"].map(|collector| document(collector, search));
            for (list, key) in [("processes", "pid"), ("namespaces", "id")] {
                let [before, between, after] =
                    [&before, &between, &after].map(|document| rows(document, list, key));
                for (key, row) in before {
                    if after.get(&key) == Some(&row) && !has_changed(&row, between.get(&key)) {
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared > 1000, "{compared}");
}

/// Compares `row`, an object in a /proc scan, with `between`, the same object in the BPF scan.
/// Returns `true` if only values that can change at any time differ, such as the state of a
/// process. Panics if any other value differs.
fn has_changed(row: &str, between: Option<&String>) -> bool {
    let between = between.unwrap_or_else(|| panic!("missing between two scans: {row}"));
    if row == between {
        return false;
    }
    let [row, between] = [row, between].map(|row| {
        let mut row: Value = serde_json::from_str(row).unwrap();
        // A kernel worker thread changes its name with each work item.
        if row["kernel_thread"] == true {
            row["comm"].take();
        }
        // These values may change between two scans.
        for key in ["state", "threads", "members", "member_count", "children", "holders"] {
            if let Some(value) = row.get_mut(key) {
                value.take();
            }
        }
        row
    });
    assert_eq!(row, between);
    true
}

/// Runs pidns without these capabilities.
fn without(capabilities: &str, collector: &str) -> Output {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", capabilities, "--inh-caps=-all", PIDNS]);
    command.args(["-q", "-f", "json", "--collector", collector]);
    run(command.env("PIDNS_DEBUG", "1"))
}

#[test]
fn falls_back_to_proc_without_a_capability() {
    needs!(Initial("pid"), Bpf, Program("python3"));
    // `auto` does not try BPF on a host with few processes.
    let _crowd = crowd(LARGE_HOST);
    for (capabilities, missing) in [
        ("-sys_ptrace", "CAP_SYS_PTRACE"),
        ("-sys_admin,-bpf", "CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN,"),
        ("-sys_admin,-perfmon", "CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN,"),
    ] {
        let output = without(capabilities, "auto");
        let said = format!(
            "pidns: collector: proc; not bpf: it needs {missing} in the initial user namespace\n"
        );
        assert_eq!(String::from_utf8_lossy(&output.stderr), said);
        Document::read(&stdout(&output));
        let output = without(capabilities, "bpf");
        let said = format!(
            "pidns: cannot read the kernel through BPF: it needs {missing} in the initial user namespace\n"
        );
        assert_eq!(String::from_utf8_lossy(&output.stderr), said);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    }
    // Loading BPF programs needs CAP_SYS_ADMIN, or both CAP_BPF and CAP_PERFMON.
    for capabilities in ["-bpf,-perfmon", "-sys_admin"] {
        let output = without(capabilities, "auto");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "pidns: collector: bpf\n");
        Document::read(&stdout(&output));
    }
}

/// Runs pidns with these options, and returns the line that says which collector it used.
fn used(arguments: &[&str]) -> String {
    let all = [&["-q", "-f", "json"], arguments].concat();
    let output = run(Command::new(PIDNS).args(all).env("PIDNS_DEBUG", "1"));
    Document::read(&stdout(&output));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn auto_uses_bpf_only_on_a_large_host() {
    needs!(Initial("pid"), Bpf, Program("python3"));
    let few = "pidns: collector: proc; not bpf: with so few processes it would save no time\n";
    {
        let _nobody_else = crowd(0);
        let is_pid =
            |name: &std::ffi::OsStr| name.to_str().is_some_and(|it| it.parse::<u32>().is_ok());
        let entries = std::fs::read_dir("/proc").unwrap();
        let processes = entries.filter(|it| is_pid(&it.as_ref().unwrap().file_name())).count();
        // A developer's host may itself be large.
        if processes < LARGE_HOST - 200 {
            assert_eq!(used(&[]), few);
        }
    }
    let _crowd = crowd(LARGE_HOST);
    assert_eq!(used(&[]), "pidns: collector: bpf\n");
    // A search of processes only is so fast that BPF pays off later.
    assert_eq!(used(&["--search", "processes"]), few);
}

#[test]
fn reads_proc_if_a_seccomp_filter_may_end_pidns_for_bpf() {
    needs!(Initial("pid"), Bpf, Program("python3"));
    let _crowd = crowd(LARGE_HOST);
    let filtered = |collector| {
        let command = [PIDNS, "-q", "-f", "json", "--collector", collector];
        // 321 is bpf(2) on x86-64.
        run(with_seccomp(KILL_PROCESS, "321", &command).env("PIDNS_DEBUG", "1"))
    };
    let output = filtered("auto");
    let said = "pidns: collector: proc; not bpf: a seccomp filter is active, which might end pidns \
                for bpf(2)\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), said);
    Document::read(&stdout(&output));
    assert_eq!(filtered("bpf").status.signal(), Some(31), "SIGSYS");
}

#[test]
fn falls_back_to_proc_silently_if_seccomp_forbids_bpf() {
    needs!(Initial("pid"), Bpf, Program("python3"), Program("strace"));
    let _crowd = crowd(LARGE_HOST);
    let refused = |collector: &str, debug: &str| {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=bpf:error=EPERM", PIDNS]);
        run(command.args(["-q", "--collector", collector]).env("PIDNS_DEBUG", debug))
    };
    let output = refused("auto", "");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(stdout(&output).contains("python3"));
    let cause = "bpf(BPF_BTF_LOAD): Operation not permitted (os error 1)\n";
    let output = refused("auto", "1");
    let said = format!("pidns: collector: proc; not bpf: {cause}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), said);
    let output = refused("bpf", "");
    let said = format!("pidns: cannot read the kernel through BPF: {cause}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), said);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
}

#[test]
fn reads_proc_for_facts_that_bpf_does_not_provide() {
    needs!(HostRoot, Bpf);
    let elsewhere = "it covers only the PID namespace of pidns, and this /proc shows another";
    let (container, init) = container("echo ready; sleep 600; true");
    let inner = format!("/proc/{init}/root/proc");
    for (arguments, why) in [
        (&["--details", "cgroup"][..], "it does not collect --details"),
        (
            &["--search", "threads"],
            "it does not collect the holders of each thread (--search threads)",
        ),
        (&["--procfs", &inner], elsewhere),
    ] {
        let ask = |collector| {
            let all = [&["-q", "-f", "json", "--collector", collector][..], arguments].concat();
            run(Command::new(PIDNS).args(all).env("PIDNS_DEBUG", "1"))
        };
        let output = ask("auto");
        let said = format!("pidns: collector: proc; not bpf: {why}\n");
        assert_eq!(String::from_utf8_lossy(&output.stderr), said);
        assert!(output.status.success());
        let output = ask("bpf");
        let said = format!("pidns: cannot read the kernel through BPF: {why}\n");
        assert_eq!(String::from_utf8_lossy(&output.stderr), said);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    }
    drop(container);
    // In a nested PID namespace, pidns cannot count the processes of the namespace cheaply: /proc
    // has only the count for the whole host.
    let mut inside = Command::new("unshare");
    inside.args(["-mpf", "--mount-proc", "--kill-child", PIDNS, "-q", "-f", "json"]);
    let output = run(inside.env("PIDNS_DEBUG", "1"));
    let said = "pidns: collector: proc; not bpf: the number of processes is known only in \
                the initial PID namespace\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), said);
    assert!(output.status.success());
}

#[test]
fn the_committed_bpf_objects_match_their_sources() {
    needs!(Repository("tests/bpf/build"), Program("clang"), Program("llvm-strip"));
    let here = env!("CARGO_MANIFEST_DIR");
    let version = stdout(&run(Command::new("clang").arg("--version")));
    if !version.starts_with("Debian clang version 14.0.6") {
        // Object files are comparable only if they are compiled by the same version of clang.
        say_skipped(
            "the_committed_bpf_objects_match_their_sources",
            "needs clang 14.0.6 of Debian 12",
        );
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = run(Command::new(format!("{here}/tests/bpf/build")).arg(dir.path()));
    assert_eq!(stdout(&output), "");
    for object in [
        "tasks/task.bpf.o",
        "tasks/task-by-helper.bpf.o",
        "memory/namespaces.bpf.o",
        "memory/limits.bpf.o",
    ] {
        let made = std::fs::read(dir.path().join(object)).unwrap();
        let committed = std::fs::read(format!("{here}/src/collect/bpf/{object}")).unwrap();
        assert!(made == committed, "run tests/bpf/build, and commit {object}");
        // The object file must not contain the name of the build directory.
        let directory = b"src/collect/bpf";
        assert!(!made.windows(directory.len()).any(|part| part == directory), "{object}");
    }
}

#[test]
fn a_process_that_executes_from_another_thread_is_found() {
    needs!(HostRoot, Bpf, Program("cc"));
    let dir = tempfile::tempdir().unwrap();
    let program = execute_again(dir.path());
    let running: Vec<_> = (0..3).map(|_| Running::spawn(&mut Command::new(&program))).collect();
    for _ in 0..400 {
        let document = Document::of(&["--collector", "bpf", "--search", "processes"]);
        for it in &running {
            assert_eq!(document.process(it.pid()).pid, it.pid());
        }
        // The document must not show the second thread of these processes as a process.
        let ours = |it: &&Process| it.ppid == Some(std::process::id()) && it.comm == "exe";
        let is_running = |it: &Process| running.iter().any(|running| running.pid() == it.pid);
        assert!(document.processes.iter().filter(ours).all(is_running));
    }
}
