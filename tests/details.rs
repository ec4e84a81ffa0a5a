//! Compares the details that pidns shows for a process (start time, arguments, other namespaces and
//! cgroup) with data that the tests read from /proc.

mod common;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};

use common::Need::*;
use common::*;

/// Reads the start time of a process, field 22 of `/proc/PID/stat`.
fn start_time(pid: u32) -> u64 {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).expect("exists");
    let stat = String::from_utf8_lossy(&stat).into_owned();
    let (_, after) = stat.rsplit_once(')').expect("has a name");
    after.split_whitespace().nth(19).expect("has 52 fields").parse().expect("a number")
}

/// Reads the namespaces of a process other than its PID namespaces. Returns a map from type to
/// inode.
fn other_namespaces(pid: u32) -> BTreeMap<String, u64> {
    let types = ["cgroup", "ipc", "mnt", "net", "time", "user", "uts"];
    let inode = |kind: &str| {
        let link = link(format!("/proc/{pid}/ns/{kind}"))?;
        let inode = link.strip_prefix(kind)?.strip_prefix(":[")?.strip_suffix(']')?.parse();
        Some((kind.to_owned(), inode.expect("a number")))
    };
    types.into_iter().filter_map(inode).collect()
}

/// Shell script that prints `ready`, and then waits for a `sleep`.
const WAIT: &str = "echo ready; sleep 600 & wait";

/// Starts a `sleep`.
fn sleeper() -> Running {
    let sleeper = Running::spawn(Command::new("sleep").arg("600"));
    until("the process sleeps", || comm(sleeper.pid()) == "sleep");
    sleeper
}

#[test]
fn every_process_has_its_start_time() {
    // `/proc/PID/stat` has the name in parentheses. This name looks like the rest of that line.
    let script = "printf 'a) R 1 2' > /proc/$$/comm; echo ready; sleep 600 & wait";
    let mut command = Command::new("bash");
    let (named, _) = start_command(command.args(["-c", script]));
    let sleeper = sleeper();
    let document = Document::of(&[]);
    for process in &document.processes {
        assert!(process.start_time.is_some(), "{process:?}");
        assert_eq!((&process.args, &process.namespaces, &process.cgroup), (&None, &None, &None));
    }
    assert_eq!(document.details, [""; 0]);
    for pid in [named.pid(), sleeper.pid(), std::process::id()] {
        assert_eq!(document.process(pid).start_time, Some(start_time(pid)), "{pid}");
    }
    assert!(
        document.processes.iter().any(|it| it.comm == "pidns"),
        "pidns's own start time is read too"
    );
    // With `--search processes`, pidns is faster because it does not read start times.
    let document = Document::of(&["--search", "processes"]);
    assert!(document.processes.iter().all(|process| process.start_time.is_none()));
    let document = Document::of(&["--search", "children"]);
    assert_eq!(document.process(sleeper.pid()).start_time, Some(start_time(sleeper.pid())));
}

#[test]
fn details_match_the_process() {
    needs!(Namespaces);
    let arguments: [&[u8]; 5] = [b"-c", WAIT.as_bytes(), b"", b"b\xffc", b"new\nline"];
    let mut command = Command::new("bash");
    let (shell, _) = start_command(command.args(arguments.map(OsStr::from_bytes)));
    let mut command = Command::new("unshare");
    let (inside, _) = start_command(command.args(["-mu", "bash", "-c", WAIT]));
    let mut zombie = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
    until("the process has exited", || status(zombie.id(), "State")[0] == "Z");

    let document = Document::of(&["--details", "all", "--search", "processes"]);
    assert_eq!(document.details, ["args", "namespaces", "cgroup"]);
    assert_eq!(
        document.process(shell.pid()).args.as_deref().unwrap(),
        ["bash", "-c", WAIT, "", "b\u{fffd}c", "new\nline"]
    );
    let (host, own) = (document.process(shell.pid()), document.process(inside.pid()));
    for process in [host, own] {
        assert_eq!(process.namespaces, Some(other_namespaces(process.pid)));
        let cgroup = process.cgroup.as_deref().unwrap();
        let cgroups = std::fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap();
        assert!(cgroups.lines().any(|it| it.splitn(3, ':').nth(2) == Some(cgroup)), "{cgroup}");
    }
    let kinds = |it: &Process| it.namespaces.as_ref().unwrap().clone();
    assert_ne!(kinds(host)["mnt"], kinds(own)["mnt"]);
    assert_eq!(kinds(host)["user"], kinds(own)["user"]);
    // For a zombie, the kernel shows no arguments, and no namespaces other than the user namespace.
    let ended = document.process(zombie.id());
    assert_eq!(ended.args, Some(vec![]));
    assert_eq!(ended.namespaces, Some(other_namespaces(zombie.id())));
    assert_eq!(kinds(ended).into_keys().collect::<Vec<_>>(), ["user"]);
    zombie.wait().unwrap();

    let document = Document::of(&["--details", "cgroup,args"]);
    assert_eq!(document.details, ["args", "cgroup"]);
    assert!(document.processes.iter().all(|process| process.namespaces.is_none()));
    assert!(document.process(shell.pid()).cgroup.is_some());
}

