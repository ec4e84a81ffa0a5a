//! From the way in which a user named a namespace to its ID.

use crate::graph::PidGraph;
use crate::model::{NamespaceId, NamespaceRef, NotFound};

/// The namespace that is meant.
///
/// # Errors
/// There is no such namespace or process, or the namespace of the process is
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
