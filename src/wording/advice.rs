//! Advice: how to solve a problem, usually by a shell command. A command may end with a comment
//! (`# ...`), so that users can copy the whole line.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::line::{Emphasis, Line};
use super::sanitize::{Sanitized, is_harmful};
use super::subject::part_of;
use crate::graph::PidGraph;
use crate::model::{
    BlockReason, FrozenCgroup, Holder, HoldingFile, LiveFacts, Namespace, NamespaceId,
    NamespaceState, Pid, Process, StoppedBy,
};

/// The advice for an init that does not reap its children.
pub const USE_REAPING_INIT: &str = "use an init that reaps its children, such as docker run --init";

/// The advice for a namespace whose state pidns cannot determine.
pub const RUN_ON_HOST: &str = "run pidns as root on the host, with the host's /proc";

/// Maximum number of commands to suggest for one namespace. If more processes and mounts keep the
/// namespace alive, the next run of pidns suggests the remaining commands.
const COMMANDS: usize = 10;

/// Maximum number of mount points that a report lists for one namespace.
const MOUNTS: usize = 3;

/// Gives advice about the processes and namespaces of a graph.
pub struct Adviser<'a> {
    /// The graph that contains the processes and namespaces.
    pub graph: &'a PidGraph,
    /// Facts about the live host; empty for a saved document.
    pub live: &'a LiveFacts,
}

