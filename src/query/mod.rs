//! Questions to a graph: which part of it is meant, what a PID is called
//! elsewhere, and how far a "no" can be trusted. Nothing here reads the kernel,
//! parses arguments or writes output.

mod coverage;
mod pattern;
mod select;
mod translate;

pub use coverage::{Caveat, Coverage};
pub use pattern::{Glob, User};
pub use select::{Members, Selection, select};
pub use translate::translate;

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
