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
    Evidence, Holder, Namespace, NamespaceId, NamespaceState, Pid, Process, ProcessDetails,
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
    let own = process.namespace?;
    if process.nspid.len() < 2 || process.nspid.last() == Some(&Pid::INIT) {
        return None;
    }
    let parent = graph.process(process.ppid?)?;
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
    args: Option<&'a [String]>,
}

impl<'a> Kind<'a> {
    fn of(graph: &'a PidGraph, process: &'a Process) -> Self {
        let condition = Condition::of(process);
        let parent = match condition {
            Condition::Zombie => process.ppid.and_then(|parent| graph.process(parent)),
            _ => entered_by(graph, process),
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
        let named = |by: &str| ["pid", "comm"].contains(&by);
        if snapshot.selected.iter().any(|criterion| named(&criterion.by)) {
            this.apart.extend(snapshot.processes.iter().map(|process| process.pid));
        }
        for namespace in &snapshot.namespaces {
            for blocker in &namespace.blocked_by {
                this.apart.insert(blocker.pid);
                this.apart.extend(blocker.reaper);
            }
            if namespace.state != NamespaceState::Live {
                this.apart.extend(keeping(graph, namespace).filter_map(holding));
            }
        }
        this.alike = this.find_alike();
        // Those who hold a live namespace count where it has a line of its own
        // that names them.
        for namespace in &snapshot.namespaces {
            if namespace.state == NamespaceState::Live && !this.alike.contains_key(&namespace.id) {
                this.apart.extend(keeping(graph, namespace).filter_map(holding));
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

    /// The topmost visible namespaces.
    pub fn roots(&self) -> Vec<Siblings<'a>> {
        self.siblings(self.graph.roots())
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
        let kinds = members.iter().map(|member| Kind::of(self.graph, member));
        let kinds: Vec<Kind<'_>> = kinds.collect();
        let shares = |member: &Process| self.folds && !self.apart.contains(&member.pid);
        let mut counts: HashMap<Kind<'_>, usize> = HashMap::new();
        let mut kernel_threads = 0;
        for (member, kind) in members.iter().zip(&kinds).filter(|(member, _)| shares(member)) {
            if is_kernel_thread(member, kind) {
                kernel_threads += 1;
            } else {
                *counts.entry(*kind).or_default() += 1;
            }
        }
        // By how early it comes.
        let mut rows: Vec<(u8, Row<'a>)> = Vec::new();
        let mut places: HashMap<Kind<'_>, usize> = HashMap::new();
        let mut of_kernel = None;
        for (&member, kind) in members.iter().zip(&kinds) {
            let is_init = Some(member.pid) == init;
            let rank = match is_init {
                true => 0,
                false if self.apart.contains(&member.pid) || !kind.is_ordinary() => 1,
                false => 2,
            };
            let place = if !shares(member) {
                None
            } else if is_kernel_thread(member, kind) {
                (kernel_threads > 1).then(|| *of_kernel.get_or_insert(rows.len()))
            } else {
                let many = counts.get(kind).is_some_and(|&count| count > MOST_APART);
                many.then(|| *places.entry(*kind).or_insert(rows.len()))
            };
            let Some(place) = place else {
                rows.push((rank, Row::One(member)));
                continue;
            };
            match rows.get_mut(place) {
                Some((first, Row::Alike(alike))) => {
                    *first = rank.min(*first);
                    alike.push(member);
                    if is_init {
                        // The others move on by one, in order.
                        alike.rotate_right(1);
                    }
                }
                Some((_, Row::KernelThreads(threads))) => threads.push(member),
                _ if is_kernel_thread(member, kind) => {
                    rows.push((2, Row::KernelThreads(vec![member])));
                }
                _ => rows.push((rank, Row::Alike(vec![member]))),
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
        if namespace.state != NamespaceState::Live {
            return None;
        }
        let children = self.graph.children(namespace);
        let children: Option<Vec<usize>> =
            children.iter().map(|child| shapes.get(&child.id).copied()).collect();
        let mut children = children?;
        children.sort_unstable();
        let mut counts: HashMap<Kind<'a>, usize> = HashMap::new();
        let mut kernel_threads = 0;
        for member in self.graph.members(namespace) {
            let kind = Kind::of(self.graph, member);
            if self.apart.contains(&member.pid) || kind.condition == Condition::Zombie {
                return None;
            }
            if is_kernel_thread(member, &kind) {
                kernel_threads += 1;
            } else {
                *counts.entry(kind).or_default() += 1;
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

/// Whether it goes with the threads of the kernel; one that has terminated
/// is worth a line.
fn is_kernel_thread(process: &Process, kind: &Kind<'_>) -> bool {
    process.kernel_thread && kind.condition != Condition::Zombie
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

fn holding(holder: &Holder) -> Option<Pid> {
    match holder {
        Holder::Fd { pid, .. } | Holder::PidForChildren { pid, .. } => Some(*pid),
        Holder::Mount { .. } => None,
    }
}

fn kind_of_holder(holder: &Holder) -> HolderKind<'_> {
    match holder {
        Holder::Fd { comm, .. } => (0, comm.as_deref()),
        Holder::Mount { .. } => (1, None),
        Holder::PidForChildren { comm, .. } => (2, comm.as_deref()),
    }
}
