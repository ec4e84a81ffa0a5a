//! The result of translating a PID between namespaces.

use super::{NamespaceId, Pid};

/// A process's PID in another namespace, and in every namespace that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The PID to translate.
    pub pid: Pid,
    /// The namespace that `pid` belongs to; `None` if unknown.
    pub from: Option<NamespaceId>,
    /// The target namespace; `None` if unknown.
    pub to: Option<NamespaceId>,
    /// The PID in the target namespace.
    pub translated: Pid,
    /// The PIDs in all namespaces, from that of the procfs that was read down to the
    /// process's own.
    pub levels: Vec<Level>,
}

/// A process's PID in one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The namespace; `None` if unknown.
    pub namespace: Option<NamespaceId>,
    /// The PID in that namespace.
    pub pid: Pid,
}
