//! Translates PIDs to another PID namespace (`pidns translate`).

use std::collections::BTreeSet;

use super::view;
use crate::cli::Translate;
use crate::collect;
use crate::error::Error;
use crate::exit::Exit;
use crate::graph::PidGraph;
use crate::model::SearchScope;
use crate::output;
use crate::query::{self, Coverage};

/// Prints the PIDs that the given processes have in another namespace. If one of the processes is
/// not found, prints nothing at all.
pub fn translate(arguments: &Translate) -> Result<Exit, Error> {
    let Translate { pids, from, to, origin, .. } = arguments;
    let from = view::handle(from.as_ref(), origin)?;
    let to = view::handle(to.as_ref(), origin)?;
    // If the kernel can translate the PIDs itself (since Linux 6.11), no scan is needed.
    let from_kernel = match &origin.file {
        Some(_) => None,
        None => collect::translate(&origin.procfs, pids, from.as_ref(), to.as_ref())?,
    };
    let translations = if let Some(answer) = from_kernel {
        answer.map_err(|no| Error::NotFound { no, caveat: None })?
    } else {
        // Search all default places, because a namespace can exist without processes.
        let scopes = SearchScope::default_set();
        let graph = PidGraph::new(view::load(
            origin,
            scopes,
            BTreeSet::new(),
            BTreeSet::new(),
            arguments.quiet,
        )?);
        let [from, to] = [&from, &to].map(|handle| handle.as_ref().map(|it| it.namespace));
        let translate = |&pid| query::translate(&graph, pid, from, to);
        pids.iter()
            .map(translate)
            .collect::<Result<_, _>>()
            .map_err(|no| Error::not_found(no, &Coverage::of(graph.snapshot())))?
    };
    let style = arguments.style(output::is_terminal());
    output::write(|out| arguments.format.0.emit(&translations, style, out)).map(|_| Exit::Success)
}
