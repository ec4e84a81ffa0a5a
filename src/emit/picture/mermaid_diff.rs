//! The branches that changed as a picture for Markdown, within what GitHub
//! draws: what does not fit is left out, first the members of the boxes, then
//! the last of the boxes, and a box says so.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::mermaid::{CHARACTERS, EDGES, LINES, Label, Title, WIDTH, broken};
use crate::emit::text::diff::{Node, Tree, mark, relation_text};
use crate::query::Happened;
use crate::wording::line::Line;
use crate::wording::namespace::Of;

/// What a class looks like: the box of a namespace by what happened to it.
const CLASSES: [(&str, &str); 5] = [
    ("same", "fill:#eee,stroke:#777,color:#000"),
    ("came", "fill:#d3ecd3,stroke:#2e7d32,stroke-width:3px,color:#000"),
    ("went", "fill:#f6c9c6,stroke:#b3261e,stroke-dasharray:6 4,color:#000"),
    ("hidden", "fill:#e6d9f0,stroke:#6b4c86,stroke-width:2px,color:#000"),
    ("changed", "fill:#f7e8b2,stroke:#8a6d00,stroke-width:2px,color:#000"),
];

/// Writes the picture in the most detail that fits.
pub fn write(tree: &Tree<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut chart = Chart::new(tree, true, EDGES);
    let mut most = EDGES;
    while chart.text.chars().count() > CHARACTERS && most > 0 {
        chart = Chart::new(tree, false, most);
        most /= 2;
    }
    out.write_all(chart.text.as_bytes())
}

/// A chart in the making.
struct Chart<'a, 'd> {
    tree: &'a Tree<'d>,
    /// Whether boxes list what happened to processes.
    members: bool,
    text: String,
    boxes: usize,
}

impl<'a, 'd> Chart<'a, 'd> {
    /// The chart of a tree, with the boxes of no more than so many namespaces.
    fn new(tree: &'a Tree<'d>, members: bool, most: usize) -> Self {
        let relation = relation_text(tree.diff.relation).map(str::to_owned);
        let about: Vec<_> = relation.into_iter().chain(tree.summary()).collect();
        let about = about.join(" ");
        let text = format!(
            "{WIDTH}\nflowchart LR\n  accTitle: What changed of PID namespaces\n  accDescr: {}\n",
            Title(&about)
        );
        let mut chart = Self { tree, members, text, boxes: 0 };
        let mut left_out = 0;
        let roots = tree.shown_below(None).into_iter().rev();
        let mut todo: Vec<_> = roots.map(|node| (node, None)).collect();
        while let Some((node, parent)) = todo.pop() {
            // All that is above a box has one, as parents come first.
            let number = if chart.boxes < most {
                let heading = tree.namespace(node);
                Some(chart.namespace(tree.happened(node), &heading, Some(node), parent))
            } else {
                left_out += 1;
                None
            };
            let below = tree.shown_below(Some(node)).into_iter().rev();
            todo.extend(below.map(|child| (child, number)));
        }
        if tree.rows.contains_key(&None) {
            chart.namespace(None, "unknown  processes whose namespace is ambiguous", None, None);
        }
        if left_out > 0 {
            let left_out = Of(left_out, "more namespace", "more namespaces");
            chart.boxed("same", &[format!("{left_out}: left out")], None);
        }
        if chart.boxes == 0 {
            chart.boxed("same", &[about], None);
        }
        for (class, look) in CLASSES {
            if chart.text.contains(&format!("\"]:::{class}\n")) {
                // Writing to a String does not fail.
                let _ = writeln!(chart.text, "  classDef {class} {look},text-align:left");
            }
        }
        chart
    }

    /// The box of a namespace, or of the processes that are in none; its number.
    fn namespace(
        &mut self,
        happened: Option<Happened>,
        heading: &str,
        node: Option<Node>,
        parent: Option<usize>,
    ) -> usize {
        let mut lines = Vec::new();
        wrap(happened, heading, &mut lines);
        let rows = self.tree.rows.get(&node).map(Vec::as_slice).unwrap_or_default();
        let mut left: usize = rows.iter().map(|row| row.pids.len()).sum();
        for row in rows.iter().filter(|_| self.members) {
            let before = lines.len();
            wrap(Some(row.happened), &row.text(self.tree.symbols()), &mut lines);
            // Another line is needed to say what is left out.
            let is_last = left == row.pids.len();
            if lines.len() > LINES || (lines.len() == LINES && !is_last) {
                lines.truncate(before.min(LINES - 1));
                break;
            }
            left -= row.pids.len();
        }
        if left > 0 {
            lines.push(format!("{} more", Of(left, "process", "processes")));
        }
        let class = match happened {
            None => "same",
            Some(Happened::Came) => "came",
            Some(Happened::Went) => "went",
            Some(Happened::Hidden) => "hidden",
            Some(Happened::Changed) => "changed",
        };
        self.boxed(class, &lines, parent)
    }

