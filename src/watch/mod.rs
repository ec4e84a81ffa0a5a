//! Support for `pidns watch`, independent of processes: the time of the next round, the gaps that
//! were reported, and the local time.

pub mod gaps;
pub mod local_time;
pub mod schedule;
