//! Documents: the data formats for programs, with their published schemas.
//!
//! Lists are flat and joined by IDs, so `jq` needs no recursion. Every field is always
//! present, and null if unknown. Within version 1.x, fields are added, but never renamed,
//! retyped or removed. The same data as NDJSON records is for logs and databases of many
//! hosts.

mod run;

mod check;
mod diff;
mod objects;
mod parse;
mod process;
mod read;
mod record;
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
pub use wire::Translation;
pub use words::UnknownWords;
pub use write::{document, write_records};

/// Version of the schema of documents.
pub const SCHEMA_VERSION: &str = "1.0";

/// Version of the schema of translations.
const TRANSLATION_VERSION: &str = "1.0";
