//! Tests `pidns run --cgroup` with processes that are not descendants of the command.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::Need::*;
use common::runner::*;
use common::*;

/// Returns the directory of this test's cgroup in the version 2 hierarchy, if it is mounted.
fn own_cgroup() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    let point = line.split(' ').nth(4)?;
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap();
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(point).join(path))
}

/// Returns the cgroups that pidns has made and not removed.
fn left() -> Vec<String> {
    let entries = fs::read_dir(own_cgroup().unwrap()).unwrap().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with("pidns-run-")).collect()
}

#[test]
fn a_daemon_in_another_pid_namespace_does_not_escape() {
    needs!(HostRoot);
    if own_cgroup().is_none() {
        return say_skipped("a_daemon_in_another_pid_namespace", "needs cgroup version 2");
    }
    let (_container, init) = container(&format!("{SLEEP} echo ready; wait"));
    let init = init.to_string();
    let command =
        ["nsenter", "-t", &init, "-p", "sh", "-c", "setsid sleep 671 >/dev/null 2>&1 & exit 0"];
    let options = ["--kill", "--grace", "0.1", "--deny", "leftover-process"];
    let without = run_job(&options, &command);
    assert_eq!(without.status, 0, "{}", without.stderr);
    until("the daemon executes sleep", || sleeping("671") == 1);
    let within = run_job(&[&options[..], &["--cgroup"]].concat(), &command);
    assert_eq!(within.status, 123, "{}", within.stderr);
    assert_eq!(within.report.codes(), ["leftover-process"]);
    let killed = within.report.killed.as_ref().unwrap();
    assert_eq!((killed.sigterm.len(), killed.remaining.len()), (1, 0), "{}", within.stderr);
    // Only the process that the first run left is still there.
    assert_eq!(sleeping("671"), 1);
}

