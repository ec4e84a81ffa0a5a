//! Turns graphs, comparisons and reports into output, one file per format.
//!
//! Emitters only write to the writer that they are given. They do not read files, the terminal or
//! the kernel.

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
