//! Reads a thread's share of the processes, and retries those that were caught in between
//! two states.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::findings::ScanFindings;
use super::process::ProcessReader;
use super::scan::{Scan, Target};
use crate::model::{DiagnosticCode, Pid};

/// When to retry, counted from the first attempt. There is also one retry right after
/// the thread's other processes.
const RETRIES: [Duration; 2] = [Duration::from_micros(100), Duration::from_micros(600)];

/// How often to retry after that if the PID is there each time, but the process that was
/// just opened is gone. After this many attempts the process is reported as unreadable.
const MAX_LATE_RETRIES: usize = 16;

/// One thread of a scan.
pub struct Worker<'a> {
    reader: ProcessReader<'a>,
    found: ScanFindings,
    attempt: Attempt,
    /// Late retries so far.
    late_retries: usize,
    /// Processes to read again.
    retry: Vec<Target>,
    /// When the last of them was first read.
    last_added: Instant,
}

/// How often the processes have been tried before.
#[derive(Clone, Copy, PartialEq)]
enum Attempt {
    First,
    Retry,
    /// The last one. The result is accepted even if it looks inconsistent.
    Final,
}

impl<'a> Worker<'a> {
    pub fn new(scan: Scan<'a>) -> Self {
        Self {
            reader: ProcessReader::new(scan),
            found: ScanFindings::default(),
            attempt: Attempt::First,
            late_retries: 0,
            retry: Vec::new(),
            last_added: Instant::now(),
        }
    }

    /// Reads some processes. Those to retry are left to [`finish`](Self::finish).
    pub fn read(&mut self, targets: impl IntoIterator<Item = Target>) {
        for Target { pid, none_open_since, init } in targets {
            match init.and_then(|init| self.reader.confirm_init(*init)) {
                Some(confirmed) => self.found.add(confirmed),
                None => self.read_process(pid, none_open_since),
            }
        }
    }

    /// Retries what has to be retried, and returns everything that was found.
    ///
    /// A thread other than the leader that calls `execve(2)` takes over the leader's TID.
    /// For a moment the kernel still shows the old leader, which is exiting: links that
    /// should be readable are refused, its NSpid is empty or shows the thread's TID, or
    /// it is gone.
    pub fn finish(mut self) -> ScanFindings {
        self.attempt = Attempt::Retry;
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
                    self.late_retries += 1;
                    std::thread::sleep(RETRIES[0]);
                }
            }
        }
        self.found
    }

    /// Reads one process. If it goes away in the meantime, it is left out.
    fn read_process(&mut self, pid: Pid, none_open_since: Option<u64>) {
        let is_final = self.attempt == Attempt::Final;
        let errno = match self.reader.read(pid, none_open_since, is_final) {
            Ok(read) => return self.found.add(read),
            Err(errno) => errno,
        };
        let is_passing = match errno {
            // There is no such PID. If that is still so at the second attempt, the
            // process is gone.
            Errno::NOENT => self.attempt == Attempt::First,
            Errno::SRCH if self.late_retries < MAX_LATE_RETRIES => true,
            Errno::XDEV | Errno::AGAIN => !is_final,
            _ => false,
        };
        if is_passing {
            if self.attempt == Attempt::First {
                self.last_added = Instant::now();
            }
            self.retry.push(Target { pid, none_open_since, init: None });
        } else if errno != Errno::NOENT {
            self.found.log.note(DiagnosticCode::ProcessUnreadable, Some(errno), Some(pid));
        }
    }
}
