//! The outcome of a command started by `pidns run`.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::Serialize;

use super::Pid;

/// The exit status of a command, or the signal that terminated it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The command exited with this status.
    Exited(u8),
    /// The command was terminated by the signal with this number.
    Killed(u8),
}

impl Ended {
    /// Returns `true` if SIGINT terminated the command.
    #[must_use]
    pub fn is_by_sigint(self) -> bool {
        self == Self::Killed(2)
    }

    /// Returns the exit status as a shell reports it.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Exited(status) => status,
            Self::Killed(signal) => signal.saturating_add(128),
        }
    }
}

/// Lists the processes that pidns tried to kill. Their PIDs belong to the same PID namespace as the
/// PIDs in `document`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "killed"))]
pub struct Killed {
    /// Processes to which pidns sent SIGTERM. pidns sends no signals to zombies.
    pub sigterm: BTreeSet<Pid>,
    /// Processes that received SIGKILL from pidns or from the kernel. pidns sends SIGKILL to
    /// processes that survived SIGTERM or appeared later. After pidns kills an init, the kernel
    /// kills the other members of its PID namespace, even members that entered through nsenter or
    /// docker exec.
    pub sigkill: BTreeSet<Pid>,
    /// Processes in `sigkill` that are not descendants of the command. The kernel killed each of
    /// them because the init of a PID namespace was killed.
    #[serde(skip)]
    pub outsiders: BTreeSet<Pid>,
    /// Processes that pidns is not permitted to signal, such as processes of a set-user-ID program.
    pub refused: BTreeSet<Pid>,
    /// Processes that were still running when pidns stopped sending signals.
    pub remaining: BTreeSet<Pid>,
    /// Zombies that had not been reaped when pidns stopped sending signals.
    pub unreaped: BTreeSet<Pid>,
}

impl Killed {
    /// Returns `true` if there was no process to kill.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.sigterm, &self.sigkill, &self.refused, &self.remaining]
            .iter()
            .all(|it| it.is_empty())
    }
}

/// Start time and PID of a process, for ordering processes by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStart {
    /// Start time in clock ticks (1/100 s) since boot.
    pub ticks: u64,
    /// PID of the process in the PID namespace that the procfs shows.
    pub pid: Pid,
}

impl ProcessStart {
    /// Returns `true` if this process started before `other`, or `None` if the order is unknown.
    #[must_use]
    pub fn is_before(self, other: Self, pid_max: Option<u32>) -> Option<bool> {
        // No host starts this many processes in one clock tick (10 ms).
        const TOO_MANY: u32 = 1 << 14;
        // When the kernel reaches `pid_max`, it wraps around and assigns PIDs from 300 again
        // (`RESERVED_PIDS`).
        const FIRST_AGAIN: u32 = 300;
        match self.ticks.cmp(&other.ticks) {
            Ordering::Less => return Some(true),
            Ordering::Greater => return Some(false),
            Ordering::Equal if self.pid == other.pid => return Some(false),
            Ordering::Equal => {}
        }
        let (pid, other_pid) = (self.pid.as_u32(), other.pid.as_u32());
        let (low, high) = (pid.min(other_pid), pid.max(other_pid));
        // If PIDs did not wrap around between the two starts, the process with the lower PID is
        // older. A gap of `TOO_MANY` or more proves that they wrapped around.
        let can_ascend = high - low < TOO_MANY;
        let above = pid_max.map_or(0, |max| max.saturating_sub(high));
        let can_restart = low
            .checked_sub(FIRST_AGAIN)
            .is_some_and(|below| below.saturating_add(above) < TOO_MANY);
        (can_ascend != can_restart).then_some((pid == low) == can_ascend)
    }
}

/// The PID namespaces that are bind-mounted in a mount namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountedNamespaces {
    /// Inode of the mount namespace.
    pub mount_namespace: Option<u64>,
    /// Inode and mount point of each mounted PID namespace.
    pub points: BTreeSet<(u64, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_one_tick_are_ordered_by_pid() {
        let start = |ticks, pid| ProcessStart { ticks, pid: Pid::new(pid).expect("a PID") };
        let low = Some(32_768);
        for (one, other, pid_max, is_before) in [
            (start(7, 900), start(8, 400), None, Some(true)),
            (start(8, 400), start(7, 900), None, Some(false)),
            (start(7, 400), start(7, 401), low, Some(true)),
            (start(7, 401), start(7, 400), low, Some(false)),
            (start(7, 400), start(7, 400), None, Some(false)),
            // The PIDs have wrapped around to 300.
            (start(7, 32_767), start(7, 301), None, Some(true)),
            (start(7, 301), start(7, 32_767), low, Some(false)),
            // The PIDs may have wrapped around, so either process may have started first.
            (start(7, 398), start(7, 301), Some(400), None),
            (start(7, 301), start(7, 398), Some(400), None),
            (start(7, 400), start(7, 401), None, None),
            // A process with a PID below 300 started before the PIDs wrapped around.
            (start(7, 299), start(7, 301), Some(400), Some(true)),
            (start(7, 299), start(7, 32_767), low, None),
        ] {
            assert_eq!(one.is_before(other, pid_max), is_before, "{one:?} {other:?}");
        }
    }
}
