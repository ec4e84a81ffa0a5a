//! The envelope of NDJSON records: the same for snapshots, comparisons and checks.

use serde::Serialize;

use super::open_list::Word;
use super::scalars::Timestamp;
use super::snapshot::Host;
use crate::model::{Keyword, Snapshot};

/// The content of records: an enumeration with one variant for each kind.
pub trait RecordContent: Serialize {
    /// The kinds of records. Each is named like the serialized variant.
    type Kind: Keyword;

    /// The kind of this record.
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
        // The content describes its records.
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
    record: Word<T::Kind>,
    #[serde(flatten)]
    content: T,
}

/// The fields that all records of one snapshot share.
pub struct Envelope {
    schema_version: &'static str,
    captured_at: Timestamp,
    host: Host,
}

impl Envelope {
    /// Creates the envelope, which holds the fields that all records of a snapshot have in common.
    pub fn new(schema_version: &'static str, snapshot: &Snapshot) -> Self {
        Self {
            schema_version,
            captured_at: Timestamp(snapshot.captured_at.clone()),
            host: Host::from(&snapshot.host),
        }
    }

    /// Passes a record with each content to `write`. Stops at the first error.
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
                record: content.kind().into(),
                content,
            })
        })
    }
}
