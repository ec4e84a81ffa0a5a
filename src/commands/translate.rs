//! PIDs in another namespace.

use std::collections::BTreeSet;

use super::{handle, load};
use crate::cli::Translate;
use crate::collect;
use crate::error::Error;
use crate::exit::Exit;
use crate::graph::PidGraph;
use crate::model::SearchScope;
use crate::output;
use crate::query::{self, Coverage};

/// Prints PIDs in another namespace: the kernel is asked where it can tell, else
/// a scan or a saved document has the answer. One that is not there is an error
/// for all: nothing is printed.
///
/// # Errors
/// There is no such process or namespace, or no snapshot, or the output could
/// not be written.
pub fn translate(arguments: &Translate) -> Result<Exit, Error> {
    let Translate { pids, from, to, origin, .. } = arguments;
    let from = handle(from.as_ref(), origin)?;
    let to = handle(to.as_ref(), origin)?;
    let at_once = match &origin.file {
        Some(_) => None,
        None => collect::translate(&origin.procfs, pids, from.as_ref(), to.as_ref())?,
    };
    let translations = if let Some(answer) = at_once {
        answer.map_err(|no| Error::NotFound { no, caveat: None })?
    } else {
        // The places that are searched by default, as the namespace that was named
        // may have no process, and be known by a descriptor alone.
        let scopes = SearchScope::default_set();
        let graph = PidGraph::new(load(origin, scopes, BTreeSet::new(), arguments.quiet)?);
        let [from, to] = [&from, &to].map(|handle| handle.as_ref().map(|it| it.namespace));
        let translate = |&pid| query::translate(&graph, pid, from, to);
        pids.iter()
            .map(translate)
            .collect::<Result<_, _>>()
            .map_err(|no| Error::not_found(no, &Coverage::of(graph.snapshot())))?
    };
    let style = arguments.style(output::is_terminal());
    output::write(|out| arguments.format.emit(&translations, style, out)).map(|_| Exit::Success)
}
