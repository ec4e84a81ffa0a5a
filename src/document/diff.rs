//! Serde types for comparisons. Their doc comments become the descriptions in the schema.

use std::iter::once;

use serde::Serialize;

use super::open_list::Word;
use super::process::Process;
use super::record::{Envelope, Record, RecordContent};
use super::scalars::Timestamp;
use super::snapshot::{Generator, Host, Namespace};
use super::write::{Lazy, namespace};
use crate::graph::PidGraph;
use crate::model::{self, Criterion, NamespaceId, Pid, Procfs, Snapshot, keywords};
use crate::query::{
    Diff, DiffCaveat, Happened, NamespaceChange as Changed, NamespaceField, ProcessChange as Moved,
    ProcessField, Relation,
};

/// Schema version of the comparisons that this program writes.
const DIFF_VERSION: &str = "1.0";

/// The output of `pidns diff -f json`: the differences between two documents, or between a document
/// and the live host. Later 1.x versions of the schema may add fields, but will never rename or
/// remove a field, or change its type. They may also add values to enumerations whose description
/// says that they are extensible (an open list).
// The list fields have generic types, so that `Lazy` can create their elements during
// serialization.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Comparison<N = Vec<NamespaceChange>, P = Vec<ProcessChange<'static>>> {
    /// Version of the schema.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    schema_version: &'static str,
    #[serde(flatten)]
    head: DiffSummary,
    /// The namespaces that were added, removed or changed, sorted by ID.
    namespaces: N,
    /// The processes that were added, removed or changed, sorted by PID. If a PID was reused, the
    /// removed process comes first.
    processes: P,
}

/// All fields of the `pidns diff` document except `namespaces` and `processes`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "comparison"))]
pub struct DiffSummary {
    /// The program that wrote the comparison.
    generator: Generator,
    /// The first snapshot.
    before: ComparedSnapshot,
    /// The second snapshot.
    after: ComparedSnapshot,
    /// Relation between the snapshots (`same-boot` or `boot-unknown`).
    relation: Word<Relation>,
    /// `true` if there are differences (exit status 1).
    differs: bool,
    /// Reasons why the list of changes may be wrong or incomplete.
    caveats: Vec<Caveat>,
}

/// A compared snapshot, without its namespaces, processes, limits and diagnostics.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "side"))]
pub struct ComparedSnapshot {
    /// Start time of the scan.
    captured_at: Timestamp,
    /// The host that was scanned.
    host: Host,
    /// The procfs that was read.
    procfs: Procfs,
    /// The places that were searched for namespaces.
    searched: Vec<Word<model::SearchScope>>,
    /// The requested process details.
    details: Vec<Word<model::Detail>>,
    /// The filters applied since the scan, or an empty list for an unfiltered snapshot.
    selected: Vec<Criterion>,
    /// False if pidns had to infer some facts, or may have missed something in the places it
    /// searched.
    complete: bool,
}

/// A reason why a comparison may be wrong or incomplete.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "caveat"))]
pub struct Caveat {
    /// Machine-readable code of the caveat.
    code: Word<DiffCaveat>,
    /// Human-readable description (its wording may change at any time).
    message: &'static str,
}

/// A namespace that differs between the snapshots.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "namespace_change"))]
pub struct NamespaceChange {
    /// The namespace's ID in the second snapshot. If the second snapshot lacks the namespace, this
    /// is its ID in the first.
    id: NamespaceId,
    /// The type of change.
    change: Word<Happened>,
    /// The properties that changed, empty unless the namespace is in both snapshots.
    fields: Vec<Word<NamespaceField>>,
    /// New members of the namespace, sorted by PID.
    members_came: Vec<Pid>,
    /// Former members of the namespace, sorted by PID.
    members_went: Vec<Pid>,
    /// The namespace's entry in the first document, or null if the namespace is new.
    before: Option<Namespace>,
    /// The namespace's entry in the second document, or null if the namespace is gone or hidden.
    after: Option<Namespace>,
}

/// A process that differs between the snapshots.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "process_change"))]
pub struct ProcessChange<'a> {
    /// PID of the process.
    pid: Pid,
    /// The type of change.
    change: Word<Happened>,
    /// The properties that changed, empty unless the process is in both snapshots.
    fields: Vec<Word<ProcessField>>,
    /// The process's entry in the first document, or null if the process is new.
    before: Option<Process<'a>>,
    /// The process's entry in the second document, or null if the process is gone.
    after: Option<Process<'a>>,
}

