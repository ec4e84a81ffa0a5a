//! Wraps the system calls that pidns uses, and determines the privileges of pidns.

pub mod blocked;
pub mod clock;
pub mod mounts;
pub mod nsfs;
pub mod sys;
pub mod user_name;
pub mod viewer;
pub mod wait_limit;
