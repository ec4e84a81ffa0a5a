//! Reads the processes that one thread of a scan receives, and repeats failed reads.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::findings::ScanFindings;
use super::process::ProcessReader;
use super::scan::{Scan, Target};
use crate::model::{DiagnosticCode, Pid};

/// Delays of the second and the third retry, measured from the first attempt.
const RETRIES: [Duration; 2] = [Duration::from_micros(100), Duration::from_micros(600)];

/// Maximum number of extra rounds of retries after `ESRCH`.
///
/// While a process calls `execve(2)`, a read can fail with `ESRCH` although the process still
/// exists.
const MAX_LATE_ROUNDS: usize = 16;

/// Reads processes in one thread of a scan.
pub struct Worker<'a> {
    reader: ProcessReader<'a>,
    found: ScanFindings,
    attempt: Attempt,
    /// Number of extra rounds so far (see [`MAX_LATE_ROUNDS`]).
    late_rounds: usize,
    /// Processes that must be read again.
    retry: Vec<Target>,
    /// Time when a process was last added to `retry` because the first attempt to read it failed.
    /// The delays in [`RETRIES`] start at this time.
    last_added: Instant,
}

#[derive(Clone, Copy, PartialEq)]
enum Attempt {
    First,
    Retry,
    /// An attempt that accepts inconsistent results. This is the last regular attempt, or an
    /// attempt in an extra round.
    Final,
}

impl<'a> Worker<'a> {
    pub fn new(scan: Scan<'a>) -> Self {
        Self {
            reader: ProcessReader::new(scan),
            found: ScanFindings::default(),
            attempt: Attempt::First,
            late_rounds: 0,
            retry: Vec::new(),
            last_added: Instant::now(),
        }
    }

    /// Reads the given processes, and leaves failed reads to [`finish`](Self::finish).
    pub fn read(&mut self, targets: impl IntoIterator<Item = Target>) {
        for Target { pid, none_open_since, init } in targets {
            match init.and_then(|init| self.reader.confirm_init(*init)) {
                Some(confirmed) if !confirmed.may_be_covered() => self.found.add(confirmed),
                _ => self.read_process(pid, none_open_since),
            }
        }
    }

    /// Reads the processes in `retry` again, and returns the results for all processes.
    pub fn finish(mut self) -> ScanFindings {
        self.attempt = Attempt::Retry;
        // Read these processes again, because a read during `execve(2)` can fail or return wrong
        // data while the old thread group leader exits.
        while !self.retry.is_empty() {
            for Target { pid, none_open_since, .. } in std::mem::take(&mut self.retry) {
                self.read_process(pid, none_open_since);
            }
            let passed = self.last_added.elapsed();
            match RETRIES.into_iter().find(|&retry| retry > passed) {
                _ if self.retry.is_empty() => {}
                Some(next) => std::thread::sleep(next.saturating_sub(passed)),
                None if self.attempt != Attempt::Final => self.attempt = Attempt::Final,
                None => {
                    self.late_rounds += 1;
                    std::thread::sleep(RETRIES[0]);
                }
            }
        }
        self.found
    }

    /// Reads one process, unless the process exits first.
    fn read_process(&mut self, pid: Pid, none_open_since: Option<u64>) {
        let is_final = self.attempt == Attempt::Final;
        let errno = match self.reader.read(pid, none_open_since, is_final) {
            Ok(read) if !read.may_be_covered() => return self.found.add(read),
            Ok(read) => {
                let uncovered = self.reader.read_uncovered(pid, none_open_since);
                return self.found.add(uncovered.unwrap_or(read));
            }
            Err(errno) => errno,
        };
        let is_passing = match errno {
            // During `execve(2)`, the first attempt can fail although the process exists.
            Errno::NOENT => self.attempt == Attempt::First,
            Errno::SRCH if self.late_rounds < MAX_LATE_ROUNDS => true,
            Errno::XDEV | Errno::AGAIN => !is_final,
            _ => false,
        };
        if is_passing {
            if self.attempt == Attempt::First {
                self.last_added = Instant::now();
            }
            self.retry.push(Target { pid, none_open_since, init: None });
        } else if errno == Errno::XDEV
            && let Some(read) = self.reader.read_uncovered(pid, none_open_since)
        {
            self.found.add(read);
        } else if errno != Errno::NOENT {
            self.found.log.note(DiagnosticCode::ProcessUnreadable, Some(errno), Some(pid));
        }
    }
}
