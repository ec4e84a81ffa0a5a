//! Compares two saved documents, or a saved document with the live kernel (`pidns diff`).

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use super::view;
use crate::cli;
use crate::collect::{self, LiveHost};
use crate::error::Error;
use crate::exit::Exit;
use crate::model::{Detail, Namespace, NamespaceId, Snapshot};
use crate::output::{self, Outcome};
use crate::query::{Diff, DiffCaveat, DiffScope};

/// Prints the differences, and returns exit status 1 if there are differences.
pub fn diff(arguments: &cli::Diff) -> Result<Exit, Error> {
    let output = &arguments.output;
    let origin = arguments.origin();
    view::check_stdin(Some(&arguments.before), arguments.after.as_deref())?;
    let root = view::handle(arguments.filter.root.as_ref(), &origin)?;
    let before = view::load_document(&arguments.before, arguments.host.as_deref(), output.quiet)?;
    let search = before.searched.clone();
    // Limits are not compared.
    let mut details: BTreeSet<Detail> =
        before.details.union(&arguments.details()).copied().collect();
    details.remove(&Detail::Limits);
    let environment = arguments.filter.env.iter().cloned().collect();
    let after = view::load(&origin, search, details, environment, output.quiet)?;
    let is_live = origin.file.is_none();
    let hidden = if is_live { hidden(&before, &after) } else { BTreeSet::new() };
    let scope = DiffScope {
        selection: arguments.filter.selection(root.as_ref().map(|root| root.namespace)),
        kernel_threads: arguments.kernel_threads,
    };
    let mut diff = Diff::between(before, after, &scope)
        .map_err(|why| view::incomparable(why, &arguments.before, arguments.after.as_deref()))?;
    if let Some((no, coverage)) = diff.nothing.take() {
        return Err(Error::not_found(no, &coverage));
    }
    diff.hide(&hidden);
    if is_live {
        add_live_facts(&mut diff, &origin.procfs)?;
    }
    let style = view::style(output, arguments.folding.no_fold);
    let outcome = output::write(|out| output.format.0.emit(&diff, style, out))?;
    if outcome == Outcome::Taken && !output.quiet {
        warn_of_caveats(&diff);
    }
    Ok(view::exit_status(diff.differs(), diff.caveats().is_empty(), output.strict))
}

/// Adds facts from the live host to the diff. The advice on unmounting bind mounts depends on them.
pub(super) fn add_live_facts(diff: &mut Diff, procfs: &Path) -> Result<(), Error> {
    let after = diff.after.snapshot();
    let mounts = after.namespaces.iter().flat_map(Namespace::mounts).collect();
    let live = LiveHost::open(procfs, &after.processes)?;
    diff.live = live.facts(&HashSet::new(), &mounts)?;
    Ok(())
}

/// Returns the namespaces that are only in the first snapshot, but still exist in the kernel.
pub(super) fn hidden(before: &Snapshot, after: &Snapshot) -> BTreeSet<NamespaceId> {
    if before.host.boot_id.is_none() || before.host.boot_id != after.host.boot_id {
        return BTreeSet::new();
    }
    let shown: HashSet<u64> = after.namespaces.iter().filter_map(|it| it.ns_id).collect();
    let went = |it: &&Namespace| it.ns_id.is_some_and(|ns_id| !shown.contains(&ns_id));
    collect::still_in_kernel(before.namespaces.iter().filter(went))
}

/// Prints a one-line warning if the differences may be incomplete or wrong.
fn warn_of_caveats(diff: &Diff) {
    let caveats: Vec<_> = diff.caveats().into_iter().map(DiffCaveat::message).collect();
    if !caveats.is_empty() {
        output::warn(caveats.join("; "));
    }
}
