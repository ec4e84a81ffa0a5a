//! Formats for programs: JSON, NDJSON, YAML and OpenMetrics.

pub mod escape;
pub mod json;
pub mod ndjson;
pub mod openmetrics;
pub mod yaml;