keywords! {
    /// Kind of record in the output of `pidns diff -f ndjson`.
    pub enum DiffRecordKind("diff_record_kind", "record of kind", "records of kind") {
        /// The first record, with all fields of the document except `namespaces` and `processes`.
        Comparison = "comparison",
        /// An entry in the list `namespaces`.
        NamespaceChange = "namespace_change",
        /// An entry in the list `processes`.
        ProcessChange = "process_change",
    }
}

/// A line of `pidns diff -f ndjson`. The field `record` is the kind of the record. The data is in
/// the field named after this kind, in the same form as in `pidns diff -f json`. Later 1.x versions
/// of the schema may add fields, but will never rename or remove a field, or change its type.
/// Readers must ignore unknown fields, and records of unknown kinds.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum DiffContent<'a> {
    /// Content of a `comparison` record.
    Comparison(DiffSummary),
    /// Content of a `namespace_change` record.
    NamespaceChange(NamespaceChange),
    /// Content of a `process_change` record.
    ProcessChange(ProcessChange<'a>),
}

impl RecordContent for DiffContent<'_> {
    type Kind = DiffRecordKind;

    fn kind(&self) -> DiffRecordKind {
        match self {
            Self::Comparison(_) => DiffRecordKind::Comparison,
            Self::NamespaceChange(_) => DiffRecordKind::NamespaceChange,
            Self::ProcessChange(_) => DiffRecordKind::ProcessChange,
        }
    }
}

/// Converts a comparison to a document.
#[must_use]
pub fn diff(diff: &Diff) -> impl Serialize {
    Comparison {
        schema_version: DIFF_VERSION,
        head: DiffSummary::from(diff),
        namespaces: Lazy(namespaces(diff)),
        processes: Lazy(processes(diff)),
    }
}

/// Passes each NDJSON record of a comparison to `write`, and stops at the first error.
pub fn write_diff_records<E>(
    diff: &Diff,
    write: impl FnMut(&Record<'_, DiffContent<'_>>) -> Result<(), E>,
) -> Result<(), E> {
    let comparison = DiffContent::Comparison(DiffSummary::from(diff));
    let namespaces = namespaces(diff).map(DiffContent::NamespaceChange);
    let processes = processes(diff).map(DiffContent::ProcessChange);
    let envelope = Envelope::new(DIFF_VERSION, diff.after.snapshot());
    envelope.write_each(once(comparison).chain(namespaces).chain(processes), write)
}

pub(super) fn namespaces(diff: &Diff) -> impl Iterator<Item = NamespaceChange> + Clone {
    diff.namespaces.iter().filter_map(move |change| {
        Some(NamespaceChange {
            id: change.after.or(change.before)?,
            change: Changed::happened(change).into(),
            fields: change.fields.iter().map(|&field| field.into()).collect(),
            members_came: change.members_came.clone(),
            members_went: change.members_went.clone(),
            before: change.before.and_then(|id| at(&diff.before, id)),
            after: change.after.and_then(|id| at(&diff.after, id)),
        })
    })
}

pub(super) fn processes(diff: &Diff) -> impl Iterator<Item = ProcessChange<'_>> + Clone {
    diff.processes.iter().filter_map(|change| {
        let before = change.before.and_then(|pid| diff.before.process(pid));
        let after = change.after.and_then(|pid| diff.after.process(pid));
        Some(ProcessChange {
            pid: change.after.or(change.before)?,
            change: Moved::happened(change).into(),
            fields: change.fields.iter().map(|&field| field.into()).collect(),
            before: before.map(Process::from),
            after: after.map(Process::from),
        })
    })
}

impl From<&Diff> for DiffSummary {
    fn from(diff: &Diff) -> Self {
        Self {
            generator: Generator::this(),
            before: ComparedSnapshot::from(diff.before.snapshot()),
            after: ComparedSnapshot::from(diff.after.snapshot()),
            relation: diff.relation.into(),
            differs: diff.differs(),
            caveats: diff.caveats().into_iter().map(Caveat::from).collect(),
        }
    }
}

impl From<DiffCaveat> for Caveat {
    fn from(code: DiffCaveat) -> Self {
        Self { code: code.into(), message: code.message() }
    }
}

/// Converts a namespace of a graph to the serde type.
fn at(graph: &PidGraph, id: NamespaceId) -> Option<Namespace> {
    graph.namespace(id).map(|it| namespace(graph, it))
}

impl From<&Snapshot> for ComparedSnapshot {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            captured_at: Timestamp(snapshot.captured_at.clone()),
            host: Host::from(&snapshot.host),
            procfs: snapshot.procfs.clone(),
            searched: snapshot.searched.iter().map(|&scope| scope.into()).collect(),
            details: snapshot.details.iter().map(|&detail| detail.into()).collect(),
            selected: snapshot.selected.clone(),
            complete: snapshot.complete,
        }
    }
}
