//! The published schemas: made of the wire types, whose comments are their
//! descriptions, and committed. What makes them is built for the tests alone.

/// The published schema of the document (JSON Schema 2020-12).
pub const SCHEMA: &str = include_str!("../../schemas/pidns-1.schema.json");

/// The published schema of a translation (JSON Schema 2020-12).
pub const TRANSLATION_SCHEMA: &str = include_str!("../../schemas/pidns-translation-1.schema.json");

/// The published schema of a record of ndjson (JSON Schema 2020-12).
pub const RECORD_SCHEMA: &str = include_str!("../../schemas/pidns-record-1.schema.json");

/// The published schema of a check (JSON Schema 2020-12).
pub const CHECK_SCHEMA: &str = include_str!("../../schemas/pidns-check-1.schema.json");

/// The published schema of a policy (JSON Schema 2020-12).
pub const POLICY_SCHEMA: &str = include_str!("../../schemas/pidns-policy-1.schema.json");

/// The published schema of a comparison (JSON Schema 2020-12).
pub const DIFF_SCHEMA: &str = include_str!("../../schemas/pidns-diff-1.schema.json");

/// The published schema of a record of a check (JSON Schema 2020-12).
pub const CHECK_RECORD_SCHEMA: &str =
    include_str!("../../schemas/pidns-check-record-1.schema.json");

/// The published schema of a record of a comparison (JSON Schema 2020-12).
pub const DIFF_RECORD_SCHEMA: &str = include_str!("../../schemas/pidns-diff-record-1.schema.json");

/// The published schema of a report on a job (JSON Schema 2020-12).
pub const RUN_SCHEMA: &str = include_str!("../../schemas/pidns-run-1.schema.json");

#[cfg(test)]
mod generate;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use generate::{description_of_codes, fields_of_holders, payloads_of};
