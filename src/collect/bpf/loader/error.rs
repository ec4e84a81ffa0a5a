//! The reasons why a BPF program could not be loaded or run. `Display` shows all underlying errors
//! on one line.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustix::io::Errno;

/// The file with the kernel's type information (BTF). Available since Linux 5.4, if the kernel was
/// built with `CONFIG_DEBUG_INFO_BTF`.
pub const KERNEL_TYPES: &str = "/sys/kernel/btf/vmlinux";

/// The reason why a BPF program could not be loaded or run.
#[derive(Debug)]
pub enum LoadError {
    /// The type information (BTF) of the kernel cannot be read.
    UnreadableTypes(io::Error),
    /// The type information of the kernel is not valid BTF.
    InvalidTypes,
    /// The kernel has no type, field or function with this name, or the field has a different size
    /// than pidns expects.
    Missing(String),
    /// The object file built into pidns is invalid.
    InvalidObject,
    /// bpf(2) failed, or another system call on a descriptor from bpf(2) failed.
    Call {
        /// The system call, such as `bpf(BPF_PROG_LOAD)` or `mmap(BPF array)`.
        call: &'static str,
        /// The error that the system call returned.
        errno: Errno,
    },
    /// The kernel's verifier rejected the program.
    Rejected {
        /// The error that bpf(2) returned.
        errno: Errno,
        /// The reason for the rejection: the last line of the verifier's log before the statistics.
        reason: String,
    },
}

impl LoadError {
    /// Returns `true` if the kernel lacks the type, field or function `name`.
    pub fn is_missing(&self, name: &str) -> bool {
        matches!(self, Self::Missing(missing) if missing == name)
    }

    /// Returns `true` if the verifier rejected the program.
    pub fn is_rejected(&self) -> bool {
        matches!(self, Self::Rejected { .. })
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnreadableTypes(error) => write!(f, "cannot read {KERNEL_TYPES}: {error}"),
            Self::InvalidTypes => write!(f, "{KERNEL_TYPES} is not valid BTF"),
            Self::Missing(name) => {
                write!(f, "this kernel has no {name} in the form that pidns expects")
            }
            Self::InvalidObject => write!(f, "the BPF object built into pidns is invalid"),
            Self::Call { call, errno } => write!(f, "{call}: {}", io::Error::from(*errno)),
            Self::Rejected { errno, reason } => {
                let errno = io::Error::from(*errno);
                write!(f, "the kernel's verifier rejected the program: {errno}: {reason}")
            }
        }
    }
}

impl StdError for LoadError {}
