//! Merges the two snapshots of a comparison into one tree that contains only the changed branches.

use std::collections::{HashMap, HashSet};

use crate::graph::PidGraph;
use crate::model::{Namespace, NamespaceId};
use crate::query::{Diff, Happened, NamespaceChange, ProcessChange};
use crate::wording::change::{is_more_than_members, namespace_change, process_change};
use crate::wording::line::Line;
use crate::wording::phrase::{Symbols, unplaced};
use crate::wording::report::{ReportRow, fold};

/// A namespace in the merged tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OverlayNode {
    /// ID in the second snapshot.
    After(NamespaceId),
    /// ID in the first snapshot, if the second does not contain the namespace.
    Before(NamespaceId),
}

/// The two snapshots of a comparison, merged into one tree of namespaces.
pub struct Overlay<'a> {
    pub diff: &'a Diff,
    changes: HashMap<OverlayNode, &'a NamespaceChange>,
    /// The changed processes in each namespace (`None` if the namespace is unknown).
    rows: HashMap<Option<OverlayNode>, Vec<ReportRow<'a>>>,
    /// The children of each namespace, and the root namespaces (key `None`).
    children: HashMap<Option<OverlayNode>, Vec<OverlayNode>>,
    /// The nodes with a change, and their ancestors.
    shown: HashSet<OverlayNode>,
}

impl<'a> Overlay<'a> {
    pub fn new(diff: &'a Diff, symbols: Symbols, folds: bool) -> Self {
        let mut overlay = Self {
            diff,
            changes: HashMap::new(),
            rows: HashMap::new(),
            children: HashMap::new(),
            shown: HashSet::new(),
        };
        for change in &diff.namespaces {
            let after = change.after.map(OverlayNode::After);
            if let Some(node) = after.or(change.before.map(OverlayNode::Before)) {
                overlay.changes.insert(node, change);
            }
        }
        for change in &diff.processes {
            if let Some(row) = process_change(diff, change, symbols) {
                let node = overlay.node_of(change);
                overlay.rows.entry(node).or_default().push(row);
            }
        }
        if folds {
            for rows in overlay.rows.values_mut() {
                *rows = fold(std::mem::take(rows));
            }
        }
        overlay.connect();
        overlay
    }

    /// Builds the tree, and finds the nodes to show.
    fn connect(&mut self) {
        let diff = self.diff;
        let mut edges = Vec::new();
        for namespace in &diff.after.snapshot().namespaces {
            let parent = diff.after.parent(namespace).map(|parent| OverlayNode::After(parent.id));
            edges.push((parent, OverlayNode::After(namespace.id)));
        }
        for namespace in &diff.before.snapshot().namespaces {
            let node = self.node_before(namespace.id);
            if node == OverlayNode::Before(namespace.id) {
                let parent = diff.before.parent(namespace);
                edges.push((parent.map(|parent| self.node_before(parent.id)), node));
            }
        }
        let mut parents: HashMap<OverlayNode, OverlayNode> = HashMap::new();
        for (parent, node) in edges {
            self.children.entry(parent).or_default().push(node);
            parents.extend(parent.map(|parent| (node, parent)));
        }
        for &node in self.changes.keys().chain(self.rows.keys().flatten()) {
            let mut next = Some(node);
            while let Some(node) = next.filter(|&node| self.shown.insert(node)) {
                next = parents.get(&node).copied();
            }
        }
    }

    /// Returns the node of the namespace that contains a changed process.
    fn node_of(&self, change: &ProcessChange) -> Option<OverlayNode> {
        if let Some(after) = change.after.and_then(|pid| self.diff.after.process(pid)) {
            return after.namespace.map(OverlayNode::After);
        }
        let before = self.diff.before.process(change.before?)?;
        before.namespace.map(|id| self.node_before(id))
    }

    fn node_before(&self, id: NamespaceId) -> OverlayNode {
        self.diff.counterpart(id).map_or(OverlayNode::Before(id), OverlayNode::After)
    }

    /// Returns how a namespace changed, or `None` if only its members changed.
    fn change(&self, node: OverlayNode) -> Option<&'a NamespaceChange> {
        self.changes.get(&node).copied().filter(|change| is_more_than_members(change))
    }

    pub fn happened(&self, node: Option<OverlayNode>) -> Option<Happened> {
        self.change(node?).map(NamespaceChange::happened)
    }

    /// Returns the visible children of a node.
    pub fn children(&self, node: Option<OverlayNode>) -> Vec<OverlayNode> {
        let children = self.children.get(&node).map(Vec::as_slice).unwrap_or_default();
        children.iter().copied().filter(|node| self.shown.contains(node)).collect()
    }

    /// Returns the changed processes in a namespace.
    pub fn rows(&self, node: Option<OverlayNode>) -> &[ReportRow<'a>] {
        self.rows.get(&node).map(Vec::as_slice).unwrap_or_default()
    }

    /// Appends the heading of a namespace, or of the processes whose namespace is unknown.
    pub fn heading(&self, node: Option<OverlayNode>, line: &mut Line) {
        let Some(node) = node else {
            let count = self.rows(None).iter().map(|row| row.processes.len()).sum();
            line.plain("", format_args!("unknown"));
            line.plain("  ", format_args!("{}", unplaced(count)));
            return;
        };
        let (graph, id) = self.find(node);
        match graph.namespace(id) {
            Some(namespace) => {
                namespace_change(self.diff, graph, namespace, self.change(node), line);
            }
            None => line.plain("", format_args!("{id}")),
        }
    }

    /// Returns the namespace of a node.
    pub fn namespace(&self, node: OverlayNode) -> Option<&'a Namespace> {
        let (graph, id) = self.find(node);
        graph.namespace(id)
    }

    /// Returns the graph that contains a node's namespace, and the namespace's ID in that graph.
    fn find(&self, node: OverlayNode) -> (&'a PidGraph, NamespaceId) {
        match node {
            OverlayNode::After(id) => (&self.diff.after, id),
            OverlayNode::Before(id) => (&self.diff.before, id),
        }
    }
}
