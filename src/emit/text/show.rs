//! A tree for people: a line for each namespace with what is asked first, its
//! members under it with their PIDs in every level, then nested namespaces.
//!
//! On a terminal no line is longer than the terminal is wide: a line breaks
//! between its parts and goes on under its branch.

use std::fmt::Write as _;
use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::emit::{Emitter, Style};
use crate::graph::PidGraph;
use crate::model::{Evidence, Namespace, NamespaceState};
use crate::query::fold::{Folding, Row, Siblings};
use crate::wording::line::{Emphasis, Line};
use crate::wording::namespace::{
    ARROW_MEANS, Count, DEAD_MEANS, Describe, INFERRED_MEANS, Symbols, is_wrong,
};
use crate::wording::sanitize::{Ascii, Distinct};

/// A text tree.
pub struct Text {
    style: Style,
    lines: Lines,
}

/// The pieces that a tree is drawn with.
struct Lines {
    inner: &'static str,
    last: &'static str,
    bar: &'static str,
    symbols: Symbols,
}

const UTF8: Lines =
    Lines { inner: "├─ ", last: "└─ ", bar: "│", symbols: Symbols::UNICODE };
const ASCII: Lines = Lines { inner: "|- ", last: "`- ", bar: "|", symbols: Symbols::ASCII };

/// Columns of a branch, and how far what is below a namespace is indented
/// unless it is nested too deep for that.
const BRANCH: usize = 3;

/// Columns that a line has at least, however deep it is nested.
const LEAST: usize = 20;

/// Lines about holders below one namespace; the rest are counted.
const HOLDERS: usize = 40;

/// The width that indentation is made for where there is no terminal.
const NOMINAL_WIDTH: usize = 80;

impl Text {
    /// A tree of that style.
    pub fn new(style: Style) -> Self {
        Self { style, lines: if style.ascii { ASCII } else { UTF8 } }
    }
}

impl Emitter for Text {
    fn emit(&self, graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
        let folding = Folding::new(graph, !self.style.unfolded);
        let depth = graph.tree().iter().map(|(_, level)| *level).max().unwrap_or(0);
        // Chains nest up to 32 deep; half of the width stays for what is said.
        let room = self.style.width.unwrap_or(NOMINAL_WIDTH) / 2;
        let mut tree = Tree {
            text: self,
            describe: Describe::new(&folding, self.lines.symbols),
            folding: &folding,
            graph,
            out,
            step: (room / depth.max(1)).clamp(1, BRANCH),
            prefix: String::new(),
            line: Line::default(),
            piece: String::new(),
        };
        for root in folding.tops() {
            tree.namespaces(&root, "", false)?;
        }
        tree.unplaced()?;
        tree.last_lines()
    }
}

struct Tree<'a, 'o> {
    text: &'o Text,
    describe: Describe<'a>,
    folding: &'o Folding<'a>,
    graph: &'a PidGraph,
    out: &'o mut dyn Write,
    /// Columns that a level is indented by.
    step: usize,
    /// The lines of the levels above, drawn before every line.
    prefix: String,
    line: Line,
    piece: String,
}

