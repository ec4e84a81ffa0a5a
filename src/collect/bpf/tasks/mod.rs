//! Reads all processes through BPF, in a fraction of the time that reading /proc takes.
//!
//! A task iterator is a BPF program that the kernel runs once per task. This iterator needs Linux
//! 5.17. The program writes one record per process. For most processes, the record contains
//! everything that pidns would read in /proc. Other threads read the remaining processes through
//! /proc at the same time.
//!
//! - `task.bpf.c` is the program, which tests/bpf/build compiles to `task.bpf.o` and, for kernels
//!   before Linux 6.2, to `task-by-helper.bpf.o`
//! - `source` checks whether BPF can be used, loads the program, and reads its records
//! - `auto` decides on which hosts `--collector auto` uses BPF
//! - `record` decodes a record into a process
//! - `judge` decides which records to trust and which processes to read through /proc

mod auto;
mod judge;
mod record;
pub mod source;
