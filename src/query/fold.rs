//! What shares a line: kernel threads, members that are alike, and sibling
//! namespaces of one shape.
//!
//! Text and pictures show the same host, so what shares a line is decided
//! here, once, and in time linear in what there is. Never folded away are
//! what was named (a PID, `--comm`), an init, which comes first, a process
//! that is not like the others (a zombie, one that came from outside), and
//! whoever keeps a namespace alive or stuck.

use std::collections::{HashMap, HashSet};

use smol_str::SmolStr;

use crate::graph::PidGraph;
use crate::model::{
    Criterion, Evidence, FilterOption, Holder, Namespace, NamespaceId, NamespaceState, Pid,
    Process, ProcessDetails,
};

/// So many that are alike still have a line each.
pub const MOST_APART: usize = 3;

/// Members of a namespace that share a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Row<'a> {
    /// One process.
    One(&'a Process),
    /// More than [`MOST_APART`] that differ in nothing but their PIDs; an init first.
    Alike(Vec<&'a Process>),
    /// Threads of the kernel's own, more than one.
    KernelThreads(Vec<&'a Process>),
}

impl<'a> Row<'a> {
    /// The processes of the line.
    pub fn processes(&self) -> &[&'a Process] {
        match self {
            Self::One(process) => std::slice::from_ref(process),
            Self::Alike(processes) | Self::KernelThreads(processes) => processes,
        }
    }
}

/// Sibling namespaces that share a line, or a box.
#[derive(Debug, PartialEq, Eq)]
pub enum Siblings<'a> {
    /// One namespace.
    One(&'a Namespace),
    /// More than [`MOST_APART`] live ones of one shape.
    Alike(Vec<&'a Namespace>),
}

impl<'a> Siblings<'a> {
    /// The only one, or one that looks like all.
    pub fn first(&self) -> Option<&'a Namespace> {
        match self {
            Self::One(namespace) => Some(namespace),
            Self::Alike(namespaces) => namespaces.first().copied(),
        }
    }
}

/// What a member does that ps(1) would show with a letter worth a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// It runs, sleeps or waits.
    Ordinary,
    /// Uninterruptible sleep (`D`): no signal reaches it.
    Uninterruptible,
    /// Stopped by a signal or a tracer (`T`, `t`).
    Stopped,
    /// Terminated, and not yet reaped by its parent (`Z`).
    Zombie,
}

impl Condition {
    /// That of a process.
    pub fn of(process: &Process) -> Self {
        match process.state {
            'D' => Self::Uninterruptible,
            'T' | 't' => Self::Stopped,
            _ if process.is_zombie() => Self::Zombie,
            _ => Self::Ordinary,
        }
    }
}

/// The parent of a process that came into its namespace from outside, by
/// `setns(2)` as nsenter(1) and `docker exec` do: not the init, and with a
/// parent in another namespace. Whoever was born inside has a parent inside,
/// as orphans there fall to the init.
pub fn entered_by<'a>(graph: &'a PidGraph, process: &Process) -> Option<&'a Process> {
    entered_from(process, || graph.process(process.ppid?))
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

/// What members that share a line have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Kind<'a> {
    comm: &'a str,
    condition: Condition,
    /// The name of who entered it, or does not reap it.
    parent: Option<&'a str>,
    /// Where they were asked for.
    args: Option<&'a [SmolStr]>,
}

/// Looks for parents. Members often have the same one as the member before,
/// and a look for a process costs more than all else that is asked of it.
struct Parents<'a> {
    graph: &'a PidGraph,
    last: Option<(Pid, Option<&'a Process>)>,
}

impl<'a> Parents<'a> {
    fn new(graph: &'a PidGraph) -> Self {
        Self { graph, last: None }
    }

    fn of(&mut self, process: &Process) -> Option<&'a Process> {
        let ppid = process.ppid?;
        match self.last {
            Some((last, parent)) if last == ppid => parent,
            _ => {
                let parent = self.graph.process(ppid);
                self.last = Some((ppid, parent));
                parent
            }
        }
    }
}

