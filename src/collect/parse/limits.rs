//! Parses the files that contain task limits and task counters.

use super::number::{number, words};

/// A maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitMax {
    /// The maximum is this number.
    At(u64),
    /// There is no maximum.
    Unlimited,
}

impl LimitMax {
    /// Converts a kernel limit, treating very large numbers as [`Unlimited`](Self::Unlimited).
    #[must_use]
    pub fn of_kernel(max: u64) -> Self {
        if max < i64::MAX.unsigned_abs() { Self::At(max) } else { Self::Unlimited }
    }

    /// Returns the maximum, or `None` for `Unlimited`.
    #[must_use]
    pub fn number(self) -> Option<u64> {
        match self {
            Self::At(max) => Some(max),
            Self::Unlimited => None,
        }
    }
}

/// Parses a file with a single number, such as `pids.current`.
#[must_use]
pub fn counter(text: &[u8]) -> Option<u64> {
    number(text.trim_ascii())
}

/// Parses `pids.max` of a cgroup.
#[must_use]
pub fn cgroup_limit(text: &[u8]) -> Option<LimitMax> {
    maximum(text.trim_ascii(), b"max")
}

/// Parses the soft and hard limits in the line `Max processes` of `/proc/PID/limits`.
#[must_use]
pub fn max_processes(limits: &[u8]) -> Option<(LimitMax, LimitMax)> {
    let line = limits.split(|&byte| byte == b'\n').find_map(|it| it.strip_prefix(b"Max processes"));
    let mut words = words(line?).map(|word| maximum(word, b"unlimited"));
    Some((words.next()??, words.next()??))
}

fn maximum(word: &[u8], unlimited: &[u8]) -> Option<LimitMax> {
    if word == unlimited {
        Some(LimitMax::Unlimited)
    } else {
        number(word).map(LimitMax::of_kernel)
    }
}

/// Parses the number of tasks on the host, zombies included, from `/proc/loadavg`.
#[must_use]
pub fn tasks_on_host(loadavg: &[u8]) -> Option<u64> {
    let tasks = words(loadavg).nth(3)?;
    number(tasks.split(|&byte| byte == b'/').nth(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_limits_and_counters() {
        assert_eq!(cgroup_limit(b"max\n"), Some(LimitMax::Unlimited));
        assert_eq!(cgroup_limit(b"4\n"), Some(LimitMax::At(4)));
        assert_eq!((cgroup_limit(b""), counter(b"12\n"), counter(b"x\n")), (None, Some(12), None));
        let limits = |soft: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                 Max processes             {soft:<20} 96364                processes \n\
                 Max open files            1024                 1048576              files     \n"
            )
        };
        let soft = |soft: &str| {
            let (soft, hard) = max_processes(limits(soft).as_bytes())?;
            assert_eq!(hard, LimitMax::At(96364));
            Some(soft)
        };
        assert_eq!(soft("500"), Some(LimitMax::At(500)));
        assert_eq!(soft("unlimited"), Some(LimitMax::Unlimited));
        assert_eq!(soft("18446744073709551615"), None);
        assert_eq!(max_processes(b"Max processes  500"), None);
        assert_eq!(tasks_on_host(b"1.32 1.08 0.65 3/110 23348\n"), Some(110));
        assert_eq!(tasks_on_host(b"1.32 1.08 0.65\n"), None);
    }
}
