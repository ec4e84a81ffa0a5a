//! Reads PID namespaces (`--search kernel`) and counters (`pidns limits`) from kernel memory.
//!
//! - `namespaces.bpf.c` lists PID namespaces, and the tasks and descriptors that keep them alive
//! - `namespaces` loads the programs of `namespaces.bpf.c` and decodes their records
//! - `search` decides which namespaces and holders to show
//! - `limits.bpf.c` reads the counters that the kernel compares with its limits
//! - `limits` loads the programs of `limits.bpf.c` and decodes their records
//! - `words` decodes the numbers in records

pub mod limits;
mod namespaces;
pub mod search;
mod words;
