//! From a graph to bytes, one file a format, and nothing that knows a file, a
//! terminal or the kernel.
//!
//! An emitter streams into a writer that is handed to it. A new format is a
//! file here, a [`Format`] and a line in [`Format::emitter`]; the command line,
//! its help and the tests take the formats from [`Format`].

mod ci;
mod data;
mod palette;
mod picture;
mod text;

use std::io::{self, Write};

pub use crate::wording::sanitize::Sanitized;
pub use ci::check::CheckFormat;
pub use text::diff::DiffFormat;
pub use text::run::ReportFormat;

use clap::ValueEnum;

use crate::document;
use crate::graph::PidGraph;
use crate::model::Translation;
use crate::wording::line::Emphasis;

/// A way to write a graph.
pub trait Emitter {
    /// Writes all of it.
    ///
    /// # Errors
    /// What the writer says.
    fn emit(&self, graph: &PidGraph, out: &mut dyn Write) -> io::Result<()>;
}

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A tree for people.
    #[value(alias = "tree")]
    Text,
    /// The document that `pidns schema` describes.
    Json,
    /// The same as records, one a line, for databases and many hosts.
    #[value(alias = "jsonl")]
    Ndjson,
    /// The same document as YAML.
    Yaml,
    /// A picture, for Graphviz.
    Dot,
    /// A picture, for Markdown as GitHub and others draw it.
    Mermaid,
    /// Numbers, for Prometheus and others who read its text.
    Openmetrics,
}

/// What a user may choose about how the output looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Text with colours.
    pub color: bool,
    /// Text in ASCII alone: lines, arrows and names.
    pub ascii: bool,
    /// JSON with indentation.
    pub pretty: bool,
    /// For a terminal, which must not obey anything in it.
    pub terminal: bool,
    /// Columns of that terminal; text is as wide as it likes elsewhere.
    pub width: Option<usize>,
    /// Text and pictures in which nothing shares a line.
    pub unfolded: bool,
}

impl Style {
    /// How a part of a line looks that stands out so much.
    fn of(self, emphasis: Emphasis) -> anstyle::Style {
        if self.color { palette::of(emphasis) } else { anstyle::Style::new() }
    }
}

impl Format {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Text,
        Self::Json,
        Self::Ndjson,
        Self::Yaml,
        Self::Dot,
        Self::Mermaid,
        Self::Openmetrics,
    ];

    /// The emitter of a format.
    #[must_use]
    pub fn emitter(self, style: Style) -> Box<dyn Emitter> {
        match self {
            Self::Text => Box::new(text::show::Text::new(style)),
            Self::Json => Box::new(data::json::Json { pretty: style.pretty }),
            Self::Ndjson => Box::new(data::ndjson::Ndjson),
            Self::Yaml => Box::new(data::yaml::Yaml),
            Self::Dot => Box::new(picture::dot::Dot { unfolded: style.unfolded }),
            Self::Mermaid => Box::new(picture::mermaid::Mermaid),
            Self::Openmetrics => Box::new(data::openmetrics::OpenMetrics),
        }
    }
}

/// The formats of a translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TranslationFormat {
    /// The numbers alone, a line each.
    Text,
    /// With the PIDs in all levels, an object for each PID, as `pidns schema translation`
    /// describes it.
    Json,
}

impl TranslationFormat {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// Writes translations, one after another: programs read one as they read many.
    ///
    /// # Errors
    /// What the writer says.
    pub fn emit(
        self,
        translations: &[Translation],
        style: Style,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let json = data::json::Json { pretty: style.pretty };
        translations.iter().try_for_each(|translation| match self {
            Self::Text => writeln!(out, "{}", translation.translated),
            Self::Json => json.write(&document::Translation::from(translation), out),
        })
    }
}
