//! Folds similar members of a namespace, and similar sibling namespaces, into one line.
//!
//! All text and picture formats share this folding, which takes linear time.
//!
//! These processes always have their own line:
//!
//! - processes that the user selected by PID or `--comm`
//! - processes that the output names as holders of a namespace
//! - processes that block the removal of a terminated init (`blocked_by`), and the processes that
//!   must reap them

mod forest;
mod member;
mod relation;

use std::collections::{HashMap, HashSet};

use smol_str::SmolStr;

use crate::graph::PidGraph;
use crate::model::{
    Criterion, Evidence, FilterOption, Holder, Namespace, NamespaceId, NamespaceState, Pid,
    Process, SharedWith,
};
pub use forest::TreeRow;
use forest::{Forest, SubtreeNumbers};
pub use member::{Condition, MOST_APART, MemberRow};
use member::{MemberGroup, MemberKind, ParentCache, Rank, RankedMember};
pub use relation::{Drawn, Kinship, Relation, relation};

/// Sibling namespaces that share a line of text or a box in a picture.
#[derive(Debug, PartialEq, Eq)]
pub enum Siblings<'a> {
    /// One namespace.
    One(&'a Namespace),
    /// Similar live namespaces that share a line, because there are more than [`MOST_APART`].
    Alike(Vec<&'a Namespace>),
}

impl<'a> Siblings<'a> {
    /// Returns the first namespace, which represents the whole group.
    pub fn first(&self) -> Option<&'a Namespace> {
        match self {
            Self::One(namespace) => Some(namespace),
            Self::Alike(namespaces) => namespaces.first().copied(),
        }
    }

    /// Returns the number of namespaces in the group.
    pub fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Alike(namespaces) => namespaces.len(),
        }
    }
}

/// The properties that sibling namespaces must have in common to share a line.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Shape<'a> {
    evidence: Evidence,
    init: Option<&'a str>,
    runtime: Option<&'a str>,
    /// UID and name of the owner, and `true` if the namespace and its parent belong to the same
    /// user namespace.
    owner: Option<(Option<u32>, Option<&'a SmolStr>, bool)>,
    member_count: Option<usize>,
    kernel_threads: usize,
    /// Sets of namespace types that the init shares. `true` means shared with the host, `false`
    /// shared with other inits.
    shared: Vec<(&'a [&'static str], bool)>,
    members: Vec<(MemberKind<'a>, usize)>,
    holders: Vec<HolderKind<'a>>,
    /// For each process tree, the number of its group of similar trees, in ascending order.
    trees: Vec<usize>,
    /// For each child namespace, the number of its shape, in ascending order.
    children: Vec<usize>,
}

/// A number for the kind of holder, and the holder's command name (`None` for a mount).
type HolderKind<'a> = (u8, Option<&'a str>);

/// Decides which processes and namespaces of a graph share a line.
#[derive(Debug)]
pub struct Folding<'a> {
    graph: &'a PidGraph,
    /// `true` if similar processes, and similar sibling namespaces, share a line.
    folds: bool,
    /// `true` if members are shown as process trees.
    nests: bool,
    /// Processes that always have their own row.
    apart: HashSet<Pid>,
    /// Maps each folded namespace to a number that identifies its [`Shape`].
    alike: HashMap<NamespaceId, usize>,
}

impl<'a> Folding<'a> {
    /// Prepares a graph to be shown as lists of members.
    ///
    /// If `folds` is set, similar members are combined into one line, and so are similar sibling
    /// namespaces.
    pub fn new(graph: &'a PidGraph, folds: bool) -> Self {
        Self::build(graph, folds, false)
    }

    /// Prepares a graph to be shown as process trees.
    ///
    /// If `folds` is set, similar trees are combined into one line, and so are similar sibling
    /// namespaces.
    pub fn of_trees(graph: &'a PidGraph, folds: bool) -> Self {
        Self::build(graph, folds, true)
    }

    fn build(graph: &'a PidGraph, folds: bool, nests: bool) -> Self {
        let mut this = Self { graph, folds, nests, apart: HashSet::new(), alike: HashMap::new() };
        if !folds {
            return this;
        }
        let snapshot = graph.snapshot();
        for Criterion { by, values } in &snapshot.selected {
            match by {
                // A tree also contains relatives of the selected processes. These relatives
                // can be folded.
                FilterOption::Pid if nests => {
                    this.apart.extend(values.iter().filter_map(|pid| pid.parse::<Pid>().ok()));
                }
                // The user has selected every remaining process, so do not fold any.
                FilterOption::Pid | FilterOption::Comm => {
                    this.apart.extend(snapshot.processes.iter().map(|process| process.pid));
                }
                _ => {}
            }
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
        // If a live namespace is not folded, its line names its holders, so do not fold these
        // holders either.
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

    /// Returns `true` if similar processes, and similar sibling namespaces, share a line.
    pub fn folds(&self) -> bool {
        self.folds
    }

    /// Returns the root namespaces, followed by the namespaces with an unknown parent.
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

    /// Returns the rows of a namespace, with the init and unusual members first.
    pub fn members(&self, namespace: &Namespace) -> Vec<MemberRow<'a>> {
        self.rows(&self.graph.members(namespace), namespace.init)
    }

    /// Returns the processes whose namespace is unknown.
    pub fn unplaced(&self) -> Vec<MemberRow<'a>> {
        self.rows(&self.graph.unplaced().collect::<Vec<_>>(), None)
    }

