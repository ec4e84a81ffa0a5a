//! Answers to single questions that need no full scan.

pub mod descendants;
pub mod hidden;
pub mod later;
pub mod listing;
pub mod lookup;
