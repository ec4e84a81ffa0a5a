//! Writes findings as human-readable text, each with advice.

use std::io::{self, Write};

use crate::emit::{Sanitized, Style};
use crate::model::Verdict;
use crate::query::Check;
use crate::wording::finding::{describe, summary};
use crate::wording::line::Emphasis;

/// Writes each finding on a line, and its advice on a second line.
pub fn write(check: &Check, style: Style, out: &mut dyn Write) -> io::Result<()> {
    for finding in &check.findings {
        let (word, emphasis) = match finding.verdict {
            Verdict::Deny => ("DENIED", Emphasis::Dead),
            Verdict::Warn | Verdict::Allow => ("warning", Emphasis::Warning),
        };
        let mark = style.emphasis(emphasis);
        let text = describe(check, finding, style.symbols());
        let code = finding.code.name();
        writeln!(out, "{mark}{word}{mark:#} {code}: {}", Sanitized(text.message))?;
        if !text.advice.is_empty() {
            writeln!(out, "  {}", Sanitized(text.advice.join("; ")))?;
        }
    }
    let gap = if check.findings.is_empty() { "" } else { "\n" };
    writeln!(out, "{gap}{}.", capitalized(&summary(check)))
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
