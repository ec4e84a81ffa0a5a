//! The serde type for the JSON output of `pidns translate`.

use serde::Serialize;

use crate::model;

/// Schema version of the translations that this program writes.
const TRANSLATION_VERSION: &str = "1.0";

/// A process's PID in another PID namespace, as written by `pidns translate -f json`. The output
/// for several PIDs is a sequence of these objects, not an array. Each object is on one line,
/// unless the output is indented. Later 1.x versions of the schema may add fields. Existing fields
/// will stay, with the same names and types.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Translation<'a> {
    /// Version of the schema.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    schema_version: &'static str,
    #[serde(flatten)]
    translation: &'a model::Translation,
}

impl<'a> From<&'a model::Translation> for Translation<'a> {
    fn from(translation: &'a model::Translation) -> Self {
        Self { schema_version: TRANSLATION_VERSION, translation }
    }
}
