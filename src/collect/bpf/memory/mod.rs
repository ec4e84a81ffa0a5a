//! Searches kernel memory for PID namespaces that nothing in /proc leads to (`--search kernel`).
//!
//! - `namespaces.bpf.c` three BPF programs: one lists namespaces, two list what keeps them
//! - `namespaces` loads these programs and reads their records
//! - `search` decides which namespaces and holders to show

mod namespaces;
pub mod search;
