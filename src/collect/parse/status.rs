//! Parses `/proc/PID/status` (`proc_pid_status(5)`).
//!
//! A scan spends most of its user-space time here, so the parser stops at the last line that it
//! needs.

use std::borrow::Cow;
use std::num::NonZeroU32;

use memchr::memchr_iter;
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::number::{number, numbers, words};
use crate::model::{MAX_LEVEL, Nspid, Pid};

/// The fields of `/proc/PID/status` that pidns uses.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Unescaped name of the process (`Name`), with U+FFFD in place of invalid UTF-8.
    pub comm: SmolStr,
    /// First letter of `State`, or `?` if it is missing.
    pub state: char,
    /// PID of the parent (`PPid`), if this procfs shows the parent.
    pub ppid: Option<Pid>,
    /// Real UID, the first number of `Uid`.
    pub uid: Option<u32>,
    /// PIDs at all levels, outermost first (`NSpid`), or empty before Linux 4.1.
    pub nspid: Nspid,
    /// `true` for a kernel thread (`Kthread`, since Linux 6.8).
    pub kernel_thread: Option<bool>,
    /// `true` if `Vm...` lines show that the process has an address space.
    pub has_memory: bool,
    /// Number of threads (`Threads`).
    pub threads: Option<NonZeroU32>,
    /// Capacity of the descriptor table (`FDSize`). It is never smaller than the number of open
    /// descriptors.
    pub descriptor_capacity: Option<u32>,
}

