//! Shows the PID namespace hierarchy, or a selected part of it (`pidns` without a verb).

use std::collections::{BTreeSet, HashSet};

use super::view;
use crate::cli::{Cli, Origin};
use crate::collect::{Limits, LiveHost};
use crate::emit::{Format, Style};
use crate::error::Error;
use crate::exit::Exit;
use crate::graph::PidGraph;
use crate::model::{Detail, Diagnostic, Limit, LiveFacts, Pid, Process, Snapshot};
use crate::output::{self, Outcome};
use crate::query::{self, Coverage, Selection};

/// Prints the PID namespace hierarchy, or the selected part of it.
pub fn show(cli: &Cli) -> Result<Exit, Error> {
    let (input, filter, output) = (&cli.input, &cli.select.filter, &cli.output);
    let root = view::handle(filter.root.as_ref(), &input.origin)?;
    let mut details = input.details();
    // `--container` finds the container of a process through the cgroup of the process.
    details.extend(filter.container.as_ref().map(|_| Detail::Cgroup));
    let environment = filter.env.iter().cloned().collect();
    let mut snapshot =
        view::load(&input.origin, input.search(), details, environment, output.quiet)?;
    let coverage = Coverage::of(&snapshot);
    let lacks_cgroups = filter.container.is_some() && !snapshot.details.contains(&Detail::Cgroup);
    let selection = Selection {
        with_family: cli.tree,
        ..cli.select.selection(root.as_ref().map(|root| root.namespace))
    };
    if input.origin.file.is_none() && output.format.0 == Format::Text {
        if !input.details().contains(&Detail::Cgroup) {
            snapshot.details.remove(&Detail::Cgroup);
        }
        add_full_limits(&mut snapshot, &selection.pids, &input.origin)?;
    }
    let graph = PidGraph::new(snapshot);
    let missing: Vec<Pid> =
        selection.pids.iter().copied().filter(|&pid| graph.process(pid).is_none()).collect();
    selection.check_container(&graph).map_err(|no| Error::not_found(no, &coverage))?;
    let live = match (&input.origin.file, output.format.0) {
        (None, Format::Text) => facts(&graph, &selection.pids, &input.origin)?,
        _ => LiveFacts::default(),
    };
    let mut graph =
        query::select(graph, &selection).map_err(|no| Error::not_found(no, &coverage))?;
    graph.set_live(live);
    let style = Style { nested: cli.tree, ..view::style(output, cli.folding.no_fold) };
    let outcome = output::write(|out| output.format.0.emit(&graph, style, out))?;
    if !output.quiet {
        if !missing.is_empty() {
            warn_missing(&missing);
        }
        if lacks_cgroups {
            output::warn(
                "the document has no cgroups, so --container may miss members of shared namespaces",
            );
        }
    }
    let snapshot = graph.snapshot();
    // If the reader closed the pipe early, do not warn about an incomplete snapshot.
    if snapshot.complete || outcome == Outcome::Closed {
        return Ok(Exit::Success);
    }
    if !output.quiet {
        warn_incomplete(snapshot);
    }
    Ok(view::exit_status(false, snapshot.complete, output.strict))
}

/// Looks up facts about the processes `pids` on the live host. The advice to the user depends on
/// these facts.
fn facts(graph: &PidGraph, pids: &BTreeSet<Pid>, origin: &Origin) -> Result<LiveFacts, Error> {
    let named = pids.iter().filter_map(|&pid| graph.process(pid));
    let inits = named.clone().filter_map(|it| graph.namespace(it.namespace?)?.init);
    let inits = inits.filter_map(|pid| graph.process(pid));
    let processes: Vec<Process> = named.chain(inits).cloned().collect();
    if processes.is_empty() {
        return Ok(LiveFacts::default());
    }
    let live = LiveHost::open(&origin.procfs, &processes)?;
    let all: HashSet<Pid> = processes.iter().map(|process| process.pid).collect();
    Ok(live.facts(&all, &BTreeSet::new())?)
}

/// Warns about the requested processes that do not exist.
fn warn_missing(missing: &[Pid]) {
    let missing: Vec<_> = missing.iter().map(Pid::to_string).collect();
    output::warn(format_args!("no process {}", missing.join(" ")));
}

/// Adds the limits that apply to the given processes and are reached.
fn add_full_limits(
    snapshot: &mut Snapshot,
    pids: &BTreeSet<Pid>,
    origin: &Origin,
) -> Result<(), Error> {
    if !pids.is_empty() && snapshot.limits.is_none() {
        let read = Limits::read(&origin.procfs, origin.collector, snapshot, Some(pids))?;
        // The user did not ask for limits, so ignore unreadable limits.
        let is_full = |limit: &Limit| limit.full == Some(true);
        snapshot.limits = Some(read.limits.into_iter().filter(is_full).collect());
    }
    Ok(())
}

/// Prints a one-line warning that the snapshot is incomplete, with the first reason.
pub(super) fn warn_incomplete(snapshot: &Snapshot) {
    output::warn(format_args!("{}; see .diagnostics in -f json", incomplete_text(snapshot)));
}

/// Returns the word `incomplete`, the first reason, and the number of further reasons.
pub(super) fn incomplete_text(snapshot: &Snapshot) -> String {
    let mut reasons = snapshot.diagnostics.iter().filter(|diagnostic| diagnostic.is_gap());
    let first = reasons.next().map(short).unwrap_or_default();
    let more = match reasons.count() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let colon = if first.is_empty() { "" } else { ": " };
    format!("incomplete{colon}{first}{more}")
}

/// Returns a diagnostic's message and cause, without its advice.
fn short(diagnostic: &Diagnostic) -> String {
    let (message, advice) =
        diagnostic.message.split_once("; ").unwrap_or((&diagnostic.message, ""));
    let (Some(_), Some((what, why))) = (&diagnostic.errno, message.rsplit_once(": ")) else {
        return message.to_owned();
    };
    // Leave out the error number, because the description already identifies the error.
    let why = why.split(" (os error ").next().unwrap_or(why);
    let even = if advice.starts_with("refused even") { ", even as root" } else { "" };
    format!("{what} ({why}{even})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Severity;

    #[test]
    fn a_short_warning_keeps_the_cause() {
        for (message, errno, expected) in [
            (
                "1 process could not be read: Permission denied (os error 13); refused even to \
                 CAP_SYS_PTRACE, as a security module may do",
                Some("EACCES"),
                "1 process could not be read (Permission denied, even as root)",
            ),
            (
                "cannot search the mounts of 2 processes: Permission denied (os error 13); \
                 run as root to be told",
                Some("EACCES"),
                "cannot search the mounts of 2 processes (Permission denied)",
            ),
            (
                "the namespaces of 3 processes are ambiguous; x",
                None,
                "the namespaces of 3 processes are ambiguous",
            ),
        ] {
            let diagnostic = Diagnostic {
                code: "process-unreadable".to_owned(),
                severity: Severity::Warning,
                message: message.to_owned(),
                errno: errno.map(str::to_owned),
                pids: Vec::new(),
            };
            assert_eq!(short(&diagnostic), expected);
        }
    }
}
