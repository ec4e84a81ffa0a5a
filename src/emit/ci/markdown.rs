//! Findings as a table in Markdown, for the summary of a job, and a picture of
//! the branches that they are in.

use std::fmt;
use std::io::{self, Write};

use super::check::{said, sum};
use crate::emit::picture::mermaid::Mermaid;
use crate::emit::{Emitter as _, Sanitized};
use crate::model::Verdict;
use crate::query::Check;

/// Rows of the table: a summary on GitHub may have one MiB.
const MOST: usize = 500;

/// Writes a heading and, where something was found, a table and a picture.
pub fn write(check: &Check, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "### pidns check: {}", sum(check))?;
    if check.findings.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n| | code | what | what to do |\n|---|---|---|---|")?;
    for finding in check.findings.iter().take(MOST) {
        let said = said(check, finding, false);
        let verdict = if finding.verdict == Verdict::Deny { "**denied**" } else { "warning" };
        let advice: Vec<_> = said.advice.iter().map(|it| Cell(it).to_string()).collect();
        writeln!(
            out,
            "| {verdict} | {} | {} | {} |",
            finding.code.name(),
            Cell(&said.message),
            advice.join("<br>")
        )?;
    }
    if let Some(more @ 1..) = check.findings.len().checked_sub(MOST) {
        writeln!(out, "\nand {more} more")?;
    }
    let branches = check.branches();
    if branches.snapshot().namespaces.is_empty() {
        return Ok(());
    }
    // Nothing in the picture can end the fence: it has no backquote.
    writeln!(out, "\n```mermaid")?;
    Mermaid.emit(&branches, out)?;
    writeln!(out, "```")
}

/// A text in a cell: every character of ASCII that Markdown or HTML may take
/// for its own is a reference (CommonMark 6.2), so nothing of it is.
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
