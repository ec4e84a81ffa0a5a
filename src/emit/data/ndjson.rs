//! Records, one a line (newline-delimited JSON): each line is a JSON text of its
//! own, so that files of many hosts are made by `cat`, and read by databases and
//! collectors of logs as they stand.

use std::io::{self, Write};

use serde::Serialize;

use super::escape::{Escaping, Notation};
use crate::document::write_records;
use crate::emit::Emitter;
use crate::graph::PidGraph;

/// The document as records, never indented.
pub struct Ndjson;

impl Emitter for Ndjson {
    fn emit(&self, graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
        let mut lines = JsonLines::new(out);
        write_records(graph, |record| lines.line(&record))?;
        lines.end()
    }
}

/// JSON values, one a line.
pub struct JsonLines<'a>(Escaping<&'a mut dyn Write>);

impl<'a> JsonLines<'a> {
    /// Nothing written yet.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self(Escaping::new(out, Notation::Json))
    }

    /// Writes one more.
    pub fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        value.serialize(&mut serde_json::Serializer::new(&mut self.0))?;
        self.0.write_all(b"\n")
    }

    /// After the last one.
    pub fn end(mut self) -> io::Result<()> {
        self.0.flush()
    }
}
