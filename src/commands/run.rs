//! Runs a command and reports the processes and namespaces that it leaves behind (`pidns run`).

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::view;
use crate::cli::Run;
use crate::collect::{self, Descendants, LiveHost, Request};
use crate::emit::{RunFormat, Style};
use crate::error::Error;
use crate::exit::Exit;
use crate::model::{Collector, Ended, Killed, LiveFacts, Namespace, SearchScope, Snapshot};
use crate::output;
use crate::query::{Leftovers, RunReport, RunScope, keepers};
use crate::run::report_file::{ReportFile, WriteMode};
use crate::run::{REAPING, SupervisedCommand, end_by_sigint, kill};
use crate::wording::run::killed_text;

/// Maximum number of scans for leftovers. A leftover can fork and exit before a scan reaches it,
/// and its descendants can escape the later scans in the same way.
const MAX_SCANS: usize = 5;

/// Time after which pidns does not start another scan for leftovers.
const SCANNING: Duration = Duration::from_secs(1);

/// The path of the running program, even if its file has been replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Runs a command, reports its leftovers, and returns the command's exit status.
pub fn run(arguments: &Run, collector: Collector) -> Result<Exit, Error> {
    if Descendants::open(Path::new("/proc"))?.adopts_others() {
        return run_in_child(arguments);
    }
    if env::args_os().next().is_some_and(|name| name == OWN_PROGRAM) {
        // The kernel has named this process `exe`, after the last path component of `OWN_PROGRAM`.
        let _ = rustix::thread::set_name(c"pidns");
    }
    // If a report cannot be opened, fail before the command runs.
    let reports = open_reports(arguments)?;
    let mut command =
        SupervisedCommand::start(&arguments.command, arguments.kill, arguments.cgroup)?;
    let ended = command.wait_for_command()?;
    let violated = report(arguments, collector, &mut command, ended, reports);
    if let Err(error) = &violated {
        output::warn_until(command.next_exit_request(), error.one_line());
    }
    // Removes the cgroup of the command.
    drop(command);
    if ended == Ended::Exited(0) {
        return Ok(match violated {
            Ok(true) => Exit::LeftDenied,
            Ok(false) => Exit::Success,
            Err(_) => Exit::RunTrouble,
        });
    }
    // The command failed, so end as it did (by SIGINT, or with its exit status), even if pidns
    // itself also failed.
    if ended.is_by_sigint() {
        // A shell stops its script on Ctrl-C only if SIGINT terminated its child.
        end_by_sigint();
    }
    Ok(Exit::Command(ended.status()))
}

/// Runs pidns again as a child, which adopts all orphans of the command.
fn run_in_child(arguments: &Run) -> Result<Exit, Error> {
    let mut words = vec![OsString::from(OWN_PROGRAM)];
    words.extend(env::args_os().skip(1));
    let mut child = SupervisedCommand::start(&words, arguments.kill, false)?;
    let ended = child.wait_for_command()?;
    if ended.is_by_sigint() {
        end_by_sigint();
    }
    Ok(Exit::Command(ended.status()))
}

/// Reports the leftovers, kills them with `--kill`, and returns `true` if a finding is denied.
fn report(
    arguments: &Run,
    collector: Collector,
    command: &mut SupervisedCommand,
    ended: Ended,
    files: Vec<(RunFormat, ReportFile)>,
) -> Result<bool, Error> {
    let grace = arguments.grace();
    let start = Instant::now();
    let has_none_left = command.wait_for_descendants(grace);
    let waited = start.elapsed().min(grace);
    let mut report = RunReport {
        command: arguments.command.iter().map(|it| it.to_string_lossy().into_owned()).collect(),
        ended,
        grace,
        waited,
        denied: arguments.denied(),
        leftovers: None,
        uptime: Duration::ZERO,
        live: LiveFacts::default(),
        killed: None,
    };
    let mut found = (|| {
        let may_be_left = !has_none_left || command.has_new_mounts()?;
        may_be_left.then(|| find_leftovers(arguments, command, collector)).transpose()
    })();
    // `found` is empty if all leftovers exited during the scan.
    let is_any_left = match &found {
        Ok(found) => found.as_ref().is_some_and(|(leftovers, _)| !leftovers.is_empty()),
        Err(_) => true,
    };
    report.uptime = collect::uptime().unwrap_or_default();
    if arguments.kill && !has_none_left && is_any_left {
        let leftovers = found.as_mut().ok().and_then(|found| Some(&mut found.as_mut()?.0));
        let killed = kill_leftovers(command, grace, leftovers, collector);
        report.killed = Some(killed).filter(|it| !it.is_empty());
    }
    match found {
        Ok(Some((leftovers, live))) if !leftovers.is_empty() => {
            report.live = live;
            report.leftovers = Some(leftovers);
        }
        Ok(_) => {}
        Err(error) => {
            if let Some(killed) = report.killed.filter(|_| !arguments.quiet) {
                output::warn_until(command.next_exit_request(), killed_text(&killed, None));
            }
            return Err(error);
        }
    }
    write_reports(arguments, &report, files, command.next_exit_request());
    Ok(!report.violations().is_empty())
}

