//! Folds similar members of a namespace, and similar sibling namespaces, into one line.
//!
//! All text and picture formats use the same folding, which takes time linear in the number of
//! processes and namespaces. Some processes are never folded: those that the user named (by PID or
//! `--comm`), and those that keep a namespace alive or keep a terminated init from being removed.
//! Other processes are folded only with similar processes: a zombie, for example, is not folded
//! with running processes. An init is always the first process of its row.

use std::collections::{HashMap, HashSet};

use smol_str::SmolStr;

use crate::graph::PidGraph;
use crate::model::{
    Criterion, Evidence, FilterOption, Holder, Namespace, NamespaceId, NamespaceState, Pid,
    Process, ProcessDetails,
};

/// Maximum number of similar members or siblings that are shown on separate rows. If there are
/// more, they are folded into one row.
pub const MOST_APART: usize = 3;

/// Members of a namespace that share a line.
#[derive(Debug, PartialEq, Eq)]
pub enum MemberRow<'a> {
    /// A single process.
    One(&'a Process),
    /// More than [`MOST_APART`] processes that differ only in their PIDs. If one of them is an
    /// init, it comes first.
    Alike(Vec<&'a Process>),
    /// Several kernel threads.
    KernelThreads(Vec<&'a Process>),
}

impl<'a> MemberRow<'a> {
    /// Returns the processes of the row.
    pub fn processes(&self) -> &[&'a Process] {
        match self {
            Self::One(process) => std::slice::from_ref(process),
            Self::Alike(processes) | Self::KernelThreads(processes) => processes,
        }
    }
}

/// Sibling namespaces that share a line of text or a box in a picture.
#[derive(Debug, PartialEq, Eq)]
pub enum Siblings<'a> {
    /// One namespace.
    One(&'a Namespace),
    /// More than [`MOST_APART`] similar live namespaces.
    Alike(Vec<&'a Namespace>),
}

impl<'a> Siblings<'a> {
    /// Returns the first namespace, which represents all of these namespaces.
    pub fn first(&self) -> Option<&'a Namespace> {
        match self {
            Self::One(namespace) => Some(namespace),
            Self::Alike(namespaces) => namespaces.first().copied(),
        }
    }

    /// Returns the number of namespaces that share the line.
    pub fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Alike(namespaces) => namespaces.len(),
        }
    }
}

/// The state of a process, simplified: all states that need no attention are
/// [`Ordinary`](Self::Ordinary).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// Running, sleeping or waiting.
    Ordinary,
    /// In uninterruptible sleep (`D`), which signals do not interrupt.
    Uninterruptible,
    /// Stopped by a signal or a tracer (`T`, `t`).
    Stopped,
    /// Terminated, but not reaped (`Z`).
    Zombie,
}

impl Condition {
    /// Returns the condition of a process.
    pub fn of(process: &Process) -> Self {
        match process.state {
            'D' => Self::Uninterruptible,
            'T' | 't' => Self::Stopped,
            _ if process.is_zombie() => Self::Zombie,
            _ => Self::Ordinary,
        }
    }
}

/// Returns the parent of a process that entered its namespace from outside (by setns(2), as
/// nsenter(1) and `docker exec` do). Returns `None` for all other processes.
///
/// A process that entered from outside is not the init, and its parent is in another namespace.
/// Apart from the init, every other process has a parent in its own namespace, because the init
/// adopts orphans.
pub fn entered_by<'a>(graph: &'a PidGraph, process: &Process) -> Option<&'a Process> {
    entered_from(process, || graph.known_process(process.ppid?))
}

fn entered_from<'a>(
    process: &Process,
    parent: impl FnOnce() -> Option<&'a Process>,
) -> Option<&'a Process> {
    let own = process.namespace?;
    if process.nspid.len() < 2 || process.nspid.last() == Some(&Pid::INIT) {
        return None;
    }
    let parent = parent()?;
    (parent.namespace? != own).then_some(parent)
}

/// The properties that all processes on a row have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct MemberKind<'a> {
    comm: &'a str,
    condition: Condition,
    /// ID of the process's container, if it is not that of its namespace.
    container: Option<&'a str>,
    /// The name of the parent if the process entered the namespace from outside. For a zombie, the
    /// name of the parent or tracer that does not reap the zombie.
    parent: Option<&'a str>,
    /// The arguments of the process, if they were requested (`--details args`).
    args: Option<&'a [SmolStr]>,
}

