//! A picture for Graphviz: one table-shaped node a namespace, edges from
//! parent to child.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io::{self, Write};

use smol_str::SmolStr;

use super::describe::{Pids, ProcessName, held_by, summary};
use super::{Emitter, Sanitized};
use crate::graph::PidGraph;
use crate::model::{Evidence, Namespace, NamespaceState, Process};

/// Members of one name, and kernel threads, in one namespace that get a row
/// each; where there are more, they share a row that says how many. Keeps the
/// layout of large hosts to seconds.
pub(super) const FOLD_LIMIT: usize = 3;

const ARROW: &str = " → ";

/// Graphviz DOT.
pub struct Dot;

/// How a kind of namespace looks, and what the legend says of it.
struct Kind {
    heading: &'static str,
    border: &'static str,
    style: &'static str,
    legend: &'static str,
}

const LIVE: Kind = Kind { heading: "#d6e6f5", border: "#4a6785", style: "solid", legend: "live" };
const DEAD: Kind = Kind {
    heading: "#f6c9c6",
    border: "#b3261e",
    style: "solid",
    legend: "dead: its init has terminated, forks into it fail",
};
const NASCENT: Kind = Kind {
    heading: "#f7e8b2",
    border: "#8a6d00",
    style: "dotted",
    legend: "nascent: no first process yet",
};
const UNKNOWN: Kind = Kind {
    heading: "#e6dcf2",
    border: "#6a4a8f",
    style: "dotted",
    legend: "unknown: neither live, dead nor nascent could be proved",
};
const INFERRED: Kind = Kind {
    heading: "#e4e4e4",
    border: "#6b6b6b",
    style: "dashed",
    legend: "inferred: concluded where the kernel would not say",
};

impl Kind {
    fn of(namespace: &Namespace) -> &'static Self {
        match (namespace.state, namespace.evidence) {
            (NamespaceState::Dead, _) => &DEAD,
            (NamespaceState::Nascent, _) => &NASCENT,
            (NamespaceState::Unknown, _) => &UNKNOWN,
            (NamespaceState::Live, Evidence::Inferred) => &INFERRED,
            (NamespaceState::Live, Evidence::Kernel) => &LIVE,
        }
    }
}

impl Emitter for Dot {
    fn emit(&self, graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(
            b"digraph pidns {\n  \
              graph [rankdir=LR, nodesep=0.3, ranksep=0.6, fontname=\"Helvetica\", labelloc=t, labeljust=l];\n  \
              node [shape=plain, fontname=\"Helvetica\", fontsize=11];\n  \
              edge [color=\"#4a6785\", arrowsize=0.7];\n",
        )?;
        title(graph, out)?;
        for (namespace, _) in graph.tree() {
            node(graph, namespace, out)?;
        }
        for (namespace, _) in graph.tree() {
            if let Some(parent) = graph.parent(namespace) {
                let style = match namespace.evidence {
                    Evidence::Kernel => "",
                    Evidence::Inferred => " [style=dashed]",
                };
                writeln!(out, "  \"{}\" -> \"{}\"{style};", parent.id, namespace.id)?;
            }
        }
        unplaced(graph, out)?;
        legend(out)?;
        out.write_all(b"}\n")
    }
}

fn title(graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
    let snapshot = graph.snapshot();
    let mut html = Html(out);
    html.markup("  label=<")?;
    html.text("PID namespaces")?;
    if let Some(hostname) = &snapshot.host.hostname {
        html.text(format_args!(" of {hostname}"))?;
    }
    html.text(format_args!(", {}", snapshot.captured_at))?;
    if !snapshot.complete {
        html.text(", incomplete")?;
    }
    for (index, criterion) in snapshot.selected.iter().enumerate() {
        let start = if index == 0 { ", a part: by " } else { ", " };
        html.text(format_args!("{start}{}", criterion.by))?;
    }
    html.markup(">;\n")
}

fn node(graph: &PidGraph, namespace: &Namespace, out: &mut dyn Write) -> io::Result<()> {
    let kind = Kind::of(namespace);
    write!(out, "  \"{}\" [label=<", namespace.id)?;
    let mut html = Html(out);
    start_table(kind, &mut html)?;
    start_heading(kind, &mut html)?;
    html.markup("<b>")?;
    html.text(namespace.id)?;
    html.markup("</b>")?;
    let said = summary(graph, namespace, ARROW).into_iter().map(|(_, said)| said);
    for line in said.chain(held_by(graph, namespace)) {
        html.markup("<br align=\"left\"/>")?;
        html.text(line)?;
    }
    html.markup("<br align=\"left\"/></td></tr>")?;
    rows(&graph.members(namespace), &mut html)?;
    html.markup("</table>>];\n")
}

