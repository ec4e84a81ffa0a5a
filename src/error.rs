//! The error type of the program, with messages and exit statuses.

use std::error::Error as StdError;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::collect;
use crate::document::Invalid;
use crate::exit::Exit;
use crate::model::{NotFound, Pid};
use crate::query::{Caveat, Coverage, Incomparable};

/// An error that ends the program.
#[derive(Debug)]
pub enum Error {
    /// The command-line arguments are invalid. The string is the reason.
    Usage(String),
    /// A file could not be read.
    Read {
        /// The file that could not be read.
        path: PathBuf,
        /// The underlying I/O error.
        source: io::Error,
    },
    /// A file is not a valid document.
    Invalid {
        /// The invalid file.
        path: PathBuf,
        /// The reason why the file is invalid, and the position of the error in the file.
        source: Invalid,
    },
    /// None of the requested limits could be read. The string is the reason.
    NoLimits(String),
    /// Two snapshots could not be compared.
    Incomparable {
        /// The file with the first snapshot.
        before: PathBuf,
        /// The file with the second snapshot, or `None` for the live host.
        after: Option<PathBuf>,
        /// The reason why the snapshots cannot be compared.
        why: Incomparable,
    },
    /// A snapshot of the live host could not be taken.
    Collect(collect::Error),
    /// A process or namespace was not found.
    NotFound {
        /// The process or namespace that was not found.
        no: NotFound,
        /// The reason why the process or namespace may exist although it was not found.
        caveat: Option<Caveat>,
    },
    /// No process has this PID, except in inner PID namespaces.
    PidElsewhere {
        /// The PID.
        pid: Pid,
        /// A sentence that lists the processes that have this PID in their own namespace.
        elsewhere: String,
    },
    /// The output could not be written.
    Write(io::Error),
    /// The report file (`--report`) could not be written.
    Report {
        /// The file that could not be written.
        path: PathBuf,
        /// The underlying I/O error.
        source: io::Error,
    },
    /// A step of `pidns run` or `pidns watch`, such as starting a process, failed.
    Run {
        /// The failed step, as a phrase that follows "cannot".
        what: &'static str,
        /// The underlying I/O error.
        source: io::Error,
    },
    /// A cgroup for the command could not be created.
    Cgroup {
        /// The cgroup that pidns itself runs in.
        parent: PathBuf,
        /// The underlying I/O error.
        source: io::Error,
    },
    /// A cgroup for the command could not be created, because cgroup version 2 is not visible.
    NoCgroup,
    /// A command could not be executed.
    Exec {
        /// The command that could not be executed.
        command: OsString,
        /// The underlying I/O error.
        source: io::Error,
    },
    /// The kernel would discard the exit status of a command, because SIGCHLD is ignored.
    StatusLost,
    /// An error from `pidns run`. The exit status follows env(1).
    OfRun(Box<Error>),
}

impl Error {
    /// Creates [`Error::NotFound`], with a caveat if the snapshot has gaps.
    #[must_use]
    pub fn not_found(no: NotFound, coverage: &Coverage) -> Self {
        let caveat = coverage.caveat(&no);
        Self::NotFound { no, caveat }
    }

    /// Wraps this error in [`Error::OfRun`].
    #[must_use]
    pub fn of_run(self) -> Self {
        Self::OfRun(Box::new(self))
    }

    /// Returns the message and all causes, in one line.
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

    /// Returns the exit status for this error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_)
            | Self::Read { .. }
            | Self::Invalid { .. }
            | Self::NoLimits(_)
            | Self::Incomparable { .. }
            | Self::Collect(_)
            | Self::Write(_)
            | Self::Report { .. }
            | Self::Run { .. }
            | Self::Cgroup { .. }
            | Self::NoCgroup
            | Self::StatusLost => Exit::Trouble,
            Self::Exec { source, .. } => {
                // Shells and env(1) use 127 if the command was not found, and 126 for any other
                // error.
                let not_found = source.kind() == io::ErrorKind::NotFound;
                Exit::Command(if not_found { 127 } else { 126 })
            }
            Self::NotFound { .. } | Self::PidElsewhere { .. } => Exit::No,
            Self::OfRun(error) => match error.exit() {
                Exit::Command(status) => Exit::Command(status),
                _ => Exit::RunTrouble,
            },
        }
    }
}

impl From<collect::Error> for Error {
    fn from(error: collect::Error) -> Self {
        Self::Collect(error)
    }
}

/// Formats the message without its cause, which `source()` returns.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => f.write_str(message),
            Self::Read { path, .. } => write!(f, "cannot read {}", path.display()),
            Self::Invalid { path, .. } => write!(f, "cannot use {}", path.display()),
            Self::NoLimits(why) => write!(f, "cannot tell which limits are full: {why}"),
            Self::Incomparable { before, after, why } => {
                write!(f, "cannot compare {} with ", before.display())?;
                match after {
                    Some(after) => write!(f, "{}", after.display())?,
                    None => f.write_str("this host")?,
                }
                write!(f, ": {}", why.message())
            }
            Self::Collect(error) => error.fmt(f),
            Self::NotFound { no, caveat } => {
                no.fmt(f)?;
                f.write_str(match caveat {
                    None => "",
                    Some(Caveat::Incomplete) => " in this view, which is incomplete",
                    Some(Caveat::Part) => " in this document, which was saved with filters",
                    Some(Caveat::NoCgroups) => {
                        " in this document, which was saved without --details cgroup"
                    }
                })?;
                if let Some(pid) = no.probably_meant() {
                    write!(f, "; that of process {pid} is @{pid}")?;
                }
                Ok(())
            }
            Self::PidElsewhere { pid, elsewhere } => {
                write!(f, "no process {pid} here; {elsewhere}")
            }
            Self::Write(_) => f.write_str("cannot write the output"),
            Self::Report { path, .. } => write!(f, "cannot write {}", path.display()),
            Self::Run { what, .. } => write!(f, "cannot {what}"),
            Self::Cgroup { parent, .. } => {
                write!(f, "cannot make a cgroup in {}", parent.display())
            }
            Self::NoCgroup => f.write_str(
                "cannot make a cgroup: pidns sees no cgroup of version 2 (mount -t cgroup2)",
            ),
            Self::Exec { command, .. } => write!(f, "cannot run {}", command.display()),
            Self::StatusLost => f.write_str(
                "cannot get the exit status of a command: SIGCHLD is ignored; \
                 start pidns with 'env --default-signal=CHLD pidns'",
            ),
            Self::OfRun(error) => error.fmt(f),
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
            | Self::Cgroup { source, .. }
            | Self::Exec { source, .. } => Some(source),
            Self::Invalid { source, .. } => Some(source),
            Self::Collect(error) => error.source(),
            Self::OfRun(error) => error.source(),
            Self::Usage(_)
            | Self::NoLimits(_)
            | Self::NoCgroup
            | Self::Incomparable { .. }
            | Self::NotFound { .. }
            | Self::PidElsewhere { .. }
            | Self::StatusLost => None,
        }
    }
}
