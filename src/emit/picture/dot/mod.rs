//! Draws the PID namespace hierarchy for Graphviz, with one box per namespace and edges from the
//! parents.
//!
//! This project has its own DOT writer, because DOT libraries do not escape HTML-like labels.
//!
//! If a namespace has many children, or is deep in the hierarchy, its children are drawn on a
//! shelf. A shelf is one node that arranges the boxes of several namespaces in columns. Without
//! shelves, Graphviz would draw many siblings as one long column.

mod escape;
mod table;
mod title;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::{self, Write};

use crate::graph::PidGraph;
use crate::model::{Evidence, Namespace, NamespaceId, NamespaceState, Pid};
use crate::query::fold::{Folding, MemberRow, Siblings};
use crate::wording::holder::KeptBy;
use crate::wording::line::{Emphasis, Line};
use crate::wording::namespace::{Describe, OwnerText};
use crate::wording::phrase::{Clipped, Count, Symbols, more_processes, unplaced};

use escape::quoted;
use table::{BoxTable, Boxed, LINES, PART, StateLook, shelf};

/// Siblings share one node if their number, or their depth in the hierarchy, exceeds this limit.
const MOST_SEPARATE: usize = 6;

/// Writes a graph.
pub fn write(graph: &PidGraph, folds: bool, out: &mut dyn Write) -> io::Result<()> {
    let folding = Folding::new(graph, folds);
    let describe = Describe::new(&folding, Symbols::UNICODE);
    let kept = graph.snapshot().namespaces.iter().flat_map(|it| describe.kept_by(it));
    let keepers = kept.filter_map(|holder| holder.pid()).collect();
    let mut picture = Picture {
        folding: &folding,
        describe,
        graph,
        out,
        keepers,
        nodes: HashMap::new(),
        lines: HashMap::new(),
        line: Line::default(),
    };
    picture.draw()
}

struct Picture<'a, 'o> {
    folding: &'o Folding<'a>,
    describe: Describe<'a>,
    graph: &'a PidGraph,
    out: &'o mut dyn Write,
    /// Processes with an edge to the namespace that they keep alive.
    keepers: HashSet<Pid>,
    /// For each drawn namespace, the name of the node that shows it.
    nodes: HashMap<NamespaceId, String>,
    /// For each drawn process in `keepers`, the name of the node that shows it.
    lines: HashMap<Pid, String>,
    line: Line,
}

