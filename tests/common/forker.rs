//! A process that forks on command, and reports the error of the kernel.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

// The absolute path is not a wrapper, which might fork and use up PIDs.
/// Python program that obeys one command a line: `fork` starts a child that sleeps, `zombie` one
/// that exits, `unshare` one that makes a PID namespace, `kill` ends and reaps one child, `nproc N`
/// sets RLIMIT_NPROC, `write N FILE` writes a file. It answers with `ok` or the error.
const PROGRAM: &str = "
import ctypes, errno, os, resource, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
children = []
def child(run):
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        libc.prctl(1, signal.SIGKILL)
        os.write(done, run().encode())
        signal.pause()
    answer = os.read(ready, 99).decode()
    os.close(ready)
    os.close(done)
    children.append(pid)
    return answer
def unshare():
    libc.unshare(0x20000000)
    number = ctypes.get_errno()
    return errno.errorcode[number] if number else 'ok'
print('ready', flush=True)
for line in sys.stdin:
    word, *rest = line.split()
    answer = 'ok'
    try:
        if word == 'fork':
            child(lambda: 'ok')
        elif word == 'unshare':
            answer = child(unshare)
        elif word == 'zombie':
            os.kill(children[-1], signal.SIGKILL)
            os.waitid(os.P_PID, children[-1], os.WEXITED | os.WNOWAIT)
        elif word == 'kill':
            os.kill(children[-1], signal.SIGKILL)
            os.waitpid(children.pop(), 0)
        elif word == 'nproc':
            resource.setrlimit(resource.RLIMIT_NPROC, (int(rest[0]), -1 if rest[1:] else int(rest[0])))
        elif word == 'write':
            with open(rest[1], 'w') as file:
                file.write(rest[0])
    except OSError as error:
        answer = errno.errorcode[error.errno]
    print(answer, flush=True)
";

/// A process that forks on command. Its process group is killed on drop.
pub struct Forker {
    pub child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Forker {
    /// Starts it with a command prefix, such as `unshare -pf`.
    pub fn start(prefix: &str) -> Self {
        let mut words = prefix.split_whitespace().chain(["/usr/bin/python3", "-uc", PROGRAM]);
        let mut command = Command::new(words.next().expect("a command"));
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("starts");
        let commands = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut this = Self { child, commands, answers };
        assert_eq!(this.answer(), "ready", "{prefix}");
        this
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("is text");
        line.trim_end().to_owned()
    }

    /// Sends a command, and returns the answer.
    pub fn tell(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").expect("reads");
        self.answer()
    }

    /// Sends a command until the answer is an error. Returns the number of successes and the error.
    pub fn until_refused(&mut self, command: &str) -> (usize, String) {
        for count in 0..5000 {
            let answer = self.tell(command);
            if answer != "ok" {
                return (count, answer);
            }
        }
        panic!("{command} is never refused");
    }
}

impl Drop for Forker {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let group = group.expect("is a PID");
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}
