//! The pidns process that took a snapshot, and the other processes that belong to this run of
//! pidns.

use serde::{Deserialize, Serialize};

use super::{Pid, ProcessStart};

/// The pidns process that took a snapshot, and the other processes that belong to this run of
/// pidns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Observer {
    /// PID of pidns in the PID namespace that the procfs shows.
    pub pid: Pid,
    /// Start time of pidns, in the same unit as `start_time` of a process, or null if unknown.
    pub start_time: Option<u64>,
    /// Time at which the scan of the processes had ended, in the same unit as `start_time`, or null
    /// if unknown. The snapshot may lack a process that started during the scan.
    #[serde(default)]
    pub scan_end: Option<u64>,
    /// PID of the outer shell of the CI step that runs pidns. A CI agent such as Jenkins starts
    /// this shell with `-c`. The shell starts an inner shell for the step's script, and a heartbeat
    /// that regularly touches a file to show that the step is running. The field is null if pidns
    /// does not run in a step with such a heartbeat.
    pub step: Option<Pid>,
    /// The processes of the CI step's heartbeat, sorted by PID. The heartbeat consists of subshells
    /// of the outer shell, with their `touch` and short `sleep` commands. The heartbeat tells the
    /// CI agent that the step is running.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub companions: Vec<Pid>,
    /// The other processes that belong to this run of pidns, sorted by PID. They include the
    /// ancestors of pidns, the tracers of pidns and of its ancestors, the other processes in
    /// pidns's pipeline, and the ancestors of the processes in the pipeline. A process that may be
    /// in the pipeline is included if pidns has no permission to read its descriptors. If a client
    /// such as `docker run` runs pidns, the client, its ancestors and its pipeline are included.
    /// Heartbeat processes of other Jenkins steps are included.
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
