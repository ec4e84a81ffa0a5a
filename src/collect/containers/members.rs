//! Finds processes that are not in the same container as the init of their PID namespace.
//!
//! Several containers can share a PID namespace: the containers of a pod, containers in pods with
//! `hostPID`, and containers that `docker run --pid` started.
//!
//! Reading the cgroup of every process would take longer than the rest of the scan. If the scan has
//! not read the cgroups, this module reads the cgroup of a process only in two cases:
//!
//! - The parent of the process is a container monitor, or is in another PID namespace than the
//!   process.
//! - The parent of the process is the init of a nested PID namespace that several containers share.
//!   Such an init adopts orphans of all these containers, so the process can be in any of them.
//!
//! The cgroups of other processes are not read, because a process is assumed to be in the same
//! container as its parent.

use std::collections::{HashMap, HashSet};

use rustix::io::Errno;

use super::monitor::{Monitor, find as find_process};
use crate::collect::kernel::wait_limit::WaitLimit;
use crate::collect::log::NESTED_CGROUPS;
use crate::collect::proc::ProcSource;
use crate::model::{
    Container, Detail, Diagnostic, DiagnosticCode, Namespace, NamespaceId, Pid, Process, Snapshot,
    cgroup,
};

/// Sets `container` for processes outside the container of their namespace's init.
pub fn find(source: &ProcSource, snapshot: &mut Snapshot) {
    let own = OwnContainers::new(&snapshot.namespaces);
    let mut unread = Vec::new();
    let found = if snapshot.details.contains(&Detail::Cgroup) {
        by_details(&snapshot.processes, &own)
    } else {
        by_descent(source, &snapshot.processes, &own, &mut unread)
    };
    if !unread.is_empty() {
        snapshot.complete = false;
        snapshot.diagnostics.push(too_slow(unread));
    }
    for (pid, container) in found {
        let index = snapshot.processes.binary_search_by_key(&pid, |process| process.pid);
        if let Some(process) = index.ok().and_then(|index| snapshot.processes.get_mut(index)) {
            process.details.get_or_insert_default().container = Some(container);
        }
    }
}

/// Returns the diagnostic for cgroups that took too long to read.
fn too_slow(pids: Vec<Pid>) -> Diagnostic {
    let code = DiagnosticCode::CgroupUnreadable;
    let message = format!("the containers of some processes are unknown, because {NESTED_CGROUPS}");
    let (name, severity) = (code.name().to_owned(), code.severity());
    Diagnostic { code: name, severity, message, errno: None, pids }
}

/// All namespaces, each with the container of its init.
struct OwnContainers<'a>(HashMap<NamespaceId, &'a Namespace>);

impl<'a> OwnContainers<'a> {
    fn new(namespaces: &'a [Namespace]) -> Self {
        Self(namespaces.iter().map(|namespace| (namespace.id, namespace)).collect())
    }

    /// Returns the container of a process, unless its namespace's init is in the same container.
    fn other(
        &self,
        process: &Process,
        parent: Option<&Process>,
        cgroup: &str,
    ) -> Option<Container> {
        let found = cgroup::of_path(cgroup, parent.map(|it| it.comm.as_str()))?;
        let own = process.namespace.and_then(|id| self.0.get(&id)?.container.as_ref());
        // A systemd unit does not count as a container.
        let is_other = !found.is_unit() && !own.is_some_and(|own| own.is_same(&found));
        is_other.then_some(found)
    }
}

/// Finds processes that are not in the same container as the init of their PID namespace, using the
/// cgroups in the snapshot.
fn by_details(processes: &[Process], own: &OwnContainers<'_>) -> Vec<(Pid, Container)> {
    let other = |process: &Process| {
        let parent = find_process(processes, process.ppid);
        own.other(process, parent, process.cgroup()?).map(|container| (process.pid, container))
    };
    processes.iter().filter(|it| !it.is_init()).filter_map(other).collect()
}

/// Finds processes that are not in the same container as the init of their PID namespace, reading
/// as few cgroups as possible.
fn by_descent(
    source: &ProcSource,
    processes: &[Process],
    own: &OwnContainers<'_>,
    unread: &mut Vec<Pid>,
) -> Vec<(Pid, Container)> {
    let waits = WaitLimit::of_cgroups();
    let mut read = |process: &Process, parent: &Process| {
        let cgroups = source.cgroups(process, &waits);
        // The time limit for reading cgroups was reached.
        if cgroups == Err(Errno::BUSY) {
            unread.push(process.pid);
        }
        let cgroup = cgroup::cgroup_path(&cgroups.ok()??)?;
        own.other(process, Some(parent), &cgroup)
    };
    let mut heads: HashMap<Pid, Option<Container>> = HashMap::new();
    let mut shared: HashSet<Option<NamespaceId>> = HashSet::new();
    for process in processes.iter().filter(|it| !it.is_init() && !it.kernel_thread) {
        let parent = find_process(processes, process.ppid);
        // Without root privileges, the namespaces of a container's processes can be unknown.
        let id = process.namespace;
        let is_head =
            |it: &&Process| Monitor::of(it).is_some() || id.is_some() && it.namespace != id;
        let Some(parent) = parent.filter(is_head) else { continue };
        let container = read(process, parent);
        if container.is_some() {
            shared.insert(id);
        }
        heads.insert(process.pid, container);
    }
    if shared.is_empty() {
        return Vec::new();
    }
    // An init adopts orphans of all containers in its namespace, so check its children.
    for process in processes {
        let is_shared = process.nspid.len() > 1
            && process.namespace.is_some()
            && shared.contains(&process.namespace)
            && !process.is_init()
            && !heads.contains_key(&process.pid);
        let parent = find_process(processes, process.ppid).filter(|it| it.is_init());
        if let Some(parent) = parent.filter(|_| is_shared) {
            heads.insert(process.pid, read(process, parent));
        }
    }
    descend(processes, heads, &shared)
}

/// Assigns each process in a shared namespace to the container of its nearest ancestor in `found`.
fn descend(
    processes: &[Process],
    mut found: HashMap<Pid, Option<Container>>,
    shared: &HashSet<Option<NamespaceId>>,
) -> Vec<(Pid, Container)> {
    let is_shared = |it: &&Process| shared.contains(&it.namespace);
    for process in processes.iter().filter(is_shared) {
        let mut path = Vec::new();
        let mut next = Some(process);
        let container = loop {
            let Some(process) = next else { break None };
            if let Some(container) = found.get(&process.pid) {
                break container.clone();
            }
            // Mark the process as visited, in case a race has created a parent cycle.
            found.insert(process.pid, None);
            path.push(process.pid);
            let parent = find_process(processes, process.ppid);
            next = parent.filter(|parent| parent.namespace == process.namespace);
        };
        if container.is_some() {
            found.extend(path.into_iter().map(|pid| (pid, container.clone())));
        }
    }
    found.into_iter().filter_map(|(pid, container)| Some((pid, container?))).collect()
}
