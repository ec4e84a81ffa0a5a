//! The document as records, one a line (newline-delimited JSON): each line is a
//! JSON text of its own, so that files of many hosts are made by `cat`, and read
//! by databases and collectors of logs as they stand.

use std::io::{self, Write};

use serde::Serialize;

use super::Emitter;
use super::escape::{Escaping, Notation};
use crate::document::write_records;
use crate::graph::PidGraph;

/// A line a record, never indented.
pub struct Ndjson;

impl Emitter for Ndjson {
    fn emit(&self, graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
        let mut out = Escaping::new(out, Notation::Json);
        write_records(graph, |record| {
            record.serialize(&mut serde_json::Serializer::new(&mut out))?;
            out.write_all(b"\n")
        })?;
        out.flush()
    }
}
