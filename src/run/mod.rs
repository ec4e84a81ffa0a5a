//! Runs a command, and supervises the command and its descendants.
//!
//! pidns is a *subreaper* (`PR_SET_CHILD_SUBREAPER` in `prctl(2)`, since Linux 3.4): when the
//! parent of a descendant exits, the descendant becomes a child of pidns, regardless of its session
//! and process group. In a PID namespace that the command created, the descendant becomes a child
//! of that namespace's init instead, and that init is a descendant of pidns too. Therefore pidns
//! has a child as long as any descendant is left. When no descendant is left, `wait(2)` fails with
//! `ECHILD`, so pidns needs no scan of /proc to notice this.

pub mod kill;
pub mod launch;
mod signals;

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid as RawPid, Signal, WaitOptions, WaitStatus, getpid, getsid, kill_process,
    set_child_subreaper, wait,
};

use crate::collect::Descendants;
use crate::error::Error;
use crate::model::{Ended, MountedNamespaces, Pid};
use signals::{Received, Signals};

/// A command and its descendants, for which pidns is the subreaper.
#[derive(Debug)]
pub struct SupervisedCommand {
    signals: Signals,
    descendants: Descendants,
    /// PID of the command. The kernel does not reuse this PID before pidns has reaped the command.
    command: RawPid,
    state: State,
    /// `true` after pidns has received a signal that asks pidns to exit.
    hurried: bool,
    /// The PID namespaces that were bind-mounted before the command started.
    mounted: MountedNamespaces,
}

/// The state of the command that pidns supervises.
#[derive(Clone, Copy, Debug)]
enum State {
    Running,
    /// The command was stopped by this signal. pidns still has to stop itself with the same signal.
    Stopped(Signal),
    Ended(Ended),
}

impl SupervisedCommand {
    /// Starts a command. The command inherits the descriptors, process group, session, terminal and
    /// signal mask with which pidns was started.
    ///
    /// If `dies_with_us` is `true`, the kernel kills the command when pidns is killed. The
    /// descendants of the command keep running.
    ///
    /// # Errors
    /// Returns an error if the process cannot be started, if /proc is not usable, or if SIGCHLD is
    /// ignored.
    pub fn start(command: &[OsString], dies_with_us: bool) -> Result<Self, Error> {
        let descendants = Descendants::open(Path::new("/proc"))?;
        let failed = |what| move |errno: Errno| Error::Run { what, source: errno.into() };
        if descendants.are_forgotten()? {
            return Err(Error::StatusLost);
        }
        let mounted = descendants.mounted()?;
        set_child_subreaper(Some(getpid())).map_err(failed("become a subreaper"))?;
        let signals = Signals::block()
            .map_err(|source| Error::Run { what: "take signals (signalfd)", source })?;
        let child = launch::spawn(command, &signals, dies_with_us)?;
        let command = RawPid::from_child(&child);
        Ok(Self { signals, descendants, command, state: State::Running, hurried: false, mounted })
    }

    /// Returns the processes that descend from pidns.
    #[must_use]
    pub fn descendants(&self) -> &Descendants {
        &self.descendants
    }

    /// Returns the PID namespaces that were bind-mounted before the command started.
    #[must_use]
    pub fn mounted_before(&self) -> &MountedNamespaces {
        &self.mounted
    }

    /// Returns `true` if a PID namespace has been bind-mounted since the command started. Such a
    /// mount keeps the namespace alive even without a process.
    ///
    /// # Errors
    /// Returns an error if the mount table cannot be read.
    pub fn has_new_mounts(&self) -> Result<bool, Error> {
        Ok(!self.descendants.mounted()?.points.is_subset(&self.mounted.points))
    }

