//! Finds processes that `pidns run --kill` also kills although the command did not start them.
//!
//! If pidns kills the init of a PID namespace, the kernel kills all other members of the namespace.
//! A member can have entered the namespace from outside, for example through nsenter(1).

use std::collections::{BTreeMap, HashSet};

use crate::model::{Killed, Lineage, Pid, Process, Snapshot};

/// Members of the command's PID namespaces that do not descend from the command.
#[derive(Debug, Default)]
pub struct Outsiders {
    /// Maps each PID to its process, and to the leftover inits whose end kills the process.
    found: BTreeMap<Pid, (Process, HashSet<Pid>)>,
    /// The parents of the processes in `found`.
    parents: BTreeMap<Pid, Process>,
}

impl Outsiders {
    /// Finds the outsiders in a snapshot, given the descendants of pidns (`pids`).
    pub(super) fn of(snapshot: &Snapshot, pids: &HashSet<Pid>) -> Self {
        let mut this = Self::default();
        let inits = snapshot.namespaces.iter().filter_map(|it| Some((it.id, it.init?)));
        let inits: BTreeMap<_, _> = inits.filter(|(_, init)| pids.contains(init)).collect();
        if inits.is_empty() {
            return this;
        }
        let lineage = Lineage::new(&snapshot.namespaces);
        let is_other = |it: &&Process| !pids.contains(&it.pid) && !it.is_unreaped();
        for process in snapshot.processes.iter().filter(is_other) {
            let namespaces = process.namespace.into_iter().flat_map(|id| lineage.climb(id));
            let above: HashSet<Pid> = namespaces.filter_map(|id| inits.get(&id).copied()).collect();
            if !above.is_empty() {
                this.found.insert(process.pid, (process.clone(), above));
            }
        }
        let parents: HashSet<Pid> = this.found.values().filter_map(|(it, _)| it.ppid).collect();
        let parents = snapshot.processes.iter().filter(|it| parents.contains(&it.pid));
        this.parents = parents.map(|it| (it.pid, it.clone())).collect();
        this
    }

    /// Updates the processes from a later snapshot.
    pub(super) fn update(&mut self, later: &Snapshot, pids: &HashSet<Pid>) {
        let now = Self::of(later, pids);
        let living: HashSet<Pid> = later.processes.iter().map(|it| it.pid).collect();
        // Remove a process if all its inits are still alive. If the process has ended, the end of
        // an init did not kill it. If the process is still running, `now.found` contains it.
        self.found.retain(|_, (_, inits)| !inits.is_subset(&living));
        self.found.extend(now.found);
        self.parents.extend(now.parents);
    }

    /// Returns the outsiders that the kernel killed because their init died, and the parents of all
    /// outsiders.
    pub(super) fn killed(self, killed: &Killed) -> (Vec<Process>, Vec<Process>) {
        let is_killed = |init: &Pid| {
            let is_signalled = killed.sigterm.contains(init) || killed.sigkill.contains(init);
            is_signalled && !killed.remaining.contains(init)
        };
        let ended = self.found.into_values().filter(|(_, inits)| inits.iter().any(is_killed));
        (ended.map(|(it, _)| it).collect(), self.parents.into_values().collect())
    }
}
