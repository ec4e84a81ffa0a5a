//! Writes documents with arbitrary text in each format and style. Checks that the output contains
//! no control or invisible characters, that names cannot break out of a DOT label or a line, and
//! that JSON, NDJSON and YAML are read back unchanged.
//!
//! Input that begins with `{` is parsed as a document. All other input is used as random bytes to
//! build a document.

#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::{Corpus, fuzz_target};
use pidns::document;
use pidns::graph::PidGraph;
use pidns_fuzz::{builder, defang, emitters, parts_read_back};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let built = !bytes.starts_with(b"{");
    let parsed = if built {
        builder::document(&mut Unstructured::new(bytes)).ok()
    } else {
        serde_json::from_slice::<Value>(bytes).ok()
    };
    let Some(document) = parsed else { return Corpus::Reject };
    let Some(defanged) = defang::document(&document) else { return Corpus::Reject };
    let Some(graph) = relate(&document) else {
        assert!(!built, "{:?}: {document}", document::read(document.to_string().as_bytes()));
        return Corpus::Reject;
    };
    let defanged = relate(&defanged).expect("only text differs");
    emitters::check(&graph, &defanged);
    parts_read_back(&graph);
    Corpus::Keep
});

fn relate(document: &Value) -> Option<PidGraph> {
    let (snapshot, _) = document::read(document.to_string().as_bytes()).ok()?;
    Some(PidGraph::new(snapshot))
}
