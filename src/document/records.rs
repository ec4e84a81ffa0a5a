//! Records of ndjson: the lines of one snapshot out of those of many hosts, put
//! together to a document. What belongs to other snapshots is passed over line
//! by line, so that a file may be larger than memory.

mod origin;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufRead, Read as _};
use std::{fmt, iter};

use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};

use super::parse::{Invalid, parse_line, without_mark};
use super::process::Process;
use super::scalars::Id;
use super::version::{MAX_SIZE, check_version, too_large, with_version};
use super::wire::{Counts, Diagnostic, Document, Namespace, Record, SnapshotHead};
use super::words::{PassedOver, SnapshotRecordType};
use crate::model;
use origin::{Label, NAMED, no_snapshot_of, several};

pub(super) use origin::Origin;

/// What tells whether a line is for us: all but what it holds.
#[derive(Deserialize)]
#[serde(expecting = "a record of pidns")]
struct Envelope<'a> {
    #[serde(borrow)]
    schema_version: Cow<'a, str>,
    #[serde(borrow)]
    captured_at: Cow<'a, str>,
    #[serde(borrow)]
    host: EnvelopeHost<'a>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct EnvelopeHost<'a> {
    #[serde(borrow)]
    hostname: Option<Cow<'a, str>>,
    #[serde(borrow)]
    boot_id: Option<Cow<'a, str>>,
}

impl Envelope<'_> {
    fn label(&self) -> Label<'_> {
        Label {
            hostname: self.host.hostname.as_deref(),
            boot_id: self.host.boot_id.as_deref(),
            captured_at: &self.captured_at,
        }
    }
}

/// Whether a line begins a list of records, and no document: that has no field
/// `record`. Nothing is read beyond the first field that tells.
pub fn is_record(line: &[u8]) -> bool {
    /// Takes nothing, and says by an error what was found.
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
    // A fault further on is for those to find who read all of it.
    let _ = serde::Deserializer::deserialize_map(&mut json, Fields(&mut found));
    found
}

/// The records of one kind, and the lines that they stand in.
struct List<T> {
    items: Vec<T>,
    lines: Vec<u64>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new(), lines: Vec::new() }
    }
}

impl<T> List<T> {
    fn sort_by_key<K: Ord>(&mut self, key: impl Fn(&T) -> K) {
        let mut pairs: Vec<_> =
            std::mem::take(&mut self.items).into_iter().zip(self.lines.drain(..)).collect();
        pairs.sort_by_key(|(item, _)| key(item));
        (self.items, self.lines) = pairs.into_iter().unzip();
    }

    fn push(
        &mut self,
        item: Option<T>,
        kind: SnapshotRecordType,
        line: u64,
    ) -> Result<(), Invalid> {
        self.items.push(payload(item, kind, line)?);
        self.lines.push(line);
        Ok(())
    }
}

/// What a record holds.
fn payload<T>(item: Option<T>, kind: SnapshotRecordType, line: u64) -> Result<T, Invalid> {
    let problem = || format!("is missing in a record of that kind at line {line}");
    item.ok_or_else(|| Invalid::at(kind.name(), problem()))
}

/// The record of kind snapshot.
struct Head {
    record: Record<'static>,
    payload: SnapshotHead,
    line: u64,
}

/// What has been read so far.
#[derive(Default)]
struct Records<'a> {
    /// Which snapshot is asked for.
    host: Option<&'a str>,
    /// The snapshot that is kept, once it was met.
    chosen: Option<Origin>,
    /// Others that would be meant as well.
    rivals: Vec<Origin>,
    /// Others that are not meant, as far as an error would name them.
    strangers: Vec<Origin>,
    /// Bytes of the lines that are kept.
    kept: u64,
    head: Option<Head>,
    namespaces: List<Namespace>,
    processes: List<Process<'static>>,
    diagnostics: List<Diagnostic>,
    passed_over: PassedOver,
}

