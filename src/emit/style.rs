//! The options that decide how output looks.

use super::palette;
use crate::wording::line::Emphasis;
use crate::wording::phrase::Symbols;

/// Options for the look of the output.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Text has colours.
    pub color: bool,
    /// Text is ASCII only: lines, arrows and names.
    pub ascii: bool,
    /// JSON is indented.
    pub pretty: bool,
    /// The output is a terminal.
    pub terminal: bool,
    /// Columns after which text wraps; `None` if it does not wrap.
    pub width: Option<usize>,
    /// Text and pictures give each process and namespace a line of its own.
    pub unfolded: bool,
}

impl Style {
    /// The terminal style for this emphasis.
    pub(super) fn emphasis(self, emphasis: Emphasis) -> anstyle::Style {
        if self.color { palette::style(emphasis) } else { anstyle::Style::new() }
    }

    pub(super) fn symbols(self) -> Symbols {
        Symbols::new(self.ascii)
    }
}
