//! A process's PIDs in the namespaces that it is visible in, as an answer.

use super::{NamespaceId, Pid};

/// What a PID is called in another namespace, and in all that the process is
/// visible in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The PID that was asked for.
    pub pid: Pid,
    /// The namespace that it is meant in; `None` where that is unknown.
    pub from: Option<NamespaceId>,
    /// The namespace that it was translated to; `None` where that is unknown.
    pub to: Option<NamespaceId>,
    /// The process's PID there.
    pub translated: Pid,
    /// Every level, from the namespace of the /proc that was read inward to
    /// the process's own.
    pub levels: Vec<Level>,
}

/// A process's PID in one of the namespaces that it is visible in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The namespace; `None` where it is unknown.
    pub namespace: Option<NamespaceId>,
    /// The PID there.
    pub pid: Pid,
}
