//! English for people, each phrase once. It names no output format.

pub mod advice;
pub mod change;
pub mod finding;
pub mod holder;
pub mod line;
pub mod namespace;
pub mod phrase;
pub mod report;
pub mod sanitize;
pub mod subject;
