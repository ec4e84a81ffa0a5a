//! Finds the processes and namespaces that a command left behind (`pidns run`).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::mem;
use std::time::Duration;

use super::outsiders::Outsiders;
use crate::graph::PidGraph;
use crate::model::{
    CheckCode, Criterion, Ended, FilterOption, Finding, Holder, Killed, Lineage, LiveFacts,
    MountedNamespaces, Namespace, NamespaceId, NamespaceState, Pid, Process, Snapshot, Subject,
    Verdict,
};

/// Identifies the processes and namespaces that belong to a command.
#[derive(Clone, Debug)]
pub struct RunScope {
    /// The pidns process, which adopts orphaned descendants of the command.
    pub reaper: Pid,
    /// The processes in the command's cgroup, which are all leftovers.
    pub members: BTreeSet<Pid>,
    /// The PID namespaces that were bind-mounted before the command started.
    pub mounted: MountedNamespaces,
    /// The zombies that pidns cannot reap, and that still exist shortly after the scan.
    pub unreaped: BTreeSet<Pid>,
}

/// The processes and namespaces that a command left behind.
#[derive(Debug)]
pub struct Leftovers {
    /// The leftover processes, their namespaces, and the ancestors of these namespaces.
    pub graph: PidGraph,
    /// The namespaces that the command created and that still exist.
    pub namespaces: BTreeSet<NamespaceId>,
    /// `true` if pidns still has children, but they fork and exit too fast for a scan.
    pub unseen: bool,
    /// Processes in a leftover namespace that do not descend from the command.
    pub outsiders: Outsiders,
}

/// The report on a command that has ended.
#[derive(Debug)]
pub struct RunReport {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// The exit status of the command, or the signal that terminated it.
    pub ended: Ended,
    /// Maximum time to wait for leftover processes to end.
    pub grace: Duration,
    /// How long pidns waited for leftover processes to end. A signal can cut this wait short.
    pub waited: Duration,
    /// The codes that make `pidns run` fail.
    pub denied: BTreeSet<CheckCode>,
    /// The leftovers, or `None` if there are none.
    pub leftovers: Option<Leftovers>,
    /// Time from boot (`CLOCK_BOOTTIME`) to the scan for leftovers.
    pub uptime: Duration,
    /// Facts about the live host, for use in the advice.
    pub live: LiveFacts,
    /// The result of `--kill`, or `None` if no process was killed.
    pub killed: Option<Killed>,
}

impl RunReport {
    /// Returns the findings about all leftovers.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.leftovers.as_ref().map(|left| left.findings(&self.denied)).unwrap_or_default()
    }

    /// Returns the codes of the findings that make `pidns run` fail.
    #[must_use]
    pub fn violations(&self) -> BTreeSet<CheckCode> {
        let is_denied = |finding: &Finding| finding.verdict == Verdict::Deny;
        self.findings().into_iter().filter(is_denied).map(|finding| finding.code).collect()
    }

    /// Returns the age of a process, or `None` if unknown.
    #[must_use]
    pub fn age(&self, process: &Process) -> Option<Duration> {
        process.age(self.uptime)
    }
}

impl Leftovers {
    /// Finds the leftovers in `snapshot`. It must have been taken after the command ended.
    #[must_use]
    pub fn of(mut snapshot: Snapshot, scope: &RunScope) -> Self {
        snapshot.processes.retain(|it| !it.is_unreaped() || scope.unreaped.contains(&it.pid));
        let pids = descendants(&snapshot.processes, scope);
        let outsiders = Outsiders::of(&snapshot, &pids);
        let namespaces = made_namespaces(&snapshot, &pids, scope);
        let lineage = Lineage::new(&snapshot.namespaces);
        let of_processes = snapshot.processes.iter().filter(|it| pids.contains(&it.pid));
        let shown: HashSet<_> = of_processes
            .filter_map(|it| it.namespace)
            .chain(namespaces.iter().copied())
            .flat_map(|id| lineage.climb(id).collect::<Vec<_>>())
            .collect();
        count_members(&mut snapshot);
        snapshot.namespaces.retain(|namespace| shown.contains(&namespace.id));
        let tracers: HashSet<_> = snapshot
            .processes
            .iter()
            .filter(|it| pids.contains(&it.pid))
            .filter_map(Process::tracer)
            .collect();
        let (left, others): (Vec<_>, Vec<_>) =
            mem::take(&mut snapshot.processes).into_iter().partition(|it| pids.contains(&it.pid));
        snapshot.processes = left;
        snapshot.selected = vec![Criterion {
            by: FilterOption::DescendantsOf,
            values: vec![scope.reaper.to_string()],
        }];
        let mut graph = PidGraph::new(snapshot);
        graph.add_left_out(others.into_iter().filter(|it| tracers.contains(&it.pid)));
        graph.set_killed_with_inits(outsiders.by_init());
        Self { graph, namespaces, unseen: false, outsiders }
    }