    fn rows(&self, members: &[&'a Process], init: Option<Pid>) -> Vec<MemberRow<'a>> {
        let mut parents = ParentCache::new(self.graph);
        let member = |&process: &&'a Process| {
            let kind = MemberKind::new(&mut parents, process, Drawn::Listed);
            let group = self.may_fold(process).then(|| MemberGroup::new(process, kind));
            RankedMember {
                process,
                rank: self.rank(process, &kind, init),
                group,
                of_kernel_threads: group == Some(MemberGroup::KernelThreads),
            }
        };
        member::rows(&members.iter().map(member).collect::<Vec<_>>())
    }

    /// Returns the members of a namespace, as trees or as a list.
    pub fn tree_rows(&self, namespace: &Namespace) -> Vec<TreeRow<'a>> {
        self.nested(self.graph.members(namespace), namespace.init)
    }

    /// Returns the processes whose namespace is unknown, as trees or as a list.
    pub fn unplaced_tree_rows(&self) -> Vec<TreeRow<'a>> {
        self.nested(self.graph.unplaced().collect(), None)
    }

    fn nested(&self, members: Vec<&'a Process>, init: Option<Pid>) -> Vec<TreeRow<'a>> {
        if !self.nests {
            return TreeRow::list(self.rows(&members, init));
        }
        let forest = Forest::new(self.graph, members);
        let mut numbers = SubtreeNumbers::default();
        let subtrees = forest.subtrees(&mut numbers, |process| self.may_fold(process), |kind| kind);
        forest.rows(&subtrees, |process, kind| self.rank(process, kind, init))
    }

    fn may_fold(&self, process: &Process) -> bool {
        self.folds && !self.apart.contains(&process.pid)
    }

    fn rank(&self, process: &Process, kind: &MemberKind<'_>, init: Option<Pid>) -> Rank {
        Rank::new(kind, Some(process.pid) == init, self.apart.contains(&process.pid))
    }

    /// Finds groups of similar siblings that are large enough to share a line.
    ///
    /// Maps each namespace in these groups to a number that identifies its [`Shape`].
    fn find_alike(&self) -> HashMap<NamespaceId, usize> {
        let tree = self.graph.tree();
        let mut numbers: HashMap<Shape<'a>, usize> = HashMap::new();
        let mut subtrees = SubtreeNumbers::default();
        let mut shapes: HashMap<NamespaceId, usize> = HashMap::with_capacity(tree.len());
        let parent = |namespace: &Namespace| self.graph.parent(namespace).map(|parent| parent.id);
        let mut siblings: HashMap<(Option<NamespaceId>, usize), usize> = HashMap::new();
        // Visit children first, because the shape of a parent contains theirs.
        for (namespace, _) in tree.iter().rev() {
            let Some(shape) = self.shape(namespace, &shapes, &mut subtrees) else { continue };
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
        subtrees: &mut SubtreeNumbers<'a>,
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
        let all = self.graph.members(namespace);
        for &member in &all {
            let kind = MemberKind::new(&mut parents, member, Drawn::Listed).of_any_container();
            if self.apart.contains(&member.pid) || kind.is_zombie() {
                return None;
            }
            match MemberGroup::new(member, kind) {
                MemberGroup::KernelThreads => kernel_threads += 1,
                MemberGroup::Kind(kind) => *counts.entry(kind).or_default() += 1,
            }
        }
        let mut members: Vec<_> = counts.into_iter().collect();
        members.sort_unstable();
        let trees = if self.nests { self.trees(all, subtrees)? } else { Vec::new() };
        let shared = self.graph.sharing().of(namespace.id).iter();
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
            shared: shared.map(|it| (&*it.types, it.with == SharedWith::Host)).collect(),
            members,
            holders,
            trees,
            children,
        })
    }

    /// Groups `members` into process trees, and returns one number per tree, in ascending order.
    /// Similar trees have the same number.
    ///
    /// Returns `None` if one of the `members` must not be folded.
    fn trees(
        &self,
        members: Vec<&'a Process>,
        subtrees: &mut SubtreeNumbers<'a>,
    ) -> Option<Vec<usize>> {
        let forest = Forest::new(self.graph, members);
        let may_fold = |process: &Process| self.may_fold(process);
        let numbered = forest.subtrees(subtrees, may_fold, MemberKind::of_any_container);
        let mut trees = forest.tops(&numbered)?;
        trees.sort_unstable();
        Some(trees)
    }
}

/// Returns the holders to show for a namespace. If the namespace is not live, returns all holders.
/// If it is live and is the one that the procfs shows, returns no holders. Otherwise, returns all
/// holders except the processes that keep the namespace alive only through `pid_for_children`.
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

    /// Returns a snapshot of a host with five containers of one process each.
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
        // Containers fold even if each has its own user namespace.
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