impl<'a> Picture<'a, '_> {
    fn draw(&mut self) -> io::Result<()> {
        self.out.write_all(
            b"digraph pidns {\n  \
              graph [rankdir=LR, nodesep=0.2, ranksep=0.6, fontname=\"sans-serif\", fontsize=10, labelloc=t, labeljust=l];\n  \
              node [shape=plain, fontname=\"sans-serif\", fontsize=10];\n  \
              edge [color=\"#4a6785\", arrowsize=0.7];\n",
        )?;
        let has_edges = !self.keepers.is_empty();
        title::write(self.graph.snapshot(), &self.describe, has_edges, self.out)?;
        self.siblings(&self.folding.tops(), None, 0, false)?;
        self.unplaced()?;
        self.holders()?;
        self.out.write_all(b"}\n")
    }

    /// Draws the namespaces below `parent`, or the top level if `parent` is `None`.
    fn siblings(
        &mut self,
        siblings: &[Siblings<'a>],
        parent: Option<NamespaceId>,
        level: usize,
        in_each: bool,
    ) -> io::Result<()> {
        let is_leaf = |it: &Siblings<'a>| {
            it.first().is_none_or(|namespace| self.graph.children(namespace).is_empty())
        };
        let (leaves, trees): (Vec<_>, Vec<_>) = siblings.iter().partition(|it| is_leaf(it));
        let mut on_shelf: Vec<&Siblings<'a>> = Vec::new();
        let mut separate_nodes: Vec<&Siblings<'a>> = Vec::new();
        // Decide whether to draw the siblings on a shelf (one node with the boxes of several
        // namespaces) or as separate nodes. Decide this once for the siblings without children, and
        // once for the siblings with children.
        for kind in [leaves, trees] {
            let many = kind.len() > MOST_SEPARATE || level > MOST_SEPARATE;
            let (held, free): (Vec<_>, Vec<_>) = kind.into_iter().partition(|it| self.is_held(it));
            // An edge leads from a process to each namespace that it keeps alive. If the namespace
            // were drawn on a shelf (a node that contains several siblings), the edge would cross
            // other boxes. So if processes keep only a few of the siblings alive, draw those few as
            // separate nodes.
            let few_held = held.len() <= MOST_SEPARATE && level <= MOST_SEPARATE;
            if many { &mut on_shelf } else { &mut separate_nodes }.extend(free);
            if many && !few_held { &mut on_shelf } else { &mut separate_nodes }.extend(held);
        }
        // Sort siblings by ID, as in the text tree.
        let place = |it: &Siblings<'a>| it.first().map(|namespace| namespace.id);
        on_shelf.sort_by_key(|it| place(it));
        separate_nodes.sort_by_key(|it| place(it));
        if !on_shelf.is_empty() {
            self.shelf(&on_shelf, parent, in_each)?;
        }
        for it in separate_nodes {
            let Some(namespace) = it.first() else { continue };
            let node = namespace.id.to_string();
            let boxed = self.boxed(it, false, &node, in_each)?;
            let class = class(namespace);
            write!(
                self.out,
                "  \"{node}\" [id=\"{node}\", class=\"{class}\", target=\"{class}\", tooltip=\"{}\", label=<",
                quoted(&self.tooltip(it))
            )?;
            self.out.write_all(&boxed.html)?;
            self.out.write_all(b">];\n")?;
            if let Some(parent) = parent {
                self.edge(parent, &node, &format!("{}:w", port(namespace.id)), namespace)?;
            }
            let below = self.folding.children(namespace);
            let in_each = in_each || matches!(it, Siblings::Alike(_));
            self.siblings(&below, Some(namespace.id), level + 1, in_each)?;
        }
        Ok(())
    }

    /// Returns `true` if a process keeps the namespace alive.
    fn is_held(&self, siblings: &Siblings<'a>) -> bool {
        let Siblings::One(namespace) = siblings else { return false };
        self.describe.kept_by(namespace).iter().any(|holder| holder.pid().is_some())
    }

    fn edge(
        &mut self,
        parent: NamespaceId,
        node: &str,
        headport: &str,
        child: &Namespace,
    ) -> io::Result<()> {
        let style = match child.evidence {
            Evidence::Kernel => "",
            Evidence::Inferred => ", style=dashed",
        };
        let tailport = port(parent);
        writeln!(
            self.out,
            "  \"{parent}\" -> \"{node}\" [tailport=\"{tailport}:e\", headport=\"{headport}\"{style}];"
        )
    }

    /// Draws one node with many boxes (a shelf) for siblings, and an edge from their parent.
    fn shelf(
        &mut self,
        siblings: &[&Siblings<'a>],
        parent: Option<NamespaceId>,
        in_each: bool,
    ) -> io::Result<()> {
        let node = match parent {
            Some(parent) => format!("in {parent}"),
            None => "roots".to_owned(),
        };
        let boxes: io::Result<Vec<Boxed>> =
            siblings.iter().map(|it| self.boxed(it, true, &node, in_each)).collect();
        let Boxed { html, .. } = shelf(boxes?);
        write!(self.out, "  \"{node}\" [class=\"shelf\", label=<")?;
        self.out.write_all(&html)?;
        self.out.write_all(b">];\n")?;
        let first = siblings.first().and_then(|it| it.first());
        let (Some(parent), Some(first)) = (parent, first) else { return Ok(()) };
        // The edge to a node with a single box ends at the heading of the box.
        let headport = match siblings {
            [_] => format!("{}:w", port(first.id)),
            _ => "w".to_owned(),
        };
        self.edge(parent, &node, &headport, first)
    }

    /// Creates the box for a namespace, or for several namespaces that are folded.
    fn boxed(
        &mut self,
        siblings: &Siblings<'a>,
        on_shelf: bool,
        node: &str,
        in_each: bool,
    ) -> io::Result<Boxed> {
        let Some(namespace) = siblings.first() else {
            return Ok(Boxed { html: Vec::new(), width: 0.0, height: 0.0 });
        };
        let of_each = in_each || matches!(siblings, Siblings::Alike(_));
        let look = StateLook::new(namespace.state);
        let mut table = BoxTable::new(look, namespace.evidence);
        self.nodes.insert(namespace.id, node.to_owned());
        if on_shelf {
            // Set the attributes on this box's table and not on the node, because the node has
            // several boxes.
            table.attribute("id", &namespace.id.text())?;
            table.attribute("tooltip", &self.tooltip(siblings))?;
            // Style sheets select boxes by `target`, because a table cannot have a class.
            table.attribute("target", &class(namespace))?;
        }
        table.start(&port(namespace.id))?;
        self.line.clear();
        self.describe.heading(siblings, in_each, &mut self.line);
        table.heading(&self.line)?;
        if !of_each {
            let holders = self.describe.kept_by(namespace);
            let shown = if holders.len() > LINES { LINES - 1 } else { LINES };
            for holder in holders.iter().take(shown) {
                self.line.clear();
                holder.describe("", &mut self.line);
                table.heading(&self.line)?;
            }
            if let Some(more @ 1..) = holders.len().checked_sub(shown) {
                self.line.clear();
                self.line.plain("", format_args!("kept by {} more", Count(more)));
                table.heading(&self.line)?;
            }
        }
        table.end_heading()?;
        self.members(&self.folding.members(namespace), node, of_each, &mut table)?;
        if on_shelf {
            let children = self.folding.children(namespace);
            let boxes: io::Result<Vec<Boxed>> =
                children.iter().map(|it| self.boxed(it, true, node, of_each)).collect();
            let boxes = boxes?;
            if !boxes.is_empty() {
                table.nested(&shelf(boxes))?;
            }
        }
        table.end()
    }

    fn members(
        &mut self,
        rows: &[MemberRow<'a>],
        node: &str,
        of_each: bool,
        table: &mut BoxTable,
    ) -> io::Result<()> {
        let mut left: usize = rows.iter().map(|row| row.processes().len()).sum();
        for row in rows {
            if table.member_lines >= LINES && left > 1 {
                self.line.clear();
                self.line.plain("", format_args!("{}", more_processes(left)));
                table.member(None, &self.line)?;
                break;
            }
            left -= row.processes().len();
            self.line.clear();
            self.describe.row(row, of_each, &mut self.line);
            let keeper = match row {
                MemberRow::One(process) if self.keepers.contains(&process.pid) => Some(process.pid),
                _ => None,
            };
            if let Some(pid) = keeper {
                self.lines.insert(pid, node.to_owned());
            }
            table.member(keeper, &self.line)?;
        }
        table.end_members()
    }

    fn unplaced(&mut self) -> io::Result<()> {
        let rows = self.folding.unplaced();
        let count: usize = rows.iter().map(|row| row.processes().len()).sum();
        if count == 0 {
            return Ok(());
        }
        let mut table = BoxTable::new(StateLook::new(NamespaceState::Unknown), Evidence::Inferred);
        table.start("unknown")?;
        self.line.clear();
        self.line.part("", Emphasis::Name, format_args!("unknown"));
        self.line.plain("  ", format_args!("{}", unplaced(count)));
        table.heading(&self.line)?;
        table.end_heading()?;
        self.members(&rows, "unknown", false, &mut table)?;
        let boxed = table.end()?;
        let mut pids = String::new();
        for process in rows.iter().flat_map(MemberRow::processes) {
            let _ = write!(pids, " {}", process.pid);
        }
        write!(
            self.out,
            "  unknown [id=\"unknown\", class=\"unknown inferred\", tooltip=\"PIDs{pids}\", label=<"
        )?;
        self.out.write_all(&boxed.html)?;
        self.out.write_all(b">];\n")
    }

    /// Draws edges from processes to the namespaces that they keep alive.
    fn holders(&mut self) -> io::Result<()> {
        for namespace in &self.graph.snapshot().namespaces {
            let Some(node) = self.nodes.get(&namespace.id) else { continue };
            let mut drawn = HashSet::new();
            for pid in self.describe.kept_by(namespace).iter().filter_map(KeptBy::pid) {
                // Draw only one edge for a process with several descriptors of the namespace.
                if !drawn.insert(pid) {
                    continue;
                }
                let Some(line) = self.lines.get(&pid) else { continue };
                writeln!(
                    self.out,
                    "  \"{line}\" -> \"{node}\" [tailport=\"p{pid}:e\", headport=\"{}:w\", class=\"keeps\", style=dotted, penwidth=2, color=\"#b3261e\", constraint=false];",
                    port(namespace.id)
                )?;
            }
        }
        Ok(())
    }

    /// Returns a tooltip with the details that are not in the box.
    fn tooltip(&self, siblings: &Siblings<'a>) -> String {
        let namespaces: &[&Namespace] = match siblings {
            Siblings::One(namespace) => &[namespace],
            Siblings::Alike(namespaces) => namespaces,
        };
        let mut text = String::new();
        for (index, namespace) in namespaces.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{}{}", if index == 0 { "" } else { "\n" }, namespace.id);
            if let Some(container) = &namespace.container {
                let container = format!("{container:#}");
                // Clip long names, because Graphviz limits a line of its input to 16 KiB.
                let _ = write!(text, ", {}", Clipped(&container, 4 * PART));
            }
            if let Some(owner) = &namespace.owner {
                let owner = OwnerText { owner, user_namespace: true }.to_string();
                let _ = write!(text, ", {}", Clipped(&owner, PART));
            }
            for (index, member) in self.graph.members(namespace).iter().enumerate() {
                let separator = match index {
                    0 => ", PIDs ",
                    index if index % 20 == 0 => "\n",
                    _ => " ",
                };
                let _ = write!(text, "{separator}{}", member.pid);
            }
        }
        text
    }
}

