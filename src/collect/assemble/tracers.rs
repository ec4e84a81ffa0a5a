//! Finds the tracers of zombies and of processes that their tracer has stopped.
//!
//! Only these are looked up, so that a scan through BPF and one through /proc give the same result.

use crate::collect::discovery::FollowUp;
use crate::model::Process;

/// Fills in the tracers.
pub fn find_tracers(source: &dyn FollowUp, processes: &mut [Process]) {
    for process in processes.iter_mut().filter(|it| it.is_zombie() || it.state == 't') {
        if let Some(tracer) = source.tracer(process) {
            process.details.get_or_insert_default().tracer = Some(tracer);
        }
    }
}