impl Adviser<'_> {
    /// Returns the commands that kill a process. A comment names the service or container of the
    /// process, because users should usually stop the whole service or container. Returns no
    /// commands for a kernel thread, or for pidns itself, which exits anyway.
    pub fn end(&self, pid: Pid) -> Vec<String> {
        let process = self.graph.known_process(pid);
        let has_ended = self.live.ended.contains(&pid);
        let is_own = self.live.own_pid == Some(pid);
        if is_own || has_ended || process.is_some_and(|it| it.kernel_thread) {
            return Vec::new();
        }
        if pid == Pid::INIT {
            return vec![format!("{pid} is the init here: killing it would end every process")];
        }
        // Some processes need SIGKILL: a stopped process handles SIGTERM only after it is
        // continued, and the kernel drops a SIGTERM to an init that has no handler for it.
        let needs_kill = self.live.ignore_sigterm.contains(&pid)
            || self.stopped_by(pid).is_some()
            || process.is_some_and(|it| it.nspid.last() == Some(&Pid::INIT));
        let signal = if needs_kill { "-KILL " } else { "" };
        let kill = match process.and_then(|it| part_of(self.graph, it)) {
            Some(whole) => format!("kill {signal}{pid} # part of {}", Sanitized(whole)),
            None => format!("kill {signal}{pid}"),
        };
        let mut commands = self.thaw(pid);
        commands.push(kill);
        commands
    }

    /// Returns commands after which a zombie gets reaped. If `reaper` is frozen or stopped, the
    /// commands thaw or continue it, so that it can reap the zombie itself. Otherwise, the commands
    /// kill `reaper`, so that another process reaps the zombie.
    pub fn make_reap(&self, reaper: Pid, zombie: Pid) -> Vec<String> {
        let thaw = self.thaw(reaper);
        if !thaw.is_empty() {
            return thaw;
        }
        self.go_on(reaper).unwrap_or_else(|| self.end_reaper(reaper, zombie))
    }

    /// Returns the commands that kill `reaper`, the parent or tracer of the process `of`.
    ///
    /// Returns a warning instead if `of` belongs to a user other than root, and `reaper` to a
    /// different user. The user of `of` may have chosen `reaper` as the parent or tracer, to get
    /// `reaper` killed. With `CLONE_PARENT`, a user can start a process as a child of `su` or
    /// `sudo`, which run as root. With `PTRACE_TRACEME`, that process can make its parent its
    /// tracer.
    fn end_reaper(&self, reaper: Pid, of: Pid) -> Vec<String> {
        let known = |pid| self.graph.known_process(pid);
        match known(reaper).zip(known(of)) {
            Some((parent, child)) if child.uid != parent.uid && child.uid != 0 => vec![format!(
                "end {reaper} only if user {} does not need it: {of} belongs to user {}",
                user(parent),
                user(child)
            )],
            _ => self.end(reaper),
        }
    }

    /// Returns the commands that continue a stopped process, or `None` if the process is not
    /// stopped. SIGCONT has no effect on a process that a tracer has stopped, so the commands then
    /// kill the tracer.
    pub fn go_on(&self, pid: Pid) -> Option<Vec<String>> {
        let stopped_by = self.stopped_by(pid)?;
        if self.live.ended.contains(&pid) {
            return Some(Vec::new());
        }
        Some(match stopped_by {
            StoppedBy::Tracer(None) => Vec::new(),
            StoppedBy::Tracer(Some(tracer)) => self.end_reaper(tracer, pid),
            StoppedBy::Signal => vec![format!("kill -CONT {pid}")],
        })
    }

    /// Returns the cause that a process is stopped, or `None` if the process is not stopped.
    pub fn stopped_by(&self, pid: Pid) -> Option<StoppedBy> {
        let process = self.graph.known_process(pid)?;
        match process.state {
            'T' => Some(StoppedBy::Signal),
            't' => Some(StoppedBy::Tracer(process.tracer())),
            _ => self.live.stopped.get(&pid).copied(),
        }
    }

    /// Returns the commands that wake a process in uninterruptible sleep, or that show the kernel
    /// function in which the process waits.
    pub fn wake(&self, pid: Pid) -> Vec<String> {
        let thaw = self.thaw(pid);
        if !thaw.is_empty() || self.live.ended.contains(&pid) {
            return thaw;
        }
        let leader_exited = self.graph.process(pid).is_some_and(Process::is_zombie);
        let stack = match self.live.stuck_threads.get(&pid) {
            Some(tid) => format!("/proc/{pid}/task/{tid}/stack"),
            None if leader_exited => format!("/proc/{pid}/task/*/stack"),
            None => format!("/proc/{pid}/stack"),
        };
        vec![format!("cat {stack} # the kernel function that it waits in")]
    }

    fn thaw(&self, pid: Pid) -> Vec<String> {
        let cgroups = self.live.frozen.get(&pid).into_iter().flatten();
        let command = |cgroup: &FrozenCgroup| match cgroup {
            FrozenCgroup::V1(dir) => {
                format!("echo THAWED > {}", shell_path(&dir.join("freezer.state")))
            }
            FrozenCgroup::V2(dir) => {
                format!("echo 0 > {}", shell_path(&dir.join("cgroup.freeze")))
            }
        };
        cgroups.map(command).collect()
    }

    /// Returns the commands that let a terminated init finish its exit.
    pub fn unblock(&self, namespace: &Namespace) -> Vec<String> {
        let commands = namespace.blocked_by.iter().flat_map(|it| match (it.reason, it.reaper) {
            (BlockReason::Uninterruptible, _) => self.wake(it.pid),
            (BlockReason::Zombie | BlockReason::Traced, Some(reaper)) => {
                self.make_reap(reaper, it.pid)
            }
            (BlockReason::Zombie | BlockReason::Traced, None) => Vec::new(),
        });
        distinct(commands)
    }

    /// Returns the command that starts a shell in a PID namespace. The shell runs in all namespaces
    /// of `process` or, if they cannot be entered, in all namespaces of the init.
    ///
    /// Returns `None` for the namespace that the procfs shows, for a namespace that cannot be
    /// entered, and for a saved document.
    pub fn enter(&self, namespace: NamespaceId, process: Option<Pid>) -> Option<String> {
        let own = self.graph.snapshot().procfs.namespace;
        let namespace = self.graph.namespace(namespace).filter(|it| Some(it.id) != own)?;
        if namespace.state == NamespaceState::Dead {
            return None;
        }
        let mut candidates = process.into_iter().chain(namespace.init);
        let (pid, keeps_user) =
            candidates.find_map(|pid| Some((pid, *self.live.enterable.get(&pid)?)))?;
        // The command names `sh`, because nsenter would otherwise start $SHELL, which containers
        // often do not have.
        let keep = if keeps_user { "--preserve-credentials " } else { "" };
        Some(format!("nsenter -t {pid} -a {keep}sh"))
    }

    /// Returns the commands that remove everything that keeps a namespace alive.
    pub fn release(&self, namespace: &Namespace) -> Vec<String> {
        // A terminated init does not react to signals, so suggest commands that let it finish its
        // exit.
        let init = match (namespace.state, namespace.init) {
            (NamespaceState::Dead, Some(_)) => self.unblock(namespace),
            (_, Some(init)) => self.end(init),
            (_, None) => Vec::new(),
        };
        let holders = namespace.holders.iter().flat_map(|holder| match holder {
            Holder::Fd { pid, .. } | Holder::PidForChildren { pid, .. } => self.end(*pid),
            Holder::File { file, pid, fd, .. } => self.close(*file, *pid, *fd),
            Holder::Mount { path, mount_namespace } => {
                umount(path, *mount_namespace, self.live).into_iter().collect()
            }
        });
        distinct(init.into_iter().chain(holders))
    }

    /// Returns advice on how to get a file closed. If the file is a connected socket, or is kept by
    /// messages in a socket, never suggests killing the process. Any user can connect to a daemon
    /// or send messages to it, and could get the daemon killed in this way.
    fn close(&self, file: HoldingFile, pid: Pid, fd: u32) -> Vec<String> {
        if self.live.ended.contains(&pid) {
            return Vec::new();
        }
        match file {
            HoldingFile::Socket => vec![format!(
                "end the process at the other end of socket {fd} of {pid} (ss -xp shows both ends)"
            )],
            HoldingFile::Message | HoldingFile::InFlight => {
                vec![format!("let {pid} read its socket {fd} empty, or close it")]
            }
            HoldingFile::Pidfd | HoldingFile::Listener | HoldingFile::Procfs => self.end(pid),
        }
    }
}

