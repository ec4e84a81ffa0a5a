//! Checks as JSON, NDJSON and their policies, with the types that define the schemas.

mod records;
mod report;

#[cfg(test)]
pub use records::CheckRecord;
pub use records::write_check_records;
#[cfg(test)]
pub use report::{CheckReport, PolicyFile};
pub use report::{MAX_POLICY_SIZE, check, policy};
