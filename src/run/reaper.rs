//! Reaps orphans in a second thread while pidns looks for leftover processes.
//!
//! Processes that fork and exit fast leave tens of thousands of orphans a second. Unreaped orphans
//! would use up all PIDs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{WaitOptions, setpriority_process, wait};

/// Pause after pidns had no children to wait for. As the init of a PID namespace, pidns can get new
/// children later.
const PAUSE: Duration = Duration::from_millis(20);

/// A thread that reaps every terminated child after [`begin`](Self::begin) is called.
#[derive(Debug)]
pub struct Reaper {
    thread: Option<Thread>,
    has_begun: Arc<AtomicBool>,
}

impl Reaper {
    /// Starts the thread. The thread does nothing until [`begin`](Self::begin) is called. Must be
    /// called before the command starts, because the command can use up all PIDs.
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

    /// Begins to reap all children. The command must already have been reaped, or its exit status
    /// could be lost.
    pub fn begin(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

/// Raises the priority of this thread, if pidns has the permission. The thread must keep up with
/// processes that fork and exit fast.
pub(super) fn raise_priority() {
    let _ = setpriority_process(None, -20);
}
