//! Escapes untrusted text, such as process names, for terminals and CI logs.

use std::fmt::{self, Write as _};

/// Text for one line of a terminal or report, with harmful characters escaped.
pub struct Sanitized<T>(pub T);

impl<T: fmt::Display> fmt::Display for Sanitized<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Filter::new(f, is_harmful), "{}", self.0)
    }
}

/// Like [`Sanitized`], but doubles each literal backslash, so that it does not look like the start
/// of an escape sequence.
pub struct Distinct<T>(pub T);

impl<T: fmt::Display> fmt::Display for Distinct<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Filter::new(f, |c| c == '\\' || is_harmful(c)), "{}", self.0)
    }
}

/// Like [`Distinct`], but also escapes all non-ASCII characters.
pub struct Ascii<T>(pub T);

impl<T: fmt::Display> fmt::Display for Ascii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escapes = |c: char| c == '\\' || !c.is_ascii() || is_harmful(c);
        write!(Filter::new(f, escapes), "{}", self.0)
    }
}

/// A writer that escapes CI commands, and each character for which `escapes` is `true`.
struct Filter<W, F> {
    out: W,
    escapes: F,
    seen: CiCommand,
}

impl<W, F: Fn(char) -> bool> Filter<W, F> {
    fn new(out: W, escapes: F) -> Self {
        Self { out, escapes, seen: CiCommand::default() }
    }
}

impl<W: fmt::Write, F: Fn(char) -> bool> fmt::Write for Filter<W, F> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut written = 0;
        for (at, c) in text.char_indices() {
            if !self.seen.is_completed_by(c) && !(self.escapes)(c) {
                continue;
            }
            self.out.write_str(&text[written..at])?;
            written = at + c.len_utf8();
            match c {
                '\\' => self.out.write_str("\\\\")?,
                '\n' => self.out.write_str("\\n")?,
                '\t' => self.out.write_str("\\t")?,
                '\r' => self.out.write_str("\\r")?,
                c if u32::from(c) < 0x100 => write!(self.out, "\\x{:02x}", u32::from(c))?,
                c => write!(self.out, "\\u{{{:x}}}", u32::from(c))?,
            }
        }
        self.out.write_str(&text[written..])
    }
}

/// Finds CI commands (output that the CI system executes) in a text, one character at a time.
#[derive(Clone, Copy, Debug, Default)]
pub enum CiCommand {
    /// The text so far is empty or whitespace.
    #[default]
    Blank,
    /// The text so far is one colon, possibly after whitespace.
    Colon,
    /// The last character was a `#`.
    Hash,
    /// The text contains more than whitespace, so a `::` no longer starts a command.
    Other,
}

impl CiCommand {
    /// Returns `true` if the next character completes the `##` or `::` of a CI command.
    pub fn is_completed_by(&mut self, c: char) -> bool {
        let (next, is_complete) = match (*self, c) {
            (Self::Hash, '#') | (Self::Colon, ':') => (Self::Other, true),
            // Azure (`##vso[`), TeamCity and old GitHub runners recognize a command that starts
            // with `##` anywhere in a line.
            (_, '#') => (Self::Hash, false),
            // GitHub finds `::` only at the start of a line, possibly after whitespace.
            (Self::Blank, ':') => (Self::Colon, false),
            (Self::Blank, c) if c.is_whitespace() => (Self::Blank, false),
            // Skip all non-ASCII characters, because some of them are invisible and a CI system may
            // ignore those.
            (seen, c) if !c.is_ascii() => (seen, false),
            _ => (Self::Other, false),
        };
        *self = next;
        is_complete
    }
}

/// Returns `true` for control, format and separator characters, and those that XML forbids.
pub fn is_harmful(c: char) -> bool {
    // No existing library recognizes all of these characters.
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_harmful_characters() {
        let name = "a\n\t\x1b[31m\u{202e}\u{9b}\u{2028}é\\";
        assert_eq!(Sanitized(name).to_string(), "a\\n\\t\\x1b[31m\\u{202e}\\x9b\\u{2028}é\\");
    }

    #[test]
    fn distinguishes_a_newline_from_a_backslash() {
        assert_eq!(Distinct("a\nb").to_string(), "a\\nb");
        assert_eq!(Distinct("a\\nb").to_string(), "a\\\\nb");
        assert_eq!(Ascii("é→\\n").to_string(), "\\xe9\\u{2192}\\\\n");
    }

    #[test]
    fn escapes_commands_to_a_ci_system() {
        for (name, shown) in [
            ("##[error]x", "#\\x23[error]x"),
            ("a ###vso[b]", "a #\\x23#vso[b]"),
            ("#\u{fe0f}#[x]", "#\u{fe0f}\\x23[x]"),
            ("# a #", "# a #"),
            ("::error::x", ":\\x3aerror::x"),
            (" \u{a0}::x", " \u{a0}:\\x3ax"),
            ("std::fmt :::", "std::fmt :::"),
            (": :", ": :"),
        ] {
            assert_eq!(Sanitized(name).to_string(), shown);
            assert_eq!(Distinct(name).to_string(), shown);
        }
        // `##` is escaped even if its two characters arrive separately.
        assert_eq!(Sanitized(format_args!("a#{}{}", '#', "#b")).to_string(), "a#\\x23#b");
    }

    proptest! {
        #[test]
        fn escapes_every_harmful_character(text in "\\PC*|.*") {
            let shown = Sanitized(&text).to_string();
            prop_assert!(!shown.chars().any(is_harmful));
            prop_assert!(!shown.contains("##") && !shown.trim_start().starts_with("::"));
        }

        #[test]
        fn leaves_plain_text_unchanged(text in "[a-zA-Z0-9./][a-zA-Z0-9 ./:_()\\\\-]*") {
            prop_assert_eq!(Sanitized(&text).to_string(), text);
        }
    }
}
