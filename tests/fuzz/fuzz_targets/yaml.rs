//! Reads arbitrary bytes as a YAML document, which is accepted or refused in bounded time
//! and memory. An accepted document reads back unchanged after it is written as JSON or
//! YAML.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pidns::document;
use pidns::graph::PidGraph;
use pidns_fuzz::{is_json, reads_back};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    // JSON in YAML begins with a document marker, `--- {`.
    if is_json(bytes) {
        return Corpus::Reject;
    }
    if let Ok((snapshot, _)) = document::read(bytes) {
        reads_back(&PidGraph::new(snapshot));
    }
    Corpus::Keep
});
