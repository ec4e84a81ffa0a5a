//! Tests that processes can block reads of their memory only for a few seconds. This test has a
//! program of its own, because such processes would block the other tests too.

mod common;

use std::fs::File;
use std::path::Path;
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

/// Starts a process that blocks reads of its memory, and returns the process that holds it and its
/// PID.
fn block(dir: &Path) -> (Running, u32) {
    let file = dir.join("file");
    std::fs::write(&file, "").unwrap();
    let mut command = Command::new("unshare");
    let script = ["-m", "--propagation", "private", "python3", "-c", BLOCKED_EXEC];
    let (holder, pids) = start_command(command.args(script).arg(&file).env("PIDNS_TEST", "1"));
    (holder, pids["blocked"])
}

const CAUSE: &str = "blocks pidns, because its memory or its files stay locked, for example while \
                     it waits for a file system that does not respond";

#[test]
fn processes_that_block_pidns_are_shown_in_part() {
    needs!(HostRoot, NamespaceOfItsOwn, Program("python3"));
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let holders = dirs.each_ref().map(|dir| block(dir.path()));
    let blocked = holders.each_ref().map(|(_, pid)| *pid);
    let before = dirs[0].path().join("before");
    std::fs::write(&before, pidns(&["-q", "-f", "json"]).stdout).unwrap();
    let started = Instant::now();
    let start = |arguments: &[&str]| {
        let mut command = Command::new(PIDNS);
        command.args(arguments).stdin(File::open(&before).unwrap());
        thread::spawn(move || command.output().unwrap())
    };
    let documents = [
        (start(&["-f", "json", "--details", "args"]), "args-unreadable"),
        (start(&["-f", "json", "--collector", "proc", "--details", "args"]), "args-unreadable"),
        (start(&["-f", "json", "--env", "PIDNS_TEST=1"]), "environment-unreadable"),
    ];
    let check = start(&["check", "--env", "PIDNS_TEST=1"]);
    let reads_stdin = start(&["check", "--env", "PIDNS_TEST=1", "--since", "-"]);
    // On some kernels, these commands are not blocked.
    let others = [start(&["limits"]), start(&["run", "true"]), start(&["check"])];
    // The end of the FUSE programs releases everything that waits for an answer. It bounds the time
    // that a failing test takes.
    let join = |it: thread::JoinHandle<Output>| {
        until("pidns ends", || it.is_finished());
        let Output { status, stdout, stderr } = it.join().unwrap();
        (status.code(), stdout, String::from_utf8(stderr).unwrap())
    };
    let names_one =
        |error: &str| blocked.iter().any(|pid| error.contains(&format!("{pid} {CAUSE}")));
    for (document, code) in documents {
        let (status, stdout, error) = join(document);
        assert_eq!(status, Some(0), "{error}");
        assert!(names_one(&error) && error.contains("; starting again, and reading"), "{error}");
        let document: Document = serde_json::from_slice(&stdout).unwrap();
        assert!(!document.complete);
        let is_busy = |it: &&Diagnostic| it.code == code && it.errno.as_deref() == Some("EBUSY");
        let busy = document.diagnostics.iter().find(is_busy).expect(code);
        assert_eq!(busy.pids, blocked);
        if code == "args-unreadable" {
            assert!(blocked.iter().all(|&pid| document.process(pid).args.is_none()));
            assert!(holders.iter().all(|(it, _)| document.process(it.pid()).args.is_some()));
        }
    }
    let (status, _, error) = join(check);
    assert_eq!(status, Some(0), "{error}");
    // Standard input cannot be read again.
    let (status, stdout, error) = join(reads_stdin);
    assert_eq!((status, stdout), (Some(2), Vec::new()));
    assert!(names_one(&error) && error.ends_with("; end this process, and run pidns again\n"));
    for (status, _, error) in others.map(join) {
        assert!(status == Some(0) || names_one(&error), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
}
