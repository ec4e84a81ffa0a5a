//! Finds the processes that ran only because a snapshot was taken, such as pidns itself.

use std::collections::BTreeSet;

use crate::graph::PidGraph;
use crate::model::{Holder, NamespaceId, Observer, Pid, Process, Snapshot};

/// Removes the pidns process that took a snapshot, and kernel threads unless requested.
pub fn leave_out_observer(snapshot: &mut Snapshot, kernel_threads: bool) {
    let observer = snapshot.observer.as_ref();
    let is_observer = |it: &Process| observer.is_some_and(|observer| is_same(observer, it));
    let own = snapshot.processes.iter().find(|it| is_observer(it)).map(|it| it.pid);
    // Kernel threads come and go at any time, so a comparison ignores them by default.
    snapshot.processes.retain(|it| Some(it.pid) != own && (kernel_threads || !it.kernel_thread));
    // Remove the limits that apply only to pidns.
    if let (Some(own), Some(limits)) = (own, &mut snapshot.limits) {
        limits.retain_mut(|limit| {
            let applied = limit.pids.len();
            limit.pids.retain(|&pid| pid != own);
            applied == limit.pids.len() || !limit.pids.is_empty()
        });
    }
}

/// Empties the lists of processes that a comparison ignores.
///
/// Call this function if one pidns process takes both snapshots. The lists can then contain a
/// command that the user started later in the same shell, for example after `pidns watch &`. A
/// comparison must not ignore that command.
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

/// Returns the processes that ran only because the snapshot was taken, such as pidns itself.
///
/// `is_alone` returns `true` for a process that is not in the other snapshot.
pub fn attendants(snapshot: &Snapshot, is_alone: impl Fn(Pid) -> bool) -> BTreeSet<Pid> {
    let Some(observer) = &snapshot.observer else { return BTreeSet::new() };
    let is_new_step = observer.step.is_some_and(&is_alone);
    // The heartbeat of a CI step is a subshell that starts a new `sleep` every few seconds. The
    // heartbeat is old if its subshell is in both snapshots.
    let is_old_heartbeat = |pid| observer.companions.contains(&pid) && !is_alone(pid);
    let parent = |pid| snapshot.processes.iter().find(|it| it.pid == pid)?.ppid;
    // If the CI step is not in the other snapshot, ignore all its heartbeat processes. If the step
    // is in both snapshots, ignore a heartbeat process only if its parent is a heartbeat subshell
    // that is in both snapshots, too.
    let is_attendant = |&&pid: &&Pid| is_new_step || parent(pid).is_some_and(is_old_heartbeat);
    let companions = observer.companions.iter().filter(is_attendant);
    let own_pid_is_reused = snapshot.processes.iter().any(|it| it.pid == observer.pid);
    let own = (!own_pid_is_reused).then_some(observer.pid);
    let others = observer.attendants.iter().chain(companions).copied();
    // Leave out processes that are in both snapshots, such as the CI agent, because they would have
    // run without this snapshot, too.
    others.filter(|&pid| is_alone(pid)).chain(own).collect()
}

