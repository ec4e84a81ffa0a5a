//! NDJSON records of a comparison.

use serde::Serialize;

use super::{DIFF_VERSION, DiffSummary, NamespaceChange, ProcessChange, namespaces, processes};
use crate::document::scalars::Timestamp;
use crate::document::wire::Host;
use crate::document::words::Word;
use crate::model::keywords;
use crate::query::Diff;

keywords! {
    /// Type of an NDJSON record of a comparison.
    pub enum DiffRecordType("diff_record_kind", "record of kind", "records of kind") {
        /// The comparison without its lists; the first record.
        Comparison = "comparison",
        /// An entry of its `namespaces`.
        NamespaceChange = "namespace_change",
        /// An entry of its `processes`.
        ProcessChange = "process_change",
    }
}

/// A line of `pidns diff -f ndjson`. `record` is the name of the field with the content, in the
/// same form as in `pidns diff -f json`. Within schema version 1.x, fields are added, but never
/// renamed, retyped or removed. Readers ignore fields and kinds that they do not know.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("allOf" = crate::document::schema::required_payloads::<DiffRecordType>())))]
pub struct DiffRecord<'a> {
    /// Version of the schema.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    schema_version: &'static str,
    /// Start time of the second scan.
    captured_at: &'a Timestamp,
    /// The host of the second scan.
    host: &'a Host,
    /// Kind of the record: the name of the field with its content.
    record: Word<DiffRecordType>,
    /// Content of a record of kind comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<&'a DiffSummary>,
    /// Content of a record of kind namespace_change.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace_change: Option<NamespaceChange>,
    /// Content of a record of kind process_change.
    #[serde(skip_serializing_if = "Option::is_none")]
    process_change: Option<ProcessChange<'a>>,
}

/// Writes the records of a comparison. Stops at the first error of `write`.
pub fn write_diff_records<E>(
    diff: &Diff,
    mut write: impl FnMut(&DiffRecord<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let head = DiffSummary::from(diff);
    let record = |kind: DiffRecordType| DiffRecord {
        schema_version: DIFF_VERSION,
        captured_at: &head.after.captured_at,
        host: &head.after.host,
        record: kind.into(),
        comparison: None,
        namespace_change: None,
        process_change: None,
    };
    write(&DiffRecord { comparison: Some(&head), ..record(DiffRecordType::Comparison) })?;
    for change in namespaces(diff) {
        let namespace_change = Some(change);
        write(&DiffRecord { namespace_change, ..record(DiffRecordType::NamespaceChange) })?;
    }
    for change in processes(diff) {
        write(&DiffRecord {
            process_change: Some(change),
            ..record(DiffRecordType::ProcessChange)
        })?;
    }
    Ok(())
}
