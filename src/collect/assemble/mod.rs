//! From what a source handed over to a snapshot.
//!
//! - `containers` cgroups to containers
//! - `describe` what the kernel says of each namespace
//! - `infer` places what may not be read
//! - `state` live, dead or nascent
//! - `blockers` whom a terminated init waits for
//! - `vanished` what went away meanwhile
//! - `users` names of users

pub mod blockers;
pub mod containers;
pub mod describe;
pub mod infer;
pub mod state;
pub mod users;
pub mod vanished;
