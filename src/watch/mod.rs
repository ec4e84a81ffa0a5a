//! The parts of `pidns watch` that do not handle processes: the schedule of its rounds, the gaps
//! that were reported, and the local time.

pub mod gaps;
pub mod local_time;
pub mod schedule;
