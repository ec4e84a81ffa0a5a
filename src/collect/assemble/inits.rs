//! Finds the init of each namespace, and uses the init's cgroup to find the container.

use std::collections::{HashMap, HashSet};

use super::namespaces::index;
use crate::model::{Namespace, Pid, Process, cgroup};

/// Fills in `init` and `container` of all namespaces.
///
/// The namespaces must be sorted by ID, and the processes by PID.
pub fn attach_inits(
    namespaces: &mut [Namespace],
    processes: &[Process],
    cgroups: &HashMap<Pid, Vec<u8>>,
    terminated: &HashSet<Pid>,
) {
    for init in processes.iter().filter(|it| it.nspid.last() == Some(&Pid::INIT)) {
        let Some(index) = init.namespace.and_then(|id| index(namespaces, id)) else { continue };
        let cgroup = cgroups.get(&init.pid);
        namespaces[index].init = Some(init.pid);
        // When the main thread of a process becomes a zombie, the kernel moves it to another
        // cgroup, even if other threads are alive. So a zombie's cgroup can name the wrong systemd
        // unit.
        let has_terminated = || init.is_zombie() || terminated.contains(&init.pid);
        let parent = init.ppid.and_then(|ppid| {
            let index = processes.binary_search_by_key(&ppid, |process| process.pid).ok()?;
            processes.get(index).map(|parent| parent.comm.as_str())
        });
        namespaces[index].container =
            cgroup.and_then(|bytes| cgroup::of_cgroups(bytes, parent, has_terminated));
    }
}
