//! Helpers of `pidns watch`: the schedule of its rounds, a record of the gaps that were already
//! reported (a gap is a reason why a snapshot is incomplete), and the local time.

pub mod gaps;
pub mod local_time;
pub mod schedule;
