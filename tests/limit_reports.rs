//! Tests the text of `pidns limits`, follows its advice, and checks the limits of processes and
//! cgroups that cannot be read or that go away.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};

use common::Need::*;
use common::*;
use rustix::process::Signal;
use serde_json::Value;

/// Runs a shell script as a user who has no other processes, and then ends the processes that it
/// has left behind. The script can execute pidns as `$0`.
fn as_user_in_shell(uid: u32, prefix: &str, script: &str) -> Output {
    let (_dir, program) = public_copy();
    let words = format!("{} {prefix} bash --norc -c", as_user(uid));
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().expect("a command"));
    command.args(words).args([script, &program]).stdin(Stdio::null()).process_group(0);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let output = child.wait_with_output().expect("ends");
    let _ = rustix::process::kill_process_group(group.expect("is a PID"), Signal::KILL);
    output
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("is text")
}

/// Returns the messages about unknown limits in a document.
fn unknown(output: &Output) -> Vec<String> {
    let document: Value = serde_json::from_slice(&output.stdout).expect("is a document");
    let diagnostics = document["diagnostics"].as_array().unwrap().iter();
    let unknown = diagnostics.filter(|it| it["code"] == "limits-unknown");
    unknown.map(|it| it["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_advice_on_nproc_names_the_process_that_forks() {
    needs!(HostRoot, Program("python3"));
    let limited = format!("prlimit --nproc=7: {}", as_user(54_331));
    let start = |command: &str| {
        let command = format!("{limited} {command}");
        Running::spawn(Command::new("sh").args(["-c", &format!("exec {command}")]))
    };
    let lone = start("sleep 600");
    until("sleep has started", || comm(lone.pid()) == "sleep");
    let mut forker = Forker::start(&limited);
    let pid = forker.child.id();
    assert_eq!(forker.until_refused("fork"), (5, "EAGAIN".to_owned()));
    let advice = |pids: &[&str]| {
        let text = stdout_of_full(&pidns(&[&["limits", "-q"], pids].concat()));
        let full = format!(
            "user 54331 has 7 of 7 tasks (RLIMIT_NPROC); {pid} python3 and its children have 6 of \
             them\n"
        );
        assert!(text.contains(&full), "{text}");
        advice_in(&text, &full[..full.len() - 1])
    };
    let prlimit = |pid: u32, name: &str| {
        format!(
            "prlimit --pid {pid} --nproc=14: # for {pid} {name}; as user 54331, or with \
             CAP_SYS_RESOURCE"
        )
    };
    let end = format!("or end a task of user 54331 (pidns --tree {pid} shows them)");
    assert_eq!(advice(&[]), [prlimit(pid, "python3"), end.clone()]);
    let shown = shown_by(&end);
    let children = children(pid);
    assert_eq!(children.len(), 5);
    assert!(children.iter().all(|it| shown.contains(&it.to_string())), "{shown}");
    let lone_pid = lone.pid().to_string();
    assert_eq!(advice(&[&lone_pid])[0], prlimit(lone.pid(), "sleep"));
    follow(&format!("{} sh -c '{}'", as_user(54_331), prlimit(pid, "python3")));
    assert_eq!(forker.tell("fork"), "ok");
}

#[test]
fn a_shell_that_cannot_fork_can_raise_its_own_nproc() {
    needs!(HostRoot, Initial("pid"));
    let full = "ulimit -S -u 2; sleep 600 > /dev/null 2>&1 &";
    let output = as_user_in_shell(54_332, "", &format!("{full} exec \"$0\" limits -q"));
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with(
            "fork fails with \"Resource temporarily unavailable\" (this shell, too): user 54332 \
             has 2 of 2 tasks (RLIMIT_NPROC)"
        ),
        "{said}"
    );
    let advice = advice_in(&said, "user 54332 has");
    assert_eq!(advice.len(), 2, "{said}");
    let command = advice[0].strip_prefix("in a shell with this limit: ");
    let command = command.unwrap_or_else(|| panic!("{said}"));
    assert_eq!(command, "ulimit -S -u 4 # -p instead of -u in dash and ash");
    let end = "or end a task of user 54332 (pidns --user 54332 --tree shows them)";
    assert_eq!(advice[1], end);
    let mut sleep = Command::new("sh");
    let sleep = sleep.args(["-c", &format!("exec {} sleep 600", as_user(54_332))]);
    let sleep = Running::spawn(sleep);
    until("sleep has started", || comm(sleep.pid()) == "sleep");
    let shown = shown_by(end);
    assert!(shown.contains(&format!("─ {} sleep", sleep.pid())), "{shown}");
    let raised = format!("{full}\n{command}\nsleep 600 > /dev/null 2>&1 &\necho forked");
    let raised = as_user_in_shell(54_333, "", &raised);
    assert_eq!((text(&raised).as_str(), raised.stderr.as_slice()), ("forked\n", &b""[..]));
    // With a low hard limit, neither a shell nor a command of this user can raise the limit.
    let hard = as_user_in_shell(
        54_334,
        "",
        "ulimit -u 2; sleep 600 > /dev/null 2>&1 & exec \"$0\" limits -q",
    );
    let end = "end a task of user 54334 (pidns --user 54334 --tree shows them)";
    assert_eq!(advice_in(&text(&hard), "user 54334 has"), [end]);
}

#[test]
fn a_maximum_of_0_is_full_even_if_the_number_in_use_is_unknown() {
    needs!(HostRoot, UserNamespaces, Program("python3"));
    let file = "/proc/sys/user/max_pid_namespaces";
    let none = format!("echo 0 > {file}; unshare -p true;");
    let limits = |uid: u32, before: &str, arguments: &str| {
        let script = format!("{before} exec \"$0\" limits -q {arguments}");
        as_user_in_shell(uid, "unshare -Ur", &script)
    };
    let output = limits(54_335, &none, "-f json");
    let refused = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(refused, "unshare: unshare failed: No space left on device\n");
    let all = rows(&output);
    let row = find(&all, "max_pid_namespaces", &[("uid", 0.into())]);
    assert_eq!(
        (&row["used"], &row["max"], &row["full"], output.status.code()),
        (&Value::Null, &0.into(), &true.into(), Some(1))
    );
    let said = text(&limits(54_335, &none, ""));
    let full =
        "unshare fails with \"No space left on device\" (this shell, too): user root in user:[";
    assert!(said.starts_with(full), "{said}");
    assert!(said.contains("] may have 0 PID namespaces (user.max_pid_namespaces)\n"), "{said}");
    let command = &advice_in(&said, " may have 0 ")[0];
    let raised = format!("{none} {command}; unshare -p true && echo made");
    assert_eq!(text(&as_user_in_shell(54_335, "unshare -Ur", &raised)), "made\n");

    // RLIMIT_NPROC. The user who is mapped to root here is limited, too.
    let output = limits(54_336, "ulimit -S -u 0;", "-f json");
    let all = rows(&output);
    let row = find(&all, "nproc", &[("uid", 0.into())]);
    assert_eq!((&row["used"], &row["max"], &row["full"]), (&Value::Null, &0.into(), &true.into()));
    let said = text(&limits(54_336, "ulimit -S -u 0;", ""));
    let advice = advice_in(&said, "] may have 0 tasks (RLIMIT_NPROC)");
    let command = advice[0].strip_prefix("in a shell with this limit: ").expect("is advised");
    let raised = format!("ulimit -S -u 0\n{command}\n(echo forked)");
    assert_eq!(text(&as_user_in_shell(54_336, "unshare -Ur", &raised)), "forked\n");
    // The host's root is not limited, even without capabilities in the initial user namespace.
    let mut command = Command::new("unshare");
    let script = "ulimit -S -u 0; (true) && \"$0\" limits -q -f json";
    let output = run(command.args(["-Ur", "bash", "-c", script, PIDNS]));
    assert!(rows(&output).iter().all(|it| it["limit"] != "nproc"), "{output:?}");
}

#[test]
fn a_cgroup_with_a_maximum_of_0_is_full_and_comes_first_for_pidns_in_it() {
    needs!(HostRoot, Initial("cgroup"), Initial("pid"), Program("python3"));
    let Some(cgroup) = PidsCgroup::new() else {
        say_skipped(
            "a_cgroup_with_a_maximum_of_0_is_full_and_comes_first_for_pidns_in_it",
            "the pids controller is not mounted",
        );
        return;
    };
    // RLIMIT_NPROC is checked before the pids controller.
    let mut forker = Forker::start(&format!("prlimit --nproc=2: {}", as_user(54_337)));
    assert_eq!(forker.until_refused("fork"), (1, "EAGAIN".to_owned()));
    cgroup.write("job/pids.max", "0");
    let script = "echo $$ > \"$1\"; exec \"$0\" limits -q";
    let mut shell = Command::new("sh");
    let output = run(shell.args(["-c", script, PIDNS]).arg(cgroup.0.join("job/cgroup.procs")));
    let said = stdout_of_full(&output);
    let path = cgroup.path("/job");
    let first = format!(
        "fork fails with \"Resource temporarily unavailable\" (this shell, too): cgroup {} has 1 \
         of 0 tasks",
        path.as_str().unwrap()
    );
    assert!(said.starts_with(&first), "{said}");
    let other = "fork fails with \"Resource temporarily unavailable\": user 54337 has 2 of 2 tasks";
    assert!(said.contains(other), "{said}");
    let advice = advice_in(&said, &first);
    assert_eq!(advice[0], format!("echo 2 > {}", cgroup.0.join("job/pids.max").display()));
    follow(&advice[0]);
    let procs = cgroup.0.join("job/cgroup.procs");
    let script = "echo $$ > \"$0\" && (echo forked)";
    assert_eq!(stdout(&run(Command::new("sh").args(["-c", script]).arg(&procs))), "forked\n");
}

#[test]
fn a_limit_of_one_task_is_a_problem_only_if_a_fork_was_refused() {
    needs!(HostRoot, Initial("cgroup"), Initial("pid"), Program("python3"));
    let is_problem = |kind: &str, scope: (&str, &Value)| {
        let output = pidns(&["check", "-q", "-f", "json"]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut findings = document["findings"].as_array().unwrap().iter();
        findings.any(|it| it["limit"]["limit"] == kind && it["limit"]["scope"][scope.0] == *scope.1)
    };
    let full = |forker: &Forker, kind: &str, scope: (&str, &Value)| {
        let output = pidns(&["limits", "-q", "-f", "json", &forker.child.id().to_string()]);
        let all = rows(&output);
        let row = find(&all, kind, &[(scope.0, scope.1.clone())]);
        (row["used"].clone(), row["max"].clone(), row["full"].clone())
    };
    let numbers = |used: u64, max: u64| (used.into(), max.into(), Value::from(true));
    let mut forker = Forker::start(&as_user(54_339));
    let user = ("uid", &54_339.into());
    forker.tell("nproc 1");
    assert_eq!(full(&forker, "nproc", user), numbers(1, 1));
    assert!(!is_problem("nproc", user));
    let mut forker = Forker::start(&as_user(54_341));
    let user = ("uid", &54_341.into());
    forker.tell("nproc 2");
    forker.tell("fork");
    assert_eq!(full(&forker, "nproc", user), numbers(2, 2));
    assert!(is_problem("nproc", user));

    let Some(cgroup) = PidsCgroup::new() else {
        say_skipped(
            "a_limit_of_one_task_is_a_problem_only_if_a_fork_was_refused",
            "the pids controller is not mounted",
        );
        return;
    };
    let mut forker = Forker::start(&as_user(54_340));
    let path = cgroup.path("/job");
    let job = ("cgroup", &path);
    cgroup.write("job/pids.max", "1");
    cgroup.write("job/cgroup.procs", &forker.child.id().to_string());
    assert_eq!(full(&forker, "pids_cgroup", job), numbers(1, 1));
    assert!(!is_problem("pids_cgroup", job));
    assert_eq!(forker.until_refused("fork"), (0, "EAGAIN".to_owned()));
    assert_eq!(full(&forker, "pids_cgroup", job), numbers(1, 1));
    assert!(is_problem("pids_cgroup", job));
}

#[test]
fn the_summary_says_first_that_limits_of_this_shell_are_unknown() {
    needs!(HostRoot, Program("setpriv"));
    let said = text(&as_nobody(&["limits", "-q"]));
    let is_summary = |line: &&str| line.contains(" apply to this shell (");
    let summary = said.lines().find(is_summary).expect(&said);
    let known = ["Nothing that could be read is close to a limit", "No limit is known to be full"];
    let (unknown, rest) = summary.split_once("). ").expect(&said);
    assert!(known.iter().any(|known| rest.starts_with(known)), "{said}");
    // The counts of the reasons, each on its own line, add up.
    let (unknown, own) = unknown.split_once(" limits are unknown; ").expect(&said);
    let (own, kinds) = own.split_once(" of them apply to this shell (").expect(&said);
    let counts = said.lines().filter_map(|line| {
        let (count, kind) = line.trim_start().split_once(" of kind ")?;
        let count: u32 = count.split(' ').next()?.parse().ok()?;
        Some((count, kind.split(' ').next()?))
    });
    let counts: Vec<_> = counts.collect();
    assert_eq!(unknown.parse(), Ok(counts.iter().map(|(count, _)| count).sum::<u32>()), "{said}");
    assert!(kinds.split(", ").all(|kind| counts.iter().any(|it| it.1 == kind)), "{said}");
    let kinds = u32::try_from(kinds.split(", ").count()).unwrap();
    assert!(own.parse().is_ok_and(|own: u32| own >= kinds && own > 1), "{said}");
}

#[test]
fn without_root_a_hint_says_that_root_on_the_host_sees_more() {
    needs!(HostRoot, Initial("pid"), Bpf, UserNamespaces);
    let pid = std::process::id().to_string();
    for (arguments, hint) in [
        (vec!["limits", "-q"], "run 'pidns limits' as root on the host to see more"),
        (
            vec!["limits", "-q", &pid],
            "run 'pidns limits PID' as root on the host to see more, with the PID that the process \
             has there",
        ),
    ] {
        let json = [&arguments[..], &["-f", "json"]].concat();
        let unknown = |output: &Output| {
            let document: Value = serde_json::from_slice(&output.stdout).expect("is a document");
            document["unknown"].as_u64().unwrap()
        };
        let inside =
            |arguments: &[&str]| run(Command::new("unshare").args(["-Ur", PIDNS]).args(arguments));
        let said = text(&inside(&arguments));
        assert!(said.lines().any(|line| line == hint), "{said}");
        assert!(unknown(&inside(&json)) > unknown(&pidns(&json)), "{said}");
        let said = text(&pidns(&arguments));
        assert!(!said.contains("to see more"), "{said}");
    }
}

#[test]
fn a_pid_that_a_shell_in_another_namespace_may_have_shown_is_explained() {
    needs!(HostRoot, Initial("pid"));
    let (sleep, _) = start("echo ready; exec sleep 600");
    let pid = sleep.pid();
    until("sleep has started", || comm(pid) == "sleep");
    // Inside, a process gets the PID that `sleep` has outside.
    let script =
        format!("echo {} > /proc/sys/kernel/ns_last_pid; sleep 600 & echo ready; wait", pid - 1);
    let (_container, init) = container(&script);
    until("the process has started", || {
        children(init).first().is_some_and(|&it| comm(it) == "sleep")
    });
    let inside = children(init)[0];
    assert_eq!(nspid(inside), [inside, pid]);
    let said = stdout(&pidns(&["limits", "-q", &pid.to_string()]));
    assert!(said.contains(&format!("\nNo limit of {pid} sleep is ")), "{said}");
    let line = format!(
        "{pid} is also the PID of {inside} sleep in {}; pidns limits {inside}",
        namespace_of(inside)
    );
    assert_eq!(said.lines().last(), Some(&*line));
    let said = stdout(&pidns(&["limits", "-q", &inside.to_string()]));
    assert!(!said.contains("also"), "{said}");
    // The same if no process has this PID outside.
    drop(sleep);
    let output = pidns(&["limits", "-q", &pid.to_string()]);
    let error = format!("pidns: no process {pid} here; {}\n", line.replacen(" also", "", 1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), error);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
}

#[test]
fn no_limit_applies_to_a_kernel_thread() {
    needs!(HostRoot, Initial("pid"));
    let said = stdout(&pidns(&["limits", "-q", "2"]));
    assert!(said.starts_with(&format!("No limit applies to 2 {}.\n", comm(2))), "{said}");
}

#[test]
fn a_process_that_ends_before_its_limits_are_read_does_not_exist() {
    needs!(HostRoot, Initial("pid"), Bpf, Program("strace"));
    for asked in [true, false] {
        let (sleep, _) = start("echo ready; exec sleep 600");
        let pid = sleep.pid().to_string();
        // pidns calls bpf(2) after the scan, before it reads the limits of processes.
        let mut command = Command::new("strace");
        let inject = "inject=bpf:delay_enter=3000000:when=1";
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", inject, PIDNS, "limits"]);
        command.args(["-q", "-f", "json"]).args(asked.then_some(&pid)).stdin(Stdio::null());
        let strace = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // 321 is bpf(2) on x86-64.
        until("pidns waits in bpf(2)", || {
            let tasks = children(strace.id()).into_iter().flat_map(|pid| {
                let tasks = fs::read_dir(format!("/proc/{pid}/task"));
                tasks.into_iter().flatten().flatten().map(|it| it.path())
            });
            let mut calls = tasks.filter_map(|it| fs::read_to_string(it.join("syscall")).ok());
            calls.any(|call| call.starts_with("321 "))
        });
        drop(sleep);
        let output = strace.wait_with_output().unwrap();
        if asked {
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(said, format!("pidns: no process {pid}\n"));
            assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        } else {
            let document: Value = serde_json::from_slice(&output.stdout).unwrap();
            let gone: Value = pid.parse::<u32>().unwrap().into();
            let has = |it: &Value| it["pids"].as_array().unwrap().contains(&gone);
            for list in ["limits", "diagnostics"] {
                assert!(!document[list].as_array().unwrap().iter().any(has), "{document:#}");
            }
        }
    }
}

/// Python program that creates cgroups in the directory `argv[1]`, and removes each one after a
/// process in it has ended. Ends after five minutes.
const CGROUPS_COME_AND_GO: &str = "
import os, signal, sys, time
end = time.monotonic() + 300
print('ready', flush=True)
for number in range(1 << 30):
    if time.monotonic() > end: break
    cgroup = f'{sys.argv[1]}/{number}'
    os.mkdir(cgroup)
    pid = os.fork()
    if pid == 0:
        open(f'{cgroup}/cgroup.procs', 'w').write('0')
        time.sleep(number % 7 / 1000)
        os._exit(0)
    os.waitpid(pid, 0)
    os.rmdir(cgroup)
";

#[test]
fn a_cgroup_that_is_removed_during_the_read_is_left_out() {
    needs!(HostRoot, Initial("cgroup"), Program("python3"));
    let Some(cgroup) = PidsCgroup::new() else {
        let name = "a_cgroup_that_is_removed_during_the_read_is_left_out";
        say_skipped(name, "the pids controller is not mounted");
        return;
    };
    let mut command = Command::new("python3");
    let (maker, _) = start_command(command.args(["-c", CGROUPS_COME_AND_GO]).arg(&cgroup.0));
    for _ in 0..20 {
        let output = pidns(&["limits", "-q", "-f", "json"]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        let unknown = unknown(&output);
        assert!(unknown.iter().all(|it| !it.contains("pids_cgroup")), "{unknown:?}");
    }
    assert_ne!(status(maker.pid(), "State")[0], "Z", "cgroups came and went until now");
}

#[test]
fn a_cgroup_that_may_not_be_read_is_unknown() {
    needs!(HostRoot, Initial("cgroup"), Program("setpriv"));
    let name = "a_cgroup_that_may_not_be_read_is_unknown";
    let Some(cgroup) = PidsCgroup::new() else {
        say_skipped(name, "the pids controller is not mounted");
        return;
    };
    let (sleep, _) = start("echo ready; exec sleep 600");
    until("sleep has started", || comm(sleep.pid()) == "sleep");
    let pid = sleep.pid().to_string();
    cgroup.write("job/cgroup.procs", &pid);
    cgroup.write("job/pids.max", "1");
    let own = [("cgroup", cgroup.path("/job"))];
    for file in ["pids.max", "pids.current"] {
        let path = cgroup.0.join("job").join(file);
        fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
        let output = as_nobody(&["limits", "-q", "-f", "json", &pid]);
        let all = rows(&output);
        let row = find(&all, "pids_cgroup", &own);
        let numbers = ["used", "max", "full", "refused"].map(|it| &row[it]);
        assert_eq!(numbers, [&Value::Null; 4], "{file}");
        let unknown = unknown(&output);
        let expected = "1 limit of kind pids_cgroup unknown: cannot read it: Permission denied";
        assert!(unknown.iter().any(|it| it.contains(expected)), "{unknown:?}");
        let said = text(&as_nobody(&["limits", "-q", &pid]));
        assert!(said.contains(&format!("No limit of {pid} sleep is known to be full; ")), "{said}");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    }
    let all = rows(&as_nobody(&["limits", "-q", "-f", "json", &pid]));
    let row = find(&all, "pids_cgroup", &own);
    assert_eq!((&row["used"], &row["full"]), (&1.into(), &true.into()));
}
