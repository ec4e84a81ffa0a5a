//! Findings for people: denied first, with what to do about each.

use std::io::{self, Write};

use crate::emit::ci::check::{said, sum};
use crate::emit::{Sanitized, Style};
use crate::model::Verdict;
use crate::query::Check;
use crate::wording::line::Emphasis;

/// Writes a line for each finding, and one for what to do.
pub fn write(check: &Check, style: Style, out: &mut dyn Write) -> io::Result<()> {
    for finding in &check.findings {
        let (word, emphasis) = match finding.verdict {
            Verdict::Deny => ("DENIED", Emphasis::Dead),
            Verdict::Warn | Verdict::Allow => ("warning", Emphasis::Warning),
        };
        let mark = style.of(emphasis);
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
