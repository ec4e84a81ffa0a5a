//! Reports problems on the live host or in a saved document (`pidns check`).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::thread;
use std::time::Instant;

use super::live_check::{Settled, add_live_facts, settle};
use super::view;
use crate::cli;
use crate::collect::Limits;
use crate::document;
use crate::error::Error;
use crate::exit::Exit;
use crate::graph::PidGraph;
use crate::model::{Detail, Diagnostic, DiagnosticCode, NotFound, Snapshot, Verdict};
use crate::output::{self, Outcome};
use crate::query::{
    self, Caveat, Check, Coverage, Diff, DiffCaveat, DiffScope, LastingFindings, Policy, RETRY,
    Rule, Selection, leave_out_observer,
};

/// Prints the findings, and returns exit status 1 if a finding is denied.
pub fn check(arguments: &cli::Check) -> Result<Exit, Error> {
    let (output, origin) = (&arguments.output, &arguments.origin);
    let mut policy = Policy::default();
    if let Some(path) = &arguments.policy {
        policy.add(read_policy(path)?);
    }
    policy.add(arguments.rules());
    policy.warn_at = arguments.warn_at;
    let root = view::handle(arguments.filter.root.as_ref(), origin)?;
    let selection = arguments.filter.selection(root.as_ref().map(|root| root.namespace));
    view::check_stdin(arguments.since.as_deref(), origin.file.as_deref())?;
    let load = |path: &Path| view::load_document(path, origin.host.as_deref(), output.quiet);
    let before = arguments.since.as_deref().map(load).transpose()?;
    let (start, wait) = (Instant::now(), arguments.wait());
    let mut lasting = LastingFindings::new(wait);
    let (mut check, gaps, host) = loop {
        let began = start.elapsed();
        let (mut check, gaps, host) = check_once(arguments, before.as_ref(), &selection, &policy)?;
        let is_clean = check.count(Verdict::Deny) == 0;
        let is_undecided = lasting.judge(&mut check, &host, began);
        let left = wait.saturating_sub(start.elapsed());
        // A process that appears near the end of `wait` still gets that full time to exit, so the
        // check can take up to twice `wait`.
        let is_over = began >= wait.saturating_mul(2);
        let is_decided = !is_undecided || check.count(Verdict::Deny) > 0;
        if is_clean && !is_undecided || left.is_zero() && (is_decided || is_over) {
            break (check, gaps, host);
        }
        thread::sleep(if left.is_zero() { RETRY } else { RETRY.min(left) });
    };
    check.find_killed_with_inits(host.snapshot());
    let style = view::style(output, false);
    let outcome = output::write(|out| output.format.0.emit(&check, style, out))?;
    let caveats = check.caveats.iter().copied().map(DiffCaveat::message).map(str::to_owned);
    let gaps: Vec<String> = gaps.into_iter().chain(caveats).collect();
    if outcome == Outcome::Taken && !output.quiet && !gaps.is_empty() {
        output::warn(format_args!("problems may be missing: {}", gaps.join("; ")));
    }
    let is_complete = check.graph.snapshot().has_all_but_limits() && gaps.is_empty();
    Ok(view::exit_status(check.count(Verdict::Deny) > 0, is_complete, output.strict))
}

