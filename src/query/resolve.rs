//! Finds the namespace that the user specified, by its ID or by the PID of a process.

use crate::graph::PidGraph;
use crate::model::{NamespaceId, NamespaceRef, NotFound};

/// Returns the ID of the namespace that the user specified.
///
/// # Errors
/// Fails if nothing matches, or if the process's namespace is ambiguous.
pub fn resolve(graph: &PidGraph, namespace: NamespaceRef) -> Result<NamespaceId, NotFound> {
    match namespace {
        NamespaceRef::Id(id) => {
            graph.namespace(id).map(|namespace| namespace.id).ok_or(NotFound::Namespace(id))
        }
        NamespaceRef::NsId(ns_id) => {
            let namespaces = &graph.snapshot().namespaces;
            let found = namespaces.iter().find(|namespace| namespace.ns_id == Some(ns_id));
            found.map(|namespace| namespace.id).ok_or_else(|| {
                let all_unknown = namespaces.iter().all(|namespace| namespace.ns_id.is_none());
                NotFound::NsId { ns_id, all_unknown }
            })
        }
        NamespaceRef::Of(pid) => {
            let process = graph.process(pid);
            let process = process.ok_or(NotFound::Process { pid, namespace: None })?;
            process.namespace.ok_or(NotFound::Ambiguous(pid))
        }
    }
}