impl<'a> Kind<'a> {
    fn of(parents: &mut Parents<'a>, process: &'a Process) -> Self {
        let condition = Condition::of(process);
        let parent = match condition {
            Condition::Zombie => parents.of(process),
            _ => entered_from(process, || parents.of(process)),
        };
        let details: Option<&ProcessDetails> = process.details.as_deref();
        Self {
            comm: &process.comm,
            condition,
            parent: parent.map(|parent| &*parent.comm),
            args: details.and_then(|details| details.args.as_deref()),
        }
    }

    fn is_ordinary(&self) -> bool {
        self.condition == Condition::Ordinary && self.parent.is_none()
    }
}

/// Members that share a row where they are many.
#[derive(PartialEq, Eq, Hash)]
enum Group<'a> {
    Of(Kind<'a>),
    OfKernel,
}

impl<'a> Group<'a> {
    /// A thread of the kernel that has terminated is worth a row of its own.
    fn of(process: &Process, kind: Kind<'a>) -> Self {
        if process.kernel_thread && kind.condition != Condition::Zombie {
            Self::OfKernel
        } else {
            Self::Of(kind)
        }
    }
}

/// How a holder looks, whatever its number.
type HolderKind<'a> = (u8, Option<&'a str>);

/// What sibling namespaces that share a line have in common.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Shape<'a> {
    evidence: Evidence,
    init: Option<&'a str>,
    runtime: Option<&'a str>,
    /// The user, and whether the user namespace is the parent's.
    owner: Option<(Option<u32>, Option<&'a SmolStr>, bool)>,
    member_count: Option<usize>,
    kernel_threads: usize,
    members: Vec<(Kind<'a>, usize)>,
    holders: Vec<HolderKind<'a>>,
    /// The shapes of its children, by number.
    children: Vec<usize>,
}

/// What shares a line in a graph.
#[derive(Debug)]
pub struct Folding<'a> {
    graph: &'a PidGraph,
    /// Whether anything does.
    folds: bool,
    /// Processes that have a line of their own.
    apart: HashSet<Pid>,
    /// Namespaces that share a line with siblings, with the number of their shape.
    alike: HashMap<NamespaceId, usize>,
}

impl<'a> Folding<'a> {
    /// What shares a line; nothing where `folds` is false.
    pub fn new(graph: &'a PidGraph, folds: bool) -> Self {
        let mut this = Self { graph, folds, apart: HashSet::new(), alike: HashMap::new() };
        if !folds {
            return this;
        }
        let snapshot = graph.snapshot();
        // What was named by PID or name is all that is left of the members.
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
        // Those who hold a live namespace count where it has a line of its own
        // that names them.
        for namespace in &snapshot.namespaces {
            if namespace.state == NamespaceState::Live && !this.alike.contains_key(&namespace.id) {
                this.apart.extend(keeping(graph, namespace).filter_map(Holder::pid));
            }
        }
        this
    }

