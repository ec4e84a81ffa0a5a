//! Finds living processes with a thread in uninterruptible sleep.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use crate::collect::discovery::FollowUp;
use crate::collect::log::DiagnosticLog;
use crate::model::{DiagnosticCode, Process, SearchScope};

/// Time between two checks of a sleeping thread, longer than most uninterruptible sleeps.
const PAUSE: Duration = Duration::from_millis(100);

/// Adds a diagnostic for each process with a thread that stays in uninterruptible sleep.
pub fn note_stuck_threads(
    source: &dyn FollowUp,
    searched: &BTreeSet<SearchScope>,
    processes: &[Process],
    log: &mut DiagnosticLog,
) {
    if !searched.contains(&SearchScope::Threads) {
        return;
    }
    // A process in state `D` already shows that it is in uninterruptible sleep, so skip it.
    let may_hide_one = |it: &&Process| {
        !it.kernel_thread && it.state != 'D' && it.threads.is_some_and(|threads| threads.get() > 1)
    };
    let first = processes.iter().filter(may_hide_one);
    let first = first.map(|it| (it, source.uninterruptible_sleeps(it)));
    let mut found: Vec<_> = first.filter(|(_, sleeps)| !sleeps.is_empty()).collect();
    if !found.is_empty() {
        thread::sleep(PAUSE);
        found.retain(|(process, sleeps)| {
            let later = source.uninterruptible_sleeps(process);
            later.iter().any(|(tid, switches)| sleeps.get(tid) == Some(switches))
        });
    }
    for (process, _) in found {
        log.note(DiagnosticCode::ThreadUninterruptible, None, Some(process.pid));
    }
}
