//! Tests filters on the live host and on saved documents.

mod common;

use std::fs;
use std::process::{Command, Stdio};

use clap::ValueEnum as _;
use common::Need::*;
use common::*;
use pidns::emit::Format;
use rustix::process::Signal;

/// Returns the namespaces of these inits, each with its members. Ignores the other namespaces in
/// the document, which may belong to tests that run at the same time.
fn ours(document: &Document, inits: &[u32]) -> Vec<(String, Vec<u32>)> {
    let ids: Vec<_> = inits.iter().map(|&init| namespace_of(init)).collect();
    let ours = document.namespaces.iter().filter(|namespace| ids.contains(&namespace.id));
    ours.map(|namespace| (namespace.id.clone(), namespace.members.clone())).collect()
}

#[test]
fn a_pid_shows_only_its_branch() {
    needs!(Namespaces);
    let (_nest, inits) = nest(3);
    let sleep = sleep_of(inits[1]);
    let document = Document::of(&[&sleep.to_string()]);
    let expected = [(namespace_of(inits[0]), vec![]), (namespace_of(inits[1]), vec![sleep])];
    assert_eq!(ours(&document, &inits), expected);
    assert_eq!(document.namespaces.len(), 3, "the host's namespace and these two");
    assert_eq!(document.processes.len(), 1);
    assert_eq!(document.selected[0].by, "pid");
    assert_eq!(document.selected[0].values, [sleep.to_string()]);
    let counts: Vec<_> = document.namespaces[1..].iter().map(|it| it.member_count).collect();
    assert_eq!(counts, [3, 3], "an init, its sleep and its unshare");
    let text = stdout(&pidns(&["-q", &sleep.to_string()]));
    let numbers: Vec<_> = nspid(sleep).iter().map(u32::to_string).collect();
    assert!(text.contains(&format!("      └─ {} sleep\n", numbers.join(" → "))), "{text}");
    assert!(text.contains(&format!("  init {}, 3 processes (1 shown)\n", inits[1])), "{text}");
}

#[test]
fn root_accepts_every_form_of_a_namespace() {
    needs!(Namespaces);
    let (_nest, inits) = nest(3);
    let id = namespace_of(inits[1]);
    let inode = id.trim_start_matches("pid:[").trim_end_matches(']').to_owned();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ns");
    fs::write(&file, "").unwrap();
    let proc_file = proc_file(inits[1]);
    let bind = "mount --bind $1 $2; $3 -q -f json --root $2; umount -l $2";
    let arguments = [proc_file.as_str(), file.to_str().unwrap(), PIDNS];
    let bound = stdout(&run(&mut in_mount_namespace(bind, &arguments)));
    let mut documents = vec![Document::read(&bound)];
    let of = format!("@{}", sleep_of(inits[1]));
    for root in [&id, &inode, &of, &proc_file] {
        documents.push(Document::of(&["--root", root]));
    }
    for document in documents {
        assert_eq!(document.roots, std::slice::from_ref(&id));
        let expected: Vec<_> = inits[1..]
            .iter()
            .map(|&init| (namespace_of(init), [vec![init], children(init)].concat()))
            .collect();
        assert_eq!(ours(&document, &inits), expected);
        assert_eq!(document.namespaces.len(), 2);
        assert_eq!(document.namespaces[0].level, Some(0));
        let selected = &document.selected[0];
        assert_eq!((selected.by.as_str(), &selected.values), ("root", &vec![id.clone()]));
    }
}

