//! Reads one snapshot from NDJSON, line by line, so the input may be larger than memory.

mod origin;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufRead, Read as _};
use std::{fmt, iter};

use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};

use super::into_model;
use crate::document::limit::Limit;
use crate::document::open_list::{UnknownWords, Word};
use crate::document::parse::{Invalid, parse_line, without_mark};
use crate::document::process::Process;
use crate::document::scalars::Timestamp;
use crate::document::snapshot::{Diagnostic, Document, Host, Namespace, present};
use crate::document::snapshot_records::{Counts, SnapshotRecordKind, SnapshotSummary};
use crate::document::version::{MAX_SIZE, check_version, too_large, with_version};
use crate::model::{self, NamespaceId};
use origin::{Label, NAMED, no_snapshot_of, several};

pub(super) use origin::Origin;

/// The fields of a record that identify its snapshot.
#[derive(Deserialize)]
#[serde(expecting = "a pidns record")]
struct Identity<'a> {
    #[serde(borrow)]
    schema_version: Cow<'a, str>,
    #[serde(borrow)]
    captured_at: Cow<'a, str>,
    #[serde(borrow)]
    host: HostIdentity<'a>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct HostIdentity<'a> {
    #[serde(borrow)]
    hostname: Option<Cow<'a, str>>,
    #[serde(borrow)]
    boot_id: Option<Cow<'a, str>>,
}

impl Identity<'_> {
    fn label(&self) -> Label<'_> {
        Label {
            hostname: self.host.hostname.as_deref(),
            boot_id: self.host.boot_id.as_deref(),
            captured_at: &self.captured_at,
        }
    }
}

/// A snapshot record, for deserialization only.
#[derive(Deserialize)]
#[serde(remote = "Self")]
pub(in crate::document) struct RecordLine {
    schema_version: String,
    captured_at: Timestamp,
    host: Host,
    record: Word<SnapshotRecordKind>,
    // Use optional fields instead of an enum, so that the error for an invalid value contains its
    // path.
    #[serde(default, deserialize_with = "present")]
    snapshot: Option<SnapshotSummary>,
    #[serde(default, deserialize_with = "present")]
    namespace: Option<Namespace>,
    #[serde(default, deserialize_with = "present")]
    process: Option<Process<'static>>,
    #[serde(default, deserialize_with = "present")]
    limit: Option<Limit>,
    #[serde(default, deserialize_with = "present")]
    diagnostic: Option<Diagnostic>,
}

/// Returns `true` if a line is an NDJSON record, not the start of a document.
pub fn is_record(line: &[u8]) -> bool {
    /// A visitor that sets the `bool` to `true` if the object that it visits is an NDJSON record.
    /// It returns an error as soon as it knows the answer, to stop the parser early.
    struct Fields<'a>(&'a mut bool);

    impl<'de> Visitor<'de> for Fields<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
            while let Some(name) = fields.next_key::<Cow<'de, str>>()? {
                match &*name {
                    "record" => {
                        *self.0 = true;
                        return Err(A::Error::custom("is a record"));
                    }
                    "generator" | "namespaces" | "processes" => {
                        return Err(A::Error::custom("is a document"));
                    }
                    _ => fields.next_value::<IgnoredAny>()?,
                };
            }
            Ok(())
        }
    }

    let mut found = false;
    let mut json = serde_json::Deserializer::from_slice(without_mark(line));
    // Ignore parse errors, because the caller parses the line again.
    let _ = serde::Deserializer::deserialize_map(&mut json, Fields(&mut found));
    found
}

/// The contents of all records of one kind, with the line numbers of the records.
struct RecordList<T> {
    items: Vec<T>,
    lines: Vec<u64>,
}

impl<T> Default for RecordList<T> {
    fn default() -> Self {
        Self { items: Vec::new(), lines: Vec::new() }
    }
}

impl<T> RecordList<T> {
    fn sort_by_key<K: Ord>(&mut self, key: impl Fn(&T) -> K) {
        let mut pairs: Vec<_> =
            std::mem::take(&mut self.items).into_iter().zip(self.lines.drain(..)).collect();
        pairs.sort_by_key(|(item, _)| key(item));
        (self.items, self.lines) = pairs.into_iter().unzip();
    }

    fn push(
        &mut self,
        item: Option<T>,
        kind: SnapshotRecordKind,
        line: u64,
    ) -> Result<(), Invalid> {
        self.items.push(content(item, kind, line)?);
        self.lines.push(line);
        Ok(())
    }
}

