//! Reads the kernel through BPF: small programs that the kernel runs over its own tasks and files.
//!
//! - `loader` loads a program and reads its records
//! - `tasks` the source of snapshots that reads all processes through BPF
//! - `memory` the search for namespaces in kernel memory (`--search kernel`)
//! - `permission` checks what the viewer and the kernel allow; `unavailable` why BPF cannot be used

pub mod loader;
pub mod memory;
mod permission;
pub mod tasks;
pub mod unavailable;