/// Looks up parents, and caches the last result: consecutive processes often have the same parent,
/// and this lookup is the most expensive part of making a [`MemberKind`].
struct ParentCache<'a> {
    graph: &'a PidGraph,
    last: Option<(Pid, Option<&'a Process>)>,
}

impl<'a> ParentCache<'a> {
    fn new(graph: &'a PidGraph) -> Self {
        Self { graph, last: None }
    }

    fn find(&mut self, pid: Option<Pid>) -> Option<&'a Process> {
        let pid = pid?;
        match self.last {
            Some((last, found)) if last == pid => found,
            _ => {
                let found = self.graph.known_process(pid);
                self.last = Some((pid, found));
                found
            }
        }
    }
}

impl<'a> MemberKind<'a> {
    fn new(parents: &mut ParentCache<'a>, process: &'a Process) -> Self {
        let condition = Condition::of(process);
        let container = process.other_container();
        let parent = match condition {
            Condition::Zombie => parents.find(process.reaper()),
            // The output names the container in place of the parent.
            _ if container.is_some() => None,
            _ => entered_from(process, || parents.find(process.ppid)),
        };
        let details: Option<&ProcessDetails> = process.details.as_deref();
        Self {
            comm: &process.comm,
            condition,
            container: container.map(|it| it.id.as_str()),
            parent: parent.map(|parent| &*parent.comm),
            args: details.and_then(|details| details.args.as_deref()),
        }
    }

    fn is_ordinary(&self) -> bool {
        self.condition == Condition::Ordinary && self.container.is_none() && self.parent.is_none()
    }
}

/// Members of a namespace that share a row if there are enough of them.
#[derive(PartialEq, Eq, Hash)]
enum MemberGroup<'a> {
    Kind(MemberKind<'a>),
    KernelThreads,
}

impl<'a> MemberGroup<'a> {
    /// Returns the group of a process. A kernel thread that is a zombie is grouped with zombies,
    /// not with kernel threads.
    fn new(process: &Process, kind: MemberKind<'a>) -> Self {
        if process.kernel_thread && kind.condition != Condition::Zombie {
            Self::KernelThreads
        } else {
            Self::Kind(kind)
        }
    }

    /// Returns the maximum number of members of this group that are shown on separate rows.
    fn most_apart(&self) -> usize {
        match self {
            Self::Kind(_) => MOST_APART,
            Self::KernelThreads => 1,
        }
    }
}

/// The order of a namespace's rows: first the init, then unusual members, then all other members.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Init,
    Unusual,
    Ordinary,
}

/// The properties that sibling namespaces must have in common to share a line.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Shape<'a> {
    evidence: Evidence,
    init: Option<&'a str>,
    runtime: Option<&'a str>,
    /// The owner's user ID and user name. The last value is `true` if the same user namespace also
    /// owns the parent namespace.
    owner: Option<(Option<u32>, Option<&'a SmolStr>, bool)>,
    member_count: Option<usize>,
    kernel_threads: usize,
    members: Vec<(MemberKind<'a>, usize)>,
    holders: Vec<HolderKind<'a>>,
    /// Shape numbers of the child namespaces, sorted. Equal shapes have the same number.
    children: Vec<usize>,
}

/// A number that identifies the kind of holder, and the command name of the holding process. A
/// mount has no process.
type HolderKind<'a> = (u8, Option<&'a str>);

/// Decides which members and namespaces of a graph share a line.
#[derive(Debug)]
pub struct Folding<'a> {
    graph: &'a PidGraph,
    /// `false` if nothing is folded, so each process and namespace has a line of its own.
    folds: bool,
    /// Processes that always have a row of their own.
    apart: HashSet<Pid>,
    /// Maps each namespace that shares a line with siblings to the number that identifies their
    /// [`Shape`].
    alike: HashMap<NamespaceId, usize>,
}

