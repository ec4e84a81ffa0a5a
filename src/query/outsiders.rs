//! Finds the processes, other than leftovers, that the kernel kills when an init dies.
//!
//! If pidns kills the init of a PID namespace, the kernel kills all other members of the namespace.
//! A member can have entered the namespace from outside, for example through nsenter(1).

use std::collections::{BTreeMap, HashSet};

use crate::model::{Killed, Lineage, Pid, Process, Snapshot};

/// Members of the command's PID namespaces that do not descend from the command.
#[derive(Debug, Default)]
pub struct Outsiders {
    /// Maps each PID to its process, and to the leftover inits whose death would kill the process.
    found: BTreeMap<Pid, (Process, HashSet<Pid>)>,
    /// The parents of the processes in `found`.
    parents: BTreeMap<Pid, Process>,
}

impl Outsiders {
    /// Finds the processes in a snapshot, other than leftovers, that the kernel kills when an init
    /// dies. `pids` contains the PIDs of the leftovers.
    pub(super) fn of(snapshot: &Snapshot, pids: &HashSet<Pid>) -> Self {
        let mut this = Self::default();
        let is_other = |it: &Process| !pids.contains(&it.pid);
        for (process, inits) in killed_with(snapshot, |init| pids.contains(&init), is_other) {
            this.found.insert(process.pid, (process.clone(), inits));
        }
        let parents: HashSet<Pid> = this.found.values().filter_map(|(it, _)| it.ppid).collect();
        let parents = snapshot.processes.iter().filter(|it| parents.contains(&it.pid));
        this.parents = parents.map(|it| (it.pid, it.clone())).collect();
        this
    }

    /// Maps each init to the processes, other than leftovers, that the kernel kills when the init
    /// dies.
    pub(super) fn by_init(&self) -> BTreeMap<Pid, Vec<Process>> {
        by_init(self.found.values().map(|(process, inits)| (process, inits.clone())))
    }

    /// Uses a later snapshot to update the list of processes, other than leftovers, that the kernel
    /// kills when an init dies. `pids` contains the PIDs of the leftovers.
    pub(super) fn update(&mut self, later: &Snapshot, pids: &HashSet<Pid>) {
        let now = Self::of(later, pids);
        let living: HashSet<Pid> = later.processes.iter().map(|it| it.pid).collect();
        // Keep only processes that an init's death may have killed. If all inits in `inits` are
        // alive, the process ended for another reason, or is still running and is in `now.found`.
        self.found.retain(|_, (_, inits)| !inits.is_subset(&living));
        self.found.extend(now.found);
        self.parents.extend(now.parents);
    }

    /// Returns the processes that the kernel killed because an init died. Also returns the parents
    /// of all processes in `self.found`.
    pub(super) fn killed(self, killed: &Killed) -> (Vec<Process>, Vec<Process>) {
        let is_killed = |init: &Pid| {
            let is_signalled = killed.sigterm.contains(init) || killed.sigkill.contains(init);
            is_signalled && !killed.remaining.contains(init)
        };
        let ended = self.found.into_values().filter(|(_, inits)| inits.iter().any(is_killed));
        (ended.map(|(it, _)| it).collect(), self.parents.into_values().collect())
    }
}

/// Maps each init to the processes that the kernel kills with it, if they satisfy `is_other`.
pub(super) fn killed_with_inits(
    snapshot: &Snapshot,
    is_other: impl Fn(&Process) -> bool,
) -> BTreeMap<Pid, Vec<Process>> {
    by_init(killed_with(snapshot, |_| true, is_other).into_iter())
}

fn by_init<'a>(
    found: impl Iterator<Item = (&'a Process, HashSet<Pid>)>,
) -> BTreeMap<Pid, Vec<Process>> {
    let mut by_init = BTreeMap::<Pid, Vec<Process>>::new();
    for (process, inits) in found {
        for init in inits {
            by_init.entry(init).or_default().push(process.clone());
        }
    }
    by_init
}

/// Returns the processes that the kernel would kill if an init died. Each process is listed with
/// the inits whose death would kill it.
///
/// Considers only inits that satisfy `is_init`, and processes that satisfy `is_other`.
fn killed_with(
    snapshot: &Snapshot,
    is_init: impl Fn(Pid) -> bool,
    is_other: impl Fn(&Process) -> bool,
) -> Vec<(&Process, HashSet<Pid>)> {
    let top = snapshot.procfs.namespace;
    let below = snapshot.namespaces.iter().filter(|it| Some(it.id) != top);
    let inits = below.filter_map(|it| Some((it.id, it.init?)));
    let inits: BTreeMap<_, _> = inits.filter(|(_, init)| is_init(*init)).collect();
    if inits.is_empty() {
        return Vec::new();
    }
    let lineage = Lineage::new(&snapshot.namespaces);
    let others = snapshot.processes.iter().filter(|it| is_other(it) && !it.is_unreaped());
    let found = others.map(|process| {
        let namespaces = process.namespace.into_iter().flat_map(|id| lineage.climb(id));
        let above = namespaces.filter_map(|id| inits.get(&id).copied());
        (process, above.filter(|&init| init != process.pid).collect())
    });
    found.filter(|(_, inits): &(_, HashSet<Pid>)| !inits.is_empty()).collect()
}
