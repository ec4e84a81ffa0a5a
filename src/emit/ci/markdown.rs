//! Writes findings as Markdown with a Mermaid diagram, for the summary of a CI job.

use std::fmt;
use std::io::{self, Write};

use super::findings::CiFindings;
use crate::emit::Sanitized;
use crate::emit::picture::mermaid::hierarchy;
use crate::model::{Finding, Verdict};
use crate::wording::finding::FindingText;

/// Maximum number of rows in the table.
const ROWS: usize = 500;

/// Maximum size of a job summary on GitHub, in bytes.
const SIZE: usize = 1 << 20;

/// Number of bytes reserved for all lines outside the table and the diagram.
const OTHER_LINES: usize = 1000;

/// Writes a heading, followed by a table and a diagram of any findings.
pub fn write(all: &CiFindings<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "### pidns {}: {}", all.verb, Cell(&all.summary))?;
    if all.findings.is_empty() {
        return Ok(());
    }
    let picture = picture(all)?;
    let mut table = "\n| | code | what | what to do |\n|---|---|---|---|\n".to_owned();
    let mut rows = 0;
    for (finding, text) in all.findings.iter().take(ROWS) {
        let row = row(*finding, text);
        if table.len() + row.len() + picture.len() + OTHER_LINES > SIZE {
            break;
        }
        table.push_str(&row);
        rows += 1;
    }
    out.write_all(table.as_bytes())?;
    if let Some(more @ 1..) = all.findings.len().checked_sub(rows) {
        writeln!(out, "\nand {more} more")?;
    }
    out.write_all(&picture)
}

fn row(finding: Finding, text: &FindingText) -> String {
    let verdict = if finding.verdict == Verdict::Deny { "**denied**" } else { "warning" };
    let advice: Vec<_> = text.advice.iter().map(|it| Cell(it).to_string()).collect();
    let (code, message) = (finding.code.name(), Cell(&text.message));
    format!("| {verdict} | {code} | {message} | {} |\n", advice.join("<br>"))
}

/// Returns a Mermaid code block with the namespaces of the findings.
fn picture(all: &CiFindings<'_>) -> io::Result<Vec<u8>> {
    let branches = (all.branches)().filter(|it| !it.snapshot().namespaces.is_empty());
    let Some(branches) = branches else { return Ok(Vec::new()) };
    // Text in the diagram cannot close the code block, because the diagram never contains
    // backquotes.
    let mut picture = b"\n```mermaid\n".to_vec();
    hierarchy::write(&branches, &mut picture)?;
    picture.extend_from_slice(b"```\n");
    Ok(picture)
}

/// The text of a table cell. Its `Display` implementation escapes the text for Markdown and HTML.
struct Cell<'a>(&'a str);

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in Sanitized(self.0).to_string().chars() {
            match c {
                ' ' | ',' | ';' | '(' | ')' | '/' | '-' | '.' => fmt::Write::write_char(f, c)?,
                c if c.is_ascii_punctuation() => write!(f, "&#{};", u32::from(c))?,
                c => fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    }
}
