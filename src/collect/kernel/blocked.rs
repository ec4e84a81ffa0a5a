//! Notices if the kernel blocks pidns while it reads a process, and avoids such reads afterwards.
//!
//! A process can hold one of its locks in the kernel forever with the help of a FUSE file system
//! that does not answer: `exec_update_lock` while `execve(2)` closes a file on that file system, or
//! `mmap_lock` while the process unmaps memory that the file system must write back. Processes that
//! share their memory and fork in a loop can keep the `mmap_lock` of this memory busy for a long
//! time. Reads of most files in `/proc/PID` wait for these locks without a time limit, and so does
//! `kcmp(2)`. pidns can't know in advance whether a process holds a lock. Only a fatal signal or
//! `execve(2)` ends the wait. So pidns executes itself. The new program is told which processes
//! have blocked the old one, and reads only the [`LOCK_FREE`] files of these processes.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::io::{Errno, Result};
use rustix::time::{ClockId, clock_gettime};

use crate::model::Pid;

/// Time between two checks.
const TICK: Duration = Duration::from_secs(1);

/// Number of consecutive checks that must find pidns blocked before [`HANDLER`] is called.
const TICKS: u32 = 10;

/// Replaces [`TICKS`] if a process has blocked pidns before.
const FEWER_TICKS: u32 = 3;

/// Files in `/proc/PID` that can be read without waiting for a lock that the process can hold
/// forever.
const LOCK_FREE: [&[u8]; 4] = [b"cgroup", b"limits", b"mountinfo", b"status"];

/// Processor time that pidns may use between two checks and still count as blocked. The checks
/// themselves took up to 6 ms in a virtual machine. A pidns that is not blocked uses much more.
const IDLE: Duration = Duration::from_millis(50);

/// One entry for each thread that has read a process.
static READERS: Mutex<Vec<Arc<Reader>>> = Mutex::new(Vec::new());

/// The function that is called if a process blocks pidns, set by [`when_blocked`].
static HANDLER: OnceLock<Handler> = OnceLock::new();

/// Processes that have blocked pidns before.
static AVOIDED: OnceLock<BTreeSet<Pid>> = OnceLock::new();

type Handler = Box<dyn Fn(BTreeSet<Pid>) + Send + Sync>;

thread_local! {
    /// The entry of this thread in [`READERS`].
    static READER: Arc<Reader> = register();
}

/// The processes that a thread is reading. A PID of 0 means that there is no such process.
#[derive(Default)]
struct Reader {
    /// The lower 32 bits are the PID of the process. The upper 32 bits are the number of
    /// [`Reading`]s that the thread has not dropped yet.
    read: AtomicU64,
    /// PID of the process with which the thread compares the process that it is reading.
    compared: AtomicU32,
}

/// Marks this thread as reading a process until the value is dropped.
pub struct Reading {
    pid: u64,
    /// The process that the thread was reading before, or 0.
    outer_pid: u64,
    /// The entry belongs to this thread, so a `Reading` can't be sent to another thread.
    not_send: PhantomData<*const ()>,
}

impl Reading {
    pub fn of(pid: Pid) -> Self {
        let pid = u64::from(pid.as_u32());
        let outer = READER.with(|reader| {
            let outer = reader.read.load(Ordering::Relaxed);
            reader.read.store(entry((outer >> 32) + 1, pid), Ordering::Relaxed);
            outer
        });
        Self { pid, outer_pid: pid_of(outer), not_send: PhantomData }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // When a thread ends, its entry may be dropped before its last `Reading`. In this case,
        // there is nothing to update.
        let _ = READER.try_with(|reader| {
            let current = reader.read.load(Ordering::Relaxed);
            let count = (current >> 32).saturating_sub(1);
            // `reading = Reading::of(pid)` creates the new `Reading` before it drops the old one.
            // In this case, the entry must keep the PID of the new `Reading`.
            let is_innermost = pid_of(current) == self.pid && self.outer_pid != 0;
            let pid = if is_innermost { self.outer_pid } else { pid_of(current) };
            reader.read.store(entry(count, pid), Ordering::Relaxed);
        });
    }
}

/// Compares the process that this thread is reading with another process.
pub fn comparing<T>(other: Pid, compare: impl FnOnce() -> T) -> T {
    READER.with(|reader| {
        reader.compared.store(other.as_u32(), Ordering::Relaxed);
        let result = compare();
        reader.compared.store(0, Ordering::Relaxed);
        result
    })
}

fn entry(count: u64, pid: u64) -> u64 {
    if count == 0 { 0 } else { count << 32 | pid }
}

fn pid_of(entry: u64) -> u64 {
    entry & u64::from(u32::MAX)
}

