//! Why the kernel cannot be asked by BPF. `Display` says all of it, in one line.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustix::io::Errno;

/// Where the kernel tells its types (since Linux 5.4, if built with `CONFIG_DEBUG_INFO_BTF`).
pub const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Why the kernel cannot be asked by BPF.
#[derive(Debug)]
pub enum Unusable {
    /// It was not asked for.
    Unasked,
    /// There are so few processes that it would take longer.
    Few,
    /// The /proc that is read is not that of the viewer's PID namespace.
    Elsewhere,
    /// In another PID namespace than the initial one it is not known beforehand
    /// how many processes there are.
    Uncounted,
    /// Something is asked for that it does not tell.
    Untold(&'static str),
    /// These capabilities are missing, over the whole host.
    Capability(&'static str),
    /// The kernel is locked down against reading of its memory.
    LockedDown,
    /// The kernel's type information cannot be read.
    NoTypes(io::Error),
    /// The kernel's type information makes no sense.
    StrangeTypes,
    /// The kernel has no such type, or none of the same size.
    Missing(String),
    /// The object in pidns makes no sense.
    OwnObject,
    /// A namespace cannot be opened by its number.
    Unopened(Errno),
    /// A call of `bpf(2)` failed.
    Call {
        /// Which one.
        call: &'static str,
        /// The cause.
        errno: Errno,
    },
    /// The kernel's verifier refused the program.
    Refused {
        /// What `bpf(2)` answered.
        errno: Errno,
        /// The last thing that the verifier said.
        reason: String,
    },
    /// What it told makes no sense.
    Senseless,
    /// What it told of pidns itself was wrong.
    Wrong(&'static str),
}

impl Unusable {
    /// Whether the kernel does not have this.
    #[must_use]
    pub fn is_missing(&self, name: &str) -> bool {
        matches!(self, Self::Missing(missing) if missing == name)
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unasked => write!(f, "not asked for"),
            Self::Few => write!(f, "too few processes to be worth it"),
            Self::Elsewhere => {
                write!(f, "it tells of the viewer's own PID namespace, whose /proc this is not")
            }
            Self::Uncounted => write!(
                f,
                "how many processes there are is known in the initial PID namespace alone"
            ),
            Self::Untold(what) => write!(f, "it does not tell {what}"),
            Self::Capability(missing) => write!(f, "it takes {missing} over the host"),
            Self::LockedDown => {
                write!(f, "the kernel is locked down (confidentiality, see kernel_lockdown(7))")
            }
            Self::NoTypes(error) => write!(f, "cannot read {TYPES}: {error}"),
            Self::StrangeTypes => write!(f, "{TYPES} makes no sense"),
            Self::Missing(what) => write!(f, "this kernel has no {what} as pidns knows it"),
            Self::OwnObject => write!(f, "the BPF object in pidns makes no sense"),
            Self::Unopened(errno) => write!(
                f,
                "cannot open a namespace by its number (open_by_handle_at): {}",
                io::Error::from(*errno)
            ),
            Self::Call { call, errno } => write!(f, "bpf({call}): {}", io::Error::from(*errno)),
            Self::Refused { errno, reason } => {
                write!(f, "the kernel refused the program: {}: {reason}", io::Error::from(*errno))
            }
            Self::Senseless => write!(f, "it told what makes no sense"),
            Self::Wrong(what) => write!(f, "it told a wrong {what} of pidns itself"),
        }
    }
}

impl StdError for Unusable {}
