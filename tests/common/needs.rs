//! What a test needs of the machine: whether it runs here as it is, once more
//! in namespaces of its own, or not at all, which is said aloud.
//!
//! libtest cannot ignore a test that has started: it calls one `ok` that
//! returns. So a test that is skipped says so on standard error itself, past
//! libtest, which captures what the macros print but not what is written to
//! the stream: `skipped: NAME: REASON`, and at the end of the program how many
//! were. Where `CI` is set a skip is a failure.

use std::io::Write as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::LazyLock;

use super::{pidns, run, stdout};

/// Set to anything in a test that was started once more by [`are_met`].
const INSIDE: &str = "PIDNS_TEST_INSIDE";

/// What a test may need.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Need {
    /// To make PID namespaces and mounts. Root may; anyone else may in a user
    /// namespace of his own, where the test is then started once more.
    Namespaces,
    /// The same, in a PID namespace where nothing but the test runs, whose
    /// init reaps at once.
    NamespaceOfItsOwn,
    /// Root of the initial user namespace: other users, all capabilities.
    HostRoot,
    /// Root of the host in this initial namespace, which containers are not in:
    /// `pid` for the count of all processes, `cgroup` for hierarchies of one's own.
    Initial(&'static str),
    /// That an ordinary user can make a user namespace. Not in a chroot, for one.
    UserNamespaces,
    /// A root directory that is the root of all mounts: `nsenter -m` leaves a chroot.
    NoChroot,
    /// A program that a package of `tests/run` brings.
    Program(&'static str),
    /// That the kernel lets BPF programs read its processes.
    Bpf,
    /// That the kernel has a list of its namespaces, as Linux 6.18 has. Elsewhere the
    /// test is skipped in CI, too, which runs on older ones.
    NamespaceList,
    /// A file of the repository that is not in the published crate.
    Repository(&'static str),
}

/// Returns from the test unless what it needs is here: `needs!(Namespaces)`.
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

/// Whether the test is to go on here. `path` is that of an item within it.
pub fn are_met(path: &str, needs: &[Need]) -> bool {
    // Whoever started it here has looked.
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

/// Whether they can be made with the privileges at hand; why not.
static AS_ROOT: LazyLock<Result<(), String>> = LazyLock::new(|| succeeds(&UNSHARE));

/// Whether they can in a user namespace of one's own; why not.
static AS_USER: LazyLock<Result<(), String>> =
    LazyLock::new(|| succeeds(&["-Ur", UNSHARE[0], UNSHARE[1], UNSHARE[2]]));

/// Runs `true` by `unshare`; what that says where it fails.
fn succeeds(unshare: &[&str]) -> Result<(), String> {
    let output = Command::new("unshare").args(unshare).arg("true").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("unshare: {error}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(stderr.trim_end().to_owned()) }
}

/// Whether these are all the users of the host.
fn all_users() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// What is missing of a need, in words.
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
                kind => panic!("no number of the initial {kind} namespace is at hand"),
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
            // Only root may do that; who else is in a chroot is not found out.
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

/// The package that a program is in, by the list in `tests/run`.
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

/// Runs one test of this program once more, in namespaces of its own.
fn run_inside(name: &str) {
    let mut command = Command::new("unshare");
    if AS_ROOT.is_err() {
        command.arg("-Ur");
    }
    // The shell is their init, and reaps what the test leaves behind.
    command.args(UNSHARE).args(["bash", "-c", "\"$0\" --exact --nocapture \"$1\"; exit $?"]);
    command.arg(std::env::current_exe().expect("is known")).arg(name).env(INSIDE, "1");
    let output = run(&mut command);
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let ran = stdout(&output);
    assert!(ran.contains("test result: ok. 1 passed"), "{name} did not run: {ran}");
}

/// Says that a test is skipped, and why.
fn skip(name: &str, reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "in CI nothing is skipped: {name}: {reason}");
    say_skipped(name, reason);
}

/// Says that a test is skipped which only some machine need run: in CI, too.
pub fn say_skipped(name: &str, reason: &str) {
    let line = format!("skipped: {name}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error takes it");
    (&*COUNTER).write_all(b"\n").expect("the counter reads it");
}

/// Says how many were skipped once this program has ended and so closed the
/// pipe: libtest calls nobody then.
static COUNTER: LazyLock<ChildStdin> = LazyLock::new(|| {
    let program = std::env::current_exe().expect("is known");
    let count = "n=0; while read -r _; do n=$((n + 1)); done; \
                 echo \"skipped in all by ${0##*/}: $n\" >&2";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", count]).arg(program).stdin(Stdio::piped());
    command.spawn().expect("sh runs").stdin.take().expect("piped")
});

/// The command before a program that runs it as one who may not read other
/// users' processes: as nobody, or where there is no such user as one without
/// the capabilities that root's processes have.
pub fn nobody() -> &'static str {
    if all_users() {
        "setpriv --reuid=65534 --regid=65534 --clear-groups"
    } else {
        "setpriv --bounding-set=-all --inh-caps=-all"
    }
}
