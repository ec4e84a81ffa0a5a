//! Schema versions of documents, and limits on input.

use super::parse::{Cut, Invalid};

/// Schema version of the documents that this program writes.
pub const SCHEMA_VERSION: &str = "1.0";

/// Maximum size in bytes of a document, or of all records of one snapshot together.
pub const MAX_SIZE: u64 = 128 << 20;

pub fn too_large() -> Invalid {
    Invalid::at("", format!("larger than {} MiB", MAX_SIZE >> 20))
}

/// Adds the schema versions of the document and the program to the error, if they differ.
pub fn with_version(error: Invalid, version: &str) -> Invalid {
    if version == SCHEMA_VERSION {
        return error;
    }
    error.and(&format!(
        "; the document has schema version {version}, this program supports {SCHEMA_VERSION}"
    ))
}

/// Returns an error for an unsupported schema version.
pub fn check_version(version: &str) -> Result<(), Invalid> {
    let minor = version.strip_prefix("1.").unwrap_or_default();
    let is_number = minor.bytes().all(|it| it.is_ascii_digit());
    // Limit the length of the minor version, because error messages quote the version.
    if matches!(minor.len(), 1..=9) && is_number && (minor == "0" || !minor.starts_with('0')) {
        return Ok(());
    }
    let problem = format!("{} is not supported (only 1.x is)", Cut(version));
    Err(Invalid::at("schema_version", problem))
}
