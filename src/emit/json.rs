//! The document as JSON (RFC 8259), with a newline at the end.

use std::io::{self, Write};

use serde::Serialize;

use super::Emitter;
use super::sanitize::Json as Escaping;
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