/// Reads records, of which the first line has been read already; `number` is its
/// number.
pub fn read_records(
    mut line: Vec<u8>,
    mut number: u64,
    mut input: impl BufRead,
    host: Option<&str>,
) -> io::Result<Result<(model::Snapshot, PassedOver), Invalid>> {
    let mut records = Records { host, ..Records::default() };
    loop {
        // So that a fault at the end is in this line.
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
    /// Takes a line, unless it is of another snapshot.
    fn add(&mut self, line: &[u8], number: u64) -> Result<(), Invalid> {
        let envelope: Envelope = parse_line(line, number)?;
        if !self.is_chosen(envelope.label()) {
            return Ok(());
        }
        check_version(&envelope.schema_version)
            .map_err(|error| error.and(&format!(" at line {number}")))?;
        self.kept += line.len() as u64;
        if self.kept > MAX_SIZE {
            return Err(too_large());
        }
        let mut record: Record<'static> = parse_line(line, number)
            .map_err(|error| with_version(error, &envelope.schema_version))?;
        let kind = record.record.clone().known(&mut self.passed_over);
        let Some(kind) = kind else { return Ok(()) };
        match kind {
            SnapshotRecordType::Snapshot => {
                if self.head.is_some() {
                    let problem = format!("comes twice at line {number}");
                    return Err(Invalid::at("snapshot", problem));
                }
                let payload = payload(record.snapshot.take(), kind, number)?;
                self.head = Some(Head { record, payload, line: number });
                Ok(())
            }
            SnapshotRecordType::Namespace => self.namespaces.push(record.namespace, kind, number),
            SnapshotRecordType::Process => self.processes.push(record.process, kind, number),
            SnapshotRecordType::Diagnostic => {
                self.diagnostics.push(record.diagnostic, kind, number)
            }
        }
    }

    /// Whether a record is of the snapshot to keep. Without a choice that is the
    /// first one; where another one comes that it could be as well, neither is.
    fn is_chosen(&mut self, label: Label<'_>) -> bool {
        let note = |others: &mut Vec<Origin>| {
            if others.len() < NAMED && others.iter().all(|other| other.label() != label) {
                others.push(label.to_owned());
            }
        };
        match &self.chosen {
            Some(chosen) if chosen.label() == label => self.rivals.is_empty(),
            _ if self.host.is_some_and(|host| !label.is_meant_by(host)) => {
                note(&mut self.strangers);
                false
            }
            None => {
                self.chosen = Some(label.to_owned());
                true
            }
            Some(_) => {
                note(&mut self.rivals);
                // Nothing will come of what was kept.
                self.namespaces = List::default();
                self.processes = List::default();
                self.diagnostics = List::default();
                false
            }
        }
    }

    /// The snapshot that was kept.
    fn into_snapshot(mut self) -> Result<(model::Snapshot, PassedOver), Invalid> {
        let Some(chosen) = self.chosen.take() else {
            let (host, more) = (self.host.unwrap_or_default(), self.strangers.len() == NAMED);
            return Err(no_snapshot_of(host, &self.strangers, more));
        };
        if !self.rivals.is_empty() {
            return Err(several(&chosen, &self.rivals));
        }
        let name = chosen.name();
        let Some(head) = self.head.take() else {
            return Err(Invalid::at("", format!("has no record of kind snapshot of {name}")));
        };
        let counts = Counts {
            namespace: self.namespaces.items.len(),
            process: self.processes.items.len(),
            diagnostic: self.diagnostics.items.len(),
        };
        if counts != head.payload.counts {
            let problem = format!("has {counts} of {name}, not {}", head.payload.counts);
            return Err(Invalid::at("", problem));
        }
        // Parents before their children. Not every namespace has a level.
        let items = self.namespaces.items.iter();
        let parents: HashMap<Id, Id> = items.filter_map(|it| Some((it.id, it.parent?))).collect();
        self.namespaces.sort_by_key(|namespace| {
            let above = iter::successors(Some(namespace.id), |id| parents.get(id).copied());
            above.take(model::MAX_LEVEL + 2).count()
        });
        let version = head.record.schema_version.into_owned();
        let lines = Lines {
            head: head.line,
            namespaces: self.namespaces.lines,
            processes: self.processes.lines,
        };
        let document = Document {
            schema_version: version.clone(),
            generator: head.payload.generator,
            captured_at: head.record.captured_at.into_owned(),
            host: head.record.host.into_owned(),
            procfs: head.payload.procfs,
            searched: head.payload.searched,
            details: head.payload.details,
            selected: head.payload.selected,
            complete: head.payload.complete,
            roots: head.payload.roots,
            namespaces: self.namespaces.items,
            processes: self.processes.items,
            diagnostics: self.diagnostics.items,
        };
        document
            .into_snapshot(self.passed_over)
            .map_err(|error| with_version(error.in_line(|place| lines.find(place)), &version))
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, process, diagnostic } = self;
        write!(f, "{namespace} namespaces, {process} processes and {diagnostic} diagnostics")
    }
}

/// The lines of the records that a document was made of.
struct Lines {
    head: u64,
    namespaces: Vec<u64>,
    processes: Vec<u64>,
}

impl Lines {
    /// Where that which stands at a place of the document stood: a place in its
    /// record, and the line of that.
    fn find(&self, place: &str) -> (String, u64) {
        let entry = |list: &str, lines: &[u64], kind: &str| {
            let (index, rest) = place.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?;
            let line = lines.get(index.parse::<usize>().ok()?)?;
            Some((format!("{kind}{rest}"), *line))
        };
        entry("namespaces", &self.namespaces, "namespace")
            .or_else(|| entry("processes", &self.processes, "process"))
            .unwrap_or_else(|| (format!("snapshot.{place}"), self.head))
    }
}

#[cfg(test)]
mod tests;
