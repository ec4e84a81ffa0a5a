//! Kills the leftover processes of a command through pidfds.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rustix::io::{Errno, Result as SysResult};
use rustix::process::Signal;

use super::reaper::raise_priority;
use super::{REAPING, SupervisedCommand};
use crate::collect::Descendant;
use crate::model::{Killed, Pid};

/// Maximum time to wait for killed processes, which may be in uninterruptible sleep.
const KILLING: Duration = Duration::from_secs(10);

/// Maximum number of processes in other PID namespaces to keep open after SIGTERM was sent to them.
const MAX_HELD: usize = 256;

/// Maximum pause between rounds. The pause is short because no signal tells pidns that a descendant
/// has forked.
const ROUND: Duration = Duration::from_millis(20);

/// Kills all descendants of the command, and all members of its cgroup.
///
/// Sends SIGTERM, waits up to `grace`, and then sends SIGKILL. A request to exit ends the wait
/// early. If processes remain after SIGTERM, calls `before_sigkill`.
pub fn kill(
    command: &mut SupervisedCommand,
    grace: Duration,
    before_sigkill: impl FnOnce(&SupervisedCommand),
) -> Killed {
    raise_priority();
    let mut killed = Killed::default();
    let mut targets = Targets::default();
    let sigterm = repeat(command, grace, Hurry::Allowed, &mut killed.refused, &mut targets);
    killed.sigterm = sigterm.sent;
    targets.sends_sigkill = true;
    if sigterm.leaves_some || command.has_members() {
        before_sigkill(command);
        let deadline = Instant::now() + KILLING;
        let members = kill_cgroup(command, deadline);
        if members.is_some() {
            // `cgroup.kill` also kills members that pidns has no permission to signal, so clear the
            // list of those members.
            killed.refused.clear();
        }
        let time = deadline.saturating_duration_since(Instant::now());
        let sigkill = repeat(command, time, Hurry::Ignored, &mut killed.refused, &mut targets);
        killed.sigkill = sigkill.sent;
        killed.sigkill.extend(members.into_iter().flatten());
    }
    note_survivors(command, &mut killed);
    killed.remaining.extend(targets.living().map(|it| it.pid));
    killed
}

/// The processes that were sent SIGTERM.
///
/// If a process in another PID namespace ends, the init of that namespace adopts its children. They
/// are then no descendants of pidns any more, so pidns keeps their pidfds.
#[derive(Debug, Default)]
struct Targets {
    seen: HashSet<(Pid, Option<u64>)>,
    /// Processes in other PID namespaces, at most [`MAX_HELD`].
    held: Vec<Descendant>,
    /// `true` to send SIGKILL from now on.
    sends_sigkill: bool,
}

impl Targets {
    /// Sends SIGTERM if the process has not been sent it yet, or sends SIGKILL.
    fn signal(&mut self, process: &Descendant) -> SysResult<()> {
        if self.sends_sigkill {
            return process.signal(Signal::KILL);
        }
        if !self.seen.insert(process.identity()) {
            return Ok(());
        }
        if process.is_nested && self.held.len() < MAX_HELD {
            self.held.extend(process.try_clone());
        }
        let result = process.signal(Signal::TERM);
        // A stopped process handles SIGTERM only after it is continued.
        let _ = process.signal(Signal::CONT);
        result
    }

    /// Returns the held processes that have not exited.
    fn living(&self) -> impl Iterator<Item = &Descendant> {
        self.held.iter().filter(|it| it.is_running())
    }
}

/// Records the running processes, and the zombies that are not reaped within [`REAPING`].
fn note_survivors(command: &mut SupervisedCommand, killed: &mut Killed) {
    let deadline = Instant::now() + REAPING;
    loop {
        command.note_hurry();
        command.reap();
        let Killed { remaining, unreaped, .. } = killed;
        remaining.clear();
        unreaped.clear();
        command.walk(|it| {
            if it.has_exited { &mut *unreaped } else { &mut *remaining }.insert(it.pid);
            ControlFlow::Continue(())
        });
        if unreaped.is_empty() || Instant::now() >= deadline {
            return;
        }
        command.signals.wait(Some(ROUND));
    }
}

/// Kills all members of the command's cgroup, waits for them, and returns their PIDs.
fn kill_cgroup(command: &mut SupervisedCommand, deadline: Instant) -> Option<BTreeSet<Pid>> {
    let members = command.members()?;
    command.cgroup.as_ref()?.kill().ok()?;
    while command.has_members() && Instant::now() < deadline {
        command.reap();
        command.note_hurry();
        command.signals.wait(Some(ROUND));
    }
    Some(members)
}

/// Decides whether [`repeat`] ends early when a signal asks pidns to exit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hurry {
    Allowed,
    Ignored,
}

/// The result of [`repeat`].
struct Signalled {
    /// The running processes to which the signal was sent.
    sent: BTreeSet<Pid>,
    /// `true` if a descendant remains that pidns has permission to signal.
    leaves_some: bool,
}

/// Looks for descendants and signals them, in rounds, until all are gone or `time` has passed. Each
/// process gets SIGTERM only once, and SIGKILL in every round.
fn repeat(
    command: &mut SupervisedCommand,
    time: Duration,
    hurry: Hurry,
    refused: &mut BTreeSet<Pid>,
    targets: &mut Targets,
) -> Signalled {
    let deadline = Instant::now().checked_add(time);
    let mut signalled = BTreeSet::new();
    if targets.sends_sigkill {
        let adopted = targets.living().filter(|it| it.signal(Signal::KILL).is_ok());
        signalled.extend(adopted.map(|it| it.pid));
    }
    loop {
        command.note_hurry();
        let mut leaves_some = command.is_anything_left();
        if leaves_some {
            let mut living = BTreeSet::new();
            command.walk(|it| {
                let result = targets.signal(it);
                if result.is_err_and(|errno| errno != Errno::SRCH) && !it.has_exited {
                    refused.insert(it.pid);
                }
                if result.is_ok() && !it.has_exited && !refused.contains(&it.pid) {
                    signalled.insert(it.pid);
                }
                if !it.has_exited {
                    living.insert(it.pid);
                }
                ControlFlow::Continue(())
            });
            // Zombies need no signal. If only zombies are left, stop unless the walk may have
            // missed a process.
            leaves_some = if living.is_empty() {
                command.may_have_missed()
            } else {
                !living.is_subset(refused)
            };
        }
        leaves_some |= targets.living().any(|it| !refused.contains(&it.pid));
        let left = deadline.map_or(ROUND, |at| at.saturating_duration_since(Instant::now()));
        let is_hurried = hurry == Hurry::Allowed && command.hurried;
        if !leaves_some || left.is_zero() || is_hurried {
            return Signalled { sent: signalled, leaves_some };
        }
        command.signals.wait(Some(left.min(ROUND)));
    }
}
