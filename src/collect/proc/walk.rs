//! Reads many processes in parallel.

use std::os::fd::AsFd;
use std::sync::mpsc::{self, Receiver, Sender, TrySendError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Result as SysResult;
use rustix::process::{Resource, getrlimit};

use super::findings::ScanFindings;
use super::scan::{Scan, Target};
use super::worker::Worker;
use crate::collect::kernel::blocked;
use crate::collect::registry::descriptors_for_reading;
use crate::model::Pid;

/// Maximum number of processes in a batch, a trade-off between even load and overhead.
const MAX_BATCH: usize = 32;

/// Minimum batch size for processes that are slow to read (see [`read`]).
const MIN_BATCH: usize = 16;

/// Number of batches that can be queued for each helper thread.
const WAITING_BATCHES: usize = 4;

/// Delay before helper threads start, long enough to scan an idle host without them.
const HELPERS_AFTER: Duration = Duration::from_millis(1);

/// Size to which pidns enlarges its descriptor table before it starts helper threads (see
/// [`grow_descriptor_table`]).
const DESCRIPTORS: u64 = 4096;

/// Maximum number of file descriptors that one thread has open at a time.
const DESCRIPTORS_PER_THREAD: u64 = 16;

type Batch = Vec<Target>;

/// Reads every process that the procfs lists, and sorts the result by PID.
pub fn walk(scan: Scan<'_>) -> SysResult<ScanFindings> {
    read_batches(scan, MAX_BATCH, scan.procfs.pids()?)
}

/// Reads the given processes, and sorts the result by PID.
pub fn read(scan: Scan<'_>, pids: &[Pid]) -> ScanFindings {
    // These processes are slow to read, so use smaller batches.
    let size = (pids.len() / 8).clamp(MIN_BATCH, MAX_BATCH);
    // `read_batches` fails here only if pidns has stopped waiting for this thread. In this case,
    // the result is not used.
    read_batches(scan, size, pids.iter().map(|&pid| Ok(pid))).unwrap_or_default()
}

/// Reads processes while the calling thread still lists their PIDs.
fn read_batches(
    scan: Scan<'_>,
    size: usize,
    mut pids: impl Iterator<Item = SysResult<Pid>>,
) -> SysResult<ScanFindings> {
    let mut next_batch = || -> SysResult<Batch> {
        blocked::check_wanted()?;
        pids.by_ref().take(size).map(|pid| pid.map(Target::from)).collect()
    };
    let (mut worker, started) = (Worker::new(scan), Instant::now());
    while started.elapsed() < HELPERS_AFTER {
        let batch = next_batch()?;
        let is_last = batch.len() < size;
        worker.read(batch);
        if is_last {
            return Ok(sorted(worker.finish()));
        }
    }
    let helpers = helper_count(scan);
    let (sender, receiver) = mpsc::sync_channel(WAITING_BATCHES * helpers);
    let batches = Mutex::new(receiver);
    let help = || read_received(Worker::new(scan), &batches);
    thread::scope(|scope| {
        // If a helper thread can't be started, the other threads do its work.
        let start = |_| blocked::spawn_scoped(scope, help).ok();
        let helpers: Vec<_> = (0..helpers).filter_map(start).collect();
        loop {
            let batch = next_batch()?;
            if batch.is_empty() {
                break;
            }
            // If the queue is full, this thread reads the batch itself.
            match sender.try_send(batch) {
                Ok(()) => {}
                Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => {
                    worker.read(batch);
                }
            }
        }
        drop(sender);
        let mut found = read_received(worker, &batches);
        for helper in helpers {
            // A panic aborts pidns, so `join` does not fail.
            found.merge(helper.join().unwrap_or_default());
        }
        Ok(sorted(found))
    })
}

/// The processes that one call of `list` covers (see [`read_while_listing`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All processes.
    Whole,
    /// One half of the processes: every second block of PIDs.
    First,
    /// The other half of the processes.
    Second,
}

/// Calls `list` once for all processes, or once for each half of the processes. Reads each process
/// as soon as it is listed.
///
/// Returns the results of the calls, and the processes sorted by PID.
pub fn read_while_listing<T: Send>(
    scan: Scan<'_>,
    list: impl Fn(Share, &dyn Fn(Target)) -> T + Sync,
) -> (Vec<T>, ScanFindings) {
    let (sender, receiver) = mpsc::channel::<Batch>();
    let batches = &Mutex::new(receiver);
    // The receiver outlives all senders, so `send` does not fail.
    let list = &|share, sender: Sender<Batch>| list(share, &|target| _ = sender.send(vec![target]));
    thread::scope(|scope| {
        let mut helpers = Vec::new();
        for _ in 0..helper_count(scan) {
            // Sending a `Sender` through `start` tells the helper thread to list half of the
            // processes before it reads any. If `start` is dropped, the helper thread only reads
            // processes.
            let (start, started) = mpsc::channel();
            let help = move || {
                let listed = started.recv().ok().map(|sender| list(Share::Second, sender));
                (listed, read_received(Worker::new(scan), batches))
            };
            if let Ok(helper) = blocked::spawn_scoped(scope, help) {
                helpers.push((start, helper));
            }
        }
        // If a helper thread lists the second half, this thread lists the first half.
        let share = match helpers.first() {
            Some((start, _)) if start.send(sender.clone()).is_ok() => Share::First,
            _ => Share::Whole,
        };
        let helpers: Vec<_> = helpers.into_iter().map(|(_, helper)| helper).collect();
        let mut listed = vec![list(share, sender)];
        let mut found = read_received(Worker::new(scan), batches);
        for helper in helpers {
            // A panic aborts pidns, so `join` does not fail.
            let Ok((theirs, read)) = helper.join() else { continue };
            listed.extend(theirs);
            found.merge(read);
        }
        (listed, sorted(found))
    })
}

/// Reads batches until every sender has been dropped.
fn read_received(mut worker: Worker<'_>, batches: &Mutex<Receiver<Batch>>) -> ScanFindings {
    let next = || batches.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(batch) = next() {
        worker.read(batch);
    }
    worker.finish()
}

/// Sorts the processes by PID.
fn sorted(mut found: ScanFindings) -> ScanFindings {
    // A stable sort is fast, because the list consists of a few sorted runs.
    found.processes.sort_by_key(|process| process.pid);
    found
}

/// Returns the number of helper threads, and enlarges the descriptor table for them.
fn helper_count(scan: Scan<'_>) -> usize {
    // More than eight threads would contend with each other in the kernel.
    let useful = thread::available_parallelism().map_or(1, |cores| cores.get().min(8));
    let affordable = descriptors_for_reading() / DESCRIPTORS_PER_THREAD;
    let threads = usize::try_from(affordable).unwrap_or(useful).clamp(1, useful);
    if threads > 1 {
        grow_descriptor_table(scan.procfs.fd());
    }
    threads - 1
}

/// Enlarges the descriptor table of this process. Must be called before other threads start.
///
/// In a process with several threads, the kernel waits a few milliseconds each time the descriptor
/// table grows.
pub fn grow_descriptor_table(fd: impl AsFd) {
    let limit = getrlimit(Resource::Nofile).current.map_or(DESCRIPTORS, |it| it.min(DESCRIPTORS));
    if let Some(last) = limit.checked_sub(1).and_then(|last| i32::try_from(last).ok()) {
        let _ = rustix::io::fcntl_dupfd_cloexec(fd, last);
    }
}
