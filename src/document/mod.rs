//! Reads and writes documents in JSON, NDJSON and YAML, and contains their published schemas.
//!
//! Lists are flat, and entries refer to each other by ID, so `jq` needs no recursion. All fields
//! are always present, and unknown values are null. Later 1.x versions may add fields. No 1.x
//! version renames or removes a field, or changes a field's type.

mod check;
mod diff;
mod limit;
mod limits;
mod object_only;
mod open_list;
mod parse;
mod policy;
mod process;
mod read;
mod record;
mod run;
mod scalars;
mod schema;
mod snapshot;
mod snapshot_records;
mod translation;
mod version;
mod watch;
mod write;

pub use check::{Explained, check, write_check_records};
pub use diff::{diff, write_diff_records};
pub use limits::{limits, write_limits_records};
pub use open_list::UnknownWords;
pub use parse::Invalid;
pub use policy::{MAX_POLICY_SIZE, policy};
pub use read::{read, read_from};
pub use run::RunReport;
pub use schema::{
    CHECK_RECORD_SCHEMA, CHECK_SCHEMA, DIFF_RECORD_SCHEMA, DIFF_SCHEMA, LIMITS_RECORD_SCHEMA,
    LIMITS_SCHEMA, POLICY_SCHEMA, RECORD_SCHEMA, RUN_SCHEMA, SCHEMA, TRANSLATION_SCHEMA,
    WATCH_RECORD_SCHEMA,
};
pub use snapshot_records::write_records;
pub use translation::Translation;
pub use version::{MAX_SIZE, SCHEMA_VERSION};
pub use watch::write_watch_records;
pub use write::document;
