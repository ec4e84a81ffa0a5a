//! Tests that pidns finds the namespaces that processes keep open. Also tests descriptors that
//! change during the scan, file systems that hang, and pidns with a low limit on open descriptors.

mod common;

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::{Command, Output};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::Need::*;
use common::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

/// Shell script that bind-mounts the PID namespace of the process `$1` at the path `$2`, and opens
/// that path as descriptor 9.
const OPEN_THROUGH_MOUNT: &str =
    "touch \"$2\"; mount -c --bind /proc/$1/ns/pid \"$2\"; exec 9<\"$2\"; ";

/// Runs a command, and returns `None` if it runs for more than 30 seconds.
fn within_seconds(mut command: Command) -> Option<Output> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(run(&mut command)));
    receiver.recv_timeout(Duration::from_secs(30)).ok()
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pidns"));
    command.args(arguments);
    command
}

#[test]
fn a_descriptor_opened_through_a_bind_mount_is_a_holder() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns").to_str().unwrap().to_owned();
    let (nest, inits) = nest(1);
    let id = namespace_of(inits[0]);
    let script = format!("{OPEN_THROUGH_MOUNT} echo ready; exec sleep 600");
    let init = inits[0].to_string();
    let (holder, _) = start_command(&mut in_mount_namespace(&script, &[&init, &path]));
    drop(nest);
    until("the init has exited", || status(inits[0], "State").is_empty());
    let link = link(format!("/proc/{}/fd/9", holder.pid()));
    assert_eq!(link.as_deref(), Some(path.as_str()));
    let document = Document::of(&[]);
    let held = document.namespace(&id);
    assert_eq!((held.state.as_str(), held.holders.len()), ("dead", 2), "{held:?}");
    assert_eq!(held.holders[0], Holder::Fd { pid: holder.pid(), fd: 9 });
    assert!(matches!(&held.holders[1], Holder::Mount { path: at, .. } if *at == path));
}

#[test]
fn a_descriptor_opened_through_a_bind_mount_is_a_holder_after_umount() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns").to_str().unwrap().to_owned();
    let (nest, inits) = nest(1);
    let id = namespace_of(inits[0]);
    let script = format!("{OPEN_THROUGH_MOUNT} umount -l \"$2\"; echo ready; exec sleep 600");
    let init = inits[0].to_string();
    let (holder, _) = start_command(&mut in_mount_namespace(&script, &[&init, &path]));
    drop(nest);
    until("the init has exited", || status(inits[0], "State").is_empty());
    assert_eq!(link(format!("/proc/{}/fd/9", holder.pid())).as_deref(), Some("/"));
    let document = Document::of(&[]);
    assert!(document.complete, "{:?}", document.diagnostics);
    let held = document.namespace(&id);
    assert_eq!((held.state.as_str(), held.evidence.as_str()), ("dead", "kernel"));
    assert_eq!(held.parent, document.procfs.namespace);
    assert_eq!(held.holders, [Holder::Fd { pid: holder.pid(), fd: 9 }]);
    // The document contains only two namespaces: the namespace of the test and the dead namespace.
    assert_eq!(document.namespaces.len(), 2);
}

#[test]
fn a_bind_mount_of_another_namespace_type_is_not_a_holder() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns").to_str().unwrap().to_owned();
    let script = "touch \"$1\"; n=10; for kind in net user uts; do \
         mount -c --bind /proc/self/ns/$kind \"$1\"; eval \"exec $n<\\\"\\$1\\\"\"; n=$((n + 1)); \
         umount -l \"$1\"; done; echo ready; exec sleep 600";
    let (holder, _) = start_command(&mut in_mount_namespace(script, &[&path]));
    assert_eq!(link(format!("/proc/{}/fd/12", holder.pid())).as_deref(), Some("/"));
    let document = Document::of(&[]);
    assert!(document.complete, "{:?}", document.diagnostics);
    assert_eq!(document.namespaces.len(), 1, "{:?}", document.namespaces);
    for arguments in [["--root", "/proc/self/ns/net"], ["--root", "/proc/self/ns/user"]] {
        let output = pidns(&arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.ends_with(": not a PID namespace\n"), "{error}");
    }
}

/// Python program whose descriptors 50 to 57 change all the time: each alternates between a dead
/// namespace and the file `argv[1]`, which is opened only with `O_PATH`.
const SWAPPER: &str = "
import ctypes, os, sys
dead = []
for i in range(8):
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).unshare(0x20000000)
        init = os.fork()
        if init == 0:
            os.read(done[0], 1)
            os._exit(0)
        os.write(ready[1], str(init).encode())
        os.waitpid(init, 0)
        os._exit(0)
    init = os.read(ready[0], 16).decode()
    dead.append(os.open('/proc/' + init + '/ns/pid', os.O_RDONLY))
    os.write(done[1], b'x')
    os.waitpid(child, 0)
    for end in ready + done:
        os.close(end)