fn start_table(kind: &Kind, html: &mut Html<'_>) -> io::Result<()> {
    html.markup(
        "<table border=\"1\" cellborder=\"0\" cellspacing=\"0\" cellpadding=\"3\" color=\"",
    )?;
    html.markup(kind.border)?;
    html.markup("\" style=\"")?;
    html.markup(kind.style)?;
    html.markup("\">")
}

fn start_heading(kind: &Kind, html: &mut Html<'_>) -> io::Result<()> {
    html.markup("<tr><td colspan=\"2\" align=\"left\" balign=\"left\" bgcolor=\"")?;
    html.markup(kind.heading)?;
    html.markup("\">")
}

/// A row for each member; one for all of a name that many have.
fn rows(members: &[&Process], html: &mut Html<'_>) -> io::Result<()> {
    // Kernel threads all have names of their own, by which nobody looks for them.
    let class = |member: &Process| (!member.kernel_thread).then(|| member.comm.clone());
    let mut of_class: HashMap<Option<SmolStr>, Vec<&Process>> = HashMap::new();
    for member in members {
        of_class.entry(class(member)).or_default().push(member);
    }
    for member in members {
        let same = &of_class[&class(member)];
        let (first, last) = (same[0], same[same.len() - 1]);
        let folded = same.len() > FOLD_LIMIT;
        if folded && first.pid != member.pid {
            continue;
        }
        html.markup("<tr><td align=\"right\">")?;
        html.text(Pids { process: member, arrow: ARROW })?;
        if folded {
            html.text(format_args!(" … {}", Pids { process: last, arrow: ARROW }))?;
        }
        html.markup("</td><td align=\"left\">")?;
        match (folded, member.kernel_thread) {
            (false, _) => html.text(ProcessName(member))?,
            (true, false) => html.text(format_args!("{} × {}", same.len(), member.comm))?,
            (true, true) => html.text(format_args!("{} kernel threads", same.len()))?,
        }
        html.markup("</td></tr>")?;
    }
    Ok(())
}

fn unplaced(graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
    let processes: Vec<_> = graph.unplaced().collect();
    if processes.is_empty() {
        return Ok(());
    }
    out.write_all(b"  unknown [label=<")?;
    let mut html = Html(out);
    start_table(&INFERRED, &mut html)?;
    start_heading(&INFERRED, &mut html)?;
    html.markup("<b>unknown</b><br align=\"left\"/>")?;
    html.text(format_args!("{} whose namespace is ambiguous", processes.len()))?;
    html.markup("<br align=\"left\"/></td></tr>")?;
    rows(&processes, &mut html)?;
    html.markup("</table>>];\n")
}

/// A small table of its own that shows each kind.
fn legend(out: &mut dyn Write) -> io::Result<()> {
    let mut html = Html(out);
    html.markup(
        "  legend [fontsize=9, label=<<table border=\"0\" cellborder=\"0\" cellspacing=\"3\" cellpadding=\"2\">",
    )?;
    for kind in [&LIVE, &DEAD, &NASCENT, &UNKNOWN, &INFERRED] {
        html.markup("<tr><td border=\"1\" color=\"")?;
        html.markup(kind.border)?;
        html.markup("\" style=\"")?;
        html.markup(kind.style)?;
        html.markup("\" bgcolor=\"")?;
        html.markup(kind.heading)?;
        html.markup("\">    </td><td align=\"left\">")?;
        html.text(kind.legend)?;
        html.markup("</td></tr>")?;
    }
    html.markup("<tr><td>7 → 2</td><td align=\"left\">PIDs of a process, outermost namespace first</td></tr>")?;
    html.markup("</table>>];\n")
}

/// A writer of Graphviz HTML-like labels. Text from elsewhere goes through
/// [`text`](Self::text), which makes it safe and escapes it, so that no label
/// can forget to.
struct Html<'a>(&'a mut dyn Write);

