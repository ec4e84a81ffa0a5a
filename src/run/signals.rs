//! Signals as bytes in a descriptor (`signalfd(2)`), so that none arrives at a
//! bad moment and no handler is needed. What a signal means is for others.
//!
//! Handlers would change what a command inherits: one that takes the place of
//! an ignored signal (`nohup`, background jobs of `sh`) becomes the default
//! action by `execve(2)`. A blocked signal is queued whatever its action is,
//! and the action stays as it was.

use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};

/// What is passed on to a command, beside SIGCHLD, which wakes the one who
/// waits. The rest of the signals acts on pidns as on anything.
const TAKEN: [NixSignal; 13] = [
    NixSignal::SIGCHLD,
    NixSignal::SIGHUP,
    NixSignal::SIGINT,
    NixSignal::SIGQUIT,
    NixSignal::SIGTERM,
    NixSignal::SIGUSR1,
    NixSignal::SIGUSR2,
    NixSignal::SIGALRM,
    NixSignal::SIGWINCH,
    NixSignal::SIGCONT,
    NixSignal::SIGTSTP,
    NixSignal::SIGTTIN,
    NixSignal::SIGTTOU,
];

/// The signals of this process.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    /// Those that were not blocked before.
    unblocked: Vec<NixSignal>,
}

/// A signal that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// Whether the kernel sent it, such as for a key of the terminal: then the
    /// whole foreground process group has it.
    pub from_kernel: bool,
    /// Who sent it; `None` for the kernel, and for a process that is outside
    /// this PID namespace.
    pub sender: Option<Pid>,
}

impl Signals {
    /// Blocks the signals in the calling thread, and so in those that it
    /// starts, and queues them.
    ///
    /// # Errors
    /// No more descriptors (`EMFILE`, `ENFILE`) or memory.
    pub fn block() -> io::Result<Self> {
        let taken = SigSet::from_iter(TAKEN);
        let before = taken.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let fd = SignalFd::with_flags(&taken, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let unblocked = TAKEN.into_iter().filter(|&signal| !before.contains(signal)).collect();
        Ok(Self { fd, unblocked })
    }

    /// The numbers of the signals that a command must not find blocked.
    #[must_use]
    pub fn unblocked(&self) -> String {
        let numbers: Vec<_> =
            self.unblocked.iter().map(|&signal| (signal as i32).to_string()).collect();
        numbers.join(",")
    }

    /// Waits until a signal is there, or the time is over.
    pub fn wait(&self, timeout: Option<Duration>) {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // An interruption ends the wait early, as a signal does.
        let _ = poll(&mut [PollFd::new(&self.fd.as_fd(), PollFlags::IN)], timeout.as_ref());
    }

    /// The next signal that has arrived.
    pub fn next(&self) -> Option<Received> {
        loop {
            let info = self.fd.read_signal().ok()??;
            let number = i32::try_from(info.ssi_signo).ok();
            let Some(signal) = number.and_then(Signal::from_named_raw) else { continue };
            return Some(Received {
                signal,
                // `SI_FROMKERNEL` of the kernel: 0 and below are of processes.
                from_kernel: info.ssi_code > 0,
                sender: i32::try_from(info.ssi_pid).ok().and_then(Pid::from_raw),
            });
        }
    }
}

/// Stops this process by the default action of a signal, as its command
/// was, and returns when it has been continued. In an orphaned process
/// group, where nobody could continue it, the kernel does not stop it.
pub fn stop_by(signal: Signal) {
    let Ok(signal) = NixSignal::try_from(signal.as_raw()) else { return };
    let set = SigSet::from(signal);
    // What cannot be raised does not stop: the command waits alone.
    let _ = nix::sys::signal::raise(signal);
    let _ = set.thread_unblock();
    let _ = set.thread_block();
}

/// Takes signals out of the calling thread's mask, by the numbers that
/// [`Signals::unblocked`] gave.
///
/// # Errors
/// That is no list of signals.
pub fn unblock(numbers: &str) -> io::Result<()> {
    let mut set = SigSet::empty();
    for number in numbers.split_terminator(',') {
        let number: i32 = number.parse().map_err(io::Error::other)?;
        set.add(NixSignal::try_from(number)?);
    }
    Ok(set.thread_unblock()?)
}
