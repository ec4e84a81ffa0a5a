//! A thread of a walk: which processes it reads, and how often it looks at those
//! that are between two states. How one is read is not decided here.

use std::time::{Duration, Instant};

use rustix::io::{Errno, Result as SysResult};

use super::findings::Findings;
use super::scan::{Scan, Target, searches_holders};
use crate::collect::kernel::viewer;
use crate::model::{DiagnosticCode, Pid};

/// How long after they were first seen to be between two states processes are
/// looked at again, beside once at the end of the first pass.
const FURTHER_LOOKS: [Duration; 2] = [Duration::from_micros(100), Duration::from_micros(600)];

/// How often a process is looked at once more than that whose number is there each
/// time, while what was opened under it has just gone. After so many it is said that
/// it could not be read.
const LAST_LOOKS: usize = 16;

/// One thread of a walk, with its buffers.
pub struct Worker<'a> {
    pub scan: Scan<'a>,
    pub searches_holders: bool,
    pub may_trace_all: bool,
    pub found: Findings,
    pub buffer: Vec<u8>,
    /// Whether the last process was nested, as the next one then often is.
    pub nested: bool,
    /// Whether the last one was a thread of the kernel, likewise.
    pub kernel_thread: bool,
    look: Look,
    /// How many there were that might have been the last.
    last_looks: usize,
    /// Processes to look at again, and when the last of them was first seen.
    again: Vec<Target>,
    noted: Instant,
}

/// How often a process was looked at before.
#[derive(Clone, Copy, PartialEq)]
enum Look {
    First,
    Further,
    /// There will be no other: what a process tells now is believed.
    Last,
}

impl<'a> Worker<'a> {
    /// One that has found nothing yet.
    pub fn new(scan: Scan<'a>) -> Self {
        let searches_holders = searches_holders(scan.search);
        let (found, buffer) = (Findings::default(), Vec::with_capacity(4096));
        let may_trace_all = viewer::may_trace_all();
        Self {
            scan,
            searches_holders,
            may_trace_all,
            found,
            buffer,
            nested: false,
            kernel_thread: false,
            look: Look::First,
            last_looks: 0,
            again: Vec::new(),
            noted: Instant::now(),
        }
    }

    /// Reads some processes; of what was seen before only what is missing. Those
    /// that are between two states are left to [`finish`](Self::finish).
    pub fn batch(&mut self, targets: &mut Vec<Target>) {
        for Target { pid, none_open_since, init } in targets.drain(..) {
            if !init.is_some_and(|init| self.confirm(*init)) {
                self.read(pid, none_open_since);
            }
        }
    }

    /// Looks again at the processes that were between two states, and hands over
    /// all that was found.
    ///
    /// While a thread that is not the leader executes another program
    /// (`execve(2)`), it takes over the leader's number. In between the kernel
    /// shows the old leader, which is exiting: it refuses what it should not, has
    /// no number or that of the thread, or is gone.
    pub fn finish(mut self) -> Findings {
        self.look = Look::Further;
        while !self.again.is_empty() {
            for Target { pid, none_open_since, .. } in std::mem::take(&mut self.again) {
                self.read(pid, none_open_since);
            }
            let passed = self.noted.elapsed();
            match FURTHER_LOOKS.into_iter().find(|&look| look > passed) {
                _ if self.again.is_empty() => {}
                Some(next) => std::thread::sleep(next.saturating_sub(passed)),
                None if self.look != Look::Last => self.look = Look::Last,
                None => {
                    self.last_looks += 1;
                    std::thread::sleep(FURTHER_LOOKS[0]);
                }
            }
        }
        self.found
    }

    /// Reads one process, wholly or not at all. One that vanishes meanwhile is
    /// left out.
    fn read(&mut self, pid: Pid, none_open_since: Option<u64>) {
        let read = self.process(pid, none_open_since);
        let pending = std::mem::take(&mut self.found.pending);
        let Err(errno) = read else { return self.found.log.merge(pending) };
        let is_passing = match errno {
            // Nothing is there under that number; twice, it is believed.
            Errno::NOENT => self.look == Look::First,
            Errno::SRCH if self.last_looks < LAST_LOOKS => true,
            Errno::XDEV | Errno::AGAIN => self.look != Look::Last,
            _ => false,
        };
        if is_passing {
            if self.look == Look::First {
                self.noted = Instant::now();
            }
            self.again.push(Target { pid, none_open_since, init: None });
        } else if errno != Errno::NOENT {
            self.found.log.note(DiagnosticCode::ProcessUnreadable, Some(errno), Some(pid));
        }
    }

    /// Fails where a process seems to be between two states and is to be looked
    /// at again.
    ///
    /// # Errors
    /// `EAGAIN`, unless this is the last look.
    pub fn look_again(&self) -> SysResult<()> {
        if self.look == Look::Last { Ok(()) } else { Err(Errno::AGAIN) }
    }
}
