//! `/proc/PID/stat` (`proc_pid_stat(5)`). Other files do not enter.

use std::num::NonZeroU32;

use memchr::{memchr, memrchr};

use super::number::{number, numbers};
use crate::model::Pid;

/// Flags of a task, as the kernel numbers them.
const PF_EXITING: u32 = 0x4;
const PF_KTHREAD: u32 = 0x0020_0000;

/// What pidns wants of `/proc/PID/stat` (`proc_pid_stat(5)`).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stat<'a> {
    /// Whose file it is.
    pub pid: Option<Pid>,
    /// The name. Nothing in it is escaped.
    pub comm: &'a [u8],
    /// The letter of the state; `?` where there was none.
    pub state: char,
    /// The parent; `None` for 0: none that this /proc shows.
    pub ppid: Option<Pid>,
    /// `PF_…`
    flags: u32,
    /// How many threads there are.
    pub threads: Option<NonZeroU32>,
    /// When it started, in clock ticks after boot: field 22.
    pub start_time: Option<u64>,
}

impl Stat<'_> {
    /// Whether it is on its way out.
    #[must_use]
    pub fn is_exiting(&self) -> bool {
        self.flags & PF_EXITING != 0
    }

    /// Whether it is a thread of the kernel's own.
    #[must_use]
    pub fn is_kernel_thread(&self) -> bool {
        self.flags & PF_KTHREAD != 0
    }
}

/// Reads `/proc/PID/stat`; `None` where the line makes no sense. The name stands
/// in parentheses and may contain some: it ends at the last one.
#[must_use]
pub fn stat(stat: &[u8]) -> Option<Stat<'_>> {
    let (begin, end) = (memchr(b'(', stat)?, memrchr(b')', stat)?);
    // From field 3 on, with a space before each.
    let mut fields = stat.get(end + 1..)?.split(|&byte| byte == b' ').skip(1);
    let state = fields.next().and_then(<[u8]>::first);
    let ppid = fields.next().and_then(number).and_then(Pid::new);
    // pgrp, session, tty_nr and tpgid are passed over; flags are field 9.
    let flags = number(fields.nth(4)?)?;
    Some(Stat {
        pid: numbers(stat.get(..begin)?).next().and_then(Pid::new),
        comm: stat.get(begin + 1..end)?,
        state: state.filter(|letter| letter.is_ascii_alphabetic()).map_or('?', |&it| it.into()),
        ppid,
        flags,
        threads: fields.nth(10).and_then(number).and_then(NonZeroU32::new),
        start_time: fields.nth(1).and_then(number),
    })
}

/// When a process started, as its `/proc/PID/stat` tells it.
#[must_use]
pub fn stat_start_time(bytes: &[u8]) -> Option<u64> {
    stat(bytes)?.start_time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_read_behind_the_last_parenthesis() {
        let line = b"7 (a) b) S 1 1 1 0 -1 4194564 1 2 3 4 5 6 7 8 20 0 12 0 81233 99 100\n";
        let expected = Stat {
            pid: Pid::new(7),
            comm: b"a) b",
            state: 'S',
            ppid: Pid::new(1),
            flags: 4_194_564,
            threads: NonZeroU32::new(12),
            start_time: Some(81_233),
        };
        assert_eq!(stat(line), Some(expected));
        // A name may look like all that follows.
        let name = stat(b"7 (a) 9 9 9) Z 0 1 1 0 -1 4194560 0").unwrap();
        assert_eq!((name.comm, name.state, name.ppid), (&b"a) 9 9 9"[..], 'Z', None));
        assert_eq!((name.threads, name.start_time), (None, None));
        for senseless in [&b""[..], b"7 (a) S 1 1", b"7 a) S 1 1 1 0 -1 0", b"7 )( S 1 1 1 0 -1 0"]
        {
            assert_eq!(stat(senseless), None);
        }
    }

    #[test]
    fn flags_tell_what_exits_and_what_is_the_kernels() {
        let told = |flags: u32| {
            let line = format!("7 (a) S 1 1 1 0 -1 {flags} 0");
            let stat = stat(line.as_bytes()).unwrap();
            (stat.is_exiting(), stat.is_kernel_thread())
        };
        assert_eq!(told(4_194_560), (false, false));
        assert_eq!(told(4_194_564), (true, false));
        assert_eq!(told(69_238_880), (false, true));
    }
}
