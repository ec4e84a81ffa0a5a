//! The envelope of NDJSON records: the fields that records of snapshots, comparisons and checks
//! have in common.

use serde::Serialize;

use super::open_list::Word;
use super::scalars::Timestamp;
use super::snapshot::Host;
use crate::model::{Keyword, Snapshot};

/// The content of a record: an enumeration with one variant for each kind of record.
pub trait RecordContent: Serialize {
    /// The kinds of records. Each kind has the name of the serialized variant.
    type Kind: Keyword;

    /// Returns the kind of this record.
    fn kind(&self) -> Self::Kind;
}

/// A line of NDJSON: one content, with the snapshot that it belongs to.
#[derive(Serialize)]
#[serde(bound = "T: RecordContent")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(
    test,
    schemars(
        bound = "T: RecordContent + schemars::JsonSchema",
        // No description here: each type of content describes its own records.
        description = "",
        transform = super::schema::content_by_kind
    )
)]
pub struct Record<'a, T: RecordContent> {
    /// Version of the schema.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    schema_version: &'static str,
    /// Start time of the scan; for a comparison, of the second one. Together with host, it
    /// identifies the snapshot that the record belongs to.
    captured_at: &'a Timestamp,
    /// The host that was scanned.
    host: &'a Host,
    /// Kind of the record: the name of the field with its content.
    #[serde(rename = "record")]
    kind: Word<T::Kind>,
    #[serde(flatten)]
    content: T,
}

/// The envelope: the fields that all records of one snapshot share.
pub struct Envelope {
    schema_version: &'static str,
    captured_at: Timestamp,
    host: Host,
}

impl Envelope {
    /// Creates the envelope of the records of a snapshot.
    pub fn new(schema_version: &'static str, snapshot: &Snapshot) -> Self {
        Self {
            schema_version,
            captured_at: Timestamp(snapshot.captured_at.clone()),
            host: Host::from(&snapshot.host),
        }
    }

    /// Passes one record for each content to `write`. Stops at the first error.
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
