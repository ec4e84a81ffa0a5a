//! Escapes for strings in double quotes, as JSON and YAML have them: what a
//! terminal might obey, and what some reader of YAML takes for a line break,
//! is written as the number of the character.

use std::io::{self, Write};

use crate::wording::sanitize::is_harmful;

/// How a character beyond U+FFFF is escaped. All else is the same in both.
#[derive(Clone, Copy)]
pub enum Notation {
    /// Two halves of UTF-16, `\ud83d\ude00`.
    Json,
    /// One number, `\U0001f600`.
    Yaml,
}

/// A writer that passes everything on but what a terminal might obey, which
/// becomes an escape that every parser reads as the same character. All of it
/// stands in strings in double quotes: neither format has such characters
/// elsewhere.
///
/// The serialiser writes a few bytes at a time, but whole characters: they are
/// gathered, and looked at many at once. What was written last waits for
/// [`flush`](Write::flush).
pub struct Escaping<W> {
    out: W,
    notation: Notation,
    gathered: Vec<u8>,
}

/// Bytes to gather: more gain nothing.
const GATHERED: usize = 64 * 1024;

impl<W: Write> Escaping<W> {
    /// Nothing written yet.
    pub fn new(out: W, notation: Notation) -> Self {
        Self { out, notation, gathered: Vec::with_capacity(GATHERED) }
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
                let c = after.next().unwrap_or_default();
                match self.notation {
                    Notation::Yaml if u32::from(c) > 0xffff => {
                        write!(self.out, "\\U{:08x}", u32::from(c))?;
                    }
                    _ => {
                        for unit in c.encode_utf16(&mut [0; 2]) {
                            write!(self.out, "\\u{unit:04x}")?;
                        }
                    }
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