impl<'a> Tree<'a, '_> {
    /// A namespace, or many alike, and all below, as deep as namespaces nest.
    fn namespaces(
        &mut self,
        siblings: &Siblings<'a>,
        branch: &'static str,
        in_each: bool,
    ) -> io::Result<()> {
        let Some(namespace) = siblings.first() else { return Ok(()) };
        let of_each = in_each || matches!(siblings, Siblings::Alike(_));
        let mut kept_by = if of_each { Vec::new() } else { self.describe.kept_by(namespace) };
        let most = if self.folding.folds() { HOLDERS } else { usize::MAX };
        // The last line says how many more there are, where that saves some.
        let more = kept_by.len().checked_sub(most).filter(|&more| more > 1);
        if more.is_some() {
            kept_by.truncate(most);
        }
        let rows = self.folding.members(namespace);
        let children = self.folding.children(namespace);
        let below = kept_by.len() + usize::from(more.is_some()) + rows.len() + children.len();
        self.line.clear();
        self.describe.heading(siblings, in_each, &mut self.line);
        self.write_line(branch, below > 0)?;
        let before = self.prefix.len();
        self.indent(branch);
        let mut left = below;
        let mut next = |lines: &Lines| {
            left -= 1;
            if left == 0 { lines.last } else { lines.inner }
        };
        for holder in &kept_by {
            self.line.clear();
            holder.describe(&mut self.line);
            self.write_line(next(&self.text.lines), false)?;
        }
        if let Some(more) = more {
            self.line.clear();
            self.line.plain("", format_args!("kept by {} more", Count(more)));
            self.write_line(next(&self.text.lines), false)?;
        }
        for row in &rows {
            self.row(row, next(&self.text.lines), of_each)?;
        }
        for child in &children {
            self.namespaces(child, next(&self.text.lines), of_each)?;
        }
        self.prefix.truncate(before);
        Ok(())
    }

    /// What is below the line of this branch begins further in.
    fn indent(&mut self, branch: &'static str) {
        if branch.is_empty() {
            return;
        }
        let lines = &self.text.lines;
        self.prefix.push_str(if branch == lines.last { " " } else { lines.bar });
        self.prefix.extend(std::iter::repeat_n(' ', self.step - 1));
    }

    fn row(&mut self, row: &Row<'a>, branch: &'static str, of_each: bool) -> io::Result<()> {
        self.line.clear();
        self.describe.row(row, of_each, &mut self.line);
        self.write_line(branch, false)
    }

    fn unplaced(&mut self) -> io::Result<()> {
        let rows = self.folding.unplaced();
        let count: usize = rows.iter().map(|row| row.processes().len()).sum();
        if count == 0 {
            return Ok(());
        }
        self.line.clear();
        self.line.part("", Emphasis::Warning, format_args!("unknown"));
        match count {
            1 => self.line.plain("  ", format_args!("1 process whose namespace is ambiguous")),
            count => self
                .line
                .plain("  ", format_args!("{count} processes whose namespaces are ambiguous")),
        }
        self.write_line("", true)?;
        for (index, row) in rows.iter().enumerate() {
            let lines = &self.text.lines;
            self.row(row, if index + 1 == rows.len() { lines.last } else { lines.inner }, false)?;
        }
        Ok(())
    }

    /// What there is, counted, and what the signs mean: for people at a
    /// terminal, and wherever something is wrong.
    fn last_lines(&mut self) -> io::Result<()> {
        let snapshot = self.graph.snapshot();
        if !self.text.style.terminal && !is_wrong(snapshot) {
            return Ok(());
        }
        self.out.write_all(b"\n")?;
        let incomplete = if snapshot.complete { "" } else { "; incomplete" };
        let counts = format!("{}{incomplete}.", self.describe.counts());
        let arrow = self.text.lines.symbols.arrow;
        let means = format!("{}.", ARROW_MEANS.replace(Symbols::UNICODE.arrow, arrow));
        let example = self.describe.example().map(|example| format!("{example}:"));
        self.line.clear();
        self.line.words("", &counts);
        if let Some(example) = example {
            // On a line of its own where one is not enough for both.
            let both = counts.width() + example.width() + means.width() + "   ".len();
            if self.text.style.width.is_some_and(|width| both > width) {
                self.write_line("", false)?;
                self.line.clear();
            }
            // The PIDs stay together.
            self.line.plain("  ", format_args!("{example}"));
            self.line.words(" ", &means);
        }
        self.write_line("", false)?;
        let is_dead = |namespace: &Namespace| namespace.state == NamespaceState::Dead;
        let is_inferred = |namespace: &Namespace| namespace.evidence == Evidence::Inferred;
        if snapshot.namespaces.iter().any(is_dead) {
            self.meaning(Emphasis::Dead, "DEAD", DEAD_MEANS)?;
        }
        if snapshot.namespaces.iter().any(is_inferred) {
            self.meaning(Emphasis::Inferred, "inferred", INFERRED_MEANS)?;
        }
        Ok(())
    }

    fn meaning(&mut self, emphasis: Emphasis, word: &str, means: &str) -> io::Result<()> {
        self.line.clear();
        self.line.part("", emphasis, format_args!("{word}:"));
        self.line.words(" ", &format!("{means}."));
        self.write_line("", false)
    }

    /// Writes a line, broken between parts where it is longer than the
    /// terminal is wide. What follows a break stands under its branch, and
    /// beside the line to what is `below`.
    fn write_line(&mut self, branch: &str, below: bool) -> io::Result<()> {
        let Self { text, out, prefix, line, piece, .. } = self;
        let Text { style, lines } = text;
        write!(out, "{prefix}{branch}")?;
        let Some(width) = style.width else {
            for (index, part) in line.parts().enumerate() {
                if index > 0 {
                    out.write_all(part.separator.as_bytes())?;
                }
                let style = style.of(part.emphasis);
                if style.is_plain() {
                    write_escaped(*out, part.text, text.style.ascii)?;
                } else {
                    write!(out, "{style}")?;
                    write_escaped(*out, part.text, text.style.ascii)?;
                    write!(out, "{style:#}")?;
                }
            }
            return out.write_all(b"\n");
        };
        let side = match branch {
            "" => "",
            branch if branch == lines.last => "   ",
            _ if lines.bar == UTF8.bar => "│  ",
            _ => "|  ",
        };
        let below = if below { lines.bar } else { " " };
        let indent = prefix.width() + side.len().min(BRANCH) + 2;
        let width = width.max(indent + LEAST);
        let mut column = prefix.width() + branch.width();
        let mut parts = line.parts().peekable();
        let mut is_first = true;
        while let Some(part) = parts.next() {
            piece.clear();
            // Writing to a String does not fail.
            let _ = if style.ascii {
                write!(piece, "{}", Ascii(part.text))
            } else {
                write!(piece, "{}", Distinct(part.text))
            };
            // What ends a part stays with it.
            let after = parts.peek().map_or(0, |next| next.separator.trim_end().len());
            let separator = if is_first { "" } else { part.separator };
            let breaks = !is_first && column + separator.len() + piece.width() + after > width;
            if breaks {
                write!(out, "{}\n{prefix}{side}{below} ", separator.trim_end())?;
                column = indent;
            } else {
                out.write_all(separator.as_bytes())?;
                column += separator.len();
            }
            is_first = false;
            let style = style.of(part.emphasis);
            write!(out, "{style}")?;
            // A part of its own may still be too long: a path, an argument.
            let mut rest = piece.as_str();
            loop {
                let (fits, more) =
                    rest.split_at(fitting(rest, width.saturating_sub(column + after)));
                if more.is_empty() {
                    write!(out, "{fits}{style:#}")?;
                    column += fits.width();
                    break;
                }
                // The break stands for the blank.
                let fits = fits.strip_suffix(' ').unwrap_or(fits);
                write!(out, "{fits}{style:#}\n{prefix}{side}{below} {style}")?;
                (rest, column) = (more, indent);
            }
        }
        out.write_all(b"\n")
    }
}