/// Returns the name of the user of a process, or the UID if the user has no name.
fn user(process: &Process) -> String {
    process.user.as_ref().map_or_else(|| process.uid.to_string(), ToString::to_string)
}

/// Removes duplicate commands, and returns at most [`COMMANDS`] of the rest.
fn distinct(all: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    for command in all {
        if commands.len() == COMMANDS {
            break;
        }
        if !commands.contains(&command) {
            commands.push(command);
        }
    }
    commands
}

/// Appends to `line` the commands that unmount a bind-mounted namespace.
pub fn add_umounts(namespace: &Namespace, facts: &LiveFacts, line: &mut Line) {
    let mounts = namespace.holders.iter().filter_map(|holder| match holder {
        Holder::Mount { path, mount_namespace } => umount(path, *mount_namespace, facts),
        Holder::Fd { .. } | Holder::PidForChildren { .. } | Holder::File { .. } => None,
    });
    for command in mounts.take(MOUNTS) {
        line.part("; ", Emphasis::Command, format_args!("{command}"));
    }
}

/// Returns the command that unmounts a path in a mount namespace.
///
/// If pidns is in another mount namespace, the command enters the mount namespace of the path, and
/// needs the PID of a process in that namespace. Returns `None` if pidns knows no such process. For
/// a saved document, the command does not enter a mount namespace, because the current mount
/// namespaces are unknown.
///
/// The owner of a mount namespace can replace the `umount` program in that namespace. So the
/// command runs the host's `umount`, which enters the mount namespace itself (`-N`), and runs no
/// helper program (`-i`). Without `-n`, `umount` would follow a symbolic link
/// `/run/mount/utab.lock` in that mount namespace, and make the target of the link readable for
/// everyone.
///
/// Returns `None` for a mount without a usable path, such as `(unreachable)`.
fn umount(path: &str, mount_namespace: u64, facts: &LiveFacts) -> Option<String> {
    if !path.starts_with('/') {
        return None;
    }
    let path = shell_word(path);
    match facts.own_mount_namespace {
        Some(own) if own != mount_namespace => {
            let pid = facts.in_mount_namespace.get(&mount_namespace)?;
            Some(format!("umount -i -n -N {pid} {path}"))
        }
        _ => Some(format!("umount {path}")),
    }
}

/// Quotes a path as a single word for a shell, even if the path is not UTF-8.
fn shell_path(path: &Path) -> String {
    let escape = |&byte: &u8| match byte {
        _ if is_plain(byte) => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    };
    match path.to_str() {
        Some(text) => shell_word(text),
        None => {
            format!("$'{}'", path.as_os_str().as_bytes().iter().map(escape).collect::<String>())
        }
    }
}

/// Returns `true` if a character has no special meaning in a shell.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._-+:@%,".contains(&byte)
}

/// Quotes text as a single word for a shell. Characters that are harmful to a terminal become
/// escapes in `$'...'` (POSIX.1-2024).
pub fn shell_word(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    if !text.contains(is_harmful) {
        return format!("'{}'", text.replace('\'', "'\\''"));
    }
    let mut word = "$'".to_owned();
    for character in text.chars() {
        match character {
            '\n' => word.push_str("\\n"),
            '\\' | '\'' => word.extend(['\\', character]),
            _ if is_harmful(character) => {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    // Always write three digits: after a shorter escape, the shell would treat a
                    // following digit as part of the escape. Writing to a String cannot fail.
                    let _ = write!(word, "\\{byte:03o}");
                }
            }
            _ => word.push(character),
        }
    }
    word.push('\'');
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        assert_eq!(shell_word("/run/x-1"), "/run/x-1");
        assert_eq!(shell_word("/run/it's $x"), "'/run/it'\\''s $x'");
        assert_eq!(shell_word(""), "''");
        let hostile = "/run/a\nb\\n'\u{1b}1\u{202e}é";
        let word = shell_word(hostile);
        assert_eq!(word, "$'/run/a\\nb\\\\n\\'\\0331\\342\\200\\256é'");
        let script = format!("printf %s {word}");
        let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(output.stdout, hostile.as_bytes());
        let path = Path::new(std::ffi::OsStr::from_bytes(b"/x\xff'1"));
        assert_eq!(shell_path(path), "$'/x\\377\\0471'");
    }
}
