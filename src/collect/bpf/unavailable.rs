//! Why the kernel cannot be read through BPF. `Display` gives the whole cause on one line.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustix::io::Errno;

use super::loader::LoadError;

/// Why the kernel cannot be read through BPF.
#[derive(Debug)]
pub enum BpfUnavailable {
    /// The user chose /proc.
    NotRequested,
    /// On a host with so few processes, loading the program takes longer than it saves.
    FewProcesses,
    /// The procfs to read belongs to another PID namespace than the viewer's. The kernel runs
    /// task iterators over the viewer's own PID namespace only.
    OtherProcfs,
    /// The number of processes is unknown: below the initial PID namespace, procfs counts the
    /// processes of the whole host.
    UnknownCount,
    /// The BPF program does not collect this.
    NotCollected(&'static str),
    /// These capabilities are missing in the initial user namespace.
    MissingCapability(&'static str),
    /// The kernel is locked down: programs must not read its memory.
    LockedDown,
    /// A namespace cannot be opened by its ID.
    NoOpenById(Errno),
    /// The program could not be loaded or run.
    Load(LoadError),
    /// The records contradict each other, or do not have the expected form.
    Inconsistent,
    /// The record of pidns itself has a wrong value in this field.
    WrongOwnRecord(&'static str),
}

impl From<LoadError> for BpfUnavailable {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl fmt::Display for BpfUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRequested => write!(f, "not requested"),
            Self::FewProcesses => write!(f, "with so few processes it would save no time"),
            Self::OtherProcfs => {
                write!(f, "it covers only the PID namespace of pidns, and this /proc shows another")
            }
            Self::UnknownCount => {
                write!(f, "the number of processes is known only in the initial PID namespace")
            }
            Self::NotCollected(what) => write!(f, "it does not collect {what}"),
            Self::MissingCapability(missing) => {
                write!(f, "it needs {missing} in the initial user namespace")
            }
            Self::LockedDown => {
                write!(f, "the kernel is locked down (confidentiality, see kernel_lockdown(7))")
            }
            Self::NoOpenById(errno) => write!(
                f,
                "cannot open a namespace by its ID (open_by_handle_at): {}",
                io::Error::from(*errno)
            ),
            Self::Load(error) => error.fmt(f),
            Self::Inconsistent => write!(f, "the kernel returned inconsistent data"),
            Self::WrongOwnRecord(field) => {
                write!(f, "the kernel returned a wrong {field} for pidns itself")
            }
        }
    }
}

impl StdError for BpfUnavailable {}