impl<'a> Folding<'a> {
    /// Folds a graph. If `folds` is false, each process and namespace gets a line of its own.
    pub fn new(graph: &'a PidGraph, folds: bool) -> Self {
        let mut this = Self { graph, folds, apart: HashSet::new(), alike: HashMap::new() };
        if !folds {
            return this;
        }
        let snapshot = graph.snapshot();
        // If the snapshot was filtered by PID or name, the user named every process in it, so no
        // process is folded.
        let is_named = |it: &Criterion| matches!(it.by, FilterOption::Pid | FilterOption::Comm);
        if snapshot.selected.iter().any(is_named) {
            this.apart.extend(snapshot.processes.iter().map(|process| process.pid));
        }
        for namespace in &snapshot.namespaces {
            for blocker in &namespace.blocked_by {
                this.apart.insert(blocker.pid);
                this.apart.extend(blocker.reaper);
            }
            if namespace.state != NamespaceState::Live {
                this.apart.extend(keeping(graph, namespace).filter_map(Holder::pid));
            }
        }
        this.alike = this.find_alike();
        // The output does not name the holders of a folded namespace, so these holders need no row
        // of their own.
        for namespace in &snapshot.namespaces {
            if namespace.state == NamespaceState::Live && !this.alike.contains_key(&namespace.id) {
                this.apart.extend(keeping(graph, namespace).filter_map(Holder::pid));
            }
        }
        this
    }

