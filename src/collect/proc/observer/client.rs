//! Finds clients, the processes that started pidns but are not its ancestors.
//!
//! An example of a client is `docker run IMAGE pidns check`.

use std::collections::BTreeSet;

use crate::collect::kernel::wait_limit::WaitLimit;
use crate::collect::proc::procfs::Procfs;
use crate::collect::proc::relatives::{ancestry, arguments, file_name};
use crate::model::{Pid, Process, runtime};

/// Programs other than [`runtime::CLIENTS`] that run a command in a process that is not their
/// descendant.
const CLIENTS: [&str; 13] = [
    "lxc",
    "incus",
    "lxc-attach",
    "machinectl",
    "systemd-run",
    "runc",
    "crun",
    "nomad",
    "srun",
    "flatpak-spawn",
    SSH,
    // See `TIMERS`.
    "busybox",
    "timeout",
];

/// Name of the client whose last argument can be the text of a script.
const SSH: &str = "ssh";

/// Process names of BusyBox's `timeout`.
///
/// `timeout` waits in an orphaned grandchild, and the original process executes the command.
const TIMERS: [&str; 2] = ["busybox", "timeout"];

/// Returns a list for each client (such as `docker exec`) that started pidns or one of pidns's
/// ancestors.
///
/// Each list holds the client, followed by its ancestors.
pub fn clients<'a>(
    procfs: &Procfs,
    processes: &'a [Process],
    own: &[&Process],
    waits: &WaitLimit,
) -> Vec<Vec<&'a Process>> {
    // An SSH client runs the check only if the check runs below an SSH server of this host. All
    // other SSH clients usually connect to other hosts.
    let is_below_sshd = own.iter().any(|it| it.comm.starts_with("sshd"));
    let is_candidate = |it: &&Process| {
        (runtime::CLIENTS.contains(&&*it.comm) || CLIENTS.contains(&&*it.comm))
            && (it.comm != SSH || is_below_sshd)
            && !own.iter().any(|ancestor| ancestor.pid == it.pid)
    };
    let mut candidates = processes.iter().filter(is_candidate).peekable();
    if candidates.peek().is_none() {
        return Vec::new();
    }
    let own = own.iter().map(|it| arguments(procfs, it.pid, waits).unwrap_or_default());
    let own: Vec<Vec<u8>> = own.collect();
    let commands = own.iter().enumerate().filter_map(|(index, it)| operands(it, index == 0));
    let commands: Vec<&[u8]> = commands.collect();
    let names = own.first().and_then(|it| names(it));
    let runs_check = |it: &&Process| {
        let text = arguments(procfs, it.pid, waits).unwrap_or_default();
        let has_names = |script: &[u8]| names.is_some_and(|names| contains(script, names));
        commands.iter().any(|command| text.ends_with(command))
            || match &*it.comm {
                // A subshell of `busybox sh -c SCRIPT` has the same arguments as its parent shell,
                // but is not a client.
                "busybox" => false,
                SSH => last_argument(&text).is_some_and(has_names),
                _ => scripts(&text).any(has_names),
            }
    };
    candidates.filter(runs_check).map(|it| ancestry(processes, it.pid)).collect()
}

/// Returns a list for each other `pidns check` that runs at the same time, such as one that writes
/// another report on the same job.
///
/// Each list holds the other check, followed by its ancestors.
pub fn other_checks<'a>(
    procfs: &Procfs,
    processes: &'a [Process],
    own: &[&Process],
    waits: &WaitLimit,
) -> Vec<Vec<&'a Process>> {
    let Some(own) = own.first() else { return Vec::new() };
    // The other check can run from another copy of the program, and as another user.
    let is_check = |it: &&Process| {
        let is_other = it.pid != own.pid && it.comm == own.comm && !it.is_zombie();
        let text = is_other.then(|| arguments(procfs, it.pid, waits)).flatten();
        text.is_some_and(|it| names(&it).is_some_and(|[_, subcommand]| subcommand == b"check"))
    };
    processes.iter().filter(is_check).map(|it| ancestry(processes, it.pid)).collect()
}

/// Returns the PID of each BusyBox `timeout` process that enforces a time limit on one of
/// `commands`.
pub fn timers(
    procfs: &Procfs,
    processes: &[Process],
    commands: &BTreeSet<Pid>,
    waits: &WaitLimit,
) -> Vec<Pid> {
    let mut timers = processes.iter().filter(|it| TIMERS.contains(&&*it.comm)).peekable();
    if timers.peek().is_none() {
        return Vec::new();
    }
    let commands = processes.iter().filter(|it| commands.contains(&it.pid));
    let commands = commands.filter_map(|it| Some((&*it.comm, arguments(procfs, it.pid, waits)?)));
    let commands: Vec<(&str, Vec<u8>)> = commands.filter(|(_, it)| !it.is_empty()).collect();
    let is_timer = |it: &&Process| {
        let text = arguments(procfs, it.pid, waits).unwrap_or_default();
        let ends_with = |command: &[u8], before: &[u8]| {
            let options = text.strip_suffix(command).and_then(<[u8]>::last);
            options.is_some_and(|last| before.contains(last))
        };
        commands.iter().any(|(comm, command)| {
            // The name of a process that runs a script is the script's file name.
            let script = script(command).filter(|it| it.starts_with(comm.as_bytes()));
            ends_with(command, b"\0") || script.is_some_and(|it| ends_with(it, b"\0/"))
        })
    };
    timers.filter(is_timer).map(|it| it.pid).collect()
}

