//! A picture for Graphviz: one box a namespace, edges from parent to child.
//!
//! More than [`MOST_BESIDE`] siblings stand on a shelf, one node of many
//! columns, as they would make one endless column otherwise. Those without
//! namespaces below go there first; those with some are easier to read beside
//! it, where edges show the levels, as a box within a box makes its whole
//! column wide. They join the shelf, boxes in boxes, where they are many, too,
//! and so does what is nested more than [`MOST_BESIDE`] levels deep. What
//! somebody holds stays beside it, as the edge from the holder would cross it.
//!
//! Graphviz gives a class to nodes, not to the tables on a shelf. What it gives
//! to both is a link with an id, a tooltip and a target: without an address the
//! target means nothing to a browser, so that it tells the state of every box.
//! It also makes Graphviz write the link of a table at all.

mod escape;
mod table;
mod title;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::{self, Write};

use crate::emit::Emitter;
use crate::graph::PidGraph;
use crate::model::{Evidence, Namespace, NamespaceId, NamespaceState, Pid};
use crate::query::fold::{Folding, Row, Siblings};
use crate::wording::line::{Emphasis, Line};
use crate::wording::namespace::{Clipped, Count, Describe, KeptBy, Of, Symbols};

use escape::quoted;
use table::{Boxed, LINES, Look, PART, Table, shelf};

/// Graphviz DOT.
pub struct Dot {
    /// Whether everything has a line of its own.
    pub unfolded: bool,
}

/// So many siblings still stand one below the other, and so many levels one
/// beside the other.
const MOST_BESIDE: usize = 6;

impl Emitter for Dot {
    fn emit(&self, graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
        let folding = Folding::new(graph, !self.unfolded);
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
}

struct Picture<'a, 'o> {
    folding: &'o Folding<'a>,
    describe: Describe<'a>,
    graph: &'a PidGraph,
    out: &'o mut dyn Write,
    /// Processes that keep a namespace, so that edges begin at their lines.
    keepers: HashSet<Pid>,
    /// The node that a namespace is drawn in.
    nodes: HashMap<NamespaceId, String>,
    /// The node that the line of a keeper is in.
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
        self.title()?;
        self.siblings(&self.folding.tops(), None, 0, false)?;
        self.unplaced()?;
        self.holders()?;
        self.out.write_all(b"}\n")
    }

    /// Namespaces with one parent, and all below them.
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
        let mut beside: Vec<&Siblings<'a>> = Vec::new();
        for kind in [leaves, trees] {
            let many = kind.len() > MOST_BESIDE || level > MOST_BESIDE;
            let (held, free): (Vec<_>, Vec<_>) = kind.into_iter().partition(|it| self.is_held(it));
            let few_held = held.len() <= MOST_BESIDE && level <= MOST_BESIDE;
            if many { &mut on_shelf } else { &mut beside }.extend(free);
            if many && !few_held { &mut on_shelf } else { &mut beside }.extend(held);
        }
        // In the order of the text.
        let place = |it: &Siblings<'a>| it.first().map(|namespace| namespace.id);
        on_shelf.sort_by_key(|it| place(it));
        beside.sort_by_key(|it| place(it));
        if !on_shelf.is_empty() {
            self.shelf(&on_shelf, parent, in_each)?;
        }
        for it in beside {
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

    /// Whether an edge leads to it from who holds it, which would cross the
    /// boxes of a shelf.
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

    /// Many siblings in one node, and one edge to it.
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
        // A box alone has no shelf around it, but a heading.
        let headport = match siblings {
            [_] => format!("{}:w", port(first.id)),
            _ => "w".to_owned(),
        };
        self.edge(parent, &node, &headport, first)
    }

