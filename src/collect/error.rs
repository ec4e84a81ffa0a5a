//! Defines the error for a scan that cannot produce even an incomplete snapshot.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::bpf::unavailable::BpfUnavailable;
use crate::model::Pid;

/// The reason why a scan or another lookup on the live host failed.
#[derive(Debug)]
pub enum Error {
    /// A file or directory could not be read.
    Read {
        /// Path of the file or directory that caused the error.
        path: PathBuf,
        /// The error that the kernel returned.
        source: io::Error,
    },
    /// The path is not a procfs mount.
    NotProcfs(PathBuf),
    /// The file is not a PID namespace.
    NotNamespace(PathBuf),
    /// BPF was requested but cannot be used.
    Bpf(BpfUnavailable),
    /// The kernel has blocked pidns for too long.
    Blocked {
        /// The processes that may hold the kernel lock that pidns is waiting for.
        by: BTreeSet<Pid>,
        /// `true` if pidns will scan again without the reads that were blocked.
        will_retry: bool,
    },
}

impl Error {
    /// Creates the error for a failed system call on `path`.
    pub(super) fn read(path: &Path, errno: Errno) -> Self {
        Self::Read { path: path.to_owned(), source: errno.into() }
    }
}

// `Display` leaves out the cause, which `source()` returns.
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
            Self::Bpf(_) => write!(f, "cannot read the kernel through BPF"),
            Self::Blocked { by, will_retry } => fmt_blocked(by, *will_retry, f),
        }
    }
}

fn fmt_blocked(by: &BTreeSet<Pid>, will_retry: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(if by.len() == 1 { "process" } else { "one of the processes" })?;
    for (index, pid) in by.iter().enumerate() {
        write!(f, "{} {pid}", if index == 0 { "" } else { "," })?;
    }
    let blocks = " blocks pidns, because its memory or its files stay locked, for example while it \
                  waits for a file system that does not respond";
    f.write_str(blocks)?;
    f.write_str(match (will_retry, by.len()) {
        (true, 1) => "; scanning again, and reading only its status",
        (true, _) => "; scanning again, and reading only their status",
        (false, _) => "; end this process, and try again",
    })
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Bpf(unavailable) => Some(unavailable),
            Self::NotProcfs(_) | Self::NotNamespace(_) | Self::Blocked { .. } => None,
        }
    }
}
