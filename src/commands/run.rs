//! Runs a command and reports the processes and namespaces that it leaves behind (`pidns run`).

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::view;
use crate::cli::Run;
use crate::collect::{self, LiveHost, Request};
use crate::emit::{RunFormat, Style};
use crate::error::Error;
use crate::exit::Exit;
use crate::model::{Collector, Ended, Holder, LiveFacts, SearchScope, Snapshot};
use crate::output;
use crate::query::{Leftovers, RunReport, RunScope};
use crate::run::{SupervisedCommand, kill};

/// Maximum number of scans for leftovers. More scans would not help with processes that fork and
/// exit faster than pidns can read them.
const MAX_SCANS: usize = 5;

/// Time in which a parent can reap a zombie before the zombie counts as a leftover.
const REAPING: Duration = Duration::from_millis(100);

/// Runs a command, reports its leftovers on standard error, and exits with the command's status.
///
/// # Errors
/// Returns an error if the command could not be started. Also returns an error if the command
/// succeeded, but its leftovers could not be found or reported.
pub fn run(arguments: &Run) -> Result<Exit, Error> {
    // Open the report file first, so that the command does not run if the report cannot be written.
    let report_file = arguments.report.as_deref().map(create).transpose()?;
    let mut command = SupervisedCommand::start(&arguments.command, arguments.kill)?;
    let ended = command.wait_for_command()?;
    let violated = report(arguments, &mut command, ended, report_file);
    match (ended, violated) {
        (Ended::Exited(0), Ok(false)) => Ok(Exit::Success),
        (Ended::Exited(0), Ok(true)) => Ok(Exit::No),
        (Ended::Exited(0), Err(error)) => Err(error),
        (ended, Ok(_)) => Ok(Exit::Command(ended.status())),
        (ended, Err(error)) => {
            // Only warn about this error, so that the caller gets the exit status of the failed
            // command.
            output::warn(error.one_line());
            Ok(Exit::Command(ended.status()))
        }
    }
}

/// Finds, kills and reports leftovers. Returns `true` if any leftover is denied.
fn report(
    arguments: &Run,
    command: &mut SupervisedCommand,
    ended: Ended,
    file: Option<(File, PathBuf)>,
) -> Result<bool, Error> {
    let grace = arguments.grace();
    let has_none_left = command.wait_for_descendants(grace);
    let mut report = RunReport {
        command: arguments.command.iter().map(|it| it.to_string_lossy().into_owned()).collect(),
        ended,
        grace,
        denied: arguments.denied(),
        leftovers: None,
        uptime: Duration::ZERO,
        live: LiveFacts::default(),
        killed: None,
    };
    if !has_none_left || command.has_new_mounts()? {
        let (leftovers, live) = find_leftovers(command)?;
        report.live = live;
        // `leftovers` is empty if all leftover processes exited during the scan.
        report.leftovers = (!leftovers.is_empty()).then_some(leftovers);
        report.uptime = collect::uptime().unwrap_or_default();
    }
    if arguments.kill && !has_none_left && report.leftovers.is_some() {
        report.killed = Some(kill::kill(command, grace));
    }
    let style = Style { pretty: true, ..Style::default() };
    if report.leftovers.is_some() && !arguments.quiet {
        // Write all lines in a single write, so that leftover processes cannot print between the
        // lines.
        let mut text = Vec::new();
        let style = Style { width: output::error_width(), ..style };
        let _ = RunFormat::Text.emit(&report, style, &mut text);
        output::warn_in_full(&text);
    }
    if let Some((file, path)) = file {
        let mut out = BufWriter::new(file);
        let written = arguments.format.0.emit(&report, style, &mut out);
        written.and_then(|()| out.flush()).map_err(|source| Error::Report { path, source })?;
    }
    Ok(!report.violations().is_empty())
}

/// Scans the host repeatedly, until a scan shows leftovers or no descendant is left.
fn find_leftovers(command: &mut SupervisedCommand) -> Result<(Leftovers, LiveFacts), Error> {
    let mut scans = 1;
    loop {
        let snapshot = scan()?;
        let live = live_facts(&snapshot)?;
        let mut leftovers = leftovers_in(snapshot, command);
        if !leftovers.is_empty() || !command.is_anything_left() {
            return Ok((leftovers, live));
        }
        if scans == MAX_SCANS {
            leftovers.unseen = true;
            return Ok((leftovers, live));
        }
        scans += 1;
    }
}

fn scan() -> Result<Snapshot, Error> {
    view::collect(&Request {
        procfs: PathBuf::from("/proc"),
        search: SearchScope::default_set(),
        details: BTreeSet::new(),
        collector: Collector::Auto,
    })
}

/// Looks up facts for advice on unmounting namespaces. Considers all processes of the host, because
/// the mount namespace of a mount may contain no leftover process.
fn live_facts(snapshot: &Snapshot) -> Result<LiveFacts, Error> {
    let holders = snapshot.namespaces.iter().flat_map(|it| &it.holders);
    let mount_namespaces = holders.filter_map(Holder::mount_namespace).collect();
    let live = LiveHost::open(Path::new("/proc"), &snapshot.processes)?;
    Ok(live.facts(&HashSet::new(), &mount_namespaces))
}

fn leftovers_in(mut snapshot: Snapshot, command: &SupervisedCommand) -> Leftovers {
    let descendants = command.descendants();
    let zombies: BTreeSet<_> =
        snapshot.processes.iter().filter(|it| it.is_zombie()).map(|it| it.pid).collect();
    if !descendants.zombies().is_disjoint(&zombies) {
        thread::sleep(REAPING);
    }
    let unreaped = descendants.zombies();
    descendants.add_details(&mut snapshot.processes);
    let scope = RunScope {
        reaper: descendants.viewer(),
        inherited: descendants.inherited().clone(),
        mounted: command.mounted_before().clone(),
        unreaped,
    };
    Leftovers::of(snapshot, &scope)
}

fn create(path: &Path) -> Result<(File, PathBuf), Error> {
    let failed = |source| Error::Report { path: path.to_owned(), source };
    Ok((File::create(path).map_err(failed)?, path.to_owned()))
}