    /// Returns the graph that was given to [`new`](Self::new).
    pub fn graph(&self) -> &'a PidGraph {
        self.graph
    }

    /// Returns `false` if nothing is folded, so each process and namespace has a line of its own.
    pub fn folds(&self) -> bool {
        self.folds
    }

    /// Returns the root namespaces, then the namespaces whose parent is unknown.
    pub fn tops(&self) -> Vec<Siblings<'a>> {
        self.siblings([self.graph.roots(), self.graph.detached()].concat())
    }

    /// Returns the child namespaces of a namespace.
    pub fn children(&self, namespace: &Namespace) -> Vec<Siblings<'a>> {
        self.siblings(self.graph.children(namespace))
    }

    fn siblings(&self, namespaces: Vec<&'a Namespace>) -> Vec<Siblings<'a>> {
        let mut siblings: Vec<Siblings<'a>> = Vec::new();
        let mut places: HashMap<usize, usize> = HashMap::new();
        for namespace in namespaces {
            let Some(&shape) = self.alike.get(&namespace.id) else {
                siblings.push(Siblings::One(namespace));
                continue;
            };
            let place = *places.entry(shape).or_insert(siblings.len());
            match siblings.get_mut(place) {
                Some(Siblings::Alike(alike)) => alike.push(namespace),
                _ => siblings.push(Siblings::Alike(vec![namespace])),
            }
        }
        siblings
    }

    /// Returns the members of a namespace: the init first, then unusual members, then all other
    /// members. Each of these groups is sorted by PID.
    pub fn members(&self, namespace: &Namespace) -> Vec<MemberRow<'a>> {
        self.rows(&self.graph.members(namespace), namespace.init)
    }

    /// Returns the processes whose namespace is ambiguous.
    pub fn unplaced(&self) -> Vec<MemberRow<'a>> {
        self.rows(&self.graph.unplaced().collect::<Vec<_>>(), None)
    }

    fn rows(&self, members: &[&'a Process], init: Option<Pid>) -> Vec<MemberRow<'a>> {
        let mut parents = ParentCache::new(self.graph);
        let kinds: Vec<MemberKind<'a>> =
            members.iter().map(|member| MemberKind::new(&mut parents, member)).collect();
        let group = |member: &Process, kind: &MemberKind<'a>| {
            let folds = self.folds && !self.apart.contains(&member.pid);
            folds.then(|| MemberGroup::new(member, *kind))
        };
        // Maps a group to the number of its members and the index of its row in `rows`.
        let mut groups: HashMap<MemberGroup<'a>, (usize, Option<usize>)> = HashMap::new();
        for (member, kind) in members.iter().zip(&kinds) {
            if let Some(group) = group(member, kind) {
                groups.entry(group).or_default().0 += 1;
            }
        }
        groups.retain(|group, (count, _)| *count > group.most_apart());
        let mut rows: Vec<(Rank, MemberRow<'a>)> = Vec::new();
        for (&member, kind) in members.iter().zip(&kinds) {
            let is_init = Some(member.pid) == init;
            let rank = if is_init {
                Rank::Init
            } else if self.apart.contains(&member.pid) || !kind.is_ordinary() {
                Rank::Unusual
            } else {
                Rank::Ordinary
            };
            let group = group(member, kind);
            let Some((_, place)) = group.as_ref().and_then(|group| groups.get_mut(group)) else {
                rows.push((rank, MemberRow::One(member)));
                continue;
            };
            match place.and_then(|place| rows.get_mut(place)) {
                Some((first, MemberRow::Alike(alike))) => {
                    *first = rank.min(*first);
                    alike.push(member);
                    if is_init {
                        alike.rotate_right(1);
                    }
                }
                Some((_, MemberRow::KernelThreads(threads))) => threads.push(member),
                _ => {
                    *place = Some(rows.len());
                    rows.push(match group {
                        Some(MemberGroup::KernelThreads) => {
                            (Rank::Ordinary, MemberRow::KernelThreads(vec![member]))
                        }
                        _ => (rank, MemberRow::Alike(vec![member])),
                    });
                }
            }
        }
        rows.sort_by_key(|(rank, _)| *rank);
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// Numbers the shapes of all namespaces. Returns the shape number of each namespace that has
    /// the same shape as at least [`MOST_APART`] of its siblings.
    fn find_alike(&self) -> HashMap<NamespaceId, usize> {
        let tree = self.graph.tree();
        let mut numbers: HashMap<Shape<'a>, usize> = HashMap::new();
        let mut shapes: HashMap<NamespaceId, usize> = HashMap::with_capacity(tree.len());
        let parent = |namespace: &Namespace| self.graph.parent(namespace).map(|parent| parent.id);
        let mut siblings: HashMap<(Option<NamespaceId>, usize), usize> = HashMap::new();
        // Visit children before their parents, because a shape contains the shapes of the children.
        for (namespace, _) in tree.iter().rev() {
            let Some(shape) = self.shape(namespace, &shapes) else { continue };
            let next = numbers.len();
            let number = *numbers.entry(shape).or_insert(next);
            shapes.insert(namespace.id, number);
            *siblings.entry((parent(namespace), number)).or_default() += 1;
        }
        shapes.retain(|&id, number| {
            let parent = self.graph.namespace(id).and_then(parent);
            siblings.get(&(parent, *number)).is_some_and(|&count| count > MOST_APART)
        });
        shapes
    }

    /// Returns the shape of a namespace, or `None` if the namespace must not be folded.
    fn shape(
        &self,
        namespace: &'a Namespace,
        shapes: &HashMap<NamespaceId, usize>,
    ) -> Option<Shape<'a>> {
        if namespace.state != NamespaceState::Live || namespace.parent_unknown {
            return None;
        }
        let children = self.graph.children(namespace);
        let children: Option<Vec<usize>> =
            children.iter().map(|child| shapes.get(&child.id).copied()).collect();
        let mut children = children?;
        children.sort_unstable();
        let mut counts: HashMap<MemberKind<'a>, usize> = HashMap::new();
        let mut kernel_threads = 0;
        let mut parents = ParentCache::new(self.graph);
        for member in self.graph.members(namespace) {
            let mut kind = MemberKind::new(&mut parents, member);
            // Containers that are alike differ in their IDs.
            kind.container = kind.container.map(|_| "");
            if self.apart.contains(&member.pid) || kind.condition == Condition::Zombie {
                return None;
            }
            match MemberGroup::new(member, kind) {
                MemberGroup::KernelThreads => kernel_threads += 1,
                MemberGroup::Kind(kind) => *counts.entry(kind).or_default() += 1,
            }
        }
        let mut members: Vec<_> = counts.into_iter().collect();
        members.sort_unstable();
        let init = namespace.init.and_then(|init| self.graph.process(init));
        let mut holders: Vec<_> = keeping(self.graph, namespace).map(kind_of_holder).collect();
        holders.sort_unstable();
        let above = self.graph.parent(namespace).and_then(|parent| parent.owner.as_ref());
        let owner = namespace.owner.as_ref().map(|owner| {
            let same = above.is_some_and(|above| above.user_namespace == owner.user_namespace);
            (owner.uid, owner.user.as_ref(), same)
        });
        Some(Shape {
            evidence: namespace.evidence,
            init: init.map(|init| &*init.comm),
            runtime: namespace.container.as_ref().map(|container| &*container.runtime),
            owner,
            member_count: namespace.member_count,
            kernel_threads,
            members,
            holders,
            children,
        })
    }
}

/// Returns the holders of a namespace that the output names.
///
/// The output names all holders of a namespace that is not live. For a live namespace, it names
/// only the holders that would keep the namespace alive after all members have exited. It does not
/// name a process whose children start in the live namespace: that is the usual state of, for
/// example, `unshare --pid`. For the namespace that the procfs shows, it names no holders while
/// that namespace is live.
pub fn keeping<'a>(
    graph: &PidGraph,
    namespace: &'a Namespace,
) -> impl Iterator<Item = &'a Holder> + use<'a> {
    let is_live = namespace.state == NamespaceState::Live;
    let is_own = graph.snapshot().procfs.namespace == Some(namespace.id);
    namespace.holders.iter().filter(move |holder| {
        let outlasts = !is_own && !matches!(holder, Holder::PidForChildren { .. });
        !is_live || outlasts
    })
}

