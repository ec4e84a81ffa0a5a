//! The exit statuses of the program.

use std::process::ExitCode;

/// An exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success, even if the view is incomplete.
    Success,
    /// A negative answer: no such process or namespace, a difference, or a denied problem.
    No,
    /// Wrong arguments, unreadable or invalid input, an unusable /proc, or output that could not be
    /// written.
    Trouble,
    /// The view is incomplete, and `--strict` was given.
    Incomplete,
    /// The status of the command of `pidns run`; 128 plus the number of the signal that ended it;
    /// 126 if it could not be executed; 127 if it was not found.
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
