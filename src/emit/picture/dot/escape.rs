//! Escapes text for Graphviz. This module does not use an HTML escaping library, because such
//! libraries ignore sequences such as `\N`.

use std::fmt::{self, Write as _};
use std::io;

use crate::wording::sanitize::Distinct;

/// Escapes text for a quoted attribute, in which Graphviz interprets backslashes and HTML entities.
pub fn quoted(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let line = Distinct(line).to_string();
        line.replace('&', "&amp;").replace('\\', "\\\\").replace('"', "\\\"")
    });
    lines.collect::<Vec<_>>().join("\\n")
}

/// A writer of HTML-like labels for Graphviz.
pub struct Html<'a>(pub &'a mut dyn io::Write);

impl Html<'_> {
    /// Writes markup unchanged.
    pub fn markup(&mut self, markup: &str) -> io::Result<()> {
        self.0.write_all(markup.as_bytes())
    }

    /// Writes text, escaped for terminals and for labels.
    pub fn text(&mut self, text: impl fmt::Display) -> io::Result<()> {
        self.put(format_args!("{}", Distinct(text)))
    }

    /// Escapes text for labels and writes it. The text must already be escaped for terminals.
    pub fn escaped(&mut self, text: &str) -> io::Result<()> {
        self.put(format_args!("{text}"))
    }

    fn put(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        let mut entities = Entities { out: self.0, error: Ok(()) };
        match entities.write_fmt(text) {
            Ok(()) => Ok(()),
            Err(fmt::Error) => {
                Err(entities.error.err().unwrap_or_else(|| io::ErrorKind::Other.into()))
            }
        }
    }
}

struct Entities<'a> {
    out: &'a mut dyn io::Write,
    error: io::Result<()>,
}

impl fmt::Write for Entities<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let plain = rest.iter().position(|byte| entity(*byte).is_some()).unwrap_or(rest.len());
            let (before, special) = rest.split_at(plain);
            self.put(before)?;
            let Some((first, after)) = special.split_first() else { break };
            self.put(entity(*first).unwrap_or_default().as_bytes())?;
            rest = after;
        }
        Ok(())
    }
}

impl Entities<'_> {
    fn put(&mut self, bytes: &[u8]) -> fmt::Result {
        self.out.write_all(bytes).map_err(|error| {
            self.error = Err(error);
            fmt::Error
        })
    }
}

/// Returns the escape sequence for a byte, or `None` if labels may contain the byte.
fn entity(byte: u8) -> Option<&'static str> {
    match byte {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'"' => Some("&quot;"),
        b'\'' => Some("&#39;"),
        // Graphviz would replace an unescaped `\N` with the name of the node.
        b'\\' => Some("\\\\"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn html(text: &str) -> String {
        let mut out = Vec::new();
        Html(&mut out).text(text).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_labels() {
        assert_eq!(html("<b>&\"'\n{|}\\"), "&lt;b&gt;&amp;&quot;&#39;\\\\n{|}\\\\\\\\");
    }

    #[test]
    fn escapes_quoted_attributes() {
        assert_eq!(quoted("a\"\\N&lt;\nb"), "a\\\"\\\\\\\\N&amp;lt;\\nb");
    }

    proptest! {
        #[test]
        fn no_text_breaks_out_of_a_label(text in "\\PC*|.*") {
            let shown = html(&text);
            prop_assert!(!shown.contains(['<', '>', '"', '\'', '\n', '\x1b']));
            // The label contains backslashes only in pairs, because each backslash is escaped as
            // `\\`.
            prop_assert!(!shown.replace("\\\\", "").contains('\\'));
        }
    }
}
