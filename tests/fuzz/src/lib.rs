//! What the fuzz targets share: documents out of bytes, and what must hold of
//! everything that pidns writes.

pub mod builder;
pub mod defang;
pub mod dot;
pub mod emitters;

use pidns::document;
use pidns::emit::{Format, Look};
use pidns::graph::PidGraph;

/// Whether the reader takes a text for JSON.
#[must_use]
pub fn is_json(text: &[u8]) -> bool {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    text.trim_ascii_start().starts_with(b"{")
}

/// Writes a graph; a writer that takes everything leaves no reason to fail.
#[must_use]
pub fn write(graph: &PidGraph, format: Format, look: Look) -> String {
    let mut out = Vec::new();
    format.emitter(look).emit(graph, &mut out).expect("a Vec takes everything");
    String::from_utf8(out).expect("all formats are text")
}

/// Asserts that JSON and YAML read back as what was written.
pub fn reads_back(graph: &PidGraph) {
    for format in [Format::Json, Format::Yaml] {
        reads_as(&write(graph, format, Look::default()), graph);
    }
}

/// Asserts that a text is the document of a graph.
pub fn reads_as(text: &str, graph: &PidGraph) {
    match document::read(text.as_bytes()) {
        // A graph has its lists sorted by ID, the document in the order of the tree.
        Ok(snapshot) => {
            assert_eq!(PidGraph::new(snapshot).snapshot(), graph.snapshot(), "{text}");
        }
        Err(error) => panic!("{error}: {text}"),
    }
}
