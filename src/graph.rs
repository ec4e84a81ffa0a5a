//! Represents the namespace hierarchy as a graph, and hides petgraph from other modules.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::model::{
    Container, Limit, LiveFacts, Namespace, NamespaceId, Pid, Process, ProcessDetails, Sharing,
    Snapshot,
};

/// A node of the graph, as an index into the snapshot's namespaces or processes.
#[derive(Clone, Copy, Debug)]
enum Node {
    Namespace(usize),
    Process(usize),
}

/// A snapshot, with a graph of the relations between its namespaces and processes.
#[derive(Debug)]
pub struct PidGraph {
    snapshot: Snapshot,
    /// Edges lead from namespaces to child namespaces and members, and from processes to children.
    graph: DiGraph<Node, ()>,
    /// Maps PIDs to processes that a filter removed, but that the output can still name. For
    /// example, such a process can be the tracer of a remaining process.
    left_out: BTreeMap<Pid, Process>,
    /// Maps each init to the processes that the kernel kills with it, except reported leftovers.
    /// Advice about killing an init lists the processes in its entry.
    killed_with_inits: BTreeMap<Pid, Vec<Process>>,
    /// The processes that may be older than the earlier snapshot of a comparison.
    older: BTreeSet<Pid>,
    /// Facts about the live host, which are empty for a saved document.
    live: LiveFacts,
    /// Non-PID namespaces, such as net and mnt, that inits share with the host or with each other.
    sharing: Sharing,
}

impl PidGraph {
    /// Builds the graph of a snapshot, and sorts the lists of the snapshot.
    #[must_use]
    pub fn new(mut snapshot: Snapshot) -> Self {
        snapshot.namespaces.sort_unstable_by_key(|namespace| namespace.id);
        snapshot.processes.sort_unstable_by_key(|process| process.pid);
        if let Some(limits) = &mut snapshot.limits {
            limits.sort_by(|a, b| (a.kind, &a.scope, a.max).cmp(&(b.kind, &b.scope, b.max)));
        }
        let (namespaces, processes) = (snapshot.namespaces.len(), snapshot.processes.len());
        let mut graph = DiGraph::with_capacity(namespaces + processes, namespaces + 2 * processes);
        for index in 0..namespaces {
            // Add nodes in snapshot order, namespaces first, because lookups rely on this order.
            graph.add_node(Node::Namespace(index));
        }
        for index in 0..processes {
            graph.add_node(Node::Process(index));
        }
        let mut this = Self {
            sharing: Sharing::new(&snapshot),
            snapshot,
            graph,
            left_out: BTreeMap::new(),
            older: BTreeSet::new(),
            killed_with_inits: BTreeMap::new(),
            live: LiveFacts::default(),
        };
        for index in 0..namespaces {
            let parent = this.snapshot.namespaces[index].parent;
            if let Some(parent) = parent.and_then(|id| this.namespace_node(id)) {
                this.graph.add_edge(parent, NodeIndex::new(index), ());
            }
        }
        // Cache the last namespace and parent, because successive processes often have the same
        // ones.
        let (mut namespace, mut parent) = ((None, None), (None, None));
        for index in 0..processes {
            let Process { namespace: id, ppid, .. } = this.snapshot.processes[index];
            if namespace.0 != id {
                namespace = (id, id.and_then(|id| this.namespace_node(id)));
            }
            if parent.0 != ppid {
                parent = (ppid, ppid.and_then(|pid| this.process_node(pid)));
            }
            let node = NodeIndex::new(namespaces + index);
            for from in [namespace.1, parent.1].into_iter().flatten() {
                this.graph.add_edge(from, node, ());
            }
        }
        this
    }

    /// Returns the snapshot, with namespaces and processes sorted by ID.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns the snapshot, with namespaces and processes sorted by ID.
    #[must_use]
    pub fn into_snapshot(self) -> Snapshot {
        self.snapshot
    }

    /// Adds details from a later reading, without replacing known details.
    pub fn add_details(&mut self, pid: Pid, later: ProcessDetails) {
        let Some(Node::Process(index)) = self.process_node(pid).map(|node| self.graph[node]) else {
            return;
        };
        let details = self.snapshot.processes[index].details.get_or_insert_default();
        details.args = details.args.take().or(later.args);
        details.namespaces = details.namespaces.take().or(later.namespaces);
        details.cgroup = details.cgroup.take().or(later.cgroup);
        details.tracer = details.tracer.or(later.tracer);
    }

    /// Returns all processes, sorted by PID.
    #[must_use]
    pub fn processes(&self) -> &[Process] {
        &self.snapshot.processes
    }

    /// Finds a process by the PID that the scanned procfs shows.
    #[must_use]
    pub fn process(&self, pid: Pid) -> Option<&Process> {
        self.process_node(pid).and_then(|node| self.as_process(node))
    }

    /// Returns the limit at this index in the snapshot's list of limits.
    #[must_use]
    pub fn limit(&self, index: usize) -> Option<&Limit> {
        self.snapshot.limits.as_ref()?.get(index)
    }

