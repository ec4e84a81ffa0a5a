//! The walk over /proc: every process once, by as many threads as help.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::fs::RawDir;
use rustix::io::{Errno, Result as SysResult};

use super::holders::Searches;
use super::mount::Procfs;
use super::process::Worker;
use crate::collect::discovery::Discovery;
use crate::collect::parse;
use crate::collect::registry::NamespaceRegistry;
use crate::error::Error;
use crate::model::{NamespaceId, Pid};

/// PIDs handed to a thread at a time: large enough that taking them costs
/// nothing, small enough that one slow batch does not idle the rest.
const BATCH: usize = 128;

/// What the threads of a scan share.
pub struct Scan<'a> {
    /// The /proc to read.
    pub procfs: &'a Procfs,
    /// The namespace whose numbers it speaks in, where that is known beforehand.
    pub namespace: Option<NamespaceId>,
    /// Where else than in `ns/pid` to look.
    pub searches: Searches,
    /// The namespaces met.
    pub registry: &'a NamespaceRegistry,
}

impl Scan<'_> {
    /// Reads every process.
    ///
    /// # Errors
    /// /proc cannot be listed.
    pub fn run(&self) -> Result<Discovery, Error> {
        let failed = |source: Errno| Error::Read {
            path: self.procfs.path.clone(),
            source: io::Error::from(source),
        };
        let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
        let listing = Mutex::new(Listing(RawDir::new(self.procfs.fd(), &mut buffer)));
        let mut batch = Vec::with_capacity(BATCH);
        let next = |batch: &mut Vec<Pid>| {
            listing.lock().unwrap_or_else(PoisonError::into_inner).next_batch(batch)
        };
        next(&mut batch).map_err(failed)?;
        if batch.len() < BATCH {
            // Not worth a thread.
            let mut worker = Worker::new(self);
            worker.batch(&batch);
            return Ok(worker.found);
        }
        let work = |mut batch: Vec<Pid>| {
            let mut worker = Worker::new(self);
            while !batch.is_empty() {
                worker.batch(&batch);
                next(&mut batch)?;
            }
            Ok(worker.found)
        };
        let work = &work;
        let mut found = thread::scope(|scope| {
            let helpers: Vec<_> = (1..threads())
                .filter_map(|_| {
                    let start = move || {
                        let mut batch = Vec::with_capacity(BATCH);
                        next(&mut batch)?;
                        work(batch)
                    };
                    // A thread that cannot be had is not needed either.
                    thread::Builder::new().spawn_scoped(scope, start).ok()
                })
                .collect();
            let mut found = work(batch).map_err(failed)?;
            for helper in helpers {
                // Unreachable: a panic ends the program.
                let Ok(theirs) = helper.join() else { continue };
                found.merge(theirs.map_err(failed)?);
            }
            Ok(found)
        })?;
        // Each thread met its own in order: the stable sort merges such runs.
        found.processes.sort_by_key(|process| process.pid);
        Ok(found)
    }
}

/// How many threads read: more than a few wait for each other in the kernel.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(8))
}

/// The numbers in /proc.
struct Listing<'a>(RawDir<'a, BorrowedFd<'a>>);

impl Listing<'_> {
    /// The next few; none at the end.
    fn next_batch(&mut self, batch: &mut Vec<Pid>) -> SysResult<()> {
        batch.clear();
        while batch.len() < BATCH
            && let Some(entry) = self.0.next()
        {
            batch.extend(parse::entry(entry?.file_name().to_bytes()).and_then(Pid::new));
        }
        Ok(())
    }
}
