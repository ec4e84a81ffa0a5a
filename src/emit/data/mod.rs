//! Machine-readable output formats.

pub mod escape;
pub mod json;
pub mod ndjson;
pub mod openmetrics;
pub mod yaml;
