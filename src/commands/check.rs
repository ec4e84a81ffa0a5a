//! Reports problems on the live host or in a saved document (`pidns check`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::view;
use crate::cli;
use crate::collect::{self, LaterDetails, Limits, LiveHost};
use crate::document;
use crate::error::Error;
use crate::exit::Exit;
use crate::graph::PidGraph;
use crate::model::{Detail, Pid, Snapshot, Verdict};
use crate::output;
use crate::query::{
    self, Check, Coverage, Diff, DiffScope, Policy, Rule, Selection, Transients, leave_out_observer,
};

/// Pause before the second scan, so that transient states can end.
const SETTLE: Duration = Duration::from_millis(100);

/// Pause between two checks with `--wait`.
const RETRY: Duration = Duration::from_millis(200);

/// Prints the findings of a check. The exit status is 1 if a finding is denied.
pub fn check(arguments: &cli::Check) -> Result<Exit, Error> {
    let (output, origin) = (&arguments.output, &arguments.origin);
    let mut policy = Policy::default();
    if let Some(path) = &arguments.policy {
        policy.add(read_policy(path)?);
    }
    policy.add(arguments.rules());
    policy.warn_at = Some(arguments.warn_at);
    let root = view::handle(arguments.filter.root.as_ref(), origin)?;
    let selection = arguments.filter.selection(root.as_ref().map(|root| root.namespace));
    view::check_stdin(arguments.since.as_deref(), origin.file.as_deref())?;
    let load = |path: &Path| view::load_document(path, origin.host.as_deref(), output.quiet);
    let before = arguments.since.as_deref().map(load).transpose()?;
    // `None` if the deadline is too late for the clock to represent. pidns then waits without a
    // limit.
    let deadline = Instant::now().checked_add(arguments.wait());
    let check = loop {
        let check = check_once(arguments, before.as_ref(), &selection, &policy)?;
        let left = deadline.map_or(RETRY, |at| at.saturating_duration_since(Instant::now()));
        if left.is_zero() || check.count(Verdict::Deny) == 0 {
            break check;
        }
        thread::sleep(RETRY.min(left));
    };
    let style = view::style(output, false);
    output::write(|out| output.format.0.emit(&check, style, out))?;
    let is_complete = check.graph.snapshot().complete;
    Ok(view::exit_status(check.count(Verdict::Deny) > 0, is_complete, output.strict))
}

fn check_once(
    arguments: &cli::Check,
    before: Option<&Snapshot>,
    selection: &Selection,
    policy: &Policy,
) -> Result<Check, Error> {
    let origin = &arguments.origin;
    let is_live = origin.file.is_none();
    let Settled { snapshot: mut after, unsettled, stuck_threads } =
        load_settled(arguments, before, policy)?;
    if is_live {
        // Limits that can't be read are no gap: most checks ask about namespaces and processes.
        let Limits { limits, .. } = Limits::read(&origin.procfs, origin.collector, &after, None)?;
        after.limits = Some(limits);
    }
    let observer = view::own_pid(&after).filter(|_| is_live);
    let mut check = if let Some(before) = before {
        let selection = selection.clone();
        let scope = DiffScope { selection, kernel_threads: false, observer };
        let diff = Diff::between(before.clone(), after, &scope)
            .map_err(|(no, coverage)| Error::not_found(no, &coverage))?;
        Check::since(diff, unsettled, policy)
    } else {
        leave_out_observer(&mut after, false, observer);
        let coverage = Coverage::of(&after);
        let graph = query::select(PidGraph::new(after), selection)
            .map_err(|no| Error::not_found(no, &coverage))?;
        Check::new(graph, unsettled, policy)
    };
    if is_live {
        check.uptime = collect::uptime();
        check.add_stuck_threads(stuck_threads, policy);
        add_details(&mut check, &origin.procfs)?;
        let live = LiveHost::open(&origin.procfs, check.graph.processes())?;
        let mut facts = live.facts(&check.concerned(), &check.mount_namespaces());
        facts.stuck_threads = std::mem::take(&mut check.live.stuck_threads);
        check.live = facts;
    }
    Ok(check)
}

/// A snapshot, and the results of a second scan of the same host.
struct Settled {
    snapshot: Snapshot,
    /// Processes whose state is not a problem: it may end soon, or SIGKILL would terminate the
    /// process.
    unsettled: BTreeSet<Pid>,
    /// Maps each process with a thread in uninterruptible sleep to the TID of such a thread.
    stuck_threads: BTreeMap<Pid, Pid>,
}

/// Loads a snapshot. If processes of the live host are in transient states, takes a second snapshot
/// after a pause. A transient state counts only if both snapshots show it.
fn load_settled(
    arguments: &cli::Check,
    before: Option<&Snapshot>,
    policy: &Policy,
) -> Result<Settled, Error> {
    let (quiet, origin) = (arguments.output.quiet, &arguments.origin);
    // Search the places that the earlier scan searched, because otherwise the snapshots cannot be
    // compared.
    let search = before.map_or_else(|| arguments.search(), |before| before.searched.clone());
    let needs_cgroups = arguments.filter.container.is_some() || policy.names_a_container();
    let details: BTreeSet<_> = needs_cgroups.then_some(Detail::Cgroup).into_iter().collect();
    let load = || view::load(origin, search.clone(), details.clone(), quiet);
    let settled =
        |snapshot| Settled { snapshot, unsettled: BTreeSet::new(), stuck_threads: BTreeMap::new() };
    let first = load()?;
    if origin.file.is_some() {
        return Ok(settled(first));
    }
    let transients = Transients::of(&first);
    let stuck = LiveHost::open(&origin.procfs, &first.processes)?.stuck_threads(None);
    if transients.is_empty() && stuck.is_empty() {
        return Ok(settled(first));
    }
    thread::sleep(SETTLE);
    let snapshot = load()?;
    let live = LiveHost::open(&origin.procfs, &snapshot.processes)?;
    let mut unsettled = transients.unsettled(&snapshot);
    unsettled.extend(live.killable());
    let mut stuck_threads = live.stuck_threads(Some(&stuck));
    stuck_threads.retain(|pid, tid| stuck.get(pid) == Some(tid));
    Ok(Settled { snapshot, unsettled, stuck_threads })
}

/// Reads the command lines and cgroups of the processes that the findings concern, and adds them to
/// the graph.
fn add_details(check: &mut Check, procfs: &Path) -> Result<(), Error> {
    let concerned = check.concerned();
    if concerned.is_empty() {
        return Ok(());
    }
    let later = LaterDetails::open(procfs)?;
    let wanted = BTreeSet::from([Detail::Args, Detail::Cgroup]);
    for pid in concerned {
        let details = check.graph.process(pid).and_then(|process| later.of(process, &wanted));
        if let Some(details) = details {
            check.graph.add_details(pid, details);
        }
    }
    Ok(())
}

fn read_policy(path: &Path) -> Result<Vec<(Verdict, Rule)>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    let file = File::open(path).map_err(failed)?;
    // Read one byte more than allowed, so that `document::policy` detects a file that is too large.
    file.take(document::MAX_POLICY_SIZE + 1).read_to_end(&mut text).map_err(failed)?;
    document::policy(&text).map_err(|source| Error::Invalid { path: path.to_owned(), source })
}
