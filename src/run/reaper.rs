//! Reaps orphans in a second thread while pidns looks for leftover processes.
//!
//! Processes that fork and exit fast leave tens of thousands of zombies within a second. Without a
//! reaper, these zombies would use up all PIDs before pidns has found the leftover processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{WaitOptions, setpriority_process, wait};

/// Time that the thread sleeps when pidns has no children. The thread does not exit in this case,
/// because pidns can get another child later if it is the init of its PID namespace.
const PAUSE: Duration = Duration::from_millis(20);

/// A thread that reaps every terminated child. It begins to do so when [`begin`](Self::begin) is
/// called, and continues until pidns exits.
#[derive(Debug)]
pub struct Reaper {
    thread: Option<Thread>,
    has_begun: Arc<AtomicBool>,
}

impl Reaper {
    /// Starts the thread, which then waits for [`begin`](Self::begin). Must be called before the
    /// command is started, because the command can use up all PIDs. If the thread cannot be
    /// started, only the main thread of pidns reaps children.
    pub fn start() -> Self {
        let has_begun = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&has_begun);
        let thread = thread::Builder::new().name("reaper".to_owned()).spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                thread::park();
            }
            raise_priority();
            loop {
                if !matches!(wait(WaitOptions::empty()), Ok(_) | Err(Errno::INTR)) {
                    thread::sleep(PAUSE);
                }
            }
        });
        Self { thread: thread.ok().map(|it| it.thread().clone()), has_begun }
    }

    /// Begins to reap all children. The command must already have been reaped. Otherwise, its exit
    /// status could be lost.
    pub fn begin(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

/// Raises the priority of this thread, so that pidns keeps up with processes that fork and exit
/// fast, even during a scan. Does nothing if pidns has no permission to do so.
pub(super) fn raise_priority() {
    let _ = setpriority_process(None, -20);
}
