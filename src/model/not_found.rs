//! The error for a process or namespace that was not found.

use std::fmt;

use super::{Criterion, NamespaceId, Pid};

/// The error for a process or namespace that was not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// No process has this PID.
    Process {
        /// The PID that the user gave.
        pid: Pid,
        /// The PID namespace in which `pid` was looked up, or `None` for the one that the procfs
        /// shows.
        namespace: Option<NamespaceId>,
    },
    /// No namespace has this ID.
    Namespace(NamespaceId),
    /// No namespace has this 64-bit ID.
    NsId {
        /// The ID that the user gave.
        ns_id: u64,
        /// `true` if the 64-bit IDs of all namespaces are unknown.
        all_unknown: bool,
    },
    /// The process exists, but its namespace is ambiguous.
    Ambiguous(Pid),
    /// The process exists, but is not visible in this namespace.
    NotVisible {
        /// PID of the process, as the procfs shows it.
        pid: Pid,
        /// The namespace in which the process is not visible.
        namespace: NamespaceId,
    },
    /// The process may have a PID in this namespace, but the procfs does not show that PID.
    NotTold {
        /// PID of the process as the procfs shows it, or the PID that the user gave if pidns cannot
        /// find the process.
        pid: Pid,
        /// The namespace in which the process's PID is unknown.
        namespace: NamespaceId,
    },
    /// A name or an ID matches several containers or pods.
    AmbiguousContainer {
        /// The name or ID that the user gave.
        pattern: String,
        /// The containers and pods that `pattern` matches.
        meanings: Vec<String>,
    },
    /// No process or namespace matches all filters.
    Selection(Vec<Criterion>),
}

/// Maximum number of items that a message lists.
const NAMED: usize = 5;

/// `PID_MAX_LIMIT` is the kernel's upper limit for PIDs. Namespace inodes are far larger.
const MOST_PIDS: u64 = 1 << 22;

impl NotFound {
    /// Returns the number as a PID if it is too small for an inode, because the user then probably
    /// meant a PID.
    #[must_use]
    pub fn probably_meant(&self) -> Option<Pid> {
        let Self::Namespace(id) = self else { return None };
        let number = id.inode().filter(|&inode| inode <= MOST_PIDS)?;
        u32::try_from(number).ok().and_then(Pid::new)
    }
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, namespace: None } => write!(f, "no process {pid}"),
            Self::Process { pid, namespace: Some(id) } => write!(f, "no process {pid} in {id}"),
            Self::Namespace(id) => write!(f, "no namespace {id}"),
            Self::NsId { ns_id, all_unknown } => {
                write!(f, "no namespace with ns_id {ns_id}")?;
                let why = ": all ns_ids are unknown here (they need Linux 6.18)";
                f.write_str(if *all_unknown { why } else { "" })
            }
            Self::Ambiguous(pid) => write!(f, "the namespace of process {pid} is ambiguous"),
            Self::NotVisible { pid, namespace } => {
                write!(f, "process {pid} is not visible in {namespace}")
            }
            Self::NotTold { pid, namespace } => {
                write!(f, "this /proc does not show the PID of process {pid} in {namespace}")
            }
            Self::AmbiguousContainer { pattern, meanings } => {
                write!(f, "container {pattern} could mean ")?;
                let shown = &meanings[..meanings.len().min(NAMED)];
                let more = meanings.len() - shown.len();
                for (index, meaning) in shown.iter().enumerate() {
                    let is_last = more == 0 && index + 1 == shown.len();
                    let separator = match index {
                        0 => "",
                        _ if is_last => " or ",
                        _ => ", ",
                    };
                    write!(f, "{separator}{meaning}")?;
                }
                if more == 0 { Ok(()) } else { write!(f, " or {more} more") }
            }
            Self::Selection(criteria) => {
                f.write_str("nothing matches")?;
                for (index, Criterion { by, values }) in criteria.iter().enumerate() {
                    let and = if index == 0 { "" } else { " and" };
                    let named = &values[..values.len().min(NAMED)];
                    write!(f, "{and} {} {}", by.name(), named.join(" "))?;
                    if let Some(more @ 1..) = values.len().checked_sub(NAMED) {
                        write!(f, " and {more} more")?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for NotFound {}
