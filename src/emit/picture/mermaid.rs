//! A picture for Markdown, which GitHub and others draw with Mermaid: boxes
//! with the same lines as in Graphviz, always folded.
//!
//! GitHub draws at most 500 edges and 50,000 characters, and nothing at all of
//! more. What does not fit is left out, and said to be: first the members of
//! the boxes, then the live namespaces of the deepest levels. Dead ones are
//! left in, a box each, or in one box with their siblings where even they are
//! too many.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::io::{self, Write};

use crate::emit::Emitter;
use crate::graph::PidGraph;
use crate::model::{Evidence, Namespace, NamespaceId, NamespaceState};
use crate::query::fold::{Folding, Row, Siblings};
use crate::wording::line::Line;
use crate::wording::namespace::{Count, Describe, Of, Symbols};
use crate::wording::sanitize::Distinct;

/// A Mermaid flowchart.
pub struct Mermaid;

/// Edges, characters and lines in a box, well below what GitHub draws.
pub const EDGES: usize = 450;
pub const CHARACTERS: usize = 45_000;
pub const LINES: usize = 12;

/// Characters of a line, and of what must stay together in it.
const LINE: usize = 45;
const PART: usize = 120;

/// Mermaid breaks lines that are longer than 200 pixels unless it is told not to.
pub const WIDTH: &str = r#"%%{init: {"flowchart": {"wrappingWidth": 450}}}%%"#;

/// So many levels still stand one beside the other, however few there are on each.
const MOST_BESIDE: usize = 6;

/// Namespaces that a box lists where they have none of their own.
const LISTED: usize = 8;

/// What a class looks like, for those states that occur.
const CLASSES: [(&str, &str); 5] = [
    ("live", "fill:#d6e6f5,stroke:#4a6785,color:#000"),
    ("dead", "fill:#f6c9c6,stroke:#b3261e,stroke-width:4px,color:#000"),
    ("nascent", "fill:#f7e8b2,stroke:#8a6d00,stroke-width:2px,color:#000"),
    ("unknown", "fill:#e6d9f0,stroke:#6b4c86,stroke-width:2px,color:#000"),
    ("inferred", "stroke-dasharray:6 4"),
];

impl Emitter for Mermaid {
    fn emit(&self, graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
        let folding = Folding::new(graph, true);
        let deepest = graph.tree().iter().map(|(_, level)| *level).max().unwrap_or(0);
        let whole = Chart::new(&folding, Detail { members: true, depth: deepest, apart: true });
        let chart = whole.or_else(|| {
            let less = |depth, apart| Chart::new(&folding, Detail { members: false, depth, apart });
            let depths = (0..=deepest).rev();
            depths
                .clone()
                .find_map(|depth| less(depth, true))
                .or_else(|| depths.clone().find_map(|depth| less(depth, false)))
        });
        // Dead namespaces on a hundred levels of their own are no host's.
        let chart = chart.unwrap_or_else(|| Chart::counts_alone(&folding));
        out.write_all(chart.text.as_bytes())
    }
}

/// How much of a graph a chart shows.
#[derive(Clone, Copy)]
struct Detail {
    /// Whether boxes list members.
    members: bool,
    /// How deep live namespaces are shown.
    depth: usize,
    /// Whether those that are not live have a box each.
    apart: bool,
}

/// A chart in the making.
struct Chart<'a, 'f> {
    folding: &'f Folding<'a>,
    describe: Describe<'a>,
    detail: Detail,
    /// Namespaces that are shown however deep they are: those that are not
    /// live, and their ancestors.
    always: HashSet<NamespaceId>,
    text: String,
    /// How many characters of the text are counted, and in how many bytes.
    counted: (usize, usize),
    boxes: usize,
    edges: usize,
    line: Line,
    classes: HashSet<&'static str>,
}

