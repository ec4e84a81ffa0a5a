//! Finds new processes that have probably replaced a worker of an older daemon.

use std::collections::{BTreeMap, HashSet};

use crate::model::{Observer, Pid, Process, runtime};
use crate::query::diff::Diff;

/// Names of programs that adopt orphans, although they are not always the init of a namespace.
const SUBREAPERS: [&str; 4] = [runtime::SHIM, runtime::CONMON, "systemd", "tini"];

/// Maps each process that is probably a new worker of an older daemon, and each of the worker's
/// descendants, to the daemon's PID.
///
/// A new child of a daemon counts as a new worker if the daemon had a child of the same name in the
/// earlier snapshot, and that child has ended.
pub fn new_workers(diff: &Diff) -> BTreeMap<Pid, Pid> {
    let (before, after) = (&diff.before, &diff.after);
    let id = |it: &Process| (it.pid, it.start_time);
    let kind = |it: &Process| Some((it.ppid?, it.comm.clone()));
    let earlier: HashSet<_> = before.processes().iter().map(id).collect();
    let later: HashSet<_> = after.processes().iter().map(id).collect();
    let ended = before.processes().iter().filter(|it| !later.contains(&id(it)));
    let ended: HashSet<_> = ended.filter_map(kind).collect();
    let observers = [before, after].map(|it| it.snapshot().observer.as_ref());
    let is_daemon = |it: &&Process| {
        // The ancestors of pidns, such as the shells and the CI agent of the job, do not count as
        // daemons, because their new children are leftovers of the job.
        let is_of_job = |observer: &Observer| observer.attendants.contains(&it.pid);
        let may_adopt = it.pid == Pid::INIT
            || it.nspid.last() == Some(&Pid::INIT)
            || SUBREAPERS.contains(&&*it.comm);
        earlier.contains(&id(it)) && !may_adopt && !observers.into_iter().flatten().any(is_of_job)
    };
    let mut found = BTreeMap::new();
    // If the later snapshot does not say which pidns process took it, the shells and the CI agent
    // above that process are unknown, so they cannot be distinguished from daemons. A leftover of
    // the job could then pass for a daemon's worker, so return no workers.
    if observers[1].is_none() {
        return found;
    }
    let new = after.processes().iter().filter(|it| !earlier.contains(&id(it)));
    for process in new.filter(|it| kind(it).is_some_and(|kind| ended.contains(&kind))) {
        let daemon = process.ppid.and_then(|it| after.process(it)).filter(is_daemon);
        if let Some(daemon) = daemon {
            let workers = after.with_descendants([process.pid]);
            found.extend(workers.into_iter().map(|pid| (pid, daemon.pid)));
        }
    }
    found
}
