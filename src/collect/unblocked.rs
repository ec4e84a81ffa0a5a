//! Reads other processes in a thread that pidns can abandon if a process blocks it, see `blocked`.

use std::sync::OnceLock;

use super::error::Error;
use super::kernel::blocked::{self, NoResult};

/// Maximum number of abandoned threads that are still blocked. With this maximum, all abandoned
/// attempts to make a snapshot take about a minute.
const MAX_BLOCKED: usize = 16;

/// The function that warns the user that pidns reads again, without what is locked.
static WARN: OnceLock<fn(Error)> = OnceLock::new();

/// Sets the function that warns the user if a process has blocked pidns. Without such a function,
/// there is no warning.
pub fn when_blocked(warn: fn(Error)) {
    let _ = WARN.set(warn);
}

/// Calls the function that `start` returns, in a thread of its own, and returns its result. If a
/// process blocks the thread, starts again, and avoids this process. The processes that blocked
/// earlier threads are avoided too, until these threads are no longer blocked.
///
/// An abandoned thread keeps its memory while it is blocked: at most the memory of one scan, so at
/// most [`MAX_BLOCKED`] times that of one scan in all.
///
/// # Errors
/// Fails if `start` does, if the processes that block the thread are avoided already, or if
/// [`MAX_BLOCKED`] threads are blocked.
pub fn unless_blocked<T, F>(start: impl Fn() -> Result<F, Error>) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let mut blocked = blocked::forget_ended();
    while blocked < MAX_BLOCKED {
        match blocked::attempt(start()?) {
            Ok(result) => return Ok(result),
            // Read in this thread. Then it is not noticed if a process blocks pidns.
            Err(NoResult::NoThread) => return Ok(start()?()),
            Err(NoResult::Blocked { by, is_new: false }) => {
                return Err(Error::Blocked { by, will_retry: false });
            }
            Err(NoResult::Blocked { by, is_new: true }) => {
                blocked += 1;
                if let Some(warn) = WARN.get().filter(|_| blocked < MAX_BLOCKED) {
                    warn(Error::Blocked { by, will_retry: true });
                }
            }
        }
    }
    Err(Error::Blocked { by: blocked::avoided(), will_retry: false })
}
