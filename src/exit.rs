//! How a run ended, as its exit status tells, and nothing about why.

use std::process::ExitCode;

/// How a run ended, as its exit status tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; also where the view is incomplete.
    Success,
    /// A plain no: no such process or namespace.
    No,
    /// Trouble: wrong arguments, unreadable or invalid input, /proc unusable,
    /// output that could not be written.
    Trouble,
    /// `--strict`, and the view is incomplete.
    Incomplete,
    /// As the command that was run: its status, 128 and the signal that ended
    /// it, 126 where it could not be executed, 127 where it was not found.
    Command(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::No => 1,
            Exit::Trouble => 2,
            Exit::Incomplete => 3,
            Exit::Command(status) => status,
        })
    }
}