/// Returns the namespaces that are used only by processes that satisfy `is_user`.
pub fn namespaces_used_only_by(
    graph: &PidGraph,
    is_user: impl Fn(Pid) -> bool,
) -> BTreeSet<NamespaceId> {
    let mut found = BTreeSet::new();
    // Visit the descendants of each namespace first.
    for (namespace, _) in graph.tree().into_iter().rev() {
        let members = graph.members(namespace);
        let has_all_members = namespace.member_count.is_none_or(|count| count == members.len());
        let running = members.into_iter().filter(|it| !it.is_unreaped()).map(|it| it.pid);
        let running: Vec<Pid> = running.chain(namespace.init).collect();
        let children = graph.children(namespace);
        // If no member is running, the namespace is used by its holders.
        let is_used_by_these = if running.is_empty() {
            let is_held = !namespace.holders.is_empty() || !children.is_empty();
            is_held && namespace.holders.iter().all(|it| Holder::pid(it).is_some_and(&is_user))
        } else {
            has_all_members && running.iter().all(|&pid| is_user(pid))
        };
        // Processes in descendant namespaces also use this namespace.
        if is_used_by_these && children.iter().all(|it| found.contains(&it.id)) {
            found.insert(namespace.id);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Limit, LimitKind, LimitScope};
    use crate::testing::{namespace, process, snapshot};

    fn pid(raw: u32) -> Pid {
        Pid::new(raw).unwrap()
    }

    /// Returns a snapshot taken by pidns (PID 8) in a CI step whose heartbeat process has PID 3.
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
            scan_end: None,
            step: Some(pid(4)),
            companions: vec![pid(3)],
            attendants: vec![pid(1), pid(4)],
        });
        host
    }

    #[test]
    fn a_namespace_is_used_by_its_running_members_or_else_by_its_holders() {
        let mut namespaces: Vec<_> =
            [(10, None), (20, Some(10)), (30, Some(20)), (40, Some(10)), (50, Some(10))]
                .map(|(inode, parent)| namespace(inode, parent))
                .into();
        let held_by = |raw| Holder::Fd { pid: pid(raw), comm: None, fd: 3 };
        let mount = Holder::Mount { path: "/run/x".to_owned(), mount_namespace: 1 };
        // Namespace 20 has a running member, so its holders do not count as users.
        namespaces[1].holders = vec![held_by(1), mount.clone()];
        namespaces[3].holders = vec![held_by(7), held_by(8)];
        let processes =
            [process(&[1], Some(10)), process(&[7, 1], Some(20)), process(&[9, 2, 1], Some(30))];
        let host = snapshot(namespaces, processes.into());
        let used = |host: &Snapshot, users: &[u32]| {
            let graph = PidGraph::new(host.clone());
            let found = namespaces_used_only_by(&graph, |it| users.contains(&it.as_u32()));
            found.into_iter().filter_map(NamespaceId::inode).collect::<Vec<_>>()
        };
        assert_eq!(used(&host, &[7, 8, 9]), [20, 30, 40]);
        assert_eq!(used(&host, &[7, 8]), [40], "9 is in a descendant of 20");
        assert_eq!(used(&host, &[7, 9]), [20, 30], "8 holds 40");
        // In this snapshot, pidns has PID 7 and is missing from the list of processes.
        let mut other = host.clone();
        other.processes.remove(1);
        assert_eq!(used(&other, &[7, 8, 9]), [20, 30, 40]);
        assert_eq!(used(&other, &[8, 9]), [30]);
        let mut other = host.clone();
        other.processes.push(Process { state: 'Z', ..process(&[11, 3], Some(20)) });
        assert_eq!(used(&other, &[7, 8, 9]), [20, 30, 40], "a zombie is no user");
        other.namespaces[2].member_count = Some(2);
        assert_eq!(used(&other, &[7, 8, 9]), [40], "a filter has removed a member");
        other.namespaces[3].holders.push(mount);
        assert_eq!(used(&other, &[7, 8, 9]), [0; 0], "a mount has no process");
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
        assert_eq!(raw(attendants(&host(), |it| it != pid(1))), [3, 4]);
        assert_eq!(raw(attendants(&host(), |it| it == pid(3))), [0; 0], "the step is old");
        // The heartbeat (process 3) is in both snapshots, and has started process 10.
        let mut host = host();
        host.processes.push(Process { ppid: Some(pid(3)), ..process(&[10], Some(10)) });
        host.observer.as_mut().unwrap().companions.push(pid(10));
        assert_eq!(raw(attendants(&host, |it| it == pid(10))), [10]);
        assert_eq!(raw(attendants(&host, |it| it == pid(3) || it == pid(10))), [0; 0]);
        leave_out_observer(&mut host, true);
        assert_eq!(raw(attendants(&host, |_| false)), [8], "pidns itself");
    }
}
