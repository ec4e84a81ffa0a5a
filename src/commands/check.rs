//! What is wrong on this host.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::diff::{compare, not_found, part, viewer};
use super::{handle, load, replay};
use crate::cli;
use crate::collect::LaterDetails;
use crate::document;
use crate::emit::Style;
use crate::error::Error;
use crate::exit::Exit;
use crate::model::{Detail, Pid, Process, Snapshot, Verdict};
use crate::output;
use crate::query::{Check, Policy, Rule, Selection, leave_out};

/// How long what may be over in a moment is given before the second look.
const MOMENT: Duration = Duration::from_millis(100);

/// How long until the next look, where it is to be waited.
const AGAIN: Duration = Duration::from_millis(200);

/// Checks the live kernel, or a saved document.
///
/// # Errors
/// There is no snapshot or policy, nothing that was asked for, or the output
/// could not be written.
pub fn check(arguments: &cli::Check) -> Result<Exit, Error> {
    let (output, origin) = (&arguments.output, &arguments.origin);
    let mut policy = Policy::default();
    if let Some(path) = &arguments.policy {
        policy.add(read_policy(path)?);
    }
    policy.add(arguments.rules());
    let root = handle(arguments.filter.root.as_ref(), origin)?;
    let selection = arguments.filter.selection(root.as_ref().map(|root| root.namespace));
    let is_stdin = |path: &Path| path == Path::new("-");
    if origin.file.as_deref().is_some_and(is_stdin)
        && arguments.since.as_deref().is_some_and(is_stdin)
    {
        return Err(Error::Usage("only one of two documents can be standard input".to_owned()));
    }
    let before = match &arguments.since {
        Some(path) => Some(replay(path, origin.host.as_deref(), output.quiet)?),
        None => None,
    };
    // A time beyond all clocks never comes.
    let end = Instant::now().checked_add(arguments.wait());
    let check = loop {
        let check = look(arguments, before.as_ref(), &selection, &policy)?;
        let left = end.map_or(AGAIN, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() || check.count(Verdict::Deny) == 0 {
            break check;
        }
        thread::sleep(AGAIN.min(left));
    };
    let color = output::is_colored(output.color.into());
    let style = Style {
        ascii: output.ascii || !output::is_utf8(),
        ..output.style(output::is_terminal(), color)
    };
    output::write(|out| output.format.emit(&check, style, out))?;
    let complete = check.graph.snapshot().complete;
    Ok(if check.count(Verdict::Deny) > 0 {
        Exit::No
    } else if output.strict && !complete {
        Exit::Incomplete
    } else {
        Exit::Success
    })
}

/// One look at the host.
fn look(
    arguments: &cli::Check,
    before: Option<&Snapshot>,
    selection: &Selection,
    policy: &Policy,
) -> Result<Check, Error> {
    let (quiet, origin) = (arguments.output.quiet, &arguments.origin);
    let is_live = origin.file.is_none();
    // What is compared is read as the other was.
    let search = before.map_or_else(|| arguments.search(), |before| before.searched.clone());
    let needs_cgroups = arguments.filter.container.is_some() || policy.names_a_container();
    let details: BTreeSet<_> = needs_cgroups.then_some(Detail::Cgroup).into_iter().collect();
    let mut snapshot = load(origin, search.clone(), details.clone(), quiet)?;
    if is_live && snapshot.processes.iter().any(is_momentary) {
        thread::sleep(MOMENT);
        let earlier: HashSet<_> =
            snapshot.processes.iter().filter(|it| is_momentary(it)).map(identity).collect();
        snapshot = load(origin, search, details, quiet)?;
        for process in &mut snapshot.processes {
            if is_momentary(process) && !earlier.contains(&identity(process)) {
                // It has had no time yet to be reaped, or to wake up.
                process.state = if process.state == 'D' { 'S' } else { 'X' };
            }
        }
        snapshot.processes.retain(|process| process.state != 'X');
    }
    let itself = viewer(&snapshot).filter(|_| is_live);
    let attendants = leave_out(&mut snapshot, false, itself);
    let uptime = is_live.then(|| Duration::try_from(clock_gettime(ClockId::Boottime)).ok());
    let mut check = match before {
        Some(before) => {
            let mut before = before.clone();
            leave_out(&mut before, false, None);
            let (diff, [_, part]) = compare(before, snapshot, selection)?;
            Check::since(diff, part, &attendants, policy)
        }
        None => match part(snapshot, selection) {
            (graph, None) => Check::new(graph, policy),
            (graph, Some(no)) => return Err(not_found(&graph, no)),
        },
    };
    check.uptime = uptime.flatten();
    if is_live {
        describe(&mut check, &origin.procfs)?;
    }
    Ok(check)
}

/// Which process is meant is best told by its command line, and what it is a
/// part of by its cgroup: read of those alone that something is said of.
fn describe(check: &mut Check, procfs: &Path) -> Result<(), Error> {
    let concerned = check.concerned();
    if concerned.is_empty() {
        return Ok(());
    }
    let later = LaterDetails::open(procfs)?;
    let asked = BTreeSet::from([Detail::Args, Detail::Cgroup]);
    for pid in concerned {
        let details = check.graph.process(pid).and_then(|process| later.of(process, &asked));
        if let Some(details) = details {
            check.graph.add_details(pid, details);
        }
    }
    Ok(())
}

/// Whether what a process is seen in may be over in a moment.
fn is_momentary(process: &Process) -> bool {
    !process.kernel_thread && (process.state == 'D' || process.is_unreaped())
}

/// What tells a process and its state apart in two looks.
fn identity(process: &Process) -> (Pid, Option<u64>, char) {
    (process.pid, process.start_time, process.state)
}

fn read_policy(path: &Path) -> Result<Vec<(Verdict, Rule)>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    let file = File::open(path).map_err(failed)?;
    // One byte more tells that there are too many.
    file.take(document::MAX_POLICY_SIZE + 1).read_to_end(&mut text).map_err(failed)?;
    document::policy(&text).map_err(|source| Error::Invalid { path: path.to_owned(), source })
}
