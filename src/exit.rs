//! The exit statuses of the program.

use std::process::ExitCode;

/// An exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success. Without `--strict`, a result that may be incomplete also counts as success.
    Success,
    /// A negative result. For example, a process was not found, `pidns diff` found a difference, or
    /// `pidns check` found a problem that the policy denies.
    No,
    /// Wrong arguments, unreadable or invalid input, an unusable /proc, or output that could not be
    /// written.
    Trouble,
    /// Success, but the result may be incomplete, and `--strict` was given.
    Incomplete,
    /// The exit status of the command of `pidns run`. If a signal terminated the command, 128 plus
    /// the signal number. If the command was not found, 127. If it could not be executed, 126.
    Command(u8),
    /// The command of `pidns run` succeeded, but left something behind that `--deny` forbids.
    LeftDenied,
    /// A failure of `pidns run` itself. `env(1)` uses the same exit status for its own failures.
    RunTrouble,
}

impl Exit {
    /// Returns the exit status as a number.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::No => 1,
            Self::Trouble => 2,
            Self::Incomplete => 3,
            Self::Command(status) => status,
            Self::LeftDenied => 123,
            Self::RunTrouble => 125,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.status())
    }
}