#[test]
fn a_long_command_line_is_truncated_with_a_diagnostic() {
    let long = "x".repeat(20_000);
    let mut command = Command::new("bash");
    let (shell, _) = start_command(command.args(["-c", WAIT, &long, &long]));
    let document = Document::of(&["--details", "args", "--search", "processes"]);
    let args = document.process(shell.pid()).args.as_ref().unwrap();
    assert_eq!((args.len(), &args[3]), (5, &long));
    assert_eq!(args.iter().map(String::len).sum::<usize>() + args.len() - 1, 32 * 1024);
    let cut = document.diagnostic("args-cut").unwrap();
    assert!(cut.pids.contains(&shell.pid()));
    assert!(cut.message.ends_with("truncated to 32 KiB or 2,048 arguments"), "{}", cut.message);
    assert!(!document.complete);
}

#[test]
fn a_command_line_of_many_arguments_is_truncated_with_a_diagnostic() {
    for (arguments, is_cut) in [(2048 - 3, false), (2048 - 2, true), (30_000, true)] {
        let mut command = Command::new("bash");
        command.args(["-c", WAIT]).args(std::iter::repeat_n("", arguments));
        let (shell, _) = start_command(&mut command);
        let document = Document::of(&["--details", "args", "--search", "processes"]);
        let args = document.process(shell.pid()).args.as_ref().unwrap();
        assert_eq!(args.len(), (arguments + 3).min(2048));
        let cut = document.diagnostic("args-cut");
        assert_eq!(cut.is_some_and(|it| it.pids.contains(&shell.pid())), is_cut, "{arguments}");
    }
}

#[test]
fn unreadable_details_are_null_with_a_diagnostic() {
    needs!(Namespaces);
    let sleeper = sleeper();
    let arguments = ["-f", "json", "--search", "processes", "--details", "all"];
    let output = as_nobody(&arguments);
    let document = Document::read(&stdout(&output));
    let process = document.process(sleeper.pid());
    assert_eq!(process.namespaces, None);
    assert_eq!(process.args.as_deref().unwrap(), ["sleep", "600"]);
    assert!(process.cgroup.is_some());
    let said = document.diagnostic("other-namespaces-unreadable").unwrap();
    assert_eq!(said.errno.as_deref(), Some("EACCES"));
    assert!(said.pids.contains(&sleeper.pid()) && !document.complete);
    // Even without privileges, pidns may read the details of its own process.
    let mut children = document.processes.iter().filter(|it| it.ppid == Some(std::process::id()));
    let own = children.find(|it| {
        it.args.as_ref().is_some_and(|args| args.ends_with(&arguments.map(str::to_owned)))
    });
    let own = own.expect("pidns shows itself");
    assert!(own.namespaces.is_some() && !said.pids.contains(&own.pid));
}

