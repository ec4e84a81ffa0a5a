//! A command as a job: started, waited for with all that is orphaned by it,
//! and ended. Nothing here reads namespaces, or says what it finds.
//!
//! pidns is the *subreaper* of its job (`PR_SET_CHILD_SUBREAPER` of `prctl(2)`,
//! since Linux 3.4): a process whose parent ends becomes a child of pidns,
//! however it was forked and whatever session it is in. In a PID namespace made
//! by the job it becomes a child of that namespace's init, which is a
//! descendant of pidns like any other. So there is something left of the job
//! exactly as long as pidns has a child; the kernel says that for nothing
//! (`ECHILD`), and no look at /proc has to be trusted for it.

mod kill;
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

/// A command that runs, or has run, under pidns.
#[derive(Debug)]
pub struct Job {
    signals: Signals,
    descendants: Descendants,
    /// The command; its PID is its own until it has been waited for.
    command: RawPid,
    state: State,
    /// Somebody wants pidns to come to its end.
    hurried: bool,
    /// The PID namespaces that were mounted before.
    mounted: MountedNamespaces,
}

/// What has become of the command.
#[derive(Clone, Copy, Debug)]
enum State {
    Running,
    /// Stopped by this signal, which pidns has not followed yet.
    Stopped(Signal),
    Ended(Ended),
}

impl Job {
    /// Starts a command. Its descriptors, process group, session, terminal and
    /// signal mask are those that pidns was started with.
    ///
    /// With `dies_with_us` the command, not its descendants, is killed if pidns
    /// is killed.
    ///
    /// # Errors
    /// No process can be started, there is no /proc to find descendants in, or
    /// SIGCHLD is ignored.
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

    /// Those that the job has left, at any moment.
    #[must_use]
    pub fn descendants(&self) -> &Descendants {
        &self.descendants
    }

    /// The PID namespaces that were mounted before the job.
    #[must_use]
    pub fn mounted_before(&self) -> &MountedNamespaces {
        &self.mounted
    }

    /// Whether more PID namespaces are mounted than before: these stay when
    /// all processes are gone.
    ///
    /// # Errors
    /// There is no mount table any more.
    pub fn has_new_mounts(&self) -> Result<bool, Error> {
        Ok(!self.descendants.mounted()?.points.is_subset(&self.mounted.points))
    }

    /// Waits for the command, reaps what is orphaned meanwhile, and passes
    /// signals on.
    ///
    /// # Errors
    /// The kernel forgot how the command ended.
    pub fn wait_for_command(&mut self) -> Result<Ended, Error> {
        loop {
            // Signals first: SIGCHLD for what ends after that is still to be
            // read, and ends the wait below.
            while let Some(received) = self.signals.next() {
                self.pass_on(received);
            }
            let has_children = self.reap();
            match self.state {
                State::Ended(ended) => {
                    // What arrived before the command had ended, such as the
                    // key that ended both, is not meant for what comes next.
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

    /// Waits until nothing of the job is left, but no longer than `grace`, nor
    /// after a signal that asks pidns to end. Returns whether nothing is left.
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

    /// Whether the job has a process left. Reaps what has terminated.
    pub fn is_anything_left(&mut self) -> bool {
        let has_children = self.reap();
        has_children && (self.descendants.inherited().is_empty() || self.descendants.any())
    }

    /// Signals that came after the command had ended: there is nobody to pass
    /// them on to, but one that would end pidns ends its waiting.
    fn note_hurry(&mut self) {
        while let Some(Received { signal, .. }) = self.signals.next() {
            self.hurried |=
                [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM].contains(&signal);
        }
    }

    /// Reaps all that have terminated; whether there are other children.
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

    /// What `wait(2)` says of the command.
    fn note(&mut self, status: WaitStatus) {
        let number = |number: Option<i32>| number.and_then(|it| u8::try_from(it).ok());
        if let Some(status) = number(status.exit_status()) {
            self.state = State::Ended(Ended::Exited(status));
        } else if let Some(signal) = number(status.terminating_signal()) {
            self.state = State::Ended(Ended::Killed(signal));
        } else if let Some(signal) = status.stopping_signal().and_then(Signal::from_named_raw)
            && [Signal::TSTP, Signal::TTIN, Signal::TTOU].contains(&signal)
        {
            // As the terminal asks. Whoever stops a command otherwise will
            // continue it, and does not know of pidns.
            self.state = State::Stopped(signal);
        }
    }

    /// Passes a signal on to the command, unless the command has it already.
    fn pass_on(&self, received: Received) {
        let Received { signal, from_kernel, sender } = received;
        // A terminal sends to its whole foreground process group, which the
        // command is in as pidns is. Only when it hangs up is it the session
        // leader alone whom it tells.
        let is_session_leader = || getsid(None).is_ok_and(|session| session == getpid());
        let is_theirs = match (from_kernel, sender) {
            (true, _) => signal != Signal::HUP || !is_session_leader(),
            // `kill 0` of a shell script is sent to the group, too.
            (false, Some(sender)) => {
                sender == self.command
                    || model_pid(sender).is_some_and(|pid| self.descendants.contains(pid))
            }
            (false, None) => false,
        };
        if signal != Signal::CHILD && !is_theirs {
            // A zombie takes it; the command is not reaped yet.
            let _ = kill_process(self.command, signal);
        }
    }
}

fn model_pid(pid: RawPid) -> Option<Pid> {
    u32::try_from(pid.as_raw_nonzero().get()).ok().and_then(Pid::new)
}
