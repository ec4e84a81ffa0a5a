//! Reaps orphans in a second thread while pidns looks for leftover processes.
//!
//! Processes that fork and exit fast can leave tens of thousands of orphans a second. Unless pidns
//! reaps them at once, they use up all PIDs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{WaitOptions, setpriority_process, wait};

/// Time that the thread sleeps if pidns has no children. The thread does not exit: if pidns is the
/// init of its PID namespace, it can get another child later.
const PAUSE: Duration = Duration::from_millis(20);

/// A thread that reaps every terminated child, from the call of [`begin`](Self::begin) until pidns
/// exits.
#[derive(Debug)]
pub struct Reaper {
    thread: Option<Thread>,
    has_begun: Arc<AtomicBool>,
}

impl Reaper {
    /// Starts the thread, which waits for [`begin`](Self::begin). Must be called before the command
    /// starts, because the command can use up all PIDs. If the thread cannot be started, only the
    /// main thread reaps children.
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

/// Raises the priority of this thread, so that it keeps up with processes that fork and exit fast,
/// even during a scan. Does nothing if pidns lacks the permission.
pub(super) fn raise_priority() {
    let _ = setpriority_process(None, -20);
}
