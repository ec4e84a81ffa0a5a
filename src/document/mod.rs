//! The document that programs read: the wire types of the published schema,
//! and nothing but them.
//!
//! Flat lists joined by IDs, so that `jq` needs no recursion. Within 1.x
//! fields are added, never renamed, retyped or removed. Every field is always
//! there, null where unknown. The same as records, one a line, is for databases
//! and the logs of many hosts.

mod run;

mod check;
mod diff;
mod objects;
mod parse;
mod process;
mod read;
mod records;
mod scalars;
mod schema;
mod verify;
mod version;
mod wire;
mod words;
mod write;

pub use check::{MAX_POLICY_SIZE, check, policy, write_check_records};
pub use diff::{diff, write_diff_records};
pub use parse::Invalid;
pub use read::{read, read_from};
pub use run::RunReport;
pub use schema::{
    CHECK_RECORD_SCHEMA, CHECK_SCHEMA, DIFF_RECORD_SCHEMA, DIFF_SCHEMA, POLICY_SCHEMA,
    RECORD_SCHEMA, RUN_SCHEMA, SCHEMA, TRANSLATION_SCHEMA,
};
pub use version::MAX_SIZE;
pub use wire::{Record, Translation};
pub use words::PassedOver;
pub use write::{document, namespace_element, process_element, without_lists, write_records};

/// Version of the schema that documents written here follow.
pub const SCHEMA_VERSION: &str = "1.0";

/// Version of the schema that translations written here follow.
const TRANSLATION_VERSION: &str = "1.0";