fn port(namespace: NamespaceId) -> String {
    match namespace {
        NamespaceId::Inode(inode) => format!("n{inode}"),
        NamespaceId::Unread(pid) => format!("u{pid}"),
    }
}

fn class(namespace: &Namespace) -> String {
    let state = StateLook::new(namespace.state).class;
    match namespace.evidence {
        Evidence::Kernel => state.to_owned(),
        Evidence::Inferred => format!("{state} inferred"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Diagnostic, Holder, Snapshot};
    use crate::testing::{farm, namespace, process, snapshot};

    fn dot(snapshot: Snapshot) -> String {
        let mut out = Vec::new();
        write(&PidGraph::new(snapshot), true, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Returns a host with `count` dissimilar child namespaces and one grandchild.
    fn many(count: u64) -> Snapshot {
        let mut namespaces = vec![namespace(10, None), namespace(1000, Some(11))];
        let mut processes = vec![process(&[1], Some(10)), process(&[2000, 2, 1], Some(1000))];
        for (raw, inode) in (100..).zip(11..11 + count) {
            namespaces.push(namespace(inode, Some(10)));
            let mut init = process(&[raw, 1], Some(inode));
            init.comm = format!("job-{raw}").into();
            processes.push(init);
        }
        snapshot(namespaces, processes)
    }

    #[test]
    fn draws_more_than_six_childless_siblings_on_a_shelf() {
        let few = dot(many(7));
        assert!(!few.contains("shelf"), "{few}");
        assert_eq!(few.matches(" -> \"pid").count(), 8);
        let shelf = dot(many(8));
        assert!(shelf.contains("  \"pid:[10]\" -> \"in pid:[10]\" [tailport=\"n10:e\""), "{shelf}");
        // The namespace with a child is a separate node.
        assert!(shelf.contains("  \"pid:[10]\" -> \"pid:[11]\" ["), "{shelf}");
        assert!(shelf.contains("  \"pid:[11]\" -> \"pid:[1000]\" ["), "{shelf}");
        assert_eq!(shelf.matches(" -> ").count(), 3);
        assert!(shelf.contains(" id=\"pid:[12]\" tooltip=\"pid:[12], owner root in user:["));
    }

    #[test]
    fn a_namespace_that_a_process_keeps_alive_is_not_on_a_shelf() {
        let mut snapshot = many(9);
        let held = snapshot.namespaces.iter_mut().find(|it| it.id.inode() == Some(15)).unwrap();
        held.state = NamespaceState::Dead;
        let holder = Holder::Fd { pid: Pid::new(2000).unwrap(), comm: None, fd: 9 };
        held.holders = vec![holder];
        let text = dot(snapshot);
        assert!(text.contains("  \"pid:[10]\" -> \"pid:[15]\" ["), "{text}");
        assert!(text.contains("  \"pid:[1000]\" -> \"pid:[15]\" [tailport=\"p2000:e\""), "{text}");
        assert!(text.contains("  \"in pid:[10]\" [class=\"shelf\""), "{text}");
        assert!(text.contains("<table border=\"1\" color=\"#4a6785\" style=\"solid\" cellborder=\"0\" cellspacing=\"0\" cellpadding=\"3\" id=\"pid:[16]\""));
    }

    #[test]
    fn an_edge_leads_to_the_heading_of_a_single_box() {
        let mut namespaces = vec![namespace(10, None)];
        namespaces.extend((11..30).map(|inode| namespace(inode, Some(inode - 1))));
        let text = dot(snapshot(namespaces, Vec::new()));
        assert!(
            text.contains("-> \"in pid:[16]\" [tailport=\"n16:e\", headport=\"n17:w\"]"),
            "{text}"
        );
    }

    #[test]
    fn an_edge_leads_from_a_holder_to_the_held_namespace() {
        let text = dot(farm());
        assert!(
            text.contains("<tr><td port=\"p4\" align=\"left\" balign=\"left\">4 containerd-shim")
        );
        assert!(
            text.contains("\"pid:[4026531836]\" -> \"pid:[4026532180]\" [tailport=\"p4:e\", headport=\"n4026532180:w\", class=\"keeps\""),
            "{text}"
        );
    }

    #[test]
    fn a_box_can_be_both_dead_and_inferred() {
        let mut snapshot = farm();
        snapshot.namespaces[2].evidence = Evidence::Inferred;
        let text = dot(snapshot);
        assert!(text.contains("<table border=\"4\" color=\"#b3261e\" style=\"dashed\""), "{text}");
        assert!(text.contains("class=\"dead inferred\""));
    }

    #[test]
    fn a_box_counts_members_beyond_forty_lines() {
        let named = |raw: u32| {
            let mut process = process(&[raw], Some(10));
            process.comm = format!("job-{raw}").into();
            process
        };
        let text = dot(snapshot(vec![namespace(10, None)], (1..=5000).map(named).collect()));
        assert!(text.contains(">1 job-1<br") && text.contains("40 job-40<br"), "{text}");
        assert!(text.contains("<br align=\"left\"/>4,960 more processes<br align=\"left\"/>"));
        assert!(!text.contains("job-41<"));
    }

    #[test]
    fn a_box_counts_holders_beyond_forty_lines() {
        let mut snapshot = farm();
        let mount = |number| Holder::Mount { path: format!("/run/{number}"), mount_namespace: 9 };
        snapshot.namespaces[2].holders = (0..4000).map(mount).collect();
        let text = dot(snapshot);
        assert!(text.matches("kept by ").count() < 45, "{}", text.len());
        assert!(text.contains("kept by 3,961 more"), "{text}");
    }

    #[test]
    fn the_title_counts_diagnostics_beyond_forty_lines() {
        let mut snapshot = farm();
        let diagnostic = |number| Diagnostic {
            message: format!("problem {number}."),
            ..farm().diagnostics[0].clone()
        };
        snapshot.diagnostics = (1..=40).map(diagnostic).collect();
        let text = dot(snapshot.clone());
        assert!(text.contains("problem 40.") && !text.contains("more diagnostics"), "{text}");
        snapshot.diagnostics.extend((41..=1200).map(diagnostic));
        let text = dot(snapshot);
        assert!(text.contains("problem 39.") && !text.contains("problem 40."), "{text}");
        assert!(text.contains(">1,161 more diagnostics</td>"), "{text}");
    }
}
