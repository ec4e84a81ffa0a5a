//! Kills the leftover processes of a command through pidfds: first SIGTERM, then SIGKILL.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rustix::io::{Errno, Result as SysResult};
use rustix::process::Signal;

use super::reaper::raise_priority;
use super::{REAPING, SupervisedCommand};
use crate::collect::Descendant;
use crate::model::{Killed, Pid};

/// Maximum time for which pidns repeats SIGKILL. A process that survives this time is in
/// uninterruptible sleep.
const KILLING: Duration = Duration::from_secs(10);

/// Maximum pause between two rounds. The pause is short, because no signal tells pidns that a
/// descendant has forked.
const ROUND: Duration = Duration::from_millis(20);

/// Kills all descendants of the command, and all members of its cgroup. Sends SIGTERM, waits up to
/// `grace`, and then sends SIGKILL. A signal that asks pidns to exit ends the wait early.
///
/// Sends each signal repeatedly, because descendants can fork in the meantime. Gives up after
/// `grace` (SIGTERM) or `KILLING` (SIGKILL). Also gives up if pidns has no permission to signal any
/// remaining descendant.
///
/// If descendants remain after SIGTERM, calls `before_sigkill`.
pub fn kill(
    command: &mut SupervisedCommand,
    grace: Duration,
    before_sigkill: impl FnOnce(&SupervisedCommand),
) -> Killed {
    raise_priority();
    let mut killed = Killed::default();
    let mut seen = HashSet::new();
    let mut terminate = |it: &Descendant| {
        if !seen.insert(it.identity()) {
            return Ok(());
        }
        let result = it.signal(Signal::TERM);
        // A stopped process handles SIGTERM only after it is continued.
        let _ = it.signal(Signal::CONT);
        result
    };
    let mut kill = |it: &Descendant| it.signal(Signal::KILL);
    let sigterm = repeat(command, grace, Hurry::Allowed, &mut killed.refused, &mut terminate);
    killed.sigterm = sigterm.sent;
    if sigterm.leaves_some || command.has_members() {
        before_sigkill(command);
        let deadline = Instant::now() + KILLING;
        let members = kill_cgroup(command, deadline);
        if members.is_some() {
            // `cgroup.kill` needs no permission to signal the members. So forget the refused
            // processes. The next rounds find those that remain.
            killed.refused.clear();
        }
        let time = deadline.saturating_duration_since(Instant::now());
        let sigkill = repeat(command, time, Hurry::Ignored, &mut killed.refused, &mut kill);
        killed.sigkill = sigkill.sent;
        killed.sigkill.extend(members.into_iter().flatten());
    }
    note_survivors(command, &mut killed);
    killed
}

/// Records the processes that are still running, and the zombies that nobody has reaped in time.
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

/// Kills all members of the command's cgroup at once, and returns their PIDs. Waits until they are
/// gone, or until `deadline`. Returns `None` without a cgroup, or if the cgroup cannot be killed
/// (before Linux 5.14).
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

/// Repeatedly calls `send` for each descendant. Adds running descendants to `refused` if `send`
/// fails for them. Returns when no other running descendant is left, or when `time` has passed.
fn repeat(
    command: &mut SupervisedCommand,
    time: Duration,
    hurry: Hurry,
    refused: &mut BTreeSet<Pid>,
    send: &mut dyn FnMut(&Descendant) -> SysResult<()>,
) -> Signalled {
    let deadline = Instant::now().checked_add(time);
    let mut signalled = BTreeSet::new();
    loop {
        command.note_hurry();
        let mut leaves_some = command.is_anything_left();
        if leaves_some {
            let mut living = BTreeSet::new();
            command.walk(|it| {
                let result = send(it);
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
            // Stop if certainly no descendant is running. Only zombies are left, which their
            // tracers must reap.
            leaves_some = if living.is_empty() {
                command.may_have_missed()
            } else {
                !living.is_subset(refused)
            };
        }
        let left = deadline.map_or(ROUND, |at| at.saturating_duration_since(Instant::now()));
        let is_hurried = hurry == Hurry::Allowed && command.hurried;
        if !leaves_some || left.is_zero() || is_hurried {
            return Signalled { sent: signalled, leaves_some };
        }
        command.signals.wait(Some(left.min(ROUND)));
    }
}
