//! Process IDs and namespace IDs, and their text forms.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use smol_str::{SmolStr, SmolStrBuilder};

/// Maximum level below the initial PID namespace (`MAX_PID_NS_LEVEL` in the kernel).
pub const MAX_LEVEL: usize = 32;

/// A positive process or thread ID, at most `i32::MAX` because `pid_t` is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "pid"))]
#[cfg_attr(
    test,
    schemars(
        description = "A process or thread ID in the PID namespace that the procfs shows.",
        extend("minimum" = 1, "maximum" = i32::MAX)
    )
)]
pub struct Pid(NonZeroU32);

impl Pid {
    /// PID 1, the PID of every init in its own namespace.
    pub const INIT: Self = Self(NonZeroU32::MIN);

    /// Returns the PID, or `None` for 0 and for numbers above `i32::MAX`.
    #[must_use]
    pub fn new(raw: u32) -> Option<Self> {
        i32::try_from(raw).ok()?;
        // The kernel reports 0 for a process outside the reader's PID namespace.
        NonZeroU32::new(raw).map(Self)
    }

    /// Returns the PID as a number.
    #[must_use]
    pub fn as_u32(self) -> u32 {
        self.0.get()
    }
}

impl From<Pid> for u32 {
    fn from(pid: Pid) -> Self {
        pid.as_u32()
    }
}

impl TryFrom<u32> for Pid {
    type Error = InvalidPid;

    fn try_from(raw: u32) -> Result<Self, Self::Error> {
        Self::new(raw).ok_or(InvalidPid(raw))
    }
}

/// The error for a number that is not a valid PID.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidPid(u32);

impl fmt::Display for InvalidPid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a PID", self.0)
    }
}

impl std::error::Error for InvalidPid {}

impl FromStr for Pid {
    type Err = ParsePidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().and_then(Self::new).ok_or(ParsePidError)
    }
}

/// The error for text that is not a valid PID.
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

/// A process's PIDs (`NSpid`). The first PID belongs to the PID namespace that the procfs shows,
/// the last to the process's own. Empty before Linux 4.1.
pub type Nspid = SmallVec<[Pid; 6]>;

/// The identity of a PID namespace, written as `readlink /proc/PID/ns/pid` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(with = "String", rename = "namespace_id"))]
#[cfg_attr(
    test,
    schemars(
        description = "A PID namespace: `pid:[INODE]`, as `readlink /proc/PID/ns/pid` prints it. \
                       If the inode could not be read: `pid:[?PID]`, with the PID of the \
                       namespace's init or, if there is no init, the lowest PID of its members.",
        extend("pattern" = r"^pid:\[\??[1-9][0-9]*\]$")
    )
)]
pub enum NamespaceId {
    /// A namespace with this inode on nsfs, written `pid:[4026531836]`.
    Inode(u64),
    /// A namespace with an unknown inode, identified by its init's PID or lowest member PID.
    Unread(Pid),
}

impl NamespaceId {
    /// Returns the inode if it is known.
    #[must_use]
    pub fn inode(self) -> Option<u64> {
        match self {
            Self::Inode(inode) => Some(inode),
            Self::Unread(_) => None,
        }
    }

    /// Returns the ID as text.
    #[must_use]
    pub fn text(self) -> SmolStr {
        let (prefix, number) = match self {
            Self::Inode(inode) => ("pid:[", inode),
            Self::Unread(pid) => ("pid:[?", pid.as_u32().into()),
        };
        // `format!` is slower, and a document contains very many IDs.
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

impl Serialize for NamespaceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for NamespaceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The error for text that is not a valid namespace ID.
#[derive(Debug, PartialEq, Eq)]
pub struct ParseNamespaceIdError;

impl fmt::Display for ParseNamespaceIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a namespace ID (pid:[INODE] or pid:[?PID])")
    }
}

impl std::error::Error for ParseNamespaceIdError {}