/// Returns the file name of a script and its arguments, from the command line of its interpreter.
///
/// The kernel changes the command line of a script to `INTERPRETER [OPTION] PATH [ARGUMENT...]`.
fn script(command: &[u8]) -> Option<&[u8]> {
    let end_of_word = |text: &[u8]| text.iter().position(|&byte| byte == 0);
    let mut rest = command.get(end_of_word(command)? + 1..)?;
    if rest.starts_with(b"-") {
        rest = rest.get(end_of_word(rest)? + 1..)?;
    }
    let slash = rest.get(..end_of_word(rest)?)?.iter().rposition(|&byte| byte == b'/')?;
    rest.get(slash + 1..)
}

/// Returns the arguments in a command line if they are specific enough to identify the command.
///
/// The returned slice begins with the null byte that ends the program name. `is_own`: `true` for
/// the command line of pidns itself, `false` for that of an ancestor.
fn operands(command: &[u8], is_own: bool) -> Option<&[u8]> {
    let start = command.iter().position(|&byte| byte == 0)?;
    let operands = command.get(start..)?;
    let mut words = operands.split(|&byte| byte == 0).skip(1);
    let (first, second) = (words.next()?, words.next()?);
    // Splitting yields an empty word after the final null byte, so require three words for two
    // arguments.
    words.next()?;
    // For an ancestor, accept only `-c` with the text of a script. Other arguments, such as those
    // of `sh -e script`, can be the same in each CI step, so they do not identify the command.
    (is_own || is_script(first, second)).then_some(operands)
}

/// Returns `true` for an option such as `-c`, `-ec` or `-ce`, followed by the text of a script.
fn is_script(option: &[u8], text: &[u8]) -> bool {
    let letters = option.strip_prefix(b"-").filter(|it| it.iter().all(u8::is_ascii_alphabetic));
    letters.is_some_and(|it| it.contains(&b'c')) && !text.is_empty()
}

/// Returns the script of each `-c SCRIPT` in a command line.
fn scripts(command: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = || command.split(|&byte| byte == 0);
    let pairs = words().zip(words().skip(1));
    pairs.filter(|(option, script)| is_script(option, script)).map(|(_, script)| script)
}

/// Returns the last argument in a command line.
fn last_argument(command: &[u8]) -> Option<&[u8]> {
    command.strip_suffix(b"\0")?.rsplit(|&byte| byte == 0).next()
}

/// Returns the program's file name and the first non-option argument of a command line (for
/// example, `pidns` and `check`).
fn names(command: &[u8]) -> Option<[&[u8]; 2]> {
    let mut words = command.split(|&byte| byte == 0);
    let program = file_name(words.next()?);
    let is_name = |word: &&[u8]| !word.is_empty() && !word.starts_with(b"-");
    Some([program, words.find(is_name)?])
}

/// Returns `true` if a script contains the names of a program and its subcommand, each as a whole
/// word.
///
/// Many shells exec the last command of a script, so the shell's own command line is lost. The
/// command line of a client such as `docker run` still contains the script.
fn contains(script: &[u8], [program, subcommand]: [&[u8]; 2]) -> bool {
    let ends_word = |byte: &u8| byte.is_ascii_whitespace() || b";&|<>()\"'`\\".contains(byte);
    let mut words = script.split(ends_word);
    words.clone().any(|word| file_name(word) == program) && words.any(|word| word == subcommand)
}

#[cfg(test)]
mod tests {
    use super::{contains, names, operands, script, scripts};

    #[test]
    fn compares_two_or_more_arguments_or_a_script() {
        let check = b"/bin/pidns\0check\0--strict\0";
        assert_eq!(operands(check, true), Some(&b"\0check\0--strict\0"[..]));
        assert_eq!(operands(check, false), None);
        assert_eq!(operands(b"pidns\0check\0", true), None);
        assert_eq!(operands(b"sh\0-ec\0pidns check\0", false), Some(&b"\0-ec\0pidns check\0"[..]));
        for other in [&b""[..], b"sh", b"sh\0", b"sh\0-c\0", b"sh\0-e\0script\0"] {
            assert_eq!(operands(other, false), None);
        }
    }

    #[test]
    fn finds_the_script_of_an_interpreter() {
        for command in ["/bin/sh\0./ci.sh\0a\0", "/bin/sh\0-e\0/opt/ci.sh\0a\0"] {
            assert_eq!(script(command.as_bytes()), Some(&b"ci.sh\0a\0"[..]));
        }
        for other in [&b""[..], b"sh\0", b"sh\0-e\0", b"sleep\x00600\0", b"sh\0-c\0", b"x\0a/b"] {
            assert_eq!(script(other), None);
        }
    }

    #[test]
    fn finds_the_names_of_pidns_in_a_script_in_the_clients_arguments() {
        let names = names(b"/bin/pidns\0-q\0check\0--since\0x\0").unwrap();
        assert_eq!(names, [&b"pidns"[..], b"check"]);
        let client = b"docker\0run\0-c\x005\0image\0bash\0-euo\0pipefail\0-ce\0job; pidns\0sh\0x\0";
        assert_eq!(scripts(client).collect::<Vec<_>>(), [&b"5"[..], b"job; pidns"]);
        for other in [&b""[..], b"docker\0", b"docker\0-c\0"] {
            assert_eq!(scripts(other).count(), 0);
        }
        for script in ["cd /s;pidns check", "x=$(/opt/pidns --strict check)", "sh -c 'pidns check'"]
        {
            assert!(contains(script.as_bytes(), names), "{script}");
        }
        for script in
            ["pidns run make check-all", "make check", "pidns-old check", "/pidns/x check"]
        {
            assert!(!contains(script.as_bytes(), names), "{script}");
        }
    }
}
