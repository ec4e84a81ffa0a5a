//! Serde types for checks. Their doc comments become the descriptions in the schema.

use std::iter::once;

use serde::Serialize;

use super::diff::Caveat;
use super::limit::Limit;
use super::open_list::Word;
use super::process::Process;
use super::record::{Envelope, Record, RecordContent};
use super::scalars::Timestamp;
use super::snapshot::{Generator, Host, Namespace};
use super::write::namespace;
use crate::model::{self, CheckCode, NamespaceId, Pid, Subject, Verdict, keywords};
use crate::query;

/// Schema version of the check documents that this program writes.
const CHECK_VERSION: &str = "1.0";

/// The problems found on a host, as written by `pidns check -f json`. Later 1.x versions of the
/// schema may add fields, but will never rename or remove a field, or change its type. They may
/// also add values to enumerations whose description says that they are extensible (an open list).
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CheckReport<'a> {
    /// Version of the schema.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    schema_version: &'static str,
    /// Start time of the scan.
    captured_at: Timestamp,
    /// The host that was scanned.
    host: Host,
    #[serde(flatten)]
    head: CheckSummary,
    /// The denied problems and then the warnings, each group sorted by code.
    findings: Vec<CheckFinding<'a>>,
}

/// All fields of the `pidns check` document except the list `findings`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "check"))]
pub struct CheckSummary {
    /// The program that checked the host.
    generator: Generator,
    /// False if pidns may have missed something in the places that it searched, or if it inferred
    /// facts that the kernel did not report.
    complete: bool,
    /// Time of the earlier snapshot (--since), or null.
    since: Option<Timestamp>,
    /// Reasons why new problems may be missing from the findings.
    caveats: Vec<Caveat>,
    /// Number of problems that are left out because the earlier snapshot already had them (see
    /// --all).
    older: usize,
    /// True if the filter does not match any process or namespace on the host, including pidns
    /// itself. The filter may contain a typo.
    nothing_matches: bool,
    /// Number of denied findings. If it is not 0, the exit status is 1.
    denied: usize,
    /// Number of warnings.
    warned: usize,
}

/// A problem.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "finding"))]
pub struct CheckFinding<'a> {
    /// Code of the problem.
    code: Word<CheckCode>,
    /// The policy's verdict on the problem.
    verdict: Word<Verdict>,
    /// Human-readable description. Its wording may change at any time.
    message: String,
    /// Human-readable advice, as commands or hints.
    advice: Vec<String>,
    /// Command that starts a shell in the namespaces of the process that the finding is about. For
    /// a zombie, the shell starts in the namespaces of the init of the zombie's PID namespace. For
    /// a PID namespace, it starts in the namespaces of that namespace's init. Null if the shell
    /// would start in the PID namespace that the procfs shows, or if pidns cannot determine the
    /// command.
    enter: Option<String>,
    /// PID of the process that the finding is about, or null.
    pid: Option<Pid>,
    /// ID of the namespace that the finding is about, or null.
    namespace_id: Option<NamespaceId>,
    /// Age of the process in seconds; null if unknown.
    age: Option<f64>,
    /// The process that the finding is about, as in `pidns -f json`, or null.
    process: Option<Process<'a>>,
    /// The namespace that the finding is about, as in `pidns -f json`, or null.
    namespace: Option<Namespace>,
    /// The limit that the finding is about, as in `pidns -f json`, or null.
    limit: Option<Limit>,
}

keywords! {
    /// Kind of record in the output of `pidns check -f ndjson`.
    pub enum CheckRecordKind("check_record_kind", "record of kind", "records of kind") {
        /// The first record: all fields of the document except the list `findings`.
        Check = "check",
        /// An entry in the list `findings`.
        Finding = "finding",
    }
}

/// A line of `pidns check -f ndjson`. `record` is the kind of the record. The data is in the field
/// named after this kind, in the same form as in `pidns check -f json`. Later 1.x versions of the
/// schema may add fields, but will never rename or remove a field, or change its type. Readers must
/// ignore unknown fields, and records of unknown kinds.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum CheckContent<'a> {
    /// Content of a `check` record.
    Check(CheckSummary),
    /// Content of a `finding` record.
    Finding(CheckFinding<'a>),
}

impl RecordContent for CheckContent<'_> {
    type Kind = CheckRecordKind;

    fn kind(&self) -> CheckRecordKind {
        match self {
            Self::Check(_) => CheckRecordKind::Check,
            Self::Finding(_) => CheckRecordKind::Finding,
        }
    }
}

/// The message, the advice and the `enter` command of a finding.
pub type Explained = (String, Vec<String>, Option<String>);

/// Converts a check to a document. `explain` returns the text of a finding.
pub fn check(
    check: &query::Check,
    explain: impl Fn(&model::Finding) -> Explained,
) -> CheckReport<'_> {
    let snapshot = check.graph.snapshot();
    CheckReport {
        schema_version: CHECK_VERSION,
        captured_at: Timestamp(snapshot.captured_at.clone()),
        host: Host::from(&snapshot.host),
        head: CheckSummary::from(check),
        findings: findings(check, explain).collect(),
    }
}

/// Writes the NDJSON records of a check, with the texts from `explain`.
pub fn write_check_records<E>(
    check: &query::Check,
    explain: impl Fn(&model::Finding) -> Explained,
    write: impl FnMut(&Record<'_, CheckContent<'_>>) -> Result<(), E>,
) -> Result<(), E> {
    let summary = CheckContent::Check(CheckSummary::from(check));
    let findings = findings(check, explain).map(CheckContent::Finding);
    let envelope = Envelope::new(CHECK_VERSION, check.graph.snapshot());
    envelope.write_each(once(summary).chain(findings), write)
}

pub(super) fn findings(
    check: &query::Check,
    explain: impl Fn(&model::Finding) -> Explained,
) -> impl Iterator<Item = CheckFinding<'_>> {
    let graph = &check.graph;
    check.findings.iter().map(move |finding| {
        let (process, id) = match finding.subject {
            Subject::Process(pid) => (graph.process(pid), None),
            Subject::Namespace(id) => (None, Some(id)),
            Subject::Limit(_) | Subject::Snapshot => (None, None),
        };
        let of = id.and_then(|id| graph.namespace(id));
        let limit = match finding.subject {
            Subject::Limit(index) => graph.limit(index).map(Limit::from),
            _ => None,
        };
        let (message, advice, enter) = explain(finding);
        CheckFinding {
            code: finding.code.into(),
            verdict: finding.verdict.into(),
            message,
            advice,
            enter,
            pid: process.map(|it| it.pid),
            namespace_id: id,
            age: process.and_then(|it| check.age(it)).map(|age| age.as_secs_f64()),
            process: process.map(Process::from),
            namespace: of.map(|it| namespace(graph, it)),
            limit,
        }
    })
}

impl From<&query::Check> for CheckSummary {
    fn from(check: &query::Check) -> Self {
        Self {
            generator: Generator::this(),
            complete: check.graph.snapshot().complete,
            since: check.since.clone().map(Timestamp),
            caveats: check.caveats.iter().copied().map(Caveat::from).collect(),
            older: check.older,
            nothing_matches: check.nothing_matches,
            denied: check.count(Verdict::Deny),
            warned: check.count(Verdict::Warn),
        }
    }
}
