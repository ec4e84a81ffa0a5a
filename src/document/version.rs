//! Which texts are read at all: versions that this program understands, and how
//! large they may be.

use super::SCHEMA_VERSION;
use super::parse::{Cut, Invalid};

/// Largest document that is read, in bytes; of records those of one snapshot.
pub const MAX_SIZE: u64 = 128 << 20;

pub fn too_large() -> Invalid {
    Invalid::at("", format!("larger than {} MiB", MAX_SIZE >> 20))
}

/// An error in a document of some 1.x: words that are not known here may well be
/// right there.
pub fn with_version(error: Invalid, version: &str) -> Invalid {
    if version == SCHEMA_VERSION {
        return error;
    }
    error.and(&format!(
        "; the document follows schema version {version}, this program {SCHEMA_VERSION}"
    ))
}

/// Whether this program understands documents of a version.
pub fn check_version(version: &str) -> Result<(), Invalid> {
    let minor = version.strip_prefix("1.").unwrap_or_default();
    let is_number = minor.bytes().all(|it| it.is_ascii_digit());
    // A number without leading zeros, and of a length that can be shown.
    if matches!(minor.len(), 1..=9) && is_number && (minor == "0" || !minor.starts_with('0')) {
        return Ok(());
    }
    let problem = format!("{} is not supported, only 1.x is", Cut(version));
    Err(Invalid::at("schema_version", problem))
}
