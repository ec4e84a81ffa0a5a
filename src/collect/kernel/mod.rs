//! Wraps system calls, and determines pidns's permissions and the clock offset of its time
//! namespace. `blocked` detects calls that wait indefinitely for a lock.

pub mod blocked;
pub mod clock;
pub mod mounts;
pub mod nsfs;
pub mod sys;
pub mod user_name;
pub mod viewer;
pub mod wait_limit;
