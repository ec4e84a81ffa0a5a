//! The reasons why BPF cannot be used, each displayed on one line.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustix::io::Errno;

use super::loader::LoadError;

/// The reason why BPF cannot be used.
#[derive(Debug)]
pub enum BpfUnavailable {
    /// The user chose to read /proc instead of using BPF.
    NotRequested,
    /// The host has so few processes that BPF would not be noticeably faster.
    FewProcesses,
    /// BPF reads the PID namespace of pidns, but the requested procfs shows another PID namespace.
    OtherProcfs,
    /// The number of processes is unknown, because pidns is not in the initial PID namespace.
    UnknownCount,
    /// The user requested this data, but the BPF program does not collect it.
    NotCollected(&'static str),
    /// pidns lacks these capabilities in the initial user namespace.
    MissingCapability(&'static str),
    /// Too little address space is left for the kernel's type information (BTF).
    LittleMemory,
    /// pidns runs under a seccomp filter, so calling bpf(2) might kill pidns.
    SeccompFilter,
    /// The kernel is locked down, so BPF programs have no permission to read its memory.
    LockedDown,
    /// The kernel failed to open a namespace by its 64-bit ID, with this error.
    NoOpenById(Errno),
    /// The BPF program could not be loaded or run.
    Load(LoadError),
    /// The BPF program could not be loaded in an earlier scan.
    NotLoadedBefore,
    /// The records that the BPF program wrote contradict each other or are malformed.
    Inconsistent,
    /// The record about pidns itself has a wrong value in this field.
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
            Self::LittleMemory => write!(f, "little address space is left (ulimit -v)"),
            Self::SeccompFilter => {
                write!(f, "a seccomp filter is active, which might end pidns for bpf(2)")
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
            Self::NotLoadedBefore => write!(f, "it could not be loaded for an earlier scan"),
            Self::Inconsistent => write!(f, "the kernel returned inconsistent data"),
            Self::WrongOwnRecord(field) => {
                write!(f, "the kernel returned a wrong {field} for pidns itself")
            }
        }
    }
}

impl StdError for BpfUnavailable {}
