//! A PID in another namespace.

use std::collections::BTreeSet;

use super::{handle, load};
use crate::cli::Translate;
use crate::collect::{self, NamespaceHandle};
use crate::error::Error;
use crate::exit::Exit;
use crate::graph::PidGraph;
use crate::model::SearchScope;
use crate::output;
use crate::query::{self, Coverage};

/// Prints a PID in another namespace: the kernel is asked where it can tell,
/// else a scan or a saved document has the answer.
///
/// # Errors
/// There is no such process or namespace, or no snapshot, or the output could
/// not be written.
pub fn translate(arguments: &Translate) -> Result<Exit, Error> {
    let Translate { pid, from, to, origin, .. } = arguments;
    let from = handle(from.as_ref(), origin)?;
    let to = handle(to.as_ref(), origin)?;
    let at_once = match &origin.file {
        Some(_) => None,
        None => collect::translate(&origin.procfs, *pid, from.as_ref(), to.as_ref())?,
    };
    let translation = if let Some(answer) = at_once {
        answer.map_err(|no| Error::NotFound { no, caveat: None })?
    } else {
        // The places that are searched by default, as the namespace that was named
        // may have no process, and be known by a descriptor alone.
        let snapshot = load(origin, SearchScope::default_set(), BTreeSet::new(), false)?;
        let coverage = Coverage::of(&snapshot);
        let namespace = |handle: Option<NamespaceHandle>| handle.map(|handle| handle.namespace);
        query::translate(&PidGraph::new(snapshot), *pid, namespace(from), namespace(to))
            .map_err(|no| Error::not_found(no, &coverage))?
    };
    let style = arguments.style(output::is_terminal());
    output::write(|out| arguments.format.emit(&translation, style, out)).map(|_| Exit::Success)
}
