//! What came, went and changed between two views.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use super::{handle, load, replay};
use crate::cli;
use crate::collect;
use crate::emit::Style;
use crate::error::Error;
use crate::exit::Exit;
use crate::graph::PidGraph;
use crate::model::{Namespace, NamespaceId, NotFound, Pid, Snapshot};
use crate::output::{self, Outcome};
use crate::query::{self, Coverage, Diff, DiffCaveat, Selection, leave_out};

/// Compares two saved documents, or one with the live kernel.
///
/// # Errors
/// There is no snapshot, nothing in either that was asked for, or the output
/// could not be written.
pub fn diff(arguments: &cli::Diff) -> Result<Exit, Error> {
    let output = &arguments.output;
    let origin = arguments.origin();
    if is_stdin(&arguments.before) && arguments.after.as_deref().is_some_and(is_stdin) {
        return Err(Error::Usage("only one of two documents can be standard input".to_owned()));
    }
    let root = handle(arguments.filter.root.as_ref(), &origin)?;
    let mut before = replay(&arguments.before, arguments.host.as_deref(), output.quiet)?;
    let mut after = load(&origin, before.searched.clone(), before.details.clone(), output.quiet)?;
    let viewer = viewer(&after).filter(|_| origin.file.is_none());
    leave_out(&mut before, arguments.kernel_threads, None);
    leave_out(&mut after, arguments.kernel_threads, viewer);
    let hidden = match origin.file {
        None => hidden(&before, &after),
        Some(_) => BTreeSet::new(),
    };
    let selection = arguments.filter.selection(root.as_ref().map(|root| root.namespace));
    let (mut diff, parts) = compare(before, after, &selection)?;
    if let [Some(before), Some(after)] = &parts {
        diff.select(before, after);
    }
    diff.hide(&hidden);
    let color = output::is_colored(output.color.into());
    let style = Style {
        ascii: output.ascii || !output::is_utf8(),
        unfolded: arguments.folding.no_fold,
        ..output.style(output::is_terminal(), color)
    };
    let outcome = output::write(|out| output.format.emit(&diff, style, out))?;
    if outcome == Outcome::Taken && !output.quiet {
        warn(&diff);
    }
    let complete = diff.before.snapshot().complete && diff.after.snapshot().complete;
    Ok(match diff.differs() {
        true => Exit::No,
        false if output.strict && !complete => Exit::Incomplete,
        false => Exit::Success,
    })
}

/// The namespaces that a scan of this boot does not show any more, though they
/// are still in the kernel.
fn hidden(before: &Snapshot, after: &Snapshot) -> BTreeSet<NamespaceId> {
    if before.host.boot_id.is_none() || before.host.boot_id != after.host.boot_id {
        return BTreeSet::new();
    }
    let shown: HashSet<u64> = after.namespaces.iter().filter_map(|it| it.ns_id).collect();
    let went = |it: &&Namespace| it.ns_id.is_some_and(|ns_id| !shown.contains(&ns_id));
    collect::still_in_kernel(before.namespaces.iter().filter(went))
}

/// What differs between two snapshots as a whole and, where a part of them is
/// selected, these parts.
///
/// # Errors
/// Nothing in either is selected.
pub(super) fn compare(
    mut before: Snapshot,
    mut after: Snapshot,
    selection: &Selection,
) -> Result<(Diff, [Option<PidGraph>; 2]), Error> {
    let mut parts = [None, None];
    if !selection.is_everything() {
        let (of_before, none_before) = part(before.clone(), selection);
        let (of_after, none_after) = part(after.clone(), selection);
        if let (Some(_), Some(no)) = (none_before, none_after) {
            return Err(not_found(&of_after, no));
        }
        before.selected.clone_from(&of_before.snapshot().selected);
        after.selected.clone_from(&of_after.snapshot().selected);
        parts = [Some(of_before), Some(of_after)];
    }
    Ok((Diff::new(PidGraph::new(before), PidGraph::new(after)), parts))
}

pub(super) fn not_found(graph: &PidGraph, no: NotFound) -> Error {
    Error::not_found(no, &Coverage::of(graph.snapshot()))
}

/// The part of a snapshot that is selected. Where that is nothing, a graph
/// without a node, and what was not found.
pub(super) fn part(snapshot: Snapshot, selection: &Selection) -> (PidGraph, Option<NotFound>) {
    if selection.is_everything() {
        return (PidGraph::new(snapshot), None);
    }
    let mut nothing = snapshot.without_lists();
    match query::select(PidGraph::new(snapshot), selection) {
        Ok(graph) => (graph, None),
        Err(no) => {
            if let NotFound::Selection(criteria) = &no {
                nothing.selected.extend(criteria.iter().cloned());
            }
            (PidGraph::new(nothing), Some(no))
        }
    }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// This process, where the /proc that was read has its numbers.
pub(super) fn viewer(snapshot: &Snapshot) -> Option<Pid> {
    Pid::new(std::process::id()).filter(|_| snapshot.procfs.own)
}

/// Says in one line what may make differences that are none, or hide some.
fn warn(diff: &Diff) {
    let caveats: Vec<_> = diff.caveats().into_iter().map(DiffCaveat::message).collect();
    if !caveats.is_empty() {
        output::warn(caveats.join("; "));
    }
}
