//! Human-readable text of the hierarchy, of reports, and of the log of `watch`.

pub mod check;
pub mod diff;
pub mod limits;
pub mod run;
pub mod show;
mod tree;
pub mod watch;
