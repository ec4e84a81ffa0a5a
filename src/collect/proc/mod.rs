//! Reads processes and namespaces from a mounted procfs.
//!
//! This module reports the kernel's data unchanged. The module `assemble` draws conclusions from
//! the data.
//!
//! - `source`: the procfs as a source of snapshots
//! - `procfs`: opens a procfs, lists its PIDs, and finds out whether it hides processes
//! - `census`: counts processes
//! - `walk`: reads many processes with several threads
//! - `worker`: reads processes in one of these threads
//! - `scan`: the parameters of a scan
//! - `findings`: the results of a scan
//! - `parents`: finds the parents that a scan has missed
//! - `process`: reads one process
//! - `process_dir`: opens the files of a process
//! - `status`, `details`: read parts of a process
//! - `inits`: finds out whether an init is alive
//! - `observer`: finds pidns itself, and the other processes that belong to this run of pidns
//! - `relatives`: finds ancestors, siblings, descendants and shells
//! - `environment`: matches the environments of processes against patterns
//! - `waiting`: finds out why a process does not run or exit
//! - `holders`: finds the namespaces that a process keeps alive, except its own
//! - `descriptor_table`: lists the descriptors of a process
//! - `scan_mark`: recognizes the descriptors that a scan has opened
//! - `mounts`: finds the namespaces that bind mounts keep alive

pub mod census;
pub mod descriptor_table;
pub mod details;
mod environment;
pub mod findings;
mod holders;
mod inits;
pub mod mounts;
mod observer;
mod parents;
mod process;
pub mod process_dir;
pub mod procfs;
pub mod relatives;
pub mod scan;
pub mod scan_mark;
mod source;
pub mod status;
pub mod waiting;
pub mod walk;
mod worker;

pub use source::ProcSource;
