//! Formats for CI systems: GitHub annotations, JUnit XML and Markdown.

pub mod findings;
pub mod github;
pub mod junit;
pub mod markdown;
#[cfg(test)]
mod tests;
