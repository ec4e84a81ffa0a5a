//! Why nothing could be collected at all. What the kernel refuses in part is
//! no error: it becomes a diagnostic of the snapshot.
//!
//! `Display` says what was tried and on what; `source()` says why, and is
//! never repeated in `Display`.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::bpf::unusable::Unusable;

/// Why nothing could be collected.
#[derive(Debug)]
pub enum Error {
    /// A file or directory could not be read.
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The directory given is no procfs.
    NotProcfs(PathBuf),
    /// The file given is no PID namespace.
    NotNamespace(PathBuf),
    /// The kernel was to be asked by BPF, and cannot be.
    Bpf(Unusable),
}

impl Error {
    /// A system call that failed on `path`.
    pub(super) fn read(path: &Path, errno: Errno) -> Self {
        Self::Read { path: path.to_owned(), source: errno.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, .. } => write!(f, "cannot read {}", path.display()),
            Self::NotProcfs(path) => {
                write!(f, "cannot read {}: not a procfs mount", path.display())
            }
            Self::NotNamespace(path) => {
                write!(f, "cannot use {}: not a PID namespace", path.display())
            }
            Self::Bpf(_) => write!(f, "cannot ask the kernel by BPF"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Bpf(unusable) => Some(unusable),
            Self::NotProcfs(_) | Self::NotNamespace(_) => None,
        }
    }
}