/// Kills the leftovers. If one of them is an init, also records the other processes that the kernel
/// kills because they are in the init's PID namespace.
fn kill_leftovers(
    command: &mut SupervisedCommand,
    grace: Duration,
    mut leftovers: Option<&mut Leftovers>,
    collector: Collector,
) -> Killed {
    let mut killed = kill::kill(command, grace, |command| {
        // When an init is killed, the kernel kills all other processes in its PID namespace, too.
        // If no leftover is an init, there are no such processes to record, so skip the second
        // scan.
        let Some(leftovers) = leftovers.as_deref_mut().filter(|it| it.has_init()) else { return };
        let request = Request {
            procfs: PathBuf::from("/proc"),
            search: BTreeSet::from([SearchScope::Processes]),
            details: BTreeSet::new(),
            environment: BTreeSet::new(),
            collector,
        };
        // If the second scan fails, keep the result of the first scan.
        if let Ok(collected) = collect::collect_with(command.descendants(), &request) {
            leftovers.update_outsiders(&collected.snapshot, &scope(command));
        }
    });
    if let Some(leftovers) = leftovers {
        leftovers.add_killed_outsiders(&mut killed);
    }
    killed
}

/// Writes the reports. When `stop` becomes readable, stops waiting for slow readers of the reports.
fn write_reports(
    arguments: &Run,
    report: &RunReport,
    files: Vec<(RunFormat, ReportFile)>,
    stop: BorrowedFd<'_>,
) {
    if report.leftovers.is_some() && !arguments.quiet {
        let mut text = Vec::new();
        let _ = RunFormat::Text.emit(report, style(arguments, output::error_width()), &mut text);
        output::warn_in_full_until(stop, &text);
    }
    for (format, file) in files {
        let emit = |out: &mut dyn Write| format.emit(report, style(arguments, None), out);
        if let Err(error) = file.write(stop, emit) {
            output::warn_until(stop, error.one_line());
        }
    }
}

fn open_reports(arguments: &Run) -> Result<Vec<(RunFormat, ReportFile)>, Error> {
    let mut formats = Vec::new();
    let mut files = Vec::new();
    for (format, path) in arguments.reports() {
        // Append Markdown, because $GITHUB_STEP_SUMMARY may already have contents.
        let appends = format == RunFormat::Markdown;
        let mode = if appends { WriteMode::Append } else { WriteMode::Replace };
        formats.push(format);
        files.push(ReportFile::open(path, mode)?);
    }
    ReportFile::refuse_same(&files)?;
    Ok(formats.into_iter().zip(files).collect())
}

/// Scans the host until leftovers are found, or until no descendants of the command exist.
fn find_leftovers(
    arguments: &Run,
    command: &mut SupervisedCommand,
    collector: Collector,
) -> Result<(Leftovers, LiveFacts), Error> {
    let request = Request {
        procfs: PathBuf::from("/proc"),
        search: SearchScope::default_set(),
        details: arguments.details(),
        environment: BTreeSet::new(),
        collector,
    };
    let end = Instant::now() + SCANNING;
    let mut scans = 1;
    loop {
        let snapshot = view::snapshot(collect::collect_with(command.descendants(), &request)?);
        let live = live_facts(&snapshot, command)?;
        let mut leftovers = leftovers_in(snapshot, command);
        if !leftovers.is_empty() || !command.is_anything_left() {
            return Ok((leftovers, live));
        }
        if scans == MAX_SCANS || Instant::now() >= end {
            leftovers.unseen = true;
            return Ok((leftovers, live));
        }
        scans += 1;
    }
}

/// Collects facts from the live host for the advice on how to remove leftover namespaces.
fn live_facts(snapshot: &Snapshot, command: &SupervisedCommand) -> Result<LiveFacts, Error> {
    let mounts = snapshot.namespaces.iter().flat_map(Namespace::mounts).collect();
    // Search all processes, because any member of a mount namespace can be used to enter it.
    let live = LiveHost::of(command.descendants().procfs()?, &snapshot.processes);
    let keepers = snapshot.namespaces.iter().flat_map(keepers).collect();
    Ok(live.facts(&keepers, &mounts)?)
}

fn leftovers_in(mut snapshot: Snapshot, command: &SupervisedCommand) -> Leftovers {
    let descendants = command.descendants();
    let zombies: BTreeSet<_> =
        snapshot.processes.iter().filter(|it| it.is_zombie()).map(|it| it.pid).collect();
    if !descendants.zombies().is_disjoint(&zombies) {
        thread::sleep(REAPING);
    }
    let unreaped = descendants.zombies();
    snapshot.processes.extend(descendants.hidden());
    snapshot.processes.sort_unstable_by_key(|process| process.pid);
    Leftovers::of(snapshot, &RunScope { unreaped, ..scope(command) })
}

fn scope(command: &SupervisedCommand) -> RunScope {
    RunScope {
        reaper: command.descendants().viewer(),
        members: command.members().unwrap_or_default(),
        mounted: command.mounted_before().clone(),
        unreaped: BTreeSet::new(),
    }
}

/// Returns the output style for text that wraps after `width` columns.
fn style(arguments: &Run, width: Option<usize>) -> Style {
    let ascii = arguments.ascii || !output::is_utf8();
    Style { pretty: true, ascii, width, ..Style::default() }
}
