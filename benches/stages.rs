//! Measures everything that pidns does after it has read data from the kernel: parsing, building the graph,
//! and writing each format. The snapshot has 100,000 processes in 1,000 namespaces.
//!
//! ```sh
//! cargo bench --bench stages
//! ```

use std::collections::BTreeSet;
use std::hint::black_box;

use pidns::collect::parse;
use pidns::emit::{Format, Style};
use pidns::graph::PidGraph;
use pidns::model::{
    Evidence, Host, Namespace, NamespaceId, NamespaceState, Pid, Process, Procfs, SearchScope,
    Snapshot,
};

const PROCESSES: u32 = 100_000;
const NAMESPACES: u32 = 1_000;

fn main() {
    divan::main();
}

fn pid(raw: u32) -> Pid {
    Pid::new(raw).expect("is a PID")
}

fn snapshot() -> Snapshot {
    let id = |index: u32| NamespaceId::Inode(4_026_531_836 + u64::from(index));
    let namespace = |index: u32| Namespace {
        device: Some(4),
        ns_id: Some(index.into()),
        // Each child of the root namespace is the first of five nested namespaces.
        parent: (index > 0).then(|| if index % 5 == 1 { id(0) } else { id(index - 1) }),
        state: NamespaceState::Live,
        evidence: Evidence::Kernel,
        ..Namespace::unread(id(index))
    };
    let process = |raw: u32| {
        let index = raw % NAMESPACES;
        let level = if index == 0 { 0 } else { (index - 1) % 5 + 1 };
        Process {
            ppid: Pid::new(raw / 2),
            namespace: Some(id(index)),
            nspid: (0..=level).map(|step| pid(raw / (step + 1) + 1)).collect(),
            comm: "idle".into(),
            state: 'S',
            user: Some("root".into()),
            ..Process::unread(pid(raw))
        }
    };
    Snapshot {
        generator: ("pidns".to_owned(), "0".to_owned()),
        captured_at: "2026-11-23T14:28:00.123456Z".to_owned(),
        scan_duration: None,
        host: Host::default(),
        procfs: Procfs { path: "/proc".to_owned(), own: true, namespace: Some(id(0)) },
        observer: None,
        searched: BTreeSet::from([SearchScope::Processes]),
        details: BTreeSet::new(),
        selected: Vec::new(),
        complete: true,
        namespaces: (0..NAMESPACES).map(namespace).collect(),
        processes: (1..=PROCESSES).map(process).collect(),
        limits: None,
        diagnostics: Vec::new(),
    }
}

#[divan::bench]
fn parse_status(bencher: divan::Bencher) {
    let status = include_bytes!("../tests/fixtures/status-nested");
    bencher.bench(|| parse::status(black_box(status)));
}

#[divan::bench]
fn build_graph(bencher: divan::Bencher) {
    bencher.with_inputs(snapshot).bench_values(PidGraph::new);
}

#[divan::bench(args = Format::ALL)]
fn emit(bencher: divan::Bencher, format: Format) {
    let graph = PidGraph::new(snapshot());
    bencher.bench_local(|| {
        let mut out = std::io::BufWriter::with_capacity(64 * 1024, std::io::sink());
        format.emit(&graph, Style::default(), &mut out)
    });
}
