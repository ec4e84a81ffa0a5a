//! Limits on processes and PID namespaces, and the table of limit kinds.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Container, Keyword, NamespaceId, Pid};

/// The properties that all limits of the same kind share.
struct LimitEntry {
    name: &'static str,
    /// Name of the error that system calls return when this limit is reached, such as `EAGAIN`.
    error: &'static str,
    meaning: &'static str,
}

/// The table of limit kinds, in the order in which the kernel checks them.
macro_rules! limits {
    ($($kind:ident: $name:literal, $error:literal, $meaning:literal;)+) => {
        /// A kind of limit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum LimitKind {
            $(#[doc = $meaning] $kind,)+
        }

        impl LimitKind {
            /// All kinds, in the order in which the kernel checks them.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            fn entry(self) -> &'static LimitEntry {
                match self {
                    $(Self::$kind => const {
                        &LimitEntry { name: $name, error: $error, meaning: $meaning }
                    },)+
                }
            }
        }
    };
}

limits! {
    Nproc: "nproc", "EAGAIN",
        "RLIMIT_NPROC: tasks of a user in a user namespace. The soft limit of each process applies \
         to the processes that it starts.";
    ThreadsMax: "threads_max", "EAGAIN",
        "kernel.threads-max: tasks on the host.";
    PidMax: "pid_max", "EAGAIN",
        "kernel.pid_max of a PID namespace: PIDs in use in it, including those of nested namespaces. \
         Every namespace above a new process must have a free PID.";
    InitTerminated: "init_terminated", "ENOMEM",
        "The init of the PID namespace in which the children of a process would start has \
         terminated, so no process can start there again.";
    PidsCgroup: "pids_cgroup", "EAGAIN",
        "pids.max of a cgroup: tasks in it and in the cgroups below.";
    Nesting: "nesting", "ENOSPC",
        "PID namespaces nest at most 32 levels below the initial one.";
    MaxPidNamespaces: "max_pid_namespaces", "ENOSPC",
        "user.max_pid_namespaces of a user namespace: PID namespaces that a user has created in it.";
}

impl LimitKind {
    /// Returns the name of the error that system calls return when this limit is reached.
    #[must_use]
    pub fn error(self) -> &'static str {
        self.entry().error
    }

    /// Returns `true` if the limit counts tasks or their PIDs.
    #[must_use]
    pub fn counts_tasks(self) -> bool {
        matches!(self, Self::Nproc | Self::ThreadsMax | Self::PidMax | Self::PidsCgroup)
    }

    /// Returns `true` if the limit refuses forks, `false` if it refuses new PID namespaces.
    #[must_use]
    pub fn refuses_forks(self) -> bool {
        !matches!(self, Self::Nesting | Self::MaxPidNamespaces)
    }
}

impl Keyword for LimitKind {
    const VALUES: &'static [Self] = Self::ALL;
    const LIST: &'static str = "limit_kind";
    const NOUNS: [&'static str; 2] = ["limit", "limits"];

    fn keyword(self) -> &'static str {
        self.entry().name
    }

    fn meaning(self) -> &'static str {
        self.entry().meaning
    }
}

/// A limit that can make fork(2) or the creation of a PID namespace fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The kind of limit.
    pub kind: LimitKind,
    /// The namespace, cgroup or user that the limit applies to.
    pub scope: LimitScope,
    /// The number of tasks, PIDs, levels or namespaces in use.
    pub used: Option<u64>,
    /// The configured maximum, or `None` if unlimited or unknown.
    pub max: Option<u64>,
    /// The number still available. For [`LimitKind::PidMax`], it can be less than `max - used`.
    pub free: Option<u64>,
    /// `true` if the next fork or new namespace would be refused, or `None` if unknown.
    pub full: Option<bool>,
    /// Number of forks that the kernel refused, or `None` if unknown or not counted.
    pub refused: Option<u64>,
    /// The process, container or user with the most tasks.
    pub largest: Option<Consumer>,
    /// Number of zombies among the tasks.
    pub zombies: Option<u64>,
    /// The process with the most zombies to reap. Its field `tasks` is the number of these zombies.
    pub reaper: Option<Consumer>,
    /// The file that contains the maximum.
    pub file: Option<String>,
    /// The processes that the limit applies to, sorted by PID.
    pub pids: Vec<Pid>,
}

impl Limit {
    /// Creates a limit whose usage and maximum have not been read yet.
    #[must_use]
    pub fn unread(kind: LimitKind, scope: LimitScope) -> Self {
        Self {
            kind,
            scope,
            used: None,
            max: None,
            free: None,
            full: None,
            refused: None,
            largest: None,
            zombies: None,
            reaper: None,
            file: None,
            pids: Vec::new(),
        }
    }

