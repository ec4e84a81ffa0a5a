//! Writes a comparison as a tree that contains only the changed branches, with a mark on each
//! change.

use std::io::{self, Write};

use super::tree::{Branch, Mark, Place, TreeDrawer, TreeLine, draw};
use crate::emit::Style;
use crate::emit::overlay::{Overlay, OverlayNode};
use crate::query::{Diff, Happened};
use crate::wording::change::summary;
use crate::wording::line::Line;

/// Writes a comparison.
pub fn write(diff: &Diff, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let overlay = Overlay::new(diff, style.symbols(), !style.unfolded);
    let mut tree = DiffTree { overlay: &overlay, style, lines: Vec::new() };
    for root in overlay.children(None) {
        tree.namespace(Some(root), Place::ROOT);
    }
    if !overlay.rows(None).is_empty() {
        tree.heading(None, Place::ROOT, true);
        tree.rows(None, 0, 0);
    }
    draw(&tree.lines, style, out)?;
    if !tree.lines.is_empty() {
        writeln!(out)?;
    }
    sentence(&summary(diff), style, out)
}

fn sentence(text: &str, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut line = Line::default();
    line.words("", text);
    TreeDrawer::new(style, 0, out).sentence(&line)
}

struct DiffTree<'a, 'd> {
    overlay: &'a Overlay<'d>,
    style: Style,
    lines: Vec<TreeLine>,
}

impl DiffTree<'_, '_> {
    /// Adds the lines for a namespace, its changed processes, and its visible child namespaces.
    fn namespace(&mut self, node: Option<OverlayNode>, place: Place) {
        let children = self.overlay.children(node);
        let has_rows = !self.overlay.rows(node).is_empty();
        self.heading(node, place, has_rows || !children.is_empty());
        let level = place.level_below();
        self.rows(node, level, children.len());
        for (index, &child) in children.iter().enumerate() {
            let branch = Branch::before(children.len() - index - 1);
            self.namespace(Some(child), Place { level, branch });
        }
    }

    fn heading(&mut self, node: Option<OverlayNode>, place: Place, has_children: bool) {
        let mut line = Line::default();
        self.overlay.heading(node, &mut line);
        let mark = Some(self.mark(self.overlay.happened(node)));
        self.lines.push(TreeLine { place, has_children, mark, line });
    }

    /// Adds the lines for changed processes. `more` is the number of child namespaces whose lines
    /// follow.
    fn rows(&mut self, node: Option<OverlayNode>, level: usize, more: usize) {
        let rows = self.overlay.rows(node);
        for (index, row) in rows.iter().enumerate() {
            let mut line = Line::default();
            row.describe(None, self.style.symbols(), &mut line);
            let branch = Branch::before(rows.len() - index - 1 + more);
            let mark = Some(self.mark(row.happened));
            let place = Place { level, branch };
            self.lines.push(TreeLine { place, has_children: false, mark, line });
        }
    }

    fn mark(&self, happened: Option<Happened>) -> Mark {
        Mark::of_change(happened, self.style)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::graph::PidGraph;
    use crate::model::{NamespaceId, NamespaceState, Pid, Snapshot};
    use crate::testing::{farm, process};

    fn check(before: Snapshot, after: Snapshot, style: Style, expected: &Expect) {
        let diff = Diff::new(PidGraph::new(before), PidGraph::new(after)).unwrap();
        let mut out = Vec::new();
        write(&diff, style, &mut out).unwrap();
        expected.assert_eq(&String::from_utf8(out).unwrap());
    }

    /// Returns a copy of `farm()` in which one container has ended and another has started.
    fn later() -> Snapshot {
        let mut later = farm();
        let (shim, init) = (2, 3);
        later.processes[shim].state = 'T';
        later.processes[shim].ppid = None;
        later.processes.remove(init + 1);
        later.processes.remove(init);
        later.namespaces[1].state = NamespaceState::Dead;
        later.namespaces[1].init = None;
        later.namespaces[1].container = None;
        let mut new = later.namespaces[1].clone();
        new.id = NamespaceId::Inode(4_026_532_199);
        new.ns_id = Some(77);
        new.state = NamespaceState::Live;
        new.init = Pid::new(20);
        later.namespaces.push(new);
        later.processes.push(process(&[20, 1], Some(4_026_532_199)));
        for raw in 21..=25 {
            later.processes.push(process(&[raw, raw - 10], Some(4_026_532_199)));
        }
        later.processes.push(process(&[30, 40], Some(4_026_532_199)));
        if let Some(zombie) = later.processes.last_mut() {
            zombie.state = 'Z';
            zombie.comm = "a\nb\u{1b}[31m".into();
        }
        later
    }

    #[test]
    fn shows_only_changed_branches() {
        check(
            farm(),
            later(),
            Style::default(),
            &expect![[r#"
                  pid:[4026531836]
                ~ ├─ 4 containerd-shim  parent 1 systemd → none, running or waiting → stopped
                ~ ├─ pid:[4026532179]  DEAD: its init has exited; kept by its child namespaces; was live
                - │  ├─ 6 → 1 farm  init
                - │  └─ 7 → 2 sleep
                + └─ pid:[4026532199]  live
                +    ├─ 20 → 1 sleep  init
                +    ├─ 5 × sleep: 21, 22, 23, 24, 25
                +    └─ 30 → 40 a\nb\x1b[31m  zombie

                Processes: 7 came, 2 went, 1 changed. PID namespaces: 1 came, 1 changed.
            "#]],
        );
        check(
            later(),
            farm(),
            Style { ascii: true, ..Style::default() },
            &expect![[r#"
                  pid:[4026531836]
                ~ |- 4 containerd-shim  parent none -> 1 systemd, stopped -> running or waiting
                ~ |- pid:[4026532179]  live; docker 3f2a1b9c04de; was dead
                + |  |- 6 -> 1 farm  init
                + |  `- 7 -> 2 sleep
                - `- pid:[4026532199]  gone; was live
                -    |- 20 -> 1 sleep  init
                -    |- 5 x sleep: 21, 22, 23, 24, 25
                -    `- 30 -> 40 a\nb\x1b[31m  zombie

                Processes: 2 came, 7 went, 1 changed. PID namespaces: 1 went, 1 changed.
            "#]],
        );
    }

    #[test]
    fn reports_no_difference() {
        check(
            farm(),
            farm(),
            Style::default(),
            &expect![[r#"
            No difference: 5 processes and 3 PID namespaces in both.
        "#]],
        );
    }

    #[test]
    fn colours_do_not_change_the_text() {
        let diff = Diff::new(PidGraph::new(farm()), PidGraph::new(later())).unwrap();
        let text = |color| {
            let mut out = Vec::new();
            write(&diff, Style { color, ..Style::default() }, &mut out).unwrap();
            out
        };
        let colored = String::from_utf8(text(true)).unwrap();
        assert!(colored.contains("\u{1b}[38;5;231m\u{1b}[48;5;22m+\u{1b}[0m "), "{colored}");
        let mut plain = Vec::new();
        anstream::StripStream::new(&mut plain).write_all(colored.as_bytes()).unwrap();
        assert_eq!(plain, text(false));
    }
}
