//! Human-readable text: the hierarchy, and the reports of `diff`, `run` and `check`.

pub mod check;
pub mod diff;
pub mod limits;
pub mod run;
pub mod show;
mod tree;
