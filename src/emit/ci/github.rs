//! Findings as workflow commands of GitHub Actions, which it shows as
//! annotations: at most ten errors and ten warnings a step.
//!
//! Escapes as in `escapeData` and `escapeProperty` of
//! <https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts>.

use std::fmt;
use std::io::{self, Write};

use super::check::said;
use crate::emit::Sanitized;
use crate::model::{CheckCode, Verdict};
use crate::query::Check;

/// Annotations of one kind; the rest are counted in one more.
const MOST: usize = 10;

/// Writes a workflow command for each finding, up to ten of a kind.
pub fn write(check: &Check, out: &mut dyn Write) -> io::Result<()> {
    for verdict in [Verdict::Deny, Verdict::Warn] {
        for &code in CheckCode::ALL {
            let command = if verdict == Verdict::Deny { "error" } else { "warning" };
            let mut findings = check
                .findings
                .iter()
                .filter(|finding| finding.verdict == verdict && finding.code == code);
            let title = format!("pidns: {}", code.name());
            for finding in findings.by_ref().take(MOST) {
                let said = said(check, finding, false);
                let mut message = said.message;
                if !said.advice.is_empty() {
                    message.push_str("; ");
                    message.push_str(&said.advice.join("; "));
                }
                let message = Sanitized(message).to_string();
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

/// A message: what would end it, or begin an escape, is escaped.
struct Data<'a>(&'a str);

impl fmt::Display for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, &['%', '\r', '\n'], f)
    }
}

/// A property: likewise, and what parts properties.
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
    fn what_a_workflow_command_would_take_for_its_own_is_escaped() {
        let hostile = "a%b\r\nc::error title=x,y::z";
        assert_eq!(Data(hostile).to_string(), "a%25b%0D%0Ac::error title=x,y::z");
        assert_eq!(Property(hostile).to_string(), "a%25b%0D%0Ac%3A%3Aerror title=x%2Cy%3A%3Az");
    }
}
