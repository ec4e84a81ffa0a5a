//! Writes findings as workflow commands for GitHub Actions. GitHub shows the findings as
//! annotations, at most ten errors and ten warnings per step.
//!
//! Escapes the same characters as `escapeData` and `escapeProperty` in GitHub's toolkit:
//! <https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts>.

use std::fmt;
use std::io::{self, Write};

use super::findings::CiFindings;
use crate::emit::Sanitized;
use crate::model::Verdict;

/// Maximum number of annotations for findings with the same verdict and code. If there are more
/// such findings, another annotation gives the number of the remaining findings.
const ANNOTATIONS: usize = 10;

/// Writes one workflow command for each finding, up to the limit [`ANNOTATIONS`].
pub fn write(all: &CiFindings<'_>, out: &mut dyn Write) -> io::Result<()> {
    for verdict in [Verdict::Deny, Verdict::Warn] {
        for &code in &all.codes {
            let command = if verdict == Verdict::Deny { "error" } else { "warning" };
            let mut findings = all
                .findings
                .iter()
                .filter(|(finding, _)| finding.verdict == verdict && finding.code == code);
            let title = format!("pidns: {}", code.name());
            for (_, text) in findings.by_ref().take(ANNOTATIONS) {
                let message = Sanitized(text.in_one_line()).to_string();
                writeln!(out, "::{command} title={}::{}", Property(&title), Data(&message))?;
            }
            match findings.count() {
                0 => {}
                more => writeln!(out, "::{command} title={}::and {more} more", Property(&title))?,
            }
        }
    }
    Ok(())
}

/// The message of a workflow command. `Display` escapes the message.
struct Data<'a>(&'a str);

impl fmt::Display for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, &['%', '\r', '\n'], f)
    }
}

/// A property of a workflow command. `Display` escapes the property, including `:` and `,`, which
/// separate properties.
struct Property<'a>(&'a str);

impl fmt::Display for Property<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, &['%', '\r', '\n', ':', ','], f)
    }
}

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
