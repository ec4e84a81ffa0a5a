//! Reads all processes through BPF, in a fraction of the time that /proc takes.
//!
//! The kernel runs a program once per task (a task iterator, since Linux 5.8; this one needs 5.17).
//! The program only collects: for a process with nothing unusual about it, the record contains all
//! that /proc would show. Every other process is read through /proc, by other threads meanwhile.
//!
//! - `task.bpf.c` the program; `task.bpf.o` the object file that tests/bpf/build makes of it, and
//!   `task-by-helper.bpf.o` the same for kernels before Linux 6.2
//! - `source` decides whether to use BPF, loads the program, and scans
//! - `record` decodes a record into a process
//! - `judge` decides which records to trust and which processes to read through /proc

mod judge;
mod record;
pub mod source;
