//! The processes that ran because a snapshot was taken, such as pidns itself.

use serde::{Deserialize, Serialize};

use super::{Pid, ProcessStart};

/// The pidns process that took a snapshot, and the processes that ran because of the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Observer {
    /// PID of pidns in the namespace of the procfs that was read.
    pub pid: Pid,
    /// Start time of pidns, in the same unit as `start_time` of a process, or null if unknown.
    pub start_time: Option<u64>,
    /// PID of the outer shell of the CI step, or null without a CI step. A CI agent such as Jenkins
    /// starts the outer shell with `-c`. The outer shell starts an inner shell for the script that
    /// calls pidns. The outer shell also starts the heartbeat, which regularly touches a file to
    /// show that the step is running.
    pub step: Option<Pid>,
    /// The processes of the CI step's heartbeat, sorted by PID. The heartbeat consists of subshells
    /// of the outer shell, with their `touch` and short `sleep` commands. The heartbeat tells the
    /// CI agent that the step is running.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub companions: Vec<Pid>,
    /// Other processes that belong to this run of pidns, sorted by PID. These are the ancestors of
    /// pidns, the tracers of pidns and of these ancestors, and the other processes in pidns's
    /// pipeline with their own ancestors. Processes whose descriptors pidns has no permission to
    /// read are included if they may be in the pipeline. If a client such as `docker run` runs
    /// pidns, the client, its ancestors and its pipeline are included. The list also contains the
    /// heartbeat processes of other Jenkins steps.
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
