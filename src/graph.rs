//! The hierarchy as a graph, and nothing that is asked of it: the only room
//! that names petgraph, whose indices do not leave it.
//!
//! Namespaces and processes are nodes. An edge leads from a namespace to each
//! namespace that was made in it and to each of its members, and from a process
//! to each of its child processes. Whatever leaves this room is sorted, as
//! petgraph gives neighbours newest first, and is of the model's types.

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::model::{Namespace, NamespaceId, Pid, Process, ProcessDetails, Snapshot};

/// What a node stands for, by its index in a list of the snapshot.
#[derive(Clone, Copy, Debug)]
enum Node {
    Namespace(usize),
    Process(usize),
}

/// A snapshot with its relations.
#[derive(Debug)]
pub struct PidGraph {
    snapshot: Snapshot,
    /// The namespaces' nodes come first, then the processes', both in the
    /// order of the snapshot. What an edge means follows from the nodes that
    /// it joins, so it carries nothing.
    graph: DiGraph<Node, ()>,
}

impl PidGraph {
    /// Relates everything in a snapshot: all nodes first, then all edges, so
    /// that the order of the scan does not matter.
    #[must_use]
    pub fn new(mut snapshot: Snapshot) -> Self {
        snapshot.namespaces.sort_unstable_by_key(|namespace| namespace.id);
        snapshot.processes.sort_unstable_by_key(|process| process.pid);
        let (namespaces, processes) = (snapshot.namespaces.len(), snapshot.processes.len());
        let mut graph = DiGraph::with_capacity(namespaces + processes, namespaces + 2 * processes);
        for index in 0..namespaces {
            graph.add_node(Node::Namespace(index));
        }
        for index in 0..processes {
            graph.add_node(Node::Process(index));
        }
        let mut this = Self { snapshot, graph };
        for index in 0..namespaces {
            let parent = this.snapshot.namespaces[index].parent;
            if let Some(parent) = parent.and_then(|id| this.namespace_node(id)) {
                this.graph.add_edge(parent, NodeIndex::new(index), ());
            }
        }
        // Siblings often come one after the other.
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

    /// The snapshot that the graph was made of, its lists sorted by ID. It also
    /// says when, where and how it was taken.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The snapshot that the graph was made of, its lists sorted by ID.
    #[must_use]
    pub fn into_snapshot(self) -> Snapshot {
        self.snapshot
    }

    /// Adds what was read of a process later, where nothing of the kind is there.
    pub fn add_details(&mut self, pid: Pid, later: ProcessDetails) {
        let Some(Node::Process(index)) = self.process_node(pid).map(|node| self.graph[node]) else {
            return;
        };
        let details = self.snapshot.processes[index].details.get_or_insert_default();
        details.args = details.args.take().or(later.args);
        details.namespaces = details.namespaces.take().or(later.namespaces);
        details.cgroup = details.cgroup.take().or(later.cgroup);
    }

    /// Every process, by PID.
    #[must_use]
    pub fn processes(&self) -> &[Process] {
        &self.snapshot.processes
    }

    /// The process with that PID in the /proc that was read.
    #[must_use]
    pub fn process(&self, pid: Pid) -> Option<&Process> {
        self.process_node(pid).and_then(|node| self.as_process(node))
    }

    /// The namespace with that ID.
    #[must_use]
    pub fn namespace(&self, id: NamespaceId) -> Option<&Namespace> {
        self.namespace_node(id).and_then(|node| self.as_namespace(node))
    }

    /// The topmost visible namespaces.
    #[must_use]
    pub fn roots(&self) -> Vec<&Namespace> {
        self.tops().filter(|top| !top.parent_unknown).collect()
    }

    /// The namespaces that have a parent which could not be found out.
    #[must_use]
    pub fn detached(&self) -> Vec<&Namespace> {
        self.tops().filter(|top| top.parent_unknown).collect()
    }

    fn tops(&self) -> impl Iterator<Item = &Namespace> {
        self.snapshot.namespaces.iter().filter(|namespace| self.parent(namespace).is_none())
    }

    /// How many namespaces are above this one, as far as the topmost visible
    /// one; `None` where the way there could not be found out.
    #[must_use]
    pub fn level(&self, namespace: &Namespace) -> Option<usize> {
        let (mut top, mut level) = (namespace, 0);
        while let Some(parent) = self.parent(top) {
            (top, level) = (parent, level + 1);
        }
        (!top.parent_unknown).then_some(level)
    }

    /// The namespace that this one was made in; `None` for a root, and where it
    /// could not be found out.
    #[must_use]
    pub fn parent(&self, namespace: &Namespace) -> Option<&Namespace> {
        let node = self.namespace_node(namespace.id)?;
        let mut above = self.graph.neighbors_directed(node, Direction::Incoming);
        above.find_map(|node| self.as_namespace(node))
    }

    /// The namespaces made in this one, by ID.
    #[must_use]
    pub fn children(&self, namespace: &Namespace) -> Vec<&Namespace> {
        let mut children = self.below(namespace, |node| self.as_namespace(node));
        children.sort_unstable_by_key(|child| child.id);
        children
    }

    /// The processes in this namespace itself, by PID.
    #[must_use]
    pub fn members(&self, namespace: &Namespace) -> Vec<&Process> {
        let mut members = self.below(namespace, |node| self.as_process(node));
        members.sort_unstable_by_key(|member| member.pid);
        members
    }

    /// The child processes of this one, by PID.
    #[must_use]
    pub fn child_processes(&self, process: &Process) -> Vec<&Process> {
        let Some(node) = self.process_node(process.pid) else { return Vec::new() };
        let below = self.graph.neighbors_directed(node, Direction::Outgoing);
        let mut children: Vec<_> = below.filter_map(|node| self.as_process(node)).collect();
        children.sort_unstable_by_key(|child| child.pid);
        children
    }

    /// The processes whose namespace is ambiguous, by PID.
    pub fn unplaced(&self) -> impl Iterator<Item = &Process> {
        self.snapshot.processes.iter().filter(|process| process.namespace.is_none())
    }

    /// Every namespace with how many are above it: a parent before its children,
    /// siblings by ID, and roots before those whose parent is unknown.
    #[must_use]
    pub fn tree(&self) -> Vec<(&Namespace, usize)> {
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
    fn the_order_of_the_scan_does_not_matter() {
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
    fn a_namespace_whose_parent_is_out_of_sight_is_a_root_of_its_own() {
        let graph = PidGraph::new(snapshot(
            vec![namespace(10, None), namespace(20, None), namespace(30, Some(99))],
            vec![process(&[5, 1], None)],
        ));
        assert_eq!(ids(&graph.roots()), ["pid:[10]", "pid:[20]", "pid:[30]"]);
        assert_eq!(graph.unplaced().count(), 1);
    }
}
