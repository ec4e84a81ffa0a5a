//! Runs pidns, and other programs that read its output.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use super::nobody;

/// Path of the compiled pidns.
pub const PIDNS: &str = env!("CARGO_BIN_EXE_pidns");

/// Runs pidns and waits for its exit.
pub fn pidns(arguments: &[&str]) -> Output {
    run(Command::new(PIDNS).args(arguments))
}

/// Runs a command without standard input, and waits for its exit.
pub fn run(command: &mut Command) -> Output {
    // Make the output independent of the user's locale.
    if !command.get_envs().any(|(name, _)| name == "LC_ALL") {
        command.env("LC_ALL", "C.UTF-8");
    }
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Returns the standard output of a command, and asserts that the command succeeded.
pub fn stdout(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    String::from_utf8(output.stdout.clone()).expect("output is UTF-8")
}

/// Returns a command that the kernel kills (`SIGXCPU`) after this many seconds of CPU time.
/// Unlike elapsed time, CPU time hardly depends on the load of the machine.
pub fn with_processor_seconds(seconds: u32, program: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -t $0; exec \"$@\"", &seconds.to_string(), program]);
    command
}

/// Runs a command with `input` as its standard input, and returns its standard output. Asserts that
/// the command succeeds and writes nothing to standard error.
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

/// Runs pidns with the command prefix [`nobody`].
pub fn as_nobody(arguments: &[&str]) -> Output {
    let (_dir, program) = public_copy();
    let mut words = nobody().split(' ');
    let mut command = Command::new(words.next().expect("a command"));
    run(command.args(words).arg(&program).args(arguments))
}

/// Makes a temporary directory that every user may enter.
pub fn public_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Makes a copy of pidns that every user may execute, since the build directory may be private.
pub fn public_copy() -> (tempfile::TempDir, String) {
    let dir = public_dir();
    let program = dir.path().join("pidns");
    // `install` writes the copy, because a child process of another test could inherit a writable
    // descriptor of this process, and executing the copy would then fail with ETXTBSY.
    let copied = run(Command::new("install").args(["-m755", PIDNS]).arg(&program));
    assert!(copied.status.success(), "{copied:?}");
    (dir, program.into_os_string().into_string().unwrap())
}