    /// The graph that this is about.
    pub fn graph(&self) -> &'a PidGraph {
        self.graph
    }

    /// Whether anything shares a line.
    pub fn folds(&self) -> bool {
        self.folds
    }

    /// The topmost visible namespaces, then those whose parent is unknown.
    pub fn tops(&self) -> Vec<Siblings<'a>> {
        self.siblings([self.graph.roots(), self.graph.detached()].concat())
    }

    /// The namespaces made in this one.
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

    /// The members of a namespace: the init, then what stands out, then the
    /// others, each by PID.
    pub fn members(&self, namespace: &Namespace) -> Vec<Row<'a>> {
        self.rows(&self.graph.members(namespace), namespace.init)
    }

    /// The processes whose namespace is ambiguous.
    pub fn unplaced(&self) -> Vec<Row<'a>> {
        self.rows(&self.graph.unplaced().collect::<Vec<_>>(), None)
    }

    fn rows(&self, members: &[&'a Process], init: Option<Pid>) -> Vec<Row<'a>> {
        let mut parents = Parents::new(self.graph);
        let mut numbers: HashMap<Group<'a>, usize> = HashMap::new();
        // By the number of the group: how many there are, and where their row is.
        let mut groups: Vec<(usize, Option<usize>)> = Vec::new();
        let sorted: Vec<(bool, Option<usize>)> = members
            .iter()
            .map(|member| {
                let kind = Kind::of(&mut parents, member);
                let is_apart = self.apart.contains(&member.pid);
                let group = (self.folds && !is_apart).then(|| {
                    let next = groups.len();
                    let number = *numbers.entry(Group::of(member, kind)).or_insert(next);
                    match groups.get_mut(number) {
                        Some((count, _)) => *count += 1,
                        None => groups.push((1, None)),
                    }
                    number
                });
                (is_apart || !kind.is_ordinary(), group)
            })
            .collect();
        let of_kernel = numbers.get(&Group::OfKernel).copied();
        // By how early it comes.
        let mut rows: Vec<(u8, Row<'a>)> = Vec::new();
        for (&member, (stands_out, group)) in members.iter().zip(sorted) {
            let is_init = Some(member.pid) == init;
            let rank = match (is_init, stands_out) {
                (true, _) => 0,
                (false, true) => 1,
                (false, false) => 2,
            };
            let most_apart = if group == of_kernel { 1 } else { MOST_APART };
            let shared = group.and_then(|group| groups.get_mut(group));
            let Some((_, place)) = shared.filter(|(count, _)| *count > most_apart) else {
                rows.push((rank, Row::One(member)));
                continue;
            };
            match place.and_then(|place| rows.get_mut(place)) {
                Some((first, Row::Alike(alike))) => {
                    *first = rank.min(*first);
                    alike.push(member);
                    if is_init {
                        // The others move on by one, in order.
                        alike.rotate_right(1);
                    }
                }
                Some((_, Row::KernelThreads(threads))) => threads.push(member),
                _ => {
                    *place = Some(rows.len());
                    rows.push(if group == of_kernel {
                        (2, Row::KernelThreads(vec![member]))
                    } else {
                        (rank, Row::Alike(vec![member]))
                    });
                }
            }
        }
        rows.sort_by_key(|(rank, _)| *rank);
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// The namespaces that share a line. Children before parents, so that a
    /// shape has the shapes below it, then parents before children.
    fn find_alike(&self) -> HashMap<NamespaceId, usize> {
        let tree = self.graph.tree();
        let mut numbers: HashMap<Shape<'a>, usize> = HashMap::new();
        let mut shapes: HashMap<NamespaceId, usize> = HashMap::with_capacity(tree.len());
        let parent = |namespace: &Namespace| self.graph.parent(namespace).map(|parent| parent.id);
        let mut siblings: HashMap<(Option<NamespaceId>, usize), usize> = HashMap::new();
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

    /// The shape of a namespace; `None` where it has a line of its own.
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
        let mut counts: HashMap<Kind<'a>, usize> = HashMap::new();
        let mut kernel_threads = 0;
        let mut parents = Parents::new(self.graph);
        for member in self.graph.members(namespace) {
            let kind = Kind::of(&mut parents, member);
            if self.apart.contains(&member.pid) || kind.condition == Condition::Zombie {
                return None;
            }
            match Group::of(member, kind) {
                Group::OfKernel => kernel_threads += 1,
                Group::Of(kind) => *counts.entry(kind).or_default() += 1,
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

/// The holders of a namespace that are worth a word. Of a live one those that
/// outlast its members: not a process whose children start there, which is of
/// no interest while they can. Of the one whose /proc was read none, as it
/// lives as long as whoever reads.
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

    /// Each row as how many of which name, with the first PID.
    fn rows(snapshot: Snapshot, inode: u64) -> Vec<(usize, String, u32)> {
        let graph = PidGraph::new(snapshot);
        let folding = Folding::new(&graph, true);
        let namespace = graph.namespace(NamespaceId::Inode(inode)).unwrap();
        let row = |row: &Row<'_>| {
            let first = row.processes()[0];
            (row.processes().len(), first.comm.to_string(), first.pid.as_u32())
        };
        folding.members(namespace).iter().map(row).collect()
    }

    fn named(comm: &str, nspid: &[u32]) -> Process {
        Process { comm: comm.into(), ..process(nspid, Some(HOST)) }
    }

    /// A host with so many processes of one name.
    fn sleeps(count: u32) -> Snapshot {
        let sleeps = (101..=100 + count).map(|raw| named("sleep", &[raw]));
        let processes = [named("systemd", &[1])].into_iter().chain(sleeps).collect();
        snapshot(vec![namespace(HOST, None)], processes)
    }

    #[test]
    fn more_than_three_of_a_name_share_a_row() {
        assert_eq!(rows(sleeps(3), HOST).len(), 4);
        assert_eq!(
            rows(sleeps(4), HOST),
            [(1, "systemd".to_owned(), 1), (4, "sleep".to_owned(), 101)]
        );
    }

    #[test]
    fn kernel_threads_share_a_row_whatever_their_names() {
        let mut host = sleeps(0);
        for raw in 2..4 {
            let mut thread = named(&format!("kworker/{raw}"), &[raw]);
            thread.kernel_thread = true;
            host.processes.push(thread);
        }
        assert_eq!(rows(host, HOST)[1], (2, "kworker/2".to_owned(), 2));
    }

    #[test]
    fn an_init_comes_first_in_its_row_and_the_row_first_of_all() {
        let mut processes: Vec<_> = (0..5).map(|at| named("nginx", &[100 + at, 2 + at])).collect();
        processes[4].nspid[1] = Pid::INIT;
        processes.insert(0, named("sh", &[50, 9]));
        let container = snapshot(vec![namespace(HOST, None)], processes);
        assert_eq!(rows(container, HOST), [(5, "nginx".to_owned(), 104), (1, "sh".to_owned(), 50)]);
    }

    #[test]
    fn a_zombie_among_others_and_who_came_from_outside_stay_apart() {
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
    fn who_keeps_or_blocks_or_was_named_stays_apart() {
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

    /// A host with five containers that run a shell each.
    fn containers() -> Snapshot {
        let inodes = [20, 30, 40, 50, 60];
        let mut namespaces = vec![namespace(HOST, None)];
        let mut processes = vec![process(&[1], Some(HOST))];
        for (raw, inode) in (100..).zip(inodes) {
            let mut container = namespace(inode, Some(HOST));
            container.container =
                Some(Container { runtime: "docker".to_owned(), id: inode.to_string(), pod: None });
            namespaces.push(container);
            processes.push(process(&[raw, 1], Some(inode)));
        }
        snapshot(namespaces, processes)
    }

    /// How many namespaces each line below the host is of.
    fn lines(snapshot: Snapshot) -> Vec<usize> {
        let graph = PidGraph::new(snapshot);
        let folding = Folding::new(&graph, true);
        let count = |siblings: &Siblings<'_>| match siblings {
            Siblings::One(_) => 1,
            Siblings::Alike(namespaces) => namespaces.len(),
        };
        folding.children(graph.roots()[0]).iter().map(count).collect()
    }

    #[test]
    fn more_than_three_siblings_of_one_shape_share_a_line() {
        assert_eq!(lines(containers()), [5]);
        let mut three = containers();
        three.namespaces.truncate(4);
        three.processes.truncate(4);
        assert_eq!(lines(three), [1, 1, 1]);
    }

    #[test]
    fn whatever_makes_a_shape_tells_siblings_apart() {
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
        // What is different in each is no part of it.
        let mut snapshot = containers();
        for (index, container) in snapshot.namespaces.iter_mut().skip(1).enumerate() {
            container.owner.as_mut().unwrap().user_namespace = 100 + index as u64;
        }
        assert_eq!(lines(snapshot), [5]);
    }

    #[test]
    fn one_with_a_zombie_is_never_folded_away() {
        let mut snapshot = containers();
        for (raw, inode) in (500..).zip([20, 30, 40, 50, 60]) {
            let mut zombie = process(&[raw, 2], Some(inode));
            zombie.state = 'Z';
            snapshot.processes.push(zombie);
        }
        assert_eq!(lines(snapshot), [1; 5]);
    }
}
