//! Parses arbitrary bytes as a JSON document. Checks that each accepted document can be written
//! as JSON, NDJSON and YAML and is read back unchanged, with and without filters.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pidns::document;
use pidns::graph::PidGraph;
use pidns_fuzz::{is_json, parts_read_back, reads_back};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if !is_json(bytes) {
        return Corpus::Reject;
    }
    if let Ok((snapshot, _)) = document::read(bytes) {
        let graph = PidGraph::new(snapshot);
        reads_back(&graph);
        parts_read_back(&graph);
    }
    Corpus::Keep
});
