//! Reads details of individual processes after a scan, such as a command line for a report.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::path::Path;

use crate::collect::error::Error;
use crate::collect::kernel::clock;
use crate::collect::kernel::sys::{open, read};
use crate::collect::kernel::wait_limit::WaitLimit;
use crate::collect::log::DiagnosticLog;
use crate::collect::proc::details::{DetailReader, PATIENCE};
use crate::collect::proc::process_dir::ProcessDir;
use crate::collect::proc::procfs::Procfs;
use crate::collect::unblocked::unless_blocked;
use crate::model::{Detail, Pid, Process, ProcessDetails};

/// Reads details of processes that a scan has found. Leaves out processes that are gone, and
/// details that are unreadable.
pub fn read_details(
    procfs: &Path,
    processes: &[Process],
    requested: &BTreeSet<Detail>,
) -> Result<Vec<(Pid, ProcessDetails)>, Error> {
    unless_blocked(|| {
        let later = LaterDetails {
            procfs: Procfs::open(procfs)?,
            patience: Cell::new(PATIENCE),
            memory_waits: WaitLimit::of_memory(),
            cgroup_waits: WaitLimit::of_cgroups(),
        };
        let (processes, requested) = (processes.to_vec(), requested.clone());
        let read = move |it: &Process| Some((it.pid, later.of(it, &requested)?));
        Ok(move || processes.iter().filter_map(read).collect())
    })
}

struct LaterDetails {
    procfs: Procfs,
    /// A counter that starts at [`PATIENCE`].
    ///
    /// The counter decreases by one if a command line is still empty after retries. At zero, this
    /// thread stops retrying.
    patience: Cell<u32>,
    memory_waits: WaitLimit,
    cgroup_waits: WaitLimit,
}

impl LaterDetails {
    /// Reads the requested details of one process, unless the process is gone.
    fn of(&self, process: &Process, requested: &BTreeSet<Detail>) -> Option<ProcessDetails> {
        // Without a start time, a reused PID would not be noticed.
        let start_time = process.start_time?;
        // The open directory always refers to the same process, so it is enough to check the start
        // time once.
        let dir = ProcessDir::open(self.procfs.fd(), process.pid).ok()?;
        let mut stat = Vec::new();
        read(dir.as_fd(), c"stat", &mut stat).ok()?;
        if clock::start_time_in(&stat) != Some(start_time) {
            return None;
        }
        let status_file = open(dir.as_fd(), c"status").ok()?;
        let reader = DetailReader {
            dir: dir.as_fd(),
            status_file: &status_file,
            patience: &self.patience,
            memory_waits: &self.memory_waits,
            cgroup_waits: &self.cgroup_waits,
        };
        let has_memory = !process.is_zombie() && !process.kernel_thread;
        reader.read(requested, process, has_memory, &mut DiagnosticLog::default()).ok()
    }
}
