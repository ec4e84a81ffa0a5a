//! Reads all processes through BPF, in a fraction of the time that /proc takes.
//!
//! The kernel runs a BPF program, a task iterator, once per task. Task iterators exist since Linux
//! 5.8, but this program needs Linux 5.17. The program writes one record per process. The record of
//! an ordinary process contains all that /proc would show. Unusual processes are read through
//! /proc, by other threads at the same time.
//!
//! - `task.bpf.c` is the program; tests/bpf/build compiles it to `task.bpf.o`, and to
//!   `task-by-helper.bpf.o` for kernels before Linux 6.2
//! - `source` decides whether to use BPF, loads the program, and reads its records
//! - `record` decodes a record into a process
//! - `judge` decides which records to trust and which processes to read through /proc

mod judge;
mod record;
pub mod source;
