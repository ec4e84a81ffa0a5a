//! Bytes of /proc to fields: pure functions that survive anything, and
//! allocate nothing that they do not return.
//!
//! Opening and reading belong to the callers.

use std::borrow::Cow;
use std::io::Write as _;

use memchr::memchr_iter;
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::model::{MAX_LEVEL, Nspid, Pid};

/// What pidns wants of `/proc/PID/status` (`proc_pid_status(5)`).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// `Name`, unescaped and made text.
    pub comm: SmolStr,
    /// First letter of `State`; `?` where there was none.
    pub state: char,
    /// `PPid`; `None` for 0: no parent that this /proc shows.
    pub ppid: Option<Pid>,
    /// Real UID, the first number of `Uid`.
    pub uid: Option<u32>,
    /// `NSpid` (since Linux 4.1), else empty.
    pub nspid: Nspid,
    /// `Kthread` (since Linux 6.8).
    pub kernel_thread: Option<bool>,
    /// Whether it has an address space (`Vm…` lines): kernel threads have
    /// none, and a process gives it up early in its exit.
    pub has_memory: bool,
}

/// Reads `/proc/PID/status`. Of a field that comes twice the first counts; a
/// number that is none, or too large, is absent.
#[must_use]
pub fn status(bytes: &[u8]) -> Status {
    let mut status = Status { state: '?', ..Status::default() };
    let mut seen = [false; 6];
    let mut first = |field: usize| !std::mem::replace(&mut seen[field], true);
    let mut start = 0;
    for end in memchr_iter(b'\n', bytes).chain([bytes.len()]) {
        let line = &bytes[start..end];
        start = end + 1;
        match line {
            // One tab follows the colon; all else is the name, spaces and all.
            [b'N', b'a', b'm', b'e', b':', value @ ..] if first(0) => {
                status.comm = comm(value.strip_prefix(b"\t").unwrap_or(value));
            }
            [b'S', b't', b'a', b't', b'e', b':', value @ ..] if first(1) => {
                let letter = value.trim_ascii_start().first();
                status.state =
                    letter.filter(|b| b.is_ascii_alphabetic()).map_or('?', |&b| b.into());
            }
            [b'P', b'P', b'i', b'd', b':', value @ ..] if first(2) => {
                status.ppid = numbers(value).next().and_then(Pid::new);
            }
            [b'U', b'i', b'd', b':', value @ ..] if first(3) => status.uid = numbers(value).next(),
            [b'N', b'S', b'p', b'i', b'd', b':', value @ ..] if first(4) => {
                status.nspid = nspid(value);
            }
            [b'K', b't', b'h', b'r', b'e', b'a', b'd', b':', value @ ..] if first(5) => {
                status.kernel_thread = numbers(value).next().map(|flag| flag != 0);
            }
            // The address space comes after all of the above, and what
            // follows is of no use here: half of the file is not looked at.
            [b'V', b'm', ..] => {
                status.has_memory = true;
                break;
            }
            [b'T', b'h', b'r', b'e', b'a', b'd', b's', b':', ..] => break,
            _ => {}
        }
    }
    status
}

/// The leading run of decimal numbers, parted by blanks; ends at what is none.
fn numbers(value: &[u8]) -> impl Iterator<Item = u32> {
    words(value).map_while(number)
}

/// The words of a value.
fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

/// A decimal number, nothing else.
fn number<N: TryFrom<u64>>(word: &[u8]) -> Option<N> {
    // 19 digits fit in 64 bits whatever they are; more only by chance.
    if word.is_empty() || word.len() > 19 {
        return None;
    }
    let mut value = 0_u64;
    for &byte in word {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    N::try_from(value).ok()
}

/// The PIDs of every level, or none at all where any of them is no PID: half
/// of the truth would pass for the whole.
fn nspid(value: &[u8]) -> Nspid {
    let mut pids = Nspid::new();
    for word in words(value) {
        match number(word).and_then(Pid::new) {
            Some(pid) if pids.len() <= MAX_LEVEL => pids.push(pid),
            _ => return Nspid::new(),
        }
    }
    pids
}

/// Leaders that have a PID in a process's own namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaders {
    /// Of its session (`NSsid` of `/proc/PID/status`, since Linux 4.1).
    pub session: Option<Pid>,
    /// Of its process group, likewise (`NSpgid`).
    pub group: Option<Pid>,
}

