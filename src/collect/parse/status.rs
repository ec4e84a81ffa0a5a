//! `/proc/PID/status` (`proc_pid_status(5)`). Other files do not enter.
//!
//! This is the hottest loop of pidns in user space: every line that is not
//! looked at is time saved.

use std::borrow::Cow;
use std::num::NonZeroU32;

use memchr::memchr_iter;
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::number::{number, numbers, words};
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
    /// `Threads`.
    pub threads: Option<NonZeroU32>,
}

/// Reads `/proc/PID/status`. If a field comes twice, the first one counts. A
/// number that is malformed or too large counts as absent.
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
            // One tab follows the colon; all that follows is the name, with any spaces.
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
            // The address space comes after all of the above. Of what follows
            // only the number of threads is of use.
            [b'V', b'm', ..] => {
                status.has_memory = true;
                status.threads = bytes.get(start..).and_then(threads_further_on);
                break;
            }
            [b'T', b'h', b'r', b'e', b'a', b'd', b's', b':', value @ ..] => {
                status.threads = threads(value);
                break;
            }
            _ => {}
        }
    }
    status
}

/// `Pid` of `/proc/PID/status`, which [`status`] passes over: before `NSpid`
/// (Linux 4.1) nothing else tells whose status it is.
#[must_use]
pub fn status_pid(status: &[u8]) -> Option<Pid> {
    let mut lines = status.split(|&byte| byte == b'\n');
    lines
        .find_map(|line| line.strip_prefix(b"Pid:"))
        .and_then(|value| numbers(value).next())
        .and_then(Pid::new)
}

/// Finds `Threads` behind some twenty lines of the address space. Few of them
/// have a `T` anywhere, so that letter is searched rather than every line.
fn threads_further_on(lines: &[u8]) -> Option<NonZeroU32> {
    let value = memchr_iter(b'T', lines).find_map(|at| {
        let begins_line = at == 0 || lines.get(at - 1) == Some(&b'\n');
        lines.get(at..)?.strip_prefix(b"Threads:").filter(|_| begins_line)
    })?;
    threads(value.split(|&byte| byte == b'\n').next().unwrap_or_default())
}

fn threads(value: &[u8]) -> Option<NonZeroU32> {
    numbers(value).next().and_then(NonZeroU32::new)
}

/// The PIDs of every level, or none at all if any of them is no PID: those that
/// are left would look like all there are.
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

/// Reads the leaders in `/proc/PID/status`. They are needed only of processes
/// whose namespace link may not be read, so [`status`] passes over them.
#[must_use]
pub fn leaders(status: &[u8]) -> Leaders {
    let field = |name: &[u8]| {
        let mut lines = status.split(|&byte| byte == b'\n');
        lines.find_map(|line| line.strip_prefix(name)).and_then(shared_leader)
    };
    Leaders { session: field(b"NSsid:"), group: field(b"NSpgid:") }
}

/// The outermost PID of a leader whose innermost number is not 0, which stands
/// for a leader without a PID in the process's own namespace.
fn shared_leader(value: &[u8]) -> Option<Pid> {
    let mut numbers = numbers(value);
    let outermost = numbers.next()?;
    let innermost = numbers.last().unwrap_or(outermost);
    Pid::new(innermost).and(Pid::new(outermost))
}

/// A name as status shows it: newline and backslash are escaped, nothing else
/// is, and every byte other than these and NUL may occur.
fn comm(escaped: &[u8]) -> SmolStr {
    if !escaped.contains(&b'\\') {
        return self::name(escaped);
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
    self::name(&name)
}

/// A name as the kernel keeps it; bytes that are not UTF-8 become U+FFFD.
#[must_use]
pub fn name(bytes: &[u8]) -> SmolStr {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => SmolStr::new(text),
        Cow::Owned(text) => SmolStr::from(text),
    }
}

/// The signals that a process ignores, one bit each, the lowest for number 1
/// (`SigIgn` of `/proc/PID/status`).
#[must_use]
pub fn ignored_signals(status: &[u8]) -> Option<u64> {
    let mut lines = status.split(|&byte| byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(b"SigIgn:"))?;
    u64::from_str_radix(std::str::from_utf8(value.trim_ascii()).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SLEEP: &[u8] = include_bytes!("../../../tests/fixtures/status-nested");
    const KTHREADD: &[u8] = include_bytes!("../../../tests/fixtures/status-kthread");

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
                threads: NonZeroU32::new(1),
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
        assert_eq!(status.threads, NonZeroU32::new(1));
    }

    #[test]
    fn a_kernel_before_4_1_gives_no_nspid() {
        let status =
            status(b"Name:\tinit\nState:\tS (sleeping)\nPid:\t1\nPPid:\t0\nUid:\t0\t0\t0\t0\n");
        assert_eq!((status.nspid.len(), status.kernel_thread), (0, None));
        assert_eq!(status.uid, Some(0));
        assert_eq!(status_pid(b"Name:\tinit\nTgid:\t7\nPid:\t7\nPPid:\t1\n"), Pid::new(7));
        assert_eq!(status_pid(b"Name:\tinit\nPPid:\t1\n"), None);
    }

    #[test]
    fn threads_are_counted_behind_the_address_space_and_without_one() {
        let threads = |text: &str| status(text.as_bytes()).threads.map_or(0, NonZeroU32::get);
        assert_eq!(threads("NSpid:\t7\nThreads:\t12\nSigQ:\t1/2\n"), 12);
        let memory = "VmPeak:\t 1 kB\nVmPTE:\t 1 kB\nTHP_enabled:\t1\n";
        assert_eq!(threads(&format!("{memory}Threads:\t34\nSigQ:\t1/2\n")), 34);
        assert_eq!(threads(&format!("{memory}xThreads:\t5\nThreads:\t6\nThreads:\t7")), 6);
        assert_eq!(threads("VmPeak:\t1 kB\nThreads:\t8"), 8);
        for none in ["Threads:\t0\n", "VmPeak:\t1\nThreads:\tx\n", "VmPeak:\t1", "Vm", "VmT\nT"] {
            assert_eq!(threads(none), 0, "{none}");
        }
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

    proptest! {
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
