//! Draws a comparison as a Mermaid chart that shows only the changed branches.

use std::io::{self, Write};

use super::{Chart, EDGES, add_rows, wrap};
use crate::emit::overlay::{Overlay, OverlayNode};
use crate::query::{Diff, Happened};
use crate::wording::change::{mark, summary};
use crate::wording::line::Line;
use crate::wording::phrase::{Counted, Symbols, more_processes};

/// The box style for each kind of change.
const STYLES: [(&str, &str); 5] = [
    ("same", "fill:#eee,stroke:#777,color:#000"),
    ("came", "fill:#d3ecd3,stroke:#2e7d32,stroke-width:3px,color:#000"),
    ("went", "fill:#f6c9c6,stroke:#b3261e,stroke-dasharray:6 4,color:#000"),
    ("hidden", "fill:#e6d9f0,stroke:#6b4c86,stroke-width:2px,color:#000"),
    ("changed", "fill:#f7e8b2,stroke:#8a6d00,stroke-width:2px,color:#000"),
];

/// Writes the most detailed chart within GitHub's limits.
pub fn write(diff: &Diff, out: &mut dyn Write) -> io::Result<()> {
    let overlay = Overlay::new(diff, Symbols::UNICODE, true);
    let mut chart = draw(&overlay, true, EDGES);
    let mut most = EDGES;
    while !chart.fits() && most > 0 {
        // Leave out the processes first, and namespaces if the chart is still too large.
        chart = draw(&overlay, false, most);
        most /= 2;
    }
    out.write_all(chart.finish(&STYLES).as_bytes())
}

/// Draws a chart with boxes for at most `most` namespaces.
fn draw(overlay: &Overlay<'_>, members: bool, most: usize) -> Chart {
    let about = summary(overlay.diff);
    let mut chart = Chart::new("LR", "Changes of PID namespaces", &about);
    let mut left_out = 0;
    let roots = overlay.children(None).into_iter().rev();
    let mut todo: Vec<_> = roots.map(|node| (node, None)).collect();
    while let Some((node, parent)) = todo.pop() {
        // The parent has a box, because parents are visited before their children.
        let number = if chart.boxes < most {
            Some(add_namespace(&mut chart, overlay, Some(node), members, parent))
        } else {
            left_out += 1;
            None
        };
        let children = overlay.children(Some(node)).into_iter().rev();
        todo.extend(children.map(|child| (child, number)));
    }
    // Draw one box for all processes whose namespace is unknown.
    if !overlay.rows(None).is_empty() {
        add_namespace(&mut chart, overlay, None, members, None);
    }
    if left_out > 0 {
        let left_out = Counted(left_out, "more namespace", "more namespaces");
        chart.add("same", &[format!("{left_out}: left out")], None);
    }
    if chart.boxes == 0 {
        chart.add("same", &[about], None);
    }
    chart
}

/// Adds the box for a namespace, and returns the number of the box.
fn add_namespace(
    chart: &mut Chart,
    overlay: &Overlay<'_>,
    node: Option<OverlayNode>,
    members: bool,
    parent: Option<usize>,
) -> usize {
    let happened = overlay.happened(node);
    let mut lines = Vec::new();
    wrap(&marked(happened, |line| overlay.heading(node, line)), &mut lines);
    let rows = overlay.rows(node);
    if members {
        let rows = rows.iter().map(|row| {
            let line = marked(row.happened, |line| row.describe(None, Symbols::UNICODE, line));
            (line, row.processes.len())
        });
        add_rows(rows.collect(), &mut lines);
    } else if !rows.is_empty() {
        let count = rows.iter().map(|row| row.processes.len()).sum();
        lines.push(more_processes(count).to_string());
    }
    let class = match happened {
        None => "same",
        Some(Happened::Came) => "came",
        Some(Happened::Went) => "went",
        Some(Happened::Hidden) => "hidden",
        Some(Happened::Changed) => "changed",
    };
    chart.add(class, &lines, parent)
}

/// Returns the line that `describe` writes, prefixed with the mark for the change.
fn marked(happened: Option<Happened>, describe: impl FnOnce(&mut Line)) -> Line {
    let mut line = Line::default();
    if let Some(happened) = happened {
        line.plain("", format_args!("{} ", mark(happened)));
    }
    describe(&mut line);
    line
}

#[cfg(test)]
mod tests {
    use super::super::CHARACTERS;
    use super::*;
    use crate::graph::PidGraph;
    use crate::model::{NamespaceState, Snapshot};
    use crate::testing::{farm, namespace, process, snapshot};

    fn picture(before: Snapshot, after: Snapshot) -> String {
        let diff = Diff::new(PidGraph::new(before), PidGraph::new(after)).unwrap();
        let mut out = Vec::new();
        write(&diff, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn boxes_have_the_same_marks_as_the_text_tree() {
        let mut later = farm();
        later.namespaces[1].state = NamespaceState::Dead;
        later.processes.truncate(3);
        later.processes.push(process(&[30], Some(4_026_531_836)));
        later.processes[3].comm = "a\n``` --> x".into();
        expect_test::expect![[r##"
            %%{init: {"flowchart": {"wrappingWidth": 450}}}%%
            flowchart LR
              accTitle: Changes of PID namespaces
              accDescr: Processes: 1 came, 2 went. PID namespace: 1 changed.
              n0["pid:#91;4026531836#93;<br/>+ 30 a#92;<wbr/>n#96;#96;#96; #45;<wbr/>#45;<wbr/>#62; x"]:::same
              n1["#126; pid:#91;4026532179#93;<br/>DEAD: its init has exited#59;<br/>docker 3f2a1b9c04de#59;<br/>kept by its child namespaces#59; was live<br/>#45;<wbr/> 6 → 1 farm  init<br/>#45;<wbr/> 7 → 2 sleep"]:::changed
              n0 --> n1
              classDef same fill:#eee,stroke:#777,color:#000,text-align:left
              classDef changed fill:#f7e8b2,stroke:#8a6d00,stroke-width:2px,color:#000,text-align:left
        "##]].assert_eq(&picture(farm(), later));
        assert!(picture(farm(), farm()).contains("n0[\"No difference: 5 processes and"));
    }

    /// Returns a host with the given numbers of child namespaces and processes.
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
    fn leaves_out_processes_then_boxes_and_says_so() {
        let few = picture(host(0, 0), host(0, 40));
        assert!(
            few.contains(
                "<br/>+ 109 job#59;#35;#59;#35;#59;#35;#59;109<br/>30 more processes\"]:::same"
            ),
            "{few}"
        );
        let many = picture(host(0, 0), host(2000, 2000));
        assert!(many.chars().count() <= CHARACTERS);
        assert_eq!(many.matches(" --> ").count(), 449);
        assert!(many.contains("1,551 more namespaces: left out"), "{many}");
        assert!(!many.contains("job") && many.contains("live<br/>1 more process"), "{many}");
    }
}
