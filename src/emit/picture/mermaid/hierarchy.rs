//! Draws the PID namespace hierarchy as a Mermaid chart.

use std::collections::HashSet;
use std::io::{self, Write};

use super::{Chart, LINES, add_list, add_rows, wrap};
use crate::graph::PidGraph;
use crate::model::{Evidence, Namespace, NamespaceId, NamespaceState};
use crate::query::fold::{Folding, MemberRow, Siblings};
use crate::wording::line::{LISTED, Line};
use crate::wording::namespace::Describe;
use crate::wording::phrase::{Count, Counted, Symbols, unplaced};

/// A chart with at most this many levels is always drawn from left to right.
const MOST_BESIDE: usize = 6;

/// The box style for each state, and for inferred namespaces.
const STYLES: [(&str, &str); 5] = [
    ("live", "fill:#d6e6f5,stroke:#4a6785,color:#000"),
    ("dead", "fill:#f6c9c6,stroke:#b3261e,stroke-width:4px,color:#000"),
    ("nascent", "fill:#f7e8b2,stroke:#8a6d00,stroke-width:2px,color:#000"),
    ("unknown", "fill:#e6d9f0,stroke:#6b4c86,stroke-width:2px,color:#000"),
    (INFERRED, "stroke-dasharray:6 4"),
];
const INFERRED: &str = "inferred";

/// Writes the most detailed chart that is within GitHub's limits.
pub fn write(graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
    let folding = Folding::new(graph, true);
    let deepest = graph.tree().iter().map(|(_, level)| *level).max().unwrap_or(0);
    let draw = |detail| HierarchyChart::draw(&folding, detail);
    let whole = draw(Detail { members: true, depth: deepest, apart: true });
    let chart = whole.or_else(|| {
        let depths = || (0..=deepest).rev();
        // Leave out all members, and the deepest live namespaces if necessary.
        let less = |apart| depths().find_map(|depth| draw(Detail { members: false, depth, apart }));
        // If the chart is still too large, combine siblings that are not live.
        less(true).or_else(|| less(false))
    });
    let text = chart.unwrap_or_else(|| HierarchyChart::counts_only(&folding));
    out.write_all(text.as_bytes())
}

/// The amount of detail that a chart shows.
#[derive(Clone, Copy)]
struct Detail {
    /// `true` if the boxes show the members of their namespaces.
    members: bool,
    /// Live namespaces below this level are left out.
    depth: usize,
    /// `true` if all namespaces that are not live have separate boxes.
    apart: bool,
}

struct HierarchyChart<'a, 'f> {
    folding: &'f Folding<'a>,
    describe: Describe<'a>,
    detail: Detail,
    /// Namespaces that are shown regardless of the depth limit: those that are not live, and their
    /// ancestors.
    always: HashSet<NamespaceId>,
    chart: Chart,
    line: Line,
}

impl<'a, 'f> HierarchyChart<'a, 'f> {
    /// Draws a chart, or returns `None` if the chart is too large.
    fn draw(folding: &'f Folding<'a>, detail: Detail) -> Option<String> {
        let mut hierarchy = Self::new(folding, detail);
        hierarchy.siblings(&folding.tops(), None, 0, false)?;
        hierarchy.unplaced();
        hierarchy.chart.fits().then(|| hierarchy.chart.finish(&STYLES))
    }

    /// Draws a single box with the number of namespaces and processes.
    fn counts_only(folding: &'f Folding<'a>) -> String {
        let detail = Detail { members: false, depth: 0, apart: false };
        let mut hierarchy = Self::new(folding, detail);
        let lines = [hierarchy.describe.counts(), "too many to draw".to_owned()];
        hierarchy.chart.add("unknown", &lines, None);
        hierarchy.chart.finish(&STYLES)
    }