    /// Returns `true` if the command left nothing behind.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.graph.processes().is_empty() && self.namespaces.is_empty() && !self.unseen
    }

    /// Returns `true` if a leftover process is the init of a PID namespace.
    #[must_use]
    pub fn has_init(&self) -> bool {
        self.made().any(|it| it.init.is_some())
    }

    /// Returns the leftover processes whose parent is not a leftover, sorted by PID.
    #[must_use]
    pub fn roots(&self) -> Vec<&Process> {
        let is_root = |it: &&Process| it.ppid.is_none_or(|ppid| self.graph.process(ppid).is_none());
        self.graph.processes().iter().filter(is_root).collect()
    }

    /// Returns the findings about all leftovers.
    #[must_use]
    pub fn findings(&self, denied: &BTreeSet<CheckCode>) -> Vec<Finding> {
        let finding = |code, subject| {
            let verdict = if denied.contains(&code) { Verdict::Deny } else { Verdict::Warn };
            Finding { verdict, code, subject }
        };
        let mut findings = Vec::new();
        for process in self.graph.processes() {
            let code =
                if process.is_unreaped() { CheckCode::Zombie } else { CheckCode::LeftoverProcess };
            findings.push(finding(code, Subject::Process(process.pid)));
        }
        if self.unseen {
            findings.push(finding(CheckCode::LeftoverProcess, Subject::Snapshot));
        }
        for namespace in self.made() {
            let mut find = |code| findings.push(finding(code, Subject::Namespace(namespace.id)));
            find(CheckCode::LeftoverNamespace);
            // A dead or nascent namespace has a second finding, about its state.
            match namespace.state {
                NamespaceState::Dead => find(CheckCode::DeadNamespace),
                NamespaceState::Nascent => find(CheckCode::NascentNamespace),
                NamespaceState::Live | NamespaceState::Unknown => {}
            }
        }
        findings
    }

    /// Updates the outsiders (processes that do not descend from the command) from `later`.
    ///
    /// `later` is a snapshot that was taken right before pidns kills the leftovers.
    pub fn update_outsiders(&mut self, later: &Snapshot, scope: &RunScope) {
        self.outsiders.update(later, &descendants(&later.processes, scope));
    }

    /// Adds to `killed` the processes that the kernel killed because their init ended.
    ///
    /// These processes are outsiders: they do not descend from the command.
    pub fn add_killed_outsiders(&mut self, killed: &mut Killed) {
        let (processes, parents) = mem::take(&mut self.outsiders).killed(killed);
        killed.outsiders = processes.iter().map(|it| it.pid).collect();
        killed.sigkill.extend(&killed.outsiders);
        self.graph.add_left_out(processes.into_iter().chain(parents));
    }

    /// Returns the leftover namespaces, sorted by ID.
    pub fn made(&self) -> impl Iterator<Item = &Namespace> {
        self.namespaces.iter().filter_map(|&id| self.graph.namespace(id))
    }
}

/// Sets the `member_count` of each namespace in an unfiltered snapshot.
fn count_members(snapshot: &mut Snapshot) {
    let mut counts: HashMap<_, usize> = HashMap::new();
    for id in snapshot.processes.iter().filter_map(|process| process.namespace) {
        *counts.entry(id).or_default() += 1;
    }
    for namespace in &mut snapshot.namespaces {
        namespace.member_count = Some(counts.get(&namespace.id).copied().unwrap_or(0));
    }
}

/// Returns the members of the command's cgroup, and the descendants of pidns.
fn descendants(processes: &[Process], scope: &RunScope) -> HashSet<Pid> {
    // Count the zombie children of a member as members, too, because `cgroup.procs` does not list
    // zombies.
    let is_member = |it: &&Process| {
        let parent = it.ppid.filter(|_| it.is_unreaped());
        let members = &scope.members;
        members.contains(&it.pid) || parent.is_some_and(|parent| members.contains(&parent))
    };
    let members = processes.iter().filter(is_member).map(|it| it.pid);
    let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
    for process in processes {
        if let Some(parent) = process.ppid {
            children.entry(parent).or_default().push(process.pid);
        }
    }
    let mut descendants = HashSet::new();
    let mut todo = vec![scope.reaper];
    while let Some(parent) = todo.pop() {
        for &child in children.get(&parent).into_iter().flatten() {
            if child != scope.reaper && descendants.insert(child) {
                todo.push(child);
            }
        }
    }
    descendants.extend(members);
    descendants
}