/// Runs one check. Returns its result, the reasons why it may have missed problems, and the
/// unfiltered host.
fn check_once(
    arguments: &cli::Check,
    before: Option<&Snapshot>,
    selection: &Selection,
    policy: &Policy,
) -> Result<(Check, Vec<String>, PidGraph), Error> {
    let origin = &arguments.origin;
    let Settled { snapshot: mut after, unsettled, threads } =
        load_settled(arguments, before, policy)?;
    let has_all_limits = complete_limits(&mut after, origin)?;
    // Keep the whole host, because advice may name a process that the filter removes.
    let host = PidGraph::new(after.clone());
    let since = arguments.since.as_deref().zip(before);
    let (mut check, nothing) = if let Some((path, before)) = since {
        let scope = DiffScope { selection: selection.clone(), kernel_threads: true };
        let mut diff = Diff::between(before.clone(), after, &scope)
            .map_err(|why| view::incomparable(why, path, origin.file.as_deref()))?;
        let nothing = diff.nothing.take();
        (Check::since(diff, unsettled, policy, arguments.all), nothing)
    } else {
        leave_out_observer(&mut after, true);
        let coverage = Coverage::of(&after);
        let graph = PidGraph::new(after);
        selection.check_container(&graph).map_err(|no| Error::not_found(no, &coverage))?;
        let (graph, nothing) = query::part(graph, selection);
        (Check::new(graph, unsettled, policy), nothing.map(|no| (no, coverage)))
    };
    if selection.env.is_some() {
        check.leave_out_opened_namespaces();
    }
    // After a clean CI job, a correct filter may match only pidns itself, but the checked snapshot
    // excludes pidns. So test the filter on a snapshot that includes pidns before reporting that it
    // matches nothing.
    let whole = || PidGraph::new(host.snapshot().clone());
    check.nothing_matches = nothing.is_some() && query::part(whole(), selection).1.is_some();
    let gap = nothing.map(|(no, coverage)| classify_no_match(no, coverage)).transpose()?.flatten();
    if origin.file.is_none() {
        let details = arguments.details();
        add_live_facts(&mut check, threads, policy, details, &origin.procfs, host.processes())?;
    }
    // Missing limits do not matter unless the user asked for limits.
    let lacks_limits = !has_all_limits && policy.asks_for_limits();
    let unknown = lacks_limits.then(|| "some limits are unknown (see pidns limits)".to_owned());
    Ok((check, gap.into_iter().chain(unknown).collect(), host))
}

/// Adds the limits to a live snapshot, and returns `false` if some limits are unknown.
fn complete_limits(snapshot: &mut Snapshot, origin: &cli::Origin) -> Result<bool, Error> {
    if origin.file.is_some() {
        let code = DiagnosticCode::LimitsUnknown.name();
        let has_unknown = snapshot.diagnostics.iter().any(|it| it.code == code);
        return Ok(snapshot.limits.is_some() && !has_unknown);
    }
    let Limits { limits, diagnostics, .. } =
        Limits::read(&origin.procfs, origin.collector, snapshot, None)?;
    snapshot.limits = Some(limits);
    Ok(!diagnostics.iter().any(Diagnostic::is_gap))
}

/// Decides how to report a filter that matches nothing: as an error, a warning or not at all
/// (`None`).
fn classify_no_match(no: NotFound, coverage: Coverage) -> Result<Option<String>, Error> {
    let is_missing = !matches!(no, NotFound::Selection(_));
    let error = Error::not_found(no, &coverage);
    match error {
        // A namespace or process that the user gave on the command line was not found.
        _ if is_missing => Err(error),
        // The snapshot may be incomplete.
        Error::NotFound { caveat: Some(Caveat::Part | Caveat::NoCgroups), .. } => {
            Ok(Some(error.one_line()))
        }
        _ => Ok(None),
    }
}

/// Loads a snapshot. For the live host, a second scan finds out which states are transient.
fn load_settled(
    arguments: &cli::Check,
    before: Option<&Snapshot>,
    policy: &Policy,
) -> Result<Settled, Error> {
    let (quiet, origin) = (arguments.output.quiet, &arguments.origin);
    let search = arguments.search(before.map(|it| &it.searched));
    let needs_cgroups = arguments.filter.container.is_some() || policy.needs_cgroups();
    let details: BTreeSet<_> = needs_cgroups.then_some(Detail::Cgroup).into_iter().collect();
    let environment: BTreeSet<_> =
        arguments.filter.env.iter().chain(policy.environment()).cloned().collect();
    let load = || view::load(origin, search.clone(), details.clone(), environment.clone(), quiet);
    let first = load()?;
    if origin.file.is_some() {
        return Ok(Settled::unconfirmed(first));
    }
    settle(first, &origin.procfs, true, load)
}

fn read_policy(path: &Path) -> Result<Vec<(Verdict, Rule)>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    let file = File::open(path).map_err(failed)?;
    // Read one byte too many, so that `document::policy` detects a file that is too large.
    file.take(document::MAX_POLICY_SIZE + 1).read_to_end(&mut text).map_err(failed)?;
    document::policy(&text).map_err(|source| Error::Invalid { path: path.to_owned(), source })
}
