//! Writes graphs, comparisons and reports to a writer, and does no other I/O.

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
