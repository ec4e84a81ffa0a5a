//! Serde types for the records of `pidns watch`. Their doc comments become the descriptions in the
//! schema.

use serde::Serialize;

use super::check::{CheckFinding, Explained, findings};
use super::diff::{ComparedSnapshot, NamespaceChange, ProcessChange, namespaces, processes};
use super::open_list::Word;
use super::record::{Envelope, Record, RecordContent};
use super::scalars::Timestamp;
use super::snapshot::Generator;
use crate::model::{self, NoticeCode, keywords};
use crate::query::{Check, Round, WatchEvent, WatchStart};
use crate::wording::watch::caveat;

/// Schema version of the records that this program writes.
const WATCH_VERSION: &str = "1.0";

/// Content of the first record of a watch: its settings, and a summary of its first snapshot.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "watch"))]
pub struct WatchHeader {
    /// The program that writes the records.
    generator: Generator,
    /// Time in seconds from the start of one scan to the start of the next.
    interval: f64,
    /// The rules given with --until. A new problem that matches one of them ends the watch.
    until: Vec<String>,
    /// Time in seconds after which the watch ends (--for), or null.
    #[serde(rename = "for")]
    end_after: Option<f64>,
    /// The first snapshot, without its namespaces, processes, limits and diagnostics.
    first: ComparedSnapshot,
    /// Number of namespaces that the first snapshot shows.
    namespaces: usize,
    /// Number of processes that the first snapshot shows.
    processes: usize,
    /// Reasons why changes may be missing from the records.
    caveats: Vec<Caveat>,
}

/// A reason why changes may be missing.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "watch_caveat_text"))]
struct Caveat {
    /// Machine-readable code of the caveat.
    code: Word<model::WatchCaveat>,
    /// Human-readable description, which may change at any time.
    message: &'static str,
}

/// A message about the watch itself, for example about skipped rounds.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "notice"))]
pub struct Notice {
    /// Machine-readable code of the notice.
    code: Word<NoticeCode>,
    /// Human-readable description, which may change at any time.
    message: String,
    /// Number of rounds or problems that the message mentions, or null if the message mentions no
    /// number.
    count: Option<u64>,
    /// Paths of the files that pidns wrote, with U+FFFD for invalid UTF-8.
    files: Vec<String>,
}

keywords! {
    /// Kind of record in the output of `pidns watch -f ndjson`.
    pub enum WatchRecordKind("watch_record_kind", "record of kind", "records of kind") {
        /// The first record, written at the start of the watch.
        Watch = "watch",
        /// A namespace that appeared, disappeared or changed.
        NamespaceChange = "namespace_change",
        /// A process that appeared, disappeared or changed.
        ProcessChange = "process_change",
        /// A problem that ends the watch.
        Finding = "finding",
        /// A message about the watch itself.
        Notice = "notice",
    }
}

/// The content of a record. [`DatedContent`] adds the field `since`.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum WatchContent<'a> {
    /// Content of a `watch` record.
    Watch(WatchHeader),
    /// Content of a `namespace_change` record.
    NamespaceChange(NamespaceChange),
    /// Content of a `process_change` record.
    ProcessChange(ProcessChange<'a>),
    /// Content of a `finding` record.
    Finding(CheckFinding<'a>),
    /// Content of a `notice` record.
    Notice(Notice),
}

/// A line of `pidns watch -f ndjson`. The field `record` is the kind of the record. The data is in
/// the field named after this kind. Changes have the same form as in `pidns diff -f json`. Findings
/// have the same form as in `pidns check -f json`. Later 1.x versions of the schema may add fields.
/// Existing fields will stay, with the same names and types. Readers must ignore unknown fields,
/// and records of unknown kinds.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DatedContent<'a> {
    /// Start time of the last scan before the change, or null if the record is not a change.
    since: Option<Timestamp>,
    #[serde(flatten)]
    content: WatchContent<'a>,
}

impl RecordContent for DatedContent<'_> {
    type Kind = WatchRecordKind;

    fn kind(&self) -> WatchRecordKind {
        match self.content {
            WatchContent::Watch(_) => WatchRecordKind::Watch,
            WatchContent::NamespaceChange(_) => WatchRecordKind::NamespaceChange,
            WatchContent::ProcessChange(_) => WatchRecordKind::ProcessChange,
            WatchContent::Finding(_) => WatchRecordKind::Finding,
            WatchContent::Notice(_) => WatchRecordKind::Notice,
        }
    }
}

/// Writes the records of a round, and returns the first error from `write`.
pub fn write_watch_records<E>(
    round: &Round<'_>,
    explain: impl Fn(&Check, &model::Finding) -> Explained,
    mut write: impl FnMut(&Record<'_, DatedContent<'_>>) -> Result<(), E>,
) -> Result<(), E> {
    let envelope = Envelope::at(WATCH_VERSION, &round.captured_at, round.host);
    let undated = |content| DatedContent { since: None, content };
    round.events.iter().try_for_each(|event| match event {
        WatchEvent::Start(start) => {
            envelope.write_each([undated(WatchContent::Watch(start.into()))], &mut write)
        }
        WatchEvent::Changes(diff) => {
            let since = Timestamp(diff.before.snapshot().captured_at.clone());
            let namespaces = namespaces(diff).map(WatchContent::NamespaceChange);
            let processes = processes(diff).map(WatchContent::ProcessChange);
            let dated = |content| DatedContent { since: Some(since.clone()), content };
            envelope.write_each(namespaces.chain(processes).map(dated), &mut write)
        }
        WatchEvent::Problems(check) => {
            let findings = findings(check, |finding| explain(check, finding));
            envelope.write_each(findings.map(WatchContent::Finding).map(undated), &mut write)
        }
        WatchEvent::Notice(notice) => {
            envelope.write_each([undated(WatchContent::Notice(notice.into()))], &mut write)
        }
    })
}

impl From<&WatchStart<'_>> for WatchHeader {
    fn from(start: &WatchStart<'_>) -> Self {
        let snapshot = start.first.snapshot();
        let caveat = |code| Caveat { code: Word::from(code), message: caveat(code) };
        Self {
            generator: Generator::this(),
            interval: start.interval.as_secs_f64(),
            until: start.until.iter().map(ToString::to_string).collect(),
            end_after: start.end_after.map(|it| it.as_secs_f64()),
            first: ComparedSnapshot::from(snapshot),
            namespaces: snapshot.namespaces.len(),
            processes: snapshot.processes.len(),
            caveats: model::WatchCaveat::ALL.into_iter().map(caveat).collect(),
        }
    }
}

impl From<&model::Notice> for Notice {
    fn from(notice: &model::Notice) -> Self {
        Self {
            code: notice.code.into(),
            message: notice.message.clone(),
            count: notice.count,
            files: notice.files.iter().map(|file| file.to_string_lossy().into_owned()).collect(),
        }
    }
}
