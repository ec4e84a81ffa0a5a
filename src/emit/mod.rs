//! Writes graphs, comparisons and reports in the output formats. Each format has its own file.
//!
//! Emitters only write to the given writer. They do not read files, the terminal or the kernel.

mod ci;
mod data;
mod format;
mod overlay;
mod palette;
mod picture;
mod style;
mod text;

pub use crate::wording::sanitize::Sanitized;
pub use format::{
    CheckFormat, DiffFormat, Format, LimitsFormat, RunFormat, TranslationFormat, WatchFormat,
};
pub use style::Style;
