//! A process: a thread group, known by the PID of its leader.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use clap::ValueEnum;
use smol_str::SmolStr;

use super::{Evidence, NamespaceId, Nspid, Pid, keywords};

/// A process: a thread group, known by the PID of its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// PID in the namespace of the /proc that was read.
    pub pid: Pid,
    /// Its parent, in the same numbers; `None` where it has none that this /proc shows.
    pub ppid: Option<Pid>,
    /// Its own (innermost) namespace; `None` where that is ambiguous.
    pub namespace: Option<NamespaceId>,
    /// Its PIDs in every level.
    pub nspid: Nspid,
    /// Command name, at most 15 bytes unless it is a kernel thread
    /// (`PR_SET_NAME`); bytes that are not UTF-8 are U+FFFD.
    pub comm: SmolStr,
    /// One letter as in `ps(1)`: `S` sleeping, `Z` zombie and so on.
    pub state: char,
    /// Real user ID, as the reader's user namespace maps it.
    pub uid: u32,
    /// That user's name, where the host has one.
    pub user: Option<SmolStr>,
    /// How many threads it has (`Threads` of `/proc/PID/status`).
    pub threads: Option<NonZeroU32>,
    /// When it started, in clock ticks (1/100 s) after boot: field 22 of
    /// `/proc/PID/stat`. With the boot ID and the PID it is one process for ever.
    pub start_time: Option<u64>,
    /// Whether it is a thread of the kernel's own.
    pub kernel_thread: bool,
    /// How its namespace is known.
    pub evidence: Evidence,
    /// What was asked for beside all this; boxed, as most runs ask for nothing.
    pub details: Option<Box<ProcessDetails>>,
}

/// What is read of a process only where it is asked for. Each is `None` where
/// it was not, or may not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessDetails {
    /// Its command line, one string an argument (`/proc/PID/cmdline`); bytes
    /// that are not UTF-8 are U+FFFD. Empty of a kernel thread and of a process
    /// that has terminated.
    pub args: Option<Vec<SmolStr>>,
    /// Inodes of its other namespaces by the name of their link in
    /// `/proc/PID/ns`: `mnt`, `net` and so on.
    pub namespaces: Option<BTreeMap<SmolStr, u64>>,
    /// Path of its cgroup: of several hierarchies that which tells its container
    /// or unit, else that of version 2, else the deepest of version 1.
    pub cgroup: Option<String>,
}

keywords! {
    /// A part of [`ProcessDetails`].
    #[derive(ValueEnum)]
    pub enum Detail("detail", "detail", "details") {
        /// Command lines, which may hold secrets.
        Args = "args",
        /// Inodes of the namespaces of other types.
        Namespaces = "namespaces",
        /// The path of the cgroup.
        Cgroup = "cgroup",
    }
}

impl Process {
    /// One of which nothing was read.
    #[must_use]
    pub fn unread(pid: Pid) -> Self {
        Self {
            pid,
            ppid: None,
            namespace: None,
            nspid: Nspid::new(),
            comm: SmolStr::default(),
            state: '?',
            uid: 0,
            user: None,
            threads: None,
            start_time: None,
            kernel_thread: false,
            evidence: Evidence::Kernel,
            details: None,
        }
    }

    /// Whether it has terminated and waits for its parent to reap it.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// Returns `true` if the whole process has terminated and nobody has reaped
    /// it. If only its leader thread has terminated, it shows as a zombie too,
    /// but its other threads still run.
    #[must_use]
    pub fn is_unreaped(&self) -> bool {
        self.is_zombie() && self.threads.is_none_or(|threads| threads.get() == 1)
    }

    /// Its age at `uptime`, the time since boot (`CLOCK_BOOTTIME`).
    #[must_use]
    pub fn age(&self, uptime: Duration) -> Option<Duration> {
        // A clock tick is 1/100 s in user space (`USER_HZ`).
        let started = Duration::from_millis(self.start_time?.saturating_mul(10));
        Some(uptime.saturating_sub(started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_stays_small_as_hosts_have_many() {
        assert!(size_of::<Process>() <= 144, "{}", size_of::<Process>());
    }
}
