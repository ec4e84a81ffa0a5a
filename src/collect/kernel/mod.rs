//! Wraps the system calls that pidns makes, and answers what this process is allowed to see.

pub mod mounts;
pub mod nsfs;
pub mod sys;
pub mod user_name;
pub mod viewer;
