//! The hierarchy, or the part of it that was asked for.

use super::{handle, load};
use crate::cli::Cli;
use crate::emit::Style;
use crate::error::Error;
use crate::exit::Exit;
use crate::graph::PidGraph;
use crate::model::{Pid, Snapshot};
use crate::output::{self, Outcome};
use crate::query::{self, Coverage};

/// Shows the hierarchy.
///
/// # Errors
/// There is no snapshot, nothing in it that was asked for, or the output could
/// not be written.
pub fn show(cli: &Cli) -> Result<Exit, Error> {
    let root = handle(cli.select.root.as_ref(), &cli.input.origin)?;
    let snapshot = load(&cli.input.origin, cli.input.search(), cli.output.quiet)?;
    let coverage = Coverage::of(&snapshot);
    let selection = cli.select.selection(root.as_ref().map(|root| root.namespace));
    let graph = PidGraph::new(snapshot);
    let missing: Vec<Pid> =
        selection.pids.iter().copied().filter(|&pid| graph.process(pid).is_none()).collect();
    let graph = query::select(graph, &selection).map_err(|no| Error::not_found(no, &coverage))?;
    let color = output::is_colored(cli.output.color.into());
    let style = Style {
        ascii: cli.output.ascii || !output::is_utf8(),
        width: output::width(),
        ..cli.output.style(output::is_terminal(), color)
    };
    let emitter = cli.output.format.emitter(style);
    let outcome = output::write(|out| emitter.emit(&graph, out))?;
    let snapshot = graph.snapshot();
    if !missing.is_empty() && !cli.output.quiet {
        warn_missing(&missing);
    }
    // A reader that closed the pipe has seen enough, and need not be warned.
    if snapshot.complete || outcome == Outcome::Closed {
        return Ok(Exit::Success);
    }
    if !cli.output.quiet {
        warn_incomplete(snapshot);
    }
    Ok(if cli.output.strict { Exit::Incomplete } else { Exit::Success })
}

/// Says which of the processes that were asked for are not there, where others are.
fn warn_missing(missing: &[Pid]) {
    let missing: Vec<_> = missing.iter().map(Pid::to_string).collect();
    output::warn(format_args!("no process {}", missing.join(" ")));
}

/// Says that the view is incomplete, in one line however many reasons there are.
fn warn_incomplete(snapshot: &Snapshot) {
    let reasons: Vec<_> = snapshot.diagnostics.iter().map(|it| it.message.as_str()).collect();
    match reasons.as_slice() {
        [] => output::warn("the view is incomplete"),
        [first] => output::warn(format_args!("the view is incomplete: {first}")),
        [first, rest @ ..] => output::warn(format_args!(
            "the view is incomplete: {first}; and {} more, see diagnostics in -f json",
            rest.len()
        )),
    }
}
