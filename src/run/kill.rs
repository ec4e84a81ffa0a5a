//! Kills the leftover processes of a command through pidfds: first SIGTERM, then SIGKILL.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::SupervisedCommand;
use crate::model::Killed;

/// Maximum time for which pidns repeats SIGKILL. Even processes that fork fast are gone after a few
/// rounds, so a process that still exists after this time is in uninterruptible sleep.
const KILLING: Duration = Duration::from_secs(10);

/// Maximum pause between two rounds. SIGCHLD ends the pause early, but no signal reports that a
/// descendant forked, so the pause must be short.
const ROUND: Duration = Duration::from_millis(20);

/// Kills all descendants of pidns: sends SIGTERM and, after the time `grace`, SIGKILL. This time
/// ends early if a signal asks pidns to exit. Descendants can fork in the meantime, so both steps
/// are repeated until no descendant is left.
pub fn kill(command: &mut SupervisedCommand, grace: Duration) -> Killed {
    let mut killed = Killed::default();
    // Also signal processes in the zombie state, because such a process may still have running
    // threads.
    let mut seen = HashSet::new();
    let terminate = |command: &SupervisedCommand, killed: &mut Killed| {
        command.descendants.walk(|it| {
            if seen.insert(it.pid) {
                if !it.is_zombie {
                    killed.sigterm.insert(it.pid);
                }
                it.signal(Signal::TERM);
                // A stopped process handles SIGTERM only after it is continued.
                it.signal(Signal::CONT);
            }
        });
    };
    let kill = |command: &SupervisedCommand, killed: &mut Killed| {
        command.descendants.walk(|it| {
            it.signal(Signal::KILL);
            if !it.is_zombie {
                killed.sigkill.insert(it.pid);
            }
        });
    };
    if !repeat(command, grace, &mut killed, true, terminate)
        && !repeat(command, KILLING, &mut killed, false, kill)
    {
        let remaining = &mut killed.remaining;
        command.descendants.walk(|it| {
            remaining.insert(it.pid);
        });
    }
    killed
}

/// Repeats `round` until no descendant is left or `time` has passed. If `may_be_hurried` is `true`,
/// a signal that asks pidns to exit also ends the loop. Returns `true` if no descendant is left.
fn repeat(
    command: &mut SupervisedCommand,
    time: Duration,
    killed: &mut Killed,
    may_be_hurried: bool,
    mut round: impl FnMut(&SupervisedCommand, &mut Killed),
) -> bool {
    let deadline = Instant::now().checked_add(time);
    loop {
        command.note_hurry();
        if !command.is_anything_left() {
            return true;
        }
        round(command, killed);
        let left = deadline.map_or(ROUND, |at| at.saturating_duration_since(Instant::now()));
        if left.is_zero() || (may_be_hurried && command.hurried) {
            return !command.is_anything_left();
        }
        command.signals.wait(Some(left.min(ROUND)));
    }
}
