//! Parses `/proc/PID/timens_offsets` (`time_namespaces(7)`).

use super::number::{number, words};

const NANOSECONDS_PER_SECOND: i64 = 1_000_000_000;

/// Parses the offset of the boot-time clock, in nanoseconds.
#[must_use]
pub fn boottime_offset(text: &[u8]) -> Option<i64> {
    let of_line = |line| {
        let mut words = words(line);
        // The first kernels with time namespaces show `CLOCK_BOOTTIME` as its number, 7.
        let is_boottime = matches!(words.next()?, b"boottime" | b"7");
        let (seconds, nanoseconds) = (words.next()?, words.next()?);
        is_boottime.then_some((seconds, nanoseconds))
    };
    let (seconds, nanoseconds) = text.split(|&byte| byte == b'\n').find_map(of_line)?;
    let seconds = match seconds.strip_prefix(b"-") {
        Some(digits) => -number::<i64>(digits)?,
        None => number(seconds)?,
    };
    // For -0.5 s, the kernel shows -1 s and 500,000,000 ns.
    let nanoseconds = number::<i64>(nanoseconds).filter(|it| *it < NANOSECONDS_PER_SECOND)?;
    seconds.checked_mul(NANOSECONDS_PER_SECOND)?.checked_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_offset_of_the_boot_time_clock() {
        let text = b"monotonic           9         9\nboottime       500000   5000000\n";
        assert_eq!(boottime_offset(text), Some(500_000_005_000_000));
        assert_eq!(boottime_offset(b"boottime -1 500000000\n"), Some(-500_000_000));
        assert_eq!(boottime_offset(b"1 0 0\n7 3 0\n"), Some(3_000_000_000));
        for malformed in [
            &b""[..],
            b"monotonic 0 0\n",
            b"boottime 0\n",
            b"boottime --1 0\n",
            b"boottime 0 -1\n",
            b"boottime 0 1000000000\n",
            b"boottime 9223372036854775807 0\n",
        ] {
            assert_eq!(boottime_offset(malformed), None, "{malformed:?}");
        }
    }
}
