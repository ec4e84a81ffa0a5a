//! What differs between two graphs, as programs read it. Comments of types and
//! fields are the descriptions of the published schema.

mod records;

use serde::Serialize;

use super::process::Process;
use super::scalars::{Id, Pid, Timestamp};
use super::wire::{Criterion, Generator, Host, Namespace, Procfs};
use super::words::{Vocabulary, Word, vocabulary};
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

vocabulary!(Relation, "relation", ["relation", "relations"], {
    SameBoot: "same-boot", "Both are of one boot of one host.";
    BootUnknown: "boot-unknown", "They do not both say which boot they are of, and are taken to \
        be of one.";
    OtherBoot: "other-boot", "They are of different boots of a host, so everything is new.";
    OtherHost: "other-host", "They are of different hosts, so everything is new.";
    OtherProcfs: "other-procfs", "Their PIDs are numbers of different PID namespaces and cannot \
        be compared, so everything is new.";
});

vocabulary!(Happened, "change", ["change", "changes"], {
    Came: "came", "It is in the second alone.";
    Went: "went", "It is in the first alone.";
    Hidden: "hidden", "It is in the first alone, but still in the kernel: a namespace kept by \
        something that /proc does not show, such as a descriptor in flight. Only where the second is \
        the live host, from Linux 6.18 on; since 6.19 the kernel says so only of those that a \
        descriptor of theirs keeps.";
    Changed: "changed", "It is in both, and not the same.";
});

vocabulary!(ProcessField, "process_field", ["field", "fields"], {
    Namespace: "namespace", "Its namespace, which the kernel never changes: one of the two does \
        not know it.";
    Parent: "parent", "Its parent (ppid), as when that has ended.";
    Comm: "comm", "Its name, as when it executes a program.";
    User: "user", "Its real user ID.";
    State: "state", "Whether it goes on, is stopped or traced, or has terminated. That it runs, \
        sleeps or waits is no change.";
});

vocabulary!(NamespaceField, "namespace_field", ["field", "fields"], {
    State: "state", "Whether it is live, dead, nascent or unknown.";
    Parent: "parent", "The namespace that it was made in, which the kernel never changes: one of \
        the two does not know it.";
    Members: "members", "The processes whose own namespace it is.";
});

vocabulary!(DiffCaveat, "caveat_code", ["caveat", "caveats"], {
    Incomplete: "incomplete", "One of the two is incomplete.";
    OtherSearch: "other-search", "They were searched in different places.";
    OtherSelection: "other-selection", "They were cut down differently (see selected).";
    BootUnknown: "boot-unknown", "They do not both say which boot they are of.";
    WeakNamespaces: "weak-namespaces", "Namespaces were told apart by inode, without ns_id or the \
        start time of their init; inodes are reused.";
    WeakProcesses: "weak-processes", "Processes were told apart by PID and namespace, without \
        start_time; PIDs are reused.";
});

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
    head: Head,
    /// The namespaces that came, went or changed, by id.
    namespaces: N,
    /// The processes that came, went or changed, by PID; of two with one PID
    /// the one that went comes first.
    processes: P,
}

/// What a comparison says beside its lists.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "comparison"))]
pub struct Head {
    /// The program that wrote it.
    generator: Generator,
    /// The first of the two.
    before: Side,
    /// The second of the two.
    pub after: Side,
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
pub struct Side {
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
        head: Head::from(diff),
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

impl From<&Diff> for Head {
    fn from(diff: &Diff) -> Self {
        let caveat = |code: DiffCaveat| Caveat { code: code.into(), message: code.message() };
        Self {
            generator: Generator::this(),
            before: Side::from(diff.before.snapshot()),
            after: Side::from(diff.after.snapshot()),
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

impl From<&Snapshot> for Side {
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
