//! Reads processes in threads that pidns abandons if they are blocked.
//!
//! If a FUSE file system does not answer, a process can hold these kernel locks forever:
//!
//! - `exec_update_lock`, while `execve(2)` closes a file on the file system
//! - `mmap_lock`, while the process unmaps memory that must be written back to the file system
//!
//! Processes that share an address space and fork in a loop can cause long waits for `mmap_lock`.
//!
//! Most reads in `/proc/PID`, and `kcmp(2)`, wait for these locks without a time limit. Only a
//! fatal signal to pidns, or an `execve(2)` of pidns, ends the wait. pidns cannot test if a process
//! holds a lock.
//!
//! After a process has blocked a thread, pidns avoids that process: it reads only the [`LOCK_FREE`]
//! files of the process. Otherwise, the process could block every snapshot of `pidns watch`.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rustix::io::{Errno, Result};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::model::Pid;

/// Interval at which [`attempt`] checks whether its thread makes progress.
const TICK: Duration = Duration::from_secs(1);

/// Number of consecutive checks without progress after which [`attempt`] abandons its work.
const TICKS: u32 = 10;

/// Replaces [`TICKS`] while pidns avoids a process that has blocked an earlier [`attempt`].
const FEWER_TICKS: u32 = 3;

/// Time for which pidns avoids a process after the end of the pidns thread that the process had
/// blocked.
const AVOIDANCE: Duration = Duration::from_secs(300);

/// Files in `/proc/PID` that can be read without `exec_update_lock` and `mmap_lock`.
const LOCK_FREE: [&[u8]; 4] = [b"cgroup", b"limits", b"mountinfo", b"status"];

/// If pidns uses less CPU time than this per [`TICK`], its worker threads may be blocked.
///
/// The value must be higher than the CPU time of the checks themselves (up to 6 ms).
const IDLE: Duration = Duration::from_millis(50);

/// Lists each abandoned call to [`attempt`] while pidns still avoids the process that blocked the
/// call.
static ABANDONED: Mutex<Vec<Abandoned>> = Mutex::new(Vec::new());

/// Number of processes in [`ABANDONED`].
static AVOIDED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The processes that this thread is reading.
    static READER: Arc<Reader> = Arc::default();

    /// The work that this thread does for a caller of [`attempt`], if any.
    static WORK: OnceCell<Arc<Work>> = const { OnceCell::new() };
}

/// The error of an [`attempt`] that a process has blocked.
pub struct Blocked {
    /// The processes whose /proc files the blocked threads were reading.
    pub by: BTreeSet<Pid>,
    /// `true` if `by` contains a process that pidns was not avoiding yet. A retry can succeed,
    /// because it will avoid this process.
    pub is_new: bool,
}

/// Work that one or more threads do for a caller of [`attempt`].
#[derive(Default)]
struct Work {
    is_abandoned: AtomicBool,
    /// One [`Reader`] for each worker thread.
    readers: Mutex<Vec<Arc<Reader>>>,
    /// Functions that release the resources of blocked threads, such as open descriptors.
    releases: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

/// Work that pidns has abandoned because a process blocked the worker threads.
struct Abandoned {
    /// The processes whose /proc files the blocked threads were reading.
    by: BTreeSet<Pid>,
    /// A channel that is disconnected when the abandoned threads have ended.
    end: Receiver<Infallible>,
    /// The time when pidns noticed that the abandoned threads had ended.
    ended: Option<Instant>,
}

/// The one or two processes that a thread is reading (PID 0 means no process).
#[derive(Default)]
struct Reader {
    /// The upper 32 bits count the [`Reading`]s that now exist in this thread. The lower 32 bits
    /// are the PID of the process being read.
    read: AtomicU64,
    /// PID of the second of the two processes that `kcmp(2)` is comparing, or 0 if the thread is
    /// not running `kcmp(2)`.
    compared: AtomicU32,
}

/// Calls `call` in a new thread, or fails with [`Blocked`] if a process blocks the thread.
///
/// Returns `None` if no thread can be started, or if `RLIMIT_AS` limits the address space.
pub fn attempt<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<std::result::Result<T, Blocked>> {
    // The C library reserves 64 MiB of address space for the heap of each thread.
    if getrlimit(Resource::As).current.is_some() {
        return None;
    }
    let work = Arc::<Work>::default();
    let (running, end) = mpsc::channel();
    let entered = Arc::clone(&work);
    let thread = thread::Builder::new().spawn(move || {
        // `Work::wait` notices the end of the thread when the thread drops `running`.
        let _running = running;
        entered.enter();
        call()
    });
    let thread = thread.ok()?;
    Some(match work.wait(&end) {
        None => Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
        Some(by) => {
            // From now on, all reads in the thread fail with `ECANCELED`.
            work.abandon();
            let is_new = by.iter().any(|&pid| !is_avoided(pid));
            let mut abandoned = lock(&ABANDONED);
            abandoned.push(Abandoned { by: by.clone(), end, ended: None });
            count_avoided(&abandoned);
            Err(Blocked { by, is_new })
        }
    })
}

/// Starts a scoped thread that does part of the calling thread's work.
pub fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    call: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    let work = WORK.with(|work| work.get().cloned());
    thread::Builder::new().spawn_scoped(scope, move || {
        if let Some(work) = work {
            work.enter();
        }
        call()
    })
}

