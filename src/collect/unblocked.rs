//! Reads processes in a separate thread, and replaces the thread if a process blocks it.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::error::Error;
use super::kernel::blocked::{self, Blocked};
use crate::model::Pid;

/// Maximum number of blocked threads, including threads of earlier scans.
const MAX_BLOCKED: usize = 16;

/// The function that warns the user that a process has blocked pidns.
static WARN: OnceLock<fn(Error)> = OnceLock::new();

/// Sets the function that warns the user if a process has blocked pidns.
pub fn when_blocked(warn: fn(Error)) {
    let _ = WARN.set(warn);
}

/// Calls `start`, runs the returned function in a new thread, and returns the function's result.
///
/// If a process blocks that thread, tries again in another thread. This other thread reads only the
/// lock-free files of the blocking process (see `blocked`). A blocked thread keeps its memory until
/// it can continue.
///
/// # Errors
/// Fails if `start` fails, if one process blocks two threads, or if [`MAX_BLOCKED`] threads are
/// blocked.
pub fn unless_blocked<T, F>(start: impl Fn() -> Result<F, Error>) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    retry(MAX_BLOCKED, blocked::still_blocked(), || match blocked::attempt(start()?) {
        Some(result) => Ok(result),
        // If pidns cannot use a new thread, call the function in this thread, even though another
        // process could then block pidns.
        None => Ok(Ok(start()?())),
    })
}

/// Calls `attempt` until a call is not blocked, or until `blockers` has `max` entries.
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn pid(raw: u32) -> Pid {
        Pid::new(raw).unwrap()
    }

    /// Calls `retry` with a maximum of three blocked threads. Returns the result, and the number of
    /// attempts.
    ///
    /// `before`: number of threads that are blocked before the call. `success`: number of the first
    /// attempt that is not blocked.
    fn retry_up_to_three(before: u32, success: u32) -> (Result<(), String>, u32) {
        let attempts = Cell::new(0);
        let blockers = (1..=before).map(|it| [pid(it)].into()).collect();
        let result = retry(3, blockers, || {
            attempts.set(attempts.get() + 1);
            let by = [pid(before + attempts.get())].into();
            let is_blocked = attempts.get() < success;
            Ok(if is_blocked { Err(Blocked { by, is_new: true }) } else { Ok(()) })
        });
        (result.map_err(|error| error.to_string()), attempts.get())
    }

    #[test]
    fn fails_if_too_many_threads_are_blocked() {
        assert_eq!(retry_up_to_three(0, 3), (Ok(()), 3));
        assert_eq!(retry_up_to_three(2, 1), (Ok(()), 1));
        for (before, attempts) in [(0, 3), (2, 1), (3, 0)] {
            let (result, count) = retry_up_to_three(before, 4);
            assert_eq!(count, attempts);
            let error = result.unwrap_err();
            assert!(error.starts_with("one of the processes 1, 2, 3 blocks pidns"), "{error}");
            assert!(error.ends_with("; end this process, and try again"), "{error}");
        }
    }

    #[test]
    fn fails_if_an_avoided_process_blocks_again() {
        let by = [pid(1)].into();
        let attempt = || Ok(Err::<(), _>(Blocked { by: BTreeSet::clone(&by), is_new: false }));
        let error = retry(3, Vec::new(), attempt).unwrap_err().to_string();
        assert!(error.starts_with("process 1 blocks pidns"), "{error}");
    }
}