/// How much of a text goes on a line that has room for so many columns, in
/// bytes: what ends with a blank if possible, and at least one character.
fn fitting(text: &str, room: usize) -> usize {
    let (mut columns, mut after_blank) = (0, None);
    for (at, character) in text.char_indices() {
        columns += character.width().unwrap_or(0);
        if columns > room && at > 0 {
            return after_blank.unwrap_or(at);
        }
        if character == ' ' {
            after_blank = Some(at + 1);
        }
    }
    text.len()
}

fn write_escaped(out: &mut dyn Write, text: &str, ascii: bool) -> io::Result<()> {
    // Most of it is plain, and need not be looked at one by one.
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'\\') {
        out.write_all(text.as_bytes())
    } else if ascii {
        write!(out, "{}", Ascii(text))
    } else {
        write!(out, "{}", Distinct(text))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::model::{BlockReason, Blocker, Holder, Pid, ProcessDetails, Snapshot};
    use crate::testing::{farm, namespace, process, snapshot};

    fn text(snapshot: Snapshot, style: Style) -> String {
        let mut out = Vec::new();
        Text::new(style).emit(&PidGraph::new(snapshot), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn check(snapshot: Snapshot, style: Style, expected: &Expect) {
        expected.assert_eq(&text(snapshot, style));
    }

    fn terminal(width: usize) -> Style {
        Style { width: Some(width), terminal: true, ..Style::default() }
    }

    #[test]
    fn a_host_with_a_container_and_a_dead_namespace() {
        check(
            farm(),
            Style::default(),
            &expect![[r#"
            pid:[4026531836]  2 processes and 1 kernel thread
            ├─ 1 systemd
            ├─ 4 containerd-shim
            ├─ 2 [kthreadd]
            └─ pid:[4026532179]  farm, docker 3f2a1b9c04de, 2 processes
               ├─ 6 → 1 farm
               ├─ 7 → 2 sleep
               └─ pid:[4026532180]  DEAD: its init has exited
                  └─ kept by 4 containerd-shim: open fd 9

            3 PID namespaces, 1 dead; 5 processes; incomplete.  6 → 1: its PID here → in its own namespace.
            DEAD: starting a process in it fails with "Cannot allocate memory" (ENOMEM).
        "#]],
        );
    }

    #[test]
    fn ascii_has_no_other_characters() {
        let mut snapshot = farm();
        snapshot.processes[4].comm = "déjà".into();
        let style = Style { ascii: true, ..Style::default() };
        assert!(text(snapshot.clone(), style).is_ascii());
        check(
            snapshot,
            style,
            &expect![[r#"
            pid:[4026531836]  2 processes and 1 kernel thread
            |- 1 systemd
            |- 4 containerd-shim
            |- 2 [kthreadd]
            `- pid:[4026532179]  farm, docker 3f2a1b9c04de, 2 processes
               |- 6 -> 1 farm
               |- 7 -> 2 d\xe9j\xe0
               `- pid:[4026532180]  DEAD: its init has exited
                  `- kept by 4 containerd-shim: open fd 9

            3 PID namespaces, 1 dead; 5 processes; incomplete.  6 -> 1: its PID here -> in its own namespace.
            DEAD: starting a process in it fails with "Cannot allocate memory" (ENOMEM).
        "#]],
        );
    }

    #[test]
    fn lines_break_between_parts_under_their_branch() {
        let mut snapshot = farm();
        for raw in 20..40 {
            let mut shim = process(&[raw], Some(4_026_531_836));
            shim.comm = "containerd-shim".into();
            snapshot.processes.push(shim);
        }
        check(
            snapshot,
            terminal(48),
            &expect![[r#"
            pid:[4026531836]
            │ 22 processes and 1 kernel thread
            ├─ 1 systemd
            ├─ 4 containerd-shim
            ├─ 2 [kthreadd]
            ├─ 20 × containerd-shim: 20, 21, 22, 23, 24, 25,
            │    26, 27, and 12 more
            └─ pid:[4026532179]  farm, docker 3f2a1b9c04de,
               │ 2 processes
               ├─ 6 → 1 farm
               ├─ 7 → 2 sleep
               └─ pid:[4026532180]
                  │ DEAD: its init has exited
                  └─ kept by 4 containerd-shim: open fd 9

            3 PID namespaces, 1 dead; 25 processes;
              incomplete.
            6 → 1: its PID here → in its own namespace.
            DEAD: starting a process in it fails with
              "Cannot allocate memory" (ENOMEM).
        "#]],
        );
    }

    #[test]
    fn wide_names_and_long_arguments_fit() {
        let mut snapshot = farm();
        snapshot.processes[4].comm = "日本語日本語".into();
        snapshot.processes[4].details = Some(Box::new(ProcessDetails {
            args: Some(vec!["sh".into(), "-c".into(), format!("echo {}", "é".repeat(60)).into()]),
            ..ProcessDetails::default()
        }));
        for line in text(snapshot.clone(), terminal(40)).lines() {
            assert!(line.width() <= 40, "{line}");
        }
        check(
            snapshot,
            terminal(40),
            &expect![[r#"
                pid:[4026531836]
                │ 2 processes and 1 kernel thread
                ├─ 1 systemd
                ├─ 4 containerd-shim
                ├─ 2 [kthreadd]
                └─ pid:[4026532179]  farm,
                   │ docker 3f2a1b9c04de, 2 processes
                   ├─ 6 → 1 farm
                   ├─ 7 → 2 日本語日本語 (sh -c
                   │    echo
                   │    éééééééééééééééééééééééééééééééé
                   │    éééééééééééééééééééééééééééé)
                   └─ pid:[4026532180]
                      │ DEAD: its init has exited
                      └─ kept by 4 containerd-shim:
                           open fd 9

                3 PID namespaces, 1 dead; 5 processes;
                  incomplete.
                6 → 1: its PID here → in its own
                  namespace.
                DEAD: starting a process in it fails
                  with "Cannot allocate memory"
                  (ENOMEM).
            "#]],
        );
    }

    #[test]
    fn colours_end_where_they_began() {
        let coloured = text(farm(), Style { color: true, ..Style::default() });
        assert!(coloured.contains("\u{1b}[1mfarm\u{1b}[0m, docker 3f2a1b9c04de"), "{coloured}");
        assert!(coloured.contains("DEAD: its init has exited\u{1b}[0m\n"), "{coloured}");
        let mut plain = Vec::new();
        let mut strip = anstream::StripStream::new(&mut plain);
        strip.write_all(coloured.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(plain).unwrap(), text(farm(), Style::default()));
    }

    #[test]
    fn every_kind_of_trouble_is_told_apart() {
        let (host, pid) = (10, |raw| Pid::new(raw).unwrap());
        let mut namespaces: Vec<_> =
            [20, 30, 40, 50].map(|inode| namespace(inode, Some(host))).into();
        namespaces.push(namespace(host, None));
        for dead in &mut namespaces[..2] {
            dead.state = NamespaceState::Dead;
        }
        let blocker = |raw| Blocker {
            pid: pid(raw),
            comm: "sleep".into(),
            reason: BlockReason::Zombie,
            reaper: Some(pid(2)),
        };
        namespaces[0].blocked_by = vec![blocker(6)];
        namespaces[1].blocked_by = vec![blocker(9)];
        namespaces[2].state = NamespaceState::Nascent;
        namespaces[2].holders =
            vec![Holder::PidForChildren { pid: pid(2), comm: None, tid: pid(3) }];
        namespaces[3].owner.as_mut().unwrap().user_namespace = 7;
        namespaces[3].evidence = Evidence::Inferred;
        let mut processes = vec![
            process(&[2], Some(host)),
            process(&[6, 1], Some(20)),
            process(&[8, 1], Some(30)),
            process(&[9, 4], Some(30)),
            process(&[12, 1], Some(50)),
            process(&[13, 7], Some(50)),
            process(&[15, 7], None),
        ];
        for zombie in [1, 3] {
            processes[zombie].state = 'Z';
            processes[zombie].ppid = Pid::new(2);
        }
        processes[5].ppid = Pid::new(2);
        check(
            snapshot(namespaces, processes),
            terminal(80),
            &expect![[r#"
            pid:[10]  1 process
            ├─ 2 sleep
            ├─ pid:[20]  DEAD: its init 6 has exited, stuck until 2 sleep reaps it; sleep,
            │  │ 1 process
            │  └─ 6 → 1 sleep, zombie of 2 sleep
            ├─ pid:[30]  DEAD: its init 8 has exited, stuck until 2 sleep reaps zombie 9;
            │  │ sleep, 2 processes
            │  ├─ 8 → 1 sleep
            │  └─ 9 → 4 sleep, zombie of 2 sleep
            ├─ pid:[40]  not started yet (nascent): no process in it
            │  └─ kept by 2 sleep: children of its thread 3 would start here
            └─ pid:[50]  sleep, 2 processes, owner root in user:[7], inferred
               ├─ 12 → 1 sleep
               └─ 13 → 7 sleep, entered by 2 sleep
            unknown  1 process whose namespace is ambiguous
            └─ 15 → 7 sleep

            5 PID namespaces, 2 dead, 1 nascent; 7 processes.
            6 → 1: its PID here → in its own namespace.
            DEAD: starting a process in it fails with "Cannot allocate memory" (ENOMEM).
            inferred: concluded from PIDs, as the kernel would not say.
        "#]],
        );
    }

    #[test]
    fn of_very_many_holders_the_rest_are_counted() {
        let mut snapshot = farm();
        let mount = |number| Holder::Mount { path: format!("/run/{number}"), mount_namespace: 9 };
        snapshot.namespaces[2].holders = (0..4000).map(mount).collect();
        let folded = text(snapshot.clone(), Style::default());
        assert_eq!(folded.matches("kept by mount").count(), 40);
        assert!(folded.contains("└─ kept by 3,960 more\n"), "{folded}");
        let all = text(snapshot, Style { unfolded: true, ..Style::default() });
        assert_eq!(all.matches("kept by mount").count(), 4000);
    }

    #[test]
    fn deep_chains_stay_on_the_screen() {
        let mut namespaces = vec![namespace(100, None)];
        let mut processes = vec![process(&[1], Some(100))];
        for level in 1..=32_u32 {
            namespaces.push(namespace(u64::from(100 + level), Some(u64::from(99 + level))));
            let mut nspid: Vec<u32> = (0..level).map(|above| 100 * level + above).collect();
            nspid.push(1);
            processes.push(process(&nspid, Some(u64::from(100 + level))));
        }
        let text = text(snapshot(namespaces, processes), terminal(80));
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        let last = text.lines().rfind(|line| line.contains("sleep")).unwrap();
        assert_eq!(last.trim_start(), "└─ 3200 → … → 3231 → 1 sleep");
    }
}