/// Registers a function to call if pidns abandons this thread's work.
///
/// The function must not wait for a lock, because the blocked thread may hold the lock.
pub fn when_abandoned(release: impl FnOnce() + Send + 'static) {
    if let Some(work) = WORK.with(|work| work.get().cloned()) {
        lock(&work.releases).push(Box::new(release));
    }
}

/// For each [`attempt`] that is still blocked, returns the set of processes that it was reading.
pub fn still_blocked() -> Vec<BTreeSet<Pid>> {
    let mut abandoned = lock(&ABANDONED);
    let now = Instant::now();
    // Stop avoiding processes once `AVOIDANCE` has elapsed.
    abandoned.retain_mut(|it| it.must_be_avoided(now));
    count_avoided(&abandoned);
    abandoned.iter().filter(|it| it.ended.is_none()).map(|it| it.by.clone()).collect()
}

/// Returns the number of processes that pidns avoids, because reading them has blocked a pidns
/// thread.
pub fn avoided_count() -> usize {
    AVOIDED.load(Ordering::Relaxed)
}

fn count_avoided(abandoned: &[Abandoned]) {
    let avoided: BTreeSet<Pid> = abandoned.iter().flat_map(|it| &it.by).copied().collect();
    AVOIDED.store(avoided.len(), Ordering::Relaxed);
}

fn is_avoided(pid: Pid) -> bool {
    avoided_count() > 0 && lock(&ABANDONED).iter().any(|it| it.by.contains(&pid))
}

/// Fails with `ECANCELED` if this thread's work was abandoned.
pub fn check_wanted() -> Result<()> {
    let is_abandoned = |work: &Arc<Work>| work.is_abandoned.load(Ordering::Relaxed);
    let is_unwanted = WORK.with(|work| work.get().is_some_and(is_abandoned));
    if is_unwanted { Err(Errno::CANCELED) } else { Ok(()) }
}

/// Checks that this thread is allowed to read a process.
///
/// Fails like [`check_wanted`]. Also fails with `EBUSY` if pidns avoids the process, because the
/// process has blocked a thread.
pub fn check(pid: Pid) -> Result<()> {
    check_wanted()?;
    if is_avoided(pid) { Err(Errno::BUSY) } else { Ok(()) }
}

/// Checks that this thread is allowed to open `path`, a file of the process that it is reading.
///
/// Fails like [`check`].
pub fn check_file(path: &[u8]) -> Result<()> {
    check_wanted()?;
    if avoided_count() == 0 {
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

impl Work {
    /// Registers the calling thread as a worker, so that its reads fail after `abandon`.
    fn enter(self: Arc<Self>) {
        READER.with(|reader| lock(&self.readers).push(Arc::clone(reader)));
        // The thread-local `WORK` is still unset in a new thread, so `set` cannot fail.
        WORK.with(|work| _ = work.set(self));
    }

    /// Waits for the work to finish and returns `None`, or returns the processes that are blocking
    /// it.
    fn wait(&self, end: &Receiver<Infallible>) -> Option<BTreeSet<Pid>> {
        let enough = if avoided_count() == 0 { TICKS } else { FEWER_TICKS };
        let (mut used, mut reading, mut ticks) = (Duration::ZERO, BTreeSet::new(), 0);
        // This loop counts the checks instead of measuring the time, because a time limit would
        // also expire while pidns itself is stopped or frozen.
        while ticks < enough {
            if end.recv_timeout(TICK) == Err(RecvTimeoutError::Disconnected) {
                return None;
            }
            let (used_now, reading_now) = (cpu_time(), self.being_read());
            // The threads are blocked if they are still reading the same processes as a tick ago,
            // and pidns has used almost no CPU time since.
            let is_blocked = !reading_now.is_empty()
                && reading_now == reading
                && used_now.saturating_sub(used) < IDLE;
            ticks = if is_blocked { ticks + 1 } else { 0 };
            (used, reading) = (used_now, reading_now);
        }
        Some(reading)
    }

    /// Returns the processes that the worker threads are reading or comparing.
    fn being_read(&self) -> BTreeSet<Pid> {
        let readers = lock(&self.readers);
        let read = readers.iter().map(|it| pid_of(it.read.load(Ordering::Relaxed)));
        let compared = readers.iter().map(|it| it.compared.load(Ordering::Relaxed));
        let pids = read.filter_map(|pid| u32::try_from(pid).ok()).chain(compared);
        pids.filter_map(Pid::new).collect()
    }

    fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Relaxed);
        let releases = std::mem::take(&mut *lock(&self.releases));
        for release in releases {
            release();
        }
    }
}