#[test]
fn a_namespace_is_found_by_the_id_that_the_kernel_never_reuses() {
    needs!(Namespaces, Program("python3"));
    let (_nest, inits) = nest(2);
    // NS_GET_ID, since Linux 6.18.
    let script = "import fcntl, struct, sys; ns = open(sys.argv[1]); \
                  print(struct.unpack('Q', fcntl.ioctl(ns, 0x8008b70d, bytes(8)))[0])";
    let output = run(Command::new("python3").args(["-c", script, &proc_file(inits[1])]));
    if !output.status.success() {
        say_skipped("a_namespace_is_found_by_the_id…", "this kernel has no NS_GET_ID");
        return;
    }
    let root = format!(":{}", stdout(&output).trim());
    let document = Document::of(&["--root", &root]);
    assert_eq!(document.roots, [namespace_of(inits[1])]);
    let translated = stdout(&pidns(&["translate", "1", "--from", &root]));
    assert_eq!(translated, format!("{}\n", inits[1]));
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("saved");
    fs::write(&saved, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let saved = saved.to_str().unwrap();
    assert_eq!(Document::of(&["-i", saved, "--root", &root]).roots, document.roots);
    let output = pidns(&["-i", saved, "--root", ":18446744073709551615"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let expected = "pidns: no namespace with ns_id 18446744073709551615";
    assert!(stderr.starts_with(expected), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

/// Returns the path of a process's PID namespace.
fn proc_file(pid: u32) -> String {
    format!("/proc/{pid}/ns/pid")
}

#[test]
fn filters_give_the_same_result_live_and_replayed() {
    needs!(Namespaces);
    let (_nest, inits) = nest(3);
    let sleeps: Vec<_> = inits.iter().map(|&init| sleep_of(init)).collect();
    let (sleep, outer) = (sleeps[2].to_string(), namespace_of(inits[0]));
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("saved.json");
    // Do not search for holders: the pidns of another test may hold a namespace for a moment.
    let search = ["--search", "processes", "-q"];
    fs::write(&saved, stdout(&pidns(&[&search[..], &["-f", "json"]].concat()))).unwrap();
    let saved = saved.to_str().unwrap();
    for selection in [
        &[sleep.as_str()][..],
        &["--comm", "sl??p"],
        &["--depth", "1"],
        &["--depth", "0", "--members", "none"],
        &["--members", "init"],
        &["--user", "root", "--comm", "unshare"],
        &["--user", "0", "--comm", "[!s]*"],
        &["--state", "live", "--comm", "bash"],
    ] {
        // Show only the namespaces of this test.
        let arguments = [&["--root", outer.as_str()], selection].concat();
        let live = [&search[..], arguments.as_slice()].concat();
        let replayed = [&["-i", saved], arguments.as_slice()].concat();
        for format in ["text", "dot"] {
            let run = |arguments: &[&str]| {
                let text = stdout(&pidns(&[&["-f", format], arguments].concat()));
                // Omit the title of a DOT picture, since it contains the time, and the command at
                // the end of the text, since only a live namespace can be entered.
                let (text, _) = text.split_once("\n[ \"$(readlink ").unwrap_or((&text, ""));
                let lines = text.lines().filter(|line| !line.contains("<b>PID namespaces"));
                lines.map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(run(&live), run(&replayed), "{arguments:?}");
        }
        let run = |arguments: &[&str]| {
            Document::read(&stdout(&pidns(&[&["-f", "json"], arguments].concat())))
        };
        let (live, replayed) = (run(&live), run(&replayed));
        assert_eq!(live.namespaces, replayed.namespaces, "{arguments:?}");
        assert_eq!(live.processes, replayed.processes, "{arguments:?}");
        assert_eq!(live.selected, replayed.selected, "{arguments:?}");
        // pidns must read its own filtered document, and write it again unchanged.
        let selected =
            stdout(&pidns(&[&["-i", saved, "-f", "json"], arguments.as_slice()].concat()));
        let again =
            pipe(Command::new(PIDNS).args(["-q", "-i", "-", "-f", "json"]), selected.as_bytes());
        assert_eq!(selected, again, "{arguments:?}");
        let text = stdout(&pidns(&[&["-i", saved], arguments.as_slice()].concat()));
        let again = pipe(Command::new(PIDNS).args(["-q", "-i", "-"]), selected.as_bytes());
        assert_eq!(text, again, "{arguments:?}");
    }
}

#[test]
fn dead_namespaces_are_shown_with_their_holders() {
    needs!(Namespaces);
    let shell = unshared("/bin/true;");
    let document = Document::of(&["--state", "dead"]);
    let holder = document.process(shell.pid());
    assert_eq!(holder.comm, "sleep");
    let by_shell = Holder::PidForChildren { pid: shell.pid(), tid: shell.pid() };
    let mut dead = document.namespaces.iter().filter(|it| it.state == "dead");
    assert!(dead.any(|it| it.holders.contains(&by_shell)), "{document:?}");
    let text = stdout(&pidns(&["-q", "--state", "dead"]));
    assert!(
        text.contains(&format!("kept by {} sleep: its children would start here\n", shell.pid())),
        "{text}"
    );
}

#[test]
fn a_shell_that_cannot_fork_shows_why() {
    needs!(Namespaces);
    let shell = unshared("/bin/true;");
    let text = stdout(&pidns(&["-q", &shell.pid().to_string()]));
    let kept = format!("kept by {} sleep: its children would start here\n", shell.pid());
    let dead: Vec<_> = text.lines().filter(|line| line.contains("  DEAD: ")).collect();
    assert_eq!(dead.len(), 1, "{text}");
    assert!(text.contains(&kept), "{text}");
    assert!(text.contains("fails with \"Cannot allocate memory\" (ENOMEM).\n"), "{text}");
}

#[test]
fn names_the_pids_that_do_not_exist() {
    let output = pidns(&["1", "4000000", "4000001"]);
    assert_eq!(output.status.code(), Some(0));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("pidns: no process 4000000 4000001\n"), "{stderr}");
    assert!(pidns(&["-q", "1", "4000000"]).stderr.is_empty());
}

#[test]
fn no_match_is_one_line_and_status_1() {
    let gone = Command::new("true").stdout(Stdio::null()).spawn().unwrap();
    let pid = gone.id().to_string();
    drop(gone.wait_with_output());
    let of = format!("@{pid}");
    for (arguments, expected) in [
        (&[pid.as_str()][..], format!("pidns: no process {pid}\n")),
        (&["--root", &of], format!("pidns: no process {pid}\n")),
        (&["--root", "5"], "pidns: no namespace pid:[5]".to_owned()),
        (&["--comm", "no*one"], "pidns: nothing matches comm no*one".to_owned()),
        (
            &["--state", "live", "--container", "?"],
            "pidns: nothing matches container ? and state live".to_owned(),
        ),
    ] {
        for format in Format::ALL.iter().filter_map(Format::to_possible_value) {
            let output = pidns(&[arguments, &["-f", format.get_name()]].concat());
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}");
            assert!(output.stdout.is_empty(), "{arguments:?}");
            assert!(stderr.starts_with(&expected), "{stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
    }
    let output = pidns(&["--root", "5"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.ends_with("; that of process 5 is @5\n"), "{stderr}");
}

#[test]
fn an_invalid_namespace_gets_one_line_and_status_2() {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("saved");
    fs::write(&saved, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let saved = saved.to_str().unwrap();
    for (arguments, expected) in [
        (
            &["--root", "/etc/passwd"][..],
            "pidns: cannot use /etc/passwd: not a PID namespace\n".to_owned(),
        ),
        (
            &["--root", "/proc/self/ns/mnt"],
            "pidns: cannot use /proc/self/ns/mnt: not a PID namespace\n".to_owned(),
        ),
        (
            &["--root", "/no/such"],
            "pidns: cannot read /no/such: No such file or directory (os error 2)\n".to_owned(),
        ),
        (
            &["-i", saved, "--root", "/proc/self/ns/pid"],
            format!(
                "pidns: cannot look for /proc/self/ns/pid in {saved}: \
                 a path names a namespace of this host\n"
            ),
        ),
    ] {
        let output = pidns(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    }
}

#[test]
fn a_filter_shows_the_parents_of_zombies_and_of_injected_processes() {
    needs!(Namespaces);
    let (_nest, inits) = nest(1);
    let injector = inject(inits[0], &["sleep", "600"], 1);
    let injected = injected_by(&injector)[0];
    let entered = format!("sleep, entered by {} nsenter\n", injector.pid());
    let root = format!("@{}", inits[0]);
    let pid = injected.to_string();
    for selection in [&["--root", root.as_str()][..], &["--comm", "sleep"], &[pid.as_str()]] {
        let text = stdout(&pidns(&[&["-q", "--no-fold"], selection].concat()));
        assert!(text.contains(&entered), "{selection:?}: {text}");
        let document = Document::of(selection);
        assert!(!document.processes.iter().any(|it| it.pid == injector.pid()), "{selection:?}");
    }
    stop(injector.pid());
    kill(injected, Signal::KILL);
    until("the injected process is a zombie", || status(injected, "State")[0] == "Z");
    let text = stdout(&pidns(&["-q", &pid]));
    let zombie = format!("sleep, zombie of {} nsenter\n", injector.pid());
    assert!(text.contains(&zombie), "{text}");
    // The document also contains the process that must reap the zombie.
    let document = Document::of(&[&pid]);
    let pids: Vec<_> = document.processes.iter().map(|it| it.pid).collect();
    assert_eq!(pids, [injector.pid(), injected]);
}

/// A `sleep` with one more variable in its environment, and its own child.
fn sleeping_with(variable: &str, value: &str) -> Running {
    let mut command = Command::new("sleep");
    let running = Running::spawn(command.arg("600").env(variable, value));
    until("the process sleeps", || comm(running.pid()) == "sleep");
    running
}

#[test]
fn an_environment_of_more_than_two_mebibytes_is_unreadable() {
    needs!(NamespaceOfItsOwn);
    for (strings, is_read) in [(15, true), (17, false)] {
        let script = "ulimit -Ss unlimited; long=$(printf %0131000d 0); \
             for ((i = 0; i < $1; i++)); do export V$i=$long; done; exec env LAST=1 sleep 600";
        let mut command = Command::new("bash");
        let running = Running::spawn(command.args(["-c", script, "bash", &strings.to_string()]));
        until("the process sleeps", || comm(running.pid()) == "sleep");
        let output = pidns(&["-q", "-f", "json", "--search", "processes", "--env", "LAST=1"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), is_read, "{stderr}");
        if is_read {
            let document = Document::read(&stdout(&output));
            assert!(document.find_process(running.pid()).is_some());
        } else {
            let document = Document::of(&["--search", "processes", "--env", "PATH"]);
            let said = document.diagnostic("environment-unreadable").expect("is reported");
            assert_eq!(said.errno.as_deref(), Some("EFBIG"));
            assert!(said.pids.contains(&running.pid()));
        }
    }
}

/// Python program that starts 200 processes without a stack, which therefore have neither an
/// environment nor a command line.
const WITHOUT_STACK: &str = "
import ctypes, os, signal, threading
libc = ctypes.CDLL(None)
libc.munmap.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
stack = next(line for line in open('/proc/self/maps') if '[stack]' in line)
start, end = (int(it, 16) for it in stack.split()[0].split('-'))
def start_all():
    for _ in range(200):
        if os.fork() == 0:
            libc.prctl(1, signal.SIGKILL)
            libc.munmap(start, end - start)
            signal.pause()
    print('ready', flush=True)
thread = threading.Thread(target=start_all)
thread.start()
thread.join()
signal.pause()
";

#[test]
fn processes_without_a_command_line_cost_little_time() {
    needs!(NamespaceOfItsOwn, Program("python3"), Program("strace"));
    let (python, _) = start_command(Command::new("python3").args(["-c", WITHOUT_STACK]));
    let is_empty = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap().is_empty();
    until("the stacks are gone", || children(python.pid()).iter().all(is_empty));
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=nanosleep,clock_nanosleep", "-o"]).arg(&log);
    let output = run(command.args([PIDNS, "-q", "--env", "CI_JOB_ID=s3cret-8"]));
    assert_eq!(output.status.code(), Some(1), "nothing matches");
    let pauses = || std::fs::read_to_string(&log).unwrap().lines().count();
    assert!(pauses() < 100, "{}", pauses());
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=nanosleep,clock_nanosleep", "-o"]).arg(&log);
    stdout(&run(command.args([PIDNS, "-q", "--details", "args"])));
    assert!(pauses() < 300, "{}", pauses());
}

#[test]
fn env_tells_the_jobs_of_a_shared_host_apart() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let before = dir.path().join("before").to_str().unwrap().to_owned();
    fs::write(&before, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let mine = sleeping_with("CI_JOB_ID", "s3cret-7");
    let other = sleeping_with("CI_JOB_ID", "8");
    let similar = sleeping_with("CI_JOB_IDS", "s3cret-7");
    let shown = |arguments: &[&str]| {
        let document = Document::of(arguments);
        document.processes.iter().map(|it| it.pid).collect::<Vec<_>>()
    };
    assert_eq!(shown(&["--env", "CI_JOB_ID=s3cret-7"]), [mine.pid()]);
    assert_eq!(shown(&["--env", "CI_JOB_ID"]), [mine.pid(), other.pid()]);
    assert_eq!(shown(&["--env", "CI_JOB_IDS"]), [similar.pid()]);
    // The value is neither shown nor saved, in any format.
    for format in Format::ALL.iter().filter_map(Format::to_possible_value) {
        let output = pidns(&["-f", format.get_name(), "--env", "CI_JOB_ID=s3cret-7"]);
        let all = stdout(&output) + &String::from_utf8_lossy(&output.stderr);
        assert!(!all.contains("s3cret"), "{all}");
    }
    let document = Document::of(&["--env", "CI_JOB_ID=s3cret-7"]);
    let selected = &document.selected[0];
    assert_eq!((&*selected.by, &selected.values[..]), ("env", &["CI_JOB_ID".to_owned()][..]));
    let none = pidns(&["--env", "CI_JOB_ID=s3cret-9"]);
    assert_eq!(none.status.code(), Some(1));
    let said = String::from_utf8(none.stderr).unwrap();
    assert!(said.starts_with("pidns: nothing matches env CI_JOB_ID"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");

    let leftovers = |arguments: &[&str]| {
        let output =
            pidns(&[&["check", "-q", "--since", &before, "-f", "json"], arguments].concat());
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let denied = report["findings"].as_array().unwrap().iter();
        denied
            .filter_map(|it| Some(u32::try_from(it["pid"].as_u64()?).unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(leftovers(&["--env", "CI_JOB_ID=s3cret-7"]), [mine.pid()]);
    assert_eq!(leftovers(&["--env", "CI_JOB_ID=9"]), [0; 0]);
    let rule = "leftover-process:env=CI_JOB_ID=8,leftover-process:env=CI_JOB_IDS";
    assert_eq!(leftovers(&["--allow", rule]), [mine.pid()]);
    let diff = pidns(&["diff", "-q", "--env", "CI_JOB_ID=s3cret-7", "-f", "json", &before]);
    let diff: serde_json::Value = serde_json::from_slice(&diff.stdout).unwrap();
    let came: Vec<_> = diff["processes"].as_array().unwrap().iter().map(|it| &it["pid"]).collect();
    assert_eq!(came, [mine.pid()]);
    // A process of this job has a descriptor of a namespace that another job has made.
    let script = "CI_JOB_ID=8 unshare -pf sleep 600 2> /dev/null & \
                  until read -rd ' ' init < /proc/$!/task/$!/children; do :; done; \
                  exec 9< /proc/$init/ns/pid; CI_JOB_ID=10 sleep 600 & exec 9<&-; \
                  kill -KILL $init; echo ready; wait";
    let (_jobs, _) = start(script);
    until("the namespace is dead", || {
        pidns(&["check", "-q", "--deny", "dead-namespace"]).status.code() == Some(1)
    });
    let check = ["check", "-q", "--since", &before, "--env", "CI_JOB_ID=10"];
    let text = String::from_utf8(pidns(&check).stdout).unwrap();
    assert!(text.ends_with("\n1 denied.\n") && text.contains(" sleep "), "{text}");
}

#[test]
fn env_needs_the_live_host() {
    needs!(Namespaces);
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("saved").to_str().unwrap().to_owned();
    fs::write(&saved, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    for arguments in [
        &["-i", &saved, "--env", "A"][..],
        &["check", "-i", &saved, "--env", "A"],
        &["check", "-i", &saved, "--allow", "zombie:env=A"],
        &["diff", &saved, &saved, "--env", "A"],
    ] {
        let output = pidns(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b""[..]), "{said}");
        assert!(said.contains("documents contain no environments"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let output = pidns(&["--env", "=1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not NAME or NAME=VALUE"));
}

#[test]
fn an_environment_that_cannot_be_read_is_a_diagnostic() {
    needs!(Namespaces);
    let running = sleeping_with("CI_JOB_ID", "7");
    let output = as_nobody(&["-q", "-f", "json", "--env", "CI_JOB_ID"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("in this view, which is incomplete"), "{error}");
    // The process of the ordinary user itself can be read.
    let (_dir, program) = public_copy();
    let mut words = nobody().split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words).arg(&program).args(["-q", "-f", "json", "--env", "OWN"]).env("OWN", "1");
    let document = Document::read(&stdout(&run(&mut command)));
    let diagnostic = document.diagnostic("environment-unreadable").expect("is reported");
    assert!(diagnostic.pids.contains(&running.pid()), "{diagnostic:?}");
    assert!(!document.complete);
}
