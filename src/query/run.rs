//! What a job has left behind: the part of a snapshot that descends from the
//! process that ran the job. Nothing here judges it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use crate::graph::PidGraph;
use crate::model::{
    CheckCode, Criterion, Ended, FilterOption, Finding, Holder, Killed, Lineage, MountedNamespaces,
    Namespace, NamespaceId, NamespaceState, Pid, Process, Snapshot, Subject, Verdict,
};

/// How to tell what is of a job.
#[derive(Clone, Debug)]
pub struct RunScope {
    /// The subreaper that ran it.
    pub reaper: Pid,
    /// Children that the subreaper had before.
    pub inherited: BTreeSet<Pid>,
    /// The PID namespaces that were mounted before the job.
    pub mounted: MountedNamespaces,
}

/// What a job has left behind.
#[derive(Debug)]
pub struct Leftovers {
    /// The processes, and the namespaces that lead to them and to those that are left.
    pub graph: PidGraph,
    /// The namespaces that were made by the job, by ID.
    pub namespaces: BTreeSet<NamespaceId>,
    /// Whether there are processes that no scan has shown: each ends before it
    /// can be read, and leaves a child in its place.
    pub unseen: bool,
}

/// Everything that there is to say of a job that has ended.
#[derive(Debug)]
pub struct RunReport {
    /// The command, and its arguments.
    pub command: Vec<String>,
    /// How it ended.
    pub ended: Ended,
    /// How long what it started was waited for.
    pub grace: Duration,
    /// What it must not leave.
    pub denied: BTreeSet<CheckCode>,
    /// What it left; `None` where that is nothing, and nobody had to look.
    pub leftovers: Option<Leftovers>,
    /// Time since boot when that was looked for (`CLOCK_BOOTTIME`).
    pub uptime: Duration,
    /// What became of it, where it was to be killed.
    pub killed: Option<Killed>,
}

impl RunReport {
    /// Everything that was left, under all of its codes.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.leftovers.as_ref().map(|left| left.findings(&self.denied)).unwrap_or_default()
    }

    /// The codes of what was left and must not be.
    #[must_use]
    pub fn violations(&self) -> BTreeSet<CheckCode> {
        let denied = |finding: &Finding| finding.verdict == Verdict::Deny;
        self.findings().into_iter().filter(denied).map(|finding| finding.code).collect()
    }

    /// How old a process was, where it is known when it started.
    #[must_use]
    pub fn age(&self, process: &Process) -> Option<Duration> {
        process.age(self.uptime)
    }
}

impl Leftovers {
    /// What a snapshot shows of a job.
    #[must_use]
    pub fn of(mut snapshot: Snapshot, scope: &RunScope) -> Self {
        let pids = descendants(&snapshot.processes, scope);
        let namespaces = made_namespaces(&snapshot, &pids, scope);
        let lineage = Lineage::new(&snapshot.namespaces);
        let of_processes = snapshot.processes.iter().filter(|it| pids.contains(&it.pid));
        let shown: HashSet<_> = of_processes
            .filter_map(|it| it.namespace)
            .chain(namespaces.iter().copied())
            .flat_map(|id| lineage.climb(id).collect::<Vec<_>>())
            .collect();
        // As of every part, the count is of all members.
        let mut counts: HashMap<_, usize> = HashMap::new();
        for id in snapshot.processes.iter().filter_map(|process| process.namespace) {
            *counts.entry(id).or_default() += 1;
        }
        snapshot.namespaces.retain(|namespace| shown.contains(&namespace.id));
        for namespace in &mut snapshot.namespaces {
            namespace.member_count = Some(counts.get(&namespace.id).copied().unwrap_or(0));
        }
        // The subreaper is about to reap its own zombies.
        snapshot.processes.retain(|it| {
            pids.contains(&it.pid) && !(it.is_unreaped() && it.ppid == Some(scope.reaper))
        });
        snapshot.selected = vec![Criterion {
            by: FilterOption::DescendantsOf,
            values: vec![scope.reaper.to_string()],
        }];
        Self { graph: PidGraph::new(snapshot), namespaces, unseen: false }
    }

    /// Whether nothing was left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.graph.processes().is_empty() && self.namespaces.is_empty() && !self.unseen
    }

    /// The processes whose parent is not left, by PID: the roots of a tree.
    #[must_use]
    pub fn roots(&self) -> Vec<&Process> {
        let is_root = |it: &&Process| it.ppid.is_none_or(|ppid| self.graph.process(ppid).is_none());
        self.graph.processes().iter().filter(is_root).collect()
    }

    /// Everything that was left, under all of its codes.
    #[must_use]
    pub fn findings(&self, denied: &BTreeSet<CheckCode>) -> Vec<Finding> {
        let finding = |code, subject| {
            let verdict = if denied.contains(&code) { Verdict::Deny } else { Verdict::Warn };
            Finding { verdict, code, subject }
        };
        let mut findings = Vec::new();
        for process in self.graph.processes() {
            let subject = Subject::Process(process.pid);
            let code = match process.is_zombie() {
                true => CheckCode::Zombie,
                false => CheckCode::LeftoverProcess,
            };
            findings.push(finding(code, subject));
        }
        if self.unseen {
            findings.push(finding(CheckCode::LeftoverProcess, Subject::Snapshot));
        }
        for namespace in self.made() {
            let subject = Subject::Namespace(namespace.id);
            let mut find = |code| findings.push(finding(code, subject));
            find(CheckCode::LeftoverNamespace);
            match namespace.state {
                NamespaceState::Dead => find(CheckCode::DeadNamespace),
                NamespaceState::Nascent => find(CheckCode::NascentNamespace),
                NamespaceState::Live | NamespaceState::Unknown => {}
            }
        }
        findings
    }

    /// The namespaces that were made by the job, by ID.
    pub fn made(&self) -> impl Iterator<Item = &Namespace> {
        self.namespaces.iter().filter_map(|&id| self.graph.namespace(id))
    }
}

