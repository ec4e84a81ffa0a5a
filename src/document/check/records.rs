//! The check as records, one a line, for logs and databases.

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

/// A line of `pidns check -f ndjson`: the field that `record` names holds what
/// stands in the check as `pidns check -f json` writes it. Within schema version
/// 1.x fields are added, never renamed, retyped or removed, and readers pass over
/// fields and kinds that they do not know.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("allOf" = crate::document::schema::payloads_of::<CheckRecordType>())))]
pub struct CheckRecord<'a> {
    /// Version of this schema that the record follows.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    schema_version: &'static str,
    /// When the scan began.
    captured_at: &'a Timestamp,
    /// Where the scan ran.
    host: &'a Host,
    /// What the record holds.
    record: Word<CheckRecordType>,
    /// Of a record of kind check.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<CheckSummary>,
    /// Of a record of kind finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<CheckFinding<'a>>,
}

/// Hands over the records of a check, one after another; `said` as of
/// [`check`](super::check()).
///
/// # Errors
/// What `write` says, which is not called again then.
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
