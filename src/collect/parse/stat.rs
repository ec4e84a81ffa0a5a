//! `/proc/PID/stat` (`proc_pid_stat(5)`). Other files do not enter.

use super::number::{number, words};

/// Whether `flags` of `/proc/PID/stat` has `PF_EXITING` (`proc_pid_stat(5)`);
/// `None` where the line makes no sense. In this file nothing in the name is
/// escaped, and it may contain `)`: it ends at the last one.
#[must_use]
pub fn stat_is_exiting(stat: &[u8]) -> Option<bool> {
    const PF_EXITING: u32 = 0x4;
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    // State, ppid, pgrp, session, tty_nr, tpgid, flags.
    Some(number::<u32>(words(&stat[end + 1..]).nth(6)?)? & PF_EXITING != 0)
}

/// When a process started, in clock ticks after boot: field 22 of
/// `/proc/PID/stat`. The name ends at the last `)`.
#[must_use]
pub fn stat_start_time(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    // The state, field 3, comes first.
    number(words(&stat[end + 1..]).nth(19)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exiting_is_read_behind_the_last_parenthesis() {
        assert_eq!(stat_is_exiting(b"7 (a) 9 9 9) S 1 1 1 0 -1 4194564 0"), Some(true));
        assert_eq!(stat_is_exiting(b"7 (a) S 1 1 1 0 -1 4194560 0"), Some(false));
        assert_eq!(stat_is_exiting(b"7 (a) S 1 1"), None);
        assert_eq!(stat_is_exiting(b""), None);
    }

    #[test]
    fn the_start_time_is_field_22() {
        let stat = b"7 (a) b) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 81233 99 100";
        assert_eq!(stat_start_time(stat), Some(81_233));
        assert_eq!(stat_start_time(b"7 (a) S 1 1"), None);
    }
}
