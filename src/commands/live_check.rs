//! Checks the live host for `pidns check` and `pidns watch --until`.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;

use crate::collect::{self, LiveHost};
use crate::error::Error;
use crate::model::{Detail, Process, Snapshot};
use crate::query::{Check, Policy, ThreadProblems, Transients, Unsettled};

/// The input of a check: a snapshot, the transient states to ignore, and the problems of non-leader
/// threads.
pub struct Settled {
    pub snapshot: Snapshot,
    /// Processes and namespaces to leave out, because their state is probably transient.
    pub unsettled: Unsettled,
    pub threads: ThreadProblems,
}

impl Settled {
    /// Accepts a snapshot without a second scan.
    pub fn unconfirmed(snapshot: Snapshot) -> Self {
        Self { snapshot, unsettled: Unsettled::default(), threads: ThreadProblems::default() }
    }
}

/// Takes a second snapshot if the first snapshot shows states that may be transient.
pub fn settle(
    first: Snapshot,
    procfs: &Path,
    reports_zombies: bool,
    load: impl FnOnce() -> Result<Snapshot, Error>,
) -> Result<Settled, Error> {
    let transients = Transients::of(&first);
    let live = LiveHost::open(procfs, &first.processes)?;
    let sleeps = live.uninterruptible_sleeps()?;
    if transients.is_empty() && sleeps.is_empty() {
        let unsettled = Unsettled { processes: live.partly_stopped()?, ..Unsettled::default() };
        let stopped_inits = live.stopped_inits()?;
        let threads = ThreadProblems { stopped_inits, ..ThreadProblems::default() };
        return Ok(Settled { snapshot: first, unsettled, threads });
    }
    thread::sleep(transients.pause(reports_zombies));
    let snapshot = load()?;
    let live = LiveHost::open(procfs, &snapshot.processes)?;
    // A state that both snapshots show is not transient.
    let mut unsettled = transients.unsettled(&snapshot);
    let mut stuck = live.lasting_sleeps(&sleeps)?;
    let has_woken = |it: &&Process| it.state == 'D' && stuck.get(&it.pid) != Some(&it.pid);
    unsettled.processes.extend(snapshot.processes.iter().filter(has_woken).map(|it| it.pid));
    unsettled.processes.extend(live.partly_stopped()?);
    // Leave out thread group leaders, because the state of the leader is already reported as the
    // state of its process.
    stuck.retain(|pid, tid| pid != tid);
    let threads = ThreadProblems { stuck, stopped_inits: live.stopped_inits()? };
    Ok(Settled { snapshot, unsettled, threads })
}

/// Adds the problems in `threads` to `check`. Also adds process details and facts from the live
/// host. The advice in reports depends on these facts.
pub fn add_live_facts(
    check: &mut Check,
    threads: ThreadProblems,
    policy: &Policy,
    details: BTreeSet<Detail>,
    procfs: &Path,
    processes: &[Process],
) -> Result<(), Error> {
    check.uptime = collect::uptime();
    check.add_thread_problems(threads, policy);
    add_details(check, details, procfs)?;
    // `processes` contains all processes of the host, even those that a filter removes.
    let live = LiveHost::open(procfs, processes)?;
    let mut concerned = check.concerned();
    concerned.extend(check.inits());
    // Adds the facts, and removes the findings about leftovers that have ended.
    check.add_live_facts(live.facts(&concerned, &check.mounts())?);
    Ok(())
}

/// Adds the cgroup and the requested details to each process with a finding.
fn add_details(
    check: &mut Check,
    mut details: BTreeSet<Detail>,
    procfs: &Path,
) -> Result<(), Error> {
    let concerned = check.concerned();
    if concerned.is_empty() {
        return Ok(());
    }
    // The cgroup shows which service a process is part of.
    details.insert(Detail::Cgroup);
    let processes = concerned.into_iter().filter_map(|pid| check.graph.process(pid));
    let processes: Vec<Process> = processes.cloned().collect();
    for (pid, details) in collect::read_details(procfs, &processes, &details)? {
        check.graph.add_details(pid, details);
    }
    Ok(())
}
