//! What a reader of a snapshot must know beside what it shows.

use super::Pid;

/// Something that a reader of the snapshot must know, one for each code and errno.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What it is, for programs: lower case and hyphens.
    pub code: String,
    /// How much it matters.
    pub severity: Severity,
    /// What it is, for people.
    pub message: String,
    /// Name of the system's error, `EACCES`, where one is the cause.
    pub errno: Option<String>,
    /// The processes that it concerns.
    pub pids: Vec<Pid>,
}

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing is missing.
    Info,
    /// Something may be missing or wrong.
    Warning,
}
