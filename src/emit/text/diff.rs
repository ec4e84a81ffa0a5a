//! What differs between two graphs: a tree of the branches that changed for
//! people, or the comparison for programs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::io::{self, Write};

use crate::document;
use crate::emit::data::json::Json;
use crate::emit::data::ndjson::JsonLines;
use crate::emit::{Sanitized, Style, palette};
use crate::graph::PidGraph;
use crate::model::{NamespaceId, Pid, Process};
use crate::query::{
    Diff, Happened, NamespaceChange, NamespaceField, ProcessChange, ProcessField, Relation,
};
use crate::wording::namespace::{Pids, Symbols};
use crate::wording::subject::{command, namespace_text, pids};

/// More siblings than this that say the same share a line.
const FOLD: usize = 3;

/// The formats of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DiffFormat {
    /// A tree of what changed, each line with +, - or ~, for people.
    #[value(alias = "tree")]
    Text,
    /// The comparison that `pidns schema diff` describes.
    Json,
    /// The same as records, one a line, as `pidns schema diff-record` describes.
    #[value(alias = "jsonl")]
    Ndjson,
    /// A picture of what changed, for Markdown as GitHub and others draw it.
    Mermaid,
}

impl DiffFormat {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Text, Self::Json, Self::Ndjson, Self::Mermaid];

    /// Writes a comparison.
    ///
    /// # Errors
    /// What the writer says.
    pub fn emit(self, diff: &Diff, style: Style, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Text => Tree::new(diff, style).write(out),
            Self::Json => Json { pretty: style.pretty }.write(&document::diff(diff), out),
            Self::Ndjson => {
                let mut lines = JsonLines::new(out);
                document::write_diff_records(diff, |record| lines.line(record))?;
                lines.end()
            }
            // Its boxes are small: what is alike always shares a line.
            Self::Mermaid => crate::emit::picture::mermaid_diff::write(
                &Tree::new(diff, Style { unfolded: false, ..style }),
                out,
            ),
        }
    }
}

/// A namespace of the tree: by its ID in the second graph or, where it is no
/// more, in the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    After(NamespaceId),
    Before(NamespaceId),
}

/// Processes that share a line.
pub struct Row {
    pub happened: Happened,
    /// The PIDs of the first as they are shown, and all of them as numbers.
    first: String,
    pub pids: Vec<Pid>,
    said: String,
}

impl Row {
    pub fn text(&self, symbols: Symbols) -> String {
        match self.pids.as_slice() {
            [_] => format!("{} {}", self.first, self.said),
            many => {
                let (count, times) = (many.len(), symbols.times);
                format!("{count} {times} {}: {}", self.said, pids(many.iter().copied()))
            }
        }
    }
}

/// Both graphs laid over each other.
pub struct Tree<'a> {
    pub diff: &'a Diff,
    pub style: Style,
    /// What happened to a namespace, and what there is to say of it.
    pub changes: HashMap<Node, &'a NamespaceChange>,
    pub rows: HashMap<Option<Node>, Vec<Row>>,
    pub children: BTreeMap<Option<Node>, Vec<Node>>,
    /// The namespaces with a change in them or below.
    pub shown: HashSet<Node>,
}

impl<'a> Tree<'a> {
    fn new(diff: &'a Diff, style: Style) -> Self {
        let mut tree = Self {
            diff,
            style,
            changes: HashMap::new(),
            rows: HashMap::new(),
            children: BTreeMap::new(),
            shown: HashSet::new(),
        };
        for change in &diff.namespaces {
            let node = match (change.after, change.before) {
                (Some(after), _) => Node::After(after),
                (None, Some(before)) => Node::Before(before),
                (None, None) => continue,
            };
            tree.changes.insert(node, change);
        }
        for change in &diff.processes {
            if let Some((node, row)) = tree.row(change) {
                tree.rows.entry(node).or_default().push(row);
            }
        }
        let mut parents: HashMap<Node, Node> = HashMap::new();
        for namespace in &diff.after.snapshot().namespaces {
            let node = Node::After(namespace.id);
            let parent = diff.after.parent(namespace).map(|parent| Node::After(parent.id));
            tree.children.entry(parent).or_default().push(node);
            parents.extend(parent.map(|parent| (node, parent)));
        }
        for namespace in &diff.before.snapshot().namespaces {
            let node = tree.node_before(namespace.id);
            if node == Node::Before(namespace.id) {
                let parent = diff.before.parent(namespace).map(|it| tree.node_before(it.id));
                tree.children.entry(parent).or_default().push(node);
                parents.extend(parent.map(|parent| (node, parent)));
            }
        }
        for &node in tree.changes.keys().chain(tree.rows.keys().flatten()) {
            let mut next = Some(node);
            while let Some(node) = next.filter(|&node| tree.shown.insert(node)) {
                next = parents.get(&node).copied();
            }
        }
        if !style.unfolded {
            for rows in tree.rows.values_mut() {
                fold(rows);
            }
        }
        tree
    }

