//! Draws Mermaid flowcharts for Markdown on GitHub and other sites.

pub mod diff;
pub mod hierarchy;

use std::collections::HashSet;
use std::fmt::{self, Write as _};

use crate::wording::line::Line;
use crate::wording::phrase::more_processes;
use crate::wording::sanitize::Distinct;

/// Maximum number of edges in a chart, below GitHub's limit of 500.
const EDGES: usize = 450;
/// Maximum number of characters in a chart, below GitHub's limit of 50,000.
const CHARACTERS: usize = 45_000;

/// Maximum number of lines in a box.
const LINES: usize = 12;

/// Maximum number of characters in a line of a box. A line with a single part can be longer,
/// because lines are wrapped only between parts.
const LINE: usize = 45;

/// Maximum number of characters in a part of a line, such as a container's name. A longer part is
/// truncated.
const PART: usize = 120;

/// The directive that wraps lines at 450 pixels instead of Mermaid's default of 200.
const WIDTH: &str = r#"%%{init: {"flowchart": {"wrappingWidth": 450}}}%%"#;

struct Chart {
    text: String,
    boxes: usize,
    edges: usize,
    classes: HashSet<&'static str>,
    /// Number of characters and bytes that [`fits`](Self::fits) has already counted.
    counted: (usize, usize),
}

impl Chart {
    /// Creates an empty chart with a title and a description for screen readers.
    fn new(direction: &str, title: &str, description: &str) -> Self {
        let text = format!(
            "{WIDTH}\nflowchart {direction}\n  accTitle: {}\n  accDescr: {}\n",
            Title(title),
            Title(description)
        );
        Self { text, boxes: 0, edges: 0, classes: HashSet::new(), counted: (0, 0) }
    }

    /// Adds a box and the edge from its parent, and returns the number of the box.
    fn add(&mut self, class: &'static str, lines: &[String], parent: Option<usize>) -> usize {
        let number = self.boxes;
        self.boxes += 1;
        let lines: Vec<_> = lines.iter().map(|line| Label(line).to_string()).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "  n{number}[\"{}\"]:::{class}", lines.join("<br/>"));
        self.classes.insert(class);
        if let Some(parent) = parent {
            let _ = writeln!(self.text, "  n{parent} --> n{number}");
            self.edges += 1;
        }
        number
    }

    fn add_class(&mut self, number: usize, class: &'static str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "  class n{number} {class}");
        self.classes.insert(class);
    }

    /// Places the box `number` one level below the box `parent`, without a visible edge.
    fn place_below(&mut self, number: usize, parent: usize) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "  n{parent} ~~~ n{number}");
        self.edges += 1;
    }

    /// Returns `true` if the chart exceeds neither [`EDGES`] nor [`CHARACTERS`].
    fn fits(&mut self) -> bool {
        let (characters, bytes) = self.counted;
        let new = self.text.get(bytes..).unwrap_or_default().chars().count();
        self.counted = (characters + new, self.text.len());
        self.edges <= EDGES && characters + new <= CHARACTERS
    }

    /// Adds the styles of the classes in use, and returns the text of the chart.
    fn finish(mut self, styles: &[(&str, &str)]) -> String {
        for (class, style) in styles.iter().filter(|(class, _)| self.classes.contains(class)) {
            // Writing to a String cannot fail.
            let _ = writeln!(self.text, "  classDef {class} {style},text-align:left");
        }
        self.text
    }
}

/// Adds rows to the lines of a box. Each row comes with the number of processes that it stands for.
fn add_rows(rows: Vec<(Line, usize)>, lines: &mut Vec<String>) {
    let total = rows.iter().map(|(_, count)| count).sum();
    add_list(rows, total, LINES, |left| more_processes(left).to_string(), lines);
}

/// Adds rows to a box until the box has `limit` lines. Each row is paired with the number of items
/// that it stands for. If not all `total` items fit, the last line is `more(n)`, where `n` is the
/// number of items left out.
fn add_list(
    rows: impl IntoIterator<Item = (Line, usize)>,
    total: usize,
    limit: usize,
    more: impl Fn(usize) -> String,
    lines: &mut Vec<String>,
) {
    let mut left = total;
    for (line, count) in rows {
        let before = lines.len();
        wrap(&line, lines);
        // If more items follow, reserve the last line for the number of remaining items.
        if lines.len() > limit || (lines.len() == limit && left > count) {
            lines.truncate(before.min(limit - 1));
            break;
        }
        left -= count;
    }
    if left > 0 {
        lines.push(more(left));
    }
}

/// Wraps a line between its parts, and adds the result to the lines of a box.
fn wrap(line: &Line, lines: &mut Vec<String>) {
    let mut current = String::new();
    let mut column = 0;
    let mut parts = line.parts().peekable();
    while let Some(part) = parts.next() {
        let mut text: String = part.text.chars().take(PART).collect();
        if text.len() < part.text.len() {
            text.push('…');
        }
        let width = text.chars().count();
        let after = parts.peek().map_or(0, |next| next.separator.trim_end().len());
        if column > 0 && column + part.separator.len() + width + after > LINE {
            current.push_str(part.separator.trim_end());
            lines.push(std::mem::take(&mut current));
            column = 0;
        } else if column > 0 {
            current.push_str(part.separator);
            column += part.separator.len();
        }
        current.push_str(&text);
        column += width;
    }
    lines.push(current);
}

/// Text for a title. `Display` encodes the special characters in it.
struct Title<'a>(&'a str);

impl fmt::Display for Title<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Distinct(self.0).to_string().chars().try_for_each(|character| encode(character, f))
    }
}

fn encode(character: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if character.is_alphanumeric() || " .,:/@=+()→…×".contains(character) {
        f.write_char(character)
    } else {
        write!(f, "#{};", u32::from(character))
    }
}

/// A line of text in a box. `Display` encodes the special characters in it.
struct Label<'a>(&'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Distinct(self.0).to_string();
        let end = text.trim_end_matches(' ').len();
        for character in text.get(..end).unwrap_or_default().chars() {
            encode(character, f)?;
            // Mermaid decodes character codes before it interprets `\n`, `$$` and `fa:fa-bell`.
            // Character codes therefore cannot escape these strings, so break the strings up.
            if ['\\', '$', '-'].contains(&character) {
                f.write_str("<wbr/>")?;
            }
        }
        // Write trailing spaces as character codes, because Mermaid removes plain trailing spaces.
        (end..text.len()).try_for_each(|_| write!(f, "#{};", u32::from(' ')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_everything_but_plain_text() {
        let label = Label("a\n<b>\"#x;`[]{}|$$fa:fa-x\u{202e} ").to_string();
        let plain = |c: char| c.is_alphanumeric() || " :#;".contains(c);
        assert!(label.replace("<wbr/>", "").chars().all(plain), "{label}");
        assert!(label.starts_with("a#92;<wbr/>n#60;b#62;#34;#35;x#59;#96;"), "{label}");
        assert!(label.ends_with("#32;"), "{label}");
    }
}