    /// Adds processes that a filter removed, but that the output can still name, such as the tracer
    /// of a remaining process.
    pub fn add_left_out(&mut self, processes: impl IntoIterator<Item = Process>) {
        self.left_out.extend(processes.into_iter().map(|process| (process.pid, process)));
    }

    /// Sets the map from each init to the processes that the kernel kills with it, except reported
    /// leftovers. Advice about killing an init lists the processes in its entry.
    pub fn set_killed_with_inits(&mut self, processes: BTreeMap<Pid, Vec<Process>>) {
        self.killed_with_inits = processes;
    }

    /// Returns the processes that the kernel kills with this init, except reported leftovers.
    /// Advice about killing the init lists the returned processes.
    #[must_use]
    pub fn killed_with(&self, init: Pid) -> &[Process] {
        self.killed_with_inits.get(&init).map_or(&[], Vec::as_slice)
    }

    /// Sets the processes that may be older than the earlier snapshot of a comparison. If such a
    /// process keeps a zombie or a namespace, the advice is a warning and not a command.
    pub fn set_older(&mut self, pids: BTreeSet<Pid>) {
        self.older = pids;
    }

    /// Returns `true` if the process may be older than the earlier snapshot of a comparison.
    #[must_use]
    pub fn is_older(&self, pid: Pid) -> bool {
        self.older.contains(&pid)
    }

    /// Returns the non-PID namespaces, such as net and mnt, that inits share with the host or with
    /// each other.
    #[must_use]
    pub fn sharing(&self) -> &Sharing {
        &self.sharing
    }

    /// Replaces the result of [`sharing`](Self::sharing) with that of the unfiltered graph.
    pub fn set_sharing(&mut self, sharing: Sharing) {
        // Use the result from before the filter, because the filter may have removed processes that
        // share namespaces.
        self.sharing = sharing;
    }

    /// Sets the facts about the live host, for the advice in reports.
    pub fn set_live(&mut self, live: LiveFacts) {
        self.live = live;
    }

    /// Returns the facts about the live host, which are empty for a saved document.
    #[must_use]
    pub fn live(&self) -> &LiveFacts {
        &self.live
    }

    /// Finds a process by its PID, even a tracer or ancestor that a filter removed.
    #[must_use]
    pub fn known_process(&self, pid: Pid) -> Option<&Process> {
        self.process(pid).or_else(|| self.left_out.get(&pid))
    }

    /// Finds a namespace by its ID.
    #[must_use]
    pub fn namespace(&self, id: NamespaceId) -> Option<&Namespace> {
        self.namespace_node(id).and_then(|node| self.as_namespace(node))
    }

    /// Returns the root namespaces, which have no visible parent.
    #[must_use]
    pub fn roots(&self) -> Vec<&Namespace> {
        self.tops().filter(|top| !top.parent_unknown).collect()
    }

    /// Returns the namespaces whose parent is unknown.
    #[must_use]
    pub fn detached(&self) -> Vec<&Namespace> {
        self.tops().filter(|top| top.parent_unknown).collect()
    }

    fn tops(&self) -> impl Iterator<Item = &Namespace> {
        self.snapshot.namespaces.iter().filter(|namespace| self.parent(namespace).is_none())
    }

    /// Returns the number of ancestors, or `None` if some ancestors are unknown.
    #[must_use]
    pub fn level(&self, namespace: &Namespace) -> Option<usize> {
        let (mut top, mut level) = (namespace, 0);
        while let Some(parent) = self.parent(top) {
            (top, level) = (parent, level + 1);
        }
        (!top.parent_unknown).then_some(level)
    }

    /// Returns the parent namespace, or `None` for a root or an unknown parent.
    #[must_use]
    pub fn parent(&self, namespace: &Namespace) -> Option<&Namespace> {
        let node = self.namespace_node(namespace.id)?;
        let mut above = self.graph.neighbors_directed(node, Direction::Incoming);
        above.find_map(|node| self.as_namespace(node))
    }

    /// Returns the child namespaces of a namespace, sorted by ID.
    #[must_use]
    pub fn children(&self, namespace: &Namespace) -> Vec<&Namespace> {
        let mut children = self.below(namespace, |node| self.as_namespace(node));
        // petgraph returns neighbours in reverse order of insertion.
        children.sort_unstable_by_key(|child| child.id);
        children
    }

    /// Returns the members of a namespace, sorted by PID.
    #[must_use]
    pub fn members(&self, namespace: &Namespace) -> Vec<&Process> {
        let mut members = self.below(namespace, |node| self.as_process(node));
        members.sort_unstable_by_key(|member| member.pid);
        members
    }

    /// Returns the child processes of a process, sorted by PID.
    #[must_use]
    pub fn child_processes(&self, process: &Process) -> Vec<&Process> {
        let Some(node) = self.process_node(process.pid) else { return Vec::new() };
        let below = self.graph.neighbors_directed(node, Direction::Outgoing);
        let mut children: Vec<_> = below.filter_map(|node| self.as_process(node)).collect();
        children.sort_unstable_by_key(|child| child.pid);
        children
    }