    fn node_before(&self, id: NamespaceId) -> Node {
        self.diff.counterpart(id).map_or(Node::Before(id), Node::After)
    }

    pub fn symbols(&self) -> Symbols {
        if self.style.ascii { Symbols::ASCII } else { Symbols::UNICODE }
    }

    /// The line of a process, and the namespace that it stands under.
    fn row(&self, change: &ProcessChange) -> Option<(Option<Node>, Row)> {
        let before = change.before.and_then(|pid| self.diff.before.process(pid));
        let after = change.after.and_then(|pid| self.diff.after.process(pid));
        let process = after.or(before)?;
        let node = match after {
            Some(after) => after.namespace.map(Node::After),
            None => before?.namespace.map(|id| self.node_before(id)),
        };
        let mut said = command(process, self.style.ascii);
        let facts: Vec<String> = if let (Some(before), Some(after)) = (before, after) {
            change.fields.iter().map(|&field| self.changed(field, before, after)).collect()
        } else {
            let is_init = process.nspid.len() > 1 && process.nspid.last() == Some(&Pid::INIT);
            let facts = [is_init.then_some("init"), state_text(process.state)];
            facts.into_iter().flatten().map(str::to_owned).collect()
        };
        for (index, fact) in facts.iter().enumerate() {
            said.push_str(if index == 0 { "  " } else { ", " });
            said.push_str(fact);
        }
        let first = Pids { process, symbols: self.symbols(), all: false }.to_string();
        let happened = change.happened();
        Some((node, Row { happened, first, pids: vec![process.pid], said }))
    }

    fn changed(&self, field: ProcessField, before: &Process, after: &Process) -> String {
        let arrow = if self.style.ascii { " -> " } else { " → " };
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
        let namespace =
            |id: Option<NamespaceId>| id.map_or("unknown".to_owned(), |it| it.to_string());
        let parent = |graph: &PidGraph, process: &Process| {
            or_none(process.ppid.map(|pid| match graph.process(pid) {
                Some(parent) => format!("{pid} {}", parent.comm),
                None => pid.to_string(),
            }))
        };
        let user = |process: &Process| match &process.user {
            Some(user) => user.to_string(),
            None => format!("uid {}", process.uid),
        };
        let state = |process: &Process| state_text(process.state).unwrap_or("running or waiting");
        let (what, before, after) = match field {
            ProcessField::Namespace => {
                ("namespace ", namespace(before.namespace), namespace(after.namespace))
            }
            ProcessField::Parent => {
                ("parent ", parent(&self.diff.before, before), parent(&self.diff.after, after))
            }
            ProcessField::Comm => ("name ", before.comm.to_string(), after.comm.to_string()),
            ProcessField::User => ("user ", user(before), user(after)),
            ProcessField::State => ("", state(before).to_owned(), state(after).to_owned()),
        };
        format!("{what}{before}{arrow}{after}")
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(relation) = relation_text(self.diff.relation) {
            writeln!(out, "{relation}")?;
        }
        let roots = self.shown_below(None);
        let mut todo: Vec<(Node, String, &str)> =
            roots.into_iter().rev().map(|node| (node, String::new(), "")).collect();
        let [inner, last, bar] =
            if self.style.ascii { ["|- ", "`- ", "|  "] } else { ["├─ ", "└─ ", "│  "] };
        while let Some((node, prefix, branch)) = todo.pop() {
            self.line(
                out,
                self.happened(node),
                &format!("{prefix}{branch}"),
                &self.namespace(node),
            )?;
            let below = match branch {
                "" => prefix,
                branch if branch == last => format!("{prefix}   "),
                _ => format!("{prefix}{bar}"),
            };
            let children = self.shown_below(Some(node));
            self.members(out, Some(node), &below, !children.is_empty())?;
            let count = children.len();
            let children = children.into_iter().enumerate().rev();
            todo.extend(children.map(|(index, child)| {
                (child, below.clone(), if index + 1 == count { last } else { inner })
            }));
        }
        if self.rows.contains_key(&None) {
            self.line(out, None, "", "unknown  processes whose namespace is ambiguous")?;
            self.members(out, None, "", false)?;
        }
        let gap = if self.diff.differs() { "\n" } else { "" };
        match self.summary() {
            Some(summary) => writeln!(out, "{gap}{summary}."),
            None => Ok(()),
        }
    }

