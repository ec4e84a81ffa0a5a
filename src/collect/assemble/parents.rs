//! Clears each `ppid` that refers to no process in the snapshot.

use crate::collect::discovery::FollowUp;
use crate::collect::log::DiagnosticLog;
use crate::model::{DiagnosticCode, Process};

/// Clears each `ppid` that is not in `processes`, which must be sorted by PID.
pub fn forget_missing(source: &dyn FollowUp, processes: &mut [Process], log: &mut DiagnosticLog) {
    for index in 0..processes.len() {
        let Some(parent) = processes[index].ppid else { continue };
        if processes.binary_search_by_key(&parent, |it| it.pid).is_ok() {
            continue;
        }
        let process = &mut processes[index];
        process.ppid = None;
        if source.is_there(process) {
            log.note(DiagnosticCode::ParentProcessUnread, None, Some(process.pid));
        }
    }
}
