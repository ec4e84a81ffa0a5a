//! The document as YAML 1.2: the same as in JSON, field by field.

use std::io::{self, Write};

use super::{Emitter, Sanitized};
use crate::document::document;
use crate::graph::PidGraph;

/// YAML in block style.
pub struct Yaml {
    /// Whether it goes to a terminal. The library writes bidirectional
    /// characters as they are, which YAML allows; a terminal gets escapes.
    pub terminal: bool,
}

impl Emitter for Yaml {
    fn emit(&self, graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
        if self.terminal {
            let text = serde_yaml::to_string(&document(graph)).map_err(io::Error::other)?;
            for line in text.lines() {
                writeln!(out, "{}", Sanitized(line))?;
            }
            return Ok(());
        }
        // The library's error hides that of the writer, which alone is of use.
        let mut writer = Remembering { out, error: None };
        serde_yaml::to_writer(&mut writer, &document(graph))
            .map_err(|error| writer.error.unwrap_or_else(|| io::Error::other(error)))
    }
}

struct Remembering<'a> {
    out: &'a mut dyn Write,
    error: Option<io::Error>,
}

impl Write for Remembering<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(|error| {
            let kind = error.kind();
            self.error = Some(error);
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
