//! Processes and their properties.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use clap::ValueEnum;
use smol_str::SmolStr;

use super::{Container, EnvPattern, Evidence, NamespaceId, Nspid, Pid, ProcessStart, keywords};

/// A process (thread group), identified by the PID of its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// PID of the process in the PID namespace that the procfs shows.
    pub pid: Pid,
    /// PID of the parent, if known. An unfiltered snapshot contains every known parent.
    pub ppid: Option<Pid>,
    /// The process's own (innermost) namespace, or `None` if unknown.
    pub namespace: Option<NamespaceId>,
    /// The process's PIDs in all namespaces, outermost namespace first.
    pub nspid: Nspid,
    /// Command name (`PR_SET_NAME`), usually at most 15 bytes, with U+FFFD for invalid UTF-8.
    pub comm: SmolStr,
    /// State letter as in `ps(1)`, for example `S` (sleeping) or `Z` (zombie).
    pub state: char,
    /// Real user ID, as seen in pidns's own user namespace.
    pub uid: u32,
    /// Name of the user with this UID, if known.
    pub user: Option<SmolStr>,
    /// Number of threads (`Threads` in `/proc/PID/status`).
    pub threads: Option<NonZeroU32>,
    /// Start time in clock ticks (1/100 s) since boot, without the time namespace's offset.
    pub start_time: Option<u64>,
    /// `true` if the process is a kernel thread.
    pub kernel_thread: bool,
    /// The evidence that the process is in `namespace`.
    pub evidence: Evidence,
    /// Details of the process, in a `Box` to save memory, because most runs request none.
    pub details: Option<Box<ProcessDetails>>,
}

/// Optional properties of a process, each `None` if not requested or not readable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessDetails {
    /// Arguments (`/proc/PID/cmdline`), with U+FFFD for invalid UTF-8. Empty for kernel threads and
    /// terminated processes.
    pub args: Option<Vec<SmolStr>>,
    /// Maps names of links in `/proc/PID/ns`, such as `net`, to the inodes of the namespaces.
    pub namespaces: Option<BTreeMap<SmolStr, u64>>,
    /// Path of the process's cgroup, as [`cgroup_path`](super::cgroup::cgroup_path) selects it.
    pub cgroup: Option<String>,
    /// The container of the process. Set only if the init of the process's PID namespace is not in
    /// the same container (as in a pod).
    pub container: Option<Container>,
    /// PID of the tracer (`TracerPid`), read for zombies and processes in state `t`.
    pub tracer: Option<Pid>,
    /// `true` if the process is known to be in a frozen cgroup (see `collect/assemble/frozen.rs`).
    pub frozen: bool,
    /// Contains the requested patterns that match the process's environment. The patterns are not
    /// saved in documents.
    pub environment: BTreeSet<EnvPattern>,
}

keywords! {
    /// A kind of [`ProcessDetails`] that users can request.
    #[derive(ValueEnum)]
    pub enum Detail("detail", "detail", "details") {
        /// Command lines, which may contain passwords and other secrets.
        Args = "args",
        /// Inodes of the mount, network, user and other namespaces.
        Namespaces = "namespaces",
        /// The path of the process's cgroup.
        Cgroup = "cgroup",
        /// Limits that can make fork(2) or the creation of a PID namespace fail (field `limits`).
        Limits = "limits",
    }
}

impl Detail {
    /// The details that are read for each process.
    pub const OF_PROCESSES: [Self; 3] = [Self::Args, Self::Namespaces, Self::Cgroup];
}

impl Process {
    /// Creates a process with this PID and unknown properties.
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

    /// Returns `true` if the leader thread has terminated, even if other threads are running.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// Returns `true` if the process and all its threads have terminated, but the process has not
    /// been reaped yet.
    #[must_use]
    pub fn is_unreaped(&self) -> bool {
        self.is_zombie() && self.threads.is_none_or(|threads| threads.get() == 1)
    }

    /// Returns `true` if the leader thread has terminated, but other threads have not.
    #[must_use]
    pub fn has_exited_leader(&self) -> bool {
        self.is_zombie() && !self.is_unreaped()
    }

    /// Returns `true` if the process is the init (PID 1) of its PID namespace.
    #[must_use]
    pub fn is_init(&self) -> bool {
        self.nspid.last() == Some(&Pid::INIT)
    }

    /// Returns `true` if a signal or a tracer has stopped the process.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// Returns the PID of the process's tracer, if known (see [`ProcessDetails::tracer`]).
    #[must_use]
    pub fn tracer(&self) -> Option<Pid> {
        self.details.as_ref()?.tracer
    }

    /// Returns `true` if the process is known to be frozen (see [`ProcessDetails::frozen`]).
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.frozen)
    }

    /// Returns the path of the process's cgroup, if it was read.
    #[must_use]
    pub fn cgroup(&self) -> Option<&str> {
        self.details.as_ref()?.cgroup.as_deref()
    }

    /// Returns the container of the process, if it differs from the container of the PID namespace.
    #[must_use]
    pub fn other_container(&self) -> Option<&Container> {
        self.details.as_ref()?.container.as_ref()
    }

    /// Returns the process that must reap this process.
    #[must_use]
    pub fn reaper(&self) -> Option<Pid> {
        // The kernel hides a traced zombie from its parent (`wait_consider_task()`).
        self.tracer().or(self.ppid)
    }

    /// Returns `true` if the scan found this pattern in the process's environment.
    #[must_use]
    pub fn has_environment(&self, pattern: &EnvPattern) -> bool {
        self.details.as_ref().is_some_and(|details| details.environment.contains(pattern))
    }

    /// Returns the start time and PID of the process, or `None` if the start time is unknown.
    #[must_use]
    pub fn start(&self) -> Option<ProcessStart> {
        Some(ProcessStart { ticks: self.start_time?, pid: self.pid })
    }

    /// Returns the age of the process. `uptime` is the time since boot (`CLOCK_BOOTTIME`).
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
    fn a_process_takes_at_most_144_bytes() {
        assert!(size_of::<Process>() <= 144, "{}", size_of::<Process>());
    }
}
