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
/// Unlike elapsed time, CPU time hardly depends on the load of the machine. The emulated processor
/// of `tests/qemu` gets 20 times as much, because it is slower.
pub fn with_processor_seconds(seconds: u32, program: &str) -> Command {
    let is_emulated = std::env::var_os("PIDNS_TEST_OWN_KERNEL").is_some();
    let seconds = if is_emulated { 20 * seconds } else { seconds };
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

/// Python program that installs a seccomp filter, then executes the command in its other
/// arguments. The first argument is the filter's action for the system calls with the numbers in the
/// second argument.
const FILTERED: &str = "import ctypes, os, struct, sys\n\
     numbers = [int(number) for number in sys.argv[2].split(',')]\n\
     code = [(0x20, 0, 0, 0)]\n\
     code += [(0x15, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]\n\
     code += [(6, 0, 0, 0x7fff0000), (6, 0, 0, int(sys.argv[1]))]\n\
     text = b''.join(struct.pack('HBBI', *line) for line in code)\n\
     keep = ctypes.create_string_buffer(text)\n\
     program = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(code), ctypes.addressof(keep)))\n\
     libc = ctypes.CDLL(None, use_errno=True)\n\
     assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0\n\
     os.execvp(sys.argv[3], sys.argv[3:])";

/// Actions of a seccomp filter: the system call fails with `ENOSYS`, or the kernel kills the process.
pub const ENOSYS: u32 = 0x0005_0026;
pub const KILL_PROCESS: u32 = 0x8000_0000;

/// A command that runs under a seccomp filter with this action for some system calls, whose numbers
/// are a comma-separated list. Needs python3.
pub fn with_seccomp(action: u32, calls: &str, command: &[&str]) -> Command {
    let mut python = Command::new("python3");
    python.args(["-c", FILTERED, &action.to_string(), calls]).args(command);
    python
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
