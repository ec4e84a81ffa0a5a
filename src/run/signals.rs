//! Reads signals from a descriptor (`signalfd(2)`) instead of handling them asynchronously.
//!
//! A signal handler would change the signal dispositions that the command inherits. If pidns was
//! started with an ignored signal (by `nohup`, or as a background job of `sh`) and installed a
//! handler, `execve(2)` would reset the signal to its default action, so the command would no
//! longer ignore the signal. Blocking a signal does not change its disposition, and the kernel
//! queues a blocked signal even if it is ignored.

use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};

/// The signals that pidns reads: signals to pass on to the command, and SIGCHLD, which reports that
/// a child has terminated. All other signals have their usual effect on pidns.
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

/// The signals that this process blocks, with the descriptor to read them from.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    /// The signals in [`TAKEN`] that were not blocked when pidns was started.
    unblocked: Vec<NixSignal>,
}

/// A signal that pidns has received.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Number of the signal.
    pub signal: Signal,
    /// `true` if the kernel sent the signal, for example because of Ctrl-C on a terminal. The whole
    /// foreground process group receives such a signal.
    pub from_kernel: bool,
    /// The process that sent the signal. `None` if the sender was the kernel or a process outside
    /// pidns's own PID namespace.
    pub sender: Option<Pid>,
}

impl Signals {
    /// Blocks the signals in [`TAKEN`] in the calling thread, and in all threads that this thread
    /// starts later.
    pub fn block() -> io::Result<Self> {
        let taken = SigSet::from_iter(TAKEN);
        let before = taken.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let fd = SignalFd::with_flags(&taken, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let unblocked = TAKEN.into_iter().filter(|&signal| !before.contains(signal)).collect();
        Ok(Self { fd, unblocked })
    }

    /// Returns the numbers of the signals to unblock for the command, in the format that
    /// [`unblock`] parses.
    #[must_use]
    pub fn unblocked(&self) -> String {
        let numbers: Vec<_> =
            self.unblocked.iter().map(|&signal| (signal as i32).to_string()).collect();
        numbers.join(",")
    }

    /// Waits until a signal arrives or the timeout expires.
    pub fn wait(&self, timeout: Option<Duration>) {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // Ignore errors such as EINTR, which end the wait early: all callers wait in a loop.
        let _ = poll(&mut [PollFd::new(&self.fd.as_fd(), PollFlags::IN)], timeout.as_ref());
    }

    /// Returns the next pending signal, if any.
    pub fn next(&self) -> Option<Received> {
        loop {
            let info = self.fd.read_signal().ok()??;
            let number = i32::try_from(info.ssi_signo).ok();
            let Some(signal) = number.and_then(Signal::from_named_raw) else { continue };
            return Some(Received {
                signal,
                // The signal code is positive for signals from the kernel (`SI_FROMKERNEL`), and 0
                // or negative for signals from processes.
                from_kernel: info.ssi_code > 0,
                sender: i32::try_from(info.ssi_pid).ok().and_then(Pid::from_raw),
            });
        }
    }
}

/// Stops this process with the default action of a signal, and returns when another process has
/// continued it. Returns at once if its process group is orphaned: the kernel does not stop such a
/// process, because no shell could continue it.
pub fn stop_by(signal: Signal) {
    let Ok(signal) = NixSignal::try_from(signal.as_raw()) else { return };
    let set = SigSet::from(signal);
    // Ignore errors: pidns then keeps running while the command is stopped.
    let _ = nix::sys::signal::raise(signal);
    let _ = set.thread_unblock();
    let _ = set.thread_block();
}

/// Unblocks signals in the calling thread. `numbers` is the result of [`Signals::unblocked`].
///
/// # Errors
/// Returns an error if `numbers` isn't a list of signal numbers.
pub fn unblock(numbers: &str) -> io::Result<()> {
    let mut set = SigSet::empty();
    for number in numbers.split_terminator(',') {
        let number: i32 = number.parse().map_err(io::Error::other)?;
        set.add(NixSignal::try_from(number)?);
    }
    Ok(set.thread_unblock()?)
}
