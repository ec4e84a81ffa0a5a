//! NDJSON records of a snapshot.

use std::iter::once;

use serde::{Deserialize, Serialize};

use super::limit::Limit;
use super::open_list::Word;
use super::process::Process;
use super::record::{Envelope, Record, RecordContent};
use super::snapshot::{Diagnostic, Generator, Namespace};
use super::version::SCHEMA_VERSION;
use super::write::namespaces;
use crate::graph::PidGraph;
use crate::model::{self, Criterion, NamespaceId, Observer, Procfs, keywords};

keywords! {
    /// Kind of record in the output of `pidns -f ndjson`.
    pub enum SnapshotRecordKind("record_kind", "record of kind", "records of kind") {
        /// All fields of the document except `namespaces`, `processes`, `limits` and `diagnostics`.
        /// Each snapshot has exactly one record of this kind.
        Snapshot = "snapshot",
        /// An entry in the list `namespaces`.
        Namespace = "namespace",
        /// An entry in the list `processes`.
        Process = "process",
        /// An entry in the list `limits`.
        Limit = "limit",
        /// An entry in the list `diagnostics`.
        Diagnostic = "diagnostic",
    }
}

/// A line of `pidns -f ndjson`. Each line is a record with one part of a host's snapshot. The lines
/// of several hosts may be mixed in any order. The field `record` is the kind of the record. The
/// data is in the field named after this kind, in the same form as in the document. Each snapshot
/// has one record of kind `snapshot`. The field `counts` of that record contains the number of
/// records of every other kind. Later 1.x versions of the schema may add fields. Existing fields
/// will stay, with the same names and types. Readers must ignore unknown fields, and records of
/// unknown kinds.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum SnapshotContent<'a> {
    /// Content of a `snapshot` record.
    Snapshot(SnapshotSummary),
    /// Content of a `namespace` record.
    Namespace(Namespace),
    /// Content of a `process` record.
    Process(Process<'a>),
    /// Content of a `limit` record.
    Limit(Limit),
    /// Content of a `diagnostic` record.
    Diagnostic(Diagnostic),
}

impl RecordContent for SnapshotContent<'_> {
    type Kind = SnapshotRecordKind;

    fn kind(&self) -> SnapshotRecordKind {
        match self {
            Self::Snapshot(_) => SnapshotRecordKind::Snapshot,
            Self::Namespace(_) => SnapshotRecordKind::Namespace,
            Self::Process(_) => SnapshotRecordKind::Process,
            Self::Limit(_) => SnapshotRecordKind::Limit,
            Self::Diagnostic(_) => SnapshotRecordKind::Diagnostic,
        }
    }
}

/// All fields of the document except `namespaces`, `processes`, `limits` and `diagnostics`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "snapshot"))]
pub struct SnapshotSummary {
    /// The program that wrote the record.
    pub generator: Generator,
    /// The procfs that was read.
    pub procfs: Procfs,
    /// The pidns process that took the snapshot, or null if the procfs does not show it.
    pub observer: Option<Observer>,
    /// The places that were searched for namespaces.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub searched: Vec<Word<model::SearchScope>>,
    /// The requested process details.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub details: Vec<Word<model::Detail>>,
    /// The filters applied since the scan, or an empty list if there are none.
    pub selected: Vec<Criterion>,
    /// False if pidns had to infer some facts, or may have missed something in the places it
    /// searched.
    pub complete: bool,
    /// The topmost visible namespaces, sorted by ID.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub roots: Vec<NamespaceId>,
    /// Number of records of each kind except `snapshot`.
    pub counts: Counts,
}

/// The number of records of each kind except `snapshot`, to detect lost records.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "counts"))]
pub struct Counts {
    /// Number of records of kind `namespace`.
    pub namespace: usize,
    /// Number of records of kind `process`.
    pub process: usize,
    /// Number of records of kind `limit`, or null if limits were not requested.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Number of records of kind `diagnostic`.
    pub diagnostic: usize,
}

/// Writes the NDJSON records of a graph, and returns the first error from `write`.
pub fn write_records<E>(
    graph: &PidGraph,
    write: impl FnMut(&Record<'_, SnapshotContent<'_>>) -> Result<(), E>,
) -> Result<(), E> {
    let snapshot = graph.snapshot();
    let summary = SnapshotContent::Snapshot(SnapshotSummary::from(graph));
    let namespaces = namespaces(graph).map(SnapshotContent::Namespace);
    let processes = graph.processes().iter().map(|it| SnapshotContent::Process(it.into()));
    let limits = snapshot.limits.iter().flatten().map(|it| SnapshotContent::Limit(it.into()));
    let diagnostics = snapshot.diagnostics.iter().map(|it| SnapshotContent::Diagnostic(it.into()));
    let lists = namespaces.chain(processes).chain(limits).chain(diagnostics);
    Envelope::new(SCHEMA_VERSION, snapshot).write_each(once(summary).chain(lists), write)
}

impl From<&PidGraph> for SnapshotSummary {
    fn from(graph: &PidGraph) -> Self {
        let snapshot = graph.snapshot();
        let (name, version) = snapshot.generator.clone();
        Self {
            generator: Generator { name, version },
            procfs: snapshot.procfs.clone(),
            observer: snapshot.observer.clone(),
            searched: snapshot.searched.iter().map(|&scope| scope.into()).collect(),
            details: snapshot.details.iter().map(|&detail| detail.into()).collect(),
            selected: snapshot.selected.clone(),
            complete: snapshot.complete,
            roots: graph.roots().iter().map(|root| root.id).collect(),
            counts: Counts {
                namespace: snapshot.namespaces.len(),
                process: snapshot.processes.len(),
                limit: snapshot.limits.as_ref().map(Vec::len),
                diagnostic: snapshot.diagnostics.len(),
            },
        }
    }
}
