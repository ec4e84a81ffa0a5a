//! Formats that CI systems read: GitHub annotations, JUnit XML and Markdown.

pub mod check;
pub mod github;
pub mod junit;
pub mod markdown;
