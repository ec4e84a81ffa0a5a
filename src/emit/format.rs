//! The output formats of each command, and their emitters.

use std::io::{self, Write};

use clap::ValueEnum;

use super::ci::findings::CiFindings;
use super::data::json::Json;
use super::data::ndjson::JsonLines;
use super::data::{ndjson, openmetrics, yaml};
use super::picture::{dot, mermaid};
use super::{Style, ci, text};
use crate::document::{self, Explained};
use crate::graph::PidGraph;
use crate::model::{Finding, Translation};
use crate::query::{Check, Diff, LimitReport, Round, RunReport};
use crate::wording::finding;
use crate::wording::phrase::Symbols;

/// The output formats of the namespace hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A human-readable tree.
    #[value(alias = "tree")]
    Text,
    /// The document that `pidns schema` describes.
    Json,
    /// One record per line, for databases and for snapshots of many hosts in one file.
    #[value(alias = "jsonl")]
    Ndjson,
    /// The document as YAML.
    Yaml,
    /// A graph to draw with Graphviz.
    Dot,
    /// A diagram, which GitHub and other sites render in Markdown.
    Mermaid,
    /// Metrics for Prometheus and compatible tools.
    Openmetrics,
}

impl Format {
    /// All formats, in the order in which the help lists them.
    pub const ALL: [Self; 7] = [
        Self::Text,
        Self::Json,
        Self::Ndjson,
        Self::Yaml,
        Self::Dot,
        Self::Mermaid,
        Self::Openmetrics,
    ];

    /// Writes a graph in this format.
    pub fn emit(self, graph: &PidGraph, style: Style, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Text => text::show::write(graph, style, out),
            Self::Json => json(style).write(&document::document(graph), out),
            Self::Ndjson => ndjson::write(graph, out),
            Self::Yaml => yaml::write(graph, out),
            Self::Dot => dot::write(graph, !style.unfolded, out),
            Self::Mermaid => mermaid::hierarchy::write(graph, out),
            Self::Openmetrics => openmetrics::write(graph, out),
        }
    }
}

/// The output formats of `pidns translate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TranslationFormat {
    /// Translated PIDs, one per line.
    Text,
    /// An object for each given PID, with the process's PIDs at all levels
    /// (`pidns schema translation`).
    Json,
}

impl TranslationFormat {
    /// All formats, in the order in which the help lists them.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// Writes translations in this format, each as one line of text or one JSON object.
    pub fn emit(
        self,
        translations: &[Translation],
        style: Style,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        translations.iter().try_for_each(|translation| match self {
            Self::Text => writeln!(out, "{}", translation.translated),
            Self::Json => json(style).write(&document::Translation::from(translation), out),
        })
    }
}

/// The output formats of `pidns diff`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DiffFormat {
    /// A human-readable tree of the changes, with +, -, ? or ~ before each change.
    #[value(alias = "tree")]
    Text,
    /// The comparison as JSON (`pidns schema diff`).
    Json,
    /// The records of the comparison, one per line (`pidns schema diff-record`).
    #[value(alias = "jsonl")]
    Ndjson,
    /// A diagram of the changes, which GitHub and other sites render in Markdown.
    Mermaid,
}

impl DiffFormat {
    /// All formats, in the order in which the help lists them.
    pub const ALL: [Self; 4] = [Self::Text, Self::Json, Self::Ndjson, Self::Mermaid];

    /// Writes a comparison in this format.
    pub fn emit(self, diff: &Diff, style: Style, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Text => text::diff::write(diff, style, out),
            Self::Json => json(style).write(&document::diff(diff), out),
            Self::Ndjson => {
                let mut lines = JsonLines::new(out);
                document::write_diff_records(diff, |record| lines.line(record))?;
                lines.end()
            }
            Self::Mermaid => mermaid::diff::write(diff, out),
        }
    }
}

/// The output formats of `pidns limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LimitsFormat {
    /// Human-readable text: one limit per line, sorted by usage, highest first.
    Text,
    /// The JSON document that `pidns schema limits` describes.
    Json,
    /// One record per line, as `pidns schema limits-record` describes it.
    #[value(alias = "jsonl")]
    Ndjson,
    /// The document that `pidns schema limits` describes, as YAML.
    Yaml,
}

