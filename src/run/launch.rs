//! Starts the command with `posix_spawn(3)`, or through a second pidns process.
//!
//! The second process joins the cgroup, sets the parent-death signal, and executes the command. The
//! standard library's `pre_exec` would need unsafe code.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal as NixSignal};
use nix::unistd::execvp;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use super::cgroup;
use super::raw_signals;
use super::signals::Signals;
use crate::error::Error;

/// The `argv[0]` of a pidns process that [`spawn`] started.
const NAME: &str = "pidns-launch";

/// Starts a command with the signal mask that pidns inherited.
///
/// If `dies_with_us` is `true`, the kernel kills the command when the calling thread exits
/// (`PR_SET_PDEATHSIG`).
///
/// # Errors
/// Fails if the process cannot be started, for example because /proc is not mounted.
pub fn spawn(
    command: &[OsString],
    signals: &Signals,
    dies_with_us: bool,
    members_file: Option<&Path>,
) -> Result<Pid, Error> {
    if !dies_with_us
        && members_file.is_none()
        && let [program, ..] = command
        && let Ok(child) = start(program, command, signals)
    {
        return Ok(child);
    }
    let parent = if dies_with_us { getpid().as_raw_nonzero().get() } else { 0 };
    let members_file = members_file.unwrap_or(Path::new(""));
    // A second process calls `execvp(3)`. Unlike `posix_spawnp(3)`, glibc's `execvp(3)` also runs
    // scripts without a `#!` line.
    let mut words = vec![NAME.into(), parent.to_string().into(), members_file.into()];
    words.extend_from_slice(command);
    // /proc/self/exe works even if the program's file has been replaced.
    start(OsStr::new("/proc/self/exe"), &words, signals)
        .map_err(|source| Error::Run { what: "start a process by /proc/self/exe", source })
}

/// Starts a program with the arguments `words`, including `argv[0]`.
fn start(program: &OsStr, words: &[OsString], signals: &Signals) -> io::Result<Pid> {
    let mut attributes = PosixSpawnAttr::init()?;
    let flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF;
    attributes.set_flags(flags)?;
    attributes.set_sigmask(signals.mask_before())?;
    // The Rust runtime makes pidns ignore SIGPIPE. Restore the default for the command, unless
    // SIGPIPE was already ignored when pidns started.
    let reset = if raw_signals::was_sigpipe_ignored() { None } else { Some(NixSignal::SIGPIPE) };
    attributes.set_sigdefault(&reset.into_iter().collect::<SigSet>())?;
    let variables = env::vars_os().map(|(name, value)| [name, value].join(OsStr::new("=")));
    let variables: Vec<CString> = variables.map(c_string).collect::<Result<_, _>>()?;
    let words: Vec<CString> = words.iter().cloned().map(c_string).collect::<Result<_, _>>()?;
    let program = CString::new(program.as_bytes())?;
    let actions = PosixSpawnFileActions::init()?;
    let child = posix_spawnp(&program, &actions, &attributes, &words, &variables)?;
    Pid::from_raw(child.as_raw()).ok_or_else(|| io::Error::from(Errno::ESRCH))
}

fn c_string(text: OsString) -> io::Result<CString> {
    Ok(CString::new(text.into_vec())?)
}

/// Returns `true` if [`spawn`] started this process.
#[must_use]
pub fn is_asked_for(arguments: &[OsString]) -> bool {
    arguments.first().is_some_and(|name| name == NAME)
}

/// Executes the command in the second pidns process, or returns the error.
#[must_use]
pub fn launch(arguments: &[OsString]) -> Error {
    let [_, parent, members_file, command @ ..] = arguments else {
        return Error::Usage(format!("{NAME} is for internal use by pidns"));
    };
    if let Err(source) = die_with(&parent.to_string_lossy()) {
        return Error::Run { what: "prepare the command", source };
    }
    if !members_file.is_empty()
        && let Err(source) = cgroup::join(Path::new(members_file))
    {
        return Error::Run { what: "move the command to its cgroup", source };
    }
    // The Rust runtime makes this process ignore SIGPIPE. Restore the default, unless SIGPIPE was
    // already ignored at startup.
    if !raw_signals::was_sigpipe_ignored() {
        raw_signals::reset_sigpipe();
    }
    Error::Exec { command: command.first().cloned().unwrap_or_default(), source: execute(command) }
}

/// Makes the kernel kill this process when `parent` exits, unless `parent` is 0.
fn die_with(parent: &str) -> io::Result<()> {
    let parent: i32 = parent.parse().map_err(io::Error::other)?;
    if parent == 0 {
        return Ok(());
    }
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The kernel sends no parent-death signal if the parent has already exited, so check that the
    // parent is still the same process. `getppid` returns `None` if the parent is in another PID
    // namespace (`unshare -p`).
    if getppid().is_some_and(|pid| pid.as_raw_nonzero().get() != parent) {
        return Err(io::Error::other("pidns has ended"));
    }
    Ok(())
}

/// Executes a command, but keeps SIGPIPE's disposition, unlike `CommandExt::exec`.
fn execute(command: &[OsString]) -> io::Error {
    let words: Result<Vec<CString>, _> = command.iter().cloned().map(c_string).collect();
    match words {
        Ok(words) => match words.first().map(|program| execvp(program, &words)) {
            Some(Err(errno)) => errno.into(),
            _ => io::Error::other("no command"),
        },
        Err(error) => error,
    }
}