    /// Returns the container of a process or, if unknown, of the process's namespace.
    #[must_use]
    pub fn container_of<'a>(&'a self, process: &'a Process) -> Option<&'a Container> {
        let of_namespace = || self.namespace(process.namespace?)?.container.as_ref();
        process.other_container().or_else(of_namespace).filter(|it| !it.is_unit())
    }

    /// Returns these processes and all their descendants.
    pub fn with_descendants(&self, pids: impl IntoIterator<Item = Pid>) -> HashSet<Pid> {
        // Visit each process only once, because a saved document can contain parent cycles.
        let mut found = HashSet::new();
        let mut todo: Vec<Pid> = pids.into_iter().collect();
        while let Some(pid) = todo.pop() {
            if found.insert(pid) {
                let children =
                    self.process(pid).into_iter().flat_map(|it| self.child_processes(it));
                todo.extend(children.map(|it| it.pid));
            }
        }
        found
    }

    /// Iterates over the processes whose namespace is unknown, sorted by PID.
    pub fn unplaced(&self) -> impl Iterator<Item = &Process> {
        self.snapshot.processes.iter().filter(|process| process.namespace.is_none())
    }

    /// Returns all namespaces in tree order, each with its number of known ancestors.
    #[must_use]
    pub fn tree(&self) -> Vec<(&Namespace, usize)> {
        // Namespaces with an unknown parent come last.
        let tops = [self.roots(), self.detached()].concat();
        let mut todo: Vec<_> = tops.into_iter().rev().map(|top| (top, 0)).collect();
        let mut tree = Vec::with_capacity(self.snapshot.namespaces.len());
        while let Some((namespace, level)) = todo.pop() {
            tree.push((namespace, level));
            let children = self.children(namespace);
            todo.extend(children.into_iter().rev().map(|child| (child, level + 1)));
        }
        tree
    }

    fn below<'a, T>(
        &'a self,
        namespace: &Namespace,
        pick: impl Fn(NodeIndex) -> Option<&'a T>,
    ) -> Vec<&'a T> {
        let Some(node) = self.namespace_node(namespace.id) else { return Vec::new() };
        self.graph.neighbors_directed(node, Direction::Outgoing).filter_map(pick).collect()
    }

    fn namespace_node(&self, id: NamespaceId) -> Option<NodeIndex> {
        let namespaces = &self.snapshot.namespaces;
        namespaces.binary_search_by_key(&id, |namespace| namespace.id).ok().map(NodeIndex::new)
    }

    fn process_node(&self, pid: Pid) -> Option<NodeIndex> {
        let index =
            self.snapshot.processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        Some(NodeIndex::new(self.snapshot.namespaces.len() + index))
    }

    fn as_namespace(&self, node: NodeIndex) -> Option<&Namespace> {
        match self.graph.node_weight(node)? {
            Node::Namespace(index) => self.snapshot.namespaces.get(*index),
            Node::Process(_) => None,
        }
    }

    fn as_process(&self, node: NodeIndex) -> Option<&Process> {
        match self.graph.node_weight(node)? {
            Node::Process(index) => self.snapshot.processes.get(*index),
            Node::Namespace(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{namespace, process, snapshot};

    fn ids(namespaces: &[&Namespace]) -> Vec<String> {
        namespaces.iter().map(|namespace| namespace.id.to_string()).collect()
    }

    #[test]
    fn input_may_be_in_any_order() {
        let mut shuffled = snapshot(
            vec![
                namespace(30, Some(10)),
                namespace(10, None),
                namespace(20, Some(10)),
                namespace(40, Some(20)),
            ],
            vec![process(&[9, 2], Some(20)), process(&[1], Some(10)), process(&[8, 1], Some(20))],
        );
        shuffled.processes[0].ppid = Pid::new(8);
        let graph = PidGraph::new(shuffled);
        assert_eq!(ids(&graph.roots()), ["pid:[10]"]);
        let tree: Vec<_> =
            graph.tree().iter().map(|(it, level)| (it.id.inode().unwrap(), *level)).collect();
        assert_eq!(tree, [(10, 0), (20, 1), (40, 2), (30, 1)]);
        let inner = graph.namespace(NamespaceId::Inode(20)).unwrap();
        let pids: Vec<_> = graph.members(inner).iter().map(|it| it.pid.as_u32()).collect();
        assert_eq!(pids, [8, 9]);
        assert_eq!(graph.parent(inner).unwrap().id, NamespaceId::Inode(10));
        let init = graph.process(Pid::new(8).unwrap()).unwrap();
        let below: Vec<_> = graph.child_processes(init).iter().map(|it| it.pid.as_u32()).collect();
        assert_eq!(below, [9]);
    }

    #[test]
    fn a_namespace_whose_parent_is_not_in_the_snapshot_is_a_root() {
        let graph = PidGraph::new(snapshot(
            vec![namespace(10, None), namespace(20, None), namespace(30, Some(99))],
            vec![process(&[5, 1], None)],
        ));
        assert_eq!(ids(&graph.roots()), ["pid:[10]", "pid:[20]", "pid:[30]"]);
        assert_eq!(graph.unplaced().count(), 1);
    }
}
