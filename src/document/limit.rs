//! The serde type of a limit, and its conversion to and from the model.

use serde::{Deserialize, Serialize};

use super::open_list::{UnknownWords, Word};
use super::scalars::Errno;
use crate::model::{self, Consumer, LimitKind, LimitScope, Pid};

/// A limit that can make fork(2) or the creation of a PID namespace fail. All fields are always
/// present. A field is null if it is unknown or does not apply.
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "limit"))]
pub struct Limit {
    /// The kind of limit.
    #[serde(rename = "limit")]
    pub kind: Word<LimitKind>,
    /// The namespace, cgroup or user that the limit applies to.
    pub scope: LimitScope,
    /// Current usage in PIDs (pid_max), levels (nesting), PID namespaces (max_pid_namespaces) or
    /// tasks (other limits). Threads and zombies count as tasks.
    pub used: Option<u64>,
    /// The configured maximum, or null if unlimited or unknown. For pid_max, the highest PID is
    /// `max` minus 1.
    pub max: Option<u64>,
    /// Number of tasks, PIDs, levels or namespaces that can still be added. Null if unlimited or
    /// unknown. For pid_max, `free` can be less than `max` minus `used`, because the kernel assigns
    /// no PIDs below 300 after it has reached the highest PID.
    pub free: Option<u64>,
    /// True if the next fork or new PID namespace would fail, or null if unknown. If `full` is
    /// false and `max` is null, there is no maximum. If `max` is 0, `full` is true even if `used`
    /// is null.
    pub full: Option<bool>,
    /// Number of forks that the kernel refused because of a pids_cgroup limit (pids.events). Null
    /// for other limits. In cgroup version 1, the kernel counts a refusal in the cgroup of the
    /// forking process, even if the limit of an ancestor cgroup was reached.
    pub refused: Option<u64>,
    /// The error if this limit is reached (EAGAIN or ENOMEM for fork, ENOSPC for a PID namespace).
    pub error: Errno,
    /// The process, container or user with the most tasks.
    pub largest: Option<Consumer>,
    /// Number of zombies among the tasks that this limit counts.
    pub zombies: Option<u64>,
    /// The process responsible for reaping the largest number of zombies that count towards this
    /// limit. Its field `tasks` is that number.
    pub reaper: Option<Consumer>,
    /// The file that contains the maximum.
    pub file: Option<String>,
    /// The processes that the limit applies to, sorted by PID. A filtered document lists only the
    /// selected processes.
    pub pids: Vec<Pid>,
}

impl From<&model::Limit> for Limit {
    fn from(limit: &model::Limit) -> Self {
        Self {
            kind: limit.kind.into(),
            scope: limit.scope.clone(),
            used: limit.used,
            max: limit.max,
            free: limit.free,
            full: limit.full,
            refused: limit.refused,
            error: Errno(limit.kind.error().to_owned()),
            largest: limit.largest.clone(),
            zombies: limit.zombies,
            reaper: limit.reaper.clone(),
            file: limit.file.clone(),
            pids: limit.pids.clone(),
        }
    }
}

impl Limit {
    /// Converts the limit to the model, or returns `None` if the value of its field `kind` is
    /// unknown.
    pub fn into_model(self, unknown: &mut UnknownWords) -> Option<model::Limit> {
        Some(model::Limit {
            kind: self.kind.known(unknown)?,
            scope: self.scope,
            used: self.used,
            max: self.max,
            free: self.free,
            full: self.full,
            refused: self.refused,
            largest: self.largest,
            zombies: self.zombies,
            reaper: self.reaper,
            file: self.file,
            pids: self.pids,
        })
    }
}
