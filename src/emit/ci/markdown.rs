//! Writes findings as a Markdown table for the summary of a CI job, followed by a picture of the
//! namespaces and processes that the findings concern.

use std::fmt;
use std::io::{self, Write};

use super::findings::CiFindings;
use crate::emit::Sanitized;
use crate::emit::picture::mermaid::hierarchy;
use crate::model::Verdict;

/// Maximum number of rows in the table. GitHub limits a summary to 1 MiB.
const ROWS: usize = 500;

/// Writes a heading and, if there are findings, a table and a picture.
pub fn write(all: &CiFindings<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "### pidns {}: {}", all.verb, Cell(&all.summary))?;
    if all.findings.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n| | code | what | what to do |\n|---|---|---|---|")?;
    for (finding, text) in all.findings.iter().take(ROWS) {
        let verdict = if finding.verdict == Verdict::Deny { "**denied**" } else { "warning" };
        let advice: Vec<_> = text.advice.iter().map(|it| Cell(it).to_string()).collect();
        writeln!(
            out,
            "| {verdict} | {} | {} | {} |",
            finding.code.name(),
            Cell(&text.message),
            advice.join("<br>")
        )?;
    }
    if let Some(more @ 1..) = all.findings.len().checked_sub(ROWS) {
        writeln!(out, "\nand {more} more")?;
    }
    let branches = (all.branches)().filter(|it| !it.snapshot().namespaces.is_empty());
    let Some(branches) = branches else { return Ok(()) };
    // The picture contains no backquotes, so no name in the picture can end the code block.
    writeln!(out, "\n```mermaid")?;
    hierarchy::write(&branches, out)?;
    writeln!(out, "```")
}

/// Text in a table cell. `Display` writes ASCII punctuation as character references, so neither
/// Markdown (CommonMark 6.2) nor HTML treats the punctuation as syntax.
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
