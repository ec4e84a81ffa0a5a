//! Code that several fuzz targets share. Builds documents from random bytes, and checks the
//! output of pidns.

pub mod builder;
pub mod defang;
pub mod dot;
pub mod emitters;

use pidns::document;
use pidns::emit::{Format, Style};
use pidns::graph::PidGraph;
use pidns::model::{NamespaceRef, NamespaceState};
use pidns::query::{Members, Selection, select};

/// Returns `true` if pidns would parse this text as JSON, and not as YAML.
#[must_use]
pub fn is_json(text: &[u8]) -> bool {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    text.trim_ascii_start().starts_with(b"{")
}

/// Returns the output of pidns for a graph.
#[must_use]
pub fn write(graph: &PidGraph, format: Format, style: Style) -> String {
    let mut out = Vec::new();
    format.emit(graph, style, &mut out).expect("a Vec takes everything");
    String::from_utf8(out).expect("all formats are text")
}

/// Asserts that a graph written as JSON, NDJSON and YAML is read back unchanged.
pub fn reads_back(graph: &PidGraph) {
    for format in [Format::Json, Format::Ndjson, Format::Yaml] {
        reads_as(&write(graph, format, Style::default()), graph);
    }
}

/// Applies filters to a graph, and asserts that the filtered graphs are read back unchanged.
pub fn parts_read_back(graph: &PidGraph) {
    let snapshot = graph.snapshot();
    let all = Selection::default;
    let root = snapshot.namespaces.last().map(|last| NamespaceRef::Id(last.id));
    let of = snapshot.processes.last().map(|last| NamespaceRef::Of(last.pid));
    let pids = snapshot.processes.iter().take(2).map(|process| process.pid).collect();
    let mut selections = vec![
        Selection { pids, ..all() },
        Selection { root, ..all() },
        Selection { root: of, members: Members::Init, ..all() },
        Selection { depth: Some(0), ..all() },
        Selection { container: "".parse().ok(), ..all() },
        Selection { comm: "?*".parse().ok(), depth: Some(1), ..all() },
    ];
    selections.extend(Members::ALL.map(|members| Selection { members, ..all() }));
    let states = NamespaceState::ALL.map(|state| Selection { state: Some(state), ..all() });
    selections.extend(states);
    for selection in selections {
        let whole = PidGraph::new(snapshot.clone());
        let Ok(part) = select(whole, &selection) else { continue };
        reads_back(&part);
        if let Ok(part) = select(part, &Selection { depth: Some(1), ..all() }) {
            reads_back(&part);
        }
    }
}

/// Asserts that pidns reads this text as the given graph.
pub fn reads_as(text: &str, graph: &PidGraph) {
    match document::read(text.as_bytes()) {
        // Compare graphs, which sort namespaces by ID. A document lists them in tree order.
        Ok((snapshot, passed_over)) => {
            assert!(passed_over.is_empty(), "{passed_over}: {text}");
            assert_eq!(PidGraph::new(snapshot).snapshot(), graph.snapshot(), "{text}");
        }
        Err(error) => panic!("{error}: {text}"),
    }
}
