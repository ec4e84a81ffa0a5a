//! The published schemas (JSON Schema 2020-12), which tests generate from the serde types.

/// Schema of the document that `pidns -f json` writes.
pub const SCHEMA: &str = include_str!("../../schemas/pidns-1.schema.json");

/// Schema of the output of `pidns translate -f json`.
pub const TRANSLATION_SCHEMA: &str = include_str!("../../schemas/pidns-translation-1.schema.json");

/// Schema of a line of `pidns -f ndjson`.
pub const RECORD_SCHEMA: &str = include_str!("../../schemas/pidns-record-1.schema.json");

/// Schema of the output of `pidns check -f json`.
pub const CHECK_SCHEMA: &str = include_str!("../../schemas/pidns-check-1.schema.json");

/// Schema of the policy files that `pidns check --policy` reads.
pub const POLICY_SCHEMA: &str = include_str!("../../schemas/pidns-policy-1.schema.json");

/// Schema of the output of `pidns diff -f json`.
pub const DIFF_SCHEMA: &str = include_str!("../../schemas/pidns-diff-1.schema.json");

/// Schema of a line of `pidns check -f ndjson`.
pub const CHECK_RECORD_SCHEMA: &str =
    include_str!("../../schemas/pidns-check-record-1.schema.json");

/// Schema of a line of `pidns diff -f ndjson`.
pub const DIFF_RECORD_SCHEMA: &str = include_str!("../../schemas/pidns-diff-record-1.schema.json");

/// Schema of the report that `pidns run -f json` writes.
pub const RUN_SCHEMA: &str = include_str!("../../schemas/pidns-run-1.schema.json");

/// Schema of the output of `pidns limits -f json`.
pub const LIMITS_SCHEMA: &str = include_str!("../../schemas/pidns-limits-1.schema.json");

/// Schema of a line of `pidns limits -f ndjson`.
pub const LIMITS_RECORD_SCHEMA: &str =
    include_str!("../../schemas/pidns-limits-record-1.schema.json");

/// Schema of a line of `pidns watch -f ndjson`.
pub const WATCH_RECORD_SCHEMA: &str =
    include_str!("../../schemas/pidns-watch-record-1.schema.json");

#[cfg(test)]
mod generate;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use generate::{content_by_kind, description_of_codes, required_holder_fields};