impl LimitsFormat {
    /// All formats, in the order in which the help lists them.
    pub const ALL: [Self; 4] = [Self::Text, Self::Json, Self::Ndjson, Self::Yaml];

    /// Writes limits.
    pub fn emit(self, report: &LimitReport, style: Style, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Text => text::limits::write(report, style, out),
            Self::Json => json(style).write(&document::limits(report), out),
            Self::Ndjson => {
                let mut lines = JsonLines::new(out);
                document::write_limits_records(report, |record| lines.line(record))?;
                lines.end()
            }
            Self::Yaml => yaml::write_object(&document::limits(report), out),
        }
    }
}

/// The output formats of `pidns check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// Human-readable text: each finding on one line, followed by its advice.
    Text,
    /// The findings as JSON (`pidns schema check`).
    Json,
    /// The records of the check, one per line (`pidns schema check-record`).
    #[value(alias = "jsonl")]
    Ndjson,
    /// Workflow commands, which GitHub Actions shows as annotations.
    Github,
    /// JUnit XML, with one test case for each check code.
    Junit,
    /// A table for the summary of a CI job.
    Markdown,
}

impl CheckFormat {
    /// All formats, in the order in which the help lists them.
    pub const ALL: [Self; 6] =
        [Self::Text, Self::Json, Self::Ndjson, Self::Github, Self::Junit, Self::Markdown];

    /// Writes the findings of a check in this format.
    pub fn emit(self, check: &Check, style: Style, out: &mut dyn Write) -> io::Result<()> {
        let describe = |finding: &Finding| describe(check, finding);
        match self {
            Self::Text => text::check::write(check, style, out),
            Self::Json => json(style).write(&document::check(check, describe), out),
            Self::Ndjson => {
                let mut lines = JsonLines::new(out);
                document::write_check_records(check, describe, |record| lines.line(record))?;
                lines.end()
            }
            Self::Github => ci::github::write(&CiFindings::of_check(check), out),
            Self::Junit => ci::junit::write(&CiFindings::of_check(check), out),
            Self::Markdown => ci::markdown::write(&CiFindings::of_check(check), out),
        }
    }
}

/// The formats of the report that `pidns run` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RunFormat {
    /// A human-readable tree.
    Text,
    /// The JSON document that `pidns schema run` describes.
    Json,
    /// Workflow commands, which GitHub Actions shows as annotations.
    Github,
    /// JUnit XML, with one test case for each check code.
    Junit,
    /// A table for the summary of a CI job.
    Markdown,
}

impl RunFormat {
    /// Writes a report in this format.
    pub fn emit(self, report: &RunReport, style: Style, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Text => text::run::write(report, style, out),
            Self::Json => json(style).write(&document::RunReport::from(report), out),
            Self::Github => ci::github::write(&CiFindings::of_run(report), out),
            Self::Junit => ci::junit::write(&CiFindings::of_run(report), out),
            Self::Markdown => ci::markdown::write(&CiFindings::of_run(report), out),
        }
    }
}

/// The output formats of `pidns watch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WatchFormat {
    /// A human-readable log: one change per line, with the local time.
    Text,
    /// One record per line (`pidns schema watch-record`).
    #[value(alias = "jsonl")]
    Ndjson,
}

impl WatchFormat {
    /// All formats, in the order in which the help lists them.
    pub const ALL: [Self; 2] = [Self::Text, Self::Ndjson];

    /// Writes the events of one watch round in this format.
    pub fn emit(self, round: &Round<'_>, style: Style, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Text => text::watch::write(round, style, out),
            Self::Ndjson => {
                let mut lines = JsonLines::new(out);
                document::write_watch_records(round, describe, |record| lines.line(record))?;
                lines.end()
            }
        }
    }
}

/// Returns a finding's message, its advice, and the command that enters its namespace.
fn describe(check: &Check, finding: &Finding) -> Explained {
    let text = finding::describe(check, finding, Symbols::UNICODE);
    (text.message, text.advice, finding::enter(check, finding))
}

fn json(style: Style) -> Json {
    Json { pretty: style.pretty }
}
