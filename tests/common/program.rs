//! Runs pidns and the programs that read its output.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use super::nobody;

/// The program under test.
pub const PIDNS: &str = env!("CARGO_BIN_EXE_pidns");

/// Runs pidns to its end.
pub fn pidns(arguments: &[&str]) -> Output {
    run(Command::new(PIDNS).args(arguments))
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    // The expected output is UTF-8, whatever the tester's locale.
    if !command.get_envs().any(|(name, _)| name == "LC_ALL") {
        command.env("LC_ALL", "C.UTF-8");
    }
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Standard output of a run that must succeed.
pub fn stdout(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    String::from_utf8(output.stdout.clone()).expect("output is UTF-8")
}

/// A command that the kernel ends (`SIGXCPU`) after this many seconds of processor time.
/// Unlike elapsed time, that does not depend on the load of the machine.
pub fn with_processor_seconds(seconds: u32, program: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -t $0; exec \"$@\"", &seconds.to_string(), program]);
    command
}

/// Feeds `input` to a command and returns its output. It must succeed with an empty
/// standard error.
pub fn pipe(command: &mut Command, input: &[u8]) -> String {
    let mut child = command
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("waits");
    writer.join().expect("does not panic").expect("is read to the end");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, "", "{command:?}");
    stdout(&output)
}

/// Runs pidns as [`nobody`].
pub fn as_nobody(arguments: &[&str]) -> Output {
    let (_dir, program) = public_copy();
    let mut words = nobody().split(' ');
    let mut command = Command::new(words.next().expect("a command"));
    run(command.args(words).arg(&program).args(arguments))
}

/// A temporary directory that every user may enter.
pub fn public_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    dir
}

/// A copy of pidns that every user may execute, since the build directory may be private.
pub fn public_copy() -> (tempfile::TempDir, String) {
    let dir = public_dir();
    let program = dir.path().join("pidns");
    // Copied by another process: a writable descriptor in this one could be inherited by
    // another test's child, and executing the copy would fail with ETXTBSY.
    let copied = run(Command::new("install").args(["-m755", PIDNS]).arg(&program));
    assert!(copied.status.success(), "{copied:?}");
    (dir, program.into_os_string().into_string().unwrap())
}
