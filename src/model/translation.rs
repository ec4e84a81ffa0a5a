//! The result of translating a PID between namespaces.

use serde::Serialize;

use super::{NamespaceId, Pid};

/// A process's PID in another namespace, and its PIDs in all namespaces in which it is visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Translation {
    /// The PID to translate. It belongs to the namespace `from`.
    pub pid: Pid,
    /// The source namespace, or null if its ID is unknown.
    pub from: Option<NamespaceId>,
    /// The target namespace, or null if its ID is unknown.
    pub to: Option<NamespaceId>,
    /// The PID of the process in the namespace `to`.
    pub translated: Pid,
    /// The PIDs of the process, one for each namespace in which it is visible. The first PID
    /// belongs to the namespace that the procfs shows. The last PID belongs to the process's own
    /// namespace.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub levels: Vec<Level>,
}

/// A process's PID in one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "level"))]
pub struct Level {
    /// The namespace of this PID, or null if the ID of the namespace is unknown.
    pub namespace: Option<NamespaceId>,
    /// The process's PID in this namespace.
    pub pid: Pid,
}