/// All whose parents lead to the subreaper, which is no descendant of itself.
fn descendants(processes: &[Process], scope: &RunScope) -> HashSet<Pid> {
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
            let is_inherited = parent == scope.reaper && scope.inherited.contains(&child);
            if !is_inherited && child != scope.reaper && descendants.insert(child) {
                todo.push(child);
            }
        }
    }
    descendants
}

/// The namespaces that the job made and that are still there.
///
/// One with an init is the job's if the init is: others may be entered, not
/// made. One without an init is the job's if one of its processes is in it or
/// holds it, or if it was mounted while the job ran. So are those that such a
/// namespace was made in, up to the subreaper's own.
fn made_namespaces(
    snapshot: &Snapshot,
    pids: &HashSet<Pid>,
    scope: &RunScope,
) -> BTreeSet<NamespaceId> {
    let is_ours = |holder: &Holder| holder.pid().is_some_and(|pid| pids.contains(&pid));
    let is_mounted = |namespace: &Namespace, holder: &Holder| match holder {
        Holder::Mount { path, mount_namespace } => {
            Some(*mount_namespace) == scope.mounted.mount_namespace
                && namespace.id.inode().is_some_and(|inode| {
                    !scope.mounted.points.iter().any(|(it, at)| *it == inode && at == path)
                })
        }
        Holder::Fd { .. } | Holder::PidForChildren { .. } | Holder::File { .. } => false,
    };
    let inhabited: HashSet<_> = snapshot
        .processes
        .iter()
        .filter(|process| pids.contains(&process.pid))
        .filter_map(|process| process.namespace)
        .collect();
    let is_made = |namespace: &&Namespace| match namespace.init {
        Some(init) => pids.contains(&init),
        None => {
            inhabited.contains(&namespace.id)
                || namespace.holders.iter().any(|it| is_ours(it) || is_mounted(namespace, it))
        }
    };
    let reaper = snapshot.processes.iter().find(|process| process.pid == scope.reaper);
    let home = reaper.and_then(|process| process.namespace);
    let lineage = Lineage::new(&snapshot.namespaces);
    let is_outside = |id: NamespaceId| home.is_some_and(|home| lineage.is_within(home, id));
    let mut made = BTreeSet::new();
    for namespace in snapshot.namespaces.iter().filter(is_made) {
        if home.is_some_and(|home| lineage.is_within(namespace.id, home)) {
            made.extend(lineage.climb(namespace.id).take_while(|&id| !is_outside(id)));
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
            inherited: BTreeSet::from([pid(6)]),
            mounted: MountedNamespaces {
                mount_namespace: Some(99),
                points: BTreeSet::from([(40, "/run/before".to_owned())]),
            },
        }
    }

    fn found(leftovers: &Leftovers) -> Vec<(&'static str, String)> {
        let subject = |subject| match subject {
            Subject::Process(pid) => pid.to_string(),
            Subject::Namespace(id) => id.to_string(),
            Subject::Snapshot => "unseen".to_owned(),
        };
        leftovers
            .findings(&BTreeSet::new())
            .iter()
            .map(|it| (it.code.name(), subject(it.subject)))
            .collect()
    }

    #[test]
    fn what_descends_from_the_subreaper_is_left_and_nothing_else() {
        let mut processes = vec![
            child(&[1], 10, 0),
            child(&[5], 10, 1),
            child(&[6], 10, 5),
            child(&[7], 10, 6),
            child(&[8], 10, 5),
            child(&[9], 10, 8),
            child(&[11], 10, 1),
            child(&[12], 10, 5),
        ];
        for zombie in [5, 7] {
            processes[zombie].state = 'Z';
        }
        let leftovers = Leftovers::of(snapshot(vec![namespace(10, None)], processes), &scope());
        assert_eq!(
            found(&leftovers),
            [("leftover-process", "8".to_owned()), ("zombie", "9".to_owned())]
        );
        assert_eq!(leftovers.roots().len(), 1);
        assert_eq!(
            leftovers.graph.namespace(NamespaceId::Inode(10)).unwrap().member_count,
            Some(8)
        );
    }

    #[test]
    fn namespaces_are_the_jobs_if_their_init_is_or_nobody_elses_can_be() {
        let mut namespaces: Vec<_> =
            [20, 30, 40, 50, 60, 70].map(|it| namespace(it, Some(10))).into();
        namespaces.push(namespace(10, None));
        namespaces.push(namespace(80, Some(70)));
        let mount = |path: &str| Holder::Mount { path: path.to_owned(), mount_namespace: 99 };
        // Mounted before; mounted by the job; held by a process of the job; of
        // the job, below one that it made.
        namespaces[2].holders = vec![mount("/run/before")];
        namespaces[3].holders = vec![mount("/run/new")];
        namespaces[4].holders = vec![Holder::Fd { pid: pid(8), comm: None, fd: 3 }];
        for index in [2, 3, 4] {
            namespaces[index].state = NamespaceState::Dead;
        }
        let processes = vec![
            child(&[1], 10, 0),
            child(&[5], 10, 1),
            child(&[8], 10, 5),
            // The init of a namespace of the job, and one whom the job entered.
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
    fn a_job_that_left_nothing_is_empty() {
        let processes = vec![child(&[1], 10, 0), child(&[5], 10, 1)];
        let leftovers = Leftovers::of(snapshot(vec![namespace(10, None)], processes), &scope());
        assert!(leftovers.is_empty() && leftovers.findings(&BTreeSet::new()).is_empty());
    }
}