other = os.open(sys.argv[1], os.O_PATH)
is_ready = False
while True:
    for i, namespace in enumerate(dead):
        os.dup2(namespace, 50 + i)
        for _ in range(20):
            pass
        os.dup2(other, 50 + i)
    if not is_ready:
        is_ready = True
        print('ready', flush=True)
";

#[test]
fn a_descriptor_swapped_during_the_scan_is_found_and_its_file_not_opened() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    // pidns must never open the FIFO. Opening it for writing, as this thread does, blocks until
    // another process opens it for reading.
    let (sender, opened) = mpsc::channel();
    let fifo = path.clone();
    let waiting = thread::spawn(move || {
        let mut fifo = OpenOptions::new().write(true).open(fifo).unwrap();
        sender.send(()).unwrap();
        fifo.write_all(b"x").unwrap();
    });
    let mut command = Command::new("python3");
    let (swapper, _) = start_command(command.args(["-c", SWAPPER, path.to_str().unwrap()]));
    let at = format!("/proc/{}/fd/50", swapper.pid());
    for _ in 0..60 {
        let document = Document::of(&[]);
        assert!(document.complete, "{:?}", document.diagnostics);
        assert_eq!(document.roots.len(), 1, "{:?}", document.namespaces);
        // The descriptor behind the path given to `--root` also changes all the time.
        let output = pidns(&["--root", &at, "-q"]);
        let error = String::from_utf8(output.stderr).unwrap();
        let is_there = output.status.success();
        assert!(is_there || error.ends_with(": not a PID namespace\n"), "{error}");
    }
    assert_eq!(opened.try_recv(), Err(mpsc::TryRecvError::Empty), "the FIFO was opened");
    drop(swapper);
    File::open(&path).unwrap().read_exact(&mut [0]).unwrap();
    waiting.join().unwrap();
}

/// Python program that mounts a FUSE file system at a path, and then answers no requests.
const MUTE_FUSE: &str = "
import ctypes, os, signal, struct, sys
device = os.open('/dev/fuse', os.O_RDWR)
options = f'fd={device},rootmode=40000,user_id=0,group_id=0,allow_other'.encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b'mute', sys.argv[1].encode(), b'fuse', 0, options):
    sys.exit(os.strerror(ctypes.get_errno()))
unique = struct.unpack('IIQ', os.read(device, 65536)[:16])[2]
answer = struct.pack('IIIIHHIIHH8I', 7, 31, 65536, 0, 0, 0, 65536, 1, 0, 0, *[0] * 8)
os.write(device, struct.pack('IiQ', 16 + len(answer), 0, unique) + answer)
os.dup2(os.open(sys.argv[1], os.O_PATH), 50)
print('ready', flush=True)
signal.pause()
";

#[test]
fn never_asks_a_hanging_file_system() {
    needs!(HostRoot, NamespaceOfItsOwn, Program("python3"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    // Mount the FUSE file system in a private mount namespace, so that it cannot block other tests.
    let mut command = Command::new("unshare");
    let script = ["-m", "--propagation", "private", "python3", "-c", MUTE_FUSE, path];
    let (holder, _) = start_command(command.args(script));
    let at = format!("/proc/{}/fd/50", holder.pid());
    let scan = within_seconds(program(&["-q", "-f", "json", "--search", "proc"]));
    let by_path = within_seconds(program(&["--root", &at]));
    let translation = within_seconds(program(&["translate", "1", "--from", &at]));
    // The end of the FUSE program releases every process that waits for an answer.
    drop(holder);
    let document = Document::read(&stdout(&scan.expect("the scan ends")));
    assert!(document.find_process(std::process::id()).is_some());
    for output in [by_path, translation] {
        let output = output.expect("reading the path ends");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.ends_with(": not a PID namespace\n"), "{error}");
    }
}

#[test]
fn shows_every_process_with_few_descriptors() {
    const NAMESPACES: usize = 200;
    needs!(NamespaceOfItsOwn);
    let _farm = farm(NAMESPACES, 1);
    let truth = truth();
    let script = "ulimit -n 128; exec \"$0\" -q -f json";
    let output = run(Command::new("bash").args(["-c", script, env!("CARGO_BIN_EXE_pidns")]));
    let document = Document::read(&stdout(&output));
    for (&pid, (namespace, _)) in &truth {
        if comm(pid) == "sleep" {
            let process = document.process(pid);
            assert_eq!(process.namespace.as_ref(), Some(namespace), "{process:?}");
        }
    }
    let sleeping = document.processes.iter().filter(|process| process.comm == "sleep").count();
    assert_eq!(sleeping, NAMESPACES);
    // pidns finds the parent even of namespaces that it could not keep open.
    assert_eq!(document.roots.len(), 1, "{:?}", document.roots);
    assert!(!document.complete);
    let unopened = document.diagnostic("namespace-unopened").expect("is reported");
    assert_eq!(unopened.errno.as_deref(), Some("EMFILE"));
    assert!(unopened.pids.len() > 50, "{unopened:?}");
    let codes: Vec<_> = document.diagnostics.iter().map(|it| it.code.as_str()).collect();
    assert_eq!(codes, ["namespace-unopened"]);
}

#[test]
fn reads_a_shared_descriptor_table_once() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let script = "
import fcntl, os, resource, signal, sys, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
namespace = os.open('/proc/self/ns/pid', os.O_RDONLY)
for _ in range(int(sys.argv[1]) - 1):
    fcntl.fcntl(namespace, fcntl.F_DUPFD, 3)
threading.stack_size(65536)
for _ in range(int(sys.argv[2])):
    threading.Thread(target=signal.pause, daemon=True).start()
print('ready', flush=True)
signal.pause()
";
    let mut command = Command::new("python3");
    let (holder, _) = start_command(command.args(["-c", script, "2000", "500"]));
    // Reading the table once for each of the 500 threads would take about 5 s.
    let mut command = with_processor_seconds(3, PIDNS);
    let document =
        Document::read(&stdout(&run(command.args(["-q", "-f", "json", "--search", "proc"]))));
    let held = document.home(holder.pid());
    let fds = held.holders.iter().filter(|it| matches!(it, Holder::Fd { .. })).count();
    assert_eq!(fds, 2000);
}

