//! Writes findings as a Markdown table for the summary of a CI job, followed by a picture of the
//! namespaces and processes that the findings concern.

use std::fmt;
use std::io::{self, Write};

use crate::emit::Sanitized;
use crate::emit::picture::mermaid::hierarchy;
use crate::model::Verdict;
use crate::query::Check;
use crate::wording::finding::{describe, summary};
use crate::wording::phrase::Symbols;

/// Maximum number of rows in the table. GitHub limits a summary to 1 MiB.
const ROWS: usize = 500;

/// Writes a heading and, if there are findings, a table and a picture.
pub fn write(check: &Check, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "### pidns check: {}", summary(check))?;
    if check.findings.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n| | code | what | what to do |\n|---|---|---|---|")?;
    for finding in check.findings.iter().take(ROWS) {
        let text = describe(check, finding, Symbols::UNICODE);
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
    if let Some(more @ 1..) = check.findings.len().checked_sub(ROWS) {
        writeln!(out, "\nand {more} more")?;
    }
    let branches = check.branches();
    if branches.snapshot().namespaces.is_empty() {
        return Ok(());
    }
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
