//! The walk over /proc: every process once, by as many threads as help. How
//! one process is read is not decided here.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::RawDir;
use rustix::io::Result as SysResult;
use rustix::process::{Resource, getrlimit};

use super::findings::Findings;
use super::mount::Procfs;
use super::scan::{Scan, Target};
use super::worker::Worker;
use crate::collect::kernel::sys::open_dir;
use crate::collect::parse;
use crate::collect::registry::descriptors_for_reading;
use crate::model::Pid;

/// Processes handed to a thread at a time: large enough that taking them costs
/// nothing, small enough that the other threads do not wait long for one slow batch.
const BATCH: usize = 32;

/// The least, of a list of processes that are all worth a look.
const MIN_BATCH: usize = 16;

/// How long one thread reads before others are started. That takes some tenths of a
/// millisecond, and less where there is little to read: an idle host is done before.
const ALONE: Duration = Duration::from_millis(1);

/// Descriptors that the table of them is made ready for before threads start.
const DESCRIPTORS: u64 = 4096;

/// Descriptors that a thread has open at a time, at most.
const DESCRIPTORS_OF_A_THREAD: u64 = 16;

/// Reads every process; they come sorted by PID.
///
/// # Errors
/// /proc cannot be listed.
pub fn walk(scan: Scan<'_>) -> SysResult<Findings> {
    let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
    // A descriptor of its own, as it has a position of its own.
    let listing = Listing(RawDir::new(open_dir(scan.procfs.fd(), c".")?, &mut buffer));
    read_batches(scan, BATCH, listing)
}

/// Reads certain processes; they come sorted by PID.
pub fn read(scan: Scan<'_>, pids: &[Pid]) -> Findings {
    // None of these is read quickly, so that less of them is worth a thread.
    let size = (pids.len() / 8).clamp(MIN_BATCH, BATCH);
    // A list does not fail.
    read_batches(scan, size, pids.iter().copied()).unwrap_or_default()
}

/// Reads the processes that somebody names, while they are being named; they
/// come sorted by PID. Two threads name them, or where there is but one, that
/// does: whoever names them can tell by how many threads there are.
pub fn read_while<T: Send>(
    scan: Scan<'_>,
    name: impl Fn(&Namer<'_>) -> T + Sync,
) -> (Vec<T>, Findings) {
    let (queue, name) = (Queue::default(), &name);
    let (list, one, other) = (Mutex::new(&queue), queue.namer(), queue.namer());
    // The queue ends once both have gone.
    let first = move || name(&one);
    let (named, found) = by_threads(scan, MIN_BATCH, &list, first, Some(move || name(&other)));
    // A queue does not fail.
    (named, sorted(found.unwrap_or_default()))
}

/// The PIDs of all processes.
///
/// # Errors
/// /proc cannot be listed.
pub fn list(procfs: &Procfs) -> SysResult<Vec<Pid>> {
    let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
    let mut listing = Listing(RawDir::new(open_dir(procfs.fd(), c".")?, &mut buffer));
    let (mut pids, mut batch) = (Vec::new(), Vec::new());
    loop {
        listing.next_batch(&mut batch, BATCH)?;
        if batch.is_empty() {
            return Ok(pids);
        }
        pids.extend(batch.iter().map(|target| target.pid));
    }
}

/// Reads all processes that there are in a list, in batches of that size.
///
/// # Errors
/// The list fails.
fn read_batches(scan: Scan<'_>, size: usize, list: impl Batches + Send) -> SysResult<Findings> {
    let list = Mutex::new(list);
    let mut batch = Vec::with_capacity(size);
    let (mut worker, begun) = (Worker::new(scan), Instant::now());
    while begun.elapsed() < ALONE {
        next_batch(&list, &mut batch, size)?;
        let is_all = batch.len() < size;
        worker.batch(&mut batch);
        if is_all {
            return Ok(sorted(worker.finish()));
        }
    }
    let first = || worker.finish();
    let (done, found) = by_threads(scan, size, &list, first, None::<fn() -> Findings>);
    let mut found = found?;
    for done in done {
        found.merge(done);
    }
    Ok(sorted(found))
}

/// Reads all processes that there are in a list by as many threads as help.
/// This one is among them once it has done something else; where there is
/// another, it does the second thing before.
///
/// Returns what these returned, and what was found, unless the list fails.
fn by_threads<T: Send>(
    scan: Scan<'_>,
    size: usize,
    list: &Mutex<impl Batches + Send>,
    first: impl FnOnce() -> T,
    second: Option<impl FnOnce() -> T + Send>,
) -> (Vec<T>, SysResult<Findings>) {
    let work = || {
        let mut worker = Worker::new(scan);
        let mut batch = Vec::with_capacity(size);
        loop {
            next_batch(list, &mut batch, size)?;
            if batch.is_empty() {
                return Ok(worker.finish());
            }
            worker.batch(&mut batch);
        }
    };
    let second = Mutex::new(second);
    let lock_second = || second.lock().unwrap_or_else(PoisonError::into_inner);
    let help = || {
        let second = lock_second().take();
        (second.map(|second| second()), work())
    };
    let threads = threads();
    if threads > 1 {
        grow_descriptor_table(scan.procfs.fd());
    }
    thread::scope(|scope| {
        // They begin when all are there, so that there are as many throughout.
        let mut second = lock_second();
        // Where a thread cannot be had, the others do its work.
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, help).ok();
        let helpers: Vec<_> = (1..threads).filter_map(spawn).collect();
        if helpers.is_empty() {
            *second = None;
        }
        drop(second);
        let mut done = vec![first()];
        let mut found = work();
        for helper in helpers {
            // Unreachable: a panic ends the program.
            let Ok((second, theirs)) = helper.join() else { continue };
            done.extend(second);
            found = found.and_then(|mut found| {
                found.merge(theirs?);
                Ok(found)
            });
        }
        (done, found)
    })
}

