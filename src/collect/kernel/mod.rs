//! Wraps the system calls that pidns makes, and determines pidns's permissions and the clock offset
//! of its time namespace. `blocked` detects calls that wait for a lock indefinitely.

pub mod blocked;
pub mod clock;
pub mod mounts;
pub mod nsfs;
pub mod sys;
pub mod user_name;
pub mod viewer;
pub mod wait_limit;
