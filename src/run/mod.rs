//! Runs a command, and supervises the command and its descendants.
//!
//! pidns is a *subreaper* (`PR_SET_CHILD_SUBREAPER` in `prctl(2)`, since Linux 3.4): the kernel
//! reparents orphaned descendants to pidns, in any session or process group. In a PID namespace
//! that the command created, the namespace's init adopts the orphans. The init is also a descendant
//! of pidns.
//!
//! So pidns has a child as long as any descendant is left. Without a child, `wait(2)` fails with
//! `ECHILD`, so pidns need not scan /proc to learn that no descendant is left.
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
    /// A signalfd that is readable while a signal that asks pidns to exit is pending.
    exit_requests: SignalFd,
    reaper: Reaper,
    /// The cgroup of the command (`--cgroup`).
    cgroup: Option<CommandCgroup>,
    descendants: Descendants,
    /// PID of the command. The kernel does not reuse it until pidns has reaped the command.
    command: RawPid,
    state: State,
    /// The last request to exit: the signal, and the time at which pidns read it.
    asked_to_exit: Option<(Signal, Instant)>,
    /// `true` if a signal asked pidns to exit after the command ended.
    hurried: bool,
    /// The PID namespaces that were bind-mounted before the command started.
    mounted: MountedNamespaces,
}

/// Maximum number of signals to read, or of children to reap, in a row. A flood of signals must not
/// stop pidns from reaping, and a flood of terminated children must not stop it from reading
/// signals.
const ROUND: usize = 1000;

/// Maximum pause between two checks for descendants. SIGCHLD usually ends the pause early.
const PAUSE: Duration = Duration::from_millis(100);

/// Time that a parent has to reap a zombie. After this time, the zombie is a leftover.
pub const REAPING: Duration = Duration::from_millis(100);

/// Time after a request to exit during which the same signal is not a new request. For example,
/// `timeout(1)` sends its signal twice: to pidns, and to the whole process group.
const REPEAT_WINDOW: Duration = Duration::from_millis(500);

/// Minimum number of free descriptors. pidns needs them to find and kill leftover processes.
const SPARE_DESCRIPTORS: usize = 8;

/// The children that are left after reaping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Children {
    None,
    /// All remaining children are running.
    Running,
    /// Reaping stopped after [`ROUND`] children, so other terminated children may be left.
    Terminated,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Running,
    /// The command was stopped by this signal. pidns must still stop itself with the same signal.
    Stopped(Signal),
    Ended(Ended),
}

impl SupervisedCommand {
    /// Starts a command. The command inherits the descriptors, process group, session, terminal and
    /// signal mask that pidns was started with.
    ///
    /// If `dies_with_us` is `true`, the kernel kills the command when pidns is killed, but not the
    /// command's descendants.
    ///
    /// If `in_cgroup` is `true`, the command runs in a new cgroup. All members of this cgroup count
    /// as descendants of the command.
    ///
    /// # Errors
    /// Fails if the process or the cgroup cannot be created, if /proc is not usable, or if SIGCHLD
    /// is ignored.
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

    /// Returns the PIDs (in procfs) of the members of the command's cgroup. Returns `None` if the
    /// command has no cgroup of its own.
    #[must_use]
    pub fn members(&self) -> Option<BTreeSet<Pid>> {
        let members = self.cgroup.as_ref()?.members().into_iter();
        Some(members.filter_map(|raw| Some(self.descendants.open_member(raw)?.pid)).collect())
    }

    /// Visits the members of the command's cgroup, and then the other descendants of pidns. Stops
    /// when `visit` returns `Break`. See [`Descendants::walk`].
    fn walk(&self, mut visit: impl FnMut(&Descendant) -> ControlFlow<()>) {
        let cgroup = self.cgroup.as_ref();
        let members = cgroup.map(|cgroup| self.descendants.open_listed(|| cgroup.members()));
        let members = members.unwrap_or_default();
        if members.iter().try_for_each(&mut visit).is_break() {
            return;
        }
        // Also visit the descendants outside the cgroup, because a process can be moved to another
        // one.
        let visited: HashSet<Pid> = members.iter().map(|it| it.pid).collect();
        self.descendants.walk(|it| {
            if visited.contains(&it.pid) { ControlFlow::Continue(()) } else { visit(it) }
        });
    }

    /// Returns the PID namespaces that were bind-mounted before the command started.
    #[must_use]
    pub fn mounted_before(&self) -> &MountedNamespaces {
        &self.mounted
    }

    /// Returns `true` if a PID namespace has been bind-mounted since the command started. A bind
    /// mount keeps a namespace alive even without a process.
    ///
    /// # Errors
    /// Fails if the mount table cannot be read.
    pub fn has_new_mounts(&self) -> Result<bool, Error> {
        Ok(!self.descendants.mounted()?.points.is_subset(&self.mounted.points))
    }