#[test]
fn processes_that_exit_or_call_exec_are_read_completely_or_omitted() {
    needs!(NamespaceOfItsOwn);
    // One process calls exec over and over. A second process starts children that exit at once.
    let again = "exec bash -c \"$0\" \"$0\" again";
    let mut command = Command::new("bash");
    let executing = Running::spawn(command.args(["-c", again, again, "again"]));
    let mut command = Command::new("bash");
    let starting =
        Running::spawn(command.args(["-c", "while ((SECONDS < 300)); do /bin/true; done"]));
    let since = [executing.pid(), starting.pid()].map(start_time);
    let arguments = ["bash", "-c", again, again, "again"].map(str::to_owned);
    for _ in 0..25 {
        let document = Document::of(&["--details", "all"]);
        for process in &document.processes {
            assert!(process.start_time.is_some() && process.args.is_some(), "{process:?}");
            assert!(process.cgroup.is_some(), "{process:?}");
        }
        let (one, other) = (executing.pid(), starting.pid());
        assert_eq!(document.process(one).args.as_deref(), Some(&arguments[..]));
        assert_eq!([one, other].map(|pid| document.process(pid).start_time), since.map(Some));
        assert_eq!(document.process(one).namespaces.as_ref().map(BTreeMap::len), Some(7));
        for code in ["start-time", "args", "other-namespaces", "cgroup"] {
            let said = document.diagnostic(&format!("{code}-unreadable"));
            assert!(said.is_none_or(|it| !it.pids.iter().any(|&pid| pid >= one)), "{said:?}");
        }
    }
}

/// Runs pidns with these arguments, and returns the PIDs of all processes in the document.
fn shown(arguments: &[&str]) -> Vec<u32> {
    let document = Document::of(arguments);
    document.processes.iter().map(|process| process.pid).collect()
}

