//! Finds new processes that have probably replaced a worker of an older daemon.

use std::collections::{BTreeMap, HashSet};

use crate::model::{Observer, Pid, Process, cgroup};
use crate::query::diff::Diff;

/// Names of programs that adopt orphans, although they are not always the init of a namespace.
const SUBREAPERS: [&str; 4] = [cgroup::SHIM, cgroup::CONMON, "systemd", "tini"];

/// Maps each probable new worker, and each of its descendants, to the PID of the daemon.
///
/// Before the job, the daemon had a worker of the same name, which has ended.
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
        // A child of a shell or runner of the job is a leftover of the job.
        let is_of_job = |observer: &Observer| observer.attendants.contains(&it.pid);
        let may_adopt = it.pid == Pid::INIT
            || it.nspid.last() == Some(&Pid::INIT)
            || SUBREAPERS.contains(&&*it.comm);
        earlier.contains(&id(it)) && !may_adopt && !observers.into_iter().flatten().any(is_of_job)
    };
    let mut found = BTreeMap::new();
    // Without an observer, the shells and runners of the job are unknown.
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
