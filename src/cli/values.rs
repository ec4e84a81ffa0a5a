//! Parsers for option values that are not plain strings or numbers.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{OsStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::emit::RunFormat;
use crate::model::{CheckCode, NamespaceRef, ParseNamespaceRefError};

/// A non-negative number of seconds, with an optional fraction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seconds(pub(super) Duration);

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seconds = text.parse().ok().and_then(|it| Duration::try_from_secs_f64(it).ok());
        seconds.map(Self).ok_or("not a number of seconds (0 to 18446744073709551615)")
    }
}

/// The time between two snapshots of `pidns watch`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval(pub(super) Duration);

impl FromStr for Interval {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        /// With a shorter interval, a scan would often take longer than the interval.
        const MIN: Duration = Duration::from_millis(50);
        let seconds = text.parse().ok().filter(|seconds: &Seconds| seconds.0 >= MIN);
        seconds.map(|it| Self(it.0)).ok_or("not a number of seconds (0.05 to 18446744073709551615)")
    }
}

/// Parses a number of levels, which may exceed the kernel's maximum of 32.
pub(super) fn levels(text: &str) -> Result<u32, &'static str> {
    text.parse().map_err(|_| "not a number of levels (0 to 4294967295)")
}

/// The published schemas.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Schema {
    /// Output of 'pidns -f json' and 'pidns -f yaml'
    Document,
    /// One line of the output of 'pidns -f ndjson'
    Record,
    /// Output of 'pidns translate -f json'
    Translation,
    /// Output of 'pidns diff -f json'
    Diff,
    /// One line of the output of 'pidns diff -f ndjson'
    DiffRecord,
    /// Output of 'pidns check -f json'
    Check,
    /// One line of the output of 'pidns check -f ndjson'
    CheckRecord,
    /// Output of 'pidns limits -f json'
    Limits,
    /// One line of the output of 'pidns limits -f ndjson'
    LimitsRecord,
    /// Output of 'pidns run -f json'
    Run,
    /// One line of the output of 'pidns watch -f ndjson'
    WatchRecord,
    /// Input of 'pidns check --policy'
    Policy,
}

/// A reference to a namespace on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceArg {
    /// The ID of the namespace, or a process in the namespace.
    Ref(NamespaceRef),
    /// The path of a file on nsfs, such as `/proc/12/ns/pid`.
    File(PathBuf),
}

impl FromStr for NamespaceArg {
    type Err = ParseNamespaceRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('/') { Ok(Self::File(text.into())) } else { text.parse().map(Self::Ref) }
    }
}

/// The values selected by one word of a comma-separated list: one value, or all values of a group.
#[derive(Clone, Debug)]
pub(super) struct Words<T>(pub(super) Vec<T>);

/// Parses one word. The name of `group` selects all `values`, and any other word must name one
/// value in `values` or `others`.
pub(super) fn words<T: ValueEnum + Send + Sync>(
    group: PossibleValue,
    values: &'static [T],
    others: &'static [T],
) -> impl TypedValueParser<Value = Words<T>> {
    let names = |values: &'static [T]| values.iter().filter_map(ValueEnum::to_possible_value);
    let names = names(values).chain([group]).chain(names(others));
    PossibleValuesParser::new(names).map(|word| {
        Words(T::from_str(&word, false).map_or_else(|_| values.to_vec(), |one| vec![one]))
    })
}

/// Parses a code that `run --deny` accepts.
pub(super) fn run_code() -> impl TypedValueParser<Value = CheckCode> {
    let code = |code: CheckCode| PossibleValue::new(code.name()).help(code.meaning());
    let names = PossibleValuesParser::new(CheckCode::of_runs().map(code));
    names.try_map(|name| CheckCode::from_name(&name).ok_or("unknown code"))
}

/// A report file of `pidns run`.
#[derive(Clone, Debug)]
pub(super) struct ReportFile {
    /// The format of the report, or `None` for the format that `-f` selects.
    pub(super) format: Option<RunFormat>,
    pub(super) path: PathBuf,
}

/// Parses the argument `[FORMAT:]FILE`.
pub(super) fn report_file() -> impl TypedValueParser<Value = ReportFile> {
    OsStringValueParser::new().try_map(|word: OsString| {
        let split = word.to_str().and_then(|word| word.split_once(':'));
        let is_name = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphabetic());
        // An argument without a format, such as `./a:b`, is a path.
        let Some((name, path)) = split.filter(|(name, _)| is_name(name)) else {
            return Ok(ReportFile { format: None, path: word.into() });
        };
        // A misspelt format must not become part of a file name.
        let Ok(format) = RunFormat::from_str(name, false) else {
            let names = RunFormat::value_variants().iter().filter_map(ValueEnum::to_possible_value);
            let names: Vec<_> = names.map(|it| it.get_name().to_owned()).collect();
            return Err(format!(
                "'{name}' is not one of the formats {}; for a file of this name, write ./{name}:{path}",
                names.join(", ")
            ));
        };
        Ok(ReportFile { format: Some(format), path: path.into() })
    })
}
