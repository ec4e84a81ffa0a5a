//! Reaps orphans in a second thread while pidns looks for leftover processes.
//!
//! A command can leave tens of thousands of orphans a second, and use up all PIDs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{WaitOptions, setpriority_process, wait};

/// Time to wait before looking for children again when pidns has none.
///
/// If pidns is the init of its PID namespace, it can still adopt orphans later.
const PAUSE: Duration = Duration::from_millis(20);

/// A thread that reaps every terminated child after [`begin`](Self::begin) is called.
#[derive(Debug)]
pub struct Reaper {
    thread: Option<Thread>,
    has_begun: Arc<AtomicBool>,
}

impl Reaper {
    /// Starts the thread early, because the command may later use up all PIDs. The thread stays
    /// idle until [`begin`](Self::begin) is called.
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

    /// Begins to reap all children. The command must already have been reaped.
    pub fn begin(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

/// Raises this thread's priority, if permitted, to keep up with processes that fork fast.
pub(super) fn raise_priority() {
    let _ = setpriority_process(None, -20);
}
