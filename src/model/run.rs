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
    /// A signal with this number terminated the command.
    Killed(u8),
}

impl Ended {
    /// Returns `true` if SIGINT terminated the command.
    #[must_use]
    pub fn is_by_sigint(self) -> bool {
        self == Self::Killed(2)
    }

    /// Returns the exit status as a shell reports it: 128 plus the signal number if a signal
    /// terminated the command.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Exited(status) => status,
            Self::Killed(signal) => signal.saturating_add(128),
        }
    }
}

/// The processes that pidns killed, identified by their PIDs in the document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "killed"))]
pub struct Killed {
    /// Processes that were sent SIGTERM. No signal is sent to zombies.
    pub sigterm: BTreeSet<Pid>,
    /// Processes that were sent SIGKILL: processes that survived SIGTERM, and processes that
    /// appeared later.
    pub sigkill: BTreeSet<Pid>,
    /// Processes that pidns is not permitted to signal, such as processes of a set-user-ID program.
    pub refused: BTreeSet<Pid>,
    /// Processes that still existed when pidns stopped sending signals.
    pub remaining: BTreeSet<Pid>,
}

/// The start of a process. Starts are ordered even within one clock tick, in which a shell can start
/// several processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStart {
    /// Start time in clock ticks (1/100 s) since boot.
    pub ticks: u64,
    /// PID of the process, in the same namespace as the PIDs that it is compared with.
    pub pid: Pid,
}

impl ProcessStart {
    /// Returns `true` if this process started before the `other` one.
    ///
    /// The kernel assigns PIDs in ascending order, and starts again at 300 after the highest one. A
    /// difference of 16,384 or more between two PIDs of the same tick shows that this has happened
    /// in between, since no host starts that many processes in 10 ms.
    #[must_use]
    pub fn is_before(self, other: Self) -> bool {
        const WRAPPED: u32 = 1 << 14;
        let (pid, other_pid) = (self.pid.as_u32(), other.pid.as_u32());
        let is_wrapped = pid.abs_diff(other_pid) >= WRAPPED;
        match self.ticks.cmp(&other.ticks) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => pid != other_pid && (pid < other_pid) != is_wrapped,
        }
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
        for (one, other, is_before) in [
            (start(7, 900), start(8, 400), true),
            (start(8, 400), start(7, 900), false),
            (start(7, 400), start(7, 401), true),
            (start(7, 401), start(7, 400), false),
            (start(7, 400), start(7, 400), false),
            // The PIDs have started again at 300.
            (start(7, 32_767), start(7, 301), true),
            (start(7, 301), start(7, 32_767), false),
        ] {
            assert_eq!(one.is_before(other), is_before, "{one:?} {other:?}");
        }
    }
}
