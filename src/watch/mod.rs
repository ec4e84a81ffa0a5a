//! Helpers for `pidns watch`: scheduling, reports of gaps, and local time.

pub mod gaps;
pub mod local_time;
pub mod schedule;
