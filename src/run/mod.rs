//! Runs a command, and supervises the command and its descendants.
//!
//! pidns is a *subreaper* (`PR_SET_CHILD_SUBREAPER` in `prctl(2)`, since Linux 3.4): when the
//! parent of a descendant exits, the descendant becomes a child of pidns, whatever its session or
//! process group is. In a PID namespace that the command created, the descendant becomes a child of
//! the namespace's init instead, but the init is also a descendant of pidns. So pidns has a child
//! as long as any descendant is left. Without a child, `wait(2)` fails with `ECHILD`, so pidns does
//! not need to scan /proc to learn that no descendant is left.
//!
//! This method works only if all children of pidns belong to the command (see
//! [`Descendants::adopts_others`]).

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
    /// A signalfd for signals that ask pidns to exit. The signalfd is readable while such a signal
    /// is pending.
    exit_requests: SignalFd,
    reaper: Reaper,
    /// The cgroup of the command (`--cgroup`).
    cgroup: Option<CommandCgroup>,
    descendants: Descendants,
    /// PID of the command. The kernel does not reuse this PID before pidns has reaped the command.
    command: RawPid,
    state: State,
    /// The last request to exit: its signal, and the time at which pidns read the signal.
    asked_to_exit: Option<(Signal, Instant)>,
    /// `true` if pidns received a termination signal (such as SIGTERM) after the command ended.
    hurried: bool,
    /// The PID namespaces that were bind-mounted before the command started.
    mounted: MountedNamespaces,
}

/// Maximum number of signals to read, or children to reap, in a row. Without this limit, processes
/// that fork and exit fast could keep pidns from reading signals, and many signals could keep it
/// from reaping.
const ROUND: usize = 1000;

/// Maximum pause between two checks for descendants. SIGCHLD usually ends the pause early. But if
/// pidns has already read the SIGCHLD before the check, the signal cannot end the pause.
const PAUSE: Duration = Duration::from_millis(100);

/// Time limit for a parent to reap a zombie. After this time, the zombie is treated as a leftover.
pub const REAPING: Duration = Duration::from_millis(100);

/// Time after a request to exit (such as SIGTERM) during which the same signal does not count as a
/// second request. For example, `timeout(1)` sends a signal to pidns and then to the whole process
/// group. The second signal can arrive after the first one has ended the command.
const REPEAT_WINDOW: Duration = Duration::from_millis(500);

/// Minimum number of descriptors that must be free before pidns starts a command. Without them,
/// pidns could neither find nor kill leftover processes.
const SPARE_DESCRIPTORS: usize = 8;

