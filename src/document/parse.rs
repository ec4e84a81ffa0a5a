//! Parses untrusted JSON or YAML in memory proportional to the size of the text.

use std::fmt::{self, Write as _};

use serde::de::{Deserialize, DeserializeOwned};
use serde_yaml::Error;
use serde_yaml::budget::BudgetBreach;
use serde_yaml::options::{DuplicateKeyPolicy, MergeKeyPolicy};

/// Maximum nesting depth, the same as the built-in limit of `serde_json`.
const MAX_DEPTH: usize = 128;

/// Maximum number of YAML nodes, which limits the CPU time but allows 100,000 processes.
const MAX_YAML_NODES: usize = 5_000_000;

/// The error message for a file that contains more text after the document.
const SECOND_DOCUMENT: &str = "contains more than one document";

/// The error for an invalid document, with the path of the invalid value.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Path of the invalid value, such as `processes[17].namespace`, or empty for the whole text.
    place: String,
    problem: String,
}

impl Invalid {
    pub(super) fn at(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }

    /// Appends text to the error message.
    pub(super) fn and(mut self, more: &str) -> Self {
        self.problem.push_str(more);
        self
    }

    /// Replaces phrases in the parser's message with phrases that users understand.
    pub(super) fn reworded(mut self, terms: &[(&str, &str)]) -> Self {
        for (of_parser, of_user) in terms {
            self.problem = self.problem.replace(of_parser, of_user);
        }
        self
    }

    /// Turns this error for a document into an error for an NDJSON record.
    ///
    /// `place` takes the path of the invalid value in the document, and returns its path in the
    /// record and the record's line number.
    pub(super) fn in_line(self, place: impl FnOnce(&str) -> (String, u64)) -> Self {
        let (place, line) = place(&self.place);
        Self { place, problem: format!("{} at line {line}", self.problem) }
    }

    /// Converts a parser's error, and shortens its message.
    fn found(place: &str, error: &dyn fmt::Display) -> Self {
        const LONG: usize = 120;
        let message = error.to_string();
        // Strip the path from the message, because `Display` adds it back.
        let message = message.strip_prefix(&format!("{place}: ")).unwrap_or(&message);
        let is_long = |text: &str| text.chars().nth(LONG).is_some();
        // A long message may quote the whole file, so shorten it.
        let problem = match message.rsplit_once(", expected ") {
            _ if !is_long(message) => message.to_owned(),
            Some((_, expected)) if !is_long(expected) => format!("is not {expected}"),
            _ => Cut(message).to_string(),
        };
        Self { place: Cut(place).to_string(), problem }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" | "." | "?" => f.write_str(&self.problem),
            place => write!(f, "{place}: {}", self.problem),
        }
    }
}

impl std::error::Error for Invalid {}

/// Text that `Display` truncates to 60 characters.
pub(super) struct Cut<'a>(pub(super) &'a str);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 60;
        match self.0.char_indices().nth(SHOWN) {
            None => f.write_str(self.0),
            Some((end, _)) => {
                f.write_str(&self.0[..end])?;
                f.write_char('…')
            }
        }
    }
}

/// Parses line `number`, which must contain one JSON value.
pub(super) fn parse_line<'de, T: Deserialize<'de>>(
    line: &'de [u8],
    number: u64,
) -> Result<T, Invalid> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let read = serde_path_to_error::deserialize(&mut json);
    let read = read.map_err(|error| (error.path().to_string(), error.into_inner()));
    let read = read.and_then(|it| json.end().map(|()| it).map_err(|error| (String::new(), error)));
    read.map_err(|(place, error)| {
        // The parser sees only this line and reports it as line 1, so replace that with the real
        // line number.
        let (message, column) = (error.to_string(), error.column());
        let here = format!(" at line {} column {column}", error.line());
        let message = message.strip_suffix(&here).unwrap_or(&message);
        Invalid::found(&place, &message).and(&format!(" at line {number} column {column}"))
    })
}

/// Parses a whole JSON or YAML text.
pub(super) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Invalid> {
    let text = without_mark(text);
    let is_json = text.trim_ascii_start().first() == Some(&b'{');
    if is_json { parse_json(text) } else { parse_yaml(text, MAX_YAML_NODES) }
}

/// Removes the byte order mark (U+FEFF) that some Windows programs write.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text)
}

fn parse_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Invalid> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| Invalid::found(&error.path().to_string(), error.inner()))?;
    json.end().map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Invalid::at("", format!("{SECOND_DOCUMENT} at line {line}, column {column}"))
    })?;
    Ok(value)
}

fn parse_yaml<T: DeserializeOwned>(text: &[u8], max_nodes: usize) -> Result<T, Invalid> {
    let text = std::str::from_utf8(text).map_err(|error| Invalid::at("", error.to_string()))?;
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            // Reject aliases, because they could expand to any size.
            max_anchors: 0,
            max_aliases: 0,
            max_nodes: max_nodes,
            // Events and scalars need no limits of their own: `max_nodes` and the size of the text
            // already bound them.
            max_events: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
        },
        // Leave duplicate keys to the serde types, which reject them.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        strict_booleans: true,
        with_snippet: false,
    };
    let mut place = String::new();
    let read = serde_yaml::with_deserializer_from_str_with_options(text, options, |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|error| {
            place = error.path().to_string();
            error.into_inner()
        })
    });
    read.map_err(|error| {
        let problem = match &error {
            Error::MultipleDocuments { .. } => SECOND_DOCUMENT,
            // Replace the YAML library's messages, because they mention options that users of pidns
            // cannot set.
            Error::Budget { breach, .. } => match breach {
                BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. } => {
                    "anchors and aliases are not supported"
                }
                BudgetBreach::Nodes { .. } => {
                    return Invalid::at("", "has too many values for YAML; convert it to JSON");
                }
                // Use the message that `serde_json` uses for this error.
                _ => "recursion limit exceeded",
            },
            // Most text files parse as valid YAML, but not as a YAML object (mapping). For such a
            // file, say that it is not a pidns document.
            Error::Unexpected { expected: "mapping start", .. } if place == "." => {
                return Invalid::at("", "is not a pidns document");
            }
            _ => return Invalid::found(&place, &error),
        };
        let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
        Invalid::at("", format!("{problem} at line {line}, column {column}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_the_number_of_yaml_values() {
        let parse = |text: &str| parse_yaml::<serde_json::Value>(text.as_bytes(), 100);
        assert!(parse(&format!("x: [{}]", "a,".repeat(90))).is_ok());
        for text in [format!("x: [{}]", "a,".repeat(110)), format!("x: {{{}}}", "a,".repeat(60))] {
            let error = parse(&text).unwrap_err().to_string();
            assert_eq!(error, "has too many values for YAML; convert it to JSON");
        }
    }
}
