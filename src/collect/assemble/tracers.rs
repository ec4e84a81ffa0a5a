//! Finds the tracers of zombies and of processes that a tracer has stopped.
//!
//! Ignores other tracers, so that scans through /proc and BPF give the same result.

use crate::collect::discovery::FollowUp;
use crate::model::Process;

/// Fills in the tracers of zombies and stopped processes.
pub fn find_tracers(source: &dyn FollowUp, processes: &mut [Process]) {
    for process in processes.iter_mut().filter(|it| it.is_zombie() || it.state == 't') {
        if let Some(tracer) = source.tracer(process) {
            process.details.get_or_insert_default().tracer = Some(tracer);
        }
    }
}
