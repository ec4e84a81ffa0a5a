//! The comparison as records, one a line, for logs and databases.

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

/// A line of `pidns diff -f ndjson`: the field that `record` names holds what
/// stands in the comparison as `pidns diff -f json` writes it. Within schema
/// version 1.x fields are added, never renamed, retyped or removed, and readers
/// pass over fields and kinds that they do not know.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("allOf" = crate::document::schema::payloads_of::<DiffRecordType>())))]
pub struct DiffRecord<'a> {
    /// Version of this schema that the record follows.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    schema_version: &'static str,
    /// When the scan of the second began.
    captured_at: &'a Timestamp,
    /// Where it ran.
    host: &'a Host,
    /// What the record holds.
    record: Word<DiffRecordType>,
    /// Of a record of kind comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<&'a DiffSummary>,
    /// Of a record of kind namespace_change.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace_change: Option<NamespaceChange>,
    /// Of a record of kind process_change.
    #[serde(skip_serializing_if = "Option::is_none")]
    process_change: Option<ProcessChange<'a>>,
}

/// Hands over the records of a comparison, one after another.
///
/// # Errors
/// What `write` says, which is not called again then.
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
