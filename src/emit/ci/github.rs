//! Writes findings as GitHub Actions workflow commands, which GitHub shows as annotations.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};

use super::findings::CiFindings;
use crate::emit::Sanitized;
use crate::model::{CheckCode, Finding, Verdict};
use crate::wording::phrase::Count;

/// Maximum number of errors that GitHub shows for a step. The same limit applies separately to
/// warnings.
const ANNOTATIONS: usize = 10;

/// Writes at most ten errors and at most ten warnings.
pub fn write(all: &CiFindings<'_>, out: &mut dyn Write) -> io::Result<()> {
    for (verdict, command) in [(Verdict::Deny, "error"), (Verdict::Warn, "warning")] {
        let of_verdict = || all.findings.iter().filter(|(finding, _)| finding.verdict == verdict);
        let findings: Vec<Finding> = of_verdict().map(|(finding, _)| *finding).collect();
        let shown = shown(&findings);
        for (finding, text) in of_verdict().filter(|(finding, _)| shown.contains(finding)) {
            let title = format!("pidns: {}", finding.code.name());
            let message = Sanitized(text.in_one_line()).to_string();
            writeln!(out, "::{command} title={}::{}", Property(&title), Data(&message))?;
        }
        let mut left_out: BTreeMap<CheckCode, usize> = BTreeMap::new();
        for finding in findings.iter().filter(|finding| !shown.contains(finding)) {
            *left_out.entry(finding.code).or_default() += 1;
        }
        // The last annotation gives the number of omitted findings for each check code.
        if !left_out.is_empty() {
            let counts: Vec<_> = left_out
                .iter()
                .map(|(code, &count)| format!("{} {}", Count(count), code.name()))
                .collect();
            let message = format!("and {}", counts.join(", "));
            writeln!(out, "::{command} title=pidns::{}", Data(&message))?;
        }
    }
    Ok(())
}

/// Selects the findings to annotate.
fn shown(findings: &[Finding]) -> BTreeSet<Finding> {
    if findings.len() <= ANNOTATIONS {
        return findings.iter().copied().collect();
    }
    // Rank the findings within each check code, so that findings are selected round-robin across
    // the codes.
    let mut ranks: BTreeMap<CheckCode, usize> = BTreeMap::new();
    let mut ranked: Vec<_> = findings
        .iter()
        .map(|&finding| {
            let rank = ranks.entry(finding.code).or_default();
            *rank += 1;
            (*rank, finding)
        })
        .collect();
    ranked.sort_unstable();
    // Leave one annotation for the number of omitted findings.
    ranked.into_iter().map(|(_, finding)| finding).take(ANNOTATIONS - 1).collect()
}

/// The message of a workflow command. Its `Display` implementation escapes the text.
struct Data<'a>(&'a str);

impl fmt::Display for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, &['%', '\r', '\n'], f)
    }
}

/// A property of a workflow command. Its `Display` implementation escapes the text.
struct Property<'a>(&'a str);

impl fmt::Display for Property<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, &['%', '\r', '\n', ':', ','], f)
    }
}

/// Escapes characters in the same way as `escapeData` in GitHub's `actions/toolkit`.
fn escape(text: &str, escaped: &[char], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for c in text.chars() {
        if escaped.contains(&c) {
            write!(f, "%{:02X}", u32::from(c))?;
        } else {
            fmt::Write::write_char(f, c)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_the_syntax_of_workflow_commands() {
        let hostile = "a%b\r\nc::error title=x,y::z";
        assert_eq!(Data(hostile).to_string(), "a%25b%0D%0Ac::error title=x,y::z");
        assert_eq!(Property(hostile).to_string(), "a%25b%0D%0Ac%3A%3Aerror title=x%2Cy%3A%3Az");
    }
}
