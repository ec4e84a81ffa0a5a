//! The BPF program that the kernel runs once per task, and its records.

pub mod judge;
pub mod record;
