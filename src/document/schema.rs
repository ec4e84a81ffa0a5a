//! The published schemas (JSON Schema 2020-12).
//!
//! Tests generate them from the serde types and compare them with the committed files.

/// Schema of the document.
pub const SCHEMA: &str = include_str!("../../schemas/pidns-1.schema.json");

/// Schema of a translation.
pub const TRANSLATION_SCHEMA: &str = include_str!("../../schemas/pidns-translation-1.schema.json");

/// Schema of an NDJSON record of a snapshot.
pub const RECORD_SCHEMA: &str = include_str!("../../schemas/pidns-record-1.schema.json");

/// Schema of a check.
pub const CHECK_SCHEMA: &str = include_str!("../../schemas/pidns-check-1.schema.json");

/// Schema of a policy.
pub const POLICY_SCHEMA: &str = include_str!("../../schemas/pidns-policy-1.schema.json");

/// Schema of a comparison.
pub const DIFF_SCHEMA: &str = include_str!("../../schemas/pidns-diff-1.schema.json");

/// Schema of a record of a check.
pub const CHECK_RECORD_SCHEMA: &str =
    include_str!("../../schemas/pidns-check-record-1.schema.json");

/// Schema of a record of a comparison.
pub const DIFF_RECORD_SCHEMA: &str = include_str!("../../schemas/pidns-diff-record-1.schema.json");

/// Schema of a run report.
pub const RUN_SCHEMA: &str = include_str!("../../schemas/pidns-run-1.schema.json");

#[cfg(test)]
mod generate;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use generate::{content_by_kind, description_of_codes, required_holder_fields};
