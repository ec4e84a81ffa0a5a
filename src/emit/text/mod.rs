//! Writes the PID namespace hierarchy, reports and the `watch` log as human-readable text.

pub mod check;
pub mod diff;
pub mod limits;
pub mod run;
pub mod show;
mod tree;
pub mod watch;