/// The children that are left after a round of reaping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Children {
    None,
    /// All remaining children are running.
    Running,
    /// Reaping stopped after [`ROUND`] children, so other terminated children may be left.
    Terminated,
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
    /// signal mask that pidns was started with.
    ///
    /// If `dies_with_us` is `true`, the kernel kills the command when pidns is killed. The
    /// descendants of the command keep running.
    ///
    /// If `in_cgroup` is `true`, the command runs in a new cgroup, and pidns treats all members of
    /// this cgroup as descendants of the command.
    ///
    /// # Errors
    /// Returns an error if the process cannot be started, if the cgroup cannot be created, if /proc
    /// is not usable, or if SIGCHLD is ignored.
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
        // Raising the limit does not affect the command, which has already inherited the old limit.
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

    /// Returns the PIDs of the members of the command's cgroup, as procfs shows them. Returns
    /// `None` if the command has no cgroup of its own.
    #[must_use]
    pub fn members(&self) -> Option<BTreeSet<Pid>> {
        let members = self.cgroup.as_ref()?.members().into_iter();
        Some(members.filter_map(|raw| Some(self.descendants.open_member(raw)?.pid)).collect())
    }

    /// Visits every member of the command's cgroup, and then every other descendant of pidns, until
    /// `visit` returns `Break`. See [`Descendants::walk`].
    fn walk(&self, mut visit: impl FnMut(&Descendant) -> ControlFlow<()>) {
        let cgroup = self.cgroup.as_ref();
        let members = cgroup.map(|cgroup| self.descendants.open_listed(|| cgroup.members()));
        let members = members.unwrap_or_default();
        if members.iter().try_for_each(&mut visit).is_break() {
            return;
        }
        // Also visit the descendants that are not members of the cgroup, for example because they
        // were moved to another cgroup.
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

    /// Returns `true` if a PID namespace has been bind-mounted since the command started. Such a
    /// mount keeps the namespace alive even without a process.
    ///
    /// # Errors
    /// Returns an error if the mount table cannot be read.
    pub fn has_new_mounts(&self) -> Result<bool, Error> {
        Ok(!self.descendants.mounted()?.points.is_subset(&self.mounted.points))
    }

    /// Reaps orphans and passes signals on to the command, until the command ends.
    ///
    /// # Errors
    /// Returns an error if the kernel discarded the exit status of the command.
    pub fn wait_for_command(&mut self) -> Result<Ended, Error> {
        loop {
            // Read signals before reaping children. If a child terminates after `reap`, its SIGCHLD
            // stays pending, so the wait for the next signal ends at once.
            for received in self.signals.iter().take(ROUND) {
                note_exit_request(&mut self.asked_to_exit, received.signal);
                received.pass_on(self.command, &self.descendants);
            }
            let children = self.reap();
            match (self.state, children) {
                (State::Ended(ended), _) => {
                    // Discard signals that arrived before the command ended, such as the SIGINT of
                    // a Ctrl-C that terminated the command. Such signals must not shorten the wait
                    // for the command's descendants.
                    for received in self.signals.iter().take(ROUND) {
                        note_exit_request(&mut self.asked_to_exit, received.signal);
                    }
                    if let Some(cgroup) = &self.cgroup {
                        // Ignore errors: `CommandCgroup::kill` tries again to leave the cgroup, and
                        // does not kill any process if pidns cannot leave.
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

    /// Waits up to `grace` for all descendants to exit. The wait ends early if a signal asks pidns
    /// to exit, or if all remaining descendants are zombies that pidns cannot reap. Returns `true`
    /// if no descendant is left.
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

    /// Returns `true` if all remaining descendants are zombies that pidns cannot reap, because they
    /// are traced.
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

    /// Returns `true` if a walk that found no running descendant may have missed one. All pending
    /// signals must have been read before the walk.
    ///
    /// A walk misses a running descendant only if the descendant's parent exits during the walk.
    /// Let P be this parent, and let C be the child of pidns that is P or an ancestor of P. If C
    /// had been running during the whole walk, the walk would have found C. So C exited during the
    /// walk, and the kernel sent SIGCHLD to pidns. Therefore, if no signal is pending after the
    /// walk, the walk has not missed any running descendant.
    fn may_have_missed(&self) -> bool {
        self.has_members() || self.signals.is_pending()
    }

    /// Reads all pending signals, and returns a descriptor that is readable as soon as another signal
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

    /// Returns `true` if a process is left in the command's cgroup.
    fn has_members(&self) -> bool {
        self.cgroup.as_ref().is_some_and(CommandCgroup::has_members)
    }

    /// Reads the signals that arrived after the command ended. Sets `hurried` if a signal asks
    /// pidns to exit, unless the signal only repeats the last request to exit (see
    /// [`REPEAT_WINDOW`]).
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
            // pidns stops itself only for job-control signals of the terminal. If another process
            // stops the command with SIGSTOP, that process will later send SIGCONT to the command,
            // but not to pidns, so pidns would stay stopped.
            self.state = State::Stopped(signal);
        }
    }
}

/// Returns an error if the hard limit leaves fewer than [`SPARE_DESCRIPTORS`] free descriptors.
/// `open` is any open descriptor.
fn check_descriptors(open: BorrowedFd<'_>) -> SysResult<()> {
    let before = getrlimit(Resource::Nofile);
    raise_descriptor_limit();
    let spare = (0..SPARE_DESCRIPTORS).map(|_| fcntl_dupfd_cloexec(open, 0));
    let spare: SysResult<Vec<_>> = spare.collect();
    // The command must inherit the limit that pidns was started with.
    let _ = setrlimit(Resource::Nofile, before);
    spare.map(drop)
}

/// If `signal` asks pidns to exit, records the request in `last` and returns `true`. Returns
/// `false` for any other signal, and for a signal that only repeats the last request (see
/// [`REPEAT_WINDOW`]).
fn note_exit_request(last: &mut Option<(Signal, Instant)>, signal: Signal) -> bool {
    if !signals::asks_to_exit(signal) {
        return false;
    }
    let now = Instant::now();
    let is_repeated =
        last.is_some_and(|(it, at)| it == signal && now.duration_since(at) < REPEAT_WINDOW);
    // Do not record the time of a repeated signal. Otherwise, each signal would restart the
    // `REPEAT_WINDOW`, so that a user who keeps pressing Ctrl-C could never make a new request.
    if !is_repeated {
        *last = Some((signal, now));
    }
    !is_repeated
}
