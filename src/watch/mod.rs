//! The parts of a watch that have nothing to do with processes: when the next round is due, which
//! gaps were reported, and the local time.

pub mod gaps;
pub mod local_time;
pub mod schedule;
