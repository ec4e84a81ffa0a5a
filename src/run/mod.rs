//! Runs a command, and supervises the command and its descendants.
//!
//! pidns is a subreaper (`prctl(2)`, since Linux 3.4), so it adopts orphaned descendants. In a
//! nested PID namespace, the init adopts orphans and is itself a descendant of pidns. If `wait(2)`
//! fails with `ECHILD`, no descendant is left.
//!
//! All children of pidns must belong to the command (see [`Descendants::adopts_others`]).

mod cgroup;
pub mod kill;
pub mod launch;
pub mod raw_signals;
mod reaper;
pub mod report_file;
pub mod signals;

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signalfd::SignalFd;
use rustix::io::{Errno, Result as SysResult, fcntl_dupfd_cloexec};
use rustix::process::{
    Pid as RawPid, Resource, Signal, WaitOptions, WaitStatus, getpid, getrlimit,
    set_child_subreaper, setrlimit, wait,
};

use crate::collect::{Descendant, Descendants, raise_descriptor_limit};
use crate::error::Error;
use crate::model::{Ended, MountedNamespaces, Pid};
use cgroup::CommandCgroup;
use reaper::Reaper;
use signals::Signals;
pub use signals::end_by_sigint;

/// A command and its descendants, for which pidns is the subreaper.
#[derive(Debug)]
pub struct SupervisedCommand {
    signals: Signals,
    /// A signalfd for the signals that ask pidns to exit.
    exit_requests: SignalFd,
    reaper: Reaper,
    /// The cgroup of the command (`--cgroup`).
    cgroup: Option<CommandCgroup>,
    descendants: Descendants,
    /// PID of the command, which the kernel does not reuse until pidns reaps the command.
    command: RawPid,
    state: State,
    /// The last request to exit, and the time at which pidns read it.
    asked_to_exit: Option<(Signal, Instant)>,
    /// `true` if pidns has received a request to exit since the command ended.
    hurried: bool,
    /// The PID namespaces that were bind-mounted before the command started.
    mounted: MountedNamespaces,
}

/// Maximum number of signals to read, or of children to reap, in a row.
///
/// A flood of signals must not stop pidns from reaping, and vice versa.
const ROUND: usize = 1000;

/// Maximum pause between two checks for descendants. SIGCHLD usually ends the pause early.
const PAUSE: Duration = Duration::from_millis(100);

/// Time that a parent has to reap a zombie before the zombie counts as a leftover.
pub const REAPING: Duration = Duration::from_millis(100);

/// How long pidns ignores repeats of a signal that has asked it to exit.
///
/// `timeout(1)`, for example, sends its signal twice, but means one request.
const REPEAT_WINDOW: Duration = Duration::from_millis(500);

/// Number of free descriptors needed to find and kill leftover processes.
const SPARE_DESCRIPTORS: usize = 8;

/// The children that are left after reaping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Children {
    None,
    /// All remaining children are running.
    Running,
    /// Reaping stopped after [`ROUND`] children, and more terminated children may be left.
    Terminated,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Running,
    /// The command was stopped by this signal, and pidns must stop, too.
    Stopped(Signal),
    Ended(Ended),
}

impl SupervisedCommand {
    /// Starts a command with the process group and signal mask that pidns was started with.
    ///
    /// If `dies_with_us` is `true`, the kernel kills the command when pidns is killed. If
    /// `in_cgroup` is `true`, the members of the command's new cgroup count as descendants.
    ///
    /// # Errors
    /// Fails if the process or cgroup cannot be created, /proc is not usable, or SIGCHLD is
    /// ignored.
    pub fn start(command: &[OsString], dies_with_us: bool, in_cgroup: bool) -> Result<Self, Error> {
        let descendants = Descendants::open(Path::new("/proc"))?;
        let failed = |what| move |errno: Errno| Error::Run { what, source: errno.into() };
        if descendants.are_forgotten()? {
            return Err(Error::StatusLost);
        }
        let mounted = descendants.mounted()?;
        set_child_subreaper(Some(getpid())).map_err(failed("become a subreaper"))?;
        let no_signals = |source| Error::Run { what: "take signals (signalfd)", source };
        let signals = Signals::block().map_err(no_signals)?;
        let exit_requests = Signals::exit_requests().map_err(no_signals)?;
        check_descriptors(exit_requests.as_fd())
            .map_err(failed("open the files for a scan (ulimit -n)"))?;
        let cgroup = if in_cgroup {
            let parent = descendants.own_cgroup()?.ok_or(Error::NoCgroup)?;
            Some(CommandCgroup::create(&parent)?)
        } else {
            None
        };
        let reaper = Reaper::start();
        let members_file = cgroup.as_ref().map(CommandCgroup::members_file);
        let command = launch::spawn(command, &signals, dies_with_us, members_file.as_deref())?;
        // The command has already inherited the old limit.
        raise_descriptor_limit();
        Ok(Self {
            signals,
            exit_requests,
            reaper,
            cgroup,
            descendants,
            command,
            state: State::Running,
            asked_to_exit: None,
            hurried: false,
            mounted,
        })
    }

