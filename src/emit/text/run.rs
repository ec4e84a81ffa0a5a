//! What a job has left behind: a tree of processes for people, or the report
//! for programs.

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::document;
use crate::emit::data::json::Json;
use crate::emit::{Sanitized, Style};
use crate::model::{CheckCode, Ended, Killed, Namespace, NamespaceState, Process, Subject};
use crate::query::{Leftovers, RunReport};
use crate::wording::namespace::{Pids, Symbols};
use crate::wording::subject::{age_text, command, namespace_text, pids};

/// More siblings than this that say the same share a line.
const FOLD: usize = 3;

/// The formats of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportFormat {
    /// A tree for people.
    Text,
    /// With a document of what was left, which `pidns schema` describes.
    Json,
}

impl ReportFormat {
    /// Writes a report.
    ///
    /// # Errors
    /// What the writer says.
    pub fn emit(self, report: &RunReport, style: Style, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Text => text(report, style, out),
            Self::Json => {
                let json = Json { pretty: style.pretty };
                json.write(&document::RunReport::from(report), out)
            }
        }
    }
}

/// A heading, the tree, and what became of it.
fn text(report: &RunReport, style: Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "pidns: {}", Sanitized(heading(report)))?;
    let Some(leftovers) = &report.leftovers else { return Ok(()) };
    let ascii = style.ascii;
    let [inner, last, bar] =
        if ascii { ["|- ", "`- ", "|  "] } else { ["├─ ", "└─ ", "│  "] };
    let symbols = if ascii { Symbols::ASCII } else { Symbols::UNICODE };
    let mut tree = Tree { report, leftovers, ascii, inner, last, bar, symbols, lines: Vec::new() };
    let namespaces: Vec<_> = leftovers
        .made()
        .filter(|it| it.init.is_none_or(|init| leftovers.graph.process(init).is_none()))
        .collect();
    tree.processes(&leftovers.roots(), "", !namespaces.is_empty());
    for (index, namespace) in namespaces.iter().enumerate() {
        let branch = if index + 1 == namespaces.len() { last } else { inner };
        tree.lines.push((branch.to_owned(), namespace_text(&leftovers.graph, namespace)));
    }
    if leftovers.unseen {
        tree.lines.push((
            last.to_owned(),
            "processes that end, each leaving a child, before they can be read".to_owned(),
        ));
    }
    for (branch, line) in &tree.lines {
        writeln!(out, "{branch}{}", Sanitized(line))?;
    }
    let violations = report.violations();
    if !violations.is_empty() {
        let codes: Vec<_> = violations.iter().map(|code| code.name()).collect();
        writeln!(out, "pidns: denied: {}", codes.join(", "))?;
    }
    match &report.killed {
        Some(killed) => writeln!(out, "pidns: {}", killed_text(killed)),
        None => Ok(()),
    }
}

/// How the command ended, and how much it left.
fn heading(report: &RunReport) -> String {
    let name = report.command.first().map_or("the command", String::as_str);
    let mut text = match report.ended {
        Ended::Exited(status) => format!("{name} ended with status {status}"),
        Ended::Killed(signal) => format!("{name} was ended by signal {signal}"),
    };
    let findings = report.findings();
    let count = |code| {
        findings.iter().filter(|it| it.code == code && it.subject != Subject::Snapshot).count()
    };
    let mut left = Vec::new();
    for (code, one, more) in [
        (CheckCode::LeftoverProcess, "process", "processes"),
        (CheckCode::Zombie, "zombie", "zombies"),
        (CheckCode::LeftoverNamespace, "PID namespace", "PID namespaces"),
    ] {
        match count(code) {
            0 => {}
            1 => left.push(format!("1 {one}")),
            count => left.push(format!("{count} {more}")),
        }
    }
    if findings.iter().any(|finding| finding.subject == Subject::Snapshot) {
        left.push("processes that cannot be counted".to_owned());
    }
    // Writing to a String does not fail.
    let _ = match left.as_slice() {
        [] => write!(text, " and left nothing"),
        [one] => write!(text, " and left {one}"),
        [first @ .., last] => write!(text, " and left {} and {last}", first.join(", ")),
    };
    let has_processes = findings.iter().any(|it| !matches!(it.subject, Subject::Namespace(_)));
    if has_processes && !report.grace.is_zero() {
        let _ = write!(text, " after {} s", report.grace.as_secs_f64());
    }
    if !left.is_empty() {
        text.push(':');
    }
    text
}

/// What was done.
fn killed_text(killed: &Killed) -> String {
    let all = killed.sigterm.union(&killed.sigkill).count();
    let processes = if all == 1 { "process" } else { "processes" };
    let mut text = format!("killed {all} {processes}");
    if !killed.sigkill.is_empty() {
        let _ = write!(text, ", {} of them by SIGKILL", killed.sigkill.len());
    }
    if !killed.remaining.is_empty() {
        let _ = write!(text, "; still there: {}", pids(killed.remaining.iter().copied()));
    }
    text
}

