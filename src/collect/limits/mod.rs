//! Reads the limits that can make fork(2) or the creation of a PID namespace fail.

mod cgroups;
mod consumers;
mod host;
mod read_limit;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::error::Error;
use super::kernel::viewer;
use super::log::permission_advice;
use super::proc::procfs::Procfs;
use super::unblocked::unless_blocked;
use crate::model::{
    Collector, Diagnostic, DiagnosticCode, Keyword as _, Limit, LimitKind, Pid, Snapshot,
};
use consumers::Consumers;
use host::LimitedHost;
use read_limit::ReadLimit;
use rows::readers;

/// The limits that apply to the selected processes of a snapshot.
#[derive(Debug)]
pub struct Limits {
    /// The limits.
    pub limits: Vec<Limit>,
    /// Diagnostics about limits that are unknown.
    pub diagnostics: Vec<Diagnostic>,
    /// The processes that ended before their limits were read.
    pub ended: Vec<Pid>,
}

impl Limits {
    /// Reads the limits that apply to `pids`, or to all processes.
    ///
    /// The `snapshot` must come from a scan of this procfs that has just ended.
    pub fn read(
        procfs: &Path,
        collector: Collector,
        snapshot: &Snapshot,
        pids: Option<&BTreeSet<Pid>>,
    ) -> Result<Self, Error> {
        let snapshot = Arc::new(snapshot.clone());
        unless_blocked(|| {
            let (procfs, snapshot) = (Procfs::open(procfs)?, Arc::clone(&snapshot));
            let pids = pids.cloned();
            Ok(move || Self::of(procfs, collector, &snapshot, pids.as_ref()))
        })
    }

    /// Like [`Limits::read`], but uses the procfs that the scan has already opened.
    pub(super) fn of(
        procfs: Procfs,
        collector: Collector,
        snapshot: &Snapshot,
        pids: Option<&BTreeSet<Pid>>,
    ) -> Self {
        let host = LimitedHost::read(procfs, collector, snapshot, pids);
        let mut consumers = Consumers::new(snapshot);
        let (mut limits, mut diagnostics) = (Vec::new(), Vec::new());
        for read in readers() {
            let found = read(&host);
            diagnostics.extend(unknown_limits(&found));
            limits.extend(found.into_iter().map(|it| consumers.complete(it)));
        }
        diagnostics.extend(host.hidden_above().map(|it| unknown(it.to_owned())));
        let (log, ended) = host.into_log();
        diagnostics.extend(log.into_diagnostics(permission_advice(viewer::may_trace_all())));
        Self { limits, diagnostics, ended }
    }

    /// Adds the limits and diagnostics to a snapshot.
    pub fn add_to(self, snapshot: &mut Snapshot) {
        snapshot.complete &= !self.diagnostics.iter().any(Diagnostic::is_gap);
        snapshot.diagnostics.extend(self.diagnostics);
        snapshot.limits = Some(self.limits);
    }
}

/// Returns one diagnostic for each combination of limit kind and reason.
fn unknown_limits(found: &[ReadLimit<'_>]) -> Vec<Diagnostic> {
    let mut counts: BTreeMap<(LimitKind, &str), usize> = BTreeMap::new();
    for read in found.iter().filter(|it| it.limit.full.is_none()) {
        *counts.entry((read.limit.kind, &read.unknown_because)).or_default() += 1;
    }
    let diagnostic = |((kind, reason), count): ((LimitKind, &str), usize)| {
        let limits = if count == 1 { "limit" } else { "limits" };
        unknown(format!("{count} {limits} of kind {} unknown: {reason}", kind.keyword()))
    };
    counts.into_iter().map(diagnostic).collect()
}

/// Returns a diagnostic about unknown limits.
fn unknown(message: String) -> Diagnostic {
    let code = DiagnosticCode::LimitsUnknown;
    let (name, severity) = (code.name().to_owned(), code.severity());
    Diagnostic { code: name, severity, message, errno: None, pids: Vec::new() }
}
