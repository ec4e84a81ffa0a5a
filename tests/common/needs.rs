//! Checks the requirements of a test. A test that may not make namespaces is started again
//! inside its own user namespace. A test whose requirements are not met is skipped.
//!
//! libtest cannot ignore a test that has started: a test that returns early counts as `ok`. A
//! skipped test therefore prints `skipped: NAME: REASON` to standard error, past libtest, which
//! captures only the output of the print macros. At its end, the test program prints how many
//! tests it skipped. If `CI` is set, a skipped test fails instead.

use std::io::Write as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::LazyLock;

use super::{pidns, run, stdout};

/// Environment variable that [`are_met`] sets when it starts a test again in new namespaces.
const INSIDE: &str = "PIDNS_TEST_INSIDE";

/// A requirement of a test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Need {
    /// Permission to make PID namespaces and mounts. Without root, the test runs again in
    /// its own user namespace.
    Namespaces,
    /// Permission to make PID namespaces and mounts, in a PID namespace that contains only this
    /// test and an init that reaps zombies at once.
    NamespaceOfItsOwn,
    /// Root in the initial user namespace, with all capabilities.
    HostRoot,
    /// Root of the host, in the initial namespace of this type (not in a container). Tests need
    /// `pid` to count all processes, and `cgroup` to mount cgroup hierarchies.
    Initial(&'static str),
    /// Unprivileged users may make user namespaces. The kernel does not allow this in a chroot, for
    /// example.
    UserNamespaces,
    /// The test runs outside of any chroot, since `nsenter -m` would leave a chroot.
    NoChroot,
    /// A program from one of the Debian packages that `tests/run` installs.
    Program(&'static str),
    /// The kernel lets pidns load BPF programs.
    Bpf,
    /// The kernel can list its namespaces (since Linux 6.18). On an older kernel, the test is
    /// skipped even in CI.
    NamespaceList,
    /// At least this version of Linux. On an older kernel, the test is skipped even in CI.
    Linux(u32, u32),
    /// A kernel that runs only this test, which makes a limit of the whole host full. `tests/qemu/limits`
    /// provides one in a virtual machine. Elsewhere, the test is skipped even in CI.
    OwnKernel,
    /// A file that is in the repository, but not in the published crate.
    Repository(&'static str),
}

/// Returns from the test if a requirement is not met. Usage: `needs!(Namespaces)`.
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

/// Returns `true` if the test should go on in this process, and `false` if it was skipped or has
/// already run in its own namespaces. `path` is the path of an item inside the test, and contains
/// the name of the test.
pub fn are_met(path: &str, needs: &[Need]) -> bool {
    // The parent process has already checked the requirements.
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut modules = path.rsplit("::");
    let name = modules.nth(1).expect("an item in a function in a crate");
    let lacking = |need: &Need| lacking(*need).map(|reason| (*need, reason));
    match needs.iter().find_map(lacking) {
        None => {}
        Some((Need::NamespaceList | Need::Linux(..) | Need::OwnKernel, reason)) => {
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

/// Arguments of `unshare` that make a PID namespace, and a mount namespace with its own /proc.
const UNSHARE: [&str; 3] = ["-mpf", "--mount-proc", "--kill-child"];

/// `Ok` if this process may make namespaces with [`UNSHARE`], otherwise the error message.
static AS_ROOT: LazyLock<Result<(), String>> = LazyLock::new(|| succeeds(&UNSHARE));

/// `Ok` if this process may make namespaces with [`UNSHARE`] in a new user namespace, otherwise the
/// error message.
static AS_USER: LazyLock<Result<(), String>> =
    LazyLock::new(|| succeeds(&["-Ur", UNSHARE[0], UNSHARE[1], UNSHARE[2]]));

/// Runs the command `true` under `unshare` with these arguments. Returns the error message of
/// `unshare` if that fails.
fn succeeds(unshare: &[&str]) -> Result<(), String> {
    let output = Command::new("unshare").args(unshare).arg("true").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("unshare: {error}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(stderr.trim_end().to_owned()) }
}

/// Returns `true` in the initial user namespace, the only one that maps all user IDs.
fn all_users() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Returns why a requirement is not met, or `None` if it is met.
fn lacking(need: Need) -> Option<String> {
    match need {
        Need::Namespaces | Need::NamespaceOfItsOwn => {
            let (root, user) = (AS_ROOT.as_ref().err()?, AS_USER.as_ref().err()?);
            Some(format!("namespaces cannot be made here ({root}; {user})"))
        }
        Need::HostRoot if !(rustix::process::geteuid().is_root() && all_users()) => {
            Some("needs root on the host".to_owned())
        }
        Need::HostRoot => {
            let error = AS_ROOT.as_ref().err()?;
            Some(format!("needs root on the host, with CAP_SYS_ADMIN ({error})"))
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
            // Only root can detect a chroot in this way, because entering a mount namespace needs
            // root.
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
        Need::Linux(major, minor) => {
            let older = kernel_version() < (major, minor);
            older.then(|| format!("needs Linux {major}.{minor}"))
        }
        Need::OwnKernel => {
            let own = std::env::var_os("PIDNS_TEST_OWN_KERNEL").is_some();
            (!own).then(|| "runs only in the virtual machine of tests/qemu/limits".to_owned())
        }
        Need::Repository(file) => {
            let here = Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists();
            (!here).then(|| format!("needs {file}, which is not in the published crate"))
        }
    }
}

/// Returns the major and minor version of the kernel.
pub fn kernel_version() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_str().expect("is text");
    let mut numbers = release.split(['.', '-']).map(|it| it.parse().expect("a number"));
    (numbers.next().expect("is major"), numbers.next().expect("is minor"))
}

/// Finds the Debian package of a program in the list of `tests/run`.
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

/// Starts this test program again in new namespaces, to run only the test `name`.
fn run_inside(name: &str) {
    let mut command = Command::new("unshare");
    if AS_ROOT.is_err() {
        command.arg("-Ur");
    }
    // The shell becomes the init of the PID namespace, and reaps orphans of the test.
    command.args(UNSHARE).args(["bash", "-c", "\"$0\" --exact --nocapture \"$1\"; exit $?"]);
    command.arg(std::env::current_exe().expect("is known")).arg(name).env(INSIDE, "1");
    let output = run(&mut command);
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let ran = stdout(&output);
    assert!(ran.contains("test result: ok. 1 passed"), "{name} did not run: {ran}");
}

/// Reports a skipped test. In CI, this panics instead.
fn skip(name: &str, reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "a skipped test fails in CI: {name}: {reason}");
    say_skipped(name, reason);
}

/// Reports a skipped test, even in CI.
pub fn say_skipped(name: &str, reason: &str) {
    let line = format!("skipped: {name}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is writable");
    (&*COUNTER).write_all(b"\n").expect("the counter reads the line");
}

/// The standard input of a shell that counts the skipped tests: each skipped test writes a line to
/// it. When this program exits, the shell prints the count. libtest itself has no hook for the end
/// of a test program.
static COUNTER: LazyLock<ChildStdin> = LazyLock::new(|| {
    let program = std::env::current_exe().expect("is known");
    let count = "n=0; while read -r _; do n=$((n + 1)); done; \
                 echo \"tests skipped by ${0##*/}: $n\" >&2";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", count]).arg(program).stdin(Stdio::piped());
    command.spawn().expect("sh runs").stdin.take().expect("piped")
});

/// Returns a command prefix that runs a program without permission to read processes of other
/// users. The program runs as `nobody`, or, in a user namespace that does not contain `nobody`,
/// without capabilities.
pub fn nobody() -> &'static str {
    if all_users() {
        "setpriv --reuid=65534 --regid=65534 --clear-groups"
    } else {
        "setpriv --bounding-set=-all --inh-caps=-all"
    }
}
