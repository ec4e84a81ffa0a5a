//! Starts processes that keep a PID namespace alive in ways that /proc does not show.

use std::collections::BTreeMap;
use std::process::Command;

use super::{Running, start_command};

/// Python functions that the code in [`KEEPERS`] calls. `namespace()` creates a PID namespace,
/// calls `outside` with the PID of its init, lets the init call `inside` and exit, and returns.
const MAKE: &str = r"
import ctypes, os, socket, time
libc = ctypes.CDLL(None)

def namespace(outside=lambda init: None, inside=lambda: None):
    (told, tell), (go, let) = os.pipe(), os.pipe()
    maker = os.fork()
    if maker == 0:
        libc.unshare(0x20000000)
        init = os.fork()
        if init == 0:
            os.read(go, 1)
            inside()
            os._exit(0)
        os.write(tell, b'%d' % init)
        os.waitpid(init, 0)
        os._exit(0)
    init = int(os.read(told, 16))
    print('namespace', os.stat('/proc/%d/ns/pid' % init).st_ino)
    outside(init)
    os.write(let, b'x')
    os.waitpid(maker, 0)

def mount_procfs(path):
    # In a private mount namespace, so that the mount is invisible elsewhere.
    libc.unshare(0x20000)
    libc.mount(b'none', b'/', None, 0x44000, None)
    libc.mount(b'proc', path, b'proc', 0, None)

one, other = socket.socketpair()
def send(descriptor):
    socket.send_fds(one, [b'x'], [descriptor])
";

/// Pairs of a holder kind and Python code. The code creates a namespace, keeps it alive by a holder
/// of that kind, and prints the number of the holder's descriptor.
pub const KEEPERS: [(&str, &str); 9] = [
    ("pidfd", "namespace(lambda init: print('fd', os.pidfd_open(init)))"),
    (
        "socket",
        "listener = socket.socket(socket.AF_UNIX)\n\
         listener.bind('\\0%d' % os.getpid()); listener.listen()\n\
         name = listener.getsockname()\n\
         namespace(inside=lambda: socket.socket(socket.AF_UNIX).connect(name))\n\
         accepted, _ = listener.accept(); print('fd', accepted.fileno())",
    ),
    // A listening socket that came from the namespace.
    (
        "listener",
        "def inside():\n    \
             listener = socket.socket(socket.AF_UNIX)\n    \
             listener.bind('\\0%d' % os.getppid()); listener.listen()\n    \
             send(listener.fileno())\n\
         namespace(inside=inside)\n\
         _, (fd,), _, _ = socket.recv_fds(other, 1, 1); print('fd', fd)",
    ),
    (
        "in_flight",
        "namespace(inside=lambda: send(os.open('/proc/self/ns/pid', os.O_RDONLY)))\n\
         print('fd', other.fileno())",
    ),
    (
        "in_flight",
        "namespace(inside=lambda: send(os.pidfd_open(os.getpid())))\n\
         print('fd', other.fileno())",
    ),
    // A message with SCM_CREDENTIALS refers to the sender's PID, which keeps the sender's namespace
    // alive.
    (
        "message",
        "other.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)\n\
         namespace(inside=lambda: one.send(b'x'))\n\
         print('fd', other.fileno())",
    ),
    ("procfs_file", "namespace(lambda init: print('fd', os.open('/proc/%d' % init, os.O_RDONLY)))"),
    (
        "procfs_file",
        "namespace(lambda init: print('fd', os.open('/proc/%d/status' % init, os.O_RDONLY)))",
    ),
    // An open file in a procfs that is no longer mounted.
    (
        "procfs_file",
        "def inside():\n    \
             mount_procfs(b'/proc')\n    \
             send(os.open('/proc/uptime', os.O_RDONLY))\n    \
             libc.umount2(b'/proc', 2)\n\
         namespace(inside=inside)\n\
         _, (fd,), _, _ = socket.recv_fds(other, 1, 1); print('fd', fd)",
    ),
];

/// Python code that keeps a namespace alive by a mounted procfs without open files.
pub const MOUNTED: &str = "libc.unshare(0x20000); libc.mount(b'none', b'/', None, 0x44000, None)\n\
     namespace(inside=lambda: libc.mount(b'proc', b'/tmp', b'proc', 0, None))";

/// A process that keeps a namespace alive.
pub struct Keeper {
    pub running: Running,
    /// The ID of the namespace.
    pub namespace: String,
    /// The descriptor that keeps the namespace alive, if any.
    pub fd: Option<u32>,
}

/// Starts a Python process that runs `code`, usually a piece of code from [`KEEPERS`].
pub fn keeper(code: &str) -> Keeper {
    let (running, names) = start_keeper(code);
    let namespace = format!("pid:[{}]", names["namespace"]);
    Keeper { running, namespace, fd: names.get("fd").copied() }
}

/// Like [`keeper`], but returns all numbers that `code` prints, by their names.
pub fn start_keeper(code: &str) -> (Running, BTreeMap<String, u32>) {
    let script = format!("{MAKE}\n{code}\nprint('ready', flush=True)\ntime.sleep(600)");
    start_command(Command::new("python3").args(["-c", &script]))
}
