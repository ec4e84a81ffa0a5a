//! Wraps the system calls that pidns makes, and finds out which permissions pidns has.

pub mod mounts;
pub mod nsfs;
pub mod sys;
pub mod user_name;
pub mod viewer;
