//! Parses arbitrary bytes as a YAML document, within the time and memory limits of the fuzzer.
//! Checks that each accepted document can be written as JSON, NDJSON and YAML and is read back
//! unchanged.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pidns::document;
use pidns::graph::PidGraph;
use pidns_fuzz::{is_json, reads_back};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    // Input that begins with `{` goes to the JSON parser. YAML with the same content can begin
    // with `--- {`.
    if is_json(bytes) {
        return Corpus::Reject;
    }
    if let Ok((snapshot, _)) = document::read(bytes) {
        reads_back(&PidGraph::new(snapshot));
    }
    Corpus::Keep
});
