//! Creates the boxes of a picture as tables in HTML-like labels.

use std::io::{self, Write as _};

use super::escape::Html;
use crate::model::{Evidence, NamespaceState, Pid};
use crate::wording::line::{Emphasis, Line};
use crate::wording::namespace::DEAD_MEANS;
use crate::wording::phrase::Clipped;
use crate::wording::sanitize::Distinct;

/// Maximum number of characters in a line of a box.
pub const LINE: usize = 45;

/// Maximum number of characters in a part of a line, such as a container's name. A part that does
/// not fit on one line is wrapped.
pub const PART: usize = 180;

/// Maximum number of lines in a list, such as a list of members.
pub const LINES: usize = 40;

/// Intended width-to-height ratio of a shelf (a table that arranges boxes in columns).
const SHELF_RATIO: f64 = 1.3;

/// Average width of a character, in points.
const CHARACTER: f64 = 6.0;
/// Average height of a line, in points.
const LINE_HEIGHT: f64 = 13.0;

/// The style of the boxes for namespaces in one state.
pub struct StateLook {
    pub state: NamespaceState,
    pub class: &'static str,
    pub fill: &'static str,
    pub color: &'static str,
    pub border: u8,
    /// Explanation of the state in the legend.
    pub meaning: &'static str,
}

pub const LOOKS: [StateLook; 4] = [
    StateLook {
        state: NamespaceState::Live,
        class: "live",
        fill: "#d6e6f5",
        color: "#4a6785",
        border: 1,
        meaning: "its init runs",
    },
    StateLook {
        state: NamespaceState::Dead,
        class: "dead",
        fill: "#f6c9c6",
        color: "#b3261e",
        // A wide border marks dead namespaces even in black and white.
        border: 4,
        meaning: DEAD_MEANS,
    },
    StateLook {
        state: NamespaceState::Nascent,
        class: "nascent",
        fill: "#f7e8b2",
        color: "#8a6d00",
        border: 2,
        meaning: "no process has started in it yet",
    },
    StateLook {
        state: NamespaceState::Unknown,
        class: "unknown",
        fill: "#e6d9f0",
        color: "#6b4c86",
        border: 2,
        meaning: "cannot tell whether its init runs",
    },
];

impl StateLook {
    pub fn new(state: NamespaceState) -> &'static Self {
        LOOKS.iter().find(|look| look.state == state).unwrap_or(&LOOKS[0])
    }
}

fn border_style(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Kernel => "solid",
        Evidence::Inferred => "dashed",
    }
}

/// A finished box with its approximate size.
pub struct Boxed {
    pub html: Vec<u8>,
    /// Approximate width of the box, in points.
    pub width: f64,
    /// Approximate height of the box, in points.
    pub height: f64,
}

/// Arranges boxes in columns of similar height, each filled from top to bottom.
pub fn shelf(mut boxes: Vec<Boxed>) -> Boxed {
    if boxes.len() == 1
        && let Some(only) = boxes.pop()
    {
        return only;
    }
    let mut left: f64 = boxes.iter().map(|it| it.height).sum();
    let widest = boxes.iter().map(|it| it.width).fold(1.0, f64::max);
    let mut columns = (left * SHELF_RATIO / widest).sqrt().round().max(1.0);
    let mut html = b"<table border=\"1\" style=\"rounded\" color=\"#9db3c8\" cellborder=\"0\" cellspacing=\"4\" cellpadding=\"0\"><tr>".to_vec();
    let (mut width, mut tallest) = (0.0, 0.0);
    let mut boxes = boxes.into_iter().peekable();
    while boxes.peek().is_some() {
        html.extend(COLUMN);
        // Spread the remaining boxes evenly over the remaining columns.
        let target = left / columns;
        let (mut column, mut wide): (f64, f64) = (0.0, 0.0);
        let fits =
            |boxed: &Boxed, column: f64| column == 0.0 || column + boxed.height / 2.0 <= target;
        while let Some(boxed) = boxes.next_if(|boxed| fits(boxed, column)) {
            html.extend(b"<tr><td>");
            html.extend(&boxed.html);
            html.extend(b"</td></tr>");
            column += boxed.height;
            wide = wide.max(boxed.width);
        }
        // Without empty rows, Graphviz would stretch the boxes to the height of the column.
        html.extend(b"<tr><td cellpadding=\"0\"></td></tr>".repeat(FILLERS));
        html.extend(b"</table></td>");
        left -= column;
        columns = f64::max(columns - 1.0, 1.0);
        width += wide + 8.0;
        tallest = f64::max(tallest, column);
    }
    html.extend(b"</tr></table>");
    Boxed { html, width, height: tallest + 12.0 }
}

/// The markup that begins a column of boxes.
const COLUMN: &[u8] =
    b"<td valign=\"top\"><table border=\"0\" cellborder=\"0\" cellspacing=\"0\" cellpadding=\"2\">";

/// Number of empty rows or cells to add to a table. Graphviz spreads unused space evenly over all
/// rows and cells of a table, so the empty rows or cells take most of it.
pub const FILLERS: usize = 20;

/// Builds a box as an HTML-like table.
pub struct BoxTable {
    html: Vec<u8>,
    look: &'static StateLook,
    lines: usize,
    /// Number of lines that have been written for members.
    pub member_lines: usize,
    longest: usize,
    in_cell: bool,
    nested: (f64, f64),
}

