//! Draws lines as a tree, and wraps long lines with a hanging indent.

use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::emit::{Style, palette};
use crate::query::Happened;
use crate::wording::change::mark;
use crate::wording::line::{Emphasis, Line, Part};
use crate::wording::sanitize::{Ascii, Distinct, Sanitized};

/// The characters that draw a tree.
struct Glyphs {
    inner: &'static str,
    last: &'static str,
    bar: &'static str,
}

const UNICODE: Glyphs = Glyphs { inner: "├─ ", last: "└─ ", bar: "│" };
const ASCII: Glyphs = Glyphs { inner: "|- ", last: "`- ", bar: "|" };

/// Width of a branch, and maximum indentation per level, in columns.
const BRANCH: usize = 3;

/// Minimum number of columns for text, even on a deeply indented line.
const LEAST: usize = 20;

/// Assumed line width in columns, used to compute the indentation if text does not wrap.
const NOMINAL_WIDTH: usize = 80;

/// The kind of branch in front of a line of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// The line of a root, which has no branch.
    Root,
    /// The line is followed by siblings.
    Inner,
    /// The line is the last of its siblings.
    Last,
}

impl Branch {
    /// Returns the branch in front of a line. `siblings` is the number of siblings that follow.
    pub fn before(siblings: usize) -> Self {
        if siblings == 0 { Self::Last } else { Self::Inner }
    }
}

/// The position of a line in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of ancestors of the line, not counting the root.
    pub level: usize,
    pub branch: Branch,
}

impl Place {
    pub const ROOT: Self = Self { level: 0, branch: Branch::Root };

    pub fn level_below(self) -> usize {
        if self.branch == Branch::Root { 0 } else { self.level + 1 }
    }
}

/// A mark in front of a line's tree-drawing characters, such as `+` for a new process.
#[derive(Clone, Copy)]
pub struct Mark {
    pub sign: char,
    pub style: anstyle::Style,
}

impl Mark {
    /// Returns the mark for a change, or a space if nothing changed.
    pub fn of_change(happened: Option<Happened>, style: Style) -> Self {
        let color = match happened.filter(|_| style.color) {
            None => anstyle::Style::new(),
            Some(happened) => palette::change(happened),
        };
        Self { sign: happened.map_or(' ', mark), style: color }
    }
}

/// One line of a tree that [`draw`] writes.
pub struct TreeLine {
    pub place: Place,
    /// `true` if a vertical bar leads from the line to child lines.
    pub has_children: bool,
    pub mark: Option<Mark>,
    pub line: Line,
}

/// Draws a whole tree.
pub fn draw(lines: &[TreeLine], style: Style, out: &mut dyn Write) -> io::Result<()> {
    let depth = lines.iter().map(|line| line.place.level + 1).max().unwrap_or(0);
    let mut tree = TreeDrawer::new(style, depth, out);
    lines.iter().try_for_each(|it| tree.line(it.place, it.has_children, it.mark, &it.line))
}

/// Draws a tree line by line, from top to bottom.
pub struct TreeDrawer<'o> {
    out: &'o mut dyn Write,
    style: Style,
    glyphs: &'static Glyphs,
    /// Number of columns by which each level is indented.
    step: usize,
    /// The vertical bars of all ancestors, with spaces between them.
    prefix: String,
    /// The length of `prefix` at each level.
    levels: Vec<usize>,
    /// A reusable buffer for the escaped text of one part of a line.
    escaped: String,
}

impl<'o> TreeDrawer<'o> {
    /// Prepares to draw a tree with `depth` levels.
    pub fn new(style: Style, depth: usize, out: &'o mut dyn Write) -> Self {
        // In a deep tree, indent each level less, so that half of the line width is left for text.
        let half = style.width.unwrap_or(NOMINAL_WIDTH) / 2;
        Self {
            out,
            style,
            glyphs: if style.ascii { &ASCII } else { &UNICODE },
            step: (half / depth.max(1)).clamp(1, BRANCH),
            prefix: String::new(),
            levels: Vec::new(),
            escaped: String::new(),
        }
    }

    /// Draws a line that is not part of the tree.
    pub fn sentence(&mut self, line: &Line) -> io::Result<()> {
        self.line(Place::ROOT, false, None, line)
    }

    /// Draws a log line with its time, mark and text.
    pub fn log_line(&mut self, time: &str, mark: Mark, line: &Line) -> io::Result<()> {
        let Mark { sign, style } = mark;
        let start = " ".repeat(time.width() + " + ".len());
        write!(self.out, "{time} {style}{sign}{style:#} ")?;
        match self.style.width {
            None => self.text(line)?,
            Some(width) => self.wrapped_text(line, width, start.len(), &start)?,
        }
        self.out.write_all(b"\n")
    }