    /// Returns the processes that descend from pidns.
    #[must_use]
    pub fn descendants(&self) -> &Descendants {
        &self.descendants
    }

    /// Returns the members of the command's cgroup, with their PIDs as /proc shows them.
    #[must_use]
    pub fn members(&self) -> Option<BTreeSet<Pid>> {
        let members = self.cgroup.as_ref()?.members().into_iter();
        Some(members.filter_map(|raw| Some(self.descendants.open_member(raw)?.pid)).collect())
    }

    /// Visits the cgroup's members and pidns's descendants, until `visit` returns `Break`.
    fn walk(&self, mut visit: impl FnMut(&Descendant) -> ControlFlow<()>) {
        let cgroup = self.cgroup.as_ref();
        let members = cgroup.map(|cgroup| self.descendants.open_listed(|| cgroup.members()));
        let members = members.unwrap_or_default();
        if members.iter().try_for_each(&mut visit).is_break() {
            return;
        }
        let visited: HashSet<Pid> = members.iter().map(|it| it.pid).collect();
        // A descendant may have been moved out of the cgroup.
        self.descendants.walk(|it| {
            if visited.contains(&it.pid) { ControlFlow::Continue(()) } else { visit(it) }
        });
    }

    /// Returns the PID namespaces that were bind-mounted before the command started.
    #[must_use]
    pub fn mounted_before(&self) -> &MountedNamespaces {
        &self.mounted
    }

    /// Returns `true` if a PID namespace has been bind-mounted since the command started.
    pub fn has_new_mounts(&self) -> Result<bool, Error> {
        Ok(!self.descendants.mounted()?.points.is_subset(&self.mounted.points))
    }

    /// Reaps orphans and passes signals on to the command, until the command ends.
    ///
    /// # Errors
    /// Fails if the kernel discarded the exit status of the command.
    pub fn wait_for_command(&mut self) -> Result<Ended, Error> {
        loop {
            // Read signals before `reap`. If a child exits after this loop, its SIGCHLD stays
            // pending and ends the next wait at once.
            for received in self.signals.iter().take(ROUND) {
                note_exit_request(&mut self.asked_to_exit, received.signal);
                received.pass_on(self.command, &self.descendants);
            }
            let children = self.reap();
            match (self.state, children) {
                (State::Ended(ended), _) => {
                    // Drain the signals received so far: a Ctrl-C that ended the command must not
                    // also shorten the wait for its descendants.
                    for received in self.signals.iter().take(ROUND) {
                        note_exit_request(&mut self.asked_to_exit, received.signal);
                    }
                    if let Some(cgroup) = &self.cgroup {
                        // Ignore errors here, because `CommandCgroup::kill` tries again to leave
                        // the cgroup.
                        let _ = cgroup.leave();
                    }
                    self.reaper.begin();
                    return Ok(ended);
                }
                (State::Running | State::Stopped(_), Children::None) => {
                    return Err(Error::StatusLost);
                }
                (State::Stopped(signal), _) => {
                    self.state = State::Running;
                    signals::stop_by(signal);
                }
                (State::Running, Children::Running) => self.signals.wait(None),
                (State::Running, Children::Terminated) => {}
            }
        }
    }

