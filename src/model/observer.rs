//! The pidns process that took a snapshot, and other processes that ran only because the snapshot
//! was taken.

use serde::{Deserialize, Serialize};

use super::{Pid, ProcessStart};

/// The pidns process that took a snapshot. Comparisons ignore this process and the processes
/// started together with it, because they are new in every snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Observer {
    /// PID of pidns in the namespace of the procfs that was read.
    pub pid: Pid,
    /// Start time of pidns, in the same form as the `start_time` of a process; null if unknown.
    pub start_time: Option<u64>,
    /// PID of the outer shell of the CI step; null if there is none. A CI agent such as Jenkins
    /// starts this shell with `-c`. The outer shell has two children: the heartbeat, which
    /// regularly touches a file to show that the step is running, and an inner shell, which runs
    /// the script that calls pidns.
    pub step: Option<Pid>,
    /// The processes of the CI step's heartbeat, sorted by PID: subshells of the step's outer
    /// shell, and their `touch` and short `sleep` commands. The heartbeat tells the CI agent that
    /// the step is running.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub companions: Vec<Pid>,
    /// The ancestors and the tracer of pidns, and the other processes in its pipeline, sorted by
    /// PID. If pidns may not read the descriptors of a process that could be in the pipeline, the
    /// list includes the process.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub attendants: Vec<Pid>,
}

impl Observer {
    /// Returns the start time and PID of pidns, or `None` if the start time is unknown.
    #[must_use]
    pub fn start(&self) -> Option<ProcessStart> {
        Some(ProcessStart { ticks: self.start_time?, pid: self.pid })
    }
}
