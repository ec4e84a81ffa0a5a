//! A tree for people: a line for each namespace with what is asked first, its
//! members under it with their PIDs in every level, then nested namespaces.
//!
//! On a terminal no line is longer than the terminal is wide: a line breaks
//! between its parts and goes on under its branch.

use std::fmt::Write as _;
use std::io::{self, Write};

use anstyle::Ansi256Color;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::describe::{ARROW_MEANS, DEAD_MEANS, Describe, INFERRED_MEANS, Symbols, is_wrong};
use super::fold::{Folding, Row, Siblings};
use super::line::{Emphasis, Line};
use super::sanitize::{Ascii, Distinct};
use super::{Emitter, Style};
use crate::graph::PidGraph;
use crate::model::{Evidence, Namespace, NamespaceState};

/// A text tree.
pub struct Text {
    style: Style,
    lines: Lines,
    palette: Palette,
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

/// The width that indentation is made for where there is no terminal.
const NOMINAL_WIDTH: usize = 80;

/// What stands out, and how. No colour is legible on every ground, as no
/// colour has enough contrast to black, white and what lies between: what has
/// a meaning brings its own ground, and all else has the terminal's colours.
/// These are of the 256 colours that terminals do not redefine.
struct Palette {
    name: anstyle::Style,
    dead: anstyle::Style,
    warning: anstyle::Style,
    entered: anstyle::Style,
    inferred: anstyle::Style,
}

const fn on(foreground: u8, background: u8) -> anstyle::Style {
    anstyle::Style::new()
        .fg_color(Some(anstyle::Color::Ansi256(Ansi256Color(foreground))))
        .bg_color(Some(anstyle::Color::Ansi256(Ansi256Color(background))))
}

const COLORS: Palette = Palette {
    name: anstyle::Style::new().bold(),
    // White on dark red.
    dead: on(231, 124).bold(),
    // Black on yellow.
    warning: on(16, 220),
    // White on blue.
    entered: on(231, 25),
    // White on grey.
    inferred: on(231, 240),
};
const PLAIN: Palette = Palette {
    name: anstyle::Style::new(),
    dead: anstyle::Style::new(),
    warning: anstyle::Style::new(),
    entered: anstyle::Style::new(),
    inferred: anstyle::Style::new(),
};

impl Palette {
    fn style(&self, emphasis: Emphasis) -> anstyle::Style {
        match emphasis {
            Emphasis::Plain => anstyle::Style::new(),
            Emphasis::Name => self.name,
            Emphasis::Dead => self.dead,
            Emphasis::Warning => self.warning,
            Emphasis::Entered => self.entered,
            Emphasis::Inferred => self.inferred,
        }
    }
}

impl Text {
    /// A tree of that style.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            lines: if style.ascii { ASCII } else { UTF8 },
            palette: if style.color { COLORS } else { PLAIN },
        }
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
        for root in folding.roots() {
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
        let kept_by = if of_each { Vec::new() } else { self.describe.kept_by(namespace) };
        let rows = self.folding.members(namespace);
        let children = self.folding.children(namespace);
        let below = kept_by.len() + rows.len() + children.len();
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
            self.line.plain("", format_args!("{holder}"));
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
        self.line.clear();
        self.line.words("", &counts);
        if let Some(example) = self.describe.example() {
            let means = ARROW_MEANS.replace(Symbols::UNICODE.arrow, self.text.lines.symbols.arrow);
            // The PIDs stay together.
            self.line.plain("  ", format_args!("{example}:"));
            self.line.words(" ", &format!("{means}."));
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
        let Text { style, lines, palette } = text;
        write!(out, "{prefix}{branch}")?;
        let Some(width) = style.width else {
            for (index, part) in line.parts().enumerate() {
                if index > 0 {
                    out.write_all(part.separator.as_bytes())?;
                }
                let style = palette.style(part.emphasis);
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
            let style = palette.style(part.emphasis);
            write!(out, "{style}")?;
            // A part of its own may still be too long: a path, an argument.
            let mut start = 0;
            for (at, character) in piece.char_indices() {
                let wide = character.width().unwrap_or(0);
                if column + wide > width && at > start {
                    let fits = piece.get(start..at).unwrap_or_default();
                    write!(out, "{fits}{style:#}\n{prefix}{side}{below} {style}")?;
                    (start, column) = (at, indent);
                }
                column += wide;
            }
            write!(out, "{}{style:#}", piece.get(start..).unwrap_or_default())?;
        }
        out.write_all(b"\n")
    }
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
