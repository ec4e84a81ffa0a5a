//! A document in YAML, whatever its bytes, is read or refused, in bounded time
//! and memory; one that is read is written again, in JSON and YAML, such that
//! the same is read.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pidns::document;
use pidns::graph::PidGraph;
use pidns_fuzz::{is_json, reads_back};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    // JSON within YAML begins with a mark, `--- {`.
    if is_json(bytes) {
        return Corpus::Reject;
    }
    if let Ok((snapshot, _)) = document::read(bytes) {
        reads_back(&PidGraph::new(snapshot));
    }
    Corpus::Keep
});
