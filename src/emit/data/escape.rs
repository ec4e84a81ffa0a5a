//! Escapes harmful characters in the double-quoted strings of JSON and YAML.
//!
//! `serde_json` leaves control characters above U+001F unescaped, although terminals and YAML
//! readers interpret them.

use std::io::{self, Write};

use crate::wording::sanitize::{CiCommand, is_harmful};

/// The escape notation for characters above U+FFFF.
#[derive(Clone, Copy)]
pub enum Notation {
    /// One escape for each half of the character's surrogate pair, as in `\ud83d\ude00`.
    Json,
    /// One escape for the whole code point, as in `\U0001f600`.
    Yaml,
}

/// A writer that escapes [harmful](is_harmful) characters and [CI commands](CiCommand). Callers
/// must call [`flush`](Write::flush) at the end.
pub struct Escaping<W> {
    out: W,
    notation: Notation,
    buffer: Vec<u8>,
    /// State of the search for CI commands after the last checked character.
    seen: CiCommand,
}

/// Size of the buffer in bytes (a larger buffer is not faster).
const BUFFER: usize = 64 * 1024;

impl<W: Write> Escaping<W> {
    /// Creates a writer that writes to `out`.
    pub fn new(out: W, notation: Notation) -> Self {
        Self { out, notation, buffer: Vec::with_capacity(BUFFER), seen: CiCommand::Other }
    }

    #[cold]
    fn write_buffer(&mut self) -> io::Result<()> {
        const DEL: u8 = 0x7f;
        // The compiler vectorises this fold, because it has no branches.
        let is_ascii = self.buffer.iter().fold(0, |most, &byte| most.max(byte)) < DEL;
        // ASCII text without `#` needs no escaping, because `serde_json` has already escaped the
        // control characters. A `#` needs a check, because `##` can start a CI command.
        if is_ascii && !self.buffer.contains(&b'#') {
            self.out.write_all(&self.buffer)?;
            self.seen = CiCommand::Other;
        } else {
            let text = std::str::from_utf8(&self.buffer).map_err(io::Error::other)?;
            let mut written = 0;
            for (at, c) in text.char_indices() {
                // Harmful characters occur only inside strings, so an escape is always valid.
                if !self.seen.is_completed_by(c) && (c == '\n' || !is_harmful(c)) {
                    continue;
                }
                self.out.write_all(&text.as_bytes()[written..at])?;
                written = at + c.len_utf8();
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
            }
            self.out.write_all(&text.as_bytes()[written..])?;
        }
        self.buffer.clear();
        Ok(())
    }
}

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.write_buffer()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_buffer()?;
        self.out.flush()
    }
}