#[test]
fn a_process_of_another_namespace_with_the_same_pids_is_not_a_member() {
    needs!(HostRoot, Linux(5, 3));
    if own_cgroup().is_none() {
        return say_skipped("a_process_of_another_namespace", "needs cgroup version 2");
    }
    // The processes of this container have the PIDs that the leftovers of the command will have.
    let (_container, _init) =
        container("for i in 1 2 3 4 5 6 7 8 9 10; do sleep 676.1 & done; echo ready; wait");
    until("all sleep", || sleeping("676.1") == 10);
    // /proc still shows the PIDs of the outer namespace.
    let mut command = Command::new("unshare");
    let command = command.args(["-pf", "--kill-child", PIDNS, "run"]);
    let script = "for i in 1 2 3; do setsid sleep 676.2 & done >/dev/null 2>&1";
    let options = ["--cgroup", "--kill", "--grace", "0.1", "--details", "args"];
    let outcome = run_job_by(command, &options, &["bash", "-c", script]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let killed = outcome.report.killed.as_ref().unwrap();
    assert_eq!((killed.sigterm.len(), killed.remaining.len()), (3, 0), "{}", outcome.stderr);
    assert_eq!(outcome.report.findings.len(), 3, "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("676.1"), "{}", outcome.stderr);
    assert_eq!(sleeping("676.2"), 0);
    assert_eq!(sleeping("676.1"), 10);
}

#[test]
fn a_child_that_moves_to_another_cgroup_does_not_escape() {
    needs!(HostRoot);
    let Some(own) = own_cgroup() else {
        return say_skipped("a_child_that_moves", "needs cgroup version 2");
    };
    let move_out = format!("echo $BASHPID > {}/cgroup.procs", own.display());
    let script = format!(
        "({move_out}; exec setsid sleep 674) >/dev/null 2>&1 &
         (trap '' TERM; {move_out}; exec setsid sleep 674) >/dev/null 2>&1 &
         setsid sleep 674 >/dev/null 2>&1 &
         until [ $(pgrep -fc 'sleep 674$') = 3 ]; do :; done"
    );
    let options = ["--cgroup", "--kill", "--grace", "0.1", "--deny", "leftover-process"];
    let outcome = run_job(&options, &["bash", "-c", &script]);
    assert_eq!(outcome.status, 123, "{}", outcome.stderr);
    assert_eq!(outcome.report.pids("leftover-process").len(), 3, "{}", outcome.stderr);
    let killed = outcome.report.killed.as_ref().unwrap();
    let counts = (killed.sigterm.len(), killed.sigkill.len(), killed.remaining.len());
    assert_eq!(counts, (3, 1, 0), "{}", outcome.stderr);
    assert_eq!(sleeping("674"), 0);
}

#[test]
fn a_mount_over_the_cgroups_is_refused() {
    needs!(HostRoot);
    let Some(own) = own_cgroup() else {
        return say_skipped("a_mount_over_the_cgroups", "needs cgroup version 2");
    };
    let own = own.display();
    let script = format!(
        "mount -t tmpfs none {own}; {PIDNS} run --cgroup -- echo ran; status=$?
         ls {own}; exit $status"
    );
    let output = run(Command::new("unshare").args(["-m", "bash", "-c", &script]));
    let expected = format!(
        "pidns: cannot make a cgroup in {own}: another file system is mounted over cgroup version 2\n"
    );
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
    assert_eq!((output.status.code(), output.stdout), (Some(125), Vec::new()));
}

#[test]
fn a_command_that_moves_pidns_into_its_cgroup_does_not_make_it_kill_itself() {
    needs!(HostRoot);
    let Some(own) = own_cgroup() else {
        return say_skipped("a_command_that_moves_pidns", "needs cgroup version 2");
    };
    let script = format!(
        "echo $PPID > {}/pidns-run-$PPID/cgroup.procs || exit 9
         (trap '' TERM; exec setsid sleep 675.1) >/dev/null 2>&1 &
         exit 7",
        own.display()
    );
    let options = ["--cgroup", "--kill", "--grace", "0.1"];
    let outcome = run_job(&options, &["bash", "-c", &script]);
    assert_eq!(outcome.status, 7, "{}", outcome.stderr);
    assert_eq!(outcome.report.pids("leftover-process").len(), 1, "{}", outcome.stderr);
    assert_eq!(sleeping("675.1"), 0);
}

#[test]
fn processes_in_deep_cgroups_do_not_escape() {
    needs!(HostRoot);
    let Some(own) = own_cgroup() else {
        return say_skipped("processes_in_deep_cgroups", "needs cgroup version 2");
    };
    let script = format!(
        "printf pidns-run-$PPID; deep={}/pidns-run-$PPID$(printf '/a%.0s' {{1..100}}); mkdir -p $deep
         (echo $BASHPID > $deep/cgroup.procs; exec setsid sleep 675.2) >/dev/null 2>&1 &
         until [ $(pgrep -fc 'sleep 675.2$') = 1 ]; do :; done; exit 0",
        own.display()
    );
    let options = ["--cgroup", "--kill", "--grace", "0.1", "--deny", "leftover-process"];
    let outcome = run_job(&options, &["bash", "-c", &script]);
    assert_eq!(outcome.status, 123, "{}", outcome.stderr);
    assert_eq!(outcome.report.pids("leftover-process").len(), 1, "{}", outcome.stderr);
    assert_eq!(sleeping("675.2"), 0);
    assert!(!left().contains(&outcome.stdout), "{}", outcome.stdout);
}

#[test]
fn the_cgroup_is_removed_even_if_processes_are_left() {
    needs!(HostRoot);
    if own_cgroup().is_none() {
        return say_skipped("the_cgroup_is_removed", "needs cgroup version 2");
    }
    let script = "cat /proc/self/cgroup; mkdir below 2>/dev/null; setsid sleep 672 2>&1 & exit 4";
    let outcome = run_job(&["--cgroup", "--grace", "0"], &["sh", "-c", script]);
    assert_eq!(outcome.status, 4, "{}", outcome.stderr);
    assert!(outcome.stdout.contains("/pidns-run-"), "{}", outcome.stdout);
    let name = outcome.stdout.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    let name = name.rsplit('/').next().unwrap().to_owned();
    assert!(!left().contains(&name), "{name}");
    let pid = outcome.report.pids("leftover-process")[0];
    assert!(is_running(pid));
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(!cgroup.contains("pidns-run-"), "{cgroup}");
}

#[test]
fn an_ordinary_user_needs_a_delegated_cgroup() {
    needs!(HostRoot);
    let Some(own) = own_cgroup() else {
        return say_skipped("an_ordinary_user_needs", "needs cgroup version 2");
    };
    let (dir, program) = public_copy();
    let delegated = own.join(format!("pidns-test-{}", std::process::id()));
    fs::create_dir(&delegated).unwrap();
    let mark = dir.path().join("mark").display().to_string();
    fs::write(&mark, "").unwrap();
    let script = |prepare: &str, command: &str| {
        format!(
            "{prepare} exec setpriv --reuid 65534 --regid 65534 --clear-groups \
             {program} run --cgroup --kill --grace 0.1 --deny leftover-process -- {command}"
        )
    };
    let refused = script("", &format!("rm {mark}"));
    let output = run(Command::new("bash").args(["-c", &refused]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    let expected = format!("pidns: cannot make a cgroup in {}: Permission denied", own.display());
    assert!(stderr.starts_with(&expected) && stderr.lines().count() == 1, "{stderr}");
    assert!(Path::new(&mark).exists());
    let path = delegated.display();
    let prepare = format!("chown 65534 {path} {path}/cgroup.procs; echo $$ > {path}/cgroup.procs;");
    let allowed = script(&prepare, "sh -c 'setsid sleep 673 >/dev/null 2>&1 &'");
    let output = run(Command::new("bash").args(["-c", &allowed]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    until("the cgroup is empty", || fs::remove_dir(&delegated).is_ok());
    assert_eq!(output.status.code(), Some(123), "{stderr}");
    assert_eq!(sleeping("673"), 0);
}

#[test]
fn a_process_that_survives_sigkill_is_not_counted_as_killed() {
    needs!(Initial("cgroup"));
    let dir = tempfile::tempdir().unwrap();
    // With cgroup version 1, a frozen process does not handle SIGKILL.
    let script = format!(
        "mount -t cgroup -o freezer none {0}; cgroup={0}/pidns-run-$$; mkdir $cgroup; export cgroup
         {PIDNS} run --kill --grace 0.1 -- bash -c 'sleep 677 > /dev/null 2>&1 &
             echo $! > $cgroup/cgroup.procs; echo FROZEN > $cgroup/freezer.state
             until grep -q FROZEN $cgroup/freezer.state; do :; done'
         echo THAWED > $cgroup/freezer.state
         for i in {{1..100}}; do rmdir $cgroup 2> /dev/null && break; sleep 0.05; done",
        dir.path().display()
    );
    let output = run(Command::new("unshare").args(["-m", "bash", "-c", &script]));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().last().unwrap_or_default();
    let start = "pidns: killed 0 processes; still there after SIGKILL: ";
    assert!(last.starts_with(start) && last.ends_with(" sleep"), "{stderr}");
    assert_eq!(sleeping("677"), 0);
}