    fn members(
        &self,
        out: &mut dyn Write,
        node: Option<Node>,
        prefix: &str,
        more: bool,
    ) -> io::Result<()> {
        let [inner, last] = if self.style.ascii { ["|- ", "`- "] } else { ["├─ ", "└─ "] };
        let rows = self.rows.get(&node).map(Vec::as_slice).unwrap_or_default();
        for (index, row) in rows.iter().enumerate() {
            let branch = if !more && index + 1 == rows.len() { last } else { inner };
            let text = row.text(self.symbols());
            self.line(out, Some(row.happened), &format!("{prefix}{branch}"), &text)?;
        }
        Ok(())
    }

    /// One line, with what happened in its first column.
    fn line(
        &self,
        out: &mut dyn Write,
        happened: Option<Happened>,
        branch: &str,
        text: &str,
    ) -> io::Result<()> {
        let mark = mark(happened);
        let style = match happened.filter(|_| self.style.color) {
            None => anstyle::Style::new(),
            Some(Happened::Came) => palette::CAME,
            Some(Happened::Went) => palette::WENT,
            Some(Happened::Hidden) => palette::HIDDEN,
            Some(Happened::Changed) => palette::CHANGED,
        };
        writeln!(out, "{style}{mark}{style:#} {branch}{}", Sanitized(text))
    }

    /// What happened to a namespace. One whose members alone changed is shown by
    /// them.
    pub fn happened(&self, node: Node) -> Option<Happened> {
        let change = self.changes.get(&node).filter(|change| says_more(change));
        change.map(|change| change.happened())
    }

    pub fn shown_below(&self, node: Option<Node>) -> Vec<Node> {
        let children = self.children.get(&node).map(Vec::as_slice).unwrap_or_default();
        children.iter().copied().filter(|node| self.shown.contains(node)).collect()
    }

    pub fn namespace(&self, node: Node) -> String {
        let (graph, id) = match node {
            Node::After(id) => (&self.diff.after, id),
            Node::Before(id) => (&self.diff.before, id),
        };
        let Some(namespace) = graph.namespace(id) else { return id.to_string() };
        let Some(change) = self.changes.get(&node).filter(|change| says_more(change)) else {
            return id.to_string();
        };
        if change.hidden {
            return format!("{id}  hidden: still in the kernel, kept by what /proc does not show");
        }
        let mut text = namespace_text(graph, namespace);
        let old = change.before.and_then(|id| self.diff.before.namespace(id));
        for field in &change.fields {
            let Some(old) = old else { continue };
            // Writing to a String does not fail.
            let _ = match field {
                NamespaceField::State => write!(text, "; was {}", old.state.name()),
                NamespaceField::Parent => match old.parent {
                    Some(parent) => write!(text, "; its parent was {parent}"),
                    None => write!(text, "; its parent was not seen"),
                },
                NamespaceField::Members => Ok(()),
            };
        }
        text
    }

    /// How much there is of each, where there is anything.
    pub fn summary(&self) -> Option<String> {
        let diff = self.diff;
        if !diff.differs() {
            let count = |count: usize, one: &str, many: &str| match count {
                1 => format!("1 {one}"),
                count => format!("{count} {many}"),
            };
            let processes = count(diff.after.processes().len(), "process", "processes");
            let namespaces = diff.after.snapshot().namespaces.len();
            let namespaces = count(namespaces, "PID namespace", "PID namespaces");
            return Some(format!("No difference: {processes} and {namespaces} in both"));
        }
        let said = |one: &str, many: &str, happened: Vec<Happened>| {
            let counts: Vec<_> = [
                (Happened::Came, "came"),
                (Happened::Went, "went"),
                (Happened::Hidden, "hidden"),
                (Happened::Changed, "changed"),
            ]
            .into_iter()
            .map(|(kind, word)| (happened.iter().filter(|&&it| it == kind).count(), word))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
            let noun = if happened.len() == 1 { one } else { many };
            (!counts.is_empty()).then(|| format!("{noun}: {}", counts.join(", ")))
        };
        let processes = diff.processes.iter().map(ProcessChange::happened).collect();
        let namespaces = diff.namespaces.iter().filter(|it| says_more(it));
        let namespaces = namespaces.map(NamespaceChange::happened).collect();
        let said: Vec<_> = [
            said("Process", "Processes", processes),
            said("PID namespace", "PID namespaces", namespaces),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!said.is_empty()).then(|| said.join(". "))
    }
}

/// What happened, in one sign.
pub fn mark(happened: Option<Happened>) -> char {
    match happened {
        None => ' ',
        Some(Happened::Came) => '+',
        Some(Happened::Went) => '-',
        Some(Happened::Hidden) => '?',
        Some(Happened::Changed) => '~',
    }
}

