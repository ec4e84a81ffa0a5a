//! A plain no: what was looked for is not there.

use std::fmt;

use super::{Criterion, NamespaceId, Pid};

/// A plain no: what was looked for is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// No such process.
    Process {
        /// Its PID,
        pid: Pid,
        /// in this namespace; `None` for that of the /proc that was read.
        namespace: Option<NamespaceId>,
    },
    /// No such namespace.
    Namespace(NamespaceId),
    /// The process is there, but its namespace could not be found out.
    Ambiguous(Pid),
    /// The process is there, but not visible in that namespace.
    NotVisible {
        /// Its PID in the namespace of the /proc that was read.
        pid: Pid,
        /// Where it is not visible.
        namespace: NamespaceId,
    },
    /// The process may be visible there, but this /proc does not tell its PID.
    NotTold {
        /// The PID that is known of it, or was asked for.
        pid: Pid,
        /// Where it may be visible.
        namespace: NamespaceId,
    },
    /// Nothing meets all criteria.
    Selection(Vec<Criterion>),
}

/// The largest PID that the kernel gives (`PID_MAX_LIMIT`), far below the
/// inodes of namespaces.
const MOST_PIDS: u64 = 1 << 22;

impl NotFound {
    /// The process whose namespace was probably meant: its PID stands in the
    /// place of an inode.
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
            Self::Ambiguous(pid) => write!(f, "the namespace of process {pid} is ambiguous"),
            Self::NotVisible { pid, namespace } => {
                write!(f, "process {pid} is not visible in {namespace}")
            }
            Self::NotTold { pid, namespace } => {
                write!(f, "this /proc does not tell of process {pid} in {namespace}")
            }
            Self::Selection(criteria) => {
                const NAMED: usize = 5;
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
