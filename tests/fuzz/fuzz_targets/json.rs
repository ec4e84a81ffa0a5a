//! A document in JSON, whatever its bytes, is read or refused; one that is read
//! is written again, in JSON and YAML, such that the same is read; so is a part of it.

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
