//! NDJSON records and their envelope (the fields that all kinds of records have).

use serde::Serialize;

use super::open_list::Word;
use super::scalars::Timestamp;
use super::snapshot::Host;
use crate::model::{self, Keyword, Snapshot};

/// The content of an NDJSON record (an enumeration with one variant for each kind).
pub trait RecordContent: Serialize {
    /// The kind of record. The name of a kind is also the name of the field that holds the content.
    type Kind: Keyword;

    /// Returns the kind of this record.
    fn kind(&self) -> Self::Kind;
}

/// A line of NDJSON, with the content of one record and the identity of its snapshot.
#[derive(Serialize)]
#[serde(bound = "T: RecordContent")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(
    test,
    schemars(
        bound = "T: RecordContent + schemars::JsonSchema",
        // The description is empty, because each content type describes its own records.
        description = "",
        transform = super::schema::content_by_kind
    )
)]
pub struct Record<'a, T: RecordContent> {
    /// Version of the schema.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    schema_version: &'static str,
    /// Start time of the scan. In a comparison, it is the start time of the second scan. `host` and
    /// `captured_at` together identify the snapshot of a record.
    captured_at: &'a Timestamp,
    /// The host that was scanned.
    host: &'a Host,
    /// Kind of the record, and name of the field that holds the record's content.
    #[serde(rename = "record")]
    kind: Word<T::Kind>,
    #[serde(flatten)]
    content: T,
}

/// The fields that all records of one snapshot have in common.
pub struct Envelope {
    schema_version: &'static str,
    captured_at: Timestamp,
    host: Host,
}

impl Envelope {
    /// Creates the envelope for all records of a snapshot.
    pub fn new(schema_version: &'static str, snapshot: &Snapshot) -> Self {
        Self::at(schema_version, &snapshot.captured_at, &snapshot.host)
    }

    /// Creates the envelope for a scan of `host` that started at `captured_at`.
    pub fn at(schema_version: &'static str, captured_at: &str, host: &model::Host) -> Self {
        Self {
            schema_version,
            captured_at: Timestamp(captured_at.to_owned()),
            host: Host::from(host),
        }
    }

    /// Passes each item of `contents` as a record to `write`, and stops at the first error.
    pub fn write_each<T: RecordContent, E>(
        &self,
        contents: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&Record<'_, T>) -> Result<(), E>,
    ) -> Result<(), E> {
        contents.into_iter().try_for_each(|content| {
            write(&Record {
                schema_version: self.schema_version,
                captured_at: &self.captured_at,
                host: &self.host,
                kind: content.kind().into(),
                content,
            })
        })
    }
}
