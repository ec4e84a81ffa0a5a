//! Reads other processes in a separate thread. If a process blocks that thread, pidns abandons the
//! thread (see `blocked`).

use std::sync::OnceLock;

use super::error::Error;
use super::kernel::blocked::{self, NoResult};

/// Maximum number of abandoned threads that are still blocked. If every attempt to take a snapshot
/// is blocked, pidns reaches this maximum after about a minute.
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
/// reads only the lock-free files (see `blocked`) of this process, and of all processes that still
/// block earlier threads.
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
    let mut blocked = blocked::forget_ended();
    while blocked < MAX_BLOCKED {
        match blocked::attempt(start()?) {
            Ok(result) => return Ok(result),
            // No thread could be started, so read in this thread. pidns cannot notice if a process
            // blocks it here.
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
