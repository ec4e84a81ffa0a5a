//! Options for the appearance of the output.

use super::palette;
use crate::wording::line::Emphasis;
use crate::wording::phrase::Symbols;

/// Options for the appearance of the output.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// `true` if text output has colours.
    pub color: bool,
    /// `true` if text output is ASCII only, including tree lines, arrows and names.
    pub ascii: bool,
    /// `true` if JSON output is indented.
    pub pretty: bool,
    /// `true` if the output is a terminal.
    pub terminal: bool,
    /// Maximum number of columns of text output, or `None` if it does not wrap.
    pub width: Option<usize>,
    /// `true` if text and pictures show each process and namespace on a line of its own.
    pub unfolded: bool,
    /// `true` if text output shows the members of a namespace as trees of processes.
    pub nested: bool,
}

impl Style {
    /// Returns the terminal style for text with this emphasis.
    pub(super) fn emphasis(self, emphasis: Emphasis) -> anstyle::Style {
        if self.color { palette::style(emphasis) } else { anstyle::Style::new() }
    }

    pub(super) fn symbols(self) -> Symbols {
        Symbols::new(self.ascii)
    }
}
