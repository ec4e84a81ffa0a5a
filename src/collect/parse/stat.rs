//! Parses `/proc/PID/stat` (`proc_pid_stat(5)`).

use std::num::NonZeroU32;

use memchr::{memchr, memrchr};

use super::number::{number, numbers};
use crate::model::Pid;

// Flags of a task in the kernel (`PF_*`).
const PF_EXITING: u32 = 0x4;
const PF_KTHREAD: u32 = 0x0020_0000;

/// The fields of `/proc/PID/stat` that pidns uses.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stat<'a> {
    /// PID of the process, as this procfs shows it.
    pub pid: Option<Pid>,
    /// Name of the process, which the kernel does not escape in this file.
    pub comm: &'a [u8],
    /// Letter of the process state, or `?` if it is missing.
    pub state: char,
    /// PID of the parent, if this procfs shows the parent.
    pub ppid: Option<Pid>,
    /// PID of the session leader, if this procfs shows the leader.
    pub session: Option<Pid>,
    /// `true` if the process has a controlling terminal.
    pub has_terminal: bool,
    /// Kernel flags of the task (`PF_*`).
    flags: u32,
    /// Number of threads.
    pub threads: Option<NonZeroU32>,
    /// Start time in clock ticks since boot, in the time namespace of the reader (field 22).
    pub start_time: Option<u64>,
}

impl Stat<'_> {
    /// Returns `true` if the task is exiting.
    #[must_use]
    pub fn is_exiting(&self) -> bool {
        self.flags & PF_EXITING != 0
    }

    /// Returns `true` for a kernel thread.
    #[must_use]
    pub fn is_kernel_thread(&self) -> bool {
        self.flags & PF_KTHREAD != 0
    }
}

/// Parses `/proc/PID/stat`, or returns `None` if the text is malformed.
#[must_use]
pub fn stat(stat: &[u8]) -> Option<Stat<'_>> {
    // The name is in parentheses, and can itself contain parentheses.
    let (begin, end) = (memchr(b'(', stat)?, memrchr(b')', stat)?);
    // The fields after the name start with field 3, and a space precedes each field.
    let mut fields = stat.get(end + 1..)?.split(|&byte| byte == b' ').skip(1);
    let state = fields.next().and_then(<[u8]>::first);
    let ppid = fields.next().and_then(number).and_then(Pid::new);
    // Skip field 5 (pgrp), and read field 6 (session).
    let session = fields.nth(1).and_then(number).and_then(Pid::new);
    // Field 7 is the device number of the controlling terminal, or 0 if there is none.
    let has_terminal = fields.next()? != b"0";
    // Skip field 8 (tpgid), and read field 9 (flags).
    let flags = number(fields.nth(1)?)?;
    Some(Stat {
        pid: numbers(stat.get(..begin)?).next().and_then(Pid::new),
        comm: stat.get(begin + 1..end)?,
        state: state.filter(|letter| letter.is_ascii_alphabetic()).map_or('?', |&it| it.into()),
        ppid,
        session,
        has_terminal,
        flags,
        threads: fields.nth(10).and_then(number).and_then(NonZeroU32::new),
        start_time: fields.nth(1).and_then(number),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_after_the_last_parenthesis() {
        let line = b"7 (a) b) S 1 2 3 4 -1 4194564 1 2 3 4 5 6 7 8 20 0 12 0 81233 99 100\n";
        let expected = Stat {
            pid: Pid::new(7),
            comm: b"a) b",
            state: 'S',
            ppid: Pid::new(1),
            session: Pid::new(3),
            has_terminal: true,
            flags: 4_194_564,
            threads: NonZeroU32::new(12),
            start_time: Some(81_233),
        };
        assert_eq!(stat(line), Some(expected));
        // A name can contain text that looks like the fields after the name.
        let name = stat(b"7 (a) 9 9 9) Z 0 1 1 0 -1 4194560 0").unwrap();
        assert_eq!((name.comm, name.state, name.ppid), (&b"a) 9 9 9"[..], 'Z', None));
        assert_eq!((name.threads, name.start_time, name.has_terminal), (None, None, false));
        for senseless in [&b""[..], b"7 (a) S 1 1", b"7 a) S 1 1 1 0 -1 0", b"7 )( S 1 1 1 0 -1 0"]
        {
            assert_eq!(stat(senseless), None);
        }
    }

    #[test]
    fn recognises_exiting_tasks_and_kernel_threads_by_their_flags() {
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