/// Returns the content of a record, or an error if the record has no content.
fn content<T>(item: Option<T>, kind: SnapshotRecordKind, line: u64) -> Result<T, Invalid> {
    let problem = || format!("is missing in a record of this kind at line {line}");
    item.ok_or_else(|| Invalid::at(kind.name(), problem()))
}

/// The record of kind `snapshot`, which contains everything except the lists.
struct SummaryRecord {
    schema_version: String,
    captured_at: Timestamp,
    host: Host,
    summary: SnapshotSummary,
    line: u64,
}

/// The user's selection, and the records read so far.
#[derive(Default)]
struct Records<'a> {
    /// The user's selection, as `HOST` or `HOST@TIME` (see [`Label::matches`]).
    host: Option<&'a str>,
    /// The snapshot to read, or `None` before the first matching record.
    chosen: Option<Origin>,
    /// Snapshots other than `chosen` that match the selection.
    rivals: Vec<Origin>,
    /// The first few snapshots that do not match the selection, for the error message.
    strangers: Vec<Origin>,
    /// Total size in bytes of the lines that belong to the selected snapshot.
    kept: u64,
    summary: Option<SummaryRecord>,
    namespaces: RecordList<Namespace>,
    processes: RecordList<Process<'static>>,
    limits: RecordList<Limit>,
    diagnostics: RecordList<Diagnostic>,
    unknown: UnknownWords,
}

/// Reads one snapshot from `line` (line `number` of the input) and the rest of `input`.
pub fn read_records(
    mut line: Vec<u8>,
    mut number: u64,
    mut input: impl BufRead,
    host: Option<&str>,
) -> io::Result<Result<(model::Snapshot, UnknownWords), Invalid>> {
    let mut records = Records { host, ..Records::default() };
    loop {
        // Trim the line end. Otherwise, for a truncated line, the parser would give the error's
        // position as column 0 of the next line.
        let text = without_mark(&line).trim_ascii_end();
        if line.len() as u64 > MAX_SIZE {
            return Ok(Err(too_large()));
        }
        if !text.is_empty()
            && let Err(error) = records.add(text, number)
        {
            return Ok(Err(error));
        }
        if records.rivals.len() == NAMED - 1 {
            break;
        }
        line.clear();
        number += 1;
        if input.by_ref().take(MAX_SIZE + 1).read_until(b'\n', &mut line)? == 0 {
            break;
        }
    }
    Ok(records.into_snapshot())
}

