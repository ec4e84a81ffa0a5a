//! Converts start times to the clock of the initial time namespace (`time_namespaces(7)`).
//!
//! The kernel adds the offset of the reader's time namespace to the start time in `/proc/PID/stat`,
//! and rounds the sum down to clock ticks. If the offset is not a whole number of ticks, the exact
//! start time is lost.

use std::os::fd::AsFd as _;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::io::{Errno, Result as SysResult};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustix::time::{ClockId, clock_gettime};

use super::nsfs::NamespaceFd;
use super::sys::{namespace_link, own_descriptors, read};
use crate::collect::parse;

/// Inode of the initial time namespace (`PROC_TIME_INIT_INO` in the kernel).
pub const INITIAL_TIME_NAMESPACE: u64 = 0xEFFF_FFFA;

/// Length of a clock tick in user space (`USER_HZ`).
const NANOSECONDS_PER_TICK: i64 = 10_000_000;

/// Offset of the boot-time clock in pidns's time namespace, in nanoseconds.
static OFFSET: OnceLock<Option<i64>> = OnceLock::new();

/// Returns the offset of the boot-time clock in pidns's time namespace.
fn offset() -> Option<i64> {
    *OFFSET.get_or_init(|| read_offset().ok().flatten())
}

/// Enters the initial time namespace if start times cannot be converted exactly.
///
/// Call this function before any start time is read.
pub fn make_exact(find_initial: impl FnOnce() -> Option<NamespaceFd>) {
    OFFSET.get_or_init(|| {
        let offset = read_offset().ok().flatten();
        if offset.is_some_and(is_exact) {
            return offset;
        }
        let kind = Some(LinkNameSpaceType::Time);
        // To enter a time namespace, setns(2) requires `CAP_SYS_ADMIN` and a single-threaded
        // process.
        let enter = |initial: NamespaceFd| move_into_link_name_space(initial.as_fd(), kind).ok();
        find_initial().and_then(enter).map_or(offset, |()| Some(0))
    });
}

/// Returns `true` if subtracting this offset (in nanoseconds) from a start time in /proc always
/// gives the exact start time of the process.
fn is_exact(offset: i64) -> bool {
    // With a negative offset, the kernel shows wrong start times for the oldest processes.
    offset >= 0 && offset % NANOSECONDS_PER_TICK == 0
}

/// Returns `true` if the start times of all processes can be converted exactly.
pub fn shows_all_start_times() -> bool {
    offset().is_some_and(is_exact)
}

/// Converts a start time in `/proc/PID/stat` to the clock of the initial time namespace.
pub fn start_time(shown: u64) -> Option<u64> {
    let offset = offset().filter(|offset| offset % NANOSECONDS_PER_TICK == 0)?;
    // The kernel prints a negative start time as an unsigned number, which is above this limit.
    let shown = i64::try_from(shown).ok().filter(|&it| it <= i64::MAX / NANOSECONDS_PER_TICK)?;
    u64::try_from(shown - offset / NANOSECONDS_PER_TICK).ok()
}

/// Parses the start time from the contents of `/proc/PID/stat`, and converts it with
/// [`start_time`].
pub fn start_time_in(stat: &[u8]) -> Option<u64> {
    start_time(parse::stat(stat)?.start_time?)
}

/// Returns the time since boot in the initial time namespace, if known.
#[must_use]
pub fn uptime() -> Option<Duration> {
    let now = Duration::try_from(clock_gettime(ClockId::Boottime)).ok()?;
    let offset = offset()?;
    let shift = Duration::from_nanos(offset.unsigned_abs());
    if offset < 0 { now.checked_add(shift) } else { now.checked_sub(shift) }
}

/// Returns the time since boot in clock ticks, like the start time of a process that starts now.
pub fn ticks() -> Option<u64> {
    let tick = u128::try_from(NANOSECONDS_PER_TICK).ok()?;
    u64::try_from(uptime()?.as_nanos() / tick).ok()
}

/// Reads the boot-time offset of pidns's own time namespace, if the kernel shows it.
fn read_offset() -> SysResult<Option<i64>> {
    let descriptors = own_descriptors()?;
    let current = match namespace_link(descriptors, c"../ns/time", "time") {
        Err(Errno::NOENT) => return Ok(Some(0)), // before Linux 5.6
        other => other?,
    };
    if current == Some(INITIAL_TIME_NAMESPACE) {
        return Ok(Some(0));
    }
    // `timens_offsets` shows the offset of `time_for_children`, not of pidns's own namespace.
    if namespace_link(descriptors, c"../ns/time_for_children", "time")? != current {
        return Ok(None);
    }
    let mut text = Vec::new();
    read(descriptors, c"../timens_offsets", &mut text)?;
    Ok(parse::boottime_offset(&text))
}
