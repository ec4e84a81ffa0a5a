//! Helpers of `pidns watch`: the schedule of its rounds, a record of the gaps (reasons why
//! snapshots are incomplete) that were already reported, and the local time.

pub mod gaps;
pub mod local_time;
pub mod schedule;
