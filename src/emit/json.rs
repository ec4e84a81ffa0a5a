//! The document as JSON (RFC 8259), with a newline at the end.

use std::io::{self, Write};

use serde::Serialize;

use super::Emitter;
use super::sanitize::is_harmful;
use crate::document::document;
use crate::graph::PidGraph;

/// JSON, indented or on one line.
pub struct Json {
    /// Whether to indent.
    pub pretty: bool,
}

impl Emitter for Json {
    fn emit(&self, graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
        self.write(&document(graph), out)
    }
}

impl Json {
    /// Writes one value.
    pub fn write(&self, value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
        let mut out = Escaping::new(out);
        if self.pretty {
            value.serialize(&mut serde_json::Serializer::pretty(&mut out))?;
        } else {
            value.serialize(&mut serde_json::Serializer::new(&mut out))?;
        }
        out.write_all(b"\n")?;
        out.flush()
    }
}

/// A writer of JSON that passes everything on but what a terminal might obey,
/// which becomes an escape that every parser reads as the same character. All
/// of it stands in strings, as JSON has such characters nowhere else.
///
/// The serialiser writes a few bytes at a time, but whole characters: they are
/// gathered, and looked at many at once. What was written last waits for
/// [`flush`](Write::flush).
struct Escaping<W> {
    out: W,
    gathered: Vec<u8>,
}

/// Bytes to gather: more gain nothing.
const GATHERED: usize = 64 * 1024;

impl<W: Write> Escaping<W> {
    /// Nothing written yet.
    fn new(out: W) -> Self {
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

impl<W: Write> Write for Escaping<W> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_shows_no_harm_and_reads_the_same() {
        let name = "a\u{7f}\u{9b}31m\u{202e}\u{feff}é\n\u{1f600}\u{e0041}";
        let mut out = Vec::new();
        let mut json = Escaping::new(&mut out);
        serde_json::to_writer(&mut json, name).unwrap();
        json.flush().unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "\"a\\u007f\\u009b31m\\u202e\\ufeffé\\n\u{1f600}\\udb40\\udc41\"");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), name);
    }
}
