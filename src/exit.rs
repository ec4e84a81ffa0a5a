//! How a run ended, as its exit status tells, and nothing about why.

use std::process::ExitCode;

/// How a run ended, as its exit status tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; also where the view is incomplete.
    Success = 0,
    /// A plain no: no such process or namespace.
    No = 1,
    /// Trouble: wrong arguments, unreadable or invalid input, /proc unusable,
    /// output that could not be written.
    Trouble = 2,
    /// `--strict`, and the view is incomplete.
    Incomplete = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
