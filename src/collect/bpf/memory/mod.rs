//! `--search kernel`: finds namespaces in kernel memory that /proc leads nowhere to.

pub mod namespaces;
pub mod search;
