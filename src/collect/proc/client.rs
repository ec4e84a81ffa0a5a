//! Finds clients, the processes that started pidns but are not its ancestors.
//!
//! An example of a client is `docker run IMAGE pidns check`.

use std::collections::BTreeSet;

use super::procfs::Procfs;
use super::relatives::{ancestry, arguments};
use crate::collect::kernel::wait_limit::WaitLimit;
use crate::model::{Pid, Process};

/// Programs that run a command in a process that is not their descendant.
const CLIENTS: [&str; 17] = [
    "docker",
    "docker-compose",
    "podman",
    "podman-remote",
    "nerdctl",
    "ctr",
    "crictl",
    "kubectl",
    "oc",
    "lxc",
    "incus",
    "lxc-attach",
    "machinectl",
    "systemd-run",
    // See `TIMERS`.
    "busybox",
    "timeout",
    "runc",
];

/// Names of BusyBox's `timeout`, which does its waiting in an orphaned grandchild, and runs the
/// command in the original process with `exec`.
const TIMERS: [&str; 2] = ["busybox", "timeout"];

/// Returns each client (such as `docker exec`) that started pidns or one of pidns's ancestors.
///
/// Each returned list begins with the client itself, followed by the client's own ancestors.
pub fn clients<'a>(
    procfs: &Procfs,
    processes: &'a [Process],
    own: &[&Process],
    waits: &WaitLimit,
) -> Vec<Vec<&'a Process>> {
    let is_candidate = |it: &&Process| {
        CLIENTS.contains(&&*it.comm) && !own.iter().any(|ancestor| ancestor.pid == it.pid)
    };
    let mut candidates = processes.iter().filter(is_candidate).peekable();
    if candidates.peek().is_none() {
        return Vec::new();
    }
    let commands = own.iter().enumerate().filter_map(|(index, it)| {
        let command = arguments(procfs, it.pid, waits)?;
        operands(&command, index == 0).map(<[u8]>::to_vec)
    });
    let commands: Vec<Vec<u8>> = commands.collect();
    let runs_check = |it: &&Process| {
        let text = arguments(procfs, it.pid, waits).unwrap_or_default();
        commands.iter().any(|command| text.ends_with(command))
    };
    candidates.filter(runs_check).map(|it| ancestry(processes, it.pid)).collect()
}

/// Returns the processes of BusyBox's `timeout` that limit the time of one of the `commands`.
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
    let commands = commands.iter().filter_map(|&it| arguments(procfs, it, waits));
    let commands: Vec<Vec<u8>> = commands.filter(|it| !it.is_empty()).collect();
    let is_timer = |it: &&Process| {
        let text = arguments(procfs, it.pid, waits).unwrap_or_default();
        let mut rest = commands.iter().filter_map(|command| text.strip_suffix(&**command));
        rest.any(|options| options.ends_with(&[0]))
    };
    timers.filter(is_timer).map(|it| it.pid).collect()
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
    // The last null byte ends the last argument.
    words.next()?;
    // For an ancestor, accept only `-c` with the text of a script. Other arguments, such as those
    // of `sh -e script`, can be the same in each CI step, so they do not identify the command.
    let is_script = first.starts_with(b"-") && first.ends_with(b"c") && !second.is_empty();
    (is_own || is_script).then_some(operands)
}

#[cfg(test)]
mod tests {
    use super::operands;

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
}