/// Each thread found its processes in the order of the listing, so this merges
/// a few sorted runs, which a stable sort does in one pass.
fn sorted(mut found: Findings) -> Findings {
    found.processes.sort_by_key(|process| process.pid);
    found
}

/// How many threads read: more than a few wait for each other in the kernel,
/// and each needs descriptors.
fn threads() -> usize {
    let useful = thread::available_parallelism().map_or(1, |cores| cores.get().min(8));
    let affordable = descriptors_for_reading() / DESCRIPTORS_OF_A_THREAD;
    usize::try_from(affordable).unwrap_or(useful).clamp(1, useful)
}

/// Makes the kernel's table of this process's descriptors large enough for a
/// host with many namespaces, each of which is held open. Every time that the
/// table of a process with threads doubles (at 64, 128, 256 … descriptors),
/// the kernel waits for an RCU grace period, which takes some milliseconds;
/// in a process of one thread it does not wait.
fn grow_descriptor_table(fd: impl AsFd) {
    let limit = getrlimit(Resource::Nofile).current.map_or(DESCRIPTORS, |it| it.min(DESCRIPTORS));
    // The lowest free number from there on is taken, and given back at once.
    // Where that fails, the table grows as it is needed.
    if let Some(last) = limit.checked_sub(1).and_then(|last| i32::try_from(last).ok()) {
        let _ = rustix::io::fcntl_dupfd_cloexec(fd, last);
    }
}

/// A list of processes that is handed out bit by bit.
trait Batches {
    /// The next few, at most so many; none at the end.
    ///
    /// # Errors
    /// The list cannot be read on.
    fn next_batch(&mut self, batch: &mut Vec<Target>, most: usize) -> SysResult<()>;
}

/// The next few of a list that threads share.
///
/// # Errors
/// As of the list.
fn next_batch(list: &Mutex<impl Batches>, batch: &mut Vec<Target>, most: usize) -> SysResult<()> {
    list.lock().unwrap_or_else(PoisonError::into_inner).next_batch(batch, most)
}

/// The numbers in /proc.
struct Listing<'a>(RawDir<'a, OwnedFd>);

impl Batches for Listing<'_> {
    fn next_batch(&mut self, batch: &mut Vec<Target>, most: usize) -> SysResult<()> {
        batch.clear();
        while batch.len() < most
            && let Some(entry) = self.0.next()
        {
            let pid = parse::entry(entry?.file_name().to_bytes()).and_then(Pid::new);
            batch.extend(pid.map(Target::from));
        }
        Ok(())
    }
}

/// What somebody still names. It ends when nobody will any more. A channel of the
/// standard library does the same with 16 kB more of code: it comes in three kinds,
/// and each use of it in all of them.
#[derive(Default)]
struct Queue {
    named: Mutex<Named>,
    changed: Condvar,
}

#[derive(Default)]
struct Named {
    targets: VecDeque<Target>,
    namers: usize,
}

/// Who names processes to be read.
pub struct Namer<'a>(&'a Queue);

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Named> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn namer(&self) -> Namer<'_> {
        self.lock().namers += 1;
        Namer(self)
    }
}

impl Namer<'_> {
    /// Names a process.
    pub fn name(&self, target: Target) {
        let mut named = self.0.lock();
        named.targets.push_back(target);
        // Who waits did so because there was none.
        if named.targets.len() == 1 {
            self.0.changed.notify_one();
        }
    }
}

impl Drop for Namer<'_> {
    fn drop(&mut self) {
        self.0.lock().namers -= 1;
        self.0.changed.notify_all();
    }
}

impl Batches for &Queue {
    fn next_batch(&mut self, batch: &mut Vec<Target>, most: usize) -> SysResult<()> {
        batch.clear();
        let is_to_come = |named: &mut Named| named.targets.is_empty() && named.namers > 0;
        let named = self.changed.wait_while(self.lock(), is_to_come);
        let mut named = named.unwrap_or_else(PoisonError::into_inner);
        let count = most.min(named.targets.len());
        batch.extend(named.targets.drain(..count));
        Ok(())
    }
}

impl<I: Iterator<Item = Pid>> Batches for I {
    fn next_batch(&mut self, batch: &mut Vec<Target>, most: usize) -> SysResult<()> {
        batch.clear();
        batch.extend(self.take(most).map(Target::from));
        Ok(())
    }
}
