//! Decides if a test runs on this machine: as it is, again in its own namespaces, or not
//! at all.
//!
//! libtest cannot ignore a test that has started, and reports one that returns as `ok`. A
//! skipped test therefore writes `skipped: NAME: REASON` to the standard error stream
//! itself, since libtest captures only the output of the print macros. At the end of the
//! program follows the number of skipped tests. If `CI` is set, a skip is a failure.

use std::io::Write as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::LazyLock;

use super::{pidns, run, stdout};

/// Set if [`are_met`] has started this test again in its own namespaces.
const INSIDE: &str = "PIDNS_TEST_INSIDE";

/// A requirement of a test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Need {
    /// Permission to make PID namespaces and mounts. Without root, the test runs again in
    /// its own user namespace.
    Namespaces,
    /// The same, in a PID namespace in which only this test runs, and whose init reaps at
    /// once.
    NamespaceOfItsOwn,
    /// Root in the initial user namespace: all users and all capabilities.
    HostRoot,
    /// Root of the host in the initial namespace of this type, which containers are not
    /// in: `pid` to count all processes, `cgroup` to mount hierarchies.
    Initial(&'static str),
    /// An ordinary user can make user namespaces. In a chroot, for example, this is
    /// refused.
    UserNamespaces,
    /// The root directory is the root of all mounts: `nsenter -m` leaves a chroot.
    NoChroot,
    /// A program from a package in `tests/run`.
    Program(&'static str),
    /// The kernel lets pidns's BPF programs read its processes.
    Bpf,
    /// The kernel has a list of its namespaces (Linux 6.18). Without it the test is
    /// skipped even in CI, which runs on older kernels.
    NamespaceList,
    /// A file of the repository that the published crate lacks.
    Repository(&'static str),
}

/// Returns from the test unless its needs are met: `needs!(Namespaces)`.
#[allow(unused_macros, reason = "some test programs need nothing")]
macro_rules! needs {
    ($($need:expr),+) => {{
        fn here() {}
        if !crate::common::are_met(std::any::type_name_of_val(&here), &[$($need),+]) {
            return;
        }
    }};
}
pub(crate) use needs;

/// Returns `true` if the test must go on in this process. `path` is the path of an item
/// in the test.
pub fn are_met(path: &str, needs: &[Need]) -> bool {
    // The parent process has checked the needs.
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut modules = path.rsplit("::");
    let name = modules.nth(1).expect("an item in a function in a crate");
    let lacking = |need: &Need| lacking(*need).map(|reason| (*need, reason));
    match needs.iter().find_map(lacking) {
        None => {}
        Some((Need::NamespaceList, reason)) => {
            say_skipped(name, &reason);
            return false;
        }
        Some((_, reason)) => {
            skip(name, &reason);
            return false;
        }
    }
    let as_it_is = needs.iter().all(|need| match need {
        Need::Namespaces => AS_ROOT.is_ok(),
        Need::NamespaceOfItsOwn => false,
        _ => true,
    });
    if !as_it_is {
        run_inside(name);
    }
    as_it_is
}

/// Arguments of `unshare` for PID and mount namespaces with their own /proc.
const UNSHARE: [&str; 3] = ["-mpf", "--mount-proc", "--kill-child"];

/// An error if these namespaces cannot be made with the present privileges.
static AS_ROOT: LazyLock<Result<(), String>> = LazyLock::new(|| succeeds(&UNSHARE));

/// An error if they cannot be made in a new user namespace.
static AS_USER: LazyLock<Result<(), String>> =
    LazyLock::new(|| succeeds(&["-Ur", UNSHARE[0], UNSHARE[1], UNSHARE[2]]));

/// Runs `true` in these namespaces. The error is unshare's message.
fn succeeds(unshare: &[&str]) -> Result<(), String> {
    let output = Command::new("unshare").args(unshare).arg("true").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("unshare: {error}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(stderr.trim_end().to_owned()) }
}

/// Returns `true` in the initial user namespace, which maps all users.
fn all_users() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The reason why a need is not met, `None` if it is.
fn lacking(need: Need) -> Option<String> {
    match need {
        Need::Namespaces | Need::NamespaceOfItsOwn => {
            let (root, user) = (AS_ROOT.as_ref().err()?, AS_USER.as_ref().err()?);
            Some(format!("namespaces cannot be made here ({root}; {user})"))
        }
        Need::HostRoot if !(rustix::process::geteuid().is_root() && all_users()) => {
            Some("needs root of the host".to_owned())
        }
        Need::HostRoot => {
            let error = AS_ROOT.as_ref().err()?;
            Some(format!("needs root of the host, with CAP_SYS_ADMIN ({error})"))
        }
        Need::Initial(kind) => lacking(Need::HostRoot).or_else(|| {
            let initial = match kind {
                "pid" => "pid:[4026531836]",
                "cgroup" => "cgroup:[4026531835]",
                kind => panic!("unknown inode of the initial {kind} namespace"),
            };
            let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("is its own");
            let is_in = own.as_os_str() == initial;
            (!is_in).then(|| format!("needs to be in the initial {kind} namespace"))
        }),
        Need::UserNamespaces => {
            let error = succeeds(&["-U"]).err()?;
            Some(format!("user namespaces cannot be made here ({error})"))
        }
        Need::NoChroot => {
            let inode = |command: &[&str]| {
                let stat = ["stat", "-c", "%d:%i", "/"];
                let words = [command, &stat].concat();
                let output = Command::new(words[0]).args(&words[1..]).output();
                output.ok().filter(|it| it.status.success()).map(|it| it.stdout)
            };
            // Only root can enter the mount namespace, so a chroot of other users is not
            // detected.
            let there = inode(&["nsenter", "--mount=/proc/self/ns/mnt"]);
            let leaves = there.is_some() && there != inode(&[]);
            leaves.then(|| "needs to be outside of a chroot".to_owned())
        }
        Need::Program(name) => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let found = std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
            let package = package(name);
            let reason = || format!("needs {name}, which is in the Debian package {package}");
            (!found).then(reason)
        }
        Need::Bpf => {
            let output = pidns(&["--collector", "bpf", "--search", "processes"]);
            let stderr = String::from_utf8_lossy(&output.stderr);
            (!output.status.success()).then(|| stderr.trim_end().to_owned())
        }
        Need::NamespaceList => {
            let output = pidns(&["--search", "kernel"]);
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            stderr.contains("this kernel has no").then_some(stderr.trim_end().to_owned())
        }
        Need::Repository(file) => {
            let here = Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists();
            (!here).then(|| format!("needs {file}, which is not in the published crate"))
        }
    }
}

/// The Debian package of a program, by the list in `tests/run`.
fn package(program: &str) -> &'static str {
    let list = include_str!("../run").split("\npackages='\n").nth(1).expect("a list of packages");
    let rows = list.lines().take_while(|row| *row != "'");
    let mut columns = rows.map(|row| {
        let mut words = row.split_whitespace();
        (words.next().expect("a package"), words.next().expect("its programs"))
    });
    let found = columns.find(|(_, programs)| programs.split(',').any(|it| it == program));
    found.unwrap_or_else(|| panic!("tests/run installs no {program}")).0
}

/// Runs one test of this program again, in its own namespaces.
fn run_inside(name: &str) {
    let mut command = Command::new("unshare");
    if AS_ROOT.is_err() {
        command.arg("-Ur");
    }
    // The shell is the init and reaps the test's orphans.
    command.args(UNSHARE).args(["bash", "-c", "\"$0\" --exact --nocapture \"$1\"; exit $?"]);
    command.arg(std::env::current_exe().expect("is known")).arg(name).env(INSIDE, "1");
    let output = run(&mut command);
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let ran = stdout(&output);
    assert!(ran.contains("test result: ok. 1 passed"), "{name} did not run: {ran}");
}

/// Reports a skipped test, and fails in CI.
fn skip(name: &str, reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "a skipped test fails in CI: {name}: {reason}");
    say_skipped(name, reason);
}

/// Reports a skipped test, without a failure in CI.
pub fn say_skipped(name: &str, reason: &str) {
    let line = format!("skipped: {name}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is writable");
    (&*COUNTER).write_all(b"\n").expect("the counter reads the line");
}

/// Prints the number of skipped tests when this program has exited and thereby closed the
/// pipe, since libtest has no hook for that.
static COUNTER: LazyLock<ChildStdin> = LazyLock::new(|| {
    let program = std::env::current_exe().expect("is known");
    let count = "n=0; while read -r _; do n=$((n + 1)); done; \
                 echo \"tests skipped by ${0##*/}: $n\" >&2";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", count]).arg(program).stdin(Stdio::piped());
    command.spawn().expect("sh runs").stdin.take().expect("piped")
});

/// Command prefix that runs a program without permission to read other users' processes:
/// as `nobody`, or, if that user does not exist, without the capabilities of root's
/// processes.
pub fn nobody() -> &'static str {
    if all_users() {
        "setpriv --reuid=65534 --regid=65534 --clear-groups"
    } else {
        "setpriv --bounding-set=-all --inh-caps=-all"
    }
}