impl Abandoned {
    /// Returns `true` if pidns must still avoid the processes that blocked this work (the field
    /// `by`).
    fn must_be_avoided(&mut self, now: Instant) -> bool {
        if self.end.try_recv() == Err(TryRecvError::Empty) {
            return true;
        }
        now.duration_since(*self.ended.get_or_insert(now)) < AVOIDANCE
    }
}

/// While this value exists, its thread is marked as reading the /proc files of a process.
pub struct Reading {
    pid: u64,
    /// PID of the process that the thread was reading before, or 0.
    outer_pid: u64,
    /// Makes the type `!Send`, because `drop` updates the `Reader` of the current thread.
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
        // When a thread ends, its `Reader` may be dropped before its last `Reading`.
        let _ = READER.try_with(|reader| {
            let current = reader.read.load(Ordering::Relaxed);
            let count = (current >> 32).saturating_sub(1);
            // An assignment such as `reading = Reading::of(pid)` drops the old `Reading` only after
            // it has created the new one. `drop` must then keep the new PID in `current`.
            let is_innermost = pid_of(current) == self.pid && self.outer_pid != 0;
            let pid = if is_innermost { self.outer_pid } else { pid_of(current) };
            reader.read.store(entry(count, pid), Ordering::Relaxed);
        });
    }
}

/// Runs `compare`, which compares the process being read with the process `other`.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic cannot leave these values half changed, so a poisoned mutex is still usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the CPU time that all threads of pidns have used.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(raw: u32) -> Pid {
        Pid::new(raw).unwrap()
    }

    #[test]
    fn readings_end_in_any_order() {
        let work = Arc::<Work>::default();
        Arc::clone(&work).enter();
        let outer = Reading::of(pid(4_000_001));
        let inner = Reading::of(pid(4_000_002));
        assert_eq!(work.being_read(), [pid(4_000_002)].into());
        drop(outer);
        assert_eq!(work.being_read(), [pid(4_000_002)].into());
        drop(inner);
        assert_eq!(work.being_read(), BTreeSet::new());
    }

    #[test]
    fn the_threads_of_abandoned_work_read_nothing_more() {
        let work = Arc::<Work>::default();
        let (tell, release) = mpsc::channel();
        let (read, has_read) = mpsc::channel::<()>();
        let (abandoned, wait) = mpsc::channel::<()>();
        let entered = Arc::clone(&work);
        let thread = thread::spawn(move || {
            entered.enter();
            when_abandoned(move || tell.send(()).unwrap());
            assert_eq!(check_file(b"stat"), Ok(()));
            drop(read);
            wait.recv().unwrap_err();
            assert_eq!(check(pid(4_000_001)), Err(Errno::CANCELED));
            thread::scope(|scope| {
                let helper = spawn_scoped(scope, || check_file(b"status")).unwrap();
                assert_eq!(helper.join().unwrap(), Err(Errno::CANCELED));
            });
        });
        has_read.recv().unwrap_err();
        work.abandon();
        release.recv().unwrap();
        drop(abandoned);
        thread.join().unwrap();
        assert_eq!(check_file(b"stat"), Ok(()));
    }

    #[test]
    fn a_process_is_avoided_for_some_time_after_it_has_blocked_a_thread() {
        let (running, end) = mpsc::channel();
        let mut abandoned = Abandoned { by: [pid(4_000_001)].into(), end, ended: None };
        let start = Instant::now();
        assert!(abandoned.must_be_avoided(start + 2 * AVOIDANCE));
        assert_eq!(abandoned.ended, None);
        drop(running);
        let noticed = start + 3 * AVOIDANCE;
        assert!(abandoned.must_be_avoided(noticed));
        assert!(abandoned.must_be_avoided(noticed + AVOIDANCE / 2));
        assert!(!abandoned.must_be_avoided(noticed + AVOIDANCE));
    }
}