impl<'a, 'f> Chart<'a, 'f> {
    /// The chart in that detail; `None` where it is too large.
    fn new(folding: &'f Folding<'a>, detail: Detail) -> Option<Self> {
        let mut chart = Self::empty(folding, detail);
        chart.siblings(&folding.tops(), None, 0, false)?;
        chart.unplaced()?;
        chart.finish();
        chart.fits().then_some(chart)
    }

    fn empty(folding: &'f Folding<'a>, detail: Detail) -> Self {
        let graph = folding.graph();
        let mut always = HashSet::new();
        for namespace in &graph.snapshot().namespaces {
            let mut next = Some(namespace).filter(|it| it.state != NamespaceState::Live);
            while let Some(namespace) = next.filter(|namespace| always.insert(namespace.id)) {
                next = graph.parent(namespace);
            }
        }
        let describe = Describe::new(folding, Symbols::UNICODE);
        let direction = direction(graph);
        let mut text = format!("{WIDTH}\nflowchart {direction}\n  accTitle: PID namespaces");
        if let Some(hostname) = &graph.snapshot().host.hostname {
            // Writing to a String does not fail.
            let _ = write!(text, " of {}", Title(hostname));
        }
        text.push('\n');
        let snapshot = graph.snapshot();
        let incomplete = if snapshot.complete { "" } else { ", incomplete" };
        let _ = writeln!(
            text,
            "  accDescr: {}",
            Title(&format!("{}, {}{incomplete}", snapshot.captured_at, describe.counts()))
        );
        Self {
            folding,
            describe,
            detail,
            always,
            text,
            counted: (0, 0),
            boxes: 0,
            edges: 0,
            line: Line::default(),
            classes: HashSet::new(),
        }
    }

    /// One box that says how many there are.
    fn counts_alone(folding: &'f Folding<'a>) -> Self {
        let mut chart = Self::empty(folding, Detail { members: false, depth: 0, apart: false });
        let counts = chart.describe.counts();
        chart.boxed(None, "unknown", &[counts, "too many to draw".to_owned()]);
        chart.finish();
        chart
    }

    fn fits(&mut self) -> bool {
        let (characters, bytes) = self.counted;
        let new = self.text.get(bytes..).unwrap_or_default().chars().count();
        self.counted = (characters + new, self.text.len());
        self.edges <= EDGES && characters + new <= CHARACTERS
    }

