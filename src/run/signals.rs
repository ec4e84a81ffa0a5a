//! Reads signals from a `signalfd(2)`, and passes them on to the command.
//!
//! pidns blocks signals instead of installing handlers, because a handler would undo `nohup(1)`:
//! `execve(2)` resets handled signals to their default action, so the command would no longer
//! ignore SIGHUP.
//!
//! The kernel queues a blocked signal even if the signal is ignored, and even if pidns is an init.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{getpgid, getsid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, getpid, kill_process};

use super::raw_signals;
use crate::collect::Descendants;

/// Signals that report a fault in pidns itself, and must terminate pidns.
const FAULTS: [NixSignal; 6] = [
    NixSignal::SIGBUS,
    NixSignal::SIGFPE,
    NixSignal::SIGILL,
    NixSignal::SIGSEGV,
    NixSignal::SIGSYS,
    NixSignal::SIGTRAP,
];

/// The signals that [`Signals::block_ending`] blocks.
const ENDING: [NixSignal; 3] = [NixSignal::SIGINT, NixSignal::SIGTERM, NixSignal::SIGHUP];

/// Signals that ask pidns to stop waiting for leftover processes and slow readers.
const EXIT_REQUESTS: [NixSignal; 4] =
    [NixSignal::SIGHUP, NixSignal::SIGINT, NixSignal::SIGQUIT, NixSignal::SIGTERM];

/// The signals that a terminal sends to its foreground process group.
const OF_TERMINAL: [Signal; 8] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::CONT,
    Signal::TSTP,
    Signal::TTIN,
    Signal::TTOU,
    Signal::WINCH,
];

/// Signals that pidns does not pass on if the kernel sent them, because they concern pidns itself
/// or its children.
const OF_PIDNS: [Signal; 2] = [Signal::CHILD, Signal::XCPU];

/// The signals that this process blocks, and the signalfd to read them from.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    /// The signal mask that pidns was started with.
    before: SigSet,
}

/// A signal that pidns has received.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Number of the signal.
    pub signal: Signal,
    /// `true` if the kernel sent the signal, for example because of Ctrl-C.
    from_kernel: bool,
    /// The sending process, if it is visible in pidns's PID namespace.
    sender: Option<Pid>,
}

impl Signals {
    /// Blocks all signals except fault signals, in this thread and the threads that it starts.
    pub fn block() -> io::Result<Self> {
        let mut taken = SigSet::all();
        for fault in FAULTS {
            taken.remove(fault);
        }
        Self::of(&taken)
    }

    /// Blocks SIGINT, SIGTERM and SIGHUP, unless they are ignored (`nohup(1)`).
    pub fn block_ending() -> io::Result<Self> {
        Self::of(&ENDING.into_iter().filter(|it| is_heeded(*it)).collect())
    }

    fn of(taken: &SigSet) -> io::Result<Self> {
        let before = taken.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let fd = SignalFd::with_flags(taken, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { fd, before })
    }