    fn new(folding: &'f Folding<'a>, detail: Detail) -> Self {
        let graph = folding.graph();
        let mut always = HashSet::new();
        for namespace in &graph.snapshot().namespaces {
            let mut next = Some(namespace).filter(|it| it.state != NamespaceState::Live);
            while let Some(namespace) = next.filter(|namespace| always.insert(namespace.id)) {
                next = graph.parent(namespace);
            }
        }
        let describe = Describe::new(folding, Symbols::UNICODE);
        let snapshot = graph.snapshot();
        let title = match &snapshot.host.hostname {
            Some(hostname) => format!("PID namespaces of {hostname}"),
            None => "PID namespaces".to_owned(),
        };
        let incomplete = if snapshot.complete { "" } else { ", incomplete" };
        let description = format!("{}, {}{incomplete}", snapshot.captured_at, describe.counts());
        let chart = Chart::new(direction(graph), &title, &description);
        Self { folding, describe, detail, always, chart, line: Line::default() }
    }

    /// Adds boxes for siblings and their descendants, or returns `None` if the chart is too large.
    fn siblings(
        &mut self,
        siblings: &[Siblings<'a>],
        parent: Option<usize>,
        level: usize,
        in_each: bool,
    ) -> Option<()> {
        let mut left_out = 0;
        let mut together: Vec<&'a Namespace> = Vec::new();
        for it in siblings {
            let namespace = it.first()?;
            if level > self.detail.depth && !self.always.contains(&namespace.id) {
                left_out += it.len();
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
        if left_out > 0 {
            let counted = Counted(
                left_out,
                "more namespace, and all below it",
                "more namespaces, and all below them",
            );
            self.chart.add("live", &[format!("{counted}: left out")], parent);
        }
        self.together(&together, parent);
        self.chart.fits().then_some(())
    }

    /// Adds one box for several siblings that are not live.
    fn together(&mut self, namespaces: &[&'a Namespace], parent: Option<usize>) {
        let Some(first) = namespaces.first() else { return };
        let count = Count(namespaces.len());
        let mut lines = if namespaces.iter().all(|it| it.state == first.state) {
            vec![format!("{count} {}", first.state.name())]
        } else {
            vec![format!("{count} dead, nascent or unknown")]
        };
        lines.extend(namespaces.iter().take(LISTED).map(|it| it.id.to_string()));
        if let Some(more @ 1..) = namespaces.len().checked_sub(LISTED) {
            lines.push(format!("and {} more", Count(more)));
        }
        self.chart.add(first.state.name(), &lines, parent);
    }

    /// Adds one box for a namespace or for folded namespaces, and returns the number of the box.
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
        wrap(&self.line, &mut lines);
        if !of_each {
            let holders = self.describe.kept_by(namespace);
            let rows = holders.iter().take(LINES / 2).map(|holder| {
                let mut line = Line::default();
                holder.describe("", &mut line);
                (line, 1)
            });
            let more = |left| format!("kept by {} more", Count(left));
            // Leave one line of the box for the number of members.
            add_list(rows, holders.len(), LINES - 1, more, &mut lines);
        }
        let rows = self.folding.members(namespace);
        if self.detail.members {
            add_rows(self.rows(&rows, of_each), &mut lines);
        } else if !rows.is_empty() {
            lines.push("members left out".to_owned());
        }
        let number = self.chart.add(namespace.state.name(), &lines, parent);
        if namespace.evidence == Evidence::Inferred {
            self.chart.add_class(number, INFERRED);
        }
        self.chart.fits().then_some(number)
    }

    fn rows(&self, rows: &[MemberRow<'a>], of_each: bool) -> Vec<(Line, usize)> {
        let row = |row: &MemberRow<'a>| {
            let mut line = Line::default();
            self.describe.row(row, of_each, &mut line);
            (line, row.processes().len())
        };
        rows.iter().map(row).collect()
    }

    fn unplaced(&mut self) {
        let rows = self.folding.unplaced();
        let count: usize = rows.iter().map(|row| row.processes().len()).sum();
        if count == 0 {
            return;
        }
        let mut lines = vec![format!("unknown: {}", unplaced(count))];
        if self.detail.members {
            add_rows(self.rows(&rows, false), &mut lines);
        }
        let number = self.chart.add("unknown", &lines, None);
        self.chart.add_class(number, INFERRED);
        if number > 0 {
            // Place this box below the first one, because an edge would cross it at any other
            // position.
            self.chart.place_below(number, 0);
        }
    }
}

/// Returns the direction of the chart.
fn direction(graph: &PidGraph) -> &'static str {
    let mut counts: Vec<usize> = Vec::new();
    for (_, level) in graph.tree() {
        counts.resize(counts.len().max(level + 1), 0);
        if let Some(count) = counts.get_mut(level) {
            *count += 1;
        }
    }
    let widest = counts.iter().copied().max().unwrap_or(0);
    // A web page would shrink a deep chart that runs from left to right.
    if counts.len() > MOST_BESIDE && counts.len() > widest { "TB" } else { "LR" }
}

#[cfg(test)]
mod tests {
    use super::super::CHARACTERS;
    use super::*;
    use crate::model::{Holder, Snapshot};
    use crate::testing::{farm, namespace, process, snapshot};

    fn chart(snapshot: Snapshot) -> String {
        let mut out = Vec::new();
        write(&PidGraph::new(snapshot), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn boxes_have_the_same_lines_as_the_text_tree() {
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
    fn ambiguous_processes_have_a_box_without_an_edge() {
        let mut snapshot = farm();
        snapshot.processes[4].namespace = None;
        let chart = chart(snapshot);
        assert!(
            chart.contains("  n3[\"unknown: 1 process whose namespace is ambiguous<br/>"),
            "{chart}"
        );
        assert!(chart.contains("  n0 ~~~ n3\n") && !chart.contains("--> n3"), "{chart}");
    }

    /// Returns a host with `count` dissimilar child namespaces. The last `dead` child namespaces
    /// are dead.
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
    fn leaves_out_members_first_then_deep_namespaces_and_says_so() {
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
    fn counts_the_holders_that_do_not_fit() {
        let held = |holders: u32, path: &str| {
            let mut snapshot = farm();
            let mount = |number| Holder::Mount {
                path: format!("/run/{number}{path}"),
                mount_namespace: 4_026_531_832,
            };
            snapshot.namespaces[2].holders = (1..=holders).map(mount).collect();
            chart(snapshot)
        };
        let lines = |chart: &str| {
            let found = chart.lines().find(|line| line.contains("DEAD")).unwrap().to_owned();
            found.replace("<wbr/>", "").split("<br/>").map(str::to_owned).collect::<Vec<_>>()
        };
        let short = lines(&held(6, ""));
        assert_eq!(short.len(), 7, "{short:?}");
        assert!(short[6].starts_with("kept by mount /run/6 (in mnt"), "{short:?}");
        let more = lines(&held(9, ""));
        assert_eq!((more.len(), more[7].as_str()), (8, "kept by 3 more\"]:::dead"));
        // Each holder takes two lines of the box.
        let wrapped = lines(&held(6, "/a/long/path/to/a/bind/mount"));
        assert!(wrapped[8].starts_with("(in mnt"), "{wrapped:?}");
        assert_eq!((wrapped.len(), wrapped[9].as_str()), (10, "kept by 2 more\"]:::dead"));
    }

    #[test]
    fn draws_a_deep_chain_from_top_to_bottom() {
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
    fn never_leaves_out_dead_namespaces() {
        let some = chart(many(2000, 20));
        assert_eq!(some.matches("DEAD:").count(), 20);
        assert!(some.contains("1,980 more namespaces"), "{some}");
        let too_many = chart(many(2000, 1000));
        assert!(too_many.contains("1,000 dead<br/>pid:#91;1011#93;<br/>"), "{too_many}");
        assert!(too_many.contains("and 992 more"), "{too_many}");
        assert!(too_many.chars().count() <= CHARACTERS);
    }
}
