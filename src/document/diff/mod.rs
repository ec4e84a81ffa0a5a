//! Comparisons as JSON and NDJSON, with the types that define the schemas.

mod records;
mod report;

#[cfg(test)]
pub use records::DiffRecord;
pub use records::write_diff_records;
#[cfg(test)]
pub use report::Comparison;
pub use report::diff;
