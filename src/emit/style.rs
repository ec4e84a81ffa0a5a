//! The options that decide what the output looks like.

use super::palette;
use crate::wording::line::Emphasis;
use crate::wording::phrase::Symbols;

/// Decides what the output looks like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// `true` if text has colours.
    pub color: bool,
    /// `true` if all lines, arrows and names in text are ASCII only.
    pub ascii: bool,
    /// `true` if JSON is indented.
    pub pretty: bool,
    /// `true` if the output is a terminal.
    pub terminal: bool,
    /// Number of columns after which text wraps. `None` if it does not wrap.
    pub width: Option<usize>,
    /// `true` if text and pictures give each process and namespace a line of its own.
    pub unfolded: bool,
}

impl Style {
    /// Returns the terminal style for this emphasis.
    pub(super) fn emphasis(self, emphasis: Emphasis) -> anstyle::Style {
        if self.color { palette::style(emphasis) } else { anstyle::Style::new() }
    }

    pub(super) fn symbols(self) -> Symbols {
        Symbols::new(self.ascii)
    }
}
