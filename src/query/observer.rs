//! Finds the processes that ran only because a snapshot was taken, so that a comparison can ignore
//! them.

use std::collections::BTreeSet;

use crate::model::{Observer, Pid, Process, Snapshot};

/// Removes the pidns process that took a snapshot, and limits that apply only to that process.
/// Unless `kernel_threads` is set, also removes all kernel threads, because they start and end at
/// any time.
pub fn leave_out_observer(snapshot: &mut Snapshot, kernel_threads: bool) {
    let observer = snapshot.observer.as_ref();
    let is_observer = |it: &Process| observer.is_some_and(|observer| is_same(observer, it));
    let own = snapshot.processes.iter().find(|it| is_observer(it)).map(|it| it.pid);
    snapshot.processes.retain(|it| Some(it.pid) != own && (kernel_threads || !it.kernel_thread));
    if let (Some(own), Some(limits)) = (own, &mut snapshot.limits) {
        limits.retain_mut(|limit| {
            let applied = limit.pids.len();
            limit.pids.retain(|&pid| pid != own);
            applied == limit.pids.len() || !limit.pids.is_empty()
        });
    }
}

/// Empties the lists of processes that ran only because the snapshot was taken, so that a
/// comparison also reports changes of these processes.
///
/// Use this function if the same pidns process takes both snapshots, because the user does not
/// start any process for the second snapshot. For example, after `pidns watch &`, the lists may
/// contain another command from the same shell, and the comparison must report this command.
#[must_use]
pub fn without_attendants(mut snapshot: Snapshot) -> Snapshot {
    if let Some(observer) = &mut snapshot.observer {
        observer.attendants.clear();
        observer.companions.clear();
    }
    snapshot
}

fn is_same(observer: &Observer, process: &Process) -> bool {
    let starts = observer.start_time.zip(process.start_time);
    observer.pid == process.pid && starts.is_none_or(|(one, other)| one == other)
}

/// Returns the attendants of a snapshot: processes other than pidns that ran only because the
/// snapshot was taken, such as the other commands in the pipeline of pidns. A comparison must not
/// report attendants as leftovers of a CI job. For example, each step of a job runs in a new shell,
/// which earlier snapshots do not contain.
///
/// `is_alone` returns `true` for a process that is not in the other snapshot.
///
/// A CI agent such as Jenkins can run a heartbeat alongside a step: a subshell that starts a new
/// `sleep` every few seconds. If the shell of the step is not in the other snapshot, all heartbeat
/// processes are attendants. Otherwise, a heartbeat process is an attendant only if its parent is a
/// heartbeat process that is in both snapshots.
pub fn attendants(snapshot: &Snapshot, is_alone: impl Fn(Pid) -> bool) -> BTreeSet<Pid> {
    let Some(observer) = &snapshot.observer else { return BTreeSet::new() };
    let is_new_step = observer.step.is_some_and(&is_alone);
    let is_old_heartbeat = |pid| observer.companions.contains(&pid) && !is_alone(pid);
    let parent = |pid| snapshot.processes.iter().find(|it| it.pid == pid)?.ppid;
    let is_attendant = |&&pid: &&Pid| is_new_step || parent(pid).is_some_and(is_old_heartbeat);
    let companions = observer.companions.iter().filter(is_attendant);
    observer.attendants.iter().chain(companions).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Limit, LimitKind, LimitScope};
    use crate::testing::{namespace, process, snapshot};

    fn pid(raw: u32) -> Pid {
        Pid::new(raw).unwrap()
    }

    /// Returns a snapshot that pidns (process 8) took in a CI step. Process 3 is the heartbeat: a
    /// background subshell that shows that the step is still running.
    fn host() -> Snapshot {
        let mut processes: Vec<_> = [1, 7, 8, 9].map(|it| process(&[it], Some(10))).into();
        for process in &mut processes {
            process.start_time = Some(5);
        }
        // Process 7 is called pidns, but did not take the snapshot.
        processes[1].comm = "pidns".into();
        processes[3].kernel_thread = true;
        let mut host = snapshot(vec![namespace(10, None)], processes);
        host.observer = Some(Observer {
            pid: pid(8),
            start_time: Some(5),
            step: Some(pid(4)),
            companions: vec![pid(3)],
            attendants: vec![pid(1), pid(4)],
        });
        host
    }

    #[test]
    fn removes_the_observer_from_limits() {
        let mut host = host();
        let limit = |raws: &[u32]| {
            let mut limit = Limit::unread(LimitKind::PidMax, LimitScope::default());
            limit.pids = raws.iter().map(|&it| pid(it)).collect();
            limit
        };
        host.limits = Some(vec![limit(&[7, 8]), limit(&[8]), limit(&[])]);
        leave_out_observer(&mut host, true);
        let left = host.limits.unwrap();
        assert_eq!(left.iter().map(|it| it.pids.len()).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn removes_the_observer_and_kernel_threads() {
        let left = |kernel_threads, start_time| {
            let mut host = host();
            host.observer.as_mut().unwrap().start_time = start_time;
            leave_out_observer(&mut host, kernel_threads);
            host.processes.iter().map(|it| it.pid.as_u32()).collect::<Vec<_>>()
        };
        assert_eq!(left(false, Some(5)), [1, 7]);
        assert_eq!(left(true, Some(5)), [1, 7, 9]);
        assert_eq!(left(false, None), [1, 7]);
        assert_eq!(left(false, Some(4)), [1, 7, 8], "another process with the same PID");
        let mut unknown = host();
        unknown.observer = None;
        leave_out_observer(&mut unknown, false);
        assert_eq!(unknown.processes.len(), 3, "a name is not evidence");
    }

    #[test]
    fn a_new_heartbeat_is_an_attendant_only_in_a_new_step() {
        let raw = |pids: BTreeSet<Pid>| pids.into_iter().map(Pid::as_u32).collect::<Vec<_>>();
        assert_eq!(raw(attendants(&host(), |it| it == pid(4))), [1, 3, 4]);
        assert_eq!(raw(attendants(&host(), |_| false)), [1, 4]);
        // Process 3, the heartbeat of the CI step, is in both snapshots. It has started a new
        // command, process 10.
        let mut host = host();
        host.processes.push(Process { ppid: Some(pid(3)), ..process(&[10], Some(10)) });
        host.observer.as_mut().unwrap().companions.push(pid(10));
        assert_eq!(raw(attendants(&host, |it| it == pid(10))), [1, 4, 10]);
        assert_eq!(raw(attendants(&host, |it| it == pid(3) || it == pid(10))), [1, 4]);
    }
}
