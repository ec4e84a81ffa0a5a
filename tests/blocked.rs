//! Tests that pidns ends if a process blocks reads of its /proc directory. This test has a program
//! of its own, because such a process would block the other tests too.

mod common;

use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use common::Need::*;
use common::*;

/// Python program that mounts a FUSE file system over a file, and starts a process that opens this
/// file and then calls `execve(2)`. The call closes the file, and the file system does not answer
/// the request `FUSE_FLUSH`.
const BLOCKED_EXEC: &str = "
import ctypes, os, signal, struct, sys
INIT, OPEN, FLUSH = 26, 14, 25
device = os.open('/dev/fuse', os.O_RDWR)
options = f'fd={device},rootmode=100644,user_id=0,group_id=0'.encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b'mute', sys.argv[1].encode(), b'fuse', 0, options):
    sys.exit(os.strerror(ctypes.get_errno()))
child = os.fork()
if child == 0:
    os.close(device)
    os.open(sys.argv[1], os.O_RDONLY)
    os.execvp('sleep', ['sleep', '1'])
while True:
    _, opcode, unique = struct.unpack('IIQ', os.read(device, 131072)[:16])
    if opcode == FLUSH:
        break
    body = struct.pack('IIIIHHIIHH8I', 7, 31, 65536, 0, 0, 0, 65536, 1, 0, 0, *[0] * 8)
    body = {INIT: body, OPEN: bytes(16)}.get(opcode)
    error = 0 if body else -38
    body = body or b''
    os.write(device, struct.pack('IiQ', 16 + len(body), error, unique) + body)
print('blocked', child)
print('ready', flush=True)
signal.pause()
";

/// Returns the error of a pidns that this process has blocked.
fn expected(pid: u32) -> String {
    format!(
        "pidns: cannot read process {pid}: the kernel has blocked pidns for 10 seconds, probably \
         because the process waits for a file system that does not respond; end this process, and \
         run pidns again\n"
    )
}

#[test]
fn a_process_blocks_pidns_only_for_some_seconds() {
    needs!(HostRoot, NamespaceOfItsOwn, Program("python3"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut command = Command::new("unshare");
    let script = ["-m", "--propagation", "private", "python3", "-c", BLOCKED_EXEC];
    let (holder, pids) = start_command(command.args(script).arg(&file));
    let blocked = pids["blocked"];
    let started = Instant::now();
    let start = |arguments: &'static [&'static str]| thread::spawn(move || pidns(arguments));
    let reads_environments = [
        start(&["-f", "json", "--env", "PIDNS_TEST=1"]),
        start(&["check", "--env", "PIDNS_TEST=1"]),
        start(&["--collector", "proc", "--env", "PIDNS_TEST=1"]),
    ];
    // On some kernels, these commands are not blocked.
    let others = [start(&["-f", "json"]), start(&["limits"]), start(&["run", "true"])];
    // The end of the FUSE program releases everything that waits for an answer. It bounds the time
    // that a failing test takes.
    let join = |it: thread::JoinHandle<Output>| {
        until("pidns ends", || it.is_finished());
        it.join().unwrap()
    };
    for output in reads_environments.map(join) {
        assert_eq!(String::from_utf8(output.stderr).unwrap(), expected(blocked));
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b""[..]));
    }
    for output in others.map(join) {
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() || error == expected(blocked), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    drop(holder);
}
