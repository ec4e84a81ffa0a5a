//! Helpers of `pidns watch`: the schedule of its rounds, a record of reported gaps (reasons why a
//! snapshot is incomplete), and local time.

pub mod gaps;
pub mod local_time;
pub mod schedule;