    /// Sets `used`, `max`, `free` and `full`, for a kind of limit that is reached when `used` is at
    /// least `max`.
    #[must_use]
    pub fn with_numbers(self, used: Option<u64>, max: Option<u64>) -> Self {
        let free = match (used, max) {
            // A maximum of 0 is reached even if the usage is unknown.
            (_, Some(0)) => Some(0),
            (Some(used), Some(max)) => Some(max.saturating_sub(used)),
            _ => None,
        };
        Self { used, max, free, full: free.map(|free| free == 0), ..self }
    }

    /// Returns the PIDs of `reaper` and `largest`.
    pub fn concerned(&self) -> impl Iterator<Item = Pid> + '_ {
        [&self.reaper, &self.largest].into_iter().flatten().filter_map(|it| it.pid)
    }

    /// Returns the largest consumer if it has at least a fifth of the tasks.
    #[must_use]
    pub fn main_consumer(&self) -> Option<&Consumer> {
        let used = self.used?;
        let is_main =
            // Do not name a consumer that has a single task, unless that is the only task that the
            // limit counts.
            |it: &&Consumer| it.tasks.saturating_mul(5) >= used && (it.tasks > 1 || used <= 1);
        self.largest.as_ref().filter(is_main)
    }

    /// Returns the percentage of the limit in use, or `None` if unknown.
    #[must_use]
    pub fn percent(&self) -> Option<u64> {
        match (self.full?, self.used, self.free) {
            (true, ..) => Some(100),
            (false, Some(used), Some(free)) => {
                Some(used.saturating_mul(100) / used.saturating_add(free).max(1))
            }
            (false, ..) => Some(0),
        }
    }
}

/// The namespace, cgroup or user that a limit applies to. All fields are always present. Fields
/// that do not apply are null. A limit on the whole host has only null fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "limit_scope"))]
pub struct LimitScope {
    /// ID of the PID namespace.
    pub namespace: Option<NamespaceId>,
    /// Path of the cgroup, as seen from pidns's cgroup namespace.
    pub cgroup: Option<String>,
    /// UID of the user, as seen from pidns's user namespace.
    pub uid: Option<u32>,
    /// Name of the user with this UID, or null if unknown.
    pub user: Option<SmolStr>,
    /// Inode of the user namespace.
    pub user_namespace: Option<u64>,
    /// For nproc, the inode of the user namespace that inherited this limit from its creator. Null
    /// if the limit is not inherited. An inherited limit applies to the processes in that user
    /// namespace, and cannot be changed.
    pub inherited_by: Option<u64>,
}

/// A process, container or user, and its number of tasks. All fields are always present. Fields
/// that do not apply are null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "consumer"))]
pub struct Consumer {
    /// PID of the process.
    pub pid: Option<Pid>,
    /// Name of the process.
    pub comm: Option<SmolStr>,
    /// The container.
    pub container: Option<Container>,
    /// UID of the user, as seen from pidns's user namespace.
    pub uid: Option<u32>,
    /// Name of the user with this UID, or null if unknown.
    pub user: Option<SmolStr>,
    /// Number of tasks. For a process, this number includes the tasks of its child processes.
    pub tasks: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_full_once_nothing_is_free() {
        let of = |used, max| {
            let limit = Limit::unread(LimitKind::PidsCgroup, LimitScope::default());
            let limit = limit.with_numbers(used, max);
            (limit.free, limit.full, limit.percent())
        };
        assert_eq!(of(Some(3), Some(4)), (Some(1), Some(false), Some(75)));
        assert_eq!(of(Some(4), Some(4)), (Some(0), Some(true), Some(100)));
        assert_eq!(of(Some(9), Some(4)), (Some(0), Some(true), Some(100)));
        assert_eq!(of(Some(0), Some(0)), (Some(0), Some(true), Some(100)));
        assert_eq!(of(None, Some(4)), (None, None, None));
        assert_eq!(of(None, Some(0)), (Some(0), Some(true), Some(100)));
        assert_eq!(of(Some(4), None), (None, None, None));
    }

    #[test]
    fn a_consumer_with_a_small_share_is_not_the_main_consumer() {
        let is_main = |tasks, used| {
            let largest = Some(Consumer { tasks, ..Consumer::default() });
            let limit = Limit::unread(LimitKind::Nproc, LimitScope::default());
            Limit { largest, ..limit.with_numbers(used, Some(100)) }.main_consumer().is_some()
        };
        assert!(is_main(2, Some(10)) && is_main(1, Some(1)) && is_main(9, Some(9)));
        assert!(!is_main(2, Some(11)) && !is_main(1, Some(4)) && !is_main(4, None));
    }
}