/// Returns the remaining namespaces that the command created, and their ancestors.
fn made_namespaces(
    snapshot: &Snapshot,
    pids: &HashSet<Pid>,
    scope: &RunScope,
) -> BTreeSet<NamespaceId> {
    let is_held_by_descendant =
        |holder: &Holder| holder.pid().is_some_and(|pid| pids.contains(&pid));
    // Returns `Some(true)` if `holder` is a mount that predates the command, or `None` if it is not
    // a mount in pidns's mount namespace.
    let is_old_mount = |namespace: &Namespace, holder: &Holder| match holder {
        Holder::Mount { path, mount_namespace } => {
            let is_own = Some(*mount_namespace) == scope.mounted.mount_namespace;
            let inode = namespace.id.inode().filter(|_| is_own)?;
            Some(scope.mounted.points.iter().any(|(it, at)| *it == inode && at == path))
        }
        Holder::Fd { .. } | Holder::PidForChildren { .. } | Holder::File { .. } => None,
    };
    // If pidns inherited a descriptor of a namespace, the namespace predates the command.
    let shows_age = |namespace: &Namespace, holder: &Holder| {
        holder.pid() == Some(scope.reaper) || is_old_mount(namespace, holder) == Some(true)
    };
    let is_older = |namespace: &Namespace| match namespace.init {
        // Look only at the init, because the other members may have entered a namespace that
        // already existed.
        Some(init) => !pids.contains(&init),
        None => namespace.holders.iter().any(|it| shows_age(namespace, it)),
    };
    let inhabited: HashSet<_> = snapshot
        .processes
        .iter()
        .filter(|process| pids.contains(&process.pid))
        .filter_map(|process| process.namespace)
        .collect();
    let is_made = |namespace: &&Namespace| {
        let has_new_holder = || {
            namespace
                .holders
                .iter()
                .any(|it| is_held_by_descendant(it) || is_old_mount(namespace, it) == Some(false))
        };
        let is_used = namespace.init.is_some() || inhabited.contains(&namespace.id);
        !is_older(namespace) && (is_used || has_new_holder())
    };
    let reaper = snapshot.processes.iter().find(|process| process.pid == scope.reaper);
    let home = reaper.and_then(|process| process.namespace);
    let lineage = Lineage::new(&snapshot.namespaces);
    let is_outside = |id: NamespaceId| home.is_some_and(|home| lineage.is_within(home, id));
    let older: HashSet<_> =
        snapshot.namespaces.iter().filter(|it| is_older(it)).map(|it| it.id).collect();
    let mut made = BTreeSet::new();
    for namespace in snapshot.namespaces.iter().filter(is_made) {
        if home.is_some_and(|home| lineage.is_within(namespace.id, home)) {
            // Add the ancestors up to, but not including, the namespace of pidns.
            let ancestors = lineage.climb(namespace.id).take_while(|&id| !is_outside(id));
            made.extend(ancestors.filter(|id| !older.contains(id)));
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{namespace, process, snapshot};

    fn pid(raw: u32) -> Pid {
        Pid::new(raw).expect("a PID")
    }

    fn child(nspid: &[u32], namespace: u64, parent: u32) -> Process {
        let mut process = process(nspid, Some(namespace));
        process.ppid = Pid::new(parent);
        process
    }

    fn scope() -> RunScope {
        RunScope {
            reaper: pid(5),
            members: BTreeSet::new(),
            mounted: MountedNamespaces {
                mount_namespace: Some(99),
                points: [(40, "/run/before"), (90, "/run/older")]
                    .map(|(inode, path)| (inode, path.to_owned()))
                    .into(),
            },
            unreaped: BTreeSet::from([pid(9), pid(12)]),
        }
    }

    fn found(leftovers: &Leftovers) -> Vec<(&'static str, String)> {
        let subject = |subject| match subject {
            Subject::Process(pid) => pid.to_string(),
            Subject::Namespace(id) => id.to_string(),
            Subject::Limit(_) => "a limit".to_owned(),
            Subject::Snapshot => "unseen".to_owned(),
        };
        leftovers
            .findings(&BTreeSet::new())
            .iter()
            .map(|it| (it.code.name(), subject(it.subject)))
            .collect()
    }

    #[test]
    fn leftovers_are_the_descendants_of_pidns() {
        let mut processes = vec![
            child(&[1], 10, 0),
            child(&[5], 10, 1),
            child(&[8], 10, 5),
            child(&[9], 10, 8),
            child(&[11], 10, 1),
            child(&[12], 10, 5),
            child(&[13], 10, 5),
        ];
        for zombie in [3, 5, 6] {
            processes[zombie].state = 'Z';
        }
        let leftovers = Leftovers::of(snapshot(vec![namespace(10, None)], processes), &scope());
        assert_eq!(
            found(&leftovers),
            [("leftover-process", "8"), ("zombie", "9"), ("zombie", "12")]
                .map(|(code, pid)| (code, pid.to_owned()))
        );
        assert_eq!(leftovers.roots().len(), 2);
        assert_eq!(
            leftovers.graph.namespace(NamespaceId::Inode(10)).unwrap().member_count,
            Some(6)
        );
    }

    #[test]
    fn members_of_the_cgroup_are_leftovers_besides_the_descendants() {
        let mut processes = vec![
            child(&[1], 10, 0),
            child(&[5], 10, 1),
            child(&[6], 10, 5),
            child(&[7], 10, 6),
            child(&[11], 10, 1),
            child(&[12], 10, 11),
            child(&[13], 10, 1),
        ];
        processes[5].state = 'Z';
        let members = [6, 11].map(pid).into();
        let scope = RunScope { members, ..scope() };
        let leftovers = Leftovers::of(snapshot(vec![namespace(10, None)], processes), &scope);
        let found: Vec<_> = found(&leftovers).into_iter().map(|(_, subject)| subject).collect();
        assert_eq!(found, ["6", "7", "11", "12"]);
    }

    #[test]
    fn a_namespace_with_a_leftover_init_or_a_new_holder_is_a_leftover() {
        let mut namespaces: Vec<_> =
            [20, 30, 40, 50, 60, 70].map(|it| namespace(it, Some(10))).into();
        namespaces.push(namespace(10, None));
        // The command created namespace 80 as a child of namespace 70.
        namespaces.push(namespace(80, Some(70)));
        let mount = |path: &str| Holder::Mount { path: path.to_owned(), mount_namespace: 99 };
        let held_by = |raw| Holder::Fd { pid: pid(raw), comm: None, fd: 3 };
        // Namespaces 90 and 100 are older than the command.
        namespaces.extend([90, 100].map(|it| namespace(it, Some(10))));
        namespaces[8].holders = vec![mount("/run/older"), held_by(8)];
        // Process 5 (pidns) has inherited a descriptor of namespace 100.
        namespaces[9].holders = vec![held_by(5), held_by(8)];
        // Namespace 40 was already mounted before the command ran. The command mounted only
        // namespace 50.
        namespaces[2].holders = vec![mount("/run/before")];
        namespaces[3].holders = vec![mount("/run/new")];
        namespaces[4].holders = vec![held_by(8)];
        for index in [2, 3, 4, 8, 9] {
            namespaces[index].state = NamespaceState::Dead;
        }
        let processes = vec![
            child(&[1], 10, 0),
            child(&[5], 10, 1),
            child(&[8], 10, 5),
            // The command created namespace 20 and entered namespace 30.
            child(&[12, 1], 20, 8),
            child(&[13, 1], 30, 1),
            child(&[14, 2], 30, 8),
            child(&[15, 3, 1], 80, 8),
        ];
        let leftovers = Leftovers::of(snapshot(namespaces, processes), &scope());
        let made: Vec<_> = leftovers.made().map(|it| it.id.inode().unwrap()).collect();
        assert_eq!(made, [20, 50, 60, 70, 80]);
        let dead: Vec<_> =
            found(&leftovers).into_iter().filter(|(code, _)| *code == "dead-namespace").collect();
        assert_eq!(dead.len(), 2);
    }

    #[test]
    fn a_command_that_left_nothing_has_no_findings() {
        let processes = vec![child(&[1], 10, 0), child(&[5], 10, 1)];
        let leftovers = Leftovers::of(snapshot(vec![namespace(10, None)], processes), &scope());
        assert!(leftovers.is_empty() && leftovers.findings(&BTreeSet::new()).is_empty());
    }
}
