//! The reasons why a BPF program could not be loaded or run.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustix::io::Errno;

/// The file that contains the kernel's type information (BTF).
///
/// Requires Linux 5.4 or later, built with `CONFIG_DEBUG_INFO_BTF`.
pub const KERNEL_TYPES: &str = "/sys/kernel/btf/vmlinux";

/// The reason why a BPF program could not be loaded or run.
#[derive(Debug)]
pub enum LoadError {
    /// The type information (BTF) of the kernel cannot be read.
    UnreadableTypes(io::Error),
    /// The type information of the kernel is not valid BTF.
    InvalidTypes,
    /// The kernel lacks this type, field or function, or the field has an unexpected size.
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
        /// The last line of the verifier's log before its statistics.
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

// `Display` already shows the underlying error, so `source` must not return it.
impl StdError for LoadError {}