/// Reads the leaders in `/proc/PID/status`, which only few need to know.
#[must_use]
pub fn leaders(status: &[u8]) -> Leaders {
    let field = |name: &[u8]| {
        let mut lines = status.split(|&byte| byte == b'\n');
        lines.find_map(|line| line.strip_prefix(name)).and_then(shared_leader)
    };
    Leaders { session: field(b"NSsid:"), group: field(b"NSpgid:") }
}

/// The outermost number of a leader that is not 0 at the innermost level.
fn shared_leader(value: &[u8]) -> Option<Pid> {
    let mut numbers = numbers(value);
    let outermost = numbers.next()?;
    let innermost = numbers.last().unwrap_or(outermost);
    Pid::new(innermost).and(Pid::new(outermost))
}

/// A name as status shows it: newline and backslash are escaped, nothing else
/// is, and all bytes but those and NUL may occur.
fn comm(escaped: &[u8]) -> SmolStr {
    if !escaped.contains(&b'\\') {
        return text(escaped);
    }
    let mut name: SmallVec<[u8; 64]> = SmallVec::new();
    let mut bytes = escaped.iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, byte == b'\\') {
            (_, true) => match bytes.next() {
                Some(b'n') => name.push(b'\n'),
                Some(b'\\') | None => name.push(b'\\'),
                Some(other) => name.extend([b'\\', other]),
            },
            (byte, false) => name.push(byte),
        }
    }
    text(&name)
}

/// Bytes that are not UTF-8 become U+FFFD.
fn text(bytes: &[u8]) -> SmolStr {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => SmolStr::new(text),
        Cow::Owned(text) => SmolStr::from(text),
    }
}

/// A directory entry of /proc, /proc/PID/task or /proc/PID/fd that is a number.
#[must_use]
pub fn entry<N: TryFrom<u64>>(name: &[u8]) -> Option<N> {
    number(name)
}

/// The inode in a namespace link, `pid:[4026531836]` with the kind `pid`.
#[must_use]
pub fn namespace_link(link: &[u8], kind: &str) -> Option<u64> {
    let inner = link.strip_prefix(kind.as_bytes())?.strip_prefix(b":[")?.strip_suffix(b"]")?;
    number(inner)
}

/// Whether `flags` of `/proc/PID/stat` has `PF_EXITING` (`proc_pid_stat(5)`);
/// `None` where the line makes no sense. The name escapes nothing and may
/// hold `)`: it ends at the last one.
#[must_use]
pub fn stat_is_exiting(stat: &[u8]) -> Option<bool> {
    const PF_EXITING: u32 = 0x4;
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    // State, ppid, pgrp, session, tty_nr, tpgid, flags.
    Some(number::<u32>(words(&stat[end + 1..]).nth(6)?)? & PF_EXITING != 0)
}

/// A bind mount of a PID namespace.
#[derive(Debug, PartialEq, Eq)]
pub struct NamespaceMount {
    /// Inode of the namespace.
    pub inode: u64,
    /// Mount point, unescaped.
    pub path: Vec<u8>,
}

/// The bind mounts of PID namespaces in `/proc/PID/mountinfo`
/// (`proc_pid_mountinfo(5)`); lines that make no sense are passed over.
pub fn namespace_mounts(mountinfo: &[u8]) -> impl Iterator<Item = NamespaceMount> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(|line| {
        let mount = Mount::parse(line)?;
        let inode = namespace_link(mount.root, "pid").filter(|_| mount.kind == b"nsfs")?;
        Some(NamespaceMount { inode, path: unescape_octal(mount.point) })
    })
}

/// Whether a mountinfo has a mount at `/`, as all have but those of processes
/// in a `chroot(2)`.
#[must_use]
pub fn shows_root(mountinfo: &[u8]) -> bool {
    mountinfo.split(|&byte| byte == b'\n').filter_map(Mount::parse).any(|it| it.point == b"/")
}

/// How a procfs hides processes (`hidepid=` and `gid=` of `proc(5)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HidePid {
    /// Whether processes are left out of the listing, not only closed.
    pub unlisted: bool,
    /// The group that sees all nevertheless; `None` where no group does.
    pub exempt_gid: Option<u32>,
}