    /// Namespaces with one parent, and all below them. `None` as soon as it
    /// is too much, so that no more than that is ever made.
    fn siblings(
        &mut self,
        siblings: &[Siblings<'a>],
        parent: Option<usize>,
        level: usize,
        in_each: bool,
    ) -> Option<()> {
        let mut live_left_out = 0;
        let mut together: Vec<&'a Namespace> = Vec::new();
        for it in siblings {
            let namespace = it.first()?;
            let always = self.always.contains(&namespace.id);
            if level > self.detail.depth && !always {
                live_left_out += match it {
                    Siblings::One(_) => 1,
                    Siblings::Alike(namespaces) => namespaces.len(),
                };
                continue;
            }
            let below = self.folding.children(namespace);
            let is_live = namespace.state == NamespaceState::Live;
            if !is_live && !self.detail.apart && below.is_empty() {
                together.push(namespace);
                continue;
            }
            let number = self.namespaces(it, parent, in_each)?;
            let in_each = in_each || matches!(it, Siblings::Alike(_));
            self.siblings(&below, Some(number), level + 1, in_each)?;
        }
        if live_left_out > 0 {
            let of = Of(
                live_left_out,
                "more namespace, and all below it",
                "more namespaces, and all below them",
            );
            self.boxed(parent, "live", &[format!("{of}: left out")]);
        }
        if let Some(first) = together.first() {
            let mut lines = vec![format!("{} {}", Count(together.len()), first.state.name())];
            if together.iter().any(|it| it.state != first.state) {
                lines = vec![format!("{} dead, nascent or unknown", Count(together.len()))];
            }
            lines.extend(together.iter().take(LISTED).map(|it| it.id.to_string()));
            if let Some(more @ 1..) = together.len().checked_sub(LISTED) {
                lines.push(format!("and {} more", Count(more)));
            }
            self.boxed(parent, first.state.name(), &lines);
        }
        self.fits().then_some(())
    }

    /// The box of a namespace, or of many alike.
    fn namespaces(
        &mut self,
        siblings: &Siblings<'a>,
        parent: Option<usize>,
        in_each: bool,
    ) -> Option<usize> {
        let namespace = siblings.first()?;
        let of_each = in_each || matches!(siblings, Siblings::Alike(_));
        let mut lines = Vec::new();
        self.line.clear();
        self.describe.heading(siblings, in_each, &mut self.line);
        broken(&self.line, &mut lines);
        if !of_each {
            let holders = self.describe.kept_by(namespace);
            for holder in holders.iter().take(LINES / 2) {
                self.line.clear();
                holder.describe(&mut self.line);
                broken(&self.line, &mut lines);
            }
            if let Some(more @ 1..) = holders.len().checked_sub(LINES / 2) {
                lines.push(format!("kept by {} more", Count(more)));
            }
        }
        // The last one says how many there are beside them.
        lines.truncate(LINES - 1);
        let rows = self.folding.members(namespace);
        if self.detail.members {
            self.members(&rows, of_each, &mut lines);
        } else if !rows.is_empty() {
            lines.push("members left out".to_owned());
        }
        let class = namespace.state.name();
        let number = self.boxed(parent, class, &lines);
        if namespace.evidence == Evidence::Inferred {
            let _ = writeln!(self.text, "  class n{number} inferred");
            self.classes.insert("inferred");
        }
        self.fits().then_some(number)
    }

    fn members(&mut self, rows: &[Row<'a>], of_each: bool, lines: &mut Vec<String>) {
        let mut left: usize = rows.iter().map(|row| row.processes().len()).sum();
        for row in rows {
            self.line.clear();
            self.describe.row(row, of_each, &mut self.line);
            let before = lines.len();
            broken(&self.line, lines);
            let is_last = left == row.processes().len();
            // Another line is needed to say what is left out.
            if lines.len() > LINES || (lines.len() == LINES && !is_last) {
                lines.truncate(before.min(LINES - 1));
                lines.push(format!("{} more", Count(left)));
                return;
            }
            left -= row.processes().len();
        }
    }

    fn unplaced(&mut self) -> Option<()> {
        let rows = self.folding.unplaced();
        let count: usize = rows.iter().map(|row| row.processes().len()).sum();
        if count == 0 {
            return Some(());
        }
        let of = Of(
            count,
            "process whose namespace is ambiguous",
            "processes whose namespaces are ambiguous",
        );
        let mut lines = vec![format!("unknown: {of}")];
        if self.detail.members {
            self.members(&rows, false, &mut lines);
        }
        let number = self.boxed(None, "unknown", &lines);
        let _ = writeln!(self.text, "  class n{number} inferred");
        self.classes.insert("inferred");
        if number > 0 {
            // It stands with what is below the first box, out of the way of
            // the edges that lead there.
            let _ = writeln!(self.text, "  n0 ~~~ n{number}");
            self.edges += 1;
        }
        self.fits().then_some(())
    }

    /// One box, and the edge to it; its number.
    fn boxed(&mut self, parent: Option<usize>, class: &'static str, lines: &[String]) -> usize {
        let number = self.boxes;
        self.boxes += 1;
        let _ = write!(self.text, "  n{number}[\"");
        for (index, line) in lines.iter().enumerate() {
            let separator = if index == 0 { "" } else { "<br/>" };
            let _ = write!(self.text, "{separator}{}", Label(line));
        }
        let _ = writeln!(self.text, "\"]:::{class}");
        self.classes.insert(class);
        if let Some(parent) = parent {
            let _ = writeln!(self.text, "  n{parent} --> n{number}");
            self.edges += 1;
        }
        number
    }

    fn finish(&mut self) {
        for (class, look) in CLASSES.iter().filter(|(class, _)| self.classes.contains(class)) {
            let _ = writeln!(self.text, "  classDef {class} {look},text-align:left");
        }
    }
}

/// From left to right, as there are mostly more siblings than levels; from top
/// to bottom where a deep chain would be drawn too small to read, as charts are
/// made to fit the width of the page.
fn direction(graph: &PidGraph) -> &'static str {
    let mut counts: Vec<usize> = Vec::new();
    for (_, level) in graph.tree() {
        counts.resize(counts.len().max(level + 1), 0);
        if let Some(count) = counts.get_mut(level) {
            *count += 1;
        }
    }
    let widest = counts.iter().copied().max().unwrap_or(0);
    if counts.len() > MOST_BESIDE && counts.len() > widest { "TB" } else { "LR" }
}

/// A line as lines of a box, unescaped: what must stay together is clipped.
pub fn broken(line: &Line, lines: &mut Vec<String>) {
    let mut now = String::new();
    let mut column = 0;
    let mut parts = line.parts().peekable();
    while let Some(part) = parts.next() {
        let mut text: String = part.text.chars().take(PART).collect();
        if text.len() < part.text.len() {
            text.push('…');
        }
        let wide = text.chars().count();
        let after = parts.peek().map_or(0, |next| next.separator.trim_end().len());
        if column > 0 && column + part.separator.len() + wide + after > LINE {
            now.push_str(part.separator.trim_end());
            lines.push(std::mem::take(&mut now));
            column = 0;
        } else if column > 0 {
            now.push_str(part.separator);
            column += part.separator.len();
        }
        now.push_str(&text);
        column += wide;
    }
    lines.push(now);
}

/// Text that is harmless, and in it anything that Mermaid might read as more
/// than text as the number of its character.
pub struct Title<'a>(pub(super) &'a str);