    /// One box, and the edge to it; its number.
    fn boxed(&mut self, class: &str, lines: &[String], parent: Option<usize>) -> usize {
        let number = self.boxes;
        self.boxes += 1;
        let lines: Vec<_> = lines.iter().map(|line| Label(line).to_string()).collect();
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "  n{number}[\"{}\"]:::{class}", lines.join("<br/>"));
        if let Some(parent) = parent {
            let _ = writeln!(self.text, "  n{parent} --> n{number}");
        }
        number
    }
}

/// What is said, with the sign of what happened, in as many lines as it takes.
fn wrap(happened: Option<Happened>, text: &str, lines: &mut Vec<String>) {
    let mut line = Line::default();
    if happened.is_some() {
        line.plain("", format_args!("{}", mark(happened)));
    }
    line.words(" ", text);
    broken(&line, lines);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::{DiffFormat, Style};
    use crate::graph::PidGraph;
    use crate::model::{NamespaceState, Snapshot};
    use crate::query::Diff;
    use crate::testing::{farm, namespace, process, snapshot};

    fn picture(before: Snapshot, after: Snapshot) -> String {
        let diff = Diff::new(PidGraph::new(before), PidGraph::new(after));
        let mut out = Vec::new();
        DiffFormat::Mermaid.emit(&diff, Style::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn boxes_have_the_signs_of_the_tree() {
        let mut later = farm();
        later.namespaces[1].state = NamespaceState::Dead;
        later.processes.truncate(3);
        later.processes.push(process(&[30], Some(4_026_531_836)));
        later.processes[3].comm = "a\n``` --> x".into();
        expect_test::expect![[r##"
            %%{init: {"flowchart": {"wrappingWidth": 450}}}%%
            flowchart LR
              accTitle: What changed of PID namespaces
              accDescr: Processes: 1 came, 2 went. PID namespace: 1 changed
              n0["pid:#91;4026531836#93;<br/>+ 30 a#92;<wbr/>n#96;#96;#96; #45;<wbr/>#45;<wbr/>#62; x"]:::same
              n1["#126; pid:#91;4026532179#93;  DEAD: its init has<br/>exited#59; kept by the namespaces below it#59; was<br/>live<br/>#45;<wbr/> 6 → 1 farm  init<br/>#45;<wbr/> 7 → 2 sleep"]:::changed
              n0 --> n1
              classDef same fill:#eee,stroke:#777,color:#000,text-align:left
              classDef changed fill:#f7e8b2,stroke:#8a6d00,stroke-width:2px,color:#000,text-align:left
        "##]].assert_eq(&picture(farm(), later));
        assert!(picture(farm(), farm()).contains("n0[\"No difference: 5 processes and"));
    }

    /// A host with so many namespaces below it, and so many processes in them.
    fn host(namespaces: u64, processes: u32) -> Snapshot {
        let mut all = vec![namespace(10, None)];
        all.extend((11..11 + namespaces).map(|inode| namespace(inode, Some(10))));
        let members = (100..100 + processes).map(|raw| {
            let mut process = process(&[raw], Some(10 + u64::from(raw) % (namespaces + 1)));
            process.comm = format!("job;#;#;#;{raw}").into();
            process
        });
        snapshot(all, members.collect())
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_said_to_be() {
        let few = picture(host(0, 0), host(0, 40));
        assert!(
            few.contains(
                "<br/>+ 109 job#59;#35;#59;#35;#59;#35;#59;109<br/>30 processes more\"]:::same"
            ),
            "{few}"
        );
        let many = picture(host(0, 0), host(2000, 2000));
        assert!(many.chars().count() <= CHARACTERS);
        assert_eq!(many.matches(" --> ").count(), 449);
        assert!(many.contains("1,551 more namespaces: left out"), "{many}");
        assert!(!many.contains("job") && many.contains("live<br/>1 process more"), "{many}");
    }
}