fn kind_of_holder(holder: &Holder) -> HolderKind<'_> {
    match holder {
        Holder::Fd { comm, .. } => (0, comm.as_deref()),
        Holder::Mount { .. } => (1, None),
        Holder::PidForChildren { comm, .. } => (2, comm.as_deref()),
        Holder::File { file, comm, .. } => (3 + *file as u8, comm.as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BlockReason, Blocker, Container, Snapshot};
    use crate::testing::{namespace, process, snapshot};

    const HOST: u64 = 10;

    /// Returns, for each row of a namespace, the number of processes, their name and the first PID.
    fn rows(snapshot: Snapshot, inode: u64) -> Vec<(usize, String, u32)> {
        let graph = PidGraph::new(snapshot);
        let folding = Folding::new(&graph, true);
        let namespace = graph.namespace(NamespaceId::Inode(inode)).unwrap();
        let row = |row: &MemberRow<'_>| {
            let first = row.processes()[0];
            (row.processes().len(), first.comm.to_string(), first.pid.as_u32())
        };
        folding.members(namespace).iter().map(row).collect()
    }

    fn named(comm: &str, nspid: &[u32]) -> Process {
        Process { comm: comm.into(), ..process(nspid, Some(HOST)) }
    }

    /// Returns a snapshot of a host with an init and `count` processes called sleep.
    fn sleeps(count: u32) -> Snapshot {
        let sleeps = (101..=100 + count).map(|raw| named("sleep", &[raw]));
        let processes = [named("systemd", &[1])].into_iter().chain(sleeps).collect();
        snapshot(vec![namespace(HOST, None)], processes)
    }

    #[test]
    fn folds_more_than_three_processes_of_a_name() {
        assert_eq!(rows(sleeps(3), HOST).len(), 4);
        assert_eq!(
            rows(sleeps(4), HOST),
            [(1, "systemd".to_owned(), 1), (4, "sleep".to_owned(), 101)]
        );
    }

    #[test]
    fn folds_kernel_threads_of_any_name() {
        let mut host = sleeps(0);
        for raw in 2..4 {
            let mut thread = named(&format!("kworker/{raw}"), &[raw]);
            thread.kernel_thread = true;
            host.processes.push(thread);
        }
        assert_eq!(rows(host, HOST)[1], (2, "kworker/2".to_owned(), 2));
    }

    #[test]
    fn an_init_is_first_in_its_row_and_its_row_is_first() {
        let mut processes: Vec<_> = (0..5).map(|at| named("nginx", &[100 + at, 2 + at])).collect();
        processes[4].nspid[1] = Pid::INIT;
        processes.insert(0, named("sh", &[50, 9]));
        let container = snapshot(vec![namespace(HOST, None)], processes);
        assert_eq!(rows(container, HOST), [(5, "nginx".to_owned(), 104), (1, "sh".to_owned(), 50)]);
    }

    #[test]
    fn does_not_fold_a_zombie_or_a_process_that_entered() {
        let mut host = sleeps(6);
        host.processes[3].state = 'Z';
        host.namespaces.push(namespace(20, Some(HOST)));
        host.processes.extend([
            process(&[200, 1], Some(20)),
            process(&[201, 2], Some(20)),
            process(&[202, 3], Some(20)),
            process(&[203, 4], Some(20)),
            process(&[204, 5], Some(20)),
        ]);
        host.processes.last_mut().unwrap().ppid = Pid::new(101);
        host.namespaces[1].init = Pid::new(200);
        assert_eq!(
            rows(host.clone(), HOST)[1..],
            [(1, "sleep".to_owned(), 103), (5, "sleep".to_owned(), 101)]
        );
        assert_eq!(rows(host, 20), [(4, "sleep".to_owned(), 200), (1, "sleep".to_owned(), 204)]);
    }

    #[test]
    fn does_not_fold_holders_blockers_and_named_processes() {
        let mut host = sleeps(8);
        let mut dead = namespace(20, Some(HOST));
        dead.state = NamespaceState::Dead;
        dead.holders = vec![Holder::Fd { pid: Pid::new(103).unwrap(), comm: None, fd: 9 }];
        dead.blocked_by = vec![Blocker {
            pid: Pid::new(999).unwrap(),
            comm: "x".into(),
            reason: BlockReason::Zombie,
            reaper: Pid::new(104),
        }];
        host.namespaces.push(dead);
        assert_eq!(
            rows(host.clone(), HOST)[1..],
            [
                (1, "sleep".to_owned(), 103),
                (1, "sleep".to_owned(), 104),
                (6, "sleep".to_owned(), 101)
            ]
        );
        for by in [FilterOption::Pid, FilterOption::Comm] {
            host.selected = vec![Criterion { by, values: Vec::new() }];
            assert_eq!(rows(host.clone(), HOST).len(), 9);
        }
        let graph = PidGraph::new(sleeps(8));
        let unfolded = Folding::new(&graph, false);
        assert_eq!(unfolded.members(graph.roots()[0]).len(), 9);
    }

    /// Returns a snapshot of a host with five containers, each of which runs one process.
    fn containers() -> Snapshot {
        let inodes = [20, 30, 40, 50, 60];
        let mut namespaces = vec![namespace(HOST, None)];
        let mut processes = vec![process(&[1], Some(HOST))];
        for (raw, inode) in (100..).zip(inodes) {
            let mut container = namespace(inode, Some(HOST));
            container.container = Some(Container::new("docker", &inode.to_string()));
            namespaces.push(container);
            processes.push(process(&[raw, 1], Some(inode)));
        }
        snapshot(namespaces, processes)
    }

    /// Returns the number of namespaces on each line below the host namespace.
    fn lines(snapshot: Snapshot) -> Vec<usize> {
        let graph = PidGraph::new(snapshot);
        let folding = Folding::new(&graph, true);
        folding.children(graph.roots()[0]).iter().map(Siblings::len).collect()
    }

    #[test]
    fn folds_more_than_three_siblings_of_one_shape() {
        assert_eq!(lines(containers()), [5]);
        let mut three = containers();
        three.namespaces.truncate(4);
        three.processes.truncate(4);
        assert_eq!(lines(three), [1, 1, 1]);
    }

    #[test]
    fn does_not_fold_a_sibling_of_another_shape() {
        let changes: [fn(&mut Snapshot); 8] = [
            |it| it.namespaces[1].evidence = Evidence::Inferred,
            |it| it.namespaces[1].container.as_mut().unwrap().runtime = "podman".to_owned(),
            |it| it.namespaces[1].owner.as_mut().unwrap().uid = Some(1000),
            |it| it.namespaces[1].state = NamespaceState::Dead,
            |it| it.processes[1].comm = "bash".into(),
            |it| it.processes[1].state = 'T',
            |it| it.processes.push(process(&[500, 2], Some(20))),
            |it| it.namespaces.push(namespace(70, Some(20))),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut snapshot = containers();
            change(&mut snapshot);
            assert_eq!(lines(snapshot), [1, 4], "change {index}");
        }
        // Siblings are folded although their user namespaces differ: each container usually has its
        // own.
        let mut snapshot = containers();
        for (index, container) in snapshot.namespaces.iter_mut().skip(1).enumerate() {
            container.owner.as_mut().unwrap().user_namespace = 100 + index as u64;
        }
        assert_eq!(lines(snapshot), [5]);
    }

    #[test]
    fn does_not_fold_a_namespace_with_a_zombie() {
        let mut snapshot = containers();
        for (raw, inode) in (500..).zip([20, 30, 40, 50, 60]) {
            let mut zombie = process(&[raw, 2], Some(inode));
            zombie.state = 'Z';
            snapshot.processes.push(zombie);
        }
        assert_eq!(lines(snapshot), [1; 5]);
    }
}
