//! Reads two kinds of data from kernel memory: PID namespaces that a search of /proc cannot find
//! (`--search kernel`), and the counters that the kernel compares with its limits (`pidns limits`).
//!
//! - `namespaces.bpf.c` contains three BPF programs: one lists PID namespaces, the other two list
//!   the tasks and the descriptors that keep namespaces alive
//! - `namespaces` loads these programs and decodes the records that they write
//! - `search` decides which namespaces and holders to show
//! - `limits.bpf.c` contains two BPF programs that write the counters for `pidns limits`; `limits`
//!   loads them and decodes their records
//! - `words` decodes the numbers in records

pub mod limits;
mod namespaces;
pub mod search;
mod words;