    /// Waits for the command to end. In the meantime, reaps orphans and passes signals on to the
    /// command.
    ///
    /// # Errors
    /// Returns an error if the kernel discarded the exit status of the command.
    pub fn wait_for_command(&mut self) -> Result<Ended, Error> {
        loop {
            // Read signals before reaping: if a child terminates after the reaping, its SIGCHLD
            // stays pending, so the wait for the next signal ends at once.
            while let Some(received) = self.signals.next() {
                self.pass_on(received);
            }
            let has_children = self.reap();
            match self.state {
                State::Ended(ended) => {
                    // Discard signals that arrived before the command ended, such as the SIGINT of
                    // a Ctrl-C that terminated the command. Such signals must not shorten the wait
                    // for the command's descendants.
                    while self.signals.next().is_some() {}
                    return Ok(ended);
                }
                State::Running | State::Stopped(_) if !has_children => {
                    return Err(Error::StatusLost);
                }
                State::Stopped(signal) => {
                    self.state = State::Running;
                    signals::stop_by(signal);
                }
                State::Running => self.signals.wait(None),
            }
        }
    }

    /// Waits until no descendant is left, a signal asks pidns to exit, or the time `grace` has
    /// passed. Returns `true` if no descendant is left.
    pub fn wait_for_descendants(&mut self, grace: Duration) -> bool {
        let deadline = Instant::now().checked_add(grace);
        loop {
            self.note_hurry();
            if !self.is_anything_left() {
                return true;
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if self.hurried || left == Some(Duration::ZERO) {
                return false;
            }
            self.signals.wait(left);
        }
    }

    /// Reaps terminated children. Returns `true` if a descendant is left.
    pub fn is_anything_left(&mut self) -> bool {
        let has_children = self.reap();
        has_children && (self.descendants.inherited().is_empty() || self.descendants.any())
    }

    /// Reads signals that arrived after the command ended. They are not passed on, because the
    /// command no longer exists, but a signal that asks pidns to exit ends any further wait.
    fn note_hurry(&mut self) {
        while let Some(Received { signal, .. }) = self.signals.next() {
            self.hurried |=
                [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM].contains(&signal);
        }
    }

    /// Reaps all terminated children. Returns `true` if pidns still has children.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some((pid, status))) if pid == self.command && !self.has_ended() => {
                    self.note(status);
                }
                Ok(Some(_)) => self.descendants.forget_reaped(),
                Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// Records what `wait(2)` reported about the command.
    fn note(&mut self, status: WaitStatus) {
        let number = |number: Option<i32>| number.and_then(|it| u8::try_from(it).ok());
        if let Some(status) = number(status.exit_status()) {
            self.state = State::Ended(Ended::Exited(status));
        } else if let Some(signal) = number(status.terminating_signal()) {
            self.state = State::Ended(Ended::Killed(signal));
        } else if let Some(signal) = status.stopping_signal().and_then(Signal::from_named_raw)
            && [Signal::TSTP, Signal::TTIN, Signal::TTOU].contains(&signal)
        {
            // pidns stops itself only for signals of the terminal's job control. A process that
            // stops the command with SIGSTOP will later continue the command, but would not
            // continue pidns.
            self.state = State::Stopped(signal);
        }
    }

    /// Passes a signal on to the command, unless the command has probably received the signal from
    /// its sender already.
    fn pass_on(&self, received: Received) {
        let Received { signal, from_kernel, sender } = received;
        // A terminal sends a signal to its whole foreground process group, which includes the
        // command. SIGHUP is the exception: when a terminal hangs up, only the session leader
        // receives it.
        let is_session_leader = || getsid(None).is_ok_and(|session| session == getpid());
        let has_it_already = match (from_kernel, sender) {
            (true, _) => signal != Signal::HUP || !is_session_leader(),
            // If the sender is the command or a descendant, it probably used `kill 0`, as shell
            // scripts do. `kill 0` signals the whole process group, which includes the command.
            (false, Some(sender)) => {
                sender == self.command
                    || model_pid(sender).is_some_and(|pid| self.descendants.contains(pid))
            }
            (false, None) => false,
        };
        if signal != Signal::CHILD && !has_it_already {
            // The PID cannot have been reused: a terminated command stays a zombie until pidns
            // reaps it.
            let _ = kill_process(self.command, signal);
        }
    }
}

fn model_pid(pid: RawPid) -> Option<Pid> {
    u32::try_from(pid.as_raw_nonzero().get()).ok().and_then(Pid::new)
}
