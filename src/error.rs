//! What can go wrong, and the exit status that says so: the one place for both.
//!
//! `Display` says what was tried and on what; `source()` says why, and is
//! never repeated in `Display`.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::collect;
use crate::document::{Invalid, MAX_SIZE};
use crate::model::{Diagnostic, DiagnosticCode, Hides, NotFound, SearchScope, Snapshot};

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

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why what was not found may be there all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caveat {
    /// Not everything was looked at, or could be.
    Incomplete,
    /// The document is a selection.
    Part,
}

/// How much of the host a snapshot shows.
#[derive(Clone, Copy, Debug)]
pub struct Coverage {
    /// What may hide processes.
    processes: Option<Caveat>,
    /// What may hide anything.
    all: Option<Caveat>,
}

impl Coverage {
    /// What a snapshot says of itself.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let hides = |it: &Diagnostic| {
            DiagnosticCode::from_name(&it.code).is_some_and(|code| code.hides() == Hides::Processes)
        };
        let part = (!snapshot.selected.is_empty()).then_some(Caveat::Part);
        let hidden = snapshot.diagnostics.iter().any(hides);
        let everywhere = SearchScope::default_set().is_subset(&snapshot.searched);
        let whole = snapshot.complete && everywhere;
        Self {
            processes: part.or(hidden.then_some(Caveat::Incomplete)),
            all: part.or((!whole).then_some(Caveat::Incomplete)),
        }
    }

    /// What was not found may be there all the same, and is then said to be so.
    #[must_use]
    pub fn error(&self, no: NotFound) -> Error {
        let caveat = match no {
            NotFound::Process { namespace: None, .. } => self.processes,
            NotFound::Ambiguous(_) | NotFound::NotVisible { .. } | NotFound::NotTold { .. } => None,
            NotFound::Process { .. } | NotFound::Namespace(_) | NotFound::Selection(_) => self.all,
        };
        Error::NotFound { no, caveat }
    }
}

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
    /// A file is larger than any document.
    TooLarge(PathBuf),
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
}

impl Error {
    /// The exit status that this error asks for.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_)
            | Self::Read { .. }
            | Self::Invalid { .. }
            | Self::TooLarge(_)
            | Self::Collect(_)
            | Self::Write(_) => Exit::Trouble,
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
            Self::TooLarge(path) => {
                let limit = MAX_SIZE >> 20;
                write!(f, "cannot use {}: larger than {limit} MiB", path.display())
            }
            Self::Collect(error) => error.fmt(f),
            Self::NotFound { no, caveat: None } => no.fmt(f),
            Self::NotFound { no, caveat: Some(Caveat::Incomplete) } => {
                write!(f, "{no} in this view, which is incomplete")
            }
            Self::NotFound { no, caveat: Some(Caveat::Part) } => {
                write!(f, "{no} in this document, which is a part of a view")
            }
            Self::Write(_) => f.write_str("cannot write the output"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write(source) => Some(source),
            Self::Invalid { source, .. } => Some(source),
            Self::Collect(error) => error.source(),
            Self::Usage(_) | Self::TooLarge(_) | Self::NotFound { .. } => None,
        }
    }
}
