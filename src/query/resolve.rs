//! Finds the namespace that a user named by its ID or by one of its processes.

use crate::graph::PidGraph;
use crate::model::{NamespaceId, NamespaceRef, NotFound};

/// Returns the ID of the namespace that the user named.
///
/// # Errors
/// Returns an error if the namespace or process doesn't exist, or if the process's namespace is
/// ambiguous.
pub fn resolve(graph: &PidGraph, namespace: NamespaceRef) -> Result<NamespaceId, NotFound> {
    match namespace {
        NamespaceRef::Id(id) => {
            graph.namespace(id).map(|namespace| namespace.id).ok_or(NotFound::Namespace(id))
        }
        NamespaceRef::Of(pid) => {
            let process = graph.process(pid);
            let process = process.ok_or(NotFound::Process { pid, namespace: None })?;
            process.namespace.ok_or(NotFound::Ambiguous(pid))
        }
    }
}
