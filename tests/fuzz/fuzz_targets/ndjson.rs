//! Reads arbitrary bytes as NDJSON records, which are accepted or refused for any host.
//! Accepted records read back unchanged after they are written as NDJSON, JSON or YAML.
//! If the host is named, records of another host before or after them change nothing.

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
        // If there are several hosts, it may be one of these.
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

/// Asserts that a host is found between the records of another one.
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
