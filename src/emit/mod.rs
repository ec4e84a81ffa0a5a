//! Writes graphs, comparisons and reports in the output formats. Each format has its own file.
//!
//! This module only writes to the given writer. It does not access other files, the terminal or the
//! kernel.

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