impl BoxTable {
    pub fn new(look: &'static StateLook, evidence: Evidence) -> Self {
        let html = format!(
            "<table border=\"{}\" color=\"{}\" style=\"{}\" cellborder=\"0\" cellspacing=\"0\" cellpadding=\"3\"",
            look.border,
            look.color,
            border_style(evidence)
        );
        Self {
            html: html.into_bytes(),
            look,
            lines: 0,
            member_lines: 0,
            longest: 0,
            in_cell: false,
            nested: (0.0, 0.0),
        }
    }

    /// Adds an attribute to the table of the box, with a value of one or more lines.
    pub fn attribute(&mut self, name: &str, value: &str) -> io::Result<()> {
        let mut html = Html(&mut self.html);
        html.markup(" ")?;
        html.markup(name)?;
        html.markup("=\"")?;
        for (index, line) in value.split('\n').enumerate() {
            html.markup(if index == 0 { "" } else { "\n" })?;
            html.text(line)?;
        }
        html.markup("\"")
    }

    pub fn start(&mut self, port: &str) -> io::Result<()> {
        let fill = self.look.fill;
        write!(
            self.html,
            "><tr><td port=\"{port}\" align=\"left\" balign=\"left\" bgcolor=\"{fill}\">"
        )
    }

    pub fn heading(&mut self, line: &Line) -> io::Result<()> {
        self.text(line).map(|_| ())
    }

    pub fn end_heading(&mut self) -> io::Result<()> {
        self.html.write_all(b"</td></tr>")
    }

    /// Adds a line for members. If `keeper` is set, the line gets a port for the edges from this
    /// process.
    pub fn member(&mut self, keeper: Option<Pid>, line: &Line) -> io::Result<()> {
        match keeper {
            Some(pid) => {
                self.end_members()?;
                write!(self.html, "<tr><td port=\"p{pid}\" align=\"left\" balign=\"left\">")?;
                self.in_cell = true;
            }
            None if !self.in_cell => {
                self.html.write_all(b"<tr><td align=\"left\" balign=\"left\">")?;
                self.in_cell = true;
            }
            None => {}
        }
        self.member_lines += self.text(line)?;
        if keeper.is_some() { self.end_members() } else { Ok(()) }
    }

    pub fn end_members(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.in_cell) { self.end_heading() } else { Ok(()) }
    }

    pub fn nested(&mut self, boxed: &Boxed) -> io::Result<()> {
        self.nested = (boxed.width, boxed.height);
        self.html.write_all(b"<tr><td align=\"left\">")?;
        self.html.write_all(&boxed.html)?;
        self.end_heading()
    }

    pub fn end(mut self) -> io::Result<Boxed> {
        self.html.write_all(b"</table>")?;
        #[expect(clippy::cast_precision_loss, reason = "a few lines and columns")]
        let (columns, lines) = (self.longest as f64, self.lines as f64);
        let (width, height) = self.nested;
        Ok(Boxed {
            html: self.html,
            width: f64::max(columns * CHARACTER + 10.0, width + 8.0),
            height: lines * LINE_HEIGHT + 16.0 + height,
        })
    }

    /// Wraps and writes a line, and returns the number of lines written.
    fn text(&mut self, line: &Line) -> io::Result<usize> {
        let (mut column, mut lines) = (0, 1);
        let mut longest = self.longest;
        let mut html = Html(&mut self.html);
        let mut parts = line.parts().peekable();
        while let Some(part) = parts.next() {
            let text = Distinct(Clipped(part.text, PART)).to_string();
            let characters: Vec<char> = text.chars().collect();
            let separator = if column == 0 { "" } else { part.separator };
            let after = parts.peek().map_or(0, |next| next.separator.trim_end().len());
            if column > 0 && column + separator.len() + characters.len() + after > LINE {
                html.markup(separator.trim_end())?;
                html.markup(NEXT_LINE)?;
                (lines, column) = (lines + 1, INDENT);
            } else {
                html.markup(separator)?;
                column += separator.len();
            }
            let bold = matches!(part.emphasis, Emphasis::Name | Emphasis::Dead | Emphasis::Warning);
            let mut rest = &characters[..];
            while !rest.is_empty() {
                let fits = fitting(rest, LINE - column);
                let (piece, after) = rest.split_at(fits);
                rest = after;
                column += fits;
                longest = longest.max(column);
                html.markup(if bold { "<b>" } else { "" })?;
                html.escaped(&piece.iter().collect::<String>())?;
                html.markup(if bold { "</b>" } else { "" })?;
                if !rest.is_empty() {
                    html.markup(NEXT_LINE)?;
                    (lines, column) = (lines + 1, INDENT);
                }
            }
        }
        html.markup("<br align=\"left\"/>")?;
        self.longest = longest;
        self.lines += lines;
        Ok(lines)
    }
}

/// Indentation of continuation lines in a box, in characters.
const INDENT: usize = 2;
const NEXT_LINE: &str = "<br align=\"left\"/>  ";

/// Returns the number of characters to write on a line with `room` free columns.
fn fitting(characters: &[char], room: usize) -> usize {
    if characters.len() <= room {
        return characters.len();
    }
    // Break after the last space that fits.
    let space = characters.iter().take(room).rposition(|&character| character == ' ');
    // The loop in `text` would not end if a line had no characters.
    space.map_or(room, |at| at + 1).max(1)
}
