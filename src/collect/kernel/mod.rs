//! System calls: opening and reading files, namespace descriptors, users.

pub mod nsfs;
pub mod sys;
pub mod user_name;
pub mod viewer;
