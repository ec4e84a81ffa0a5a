//! English phrases for human-readable output, shared by all output formats.

pub mod advice;
pub mod change;
mod engine;
pub mod finding;
pub mod holder;
pub mod limit;
pub mod limit_advice;
pub mod line;
pub mod member;
pub mod namespace;
pub mod phrase;
pub mod report;
pub mod run;
pub mod sanitize;
pub mod sharing;
pub mod shell;
pub mod subject;
pub mod unmount;
pub mod watch;
