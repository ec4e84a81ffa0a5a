//! Foreign text made safe for the place where it goes, as it passes through.
//!
//! Names of processes, mount points and users are chosen by others; they may
//! hold anything.

use std::fmt::{self, Write as _};
use std::io;

/// Text for a terminal or a line of a report: what would control a terminal,
/// break the line or turn the direction of writing is shown as an escape.
pub struct Sanitized<T>(pub T);

impl<T: fmt::Display> fmt::Display for Sanitized<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Filter(f), "{}", self.0)
    }
}

struct Filter<W>(W);

impl<W: fmt::Write> fmt::Write for Filter<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_harmful) {
            let (before, harmful) = rest.split_at(at);
            self.0.write_str(before)?;
            let mut after = harmful.chars();
            if let Some(c) = after.next() {
                match c {
                    '\n' => self.0.write_str("\\n")?,
                    '\t' => self.0.write_str("\\t")?,
                    '\r' => self.0.write_str("\\r")?,
                    c if u32::from(c) < 0x100 => write!(self.0, "\\x{:02x}", u32::from(c))?,
                    c => write!(self.0, "\\u{{{:x}}}", u32::from(c))?,
                }
            }
            rest = after.as_str();
        }
        self.0.write_str(rest)
    }
}

/// Controls (C0, DEL, C1), line and paragraph separators, format characters
/// (general category Cf: bidirectional marks and overrides, invisible ones,
/// tags), and what no XML parser takes.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

/// A writer of JSON that passes everything on but what a terminal might obey,
/// which becomes an escape that every parser reads as the same character. All
/// of it stands in strings, as JSON has such characters nowhere else.
///
/// The serialiser writes a few bytes at a time, but whole characters: they are
/// gathered, and looked at many at once. What was written last waits for
/// [`flush`](io::Write::flush).
pub struct Json<W> {
    out: W,
    gathered: Vec<u8>,
}

/// Bytes to gather: more gain nothing.
const GATHERED: usize = 64 * 1024;

impl<W: io::Write> Json<W> {
    /// Nothing written yet.
    pub fn new(out: W) -> Self {
        Self { out, gathered: Vec::with_capacity(GATHERED) }
    }

    #[cold]
    fn pass_on(&mut self) -> io::Result<()> {
        const DEL: u8 = 0x7f;
        // Without a branch for each byte.
        if self.gathered.iter().fold(0, |most, &byte| most.max(byte)) < DEL {
            self.out.write_all(&self.gathered)?;
        } else {
            let text = std::str::from_utf8(&self.gathered).map_err(io::Error::other)?;
            let mut rest = text;
            let is_harmful = |c: char| c != '\n' && is_harmful(c);
            while let Some(at) = rest.find(is_harmful) {
                let (before, harmful) = rest.split_at(at);
                self.out.write_all(before.as_bytes())?;
                let mut after = harmful.chars();
                let mut units = [0; 2];
                for unit in after.next().unwrap_or_default().encode_utf16(&mut units) {
                    write!(self.out, "\\u{unit:04x}")?;
                }
                rest = after.as_str();
            }
            self.out.write_all(rest.as_bytes())?;
        }
        self.gathered.clear();
        Ok(())
    }
}

impl<W: io::Write> io::Write for Json<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.gathered.len() + bytes.len() > GATHERED {
            self.pass_on()?;
        }
        self.gathered.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()?;
        self.out.flush()
    }
}

/// A writer of Graphviz HTML-like labels: text that passes through
/// [`text`](Self::text) is harmless and escaped, so that no label can forget to.
pub struct Html<'a>(pub &'a mut dyn io::Write);

impl Html<'_> {
    /// Markup of our own, as it stands.
    pub fn markup(&mut self, markup: &str) -> io::Result<()> {
        self.0.write_all(markup.as_bytes())
    }

    /// Text from elsewhere.
    pub fn text(&mut self, text: impl fmt::Display) -> io::Result<()> {
        let mut entities = Entities { out: self.0, error: Ok(()) };
        match write!(entities, "{}", Sanitized(text)) {
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

/// What stands for a byte that means something in a label.
fn entity(byte: u8) -> Option<&'static str> {
    match byte {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'"' => Some("&quot;"),
        b'\'' => Some("&#39;"),
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
    fn what_a_terminal_would_obey_is_shown_instead() {
        let name = "a\n\t\x1b[31m\u{202e}\u{9b}\u{2028}é\\";
        assert_eq!(Sanitized(name).to_string(), "a\\n\\t\\x1b[31m\\u{202e}\\x9b\\u{2028}é\\");
    }

    #[test]
    fn what_means_something_in_a_label_is_an_entity() {
        assert_eq!(html("<b>&\"'\n{|}\\"), "&lt;b&gt;&amp;&quot;&#39;\\n{|}\\");
    }

    #[test]
    fn json_shows_no_harm_and_reads_the_same() {
        let name = "a\u{7f}\u{9b}31m\u{202e}\u{feff}é\n\u{1f600}\u{e0041}";
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        serde_json::to_writer(&mut json, name).unwrap();
        io::Write::flush(&mut json).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "\"a\\u007f\\u009b31m\\u202e\\ufeffé\\n\u{1f600}\\udb40\\udc41\"");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), name);
    }

    proptest! {
        #[test]
        fn no_text_gets_through_with_anything_harmful(text in "\\PC*|.*") {
            let shown = Sanitized(&text).to_string();
            prop_assert!(!shown.chars().any(is_harmful));
            prop_assert!(!html(&text).contains(['<', '>', '"', '\'', '\n', '\x1b']));
        }

        #[test]
        fn plain_text_is_left_alone(text in "[a-zA-Z0-9 ./:_()\\\\-]*") {
            prop_assert_eq!(Sanitized(&text).to_string(), text);
        }
    }
}
