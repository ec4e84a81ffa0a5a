//! Ends pidns if the kernel blocks a read of a process for too long.
//!
//! A process can hold one of its locks in the kernel forever with the help of a FUSE file system
//! that does not answer: `exec_update_lock` while `execve(2)` closes a file on that file system, or
//! `mmap_lock` while the process unmaps memory that the file system must write back. Reads of most
//! files in `/proc/PID` wait for these locks without a time limit, and so does `kcmp(2)`. pidns
//! can't know in advance whether a process holds a lock. Only a fatal signal ends the wait, so
//! pidns can't give up the read and go on.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::time::{ClockId, clock_gettime};

use crate::collect::error::Error;
use crate::model::Pid;

/// Time between two checks.
const TICK: Duration = Duration::from_secs(1);

/// Number of consecutive checks that must find pidns blocked before pidns ends with an error.
const TICKS: u32 = 10;

/// Processor time that pidns may use between two checks and still count as blocked. The checks
/// themselves took up to 6 ms in a virtual machine. A pidns that is not blocked uses much more.
const IDLE: Duration = Duration::from_millis(50);

/// One entry for each thread that has read a process. The lower half of an entry is the PID of the
/// process that the thread is reading. The upper half is the number of [`Reading`]s that the thread
/// has not dropped yet.
static READERS: Mutex<Vec<Arc<AtomicU64>>> = Mutex::new(Vec::new());

/// The function that ends pidns if a process blocks it, set by [`when_blocked`].
static HANDLER: OnceLock<Box<dyn Fn(Error) + Send + Sync>> = OnceLock::new();

thread_local! {
    /// The entry of this thread in [`READERS`].
    static READER: Arc<AtomicU64> = register();
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
            let outer = reader.load(Ordering::Relaxed);
            reader.store(entry((outer >> 32) + 1, pid), Ordering::Relaxed);
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
            let current = reader.load(Ordering::Relaxed);
            let count = (current >> 32).saturating_sub(1);
            // `reading = Reading::of(pid)` creates the new `Reading` before it drops the old one.
            // In this case, the entry must keep the PID of the new `Reading`.
            let is_innermost = pid_of(current) == self.pid && self.outer_pid != 0;
            let pid = if is_innermost { self.outer_pid } else { pid_of(current) };
            reader.store(entry(count, pid), Ordering::Relaxed);
        });
    }
}

fn entry(count: u64, pid: u64) -> u64 {
    if count == 0 { 0 } else { count << 32 | pid }
}

fn pid_of(entry: u64) -> u64 {
    entry & u64::from(u32::MAX)
}

fn register() -> Arc<AtomicU64> {
    let reader = Arc::new(AtomicU64::new(0));
    let mut readers = readers();
    // Remove the entries of threads that have ended.
    readers.retain(|it| Arc::strong_count(it) > 1);
    readers.push(Arc::clone(&reader));
    reader
}

fn readers() -> MutexGuard<'static, Vec<Arc<AtomicU64>>> {
    READERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the function that ends pidns if a process blocks it. Without such a function, pidns waits
/// for as long as it is blocked.
pub fn when_blocked(end: impl Fn(Error) + Send + Sync + 'static) {
    let _ = HANDLER.set(Box::new(end));
}

/// Starts the thread that watches for blocked reads, unless it is running. After this call, pidns
/// can't enter a time namespace, because the kernel allows that only to single-threaded processes.
pub fn watch() {
    static STARTED: Once = Once::new();
    let Some(end) = HANDLER.get() else { return };
    STARTED.call_once(|| {
        // Block all signals while the new thread is created. It inherits the signal mask, so
        // signals are still delivered to the other threads only.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
        // If no thread can be started (RLIMIT_NPROC), blocked reads are not noticed.
        let _ = thread::Builder::new().spawn(move || end(wait_until_blocked()));
        if let Ok(mask) = mask {
            let _ = mask.thread_set_mask();
        }
    });
}

/// Waits until pidns has been blocked for [`TICKS`] checks.
///
/// A check finds pidns blocked if pidns is still reading the same processes as at the last check,
/// and has used almost no processor time in between. The checks are counted, because a time limit
/// would also expire while pidns is stopped or frozen.
fn wait_until_blocked() -> Error {
    let (mut used, mut reading, mut ticks) = (processor_time(), BTreeSet::new(), 0);
    while ticks < TICKS {
        thread::sleep(TICK);
        let (used_now, reading_now) = (processor_time(), being_read());
        let is_blocked = !reading_now.is_empty()
            && reading_now == reading
            && used_now.saturating_sub(used) < IDLE;
        ticks = if is_blocked { ticks + 1 } else { 0 };
        (used, reading) = (used_now, reading_now);
    }
    Error::Blocked(reading.into_iter().collect())
}

/// Returns the processes that are being read.
fn being_read() -> BTreeSet<Pid> {
    let readers = readers();
    let entries = readers.iter().map(|it| it.load(Ordering::Relaxed));
    let pids = entries.filter_map(|it| u32::try_from(pid_of(it)).ok());
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
