//! The exit statuses of the program.

use std::process::ExitCode;

/// An exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success. Without `--strict`, this includes results that may be incomplete.
    Success,
    /// A negative result: for example, a missing process, a difference, or a problem with the
    /// verdict `deny`.
    No,
    /// Invalid arguments, unusable input, an unusable /proc, or a failed write.
    Trouble,
    /// Success, but the result may be incomplete, and `--strict` was given.
    Incomplete,
    /// Exit status of the command that `pidns run` started, as a shell reports it in `$?`.
    Command(u8),
    /// The command under `pidns run` succeeded, but it left something behind that `--deny` forbids.
    LeftDenied,
    /// A failure of `pidns run` itself, with the exit status that env(1) uses.
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
