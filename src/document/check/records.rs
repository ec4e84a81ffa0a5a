//! NDJSON records of a check.

use serde::Serialize;

use super::{CHECK_VERSION, CheckFinding, CheckSummary, findings};
use crate::document::scalars::Timestamp;
use crate::document::wire::Host;
use crate::document::words::Word;
use crate::model::{self, keywords};
use crate::query;

keywords! {
    /// Type of an NDJSON record of a check.
    pub enum CheckRecordType("check_record_kind", "record of kind", "records of kind") {
        /// The check without its findings; the first record.
        Check = "check",
        /// An entry of its `findings`.
        Finding = "finding",
    }
}

/// A line of `pidns check -f ndjson`. `record` is the name of the field with the content, in the
/// same form as in `pidns check -f json`. Within schema version 1.x, fields are added, but never
/// renamed, retyped or removed. Readers ignore fields and kinds that they do not know.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("allOf" = crate::document::schema::required_payloads::<CheckRecordType>())))]
pub struct CheckRecord<'a> {
    /// Version of the schema.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    schema_version: &'static str,
    /// Start time of the scan.
    captured_at: &'a Timestamp,
    /// The host that was scanned.
    host: &'a Host,
    /// Kind of the record: the name of the field with its content.
    record: Word<CheckRecordType>,
    /// Content of a record of kind check.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<CheckSummary>,
    /// Content of a record of kind finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<CheckFinding<'a>>,
}

/// Writes the records of a check, with messages and advice from `said`. Stops at the first
/// error of `write`.
pub fn write_check_records<E>(
    check: &query::Check,
    said: impl Fn(&model::Finding) -> (String, Vec<String>),
    mut write: impl FnMut(&CheckRecord<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let snapshot = check.graph.snapshot();
    let captured_at = Timestamp(snapshot.captured_at.clone());
    let host = Host::from(&snapshot.host);
    let record = |kind: CheckRecordType| CheckRecord {
        schema_version: CHECK_VERSION,
        captured_at: &captured_at,
        host: &host,
        record: kind.into(),
        check: None,
        finding: None,
    };
    write(&CheckRecord {
        check: Some(CheckSummary::from(check)),
        ..record(CheckRecordType::Check)
    })?;
    for finding in findings(check, said) {
        write(&CheckRecord { finding: Some(finding), ..record(CheckRecordType::Finding) })?;
    }
    Ok(())
}