/// Parses `/proc/PID/status`. A number that is malformed or out of range counts as missing.
#[must_use]
pub fn status(bytes: &[u8]) -> Status {
    let mut status = Status { state: '?', ..Status::default() };
    let mut seen = [false; 7];
    // If a field occurs twice, the first occurrence counts.
    let mut first = |field: usize| !std::mem::replace(&mut seen[field], true);
    let mut start = 0;
    for end in memchr_iter(b'\n', bytes).chain([bytes.len()]) {
        let line = &bytes[start..end];
        start = end + 1;
        match line {
            // The name is all text after the tab that follows the colon, including spaces.
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
            [b'F', b'D', b'S', b'i', b'z', b'e', b':', value @ ..] if first(6) => {
                status.descriptor_capacity = numbers(value).next();
            }
            [b'N', b'S', b'p', b'i', b'd', b':', value @ ..] if first(4) => {
                status.nspid = nspid(value);
            }
            [b'K', b't', b'h', b'r', b'e', b'a', b'd', b':', value @ ..] if first(5) => {
                status.kernel_thread = numbers(value).next().map(|flag| flag != 0);
            }
            // Only the number of threads is still needed, and it follows the `Vm...` lines.
            [b'V', b'm', ..] => {
                status.has_memory = true;
                status.threads = bytes.get(start..).and_then(threads_after_memory);
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

/// Parses only `Pid`, which [`status`] skips.
#[must_use]
pub fn status_pid(status: &[u8]) -> Option<Pid> {
    numbers(field(status, b"Pid:")?).next().and_then(Pid::new)
}

/// Parses the seccomp mode (`Seccomp`, since Linux 3.8). Mode 2 means that a seccomp filter is
/// active.
#[must_use]
pub fn seccomp_mode(status: &[u8]) -> Option<u32> {
    numbers(field(status, b"Seccomp:")?).next()
}

/// Parses only the size of the address space in bytes (`VmSize`), which [`status`] skips.
#[must_use]
pub fn virtual_memory(status: &[u8]) -> Option<u64> {
    let kibibytes = numbers(field(status, b"VmSize:")?).next()?;
    Some(u64::from(kibibytes) * 1024)
}

/// Finds `Threads` by its first letter, which is faster than splitting the text into lines.
fn threads_after_memory(lines: &[u8]) -> Option<NonZeroU32> {
    let value = memchr_iter(b'T', lines).find_map(|at| {
        let begins_line = at == 0 || lines.get(at - 1) == Some(&b'\n');
        lines.get(at..)?.strip_prefix(b"Threads:").filter(|_| begins_line)
    })?;
    threads(value.split(|&byte| byte == b'\n').next().unwrap_or_default())
}

fn threads(value: &[u8]) -> Option<NonZeroU32> {
    numbers(value).next().and_then(NonZeroU32::new)
}

/// Parses the PIDs at all levels, or returns an empty list if any PID is malformed.
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

/// The session leader and process group leader of a process, if they are visible in its PID
/// namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaders {
    /// PID of the session leader (`NSsid`, since Linux 4.1).
    pub session: Option<Pid>,
    /// PID of the process group leader (`NSpgid`, since Linux 4.1).
    pub group: Option<Pid>,
}

/// Parses the leaders of the session (`NSsid`) and the process group (`NSpgid`).
#[must_use]
pub fn leaders(status: &[u8]) -> Leaders {
    let leader = |name| field(status, name).and_then(shared_leader);
    Leaders { session: leader(b"NSsid:"), group: leader(b"NSpgid:") }
}

/// Returns the outermost PID in `NSpgid` or `NSsid`, unless the innermost PID is 0.
fn shared_leader(value: &[u8]) -> Option<Pid> {
    let mut numbers = numbers(value);
    let outermost = numbers.next()?;
    // The innermost PID is 0 if the leader is outside of the process's PID namespace.
    let innermost = numbers.last().unwrap_or(outermost);
    Pid::new(innermost).and(Pid::new(outermost))
}

/// Unescapes the process name, in which the kernel escapes newline and backslash.
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

/// Converts an unescaped process name to text, with U+FFFD in place of invalid UTF-8.
#[must_use]
pub fn name(bytes: &[u8]) -> SmolStr {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => SmolStr::new(text),
        Cow::Owned(text) => SmolStr::from(text),
    }
}

/// Parses the PID of the tracer (`TracerPid`), if this procfs shows a tracer.
#[must_use]
pub fn tracer(status: &[u8]) -> Option<Pid> {
    numbers(field(status, b"TracerPid:")?).next().and_then(Pid::new)
}

/// Parses only the PID of the process that a thread belongs to (`Tgid`).
#[must_use]
pub fn thread_group(status: &[u8]) -> Option<Pid> {
    numbers(field(status, b"Tgid:")?).next().and_then(Pid::new)
}

/// Parses the number of voluntary and involuntary context switches of the thread.
#[must_use]
pub fn context_switches(status: &[u8]) -> Option<u64> {
    let count = |name| number::<u64>(field(status, name)?.trim_ascii());
    count(b"voluntary_ctxt_switches:")?.checked_add(count(b"nonvoluntary_ctxt_switches:")?)
}

/// Parses the signal set `name`, such as `SigPnd:`, with signal 1 as the lowest bit.
#[must_use]
pub fn signals(status: &[u8], name: &[u8]) -> Option<u64> {
    bit_set(status, name)
}

/// Parses the effective capabilities (`CapEff`), with capability 0 as the lowest bit.
#[must_use]
pub fn capabilities(status: &[u8]) -> Option<u64> {
    bit_set(status, b"CapEff:")
}

fn bit_set(status: &[u8], name: &[u8]) -> Option<u64> {
    let value = field(status, name)?;
    u64::from_str_radix(std::str::from_utf8(value.trim_ascii()).ok()?, 16).ok()
}

/// Returns `true` if the real and the effective UID differ.
#[must_use]
pub fn is_setuid(status: &[u8]) -> bool {
    let mut uids = field(status, b"Uid:").map(numbers).into_iter().flatten();
    uids.next() != uids.next()
}

/// Finds the value of a field. `name` must include the colon, as in `NSpid:`.
fn field<'a>(status: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(name))
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
    fn reads_all_fields_of_a_nested_process() {
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
                descriptor_capacity: Some(256),
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
    fn kernels_before_4_1_have_no_nspid() {
        let status =
            status(b"Name:\tinit\nState:\tS (sleeping)\nPid:\t1\nPPid:\t0\nUid:\t0\t0\t0\t0\n");
        assert_eq!((status.nspid.len(), status.kernel_thread), (0, None));
        assert_eq!(status.uid, Some(0));
        assert_eq!(status_pid(b"Name:\tinit\nTgid:\t7\nPid:\t7\nPPid:\t1\n"), Pid::new(7));
        assert_eq!(status_pid(b"Name:\tinit\nPPid:\t1\n"), None);
    }

    #[test]
    fn finds_threads_with_and_without_an_address_space() {
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
    fn reads_the_tracer_and_the_signal_sets() {
        let text = b"Name:\tx\nTracerPid:\t7\nSigBlk:\t0\nSigIgn:\t0000000000004000\nSigCgt:\tx\n";
        assert_eq!(tracer(text), Pid::new(7));
        assert_eq!(tracer(b"TracerPid:\t0\n"), None);
        let sets = [&b"SigBlk:"[..], b"SigIgn:", b"SigCgt:", b"SigPnd:"];
        assert_eq!(sets.map(|name| signals(text, name)), [Some(0), Some(1 << 14), None, None]);
    }

    #[test]
    fn adds_up_the_context_switches() {
        let text =
            b"Name:\tx\nvoluntary_ctxt_switches:\t5000000000\nnonvoluntary_ctxt_switches:\t2\n";
        assert_eq!(context_switches(text), Some(5_000_000_002));
        assert_eq!(context_switches(b"voluntary_ctxt_switches:\t1\n"), None);
    }

    #[test]
    fn reads_the_size_of_the_address_space() {
        let size = virtual_memory(b"VmPeak:\t    9000 kB\nVmSize:\t    8192 kB\n");
        assert_eq!(size, Some(8 << 20));
        assert_eq!(virtual_memory(b"Name:\tkthreadd\n"), None);
    }

    #[test]
    fn reads_the_seccomp_mode() {
        assert_eq!(seccomp_mode(b"NoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n"), Some(2));
        assert_eq!(seccomp_mode(b"Name:\tSeccomp:\nSeccomp:\t0\n"), Some(0));
        assert_eq!(seccomp_mode(b"Name:\tx\n"), None);
    }

    #[test]
    fn the_first_of_two_equal_fields_counts() {
        let status = status(b"Name:\ta\nName:\tb\nNSpid:\t7\nNSpid:\t8\t9\nUid:\tx\nUid:\t5\n");
        assert_eq!(status.comm, "a");
        assert_eq!(status.nspid, pids(&[7]));
        assert_eq!(status.uid, None);
    }

    #[test]
    fn one_malformed_pid_invalidates_the_whole_nspid() {
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
    fn unescapes_names_and_replaces_invalid_utf8() {
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
    fn a_leader_needs_a_pid_in_the_namespace_of_the_process() {
        let session =
            |value: &str| leaders(format!("Name:\tx\nNSsid:\t{value}\n").as_bytes()).session;
        assert_eq!(session("446\t0\t0"), None);
        assert_eq!(session("446\t12\t1"), Pid::new(446));
        assert_eq!(session("446"), Pid::new(446));
        assert_eq!(session("0\t5"), None);
    }

    proptest! {
        #[test]
        fn escaped_names_round_trip(name in "[^\0]{1,15}") {
            let escaped = name.replace('\\', "\\\\").replace('\n', "\\n");
            let parsed = status(format!("Name:\t{escaped}\nState:\tS\n").as_bytes());
            prop_assert_eq!(parsed.comm.as_str(), name.as_str());
            prop_assert_eq!(parsed.state, 'S');
        }

        #[test]
        fn nspid_round_trips(numbers in proptest::collection::vec(1_u32..=0x7fff_ffff, 1..=33)) {
            let words: Vec<_> = numbers.iter().map(u32::to_string).collect();
            let parsed = status(format!("NSpid:\t{}\n", words.join("\t")).as_bytes());
            prop_assert_eq!(parsed.nspid, pids(&numbers));
        }
    }
}