#[test]
fn finds_containers_that_share_a_namespace_by_their_processes() {
    const ONE: &str = "feed1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04defeed";
    const TWO: &str = "f00d1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04def00d";
    const POD: &str = "fab7b810-9dad-11d1-80b4-00c04fd43fab";

    needs!(Initial("cgroup"));
    let (_pod, pause) = container(&format!("{SLEEP} {SLEEP} echo ready; wait"));
    let members = children(pause);
    // A container process in the host's PID namespace, as in a pod with `hostPID`.
    let outside = sleeper();
    let path = |id: &str| format!("kubepods/burstable/pod{POD}/{id}");
    let _pause = Cgroup::of("pause", "lxc/pidns-pause", pause);
    let _one = Cgroup::of("one", &path(ONE), members[0]);
    let _two = Cgroup::of("two", &path(TWO), members[1]);
    let _host = Cgroup::of("host", &format!("docker/{ONE}"), outside.pid());

    // `--container` reads the cgroup of each process, so the document contains the cgroups.
    let document = Document::of(&["--container", &ONE[..10]]);
    assert_eq!(document.details, ["cgroup"]);
    assert_eq!(document.process(members[0]).cgroup.as_deref(), Some(&*format!("/{}", path(ONE))));
    assert_eq!(document.selected[0].by, "container");
    assert_eq!(document.home(members[0]).member_count, 3);
    let mut both = [members[0], outside.pid()];
    both.sort_unstable();
    assert_eq!(shown(&["--container", &ONE[..10]]), both);
    assert_eq!(shown(&["--container", &ONE.to_uppercase(), "--depth", "0"]), [outside.pid()]);
    let mut pod = [members[0], members[1]];
    pod.sort_unstable();
    assert_eq!(shown(&["--container", &POD.to_uppercase()[..13]]), pod);
    assert_eq!(shown(&["--container", TWO]), [members[1]]);
    let mut whole = [pause, members[0], members[1]];
    whole.sort_unstable();
    assert_eq!(
        shown(&["--container", "pidns-pause"]),
        whole,
        "the container of the init includes all members"
    );

    // Text shows cgroups only on request.
    let text = |more: &[&str]| {
        stdout(&pidns(&[&["-q", "--ascii", "--no-fold", "--container", &ONE[..10]], more].concat()))
    };
    let cgroup = format!("cgroup /{}", path(ONE));
    assert!(!text(&[]).contains("cgroup /"), "{}", text(&[]));
    let requested = text(&["--details", "cgroup"]);
    assert!(requested.contains(&cgroup), "{requested}");

    // A saved document may lack cgroups, and `--container` then finds fewer processes.
    let dir = tempfile::tempdir().unwrap();
    let saved = |name: &str, arguments: &[&str]| {
        let path = dir.path().join(name);
        let all = [&["-q", "-f", "json"], arguments].concat();
        std::fs::write(&path, stdout(&pidns(&all))).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let (with, without) = (saved("with", &["--details", "cgroup"]), saved("without", &[]));
    assert_eq!(shown(&["-i", &with, "--container", TWO]), [members[1]]);
    assert_eq!(shown(&["-i", &without, "--container", "pidns-pause"]), whole);
    let output = pidns(&["-i", &without, "--container", "pidns-pause"]);
    let warning = "pidns: the document has no cgroups, so --container may miss members of shared namespaces\n";
    assert!(String::from_utf8_lossy(&output.stderr).starts_with(warning), "{output:?}");
    let output = pidns(&["-q", "-i", &without, "--container", TWO]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
}

#[test]
fn text_names_the_partners_with_which_a_namespace_shares_others() {
    needs!(Namespaces);
    let sleeping = "unshare -pf --kill-child sleep 600 & ";
    let script =
        format!("{sleeping} {sleeping} unshare -pf -iu --kill-child sleep 600 & echo ready; wait");
    let mut command = Command::new("unshare");
    let (shell, _) = start_command(command.args(["-nm", "bash", "-c", &script]));
    let inits = || children(shell.pid()).into_iter().flat_map(children).collect::<Vec<_>>();
    until("all sleep", || inits().iter().filter(|&&pid| comm(pid) == "sleep").count() == 3);
    let inits = inits();
    let [one, two, three] = [0, 1, 2].map(|index| namespace_of(inits[index]));
    let arguments = ["-q", "--details", "namespaces"];
    let line = |text: &str, id: &str| {
        let found = text.lines().find(|line| line.contains(&format!("─ {id}  ")));
        found.unwrap_or_else(|| panic!("no {id} in {text}")).to_owned()
    };
    let text = stdout(&pidns(&arguments));
    // The first in the order of their IDs is named.
    let mut ids = [&one, &two, &three];
    ids.sort_unstable();
    for (id, other) in [(ids[0], ids[1]), (ids[1], ids[0]), (ids[2], ids[0])] {
        let expected = format!("; shares net, mnt with {other} and 1 more");
        assert!(line(&text, id).ends_with(&expected), "{}", line(&text, id));
    }
    // The namespaces of the host are known by their inodes, if the test runs in them.
    let is_initial = |kind: &str| {
        let inode = other_namespaces(std::process::id())[kind];
        inode < 0xF000_0000
    };
    if is_initial("ipc") && is_initial("uts") {
        assert!(line(&text, &one).contains("; shares ipc, uts with the host; "), "{text}");
        assert!(!line(&text, &three).contains("host"), "{text}");
    }
    // A filter that hides the partners does not hide that they share.
    let part = [&arguments[..], &["--members", "none", "--root", &one]].concat();
    let part = stdout(&pidns(&part));
    assert!(part.lines().next().unwrap().contains("; shares net, mnt with "), "{part}");
    let picture = stdout(&pidns(&[&arguments[..], &["-f", "dot"]].concat()));
    assert!(!picture.contains("shares"));
}

#[test]
fn a_holder_has_its_name_even_if_its_process_is_filtered_out() {
    needs!(Namespaces);
    let shell = unshared("/bin/true;");
    let json = stdout(&pidns(&["-q", "-f", "json", "--members", "none"]));
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(document["processes"], serde_json::json!([]));
    let namespaces = document["namespaces"].as_array().unwrap();
    let mut holders = namespaces.iter().flat_map(|it| it["holders"].as_array().unwrap());
    let holder =
        holders.find(|it| it["pid"] == shell.pid()).expect("holds the namespace that it unshared");
    assert_eq!(holder["comm"], "sleep");
}
