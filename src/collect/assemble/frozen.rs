//! Finds frozen processes, such as those of a paused container.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::collect::discovery::FollowUp;
use crate::model::{Detail, Namespace, NamespaceId, Pid, Process};

/// Marks frozen processes. `cgroups` holds the text of each init's `/proc/PID/cgroup`.
pub fn find_frozen(
    source: &dyn FollowUp,
    details: &BTreeSet<Detail>,
    namespaces: &[Namespace],
    cgroups: &HashMap<Pid, Vec<u8>>,
    processes: &mut [Process],
) {
    let is_frozen = |namespace: &&Namespace| {
        let cgroups = namespace.init.and_then(|init| cgroups.get(&init));
        cgroups.is_some_and(|it| source.is_frozen_cgroup(it))
    };
    // Check the cgroups only if they were requested, because checking the cgroups of 1,000 sleeping
    // inits would take 20 ms.
    let checked = if details.contains(&Detail::Cgroup) { namespaces } else { &[] };
    let frozen: HashSet<NamespaceId> = checked.iter().filter(is_frozen).map(|it| it.id).collect();
    for process in processes.iter_mut().filter(|it| !it.kernel_thread) {
        // A frozen process is in state `D` with cgroup version 1, and in state `S` with version 2.
        let may_be_frozen = match process.state {
            'D' => true,
            'S' => process.namespace.is_some_and(|id| frozen.contains(&id)),
            _ => false,
        };
        if may_be_frozen && source.is_frozen(process) {
            process.details.get_or_insert_default().frozen = true;
        }
    }
}
