//! Ends what a job has left, by pidfd: SIGTERM, then SIGKILL.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Job;
use crate::model::Killed;

/// How long to repeat SIGKILL. All that it is sent to are gone after a few
/// rounds, however fast they fork; who is not after this time is in
/// uninterruptible sleep.
const KILLING: Duration = Duration::from_secs(10);

/// How long to wait for something new between two rounds where no child has
/// ended: descendants that fork do not tell.
const ROUND: Duration = Duration::from_millis(20);

impl Job {
    /// Ends all that is left: each gets SIGTERM, then, once the grace time is
    /// over or a signal asks pidns to end, SIGKILL. Looks again until nothing
    /// is left, so that what is forked meanwhile is found, too.
    pub fn kill(&mut self, grace: Duration) -> Killed {
        let mut killed = Killed::default();
        // A zombie may be a leading thread alone, whose process goes on.
        let mut seen = HashSet::new();
        let terminate = |job: &Self, killed: &mut Killed| {
            job.descendants.walk(|it| {
                if seen.insert(it.pid) {
                    if !it.is_zombie {
                        killed.sigterm.insert(it.pid);
                    }
                    it.signal(Signal::TERM);
                    // A stopped one acts on it only when it is continued.
                    it.signal(Signal::CONT);
                }
            });
        };
        let kill = |job: &Self, killed: &mut Killed| {
            job.descendants.walk(|it| {
                it.signal(Signal::KILL);
                if !it.is_zombie {
                    killed.sigkill.insert(it.pid);
                }
            });
        };
        if !self.repeat(grace, &mut killed, true, terminate)
            && !self.repeat(KILLING, &mut killed, false, kill)
        {
            let remaining = &mut killed.remaining;
            self.descendants.walk(|it| {
                remaining.insert(it.pid);
            });
        }
        killed
    }

    /// Acts on what is left until nothing is, the time is over, or, where that
    /// is allowed, somebody wants to see the end. Returns whether nothing is left.
    fn repeat(
        &mut self,
        time: Duration,
        killed: &mut Killed,
        may_be_hurried: bool,
        mut round: impl FnMut(&Self, &mut Killed),
    ) -> bool {
        let deadline = Instant::now().checked_add(time);
        loop {
            self.note_hurry();
            if !self.is_anything_left() {
                return true;
            }
            round(self, killed);
            let left = deadline.map_or(ROUND, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() || (may_be_hurried && self.hurried) {
                return !self.is_anything_left();
            }
            self.signals.wait(Some(left.min(ROUND)));
        }
    }
}