struct Tree<'a> {
    report: &'a RunReport,
    leftovers: &'a Leftovers,
    ascii: bool,
    inner: &'static str,
    last: &'static str,
    bar: &'static str,
    symbols: Symbols,
    /// What is before a line, and the line.
    lines: Vec<(String, String)>,
}

impl Tree<'_> {
    /// Siblings, each with what is below it. Depth is bound by nothing, so the
    /// tree is walked by a list of what is still to be shown.
    fn processes(&mut self, roots: &[&Process], prefix: &str, more: bool) {
        let mut todo: Vec<(Row<'_>, String, bool)> = self.rows(roots, prefix, more);
        while let Some((row, prefix, is_last)) = todo.pop() {
            let branch = if is_last { self.last } else { self.inner };
            self.lines.push((format!("{prefix}{branch}"), self.row(&row)));
            if let [process] = row.processes.as_slice() {
                let children = self.leftovers.graph.child_processes(process);
                let below = format!("{prefix}{}", if is_last { "   " } else { self.bar });
                todo.extend(self.rows(&children, &below, false));
            }
        }
    }

    /// The lines of siblings, the last one first.
    fn rows<'p>(
        &self,
        siblings: &[&'p Process],
        prefix: &str,
        more: bool,
    ) -> Vec<(Row<'p>, String, bool)> {
        let mut rows: Vec<Row<'p>> = Vec::new();
        for &process in siblings {
            let said = (command(process, self.ascii), self.facts(process));
            let is_leaf = self.leftovers.graph.child_processes(process).is_empty();
            let like = |row: &&mut Row<'_>| is_leaf && row.is_leaf && row.said == said;
            match rows.iter_mut().find(like) {
                Some(row) => row.processes.push(process),
                None => rows.push(Row { said, is_leaf, processes: vec![process] }),
            }
        }
        let mut rows: Vec<_> = rows
            .into_iter()
            .flat_map(|row| if row.processes.len() > FOLD { vec![row] } else { row.split() })
            .collect();
        rows.sort_by_key(|row| row.processes.first().map(|process| process.pid));
        let count = rows.len();
        let rows = rows.into_iter().enumerate();
        let mut rows: Vec<_> = rows
            .map(|(index, row)| (row, prefix.to_owned(), !more && index + 1 == count))
            .collect();
        rows.reverse();
        rows
    }

    /// One line.
    fn row(&self, row: &Row<'_>) -> String {
        let (command, facts) = &row.said;
        let ages = row.processes.iter().filter_map(|process| self.report.age(process));
        let oldest = ages.max().map(|age| match row.processes.len() {
            1 => format!("{} old", age_text(age)),
            _ => format!("up to {} old", age_text(age)),
        });
        let mut text = match row.processes.as_slice() {
            [process] => {
                let pids = Pids { process, symbols: self.symbols, all: false };
                format!("{pids} {command}")
            }
            many => {
                let pids = pids(many.iter().map(|process| process.pid));
                let times = self.symbols.times;
                format!("{} {times} {command}: {pids}", many.len())
            }
        };
        for (index, fact) in facts.iter().chain(&oldest).enumerate() {
            text.push_str(if index == 0 { "  " } else { ", " });
            text.push_str(fact);
        }
        text
    }

    /// What is worth knowing of a process beside its age.
    fn facts(&self, process: &Process) -> Vec<String> {
        let mut facts = Vec::new();
        let graph = &self.leftovers.graph;
        match process.state {
            'Z' | 'X' => {
                let parent = process.ppid.and_then(|ppid| graph.process(ppid));
                facts.push(match parent {
                    Some(it) => format!("zombie: {} {} does not reap it", it.pid, it.comm),
                    None => "zombie".to_owned(),
                });
            }
            'T' => facts.push("stopped".to_owned()),
            't' => facts.push("stopped by a tracer".to_owned()),
            'D' => facts.push("uninterruptible".to_owned()),
            _ => {}
        }
        let init_of = |it: &&Namespace| it.init == Some(process.pid);
        if let Some(namespace) = self.leftovers.made().find(init_of) {
            facts.push(match namespace.state {
                NamespaceState::Dead => format!("init of {}, which is dead", namespace.id),
                _ => format!("init of {}", namespace.id),
            });
        }
        facts
    }
}

/// Processes that share a line, as they say the same and nothing is below them.
struct Row<'a> {
    said: (String, Vec<String>),
    is_leaf: bool,
    processes: Vec<&'a Process>,
}

impl Row<'_> {
    /// A line for each.
    fn split(self) -> Vec<Self> {
        let Self { said, is_leaf, processes } = self;
        processes
            .into_iter()
            .map(|process| Self { said: said.clone(), is_leaf, processes: vec![process] })
            .collect()
    }
}
