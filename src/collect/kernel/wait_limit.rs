//! Limits how long pidns waits for the kernel.
//!
//! Any user can delay a scan thousands of times:
//!
//! - Processes that fork in a loop hold the `mmap_lock` of the address space that they share.
//! - Processes that copy a large mount namespace in a loop hold the mount lock (`namespace_sem`).
//! - The kernel takes milliseconds to show `/proc/PID/cgroup` for a deeply nested cgroup.

use std::cell::Cell;
use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, Result};
use rustix::time::{ClockId, clock_gettime};

use super::blocked;
use super::sys::{MAX_MOUNTINFO, open, read_own, read_to_end_by};

/// Maximum time that a scan waits for the `mmap_lock` of other processes.
pub const MEMORY_WAIT: Duration = Duration::from_secs(3);

/// Maximum time that pidns waits for the contents of slow `/proc/PID/cgroup` files.
pub const CGROUP_WAIT: Duration = Duration::from_secs(2);

/// Minimum duration of a call that counts towards a [`WaitLimit`].
const SLOW: Duration = Duration::from_millis(10);

/// Minimum duration of a read of `/proc/PID/cgroup` that counts towards a [`WaitLimit`].
///
/// A read at nesting level 1,900 takes only 8 ms, but thousands of such reads delay a scan. So this
/// minimum is shorter than [`SLOW`].
const SLOW_CGROUP: Duration = Duration::from_millis(1);

/// Once this many processes have blocked pidns, it stops reading process memory.
const MAX_AVOIDED: usize = 3;

thread_local! {
    /// Total time that this thread had spent waiting for a CPU when it last called
    /// [`new_run_delay`].
    static RUN_DELAY: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Limits the total duration of slow calls in all threads of a scan.
#[derive(Debug)]
pub struct WaitLimit {
    limit: Duration,
    /// Minimum duration of a call that counts towards the time limit.
    slow: Duration,
    /// Total duration of the slow calls so far, in nanoseconds.
    waited: AtomicU64,
}

impl WaitLimit {
    pub const fn new(limit: Duration) -> Self {
        Self { limit, slow: SLOW, waited: AtomicU64::new(0) }
    }

    /// Creates a limit on the total time for reading the memory of processes.
    pub fn of_memory() -> Self {
        // Processes that share memory can block pidns one after another. So pidns stops reading
        // process memory after `MAX_AVOIDED` processes have blocked it.
        let is_over = blocked::avoided_count() >= MAX_AVOIDED;
        Self::new(if is_over { Duration::ZERO } else { MEMORY_WAIT })
    }

    /// Creates a limit on the total time for reading `/proc/PID/cgroup` files.
    pub const fn of_cgroups() -> Self {
        Self { slow: SLOW_CGROUP, ..Self::new(CGROUP_WAIT) }
    }

    pub fn is_reached(&self) -> bool {
        Duration::from_nanos(self.waited.load(Ordering::Relaxed)) >= self.limit
    }

    /// Runs `call`, or fails with `EBUSY` if slow calls have used up the time limit.
    pub fn call<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.is_reached() {
            return Err(Errno::BUSY);
        }
        let (started, used_before) = (Instant::now(), cpu_time());
        let result = call();
        let elapsed = started.elapsed();
        if elapsed >= self.slow {
            let used = cpu_time().saturating_sub(used_before);
            // `new_run_delay` can include delays from before this call, so `elapsed` minus this
            // delay can be too small. Use the CPU time of this call as a lower bound.
            let waited = elapsed.saturating_sub(new_run_delay()).max(used);
            let waited = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
            self.waited.fetch_add(waited, Ordering::Relaxed);
        }
        result
    }
}

/// Returns the CPU time that this thread has used.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Returns how long this thread has waited for a CPU since it last called this function.
fn new_run_delay() -> Duration {
    let text = read_own(c"thread-self/schedstat").unwrap_or_default();
    let delay = std::str::from_utf8(&text).ok().and_then(|it| it.split(' ').nth(1)?.parse().ok());
    let delay = Duration::from_nanos(delay.unwrap_or_default());
    delay.saturating_sub(RUN_DELAY.replace(delay))
}

/// Reads the first `limit` bytes of a file, and returns `false` if the file is longer.
pub fn read_at_most(
    dir: BorrowedFd<'_>,
    name: &CStr,
    limit: usize,
    buffer: &mut Vec<u8>,
    waits: &WaitLimit,
) -> Result<bool> {
    let file = open(dir, name)?;
    buffer.clear();
    let mut page = [0; 4096];
    while buffer.len() <= limit {
        // For a file such as `/proc/PID/cmdline`, the kernel may wait for the `mmap_lock` at each
        // page. So the read of each page counts towards the wait limit.
        let read = waits.call(|| rustix::io::read(&file, &mut page))?;
        if read == 0 {
            return Ok(true);
        }
        buffer.extend_from_slice(&page[..read]);
    }
    buffer.truncate(limit);
    Ok(false)
}

/// Reads an open `mountinfo` file to its end, or fails with `EBUSY` at the time limit.
pub fn read_mountinfo(file: &OwnedFd, buffer: &mut Vec<u8>, waits: &WaitLimit) -> Result<()> {
    read_to_end_by(buffer, MAX_MOUNTINFO, |buffer| {
        waits.call(|| rustix::io::read(file, spare_capacity(buffer)))
    })
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    #[test]
    fn slow_calls_use_up_the_limit() {
        let limit = WaitLimit::new(3 * SLOW);
        for _ in 0..1000 {
            assert_eq!(limit.call(|| Ok(7)), Ok(7));
        }
        assert!(!limit.is_reached());
        let call = || {
            sleep(2 * SLOW);
            Ok(())
        };
        let calls = (0..1000).take_while(|_| limit.call(call).is_ok()).count();
        assert!((1..1000).contains(&calls), "{calls}");
        assert_eq!(limit.call(|| Ok(7)), Err(Errno::BUSY));
    }
}
