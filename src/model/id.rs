//! Process IDs and namespace IDs, and how a user may write them.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use smallvec::SmallVec;
use smol_str::{SmolStr, SmolStrBuilder};

/// Levels of nesting below the initial PID namespace (`MAX_PID_NS_LEVEL` of
/// the kernel): a process has at most `MAX_LEVEL + 1` PIDs.
pub const MAX_LEVEL: usize = 32;

/// A process or thread ID: positive, and at most `i32::MAX` as `pid_t` is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(NonZeroU32);

impl Pid {
    /// PID 1: the init of a namespace, seen from inside.
    pub const INIT: Self = Self(NonZeroU32::MIN);

    /// `None` for 0, with which the kernel says "no such process here", and
    /// for what does not fit in `pid_t`.
    #[must_use]
    pub fn new(raw: u32) -> Option<Self> {
        i32::try_from(raw).ok()?;
        NonZeroU32::new(raw).map(Self)
    }

    /// The bare number.
    #[must_use]
    pub fn as_u32(self) -> u32 {
        self.0.get()
    }
}

impl FromStr for Pid {
    type Err = ParsePidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().and_then(Self::new).ok_or(ParsePidError)
    }
}

/// The text is no PID.
#[derive(Debug, PartialEq, Eq)]
pub struct ParsePidError;

impl fmt::Display for ParsePidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a PID (1 to 2147483647)")
    }
}

impl std::error::Error for ParsePidError {}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A process's PIDs, from the namespace of the /proc that was read inward to
/// its own; empty where the kernel does not say (`NSpid` of
/// `/proc/PID/status`, since Linux 4.1).
pub type Nspid = SmallVec<[Pid; 6]>;

/// How a PID namespace is known. Displayed as `readlink /proc/PID/ns/pid`
/// prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceId {
    /// By its inode on nsfs, unique among the living: `pid:[4026531836]`.
    Inode(u64),
    /// Known to exist, but its inode could not be read: named after its init
    /// or, without one, its lowest member: `pid:[?6]`.
    Unread(Pid),
}

impl NamespaceId {
    /// The inode, where it is known.
    #[must_use]
    pub fn inode(self) -> Option<u64> {
        match self {
            Self::Inode(inode) => Some(inode),
            Self::Unread(_) => None,
        }
    }

    /// Its text, without the cost of `fmt`: every process in a document has one.
    #[must_use]
    pub fn text(self) -> SmolStr {
        let (prefix, number) = match self {
            Self::Inode(inode) => ("pid:[", inode),
            Self::Unread(pid) => ("pid:[?", pid.as_u32().into()),
        };
        let mut text = SmolStrBuilder::new();
        text.push_str(prefix);
        text.push_str(itoa::Buffer::new().format(number));
        text.push(']');
        text.finish()
    }
}

impl fmt::Display for NamespaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// The text is no `pid:[INODE]` or `pid:[?PID]`.
#[derive(Debug, PartialEq, Eq)]
pub struct ParseNamespaceIdError;

impl fmt::Display for ParseNamespaceIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not of the form pid:[INODE] or pid:[?PID]")
    }
}

impl std::error::Error for ParseNamespaceIdError {}

impl FromStr for NamespaceId {
    type Err = ParseNamespaceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = text.strip_prefix("pid:[").and_then(|rest| rest.strip_suffix(']'));
        let inner = inner.ok_or(ParseNamespaceIdError)?;
        let (unread, digits) = inner.strip_prefix('?').map_or((false, inner), |rest| (true, rest));
        // `parse` takes a leading plus, and leading zeros would give one
        // namespace two spellings.
        if !digits.starts_with(|c: char| matches!(c, '1'..='9')) {
            return Err(ParseNamespaceIdError);
        }
        if unread {
            digits.parse().ok().map(Self::Unread)
        } else {
            digits.parse().ok().map(Self::Inode)
        }
        .ok_or(ParseNamespaceIdError)
    }
}

/// A way to name a PID namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceRef {
    /// By its ID: `4026531836`, `pid:[4026531836]` or `pid:[?6]`.
    Id(NamespaceId),
    /// That of a process: `@PID`.
    Of(Pid),
}

impl FromStr for NamespaceRef {
    type Err = ParseNamespaceRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let failed = || ParseNamespaceRefError::of(text);
        if let Some(pid) = text.strip_prefix('@') {
            return pid.parse().map(Self::Of).map_err(|_| failed());
        }
        let id = text.parse().or_else(|_| format!("pid:[{text}]").parse());
        id.map(Self::Id).map_err(|_| failed())
    }
}

/// The text names no namespace.
#[derive(Debug, PartialEq, Eq)]
pub enum ParseNamespaceRefError {
    /// It is of no form that does.
    Form,
    /// Its number is too small or too large.
    Range,
}

impl ParseNamespaceRefError {
    fn of(text: &str) -> Self {
        let inner = text.strip_prefix("pid:[").and_then(|inner| inner.strip_suffix(']'));
        let number = inner.unwrap_or(text).trim_start_matches(['@', '?']);
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        // Zeros before a number are a fault of another kind.
        let plain = number == "0" || !number.starts_with('0');
        if digits && plain && !number.is_empty() { Self::Range } else { Self::Form }
    }
}

impl fmt::Display for ParseNamespaceRefError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => {
                "not an inode, pid:[INODE], pid:[?PID], @PID, or a path with a slash in it"
            }
            Self::Range => {
                "out of range: an inode is 1 to 18446744073709551615, a PID 1 to 2147483647"
            }
        })
    }
}

impl std::error::Error for ParseNamespaceRefError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_id_reads_back_as_it_was_written() {
        for text in ["pid:[4026531836]", "pid:[?6]", "pid:[1]"] {
            assert_eq!(text.parse::<NamespaceId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_namespace_id_is_refused() {
        for text in [
            "",
            "pid:[]",
            "pid:[?]",
            "pid:[0]",
            "pid:[+1]",
            "pid:[01]",
            "pid:[1",
            "mnt:[1]",
            "pid:[?4294967295]",
            "pid:[99999999999999999999]",
        ] {
            assert_eq!(text.parse::<NamespaceId>(), Err(ParseNamespaceIdError), "{text}");
        }
    }

    #[test]
    fn a_namespace_is_named_by_its_id_or_a_process() {
        let id = NamespaceRef::Id(NamespaceId::Inode(4_026_531_836));
        let pid = Pid::new(6).unwrap();
        for (text, expected) in [
            ("4026531836", id),
            ("pid:[4026531836]", id),
            ("pid:[?6]", NamespaceRef::Id(NamespaceId::Unread(pid))),
            ("@6", NamespaceRef::Of(pid)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "@", "@x", "pid:[x]", "pid:[]", "pid:[01]", "mnt:[1]", "-1", "here"] {
            let error = Err(ParseNamespaceRefError::Form);
            assert_eq!(text.parse::<NamespaceRef>(), error, "{text}");
        }
        for text in ["0", "@0", "@2147483648", "pid:[?0]", "pid:[99999999999999999999]"] {
            let error = Err(ParseNamespaceRefError::Range);
            assert_eq!(text.parse::<NamespaceRef>(), error, "{text}");
        }
    }

    #[test]
    fn a_pid_fits_in_pid_t_and_is_never_zero() {
        assert_eq!(Pid::new(0), None);
        assert_eq!(Pid::new(0x8000_0000), None);
        assert_eq!(Pid::new(0x7fff_ffff).map(Pid::as_u32), Some(0x7fff_ffff));
    }
}