/// The `hidepid` of the procfs with that device number in a mountinfo; `None`
/// where it is not listed, `Some(None)` where it hides nothing.
#[must_use]
pub fn hidepid(mountinfo: &[u8], major: u32, minor: u32) -> Option<Option<HidePid>> {
    let mut device = [0; 24];
    let mut rest = &mut device[..];
    write!(rest, "{major}:{minor}").ok()?;
    let length = 24 - rest.len();
    let mount = mountinfo
        .split(|&byte| byte == b'\n')
        .filter_map(Mount::parse)
        .find(|mount| mount.device == &device[..length] && mount.kind == b"proc")?;
    let mut mode = None;
    let mut gid = 0;
    for option in mount.super_options.split(|&byte| byte == b',') {
        if let Some(value) = option.strip_prefix(b"hidepid=") {
            mode = Some(value);
        } else if let Some(value) = option.strip_prefix(b"gid=") {
            gid = number(value).unwrap_or(gid);
        }
    }
    Some(match mode {
        None | Some(b"0" | b"off") => None,
        Some(b"1" | b"noaccess") => Some(HidePid { unlisted: false, exempt_gid: Some(gid) }),
        Some(b"4" | b"ptraceable") => Some(HidePid { unlisted: true, exempt_gid: None }),
        Some(_) => Some(HidePid { unlisted: true, exempt_gid: Some(gid) }),
    })
}

/// The fields of one line of mountinfo that anyone here asks for.
struct Mount<'a> {
    device: &'a [u8],
    root: &'a [u8],
    point: &'a [u8],
    kind: &'a [u8],
    super_options: &'a [u8],
}

impl<'a> Mount<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let device = fields.nth(2)?;
        let root = fields.next()?;
        let point = fields.next()?;
        // Options and any number of optional fields, ended by a hyphen.
        fields.find(|field| *field == b"-")?;
        let kind = fields.next()?;
        let super_options = fields.nth(1).unwrap_or_default();
        Some(Self { device, root, point, kind, super_options })
    }
}

