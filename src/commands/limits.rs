//! Shows the limits that can make fork(2) or the creation of a PID namespace fail (`pidns limits`).

use std::collections::{BTreeSet, HashSet};

use super::show::warn_incomplete;
use super::view;
use crate::cli;
use crate::collect::{self, LiveHost};
use crate::error::Error;
use crate::exit::Exit;
use crate::graph::PidGraph;
use crate::model::{Detail, Diagnostic, DiagnosticCode, NotFound, Pid, SearchScope, Snapshot};
use crate::output;
use crate::query::{Coverage, LimitReport};
use crate::wording::limit::namesake_text;

/// Prints the limits, and returns exit status 1 if a limit is reached.
pub fn limits(arguments: &cli::Limits) -> Result<Exit, Error> {
    let (output, origin) = (&arguments.output, &arguments.origin);
    let asked: BTreeSet<Pid> = arguments.pids.iter().copied().collect();
    let snapshot = load(arguments, &asked)?;
    let observer = snapshot.observer.as_ref().filter(|_| origin.file.is_none());
    let own = observer.map(|it| it.pid);
    let mut report = LimitReport::new(PidGraph::new(snapshot), asked, own);
    let code = DiagnosticCode::LimitsUnknown.name();
    let unknown = report.graph.snapshot().diagnostics.iter().filter(|it| it.code == code);
    // Zombies and kernel threads have no limits, so an empty result for them is not an error.
    let is_unread = |it: &Diagnostic| it.pids.iter().any(|pid| report.asked.contains(pid));
    let has_unknown = report.unknown > 0 || unknown.clone().any(is_unread);
    if report.known == 0 && has_unknown {
        let reasons: Vec<_> = unknown.map(|it| it.message.as_str()).collect();
        return Err(Error::NoLimits(reasons.join("; ")));
    }
    if origin.file.is_none() {
        let live = LiveHost::open(&origin.procfs, report.graph.processes())?;
        let concerned: HashSet<Pid> = report.concerned().into_iter().collect();
        report.live = live.facts(&concerned, &BTreeSet::new())?;
    }
    let style = view::style(output, false);
    output::write(|out| output.format.0.emit(&report, style, out))?;
    let snapshot = report.graph.snapshot();
    if !snapshot.complete && !output.quiet {
        warn_incomplete(snapshot);
    }
    Ok(view::exit_status(report.full() > 0, snapshot.complete, output.strict))
}

/// Loads a snapshot with the limits of `asked`, or of all processes if `asked` is empty.
fn load(arguments: &cli::Limits, asked: &BTreeSet<Pid>) -> Result<Snapshot, Error> {
    let origin = &arguments.origin;
    let details = asked.is_empty().then_some(Detail::Limits).into_iter().collect();
    let search = SearchScope::default_set();
    let mut snapshot =
        view::load(origin, search, details, BTreeSet::new(), arguments.output.quiet)?;
    let exists = |pid: &Pid| snapshot.processes.iter().any(|process| process.pid == *pid);
    if let Some(&pid) = asked.iter().find(|pid| !exists(pid)) {
        return Err(match namesake_text(pid, "", &snapshot.processes) {
            Some(elsewhere) => Error::PidElsewhere { pid, elsewhere },
            None => no_process(pid, &snapshot),
        });
    }
    match &origin.file {
        Some(path) if snapshot.limits.is_none() => Err(Error::Usage(format!(
            "{} contains no limits; save a document with 'pidns --details limits -f json'",
            path.display()
        ))),
        None if !asked.is_empty() => {
            let (procfs, collector) = (&origin.procfs, origin.collector);
            let limits = collect::Limits::read(procfs, collector, &snapshot, Some(asked))?;
            if let Some(&pid) = limits.ended.iter().find(|pid| asked.contains(pid)) {
                return Err(no_process(pid, &snapshot));
            }
            limits.add_to(&mut snapshot);
            Ok(snapshot)
        }
        _ => Ok(snapshot),
    }
}

fn no_process(pid: Pid, snapshot: &Snapshot) -> Error {
    let no = NotFound::Process { pid, namespace: None };
    Error::not_found(no, &Coverage::of(snapshot))
}
