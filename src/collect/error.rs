//! Defines the error that is returned if no snapshot can be made. (If only a part of the data
//! cannot be read, the snapshot contains a diagnostic instead.)
//!
//! `Display` describes the failed operation and its path. `source()` returns the cause, which
//! `Display` does not repeat.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::bpf::unavailable::BpfUnavailable;
use crate::model::Pid;

/// The reason why pidns could not make a snapshot, or could not answer a question without one.
#[derive(Debug)]
pub enum Error {
    /// A file or directory could not be read.
    Read {
        /// The file or directory.
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
    /// The kernel has blocked pidns for too long. One of these processes holds the lock for which
    /// pidns waits.
    Blocked(Vec<Pid>),
}

impl Error {
    /// Creates the error for a failed system call on `path`.
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
            Self::Bpf(_) => write!(f, "cannot read the kernel through BPF"),
            Self::Blocked(pids) => fmt_blocked(pids, f),
        }
    }
}

fn fmt_blocked(pids: &[Pid], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(match pids {
        [_] => "cannot read process ",
        _ => "cannot read one of the processes ",
    })?;
    for (index, pid) in pids.iter().enumerate() {
        write!(f, "{}{pid}", if index == 0 { "" } else { ", " })?;
    }
    f.write_str(
        ": the kernel has blocked pidns for 10 seconds, probably because the process waits for a \
         file system that does not respond; end this process, and run pidns again",
    )
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Bpf(unavailable) => Some(unavailable),
            Self::NotProcfs(_) | Self::NotNamespace(_) | Self::Blocked(_) => None,
        }
    }
}