impl fmt::Display for Title<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Distinct(self.0).to_string().chars().try_for_each(|character| encode(character, f))
    }
}

fn encode(character: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if character.is_alphanumeric() || " .,:/@=+()→…×".contains(character) {
        f.write_char(character)
    } else {
        write!(f, "#{};", u32::from(character))
    }
}

/// The same in a box. Mermaid decodes the numbers before it looks for line
/// breaks (`\n`), formulas (`$$x$$`) and icons (`fa:fa-bell`), so that these
/// are taken apart by an element that shows nothing.
pub struct Label<'a>(pub(super) &'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Distinct(self.0).to_string();
        let blanks = text.len() - text.trim_end_matches(' ').len();
        let last = text.len() - blanks;
        for character in text.get(..last).unwrap_or_default().chars() {
            encode(character, f)?;
            if ['\\', '$', '-'].contains(&character) {
                f.write_str("<wbr/>")?;
            }
        }
        // Blanks at the end are trimmed where they stand for themselves.
        (0..blanks).try_for_each(|_| write!(f, "#{};", u32::from(' ')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Snapshot;
    use crate::testing::{farm, namespace, process, snapshot};

    fn chart(snapshot: Snapshot) -> String {
        let mut out = Vec::new();
        Mermaid.emit(&PidGraph::new(snapshot), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn boxes_have_the_lines_of_the_text() {
        expect_test::expect![[r#"
            %%{init: {"flowchart": {"wrappingWidth": 450}}}%%
            flowchart LR
              accTitle: PID namespaces of ci#45;7
              accDescr: 2026#45;11#45;23T14:28:00.123456Z, 3 PID namespaces, 1 dead#59; 5 processes, incomplete
              n0["pid:#91;4026531836#93;<br/>2 processes and 1 kernel thread<br/>1 systemd<br/>4 containerd#45;<wbr/>shim<br/>2 #91;kthreadd#93;"]:::live
              n1["pid:#91;4026532179#93;  farm, docker 3f2a1b9c04de,<br/>2 processes<br/>6 → 1 farm<br/>7 → 2 sleep"]:::live
              n0 --> n1
              n2["pid:#91;4026532180#93;  DEAD: its init has exited<br/>kept by 4 containerd#45;<wbr/>shim: open fd 9"]:::dead
              n1 --> n2
              classDef live fill:#d6e6f5,stroke:#4a6785,color:#000,text-align:left
              classDef dead fill:#f6c9c6,stroke:#b3261e,stroke-width:4px,color:#000,text-align:left
        "#]].assert_eq(&chart(farm()));
    }

    #[test]
    fn processes_without_a_place_stand_below_the_first_box_without_an_edge() {
        let mut snapshot = farm();
        snapshot.processes[4].namespace = None;
        let chart = chart(snapshot);
        assert!(
            chart.contains("  n3[\"unknown: 1 process whose namespace is ambiguous<br/>"),
            "{chart}"
        );
        assert!(chart.contains("  n0 ~~~ n3\n") && !chart.contains("--> n3"), "{chart}");
    }

    #[test]
    fn anything_but_plain_text_is_a_number() {
        let label = Label("a\n<b>\"#x;`[]{}|$$fa:fa-x\u{202e} ").to_string();
        let plain = |c: char| c.is_alphanumeric() || " :#;".contains(c);
        assert!(label.replace("<wbr/>", "").chars().all(plain), "{label}");
        assert!(label.starts_with("a#92;<wbr/>n#60;b#62;#34;#35;x#59;#96;"), "{label}");
        assert!(label.ends_with("#32;"), "{label}");
    }

    /// A host with so many namespaces below it, no two alike; the last are dead.
    fn many(count: u64, dead: u64) -> Snapshot {
        let mut namespaces = vec![namespace(10, None)];
        let mut processes = vec![process(&[1], Some(10))];
        for (raw, inode) in (100..).zip(11..11 + count) {
            namespaces.push(namespace(inode, Some(10)));
            let mut init = process(&[raw, 1], Some(inode));
            init.comm = format!("job-{raw}").into();
            processes.push(init);
        }
        let first_dead = namespaces.len() - usize::try_from(dead).unwrap();
        for namespace in &mut namespaces[first_dead..] {
            namespace.state = NamespaceState::Dead;
        }
        snapshot(namespaces, processes)
    }

    #[test]
    fn members_are_left_out_first_and_then_depth_and_a_box_says_so() {
        let all = chart(many(100, 0));
        assert!(all.contains("199 → 1 job#45;<wbr/>199\"]"), "{all}");
        assert!(!all.contains("left out"));
        let without_members = chart(many(440, 0));
        assert_eq!(without_members.matches("members left out").count(), 441);
        let flat = chart(many(460, 0));
        assert!(flat.contains("460 more namespaces, and all below them: left out"), "{flat}");
        assert_eq!(flat.matches(" --> ").count(), 1);
    }

    #[test]
    fn a_deep_chain_goes_from_top_to_bottom() {
        let chain = |levels: u64| {
            let mut namespaces = vec![namespace(10, None)];
            namespaces.extend((11..10 + levels).map(|inode| namespace(inode, Some(inode - 1))));
            chart(snapshot(namespaces, Vec::new()))
        };
        assert!(chain(6).contains("\nflowchart LR\n"));
        assert!(chain(7).contains("\nflowchart TB\n"));
        assert!(chart(many(40, 0)).contains("\nflowchart LR\n"));
    }

    #[test]
    fn the_dead_are_never_left_out() {
        let some = chart(many(2000, 20));
        assert_eq!(some.matches("DEAD:").count(), 20);
        assert!(some.contains("1,980 more namespaces"), "{some}");
        let too_many = chart(many(2000, 1000));
        assert!(too_many.contains("1,000 dead<br/>pid:#91;1011#93;<br/>"), "{too_many}");
        assert!(too_many.contains("and 992 more"), "{too_many}");
        assert!(too_many.chars().count() <= CHARACTERS);
    }
}