    /// Draws the next line of the tree.
    pub fn line(
        &mut self,
        place: Place,
        has_children: bool,
        mark: Option<Mark>,
        line: &Line,
    ) -> io::Result<()> {
        self.levels.truncate(place.level);
        self.prefix.truncate(self.levels.last().copied().unwrap_or(0));
        if let Some(Mark { sign, style }) = mark {
            write!(self.out, "{style}{sign}{style:#} ")?;
        }
        let glyphs = self.glyphs;
        let branch = match place.branch {
            Branch::Root => "",
            Branch::Inner => glyphs.inner,
            Branch::Last => glyphs.last,
        };
        write!(self.out, "{}{branch}", self.prefix)?;
        let column = self.prefix.width() + branch.width();
        if place.branch != Branch::Root {
            self.prefix.push_str(if place.branch == Branch::Last { " " } else { glyphs.bar });
            self.prefix.extend(std::iter::repeat_n(' ', self.step - 1));
            self.levels.push(self.prefix.len());
        }
        match self.style.width {
            None => self.text(line)?,
            Some(width) => {
                let margin = if mark.is_some() { "  " } else { "" };
                let bar = if has_children { glyphs.bar } else { " " };
                let start = format!("{margin}{}{bar} ", self.prefix);
                self.wrapped_text(line, width, margin.len() + column, &start)?;
            }
        }
        self.out.write_all(b"\n")
    }

    /// Writes a line without wrapping it.
    fn text(&mut self, line: &Line) -> io::Result<()> {
        for (index, part) in line.parts().enumerate() {
            if index > 0 {
                self.out.write_all(part.separator.as_bytes())?;
            }
            let style = self.style.emphasis(part.emphasis);
            let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && !b"\\#:".contains(&byte);
            if style.is_plain() && part.text.bytes().all(is_plain) {
                // Most parts need neither a style nor escapes, so write them directly.
                self.out.write_all(part.text.as_bytes())?;
            } else {
                self.escape(part);
                write!(self.out, "{style}{}{style:#}", self.escaped)?;
            }
        }
        Ok(())
    }

    /// Writes a line that starts at `column`, and wraps it. Each continuation line begins with
    /// `start`.
    fn wrapped_text(
        &mut self,
        line: &Line,
        width: usize,
        mut column: usize,
        start: &str,
    ) -> io::Result<()> {
        let width = width.max(start.width() + LEAST);
        let mut parts = line.parts().enumerate().peekable();
        while let Some((index, part)) = parts.next() {
            self.escape(part);
            let separator = if index == 0 { "" } else { part.separator };
            // The punctuation that follows the part must fit on the same line.
            let after = parts.peek().map_or(0, |(_, next)| next.separator.trim_end().len());
            let end = column + separator.len() + self.escaped.width() + after;
            if index > 0 && end > width {
                write!(self.out, "{}\n{start}", separator.trim_end())?;
                column = start.width();
            } else {
                self.out.write_all(separator.as_bytes())?;
                column += separator.len();
            }
            column = self.wrapped_part(part.emphasis, width - after, column, start)?;
        }
        Ok(())
    }

    /// Writes `self.escaped`, wrapped if necessary, and returns the column after the text.
    fn wrapped_part(
        &mut self,
        emphasis: Emphasis,
        width: usize,
        mut column: usize,
        start: &str,
    ) -> io::Result<usize> {
        let style = self.style.emphasis(emphasis);
        let mut rest = self.escaped.as_str();
        loop {
            let (fits, more) = rest.split_at(fitting(rest, width.saturating_sub(column)));
            if more.is_empty() {
                write!(self.out, "{style}{fits}{style:#}")?;
                return Ok(column + fits.width());
            }
            // The line break replaces the space at the end.
            let fits = fits.strip_suffix(' ').unwrap_or(fits);
            write!(self.out, "{style}{fits}{style:#}\n{start}")?;
            (rest, column) = (more, start.width());
            // A line that begins with `::` would be a command in the log of a GitHub CI job.
            if let Some(colon) = more.trim_start().strip_prefix("::") {
                write!(self.out, "{style}:\\x3a{style:#}")?;
                (rest, column) = (colon, column + ":\\x3a".len());
            }
        }
    }

    fn escape(&mut self, part: Part<'_>) {
        use std::fmt::Write as _;
        self.escaped.clear();
        let text = part.text;
        // Writing to a String cannot fail.
        let _ = match part.emphasis {
            Emphasis::Command => write!(self.escaped, "{}", Sanitized(text)),
            _ if self.style.ascii => write!(self.escaped, "{}", Ascii(text)),
            _ => write!(self.escaped, "{}", Distinct(text)),
        };
    }
}

/// Returns the number of bytes of `text` to write on a line with `columns` columns.
fn fitting(text: &str, columns: usize) -> usize {
    let (mut column, mut after_space) = (0, None);
    for (at, character) in text.char_indices() {
        column += character.width().unwrap_or(0);
        // Each line gets at least one character, even a character that is wider than the line.
        if column > columns && at > 0 {
            return after_space.unwrap_or(at);
        }
        if character == ' ' {
            after_space = Some(at + 1);
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_begins_with_a_command_to_github() {
        for text in ["x ::error::y", "xxxxxxxxxxxxxxxxxxxx::error::y", "x  ::::error::y"] {
            for width in 1..40 {
                let mut line = Line::default();
                line.plain("", format_args!("{}", "- ".repeat(width % 20)));
                line.plain(" ", format_args!("{text}"));
                let style = Style { width: Some(width), ..Style::default() };
                let mut out = Vec::new();
                TreeDrawer::new(style, 1, &mut out).sentence(&line).unwrap();
                let out = String::from_utf8(out).unwrap();
                assert!(out.lines().all(|it| !it.trim_start().starts_with("::")), "{out}");
            }
        }
    }
}
