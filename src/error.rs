//! What can go wrong in any room, in words, and with which exit status; nothing
//! here decides whether something is wrong.
//!
//! `Display` says what was tried and on what; `source()` says why, and is
//! never repeated in `Display`.

use std::error::Error as StdError;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::collect;
use crate::document::Invalid;
use crate::exit::Exit;
use crate::model::NotFound;
use crate::query::{Caveat, Coverage};

/// Why a run came to nothing.
#[derive(Debug)]
pub enum Error {
    /// The arguments do not make sense, in words.
    Usage(String),
    /// A file could not be read.
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file is no document.
    Invalid {
        /// The file.
        path: PathBuf,
        /// The place in it, and the cause.
        source: Invalid,
    },
    /// The live kernel could not be read.
    Collect(collect::Error),
    /// What was looked for is not there.
    NotFound {
        /// What that is.
        no: NotFound,
        /// Why it may be there all the same; `None` where it is not.
        caveat: Option<Caveat>,
    },
    /// The output could not be written.
    Write(io::Error),
    /// A report could not be written.
    Report {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A command could not be run, for a reason that is not its own.
    Run {
        /// What was tried.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A command could not be executed.
    Exec {
        /// The command.
        command: OsString,
        /// The cause.
        source: io::Error,
    },
    /// How a command ends cannot be known, as SIGCHLD is ignored.
    StatusLost,
}

impl Error {
    /// What was not found, and whether it may be there all the same.
    #[must_use]
    pub fn not_found(no: NotFound, coverage: &Coverage) -> Self {
        let caveat = coverage.caveat(&no);
        Self::NotFound { no, caveat }
    }

    /// What was tried and why it failed, in one line.
    #[must_use]
    pub fn one_line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(source) = cause {
            line.push_str(": ");
            line.push_str(&source.to_string());
            cause = source.source();
        }
        line
    }

    /// The exit status that this error asks for.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_)
            | Self::Read { .. }
            | Self::Invalid { .. }
            | Self::Collect(_)
            | Self::Write(_)
            | Self::Report { .. }
            | Self::Run { .. }
            | Self::StatusLost => Exit::Trouble,
            Self::Exec { source, .. } => {
                // As env(1) and the shells have it.
                let not_found = source.kind() == io::ErrorKind::NotFound;
                Exit::Command(if not_found { 127 } else { 126 })
            }
            Self::NotFound { .. } => Exit::No,
        }
    }
}

impl From<collect::Error> for Error {
    fn from(error: collect::Error) -> Self {
        Self::Collect(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => f.write_str(message),
            Self::Read { path, .. } => write!(f, "cannot read {}", path.display()),
            Self::Invalid { path, .. } => write!(f, "cannot use {}", path.display()),
            Self::Collect(error) => error.fmt(f),
            Self::NotFound { no, caveat } => {
                no.fmt(f)?;
                f.write_str(match caveat {
                    None => "",
                    Some(Caveat::Incomplete) => " in this view, which is incomplete",
                    Some(Caveat::Part) => " in this document, which is a part of a view",
                    Some(Caveat::NoCgroups) => {
                        " in this document, which has no cgroups of processes"
                    }
                })?;
                if let Some(pid) = no.probably_meant() {
                    write!(f, "; that of process {pid} is @{pid}")?;
                }
                Ok(())
            }
            Self::Write(_) => f.write_str("cannot write the output"),
            Self::Report { path, .. } => write!(f, "cannot write {}", path.display()),
            Self::Run { what, .. } => write!(f, "cannot {what}"),
            Self::Exec { command, .. } => write!(f, "cannot run {}", command.display()),
            Self::StatusLost => f.write_str(
                "cannot tell how a command ends: SIGCHLD is ignored; \
                 start pidns by env --default-signal=CHLD pidns",
            ),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Read { source, .. }
            | Self::Write(source)
            | Self::Report { source, .. }
            | Self::Run { source, .. }
            | Self::Exec { source, .. } => Some(source),
            Self::Invalid { source, .. } => Some(source),
            Self::Collect(error) => error.source(),
            Self::Usage(_) | Self::NotFound { .. } | Self::StatusLost => None,
        }
    }
}