    /// Waits up to `grace` for all descendants to exit, and returns `true` if none is left.
    ///
    /// A request to exit ends the wait early.
    pub fn wait_for_descendants(&mut self, grace: Duration) -> bool {
        let deadline = Instant::now().checked_add(grace);
        loop {
            self.note_hurry();
            if !self.is_anything_left() {
                return true;
            }
            let left = deadline.map_or(PAUSE, |at| at.saturating_duration_since(Instant::now()));
            if self.hurried || left.is_zero() {
                return false;
            }
            self.signals.wait(Some(left.min(PAUSE)));
            if !self.signals.is_pending() && self.has_only_zombies() {
                return false;
            }
        }
    }

    /// Returns `true` if all descendants are zombies.
    ///
    /// pidns reaps its own zombies before this call. A traced zombie can remain, because its tracer
    /// must reap it first.
    fn has_only_zombies(&self) -> bool {
        if self.has_members() {
            return false;
        }
        let mut has_running = false;
        self.walk(|it| {
            has_running = !it.has_exited;
            if has_running { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        !has_running && !self.may_have_missed()
    }

    /// Returns `true` if a walk that found no running descendant may have missed one.
    ///
    /// A walk can miss all running descendants only if a child of pidns exits during the walk. The
    /// kernel then sends SIGCHLD to pidns, so the walk was complete if no signal is pending now.
    /// The caller must have read all pending signals before the walk.
    fn may_have_missed(&self) -> bool {
        self.has_members() || self.signals.is_pending()
    }

    /// Returns a descriptor that becomes readable at the next request to exit.
    pub fn next_exit_request(&mut self) -> BorrowedFd<'_> {
        self.note_hurry();
        self.exit_requests.as_fd()
    }

    /// Reaps terminated children, and returns `true` if a descendant remains.
    pub fn is_anything_left(&mut self) -> bool {
        let children = self.reap();
        self.has_members() || children != Children::None
    }

    fn has_members(&self) -> bool {
        self.cgroup.as_ref().is_some_and(CommandCgroup::has_members)
    }

    /// Reads the pending signals, and sets `hurried` if a signal asks pidns to exit.
    fn note_hurry(&mut self) {
        for received in self.signals.iter().take(ROUND) {
            self.hurried |= note_exit_request(&mut self.asked_to_exit, received.signal);
        }
    }

    /// Reaps terminated children, but at most [`ROUND`] of them.
    fn reap(&mut self) -> Children {
        for _ in 0..ROUND {
            match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some((pid, status))) => {
                    let signal = status.stopping_signal();
                    let is_tracee = signal.is_some_and(|it| raw_signals::release_tracee(pid, it));
                    if pid == self.command && !self.has_ended() && !is_tracee {
                        self.note(status);
                    }
                }
                Err(Errno::INTR) => {}
                Ok(None) => return Children::Running,
                Err(_) => return Children::None,
            }
        }
        Children::Terminated
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
            // If the command has stopped, stop pidns as well. SIGSTOP is an exception: its sender
            // usually continues only the command, so pidns would stay stopped.
            self.state = State::Stopped(signal);
        }
    }
}

/// Returns an error if fewer than [`SPARE_DESCRIPTORS`] descriptors are free.
fn check_descriptors(open: BorrowedFd<'_>) -> SysResult<()> {
    let before = getrlimit(Resource::Nofile);
    raise_descriptor_limit();
    let spare = (0..SPARE_DESCRIPTORS).map(|_| fcntl_dupfd_cloexec(open, 0));
    let spare: SysResult<Vec<_>> = spare.collect();
    // The command must inherit the limit that pidns was started with.
    let _ = setrlimit(Resource::Nofile, before);
    spare.map(drop)
}

/// Returns `true` if `signal` is a new request to exit, and records it in `last`.
fn note_exit_request(last: &mut Option<(Signal, Instant)>, signal: Signal) -> bool {
    if !signals::asks_to_exit(signal) {
        return false;
    }
    let now = Instant::now();
    let is_repeated =
        last.is_some_and(|(it, at)| it == signal && now.duration_since(at) < REPEAT_WINDOW);
    // If the same signal arrives again within a short period, it counts as the same request. A
    // repeated signal does not restart the period, so a user who keeps pressing Ctrl-C eventually
    // makes a new request.
    if !is_repeated {
        *last = Some((signal, now));
    }
    !is_repeated
}
