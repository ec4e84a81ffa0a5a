//! Writes the report of `pidns run` as a tree of leftover processes and namespaces.

use std::io::{self, Write};

use super::tree::{Branch, Place, TreeDrawer, TreeLine, draw};
use crate::emit::Style;
use crate::model::{Namespace, Process};
use crate::query::{Leftovers, RunReport};
use crate::wording::line::Line;
use crate::wording::namespace::namespace_line;
use crate::wording::report::{ReportRow, fold};
use crate::wording::run::{UNSEEN, killed_text, run_age, run_facts, run_heading};
use crate::wording::subject::command;
use crate::wording::unmount::add_umounts;

/// Writes the report of `pidns run`.
pub fn write(report: &RunReport, style: Style, out: &mut dyn Write) -> io::Result<()> {
    sentence(&format!("pidns: {}", run_heading(report)), style, out)?;
    let Some(leftovers) = &report.leftovers else { return Ok(()) };
    let mut tree = RunTree { report, leftovers, style, lines: Vec::new() };
    // Skip a namespace whose init is a leftover, because the line of the init already shows the
    // namespace.
    let namespaces: Vec<_> = leftovers.made().filter(|it| !has_init(leftovers, it)).collect();
    let others = namespaces.len() + usize::from(leftovers.unseen);
    tree.processes(&leftovers.roots(), others);
    for (index, namespace) in namespaces.iter().enumerate() {
        let mut line = Line::default();
        namespace_line(&leftovers.graph, namespace, &mut line);
        add_umounts(namespace, &report.live, &mut line);
        tree.push(0, Branch::before(others - index - 1), false, line);
    }
    if leftovers.unseen {
        let mut line = Line::default();
        line.words("", UNSEEN);
        tree.push(0, Branch::Last, false, line);
    }
    draw(&tree.lines, style, out)?;
    let violations = report.violations();
    if !violations.is_empty() {
        let codes: Vec<_> = violations.iter().map(|code| code.name()).collect();
        sentence(&format!("pidns: denied: {}", codes.join(", ")), style, out)?;
    }
    match &report.killed {
        Some(killed) => {
            let text = killed_text(killed, Some(&leftovers.graph));
            sentence(&format!("pidns: {text}"), style, out)
        }
        None => Ok(()),
    }
}

fn sentence(text: &str, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut line = Line::default();
    line.words("", text);
    TreeDrawer::new(style, 0, out).sentence(&line)
}

/// Returns `true` if the init of the namespace is a leftover.
fn has_init(leftovers: &Leftovers, namespace: &Namespace) -> bool {
    namespace.init.is_some_and(|init| leftovers.graph.process(init).is_some())
}

struct RunTree<'a> {
    report: &'a RunReport,
    leftovers: &'a Leftovers,
    style: Style,
    lines: Vec<TreeLine>,
}

impl<'a> RunTree<'a> {
    fn push(&mut self, level: usize, branch: Branch, has_children: bool, line: Line) {
        let place = Place { level, branch };
        self.lines.push(TreeLine { place, has_children, mark: None, line });
    }

    /// Adds the lines of sibling processes and their descendants. `more` is the number of other
    /// lines that follow at the same level.
    fn processes(&mut self, roots: &[&'a Process], more: usize) {
        // Recursion over deeply nested processes could overflow the stack.
        let mut todo = self.rows(roots, 0, more);
        while let Some((row, place)) = todo.pop() {
            let mut line = Line::default();
            let age = run_age(self.report, &row.processes);
            row.describe(age.as_deref(), self.style.symbols(), &mut line);
            self.push(place.level, place.branch, !row.is_leaf, line);
            if let [process] = row.processes.as_slice() {
                let children = self.leftovers.graph.child_processes(process);
                todo.extend(self.rows(&children, place.level_below(), 0));
            }
        }
    }

    /// Returns the rows of siblings in reverse order, so that the first row is popped first.
    fn rows(
        &self,
        siblings: &[&'a Process],
        level: usize,
        more: usize,
    ) -> Vec<(ReportRow<'a>, Place)> {
        let rows = siblings.iter().map(|&process| ReportRow {
            happened: None,
            processes: vec![process],
            command: command(process, self.style.ascii),
            facts: run_facts(self.leftovers, process),
            is_leaf: self.leftovers.graph.child_processes(process).is_empty(),
        });
        let rows = fold(rows.collect()).into_iter().rev().enumerate();
        rows.map(|(after, row)| (row, Place { level, branch: Branch::before(after + more) }))
            .collect()
    }
}
