//! The outcome of a command started by `pidns run`.

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
    /// Processes that still existed after repeated SIGKILL.
    pub remaining: BTreeSet<Pid>,
}

/// The PID namespaces that are bind-mounted in a mount namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountedNamespaces {
    /// Inode of the mount namespace.
    pub mount_namespace: Option<u64>,
    /// Inode and mount point of each mounted PID namespace.
    pub points: BTreeSet<(u64, String)>,
}