impl Records<'_> {
    /// Adds the record in `line`, if the record belongs to the chosen snapshot.
    fn add(&mut self, line: &[u8], number: u64) -> Result<(), Invalid> {
        let identity: Identity = parse_line(line, number)?;
        if !self.is_chosen(identity.label()) {
            return Ok(());
        }
        check_version(&identity.schema_version)
            .map_err(|error| error.and(&format!(" at line {number}")))?;
        self.kept += line.len() as u64;
        if self.kept > MAX_SIZE {
            return Err(too_large());
        }
        let record: RecordLine = parse_line(line, number)
            .map_err(|error| with_version(error, &identity.schema_version))?;
        let Some(kind) = record.record.known(&mut self.unknown) else { return Ok(()) };
        match kind {
            SnapshotRecordKind::Snapshot => {
                if self.summary.is_some() {
                    let problem = format!("is repeated at line {number}");
                    return Err(Invalid::at("snapshot", problem));
                }
                self.summary = Some(SummaryRecord {
                    schema_version: record.schema_version,
                    captured_at: record.captured_at,
                    host: record.host,
                    summary: content(record.snapshot, kind, number)?,
                    line: number,
                });
                Ok(())
            }
            SnapshotRecordKind::Namespace => self.namespaces.push(record.namespace, kind, number),
            SnapshotRecordKind::Process => self.processes.push(record.process, kind, number),
            SnapshotRecordKind::Limit => self.limits.push(record.limit, kind, number),
            SnapshotRecordKind::Diagnostic => {
                self.diagnostics.push(record.diagnostic, kind, number)
            }
        }
    }

    /// Returns `true` if a record belongs to the first snapshot that matches the selection.
    fn is_chosen(&mut self, label: Label<'_>) -> bool {
        let note = |others: &mut Vec<Origin>| {
            if others.len() < NAMED && others.iter().all(|other| other.label() != label) {
                others.push(label.to_owned());
            }
        };
        match &self.chosen {
            // If a second snapshot has already matched, the selection is ambiguous and reading will
            // fail, so keep no more records.
            Some(chosen) if chosen.label() == label => self.rivals.is_empty(),
            _ if self.host.is_some_and(|host| !label.matches(host)) => {
                note(&mut self.strangers);
                false
            }
            None => {
                self.chosen = Some(label.to_owned());
                true
            }
            Some(_) => {
                note(&mut self.rivals);
                // Only one snapshot is allowed to match the selection. This record belongs to a
                // second one, so reading will fail. Free the records that were kept.
                self.namespaces = RecordList::default();
                self.processes = RecordList::default();
                self.limits = RecordList::default();
                self.diagnostics = RecordList::default();
                false
            }
        }
    }

    /// Converts the records to the model.
    fn into_snapshot(mut self) -> Result<(model::Snapshot, UnknownWords), Invalid> {
        let Some(chosen) = self.chosen.take() else {
            let (host, more) = (self.host.unwrap_or_default(), self.strangers.len() == NAMED);
            return Err(no_snapshot_of(host, &self.strangers, more));
        };
        if !self.rivals.is_empty() {
            return Err(several(&chosen, &self.rivals));
        }
        let name = chosen.name();
        let Some(SummaryRecord { schema_version, captured_at, host, summary, line }) =
            self.summary.take()
        else {
            return Err(Invalid::at("", format!("contains no record of kind snapshot for {name}")));
        };
        let counts = Counts {
            namespace: self.namespaces.items.len(),
            process: self.processes.items.len(),
            limit: summary.counts.limit.map(|_| self.limits.items.len()),
            diagnostic: self.diagnostics.items.len(),
        };
        let has_limits = counts.limit.is_some();
        if counts != summary.counts || (!has_limits && !self.limits.items.is_empty()) {
            let problem = format!("contains {counts} for {name}, not {}", summary.counts);
            return Err(Invalid::at("", problem));
        }
        // Sort by number of ancestors, so that parents come before children. Do not sort by
        // `level`, because it can be null.
        let items = self.namespaces.items.iter();
        let parents: HashMap<NamespaceId, NamespaceId> =
            items.filter_map(|it| Some((it.id, it.parent?))).collect();
        self.namespaces.sort_by_key(|namespace| {
            let above = iter::successors(Some(namespace.id), |id| parents.get(id).copied());
            above.take(model::MAX_LEVEL + 2).count()
        });
        let lines = Lines {
            summary: line,
            namespaces: self.namespaces.lines,
            processes: self.processes.lines,
        };
        let document = Document {
            schema_version: schema_version.clone(),
            generator: summary.generator,
            captured_at,
            host,
            procfs: summary.procfs,
            observer: summary.observer,
            searched: summary.searched,
            details: summary.details,
            selected: summary.selected,
            complete: summary.complete,
            roots: summary.roots,
            namespaces: self.namespaces.items,
            processes: self.processes.items,
            limits: has_limits.then_some(self.limits.items),
            diagnostics: self.diagnostics.items,
        };
        into_model::snapshot(document, self.unknown).map_err(|error| {
            with_version(error.in_line(|place| lines.find(place)), &schema_version)
        })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, process, limit, diagnostic } = self;
        write!(f, "{namespace} namespaces, {process} processes")?;
        if let Some(limit) = limit {
            write!(f, ", {limit} limits")?;
        }
        write!(f, " and {diagnostic} diagnostics")
    }
}

/// Line numbers of the NDJSON records that a document was read from.
struct Lines {
    summary: u64,
    namespaces: Vec<u64>,
    processes: Vec<u64>,
}

impl Lines {
    /// Finds the NDJSON record that contains the value at `place`, a path in the document. Returns
    /// the path in the record, and the line number of the record.
    fn find(&self, place: &str) -> (String, u64) {
        let entry = |list: &str, lines: &[u64], kind: &str| {
            let (index, rest) = place.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?;
            let line = lines.get(index.parse::<usize>().ok()?)?;
            Some((format!("{kind}{rest}"), *line))
        };
        entry("namespaces", &self.namespaces, "namespace")
            .or_else(|| entry("processes", &self.processes, "process"))
            .unwrap_or_else(|| (format!("snapshot.{place}"), self.summary))
    }
}

#[cfg(test)]
mod tests;