    /// Returns a signalfd for the signals that ask pidns to exit.
    pub fn exit_requests() -> io::Result<SignalFd> {
        let requests = EXIT_REQUESTS.into_iter().filter(|it| is_heeded(*it)).collect();
        SignalFd::with_flags(&requests, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(io::Error::from)
    }

    /// Returns the signal mask that pidns was started with.
    #[must_use]
    pub fn mask_before(&self) -> &SigSet {
        &self.before
    }

    /// Waits until a signal arrives or the timeout expires.
    pub fn wait(&self, timeout: Option<Duration>) {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // Ignore errors such as EINTR, because all callers wait in a loop.
        let _ = poll(&mut [PollFd::new(&self.fd.as_fd(), PollFlags::IN)], timeout.as_ref());
    }

    /// Returns `true` if a signal is pending.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        let mut polled = [PollFd::new(&self.fd, PollFlags::IN)];
        poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Returns the signalfd, which is readable while a signal is pending.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Waits for a signal or a hang-up of `output`, and returns `true` after a hang-up.
    #[must_use]
    pub fn wait_while_open(&self, output: BorrowedFd<'_>, timeout: Option<Duration>) -> bool {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let signals = self.fd.as_fd();
        // Without a requested event, poll(2) reports only errors and hang-ups of `output`.
        let mut polled = [
            PollFd::new(&signals, PollFlags::IN),
            PollFd::from_borrowed_fd(output, PollFlags::empty()),
        ];
        // Ignore errors such as EINTR, because the caller waits in a loop.
        let _ = poll(&mut polled, timeout.as_ref());
        let [_, output] = polled;
        output.revents().intersects(PollFlags::ERR | PollFlags::HUP)
    }

    /// Returns the pending signals.
    pub fn iter(&self) -> impl Iterator<Item = Received> {
        std::iter::from_fn(|| self.next())
    }

    /// Returns the next pending signal, if any.
    fn next(&self) -> Option<Received> {
        loop {
            let info = self.fd.read_signal().ok()??;
            let number = i32::try_from(info.ssi_signo).ok();
            let Some(signal) = number.and_then(raw_signals::signal) else { continue };
            return Some(Received {
                signal,
                // The signal code is positive for signals from the kernel (`SI_FROMKERNEL`).
                from_kernel: info.ssi_code > 0,
                sender: i32::try_from(info.ssi_pid).ok().and_then(Pid::from_raw),
            });
        }
    }
}

impl Received {
    /// Passes the signal on to the command, unless it concerns pidns itself or has already reached
    /// the command.
    pub fn pass_on(self, command: Pid, descendants: &Descendants) {
        // The kernel names pidns as the sender of a SIGPIPE or SIGXFSZ that pidns has caused.
        let is_own = self.sender == Some(getpid())
            || self.signal == Signal::CHILD
            || (self.from_kernel && OF_PIDNS.contains(&self.signal));
        if !is_own && !self.has_reached(command, descendants) {
            // The command's PID is not reused, because pidns has not reaped the command yet.
            let _ = kill_process(command, self.signal);
        }
    }

    /// Returns `true` if the signal went to the process group of pidns and the command.
    fn has_reached(self, command: Pid, descendants: &Descendants) -> bool {
        let Self { signal, from_kernel, sender } = self;
        // Use nix here, because rustix does not support the ID 0 that the kernel returns if the
        // group or session leader is outside pidns's PID namespace.
        let nix_pid = |pid: Pid| nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get());
        if getpgid(Some(nix_pid(command))) != getpgid(None) {
            return false;
        }
        // When a terminal hangs up, the kernel sends SIGHUP to the session leader only.
        let is_session_leader = || getsid(None) == Ok(nix_pid(getpid()));
        match (from_kernel, sender) {
            (true, _) => {
                OF_TERMINAL.contains(&signal) && (signal != Signal::HUP || !is_session_leader())
            }
            // The command or one of its descendants has probably signalled the whole process group
            // with `kill 0`.
            (false, Some(sender)) => sender == command || descendants.contains(sender),
            (false, None) => false,
        }
    }
}

/// Returns `true` if a signal asks `pidns run` to exit.
#[must_use]
pub fn asks_to_exit(signal: Signal) -> bool {
    EXIT_REQUESTS.into_iter().any(|it| it as i32 == signal.as_raw() && is_heeded(it))
}

/// Returns `true` unless the signal was ignored when pidns was started (`nohup(1)`).
fn is_heeded(signal: NixSignal) -> bool {
    !raw_signals::is_ignored(signal as i32)
}

/// Stops pidns with SIGTSTP, SIGTTIN or SIGTTOU, until pidns is continued.
pub fn stop_by(signal: Signal) {
    let Ok(signal) = NixSignal::try_from(signal.as_raw()) else { return };
    // Stop pidns together with the command only if there is a terminal. Without one, no shell would
    // continue pidns. In an orphaned process group, the kernel ignores SIGTSTP, SIGTTIN and
    // SIGTTOU.
    if has_terminal() {
        take_action(signal);
    }
}

/// Returns `true` if pidns has a controlling terminal.
fn has_terminal() -> bool {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    open("/dev/tty", flags, Mode::empty()).is_ok()
}

/// Terminates pidns with SIGINT, unless SIGINT is ignored or pidns is an init.
pub fn end_by_sigint() {
    take_action(NixSignal::SIGINT);
}

/// Sends a signal to this thread, and unblocks the signal briefly so that it takes effect.
fn take_action(signal: NixSignal) {
    let set = SigSet::from(signal);
    let _ = nix::sys::signal::raise(signal);
    let _ = set.thread_unblock();
    let _ = set.thread_block();
}
