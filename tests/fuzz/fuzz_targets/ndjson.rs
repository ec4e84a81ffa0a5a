//! Parses arbitrary bytes as NDJSON. Checks that each accepted snapshot can be written as
//! NDJSON, JSON and YAML and is read back unchanged. With `--host`, records of another host
//! before or after the snapshot must not change the result.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pidns::document;
use pidns::emit::{Format, Style};
use pidns::graph::PidGraph;
use pidns::model::Snapshot;
use pidns_fuzz::{is_json, reads_back, write};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if !is_json(bytes) {
        return Corpus::Reject;
    }
    let Some(snapshot) = read(bytes, None) else {
        // The input may contain snapshots of several hosts. Try the host names that the corpus
        // contains.
        for host in ["ci-7", "web-1", "web-1@2026"] {
            if let Some(snapshot) = read(bytes, Some(host)) {
                reads_back(&PidGraph::new(snapshot));
            }
        }
        return Corpus::Keep;
    };
    let graph = PidGraph::new(snapshot);
    reads_back(&graph);
    among_others(&graph);
    Corpus::Keep
});

fn read(bytes: &[u8], host: Option<&str>) -> Option<Snapshot> {
    let read = document::read_from(bytes, host).expect("bytes can be read");
    read.ok().map(|(snapshot, _)| snapshot)
}

/// Writes the records of a host between records of another host, and asserts that pidns finds
/// the host by its name.
fn among_others(graph: &PidGraph) {
    let Some(name) = &graph.snapshot().host.hostname else { return };
    let mut other = graph.snapshot().clone();
    other.host.hostname = Some(format!("not {name}"));
    other.host.boot_id = None;
    let other = write(&PidGraph::new(other), Format::Ndjson, Style::default());
    let text = other.clone() + &write(graph, Format::Ndjson, Style::default()) + &other;
    let found = read(text.as_bytes(), Some(name)).map(PidGraph::new);
    assert_eq!(found.as_ref().map(PidGraph::snapshot), Some(graph.snapshot()), "{text}");
}
