//! The condition that ends a watch (`pidns watch --until`).

use std::collections::BTreeSet;
use std::path::Path;

use super::live_check::{Settled, add_live_facts, settle};
use crate::collect::{Limits, Request, Scanner};
use crate::error::Error;
use crate::graph::PidGraph;
use crate::model::{CheckCode, Process, Snapshot};
use crate::query::{
    Check, Diff, DiffScope, Incomparable, Policy, Rule, Unsettled, without_attendants,
};

/// The problems that end a watch.
#[derive(Debug)]
pub struct Until {
    policy: Policy,
    codes: BTreeSet<CheckCode>,
    /// The first snapshot of the watch, the baseline for new problems.
    first: Snapshot,
}

impl Until {
    /// Creates the condition of `--until`. `first` is the first snapshot of the watch, and
    /// `request` is the request that produced this snapshot.
    pub fn new(rules: &[Rule], first: &Snapshot, request: &Request) -> Result<Self, Error> {
        let codes: BTreeSet<_> = rules.iter().map(Rule::code).collect();
        let mut first = without_attendants(first.clone());
        if codes.contains(&CheckCode::TaskLimit) {
            add_limits(&mut first, request)?;
        }
        Ok(Self { policy: Policy::only(rules.to_vec()), codes, first })
    }

    /// Returns the codes of the problems that end the watch.
    pub fn codes(&self) -> impl Iterator<Item = CheckCode> {
        self.codes.iter().copied()
    }

    /// Returns the number of problems that the first snapshot already has.
    pub fn already_there(&self, scope: &DiffScope) -> usize {
        let graph = PidGraph::new(self.first.clone());
        let (graph, _) = crate::query::part(graph, &scope.selection);
        Check::new(graph, Unsettled::default(), &self.policy).findings.len()
    }

    /// Checks the snapshot `after`. If a problem may be transient, takes a second snapshot and
    /// checks that instead. Returns the checked snapshot and its problems.
    pub fn check(
        &self,
        after: Snapshot,
        scope: &DiffScope,
        scanner: &mut Scanner,
    ) -> Result<(Snapshot, Option<Check>), Error> {
        let Request { procfs, details, .. } = scanner.request().clone();
        let may_stop = || after.processes.iter().any(Process::has_exited_leader);
        let needs_threads = self.codes.contains(&CheckCode::Uninterruptible)
            || (self.codes.contains(&CheckCode::StoppedInit) && may_stop());
        // `settle` is slow. Skip it if `after` shows no problem and no threads need to be examined.
        if !needs_threads {
            let check = self.check_once(&after, Unsettled::default(), scope, scanner.request())?;
            if check.findings.is_empty() {
                return Ok((after, None));
            }
        }
        let zombie_codes = [CheckCode::Zombie, CheckCode::InitDoesNotReap];
        let reports_zombies = zombie_codes.iter().any(|code| self.codes.contains(code));
        let scan = || scanner.scan().map(|it| it.snapshot).map_err(Error::from);
        let Settled { snapshot, unsettled, threads } =
            settle(after, &procfs, reports_zombies, scan)?;
        let mut check = self.check_once(&snapshot, unsettled, scope, scanner.request())?;
        let processes = &snapshot.processes;
        add_live_facts(&mut check, threads, &self.policy, details, &procfs, processes)?;
        let has_occurred = !check.findings.is_empty();
        Ok((snapshot, has_occurred.then_some(check)))
    }

    fn check_once(
        &self,
        after: &Snapshot,
        unsettled: Unsettled,
        scope: &DiffScope,
        request: &Request,
    ) -> Result<Check, Error> {
        let mut after = without_attendants(after.clone());
        if self.codes.contains(&CheckCode::TaskLimit) {
            add_limits(&mut after, request)?;
        }
        let diff = Diff::between(self.first.clone(), after, scope).map_err(incomparable)?;
        Ok(Check::since(diff, unsettled, &self.policy, false))
    }
}

fn add_limits(snapshot: &mut Snapshot, request: &Request) -> Result<(), Error> {
    let read = Limits::read(&request.procfs, request.collector, snapshot, None)?;
    snapshot.limits = Some(read.limits);
    Ok(())
}

/// Returns the error for two snapshots of a watch that cannot be compared.
pub fn incomparable(why: Incomparable) -> Error {
    let before = Path::new("the previous snapshot").to_owned();
    Error::Incomparable { before, after: None, why }
}
