//! Findings for people: denied first, with what to do about each.

use std::io::{self, Write};

use anstyle::AnsiColor;

use super::{said, sum};
use crate::emit::{Sanitized, Style};
use crate::query::{Check, Verdict};

/// Writes a line for each finding, and one for what to do.
pub fn write(check: &Check, style: Style, out: &mut dyn Write) -> io::Result<()> {
    for finding in &check.findings {
        let (word, color) = match finding.verdict {
            Verdict::Deny => ("DENIED", AnsiColor::Red),
            Verdict::Warn | Verdict::Allow => ("warning", AnsiColor::Yellow),
        };
        let mark = if style.color { color.on_default().bold() } else { anstyle::Style::new() };
        let said = said(check, finding, style.ascii);
        let code = finding.code.name();
        writeln!(out, "{mark}{word}{mark:#} {code}: {}", Sanitized(said.message))?;
        if !said.advice.is_empty() {
            writeln!(out, "  {}", Sanitized(said.advice.join("; ")))?;
        }
    }
    let gap = if check.findings.is_empty() { "" } else { "\n" };
    writeln!(out, "{gap}{}.", capital(&sum(check)))
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