#[test]
fn finds_every_namespace_that_lsns_lists() {
    needs!(NamespaceOfItsOwn, Program("lsns"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns").to_str().unwrap().to_owned();
    let (_nest, inits) = nest(3);
    let (dead, dead_inits) = nest(1);
    let script = format!("{OPEN_THROUGH_MOUNT} echo ready; exec sleep 600");
    let init = dead_inits[0].to_string();
    let (_holder, _) = start_command(&mut in_mount_namespace(&script, &[&init, &path]));
    drop(dead);
    until("the init has exited", || status(dead_inits[0], "State").is_empty());
    let listed = stdout(&run(Command::new("lsns").args(["-t", "pid", "-n", "-r", "-o", "NS"])));
    let document = Document::of(&[]);
    let listed: Vec<_> = listed.lines().map(|inode| format!("pid:[{inode}]")).collect();
    assert!(listed.contains(&namespace_of(inits[2])), "{listed:?}");
    for id in listed {
        assert!(document.find_namespace(&id).is_some(), "{id} is missing");
    }
}

#[test]
fn reads_a_process_that_executes_from_another_thread() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let (nest, inits) = nest(1);
    let namespace = format!("/proc/{}/ns/pid", inits[0]);
    let id = namespace_of(inits[0]);
    // The second thread calls exec over and over, which replaces the thread-group leader.
    let script = "
import os, sys, threading
fd = int(sys.argv[2]) if len(sys.argv) > 2 else os.open(sys.argv[1], os.O_RDONLY)
os.set_inheritable(fd, True)
if len(sys.argv) == 2:
    print('ready', flush=True)
arguments = ['python3', '-S', '-E', '-c', os.environ['SCRIPT'], sys.argv[1], str(fd)]
threading.Thread(target=os.execvp, args=('python3', arguments)).start()
threading.Event().wait()
";
    let mut command = Command::new("python3");
    command.args(["-c", script, &namespace]).env("SCRIPT", script);
    let (holder, _) = start_command(&mut command);
    drop(nest);
    until("the init has exited", || status(inits[0], "State").is_empty());
    for _ in 0..40 {
        let document = Document::of(&[]);
        assert!(document.complete, "{:?}", document.diagnostics);
        let holders = &document.namespace(&id).holders;
        assert!(matches!(holders[..], [Holder::Fd { pid, .. }] if pid == holder.pid()));
    }
    kill(holder.pid(), Signal::KILL);
}

#[test]
fn opens_namespaces_if_proc_does_not_show_pidns() {
    needs!(HostRoot, NamespaceOfItsOwn);
    let script = "unshare -pf --kill-child sleep 600 & echo ready; wait";
    let (_running, init) = container(script);
    let mut namespaces = 0;
    until("the inner namespace exists", || {
        // Run pidns in the container's mount namespace, but outside of its PID namespace.
        let target = init.to_string();
        let command = ["-t", &target, "-m", env!("CARGO_BIN_EXE_pidns"), "-q", "-f", "json"];
        let document = Document::read(&stdout(&run(Command::new("nsenter").args(command))));
        assert_eq!(document.diagnostic("namespace-unopened"), None);
        assert!(document.namespaces.iter().all(|it| it.evidence == "kernel"));
        // Wait for three namespaces: the test's, the container's, and the container's child
        // namespace.
        namespaces = document.namespaces.len();
        namespaces == 3
    });
}
