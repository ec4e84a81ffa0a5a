//! Output formats for findings in CI systems.

pub mod findings;
pub mod github;
pub mod junit;
pub mod markdown;
#[cfg(test)]
mod tests;
