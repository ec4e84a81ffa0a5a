//! What differs between two graphs, as programs read it. Comments of types and
//! fields are the descriptions of the published schema.

mod records;

use serde::Serialize;

use super::process::Process;
use super::scalars::{Id, Pid, Timestamp};
use super::wire::{Criterion, Generator, Host, Namespace, Procfs};
use super::words::Word;
use super::write::{Lazy, namespace};
use crate::graph::PidGraph;
use crate::model::{self, NamespaceId, Snapshot};
use crate::query::{
    Diff, DiffCaveat, Happened, NamespaceChange as Changed, NamespaceField, ProcessChange as Moved,
    ProcessField, Relation,
};

#[cfg(test)]
pub use records::DiffRecord;
pub use records::write_diff_records;

/// Version of the schema that comparisons written here follow.
const DIFF_VERSION: &str = "1.0";

/// What differs between two documents, or a document and the live host, as
/// `pidns diff -f json` writes it. Within schema version 1.x fields are added,
/// never renamed, retyped or removed, and lists of words may grow.
// The long lists are types of their own, so that they are written one by one
// and never all in memory.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Comparison<N = Vec<NamespaceChange>, P = Vec<ProcessChange<'static>>> {
    /// Version of this schema that the comparison follows.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    schema_version: &'static str,
    /// All but the lists.
    #[serde(flatten)]
    head: DiffSummary,
    /// The namespaces that came, went or changed, by id.
    namespaces: N,
    /// The processes that came, went or changed, by PID; of two with one PID
    /// the one that went comes first.
    processes: P,
}

/// What a comparison says beside its lists.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "comparison"))]
pub struct DiffSummary {
    /// The program that wrote it.
    generator: Generator,
    /// The first of the two.
    before: ComparedSnapshot,
    /// The second of the two.
    pub after: ComparedSnapshot,
    /// How they belong together.
    relation: Word<Relation>,
    /// Whether there is a difference; the exit status is 1 then.
    differs: bool,
    /// Why the differences may not be all, or not be real.
    caveats: Vec<Caveat>,
}

/// One of the two that are compared, without its lists.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "side"))]
pub struct ComparedSnapshot {
    /// When the scan began.
    pub captured_at: Timestamp,
    /// Where the scan ran.
    pub host: Host,
    /// The /proc that was read.
    procfs: Procfs,
    /// Where namespaces were looked for.
    searched: Vec<Word<model::SearchScope>>,
    /// What was read of processes because it was asked for.
    details: Vec<Word<model::Detail>>,
    /// By what it was cut down; empty where it is whole.
    selected: Vec<Criterion>,
    /// Whether nothing is missing in the places searched.
    complete: bool,
}

/// Why the differences may not be all, or not be real.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "caveat"))]
struct Caveat {
    /// What it is, for programs.
    code: Word<DiffCaveat>,
    /// What it is, for people; the wording may change at any time.
    message: &'static str,
}

/// A namespace that is not the same in both.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "namespace_change"))]
pub struct NamespaceChange {
    /// Its id: the second's, unless it went.
    id: Id,
    /// What happened to it.
    change: Word<Happened>,
    /// What changed; empty unless it is in both.
    fields: Vec<Word<NamespaceField>>,
    /// The members that it did not have before, by PID.
    members_came: Vec<Pid>,
    /// The members that it has no more, by PID.
    members_went: Vec<Pid>,
    /// As it was, as in the document of the first; null where it came.
    before: Option<Namespace>,
    /// As it is, as in the document of the second; null where it went or is hidden.
    after: Option<Namespace>,
}

/// A process that is not the same in both.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "process_change"))]
pub struct ProcessChange<'a> {
    /// Its PID.
    pid: Pid,
    /// What happened to it.
    change: Word<Happened>,
    /// What changed; empty unless it is in both.
    fields: Vec<Word<ProcessField>>,
    /// As it was, as in the document of the first; null where it came.
    before: Option<Process<'a>>,
    /// As it is, as in the document of the second; null where it went.
    after: Option<Process<'a>>,
}

/// A comparison, to be serialised.
#[must_use]
pub fn diff(diff: &Diff) -> impl Serialize {
    Comparison {
        schema_version: DIFF_VERSION,
        head: DiffSummary::from(diff),
        namespaces: Lazy(namespaces(diff)),
        processes: Lazy(processes(diff)),
    }
}

fn namespaces(diff: &Diff) -> impl Iterator<Item = NamespaceChange> + Clone {
    diff.namespaces.iter().filter_map(move |change| {
        Some(NamespaceChange {
            id: Id(change.after.or(change.before)?),
            change: Changed::happened(change).into(),
            fields: change.fields.iter().map(|&field| field.into()).collect(),
            members_came: change.members_came.iter().map(|&pid| Pid(pid)).collect(),
            members_went: change.members_went.iter().map(|&pid| Pid(pid)).collect(),
            before: change.before.and_then(|id| at(&diff.before, id)),
            after: change.after.and_then(|id| at(&diff.after, id)),
        })
    })
}

fn processes(diff: &Diff) -> impl Iterator<Item = ProcessChange<'_>> + Clone {
    diff.processes.iter().filter_map(|change| {
        let before = change.before.and_then(|pid| diff.before.process(pid));
        let after = change.after.and_then(|pid| diff.after.process(pid));
        Some(ProcessChange {
            pid: Pid(change.after.or(change.before)?),
            change: Moved::happened(change).into(),
            fields: change.fields.iter().map(|&field| field.into()).collect(),
            before: before.map(Process::from),
            after: after.map(Process::from),
        })
    })
}

impl From<&Diff> for DiffSummary {
    fn from(diff: &Diff) -> Self {
        let caveat = |code: DiffCaveat| Caveat { code: code.into(), message: code.message() };
        Self {
            generator: Generator::this(),
            before: ComparedSnapshot::from(diff.before.snapshot()),
            after: ComparedSnapshot::from(diff.after.snapshot()),
            relation: diff.relation.into(),
            differs: diff.differs(),
            caveats: diff.caveats().into_iter().map(caveat).collect(),
        }
    }
}

/// A namespace as the document of its graph has it.
fn at(graph: &PidGraph, id: NamespaceId) -> Option<Namespace> {
    graph.namespace(id).map(|it| namespace(graph, it))
}

impl From<&Snapshot> for ComparedSnapshot {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            captured_at: Timestamp(snapshot.captured_at.clone()),
            host: Host::from(&snapshot.host),
            procfs: Procfs::from(&snapshot.procfs),
            searched: snapshot.searched.iter().map(|&scope| scope.into()).collect(),
            details: snapshot.details.iter().map(|&detail| detail.into()).collect(),
            selected: snapshot.selected.iter().map(Criterion::from).collect(),
            complete: snapshot.complete,
        }
    }
}
