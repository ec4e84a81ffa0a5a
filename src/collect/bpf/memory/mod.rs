//! Searches kernel memory for PID namespaces that no search of /proc can find (`--search kernel`).
//!
//! - `namespaces.bpf.c` contains three BPF programs: the first lists PID namespaces, the other two
//!   list the tasks and the descriptors that keep namespaces alive
//! - `namespaces` loads these programs and decodes the records that they write
//! - `search` decides which namespaces and holders to show

mod namespaces;
pub mod search;