/// Space, tab, newline and backslash are `\040` and the like in mountinfo.
fn unescape_octal(field: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [byte, tail @ ..] = rest {
        if let [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] = rest {
            path.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
            rest = tail;
        } else {
            path.push(*byte);
            rest = tail;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SLEEP: &[u8] = include_bytes!("../../tests/fixtures/status-nested");
    const KTHREADD: &[u8] = include_bytes!("../../tests/fixtures/status-kthread");

    fn pids(numbers: &[u32]) -> Nspid {
        numbers.iter().filter_map(|&number| Pid::new(number)).collect()
    }

    #[test]
    fn a_nested_process_gives_every_field() {
        assert_eq!(
            status(SLEEP),
            Status {
                comm: "sleep".into(),
                state: 'S',
                ppid: Pid::new(3953),
                uid: Some(0),
                nspid: pids(&[3954, 2, 1]),
                kernel_thread: Some(false),
                has_memory: true,
            }
        );
    }

    #[test]
    fn a_kernel_thread_has_no_memory_and_no_parent() {
        let status = status(KTHREADD);
        assert_eq!(status.kernel_thread, Some(true));
        assert!(!status.has_memory);
        assert_eq!(status.ppid, None);
        assert_eq!(status.comm, "kthreadd");
    }

    #[test]
    fn a_kernel_before_4_1_gives_no_nspid() {
        let status =
            status(b"Name:\tinit\nState:\tS (sleeping)\nPid:\t1\nPPid:\t0\nUid:\t0\t0\t0\t0\n");
        assert_eq!((status.nspid.len(), status.kernel_thread), (0, None));
        assert_eq!(status.uid, Some(0));
    }

    #[test]
    fn of_a_doubled_field_the_first_counts() {
        let status = status(b"Name:\ta\nName:\tb\nNSpid:\t7\nNSpid:\t8\t9\nUid:\tx\nUid:\t5\n");
        assert_eq!(status.comm, "a");
        assert_eq!(status.nspid, pids(&[7]));
        assert_eq!(status.uid, None);
    }

    #[test]
    fn a_number_that_is_none_takes_its_whole_nspid_with_it() {
        for value in ["7 0", "7 -1", "7 x", "7 4294967296", "99999999999999999999", ""] {
            let line = format!("NSpid:\t{value}\n");
            assert_eq!(status(line.as_bytes()).nspid, Nspid::new(), "{value}");
        }
        let deep = format!("NSpid:\t{}", "1\t".repeat(MAX_LEVEL + 1));
        assert_eq!(status(deep.as_bytes()).nspid.len(), MAX_LEVEL + 1);
        let deeper = format!("NSpid:\t{}", "1\t".repeat(MAX_LEVEL + 2));
        assert_eq!(status(deeper.as_bytes()).nspid.len(), 0);
    }

    #[test]
    fn names_are_unescaped_and_made_text() {
        for (raw, name) in [
            (&b"Name:\ta\\nb"[..], "a\nb"),
            (b"Name:\ta\\\\n", "a\\n"),
            (b"Name:\ta\\x\\", "a\\x\\"),
            (b"Name:\t a: b ", " a: b "),
            (b"Name:\t\xff\x1b[31m", "\u{fffd}\u{1b}[31m"),
            (b"Name:\t", ""),
        ] {
            assert_eq!(status(raw).comm, name, "{raw:?}");
        }
    }

    #[test]
    fn a_leader_counts_only_where_it_has_a_number_in_the_own_namespace() {
        let session =
            |value: &str| leaders(format!("Name:\tx\nNSsid:\t{value}\n").as_bytes()).session;
        assert_eq!(session("446\t0\t0"), None);
        assert_eq!(session("446\t12\t1"), Pid::new(446));
        assert_eq!(session("446"), Pid::new(446));
        assert_eq!(session("0\t5"), None);
    }

    #[test]
    fn exiting_is_read_behind_the_last_parenthesis() {
        assert_eq!(stat_is_exiting(b"7 (a) 9 9 9) S 1 1 1 0 -1 4194564 0"), Some(true));
        assert_eq!(stat_is_exiting(b"7 (a) S 1 1 1 0 -1 4194560 0"), Some(false));
        assert_eq!(stat_is_exiting(b"7 (a) S 1 1"), None);
        assert_eq!(stat_is_exiting(b""), None);
    }

    #[test]
    fn namespace_mounts_are_found_under_any_path() {
        let table = include_bytes!("../../tests/fixtures/mountinfo-nsfs");
        let mounts: Vec<_> = namespace_mounts(table).collect();
        assert_eq!(
            mounts,
            [
                NamespaceMount { inode: 4_026_532_177, path: b"/run/pidns/a b\\c".to_vec() },
                NamespaceMount { inode: 4_026_532_180, path: b"/run/pidns/second".to_vec() },
            ]
        );
    }

    #[test]
    fn hidepid_is_read_in_both_spellings() {
        let table = |options: &str| {
            format!("22 27 0:21 / /proc rw,relatime shared:5 - proc proc {options}\n")
        };
        let read = |options: &str| hidepid(table(options).as_bytes(), 0, 21).expect("is listed");
        assert_eq!(read("rw"), None);
        assert_eq!(read("rw,hidepid=off"), None);
        assert_eq!(
            read("rw,gid=4,hidepid=noaccess"),
            Some(HidePid { unlisted: false, exempt_gid: Some(4) })
        );
        for word in ["2", "invisible"] {
            let hide = read(&format!("rw,hidepid={word}"));
            assert_eq!(hide, Some(HidePid { unlisted: true, exempt_gid: Some(0) }));
        }
        assert_eq!(
            read("rw,hidepid=ptraceable"),
            Some(HidePid { unlisted: true, exempt_gid: None })
        );
        assert_eq!(hidepid(table("rw,hidepid=2").as_bytes(), 0, 22), None);
    }

    #[test]
    fn a_link_of_another_kind_is_no_namespace() {
        assert_eq!(namespace_link(b"pid:[4026531836]", "pid"), Some(4_026_531_836));
        for link in [
            &b"mnt:[1]"[..],
            b"pid:[1",
            b"pid:[]",
            b"pid:[x]",
            b"/tmp/pid:[1]",
            b"pid:[1] (deleted)",
        ] {
            assert_eq!(namespace_link(link, "pid"), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let parsed = status(&bytes);
            prop_assert!(parsed.nspid.len() <= MAX_LEVEL + 1);
            let _ = (stat_is_exiting(&bytes), hidepid(&bytes, 0, 21), leaders(&bytes));
            prop_assert!(namespace_mounts(&bytes).count() <= bytes.len());
        }

        #[test]
        fn every_name_the_kernel_escapes_comes_back(name in "[^\0]{1,15}") {
            let escaped = name.replace('\\', "\\\\").replace('\n', "\\n");
            let parsed = status(format!("Name:\t{escaped}\nState:\tS\n").as_bytes());
            prop_assert_eq!(parsed.comm.as_str(), name.as_str());
            prop_assert_eq!(parsed.state, 'S');
        }

        #[test]
        fn every_nspid_comes_back(numbers in proptest::collection::vec(1_u32..=0x7fff_ffff, 1..=33)) {
            let words: Vec<_> = numbers.iter().map(u32::to_string).collect();
            let parsed = status(format!("NSpid:\t{}\n", words.join("\t")).as_bytes());
            prop_assert_eq!(parsed.nspid, pids(&numbers));
        }
    }
}
