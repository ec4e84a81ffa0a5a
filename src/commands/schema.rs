//! Prints a published JSON Schema (`pidns schema`).

use crate::cli::Schema;
use crate::document;
use crate::error::Error;
use crate::exit::Exit;
use crate::output;

/// Prints a schema.
pub fn schema(of: Schema) -> Result<Exit, Error> {
    let text = match of {
        Schema::Document => document::SCHEMA,
        Schema::Record => document::RECORD_SCHEMA,
        Schema::Translation => document::TRANSLATION_SCHEMA,
        Schema::Check => document::CHECK_SCHEMA,
        Schema::CheckRecord => document::CHECK_RECORD_SCHEMA,
        Schema::Policy => document::POLICY_SCHEMA,
        Schema::Diff => document::DIFF_SCHEMA,
        Schema::DiffRecord => document::DIFF_RECORD_SCHEMA,
        Schema::Limits => document::LIMITS_SCHEMA,
        Schema::LimitsRecord => document::LIMITS_RECORD_SCHEMA,
        Schema::WatchRecord => document::WATCH_RECORD_SCHEMA,
        Schema::Run => document::RUN_SCHEMA,
    };
    output::print(text.as_bytes())
}
