//! Reads kernel data through BPF programs, which run once per task or once per open file.
//!
//! - `loader` loads a BPF program into the kernel and reads its records
//! - `tasks` reads all processes through BPF instead of /proc
//! - `memory` searches kernel memory for namespaces (`--search kernel`)
//! - `permission` checks whether pidns and the kernel allow BPF
//! - `unavailable` defines the reasons why BPF cannot be used

pub mod loader;
pub mod memory;
mod permission;
pub mod tasks;
pub mod unavailable;
