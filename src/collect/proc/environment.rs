//! Matches the environments of processes against patterns.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::thread;
use std::time::Duration;

use rustix::io::{Errno, Result as SysResult};

use super::process_dir::{ProcessDir, living_thread};
use super::procfs::Procfs;
use super::status::is_there;
use crate::collect::kernel::clock;
use crate::collect::kernel::sys::{is_gone, read};
use crate::collect::kernel::wait_limit::{WaitLimit, read_at_most};
use crate::collect::log::DiagnosticLog;
use crate::model::{DiagnosticCode, EnvPattern, Process};

/// Maximum number of bytes to read from an environment.
const MAX_ENVIRONMENT: usize = 2 * 1024 * 1024;

/// The pause before each retry. An empty environment is read again, because it may be empty only
/// during `execve(2)`.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(4)];

/// Records which patterns match the environment of each process.
pub fn match_environments(
    procfs: &Procfs,
    processes: &mut [Process],
    patterns: &BTreeSet<EnvPattern>,
    log: &mut DiagnosticLog,
) {
    // Reading the memory of a process can block pidns, so avoid needless reads.
    if patterns.is_empty() {
        return;
    }
    let (mut bytes, waits) = (Vec::new(), WaitLimit::of_memory());
    let has_environment = |it: &&mut Process| !it.kernel_thread && !it.is_unreaped();
    let mut left: Vec<&mut Process> = processes.iter_mut().filter(has_environment).collect();
    let mut pauses = PAUSES.into_iter();
    loop {
        left.retain_mut(|process| {
            match_environment(procfs, process, patterns, &mut bytes, &waits, log) == Loaded::No
        });
        let Some(pause) = pauses.next().filter(|_| !left.is_empty()) else { return };
        thread::sleep(pause);
    }
}

/// The progress of `execve(2)` in a process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loaded {
    /// The environment and the command line are both empty, so the program may still be loading.
    No,
    Yes,
}

/// Records which patterns match the environment of a process.
fn match_environment(
    procfs: &Procfs,
    process: &mut Process,
    patterns: &BTreeSet<EnvPattern>,
    bytes: &mut Vec<u8>,
    waits: &WaitLimit,
    log: &mut DiagnosticLog,
) -> Loaded {
    match read_environment(procfs, process, bytes, waits) {
        Ok(loaded) => {
            let mut met = BTreeSet::new();
            // A process that has overwritten its environment has many empty entries.
            for entry in bytes.split(|&byte| byte == 0).filter(|entry| !entry.is_empty()) {
                met.extend(patterns.iter().filter(|it| it.matches(entry)).cloned());
            }
            if !met.is_empty() {
                process.details.get_or_insert_default().environment = met;
            }
            loaded
        }
        // If the process is gone, the kernel can return EACCES, even to root.
        Err(_) if !is_there(procfs, process) => Loaded::Yes,
        // A thread that exits has no environment any more.
        Err(errno) if is_gone(errno) => Loaded::No,
        Err(errno) => {
            log.note(DiagnosticCode::EnvironmentUnreadable, Some(errno), Some(process.pid));
            Loaded::Yes
        }
    }
}

/// Reads the environment of a process, or fails with `ESRCH` if the process is gone.
fn read_environment(
    procfs: &Procfs,
    process: &Process,
    bytes: &mut Vec<u8>,
    waits: &WaitLimit,
) -> SysResult<Loaded> {
    // All files are opened through this directory, so they belong to one process.
    let dir = ProcessDir::open(procfs.fd(), process.pid)?;
    // If the leader thread has exited, only the directory of another thread shows the environment.
    let living = if process.has_exited_leader() { living_thread(dir.as_fd())? } else { None };
    let thread = living.as_ref().map_or(dir.as_fd(), |(_, thread)| thread.as_fd());
    // Limit the length, because a process can declare any part of its memory to be its environment
    // (`PR_SET_MM_ENV_START`).
    if !read_at_most(thread, c"environ", MAX_ENVIRONMENT, bytes, waits)? {
        return Err(Errno::FBIG);
    }
    let mut args = Vec::new();
    let read_args = read_at_most(thread, c"cmdline", 1, &mut args, waits);
    let has_args = read_args.is_ok() && !args.is_empty();
    let loaded = if bytes.is_empty() && !has_args { Loaded::No } else { Loaded::Yes };
    let mut stat = Vec::new();
    read(dir.as_fd(), c"stat", &mut stat)?;
    let start_time = clock::start_time_in(&stat);
    let is_same = process.start_time.is_none_or(|it| start_time == Some(it));
    if is_same && is_there(procfs, process) { Ok(loaded) } else { Err(Errno::SRCH) }
}
