//! Helpers of `pidns watch` for its schedule, its reports and local time.

pub mod gaps;
pub mod local_time;
pub mod schedule;
