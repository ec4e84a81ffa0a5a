//! Reads other processes in a separate thread. If a process blocks that thread, pidns abandons the
//! thread (see `blocked`).

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::error::Error;
use super::kernel::blocked::{self, Blocked};
use crate::model::Pid;

/// Maximum number of threads that are blocked when a scan starts, or that it abandons. If every
/// attempt to take a snapshot is blocked, pidns reaches this maximum after about a minute.
const MAX_BLOCKED: usize = 16;

/// The function that warns the user that a process has blocked pidns, and that pidns tries again.
static WARN: OnceLock<fn(Error)> = OnceLock::new();

/// Sets the function that warns the user if a process has blocked pidns. If no function is set,
/// there is no warning.
pub fn when_blocked(warn: fn(Error)) {
    let _ = WARN.set(warn);
}

/// Calls `start`, runs the function that it returns in a separate thread, and returns the result.
/// If a process blocks the thread, abandons the thread and tries again in a new one. The new thread
/// reads only the lock-free files (see `blocked`) of this process, and of all other processes that
/// pidns avoids.
///
/// While an abandoned thread is blocked, it keeps its memory, which is at most the memory of one
/// scan. There are at most [`MAX_BLOCKED`] such threads.
///
/// # Errors
/// Fails if `start` fails, if a thread is blocked although it reads only lock-free files of the
/// processes that block it, or if [`MAX_BLOCKED`] threads are blocked.
pub fn unless_blocked<T, F>(start: impl Fn() -> Result<F, Error>) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    retry(MAX_BLOCKED, blocked::still_blocked(), || match blocked::attempt(start()?) {
        Some(result) => Ok(result),
        // No thread could be started, so read in this thread. pidns cannot notice if a process
        // blocks it here.
        None => Ok(Ok(start()?())),
    })
}

/// Calls `attempt` until it is not blocked, or `max` threads have been blocked. `blockers` has an
/// entry for each thread that is blocked already.
fn retry<T>(
    max: usize,
    mut blockers: Vec<BTreeSet<Pid>>,
    attempt: impl Fn() -> Result<Result<T, Blocked>, Error>,
) -> Result<T, Error> {
    while blockers.len() < max {
        let Blocked { by, is_new } = match attempt()? {
            Ok(result) => return Ok(result),
            Err(blocked) => blocked,
        };
        if !is_new {
            return Err(Error::Blocked { by, will_retry: false });
        }
        blockers.push(by.clone());
        if let Some(warn) = WARN.get().filter(|_| blockers.len() < max) {
            warn(Error::Blocked { by, will_retry: true });
        }
    }
    Err(Error::Blocked { by: blockers.into_iter().flatten().collect(), will_retry: false })
}