impl Html<'_> {
    /// Markup of this program, as it stands.
    fn markup(&mut self, markup: &str) -> io::Result<()> {
        self.0.write_all(markup.as_bytes())
    }

    /// Text from elsewhere.
    fn text(&mut self, text: impl fmt::Display) -> io::Result<()> {
        let mut entities = Entities { out: self.0, error: Ok(()) };
        match write!(entities, "{}", Sanitized(text)) {
            Ok(()) => Ok(()),
            Err(fmt::Error) => {
                Err(entities.error.err().unwrap_or_else(|| io::ErrorKind::Other.into()))
            }
        }
    }
}

struct Entities<'a> {
    out: &'a mut dyn Write,
    error: io::Result<()>,
}

impl fmt::Write for Entities<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let plain = rest.iter().position(|byte| entity(*byte).is_some()).unwrap_or(rest.len());
            let (before, special) = rest.split_at(plain);
            self.put(before)?;
            let Some((first, after)) = special.split_first() else { break };
            self.put(entity(*first).unwrap_or_default().as_bytes())?;
            rest = after;
        }
        Ok(())
    }
}

impl Entities<'_> {
    fn put(&mut self, bytes: &[u8]) -> fmt::Result {
        self.out.write_all(bytes).map_err(|error| {
            self.error = Err(error);
            fmt::Error
        })
    }
}

/// What stands for a byte that means something in a label.
fn entity(byte: u8) -> Option<&'static str> {
    match byte {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'"' => Some("&quot;"),
        b'\'' => Some("&#39;"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{farm, namespace, process, snapshot};

    fn dot(graph: &PidGraph) -> String {
        let mut out = Vec::new();
        Dot.emit(graph, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_farm_is_drawn_as_in_the_readme() {
        expect_file!["../../tests/snapshots/farm.dot"].assert_eq(&dot(&PidGraph::new(farm())));
    }

    #[test]
    fn every_state_has_a_look_of_its_own_that_the_legend_shows() {
        let states = NamespaceState::ALL.map(|state| {
            let mut namespace = namespace(10, None);
            namespace.state = state;
            Kind::of(&namespace)
        });
        let text = dot(&PidGraph::new(farm()));
        for (index, kind) in states.iter().enumerate() {
            assert!(text.contains(kind.legend), "{}", kind.legend);
            assert!(states[..index].iter().all(|other| other.heading != kind.heading));
        }
    }

    #[test]
    fn many_of_one_name_share_a_row_that_says_how_many() {
        let mut processes: Vec<_> = (1..=9).map(|pid| process(&[pid], Some(10))).collect();
        processes[0].comm = "init".into();
        let few = dot(&PidGraph::new(snapshot(vec![namespace(10, None)], processes[..4].to_vec())));
        assert_eq!(few.matches("sleep").count(), 3);
        let many = dot(&PidGraph::new(snapshot(vec![namespace(10, None)], processes)));
        assert!(many.contains(">2 … 9</td><td align=\"left\">8 × sleep</td>"), "{many}");
        assert_eq!(many.matches("sleep").count(), 1);
    }

    #[test]
    fn kernel_threads_share_a_row_whatever_their_names() {
        let mut processes: Vec<_> = (1..=5).map(|pid| process(&[pid], Some(10))).collect();
        for process in &mut processes[1..] {
            process.kernel_thread = true;
            process.comm = format!("kworker/{}", process.pid).into();
        }
        let text = dot(&PidGraph::new(snapshot(vec![namespace(10, None)], processes)));
        assert!(text.contains(">2 … 5</td><td align=\"left\">4 kernel threads</td>"), "{text}");
        assert!(!text.contains("kworker"));
    }

    #[test]
    fn a_name_cannot_break_out_of_its_cell() {
        let mut evil = process(&[1], Some(10));
        evil.comm = "</td>\"&]>;\n".into();
        let text = dot(&PidGraph::new(snapshot(vec![namespace(10, None)], vec![evil])));
        assert!(text.contains("&lt;/td&gt;&quot;&amp;]&gt;;\\n</td>"), "{text}");
    }

    fn html(text: &str) -> String {
        let mut out = Vec::new();
        Html(&mut out).text(text).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_means_something_in_a_label_is_an_entity() {
        assert_eq!(html("<b>&\"'\n{|}\\"), "&lt;b&gt;&amp;&quot;&#39;\\n{|}\\");
    }

    proptest! {
        #[test]
        fn no_text_gets_out_of_its_label(text in "\\PC*|.*") {
            prop_assert!(!html(&text).contains(['<', '>', '"', '\'', '\n', '\x1b']));
        }
    }
}