impl FromStr for NamespaceId {
    type Err = ParseNamespaceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = text.strip_prefix("pid:[").and_then(|rest| rest.strip_suffix(']'));
        let inner = inner.ok_or(ParseNamespaceIdError)?;
        let (unread, digits) = inner.strip_prefix('?').map_or((false, inner), |rest| (true, rest));
        // Reject a leading plus and leading zeros, because `parse` accepts them and each ID must
        // have only one spelling.
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

/// A PID namespace as specified by the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceRef {
    /// The ID, written `4026531836`, `pid:[4026531836]` or `pid:[?6]`.
    Id(NamespaceId),
    /// The namespace of the process with this PID, written `@PID`.
    Of(Pid),
    /// The namespace with this 64-bit ID (see `NS_GET_ID`), written `:NS_ID` as for `nsenter(1)`.
    NsId(u64),
}

impl FromStr for NamespaceRef {
    type Err = ParseNamespaceRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let failed = || ParseNamespaceRefError::of(text);
        if let Some(pid) = text.strip_prefix('@') {
            return pid.parse().map(Self::Of).map_err(|_| failed());
        }
        if let Some(digits) = text.strip_prefix(':') {
            let is_plain = digits.starts_with(|c: char| matches!(c, '1'..='9'));
            return digits.parse().ok().filter(|_| is_plain).map(Self::NsId).ok_or_else(failed);
        }
        let id = text.parse().or_else(|_| format!("pid:[{text}]").parse());
        id.map(Self::Id).map_err(|_| failed())
    }
}

/// The error for text that is not a valid reference to a namespace.
#[derive(Debug, PartialEq, Eq)]
pub enum ParseNamespaceRefError {
    /// The text does not match any accepted form.
    Form,
    /// The text contains a number that is out of range.
    Range,
}

impl ParseNamespaceRefError {
    fn of(text: &str) -> Self {
        let inner = text.strip_prefix("pid:[").and_then(|inner| inner.strip_suffix(']'));
        let number = inner.unwrap_or(text).trim_start_matches(['@', ':', '?']);
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        // Report a number with leading zeros as malformed, not as out of range.
        let plain = number == "0" || !number.starts_with('0');
        if digits && plain && !number.is_empty() { Self::Range } else { Self::Form }
    }
}

impl fmt::Display for ParseNamespaceRefError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => {
                "not an inode, pid:[INODE], pid:[?PID], @PID, :NS_ID, or a path with a slash in it"
            }
            Self::Range => {
                "out of range: an inode or NS_ID is 1 to 18446744073709551615, a PID 1 to 2147483647"
            }
        })
    }
}

impl std::error::Error for ParseNamespaceRefError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_namespace_ids_that_it_writes() {
        for text in ["pid:[4026531836]", "pid:[?6]", "pid:[1]"] {
            assert_eq!(text.parse::<NamespaceId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn rejects_invalid_namespace_ids() {
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
    fn parses_every_form_of_a_namespace_reference() {
        let id = NamespaceRef::Id(NamespaceId::Inode(4_026_531_836));
        let pid = Pid::new(6).unwrap();
        for (text, expected) in [
            ("4026531836", id),
            ("pid:[4026531836]", id),
            ("pid:[?6]", NamespaceRef::Id(NamespaceId::Unread(pid))),
            ("@6", NamespaceRef::Of(pid)),
            (":4420", NamespaceRef::NsId(4420)),
            (":18446744073709551615", NamespaceRef::NsId(u64::MAX)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in [
            "", "@", "@x", ":", ":+1", ":01", "pid:[x]", "pid:[]", "pid:[01]", "mnt:[1]", "-1",
            "here",
        ] {
            let error = Err(ParseNamespaceRefError::Form);
            assert_eq!(text.parse::<NamespaceRef>(), error, "{text}");
        }
        for text in ["0", "@0", ":0", "@2147483648", "pid:[?0]", "pid:[99999999999999999999]"] {
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
