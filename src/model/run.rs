//! A command that was run to see what it leaves behind: how it ended, and what
//! became of what it left.

use std::collections::BTreeSet;

use super::Pid;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By `exit(2)`, with this status.
    Exited(u8),
    /// By this signal.
    Killed(u8),
}

impl Ended {
    /// As a shell has it: the status, or 128 and the number of the signal.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Exited(status) => status,
            Self::Killed(signal) => signal.saturating_add(128),
        }
    }
}

/// What was done to what a command had left, by PIDs in the /proc that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// Those that were sent SIGTERM. Zombies are not among them.
    pub sigterm: BTreeSet<Pid>,
    /// Those that were sent SIGKILL, too, or came only then.
    pub sigkill: BTreeSet<Pid>,
    /// Those that are there all the same.
    pub remaining: BTreeSet<Pid>,
}

/// The PID namespaces that are mounted where a process sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountedNamespaces {
    /// Inode of the mount namespace.
    pub mount_namespace: Option<u64>,
    /// Inodes of the PID namespaces, with their mount points.
    pub points: BTreeSet<(u64, String)>,
}