    /// The box of a namespace, or of many alike; on a shelf, what is below the
    /// namespace is in its box. `in_each` where it stands for one in each of many.
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
        let look = Look::of(namespace.state);
        let mut table = Table::new(look, namespace.evidence);
        self.nodes.insert(namespace.id, node.to_owned());
        if on_shelf {
            // A node beside the shelf has these itself.
            table.attribute("id", &namespace.id.text())?;
            table.attribute("tooltip", &self.tooltip(siblings))?;
            table.attribute("target", &class(namespace))?;
        }
        table.start(&port(namespace.id))?;
        self.line.clear();
        self.describe.heading(siblings, in_each, &mut self.line);
        table.heading(&self.line)?;
        if !of_each {
            let holders = self.describe.kept_by(namespace);
            for (index, holder) in holders.iter().enumerate() {
                self.line.clear();
                let more = holders.len() - index;
                let full = table.lines >= LINES && more > 1;
                if full {
                    self.line.plain("", format_args!("kept by {} more", Count(more)));
                } else {
                    holder.describe(&mut self.line);
                }
                table.heading(&self.line)?;
                if full {
                    break;
                }
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
        rows: &[Row<'a>],
        node: &str,
        of_each: bool,
        table: &mut Table,
    ) -> io::Result<()> {
        let mut left: usize = rows.iter().map(|row| row.processes().len()).sum();
        for row in rows {
            if table.member_lines >= LINES && left > 1 {
                self.line.clear();
                self.line.plain("", format_args!("{} more", Count(left)));
                table.member(None, &self.line)?;
                break;
            }
            left -= row.processes().len();
            self.line.clear();
            self.describe.row(row, of_each, &mut self.line);
            let keeper = match row {
                Row::One(process) if self.keepers.contains(&process.pid) => Some(process.pid),
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
        let mut table = Table::new(Look::of(NamespaceState::Unknown), Evidence::Inferred);
        table.start("unknown")?;
        self.line.clear();
        self.line.part("", Emphasis::Name, format_args!("unknown"));
        let of = Of(
            count,
            "process whose namespace is ambiguous",
            "processes whose namespaces are ambiguous",
        );
        self.line.plain("  ", format_args!("{of}"));
        table.heading(&self.line)?;
        table.end_heading()?;
        self.members(&rows, "unknown", false, &mut table)?;
        let boxed = table.end()?;
        let mut pids = String::new();
        for process in rows.iter().flat_map(Row::processes) {
            let _ = write!(pids, " {}", process.pid);
        }
        write!(
            self.out,
            "  unknown [id=\"unknown\", class=\"unknown inferred\", tooltip=\"PIDs{pids}\", label=<"
        )?;
        self.out.write_all(&boxed.html)?;
        self.out.write_all(b">];\n")
    }

    /// Edges from whoever keeps a namespace alive.
    fn holders(&mut self) -> io::Result<()> {
        for namespace in &self.graph.snapshot().namespaces {
            let Some(node) = self.nodes.get(&namespace.id) else { continue };
            let mut drawn = HashSet::new();
            for pid in self.describe.kept_by(namespace).iter().filter_map(KeptBy::pid) {
                // One edge, whatever the number of descriptors.
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

    /// All that a box has no room for. Graphviz reads at most 16 KiB in one
    /// go, up to the next end of a line.
    fn tooltip(&self, siblings: &Siblings<'a>) -> String {
        let namespaces: &[&Namespace] = match siblings {
            Siblings::One(namespace) => &[namespace],
            Siblings::Alike(namespaces) => namespaces,
        };
        let mut text = String::new();
        for (index, namespace) in namespaces.iter().enumerate() {
            // Writing to a String does not fail.
            let _ = write!(text, "{}{}", if index == 0 { "" } else { "\n" }, namespace.id);
            if let Some(container) = &namespace.container {
                let _ = write!(
                    text,
                    ", {} {}",
                    Clipped(&container.runtime, PART),
                    Clipped(&container.id, PART)
                );
            }
            if let Some(owner) = &namespace.owner {
                let _ = match (&owner.user, owner.uid) {
                    (Some(user), _) => write!(text, ", owner {}", Clipped(user, PART)),
                    (None, Some(uid)) => write!(text, ", owner uid {uid}"),
                    (None, None) => write!(text, ", owner unknown"),
                };
                let _ = write!(text, " in user:[{}]", owner.user_namespace);
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
    let state = Look::of(namespace.state).class;
    match namespace.evidence {
        Evidence::Kernel => state.to_owned(),
        Evidence::Inferred => format!("{state} inferred"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Holder, Snapshot};
    use crate::testing::{farm, namespace, process, snapshot};

    fn dot(snapshot: Snapshot) -> String {
        let mut out = Vec::new();
        Dot { unfolded: false }.emit(&PidGraph::new(snapshot), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// A host with so many namespaces below it, no two alike; the first has
    /// one below it.
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
    fn more_than_six_leaves_stand_on_a_shelf_with_one_edge_to_it() {
        let few = dot(many(7));
        assert!(!few.contains("shelf"), "{few}");
        assert_eq!(few.matches(" -> \"pid").count(), 8);
        let shelf = dot(many(8));
        assert!(shelf.contains("  \"pid:[10]\" -> \"in pid:[10]\" [tailport=\"n10:e\""), "{shelf}");
        // Beside it the one with a namespace below, and that.
        assert!(shelf.contains("  \"pid:[10]\" -> \"pid:[11]\" ["), "{shelf}");
        assert!(shelf.contains("  \"pid:[11]\" -> \"pid:[1000]\" ["), "{shelf}");
        assert_eq!(shelf.matches(" -> ").count(), 3);
        assert!(shelf.contains(" id=\"pid:[12]\" tooltip=\"pid:[12], owner root in user:["));
    }

    #[test]
    fn what_somebody_holds_stands_beside_the_shelf_as_the_edge_to_it_would_cross_that() {
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
    fn an_edge_leads_to_the_heading_of_a_box_that_stands_alone_however_deep() {
        let mut namespaces = vec![namespace(10, None)];
        namespaces.extend((11..30).map(|inode| namespace(inode, Some(inode - 1))));
        let text = dot(snapshot(namespaces, Vec::new()));
        assert!(
            text.contains("-> \"in pid:[16]\" [tailport=\"n16:e\", headport=\"n17:w\"]"),
            "{text}"
        );
    }

    #[test]
    fn an_edge_leads_from_the_line_of_a_holder_to_what_it_keeps() {
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
    fn dead_and_inferred_are_both_shown() {
        let mut snapshot = farm();
        snapshot.namespaces[2].evidence = Evidence::Inferred;
        let text = dot(snapshot);
        assert!(text.contains("<table border=\"4\" color=\"#b3261e\" style=\"dashed\""), "{text}");
        assert!(text.contains("class=\"dead inferred\""));
    }

    #[test]
    fn a_box_is_forty_lines_high_and_says_what_it_leaves_out() {
        let named = |raw: u32| {
            let mut process = process(&[raw], Some(10));
            process.comm = format!("job-{raw}").into();
            process
        };
        let text = dot(snapshot(vec![namespace(10, None)], (1..=5000).map(named).collect()));
        assert!(text.contains(">1 job-1<br") && text.contains("40 job-40<br"), "{text}");
        assert!(text.contains("<br align=\"left\"/>4,960 more<br align=\"left\"/>"));
        assert!(!text.contains("job-41<"));
    }

    #[test]
    fn a_namespace_held_in_a_thousand_ways_still_fits() {
        let mut snapshot = farm();
        let mount = |number| Holder::Mount { path: format!("/run/{number}"), mount_namespace: 9 };
        snapshot.namespaces[2].holders = (0..4000).map(mount).collect();
        let text = dot(snapshot);
        assert!(text.matches("kept by ").count() < 45, "{}", text.len());
        assert!(text.contains("kept by 3,961 more"), "{text}");
    }
}
