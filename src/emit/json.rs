//! The document as JSON (RFC 8259), with a newline at the end.

use std::io::{self, Write};

use serde::Serialize as _;

use super::Emitter;
use super::escape::Json as Escaping;
use crate::document::document;
use crate::graph::PidGraph;

/// JSON, indented or on one line.
pub struct Json {
    /// Whether to indent.
    pub pretty: bool,
}

impl Emitter for Json {
    fn emit(&self, graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
        let mut out = Escaping::new(out);
        let document = document(graph);
        if self.pretty {
            document.serialize(&mut serde_json::Serializer::pretty(&mut out))?;
        } else {
            document.serialize(&mut serde_json::Serializer::new(&mut out))?;
        }
        out.write_all(b"\n")?;
        out.flush()
    }
}