    /// Reaps orphans and passes signals on to the command, until the command ends.
    ///
    /// # Errors
    /// Fails if the kernel discarded the exit status of the command.
    pub fn wait_for_command(&mut self) -> Result<Ended, Error> {
        loop {
            // Read signals first. If a child terminates after `reap`, its SIGCHLD is then still
            // pending, and ends the next wait at once.
            for received in self.signals.iter().take(ROUND) {
                note_exit_request(&mut self.asked_to_exit, received.signal);
                received.pass_on(self.command, &self.descendants);
            }
            let children = self.reap();
            match (self.state, children) {
                (State::Ended(ended), _) => {
                    // Discard the signals from before the end of the command. For example, a Ctrl-C
                    // that terminated the command must not shorten the wait for its descendants.
                    for received in self.signals.iter().take(ROUND) {
                        note_exit_request(&mut self.asked_to_exit, received.signal);
                    }
                    if let Some(cgroup) = &self.cgroup {
                        // Ignore errors: `CommandCgroup::kill` tries again to leave the cgroup.
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

    /// Waits up to `grace` for all descendants to exit. Returns `true` if none is left. Stops early
    /// if a signal asks pidns to exit, or if only zombies are left that pidns cannot reap.
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

    /// Returns `true` if all remaining descendants are traced zombies. pidns cannot reap traced
    /// zombies.
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

    /// Returns `true` if a walk without a running descendant may have missed one. All pending
    /// signals must have been read before the walk.
    ///
    /// A walk misses a running descendant only if the descendant's parent P exits during the walk.
    /// Let C be the child of pidns from which P descends, or P itself. If C had been running during
    /// the whole walk, the walk would have found C. So C exited during the walk, and the kernel
    /// sent SIGCHLD to pidns. Without a pending signal, the walk has therefore missed nothing.
    fn may_have_missed(&self) -> bool {
        self.has_members() || self.signals.is_pending()
    }

    /// Reads all pending signals. Returns a descriptor that becomes readable when another signal
    /// asks pidns to exit.
    pub fn next_exit_request(&mut self) -> BorrowedFd<'_> {
        self.note_hurry();
        self.exit_requests.as_fd()
    }

    /// Reaps terminated children. Returns `true` if a descendant remains.
    pub fn is_anything_left(&mut self) -> bool {
        let children = self.reap();
        self.has_members() || children != Children::None
    }

    fn has_members(&self) -> bool {
        self.cgroup.as_ref().is_some_and(CommandCgroup::has_members)
    }

    /// Reads the signals that arrived after the command ended. If one of them asks pidns to exit,
    /// sets `hurried`.
    fn note_hurry(&mut self) {
        for received in self.signals.iter().take(ROUND) {
            self.hurried |= note_exit_request(&mut self.asked_to_exit, received.signal);
        }
    }

    /// Reaps terminated children, but at most [`ROUND`] of them.
    fn reap(&mut self) -> Children {
        for _ in 0..ROUND {
            match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some((pid, status))) if pid == self.command && !self.has_ended() => {
                    self.note(status);
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
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
            // Stop pidns as well, but not for SIGSTOP. Whoever sends SIGSTOP to the command later
            // sends SIGCONT only to the command, and pidns would stay stopped.
            self.state = State::Stopped(signal);
        }
    }
}

/// Returns an error if fewer than [`SPARE_DESCRIPTORS`] descriptors are free. `open` is any open
/// descriptor.
fn check_descriptors(open: BorrowedFd<'_>) -> SysResult<()> {
    let before = getrlimit(Resource::Nofile);
    raise_descriptor_limit();
    let spare = (0..SPARE_DESCRIPTORS).map(|_| fcntl_dupfd_cloexec(open, 0));
    let spare: SysResult<Vec<_>> = spare.collect();
    // The command must inherit the limit that pidns was started with.
    let _ = setrlimit(Resource::Nofile, before);
    spare.map(drop)
}

/// Returns `true` if `signal` asks pidns to exit, and records the request in `last`. If `signal`
/// repeats the last request within [`REPEAT_WINDOW`], returns `false`.
fn note_exit_request(last: &mut Option<(Signal, Instant)>, signal: Signal) -> bool {
    if !signals::asks_to_exit(signal) {
        return false;
    }
    let now = Instant::now();
    let is_repeated =
        last.is_some_and(|(it, at)| it == signal && now.duration_since(at) < REPEAT_WINDOW);
    // A repeated signal does not extend the `REPEAT_WINDOW`. Otherwise, repeated Ctrl-C would never
    // be a new request.
    if !is_repeated {
        *last = Some((signal, now));
    }
    !is_repeated
}
