//! A command, and what it leaves behind.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::collect;
use crate::cli::Run;
use crate::collect::Request;
use crate::emit::{ReportFormat, Style};
use crate::error::Error;
use crate::exit::Exit;
use crate::model::{Collector, Ended, Pid, SearchScope};
use crate::output;
use crate::query::{Leftovers, RunReport, RunScope};
use crate::run::Job;

/// Runs a command, says on standard error what it has left behind, and ends as
/// it did.
///
/// # Errors
/// The command could not be started; or it succeeded, but what it left could
/// not be found out or written down.
pub fn run(arguments: &Run) -> Result<Exit, Error> {
    // A report that cannot be written is better known before the command runs.
    let report_file = arguments.report.as_deref().map(create).transpose()?;
    let mut job = Job::start(&arguments.command, arguments.kill)?;
    let ended = job.wait_for_command()?;
    let violated = report(arguments, &mut job, ended, report_file);
    match (ended, violated) {
        (Ended::Exited(0), Ok(false)) => Ok(Exit::Success),
        (Ended::Exited(0), Ok(true)) => Ok(Exit::No),
        (Ended::Exited(0), Err(error)) => Err(error),
        (ended, Ok(_)) => Ok(Exit::Command(ended.status())),
        (ended, Err(error)) => {
            // The command's failure is what the caller waits for.
            output::warn(error.one_line());
            Ok(Exit::Command(ended.status()))
        }
    }
}

/// Says what was left, ends it where that is wanted, and returns whether
/// something was left that is denied.
fn report(
    arguments: &Run,
    job: &mut Job,
    ended: Ended,
    file: Option<(File, PathBuf)>,
) -> Result<bool, Error> {
    let grace = arguments.grace();
    let is_alone = job.wait_for_descendants(grace);
    let mut report = RunReport {
        command: arguments.command.iter().map(|it| it.to_string_lossy().into_owned()).collect(),
        ended,
        grace,
        denied: arguments.denied(),
        leftovers: None,
        uptime: Duration::ZERO,
        killed: None,
    };
    if !is_alone || job.has_new_mounts()? {
        let leftovers = look(job)?;
        // They may have ended while they were looked for.
        report.leftovers = (!leftovers.is_empty()).then_some(leftovers);
        report.uptime = uptime();
    }
    if arguments.kill && !is_alone && report.leftovers.is_some() {
        report.killed = Some(job.kill(grace));
    }
    let style = Style { pretty: true, ..Style::default() };
    if report.leftovers.is_some() && !arguments.quiet {
        // Written in one piece, so that lines of what is left do not come
        // between.
        let mut text = Vec::new();
        let _ = ReportFormat::Text.emit(&report, style, &mut text);
        output::warn_in_full(&text);
    }
    if let Some((file, path)) = file {
        let mut out = BufWriter::new(file);
        let written = arguments.format.emit(&report, style, &mut out);
        written.and_then(|()| out.flush()).map_err(|source| Error::Report { path, source })?;
    }
    Ok(!report.violations().is_empty())
}

/// Scans of the host that may miss all that is left, though the kernel says
/// that something is.
const SCANS: usize = 5;

/// What the job has left, by a scan of the host.
fn look(job: &mut Job) -> Result<Leftovers, Error> {
    let mut scans = 1;
    loop {
        let mut leftovers = scan(job)?;
        if !leftovers.is_empty() || !job.is_anything_left() {
            return Ok(leftovers);
        }
        if scans == SCANS {
            leftovers.unseen = true;
            return Ok(leftovers);
        }
        scans += 1;
    }
}

/// How long a zombie is given before it is one that nobody reaps.
const REAPING: Duration = Duration::from_millis(100);

fn scan(job: &Job) -> Result<Leftovers, Error> {
    let request = Request {
        procfs: PathBuf::from("/proc"),
        search: SearchScope::default_set(),
        details: BTreeSet::new(),
        collector: Collector::Auto,
    };
    let mut snapshot = collect(&request)?;
    let descendants = job.descendants();
    let zombies: BTreeSet<Pid> =
        snapshot.processes.iter().filter(|it| it.is_zombie()).map(|it| it.pid).collect();
    if !descendants.zombies().is_disjoint(&zombies) {
        // A parent that does reap its children takes a moment for it.
        thread::sleep(REAPING);
    }
    let unreaped = descendants.zombies();
    snapshot.processes.retain(|it| !it.is_zombie() || unreaped.contains(&it.pid));
    descendants.add_details(&mut snapshot.processes);
    let scope = RunScope {
        reaper: descendants.viewer(),
        inherited: descendants.inherited().clone(),
        mounted: job.mounted_before().clone(),
    };
    Ok(Leftovers::of(snapshot, &scope))
}

fn create(path: &Path) -> Result<(File, PathBuf), Error> {
    let failed = |source| Error::Report { path: path.to_owned(), source };
    Ok((File::create(path).map_err(failed)?, path.to_owned()))
}

/// Time since boot, on the clock that processes' start times are of.
fn uptime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}