/// Why the two cannot be compared, where they cannot.
pub fn relation_text(relation: Relation) -> Option<&'static str> {
    match relation {
        Relation::SameBoot | Relation::BootUnknown => None,
        Relation::OtherBoot => Some("Another boot of the host: everything is new."),
        Relation::OtherHost => Some("Another host: everything is new."),
        Relation::OtherProcfs => Some(
            "The /proc of another PID namespace: its PIDs cannot be compared, everything is new.",
        ),
    }
}

/// Whether more changed of a namespace than its members.
fn says_more(change: &NamespaceChange) -> bool {
    change.happened() != Happened::Changed
        || change.fields.iter().any(|field| *field != NamespaceField::Members)
}

/// Lets more than a few rows that say the same share a line, at the place of
/// the first.
fn fold(rows: &mut Vec<Row>) {
    let mut alike: HashMap<(Happened, String), Vec<Pid>> = HashMap::new();
    for row in &*rows {
        alike.entry((row.happened, row.said.clone())).or_default().extend(&row.pids);
    }
    alike.retain(|_, pids| pids.len() > FOLD);
    rows.retain_mut(|row| {
        let key = (row.happened, std::mem::take(&mut row.said));
        let pids = alike.get_mut(&key);
        row.said = key.1;
        match pids {
            None => true,
            // The first takes them all.
            Some(pids) if !pids.is_empty() => {
                row.pids = std::mem::take(pids);
                true
            }
            Some(_) => false,
        }
    });
}

/// A state that is worth a word.
fn state_text(state: char) -> Option<&'static str> {
    match state {
        'Z' | 'X' => Some("zombie"),
        'T' => Some("stopped"),
        't' => Some("stopped by a tracer"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::model::{NamespaceState, Snapshot};
    use crate::testing::{farm, process};

    fn check(before: Snapshot, after: Snapshot, style: Style, expected: &Expect) {
        let diff = Diff::new(PidGraph::new(before), PidGraph::new(after));
        let mut out = Vec::new();
        DiffFormat::Text.emit(&diff, style, &mut out).unwrap();
        expected.assert_eq(&String::from_utf8(out).unwrap());
    }

    /// The farm a while later: its container was killed, and has a successor.
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
    fn only_the_branches_that_changed_are_shown() {
        check(
            farm(),
            later(),
            Style::default(),
            &expect![[r#"
                  pid:[4026531836]
                ~ ├─ 4 containerd-shim  parent 1 systemd → none, running or waiting → stopped
                ~ ├─ pid:[4026532179]  DEAD: its init has exited; kept by the namespaces below it; was live
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
                ~ |- pid:[4026532179]  live; was dead
                + |  |- 6 -> 1 farm  init
                + |  `- 7 -> 2 sleep
                - `- pid:[4026532199]  live
                -    |- 20 -> 1 sleep  init
                -    |- 5 x sleep: 21, 22, 23, 24, 25
                -    `- 30 -> 40 a\nb\x1b[31m  zombie

                Processes: 2 came, 7 went, 1 changed. PID namespaces: 1 went, 1 changed.
            "#]],
        );
    }

    #[test]
    fn where_nothing_changed_that_is_said_and_so_is_another_boot() {
        check(
            farm(),
            farm(),
            Style::default(),
            &expect![[r#"
            No difference: 5 processes and 3 PID namespaces in both.
        "#]],
        );
        let mut rebooted = farm();
        rebooted.host.boot_id = Some("00000000-4b43-4a0b-9f3c-1c5f4f1d2a3b".to_owned());
        rebooted.namespaces.truncate(1);
        rebooted.processes.truncate(1);
        let mut alone = farm();
        alone.namespaces.truncate(1);
        alone.processes.truncate(2);
        check(
            alone,
            rebooted,
            Style::default(),
            &expect![[r#"
                Another boot of the host: everything is new.
                + pid:[4026531836]  live
                + └─ 1 systemd
                - pid:[4026531836]  live
                - ├─ 1 systemd
                - └─ 2 [kthreadd]

                Processes: 1 came, 2 went. PID namespaces: 1 came, 1 went.
            "#]],
        );
    }

    #[test]
    fn a_colour_ends_where_it_began() {
        let diff = Diff::new(PidGraph::new(farm()), PidGraph::new(later()));
        let text = |color| {
            let mut out = Vec::new();
            DiffFormat::Text.emit(&diff, Style { color, ..Style::default() }, &mut out).unwrap();
            out
        };
        let colored = String::from_utf8(text(true)).unwrap();
        assert!(colored.contains("\u{1b}[38;5;231m\u{1b}[48;5;22m+\u{1b}[0m "), "{colored}");
        let mut plain = Vec::new();
        anstream::StripStream::new(&mut plain).write_all(colored.as_bytes()).unwrap();
        assert_eq!(plain, text(false));
    }
}