fn register() -> Arc<Reader> {
    let reader = Arc::<Reader>::default();
    let mut readers = readers();
    // Remove the entries of threads that have ended.
    readers.retain(|it| Arc::strong_count(it) > 1);
    readers.push(Arc::clone(&reader));
    reader
}

fn readers() -> MutexGuard<'static, Vec<Arc<Reader>>> {
    READERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the function that is called with the processes that block pidns. The function must end or
/// execute pidns. Without such a function, pidns waits for as long as it is blocked.
///
/// `avoided` are processes that have blocked pidns before it executed itself.
pub fn when_blocked(
    avoided: BTreeSet<Pid>,
    handle: impl Fn(BTreeSet<Pid>) + Send + Sync + 'static,
) {
    let _ = AVOIDED.set(avoided);
    let _ = HANDLER.set(Box::new(handle));
}

/// Returns the number of processes that have blocked pidns before.
pub fn avoided() -> usize {
    AVOIDED.get().map_or(0, BTreeSet::len)
}

/// Fails with `EBUSY` if the process has blocked pidns before.
pub fn check(pid: Pid) -> Result<()> {
    match AVOIDED.get() {
        Some(avoided) if avoided.contains(&pid) => Err(Errno::BUSY),
        _ => Ok(()),
    }
}

/// Fails with `EBUSY` if this thread is reading a process that has blocked pidns before, and the
/// file is not one of [`LOCK_FREE`].
pub fn check_file(path: &[u8]) -> Result<()> {
    if avoided() == 0 {
        return Ok(());
    }
    let is_lock_free =
        path.rsplit(|&byte| byte == b'/').next().is_some_and(|name| LOCK_FREE.contains(&name));
    let pid = READER.with(|reader| pid_of(reader.read.load(Ordering::Relaxed)));
    match u32::try_from(pid).ok().and_then(Pid::new) {
        Some(pid) if !is_lock_free => check(pid),
        _ => Ok(()),
    }
}

/// Starts the thread that watches for blocked reads, unless it is running. After this call, pidns
/// can't enter a time namespace, because the kernel allows that only to single-threaded processes.
pub fn watch() {
    static STARTED: Once = Once::new();
    let Some(handle) = HANDLER.get() else { return };
    STARTED.call_once(|| {
        // Block all signals while the new thread is created. The new thread inherits this signal
        // mask, so signals are delivered only to the other threads.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
        // If no thread can be started (RLIMIT_NPROC), blocked reads are not noticed.
        let _ = thread::Builder::new().spawn(move || handle(wait_until_blocked()));
        if let Ok(mask) = mask {
            let _ = mask.thread_set_mask();
        }
    });
}

/// Waits until [`TICKS`] consecutive checks have found pidns blocked, or [`FEWER_TICKS`] if a
/// process has blocked pidns before. Returns the processes that pidns is reading.
///
/// A check finds pidns blocked if pidns is still reading the same processes as at the last check,
/// and has used almost no processor time in between. The checks are counted, because a time limit
/// would also expire while pidns is stopped or frozen.
fn wait_until_blocked() -> BTreeSet<Pid> {
    let enough = if avoided() == 0 { TICKS } else { FEWER_TICKS };
    let (mut used, mut reading, mut ticks) = (processor_time(), BTreeSet::new(), 0);
    while ticks < enough {
        thread::sleep(TICK);
        let (used_now, reading_now) = (processor_time(), being_read());
        let is_blocked = !reading_now.is_empty()
            && reading_now == reading
            && used_now.saturating_sub(used) < IDLE;
        ticks = if is_blocked { ticks + 1 } else { 0 };
        (used, reading) = (used_now, reading_now);
    }
    reading
}

/// Returns the processes that are being read.
fn being_read() -> BTreeSet<Pid> {
    let readers = readers();
    // Ignore the entries of threads that have ended.
    let readers: Vec<_> = readers.iter().filter(|it| Arc::strong_count(it) > 1).collect();
    let read = readers.iter().map(|it| pid_of(it.read.load(Ordering::Relaxed)));
    let compared = readers.iter().map(|it| it.compared.load(Ordering::Relaxed));
    let pids = read.filter_map(|pid| u32::try_from(pid).ok()).chain(compared);
    pids.filter_map(Pid::new).collect()
}

/// Returns the processor time that all threads of pidns have used.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_end_in_any_order() {
        let pid = |raw| Pid::new(raw).unwrap();
        let outer = Reading::of(pid(4_000_001));
        let inner = Reading::of(pid(4_000_002));
        assert!(being_read().contains(&pid(4_000_002)));
        drop(outer);
        assert!(being_read().contains(&pid(4_000_002)));
        drop(inner);
        let left = being_read();
        assert!(!left.contains(&pid(4_000_001)) && !left.contains(&pid(4_000_002)));
    }
}
