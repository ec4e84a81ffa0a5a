//! Serde types for `pidns limits`. Their doc comments become the descriptions in the schema.

use std::iter::once;

use serde::Serialize;

use super::limit::Limit;
use super::record::{Envelope, Record, RecordContent};
use super::scalars::Timestamp;
use super::snapshot::{Diagnostic, Generator, Host};
use crate::model::{Pid, keywords};
use crate::query;

/// Schema version of the documents that `pidns limits` writes.
const LIMITS_VERSION: &str = "1.0";

/// The output of `pidns limits -f json`: limits that can make fork(2) or the creation of a PID
/// namespace fail. Later 1.x versions of the schema may add fields, but will never rename or remove
/// a field, or change its type. They may also add values to enumerations whose description says
/// that they are extensible (an open list).
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LimitsReport {
    /// Version of the schema.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    schema_version: &'static str,
    /// Start time of the scan.
    captured_at: Timestamp,
    /// The host that was scanned.
    host: Host,
    #[serde(flatten)]
    head: LimitsSummary,
    /// The limits that have been reached, then the other limits in descending order of usage. For
    /// the whole host, the list contains only limits that are at least 80 % used.
    limits: Vec<Limit>,
    /// Problems encountered during the scan, one entry for each combination of code and errno.
    diagnostics: Vec<Diagnostic>,
}

/// All fields of the `pidns limits` document except the lists `limits` and `diagnostics`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "limits"))]
pub struct LimitsSummary {
    /// The program that wrote the document.
    generator: Generator,
    /// False if pidns had to infer some facts, or may have missed something in the places it
    /// searched.
    complete: bool,
    /// The processes whose limits were requested, or an empty list for the whole host.
    pids: Vec<Pid>,
    /// Number of limits whose field `full` is true (exit status 1 if there are any).
    full: usize,
    /// Number of limits that pidns could not check (`full` is null). A document about the whole
    /// host does not list these limits.
    unknown: usize,
}

keywords! {
    /// Kind of record in the output of `pidns limits -f ndjson`.
    pub enum LimitsRecordKind("limits_record_kind", "record of kind", "records of kind") {
        /// The first record, with all fields of the document except `limits` and `diagnostics`.
        Limits = "limits",
        /// An entry in the list `limits`.
        Limit = "limit",
        /// An entry in the list `diagnostics`.
        Diagnostic = "diagnostic",
    }
}

/// A line of `pidns limits -f ndjson`. The field `record` is the kind of the record. The data is in
/// the field named after this kind, in the same form as in `pidns limits -f json`. Later 1.x
/// versions of the schema may add fields, but will never rename or remove a field, or change its
/// type. Readers must ignore unknown fields, and records of unknown kinds.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum LimitsContent {
    /// Content of a `limits` record.
    Limits(LimitsSummary),
    /// Content of a `limit` record.
    Limit(Limit),
    /// Content of a `diagnostic` record.
    Diagnostic(Diagnostic),
}

impl RecordContent for LimitsContent {
    type Kind = LimitsRecordKind;

    fn kind(&self) -> LimitsRecordKind {
        match self {
            Self::Limits(_) => LimitsRecordKind::Limits,
            Self::Limit(_) => LimitsRecordKind::Limit,
            Self::Diagnostic(_) => LimitsRecordKind::Diagnostic,
        }
    }
}

/// Converts the result of `pidns limits` to a document.
pub fn limits(report: &query::LimitReport) -> LimitsReport {
    let snapshot = report.graph.snapshot();
    LimitsReport {
        schema_version: LIMITS_VERSION,
        captured_at: Timestamp(snapshot.captured_at.clone()),
        host: Host::from(&snapshot.host),
        head: LimitsSummary::from(report),
        limits: report.limits.iter().map(Limit::from).collect(),
        diagnostics: snapshot.diagnostics.iter().map(Diagnostic::from).collect(),
    }
}

/// Passes each NDJSON record of `pidns limits` to `write`, and stops at the first error.
pub fn write_limits_records<E>(
    report: &query::LimitReport,
    write: impl FnMut(&Record<'_, LimitsContent>) -> Result<(), E>,
) -> Result<(), E> {
    let snapshot = report.graph.snapshot();
    let summary = LimitsContent::Limits(LimitsSummary::from(report));
    let limits = report.limits.iter().map(|it| LimitsContent::Limit(it.into()));
    let diagnostics = snapshot.diagnostics.iter().map(|it| LimitsContent::Diagnostic(it.into()));
    let envelope = Envelope::new(LIMITS_VERSION, snapshot);
    envelope.write_each(once(summary).chain(limits).chain(diagnostics), write)
}

impl From<&query::LimitReport> for LimitsSummary {
    fn from(report: &query::LimitReport) -> Self {
        Self {
            generator: Generator::this(),
            complete: report.graph.snapshot().complete,
            pids: report.asked.iter().copied().collect(),
            full: report.full(),
            unknown: report.unknown,
        }
    }
}
