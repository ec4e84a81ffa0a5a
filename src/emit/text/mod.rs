//! Human-readable text: the hierarchy, the reports of `diff`, `run` and `check`, and
//! the log of `watch`.

pub mod check;
pub mod diff;
pub mod limits;
pub mod run;
pub mod show;
mod tree;
pub mod watch;
