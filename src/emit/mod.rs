//! Turns graphs, comparisons and reports into bytes, one file per format.
//!
//! Emitters write to a given writer. They read no file, terminal or kernel.

mod ci;
mod data;
mod format;
mod overlay;
mod palette;
mod picture;
mod style;
mod text;

pub use crate::wording::sanitize::Sanitized;
pub use format::{CheckFormat, DiffFormat, Format, RunFormat, TranslationFormat};
pub use style::Style;
