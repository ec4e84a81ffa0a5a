//! Writes the document as newline-delimited JSON, one record per line.

use std::io::{self, Write};

use serde::Serialize;

use super::escape::{Escaping, Notation};
use crate::document::write_records;
use crate::graph::PidGraph;

/// Writes the records of a graph.
pub fn write(graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
    let mut lines = JsonLines::new(out);
    write_records(graph, |record| lines.line(&record))?;
    lines.end()
}

/// Writes JSON values, one per line.
pub struct JsonLines<'a>(Escaping<&'a mut dyn Write>);

impl<'a> JsonLines<'a> {
    /// Creates a writer that writes lines to `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self(Escaping::new(out, Notation::Json))
    }

    /// Writes a value as one line.
    pub fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        value.serialize(&mut serde_json::Serializer::new(&mut self.0))?;
        self.0.write_all(b"\n")
    }

    /// Flushes the lines that are still buffered.
    pub fn end(mut self) -> io::Result<()> {
        self.0.flush()
    }
}
