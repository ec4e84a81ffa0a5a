//! What is read of a few processes only after a scan has shown them: who they
//! are to people. Reading it of every process would make the scan longer.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::path::Path;

use crate::collect::error::Error;
use crate::collect::kernel::sys::{open, read};
use crate::collect::log::DiagnosticLog;
use crate::collect::parse;
use crate::collect::proc::details::DetailReader;
use crate::collect::proc::mount::Procfs;
use crate::collect::proc::process_dir::ProcessDir;
use crate::model::{Detail, Process, ProcessDetails};

/// Reads details of processes that a scan has shown.
#[derive(Debug)]
pub struct LaterDetails {
    procfs: Procfs,
}

impl LaterDetails {
    /// Opens the procfs mounted at `path`.
    ///
    /// # Errors
    /// It cannot be opened, or is no procfs.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { procfs: Procfs::open(path)? })
    }

    /// Reads of one process what is asked for. `None` where it is gone, or where
    /// its start time is not known, so that it may be another one by now; what
    /// may not be read is absent.
    #[must_use]
    pub fn of(&self, process: &Process, asked: &BTreeSet<Detail>) -> Option<ProcessDetails> {
        let start_time = process.start_time?;
        // What is read through the directory belongs to the process that had the
        // PID when it was opened.
        let dir = ProcessDir::open(self.procfs.fd(), process.pid).ok()?;
        let mut stat = Vec::new();
        read(dir.as_fd(), c"stat", &mut stat).ok()?;
        if parse::stat_start_time(&stat) != Some(start_time) {
            return None;
        }
        let status_file = open(dir.as_fd(), c"status").ok()?;
        let reader = DetailReader { dir: dir.as_fd(), status_file: &status_file };
        let has_memory = !process.is_zombie() && !process.kernel_thread;
        reader.read(asked, process, has_memory, &mut DiagnosticLog::default()).ok()
    }
}
