//! Starts the command through a second pidns process, which restores the signal mask and the
//! disposition of SIGPIPE, and then executes the command.
//!
//! The alternative, code that runs between `fork(2)` and `execve(2)`, needs an unsafe function of
//! the standard library (`pre_exec`). The second pidns process needs only safe code.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};

use nix::unistd::execvp;
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

use super::cgroup;
use super::raw_signals;
use super::signals::Signals;
use crate::error::Error;

/// The `argv[0]` by which a pidns process recognises that [`spawn`] started it.
const NAME: &str = "pidns-launch";

/// Starts a command with the signal mask that pidns was started with. If `dies_with_us` is `true`,
/// the kernel kills the command when the calling thread of pidns exits (`PR_SET_PDEATHSIG`).
///
/// # Errors
/// Returns an error if the process cannot be started, for example because /proc is not mounted.
pub fn spawn(
    command: &[OsString],
    signals: &Signals,
    dies_with_us: bool,
    members_file: Option<&Path>,
) -> Result<Child, Error> {
    let parent = if dies_with_us { getpid().as_raw_nonzero().get() } else { 0 };
    let mask = raw_signals::bits(signals.mask_before());
    let sigpipe = if raw_signals::was_sigpipe_ignored() { IGNORED } else { DEFAULT };
    // The link /proc/self/exe refers to the running program even if its file has been replaced.
    Command::new("/proc/self/exe")
        .arg0(NAME)
        .args([&mask.to_string(), sigpipe, &parent.to_string()])
        .arg(members_file.unwrap_or(Path::new("")))
        .args(command)
        .spawn()
        .map_err(|source| Error::Run { what: "start a process by /proc/self/exe", source })
}

/// Arguments that tell the second process the original disposition of SIGPIPE, because the standard
/// library resets it there.
const IGNORED: &str = "ignored";
const DEFAULT: &str = "default";

/// Returns `true` if [`spawn`] started this process.
#[must_use]
pub fn is_asked_for(arguments: &[OsString]) -> bool {
    arguments.first().is_some_and(|name| name == NAME)
}

/// Executes the command. Returns only on failure.
#[must_use]
pub fn launch(arguments: &[OsString]) -> Error {
    let [_, mask, sigpipe, parent, members_file, command @ ..] = arguments else {
        return Error::Usage(format!("{NAME} is for internal use by pidns"));
    };
    if let Err(source) = prepare(&mask.to_string_lossy(), &parent.to_string_lossy()) {
        return Error::Run { what: "prepare the command", source };
    }
    if !members_file.is_empty()
        && let Err(source) = cgroup::join(Path::new(members_file))
    {
        return Error::Run { what: "move the command to its cgroup", source };
    }
    // The Rust runtime made this process ignore SIGPIPE. Undo that unless SIGPIPE was ignored
    // before.
    if sigpipe != IGNORED {
        raw_signals::reset_sigpipe();
    }
    Error::Exec { command: command.first().cloned().unwrap_or_default(), source: execute(command) }
}

fn prepare(mask: &str, parent: &str) -> io::Result<()> {
    let parent: i32 = parent.parse().map_err(io::Error::other)?;
    if parent != 0 {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // If the first pidns process exited before this process set PR_SET_PDEATHSIG, the kernel
        // sends no signal. So check that the first pidns process is still the parent.
        if getppid().is_none_or(|pid| pid.as_raw_nonzero().get() != parent) {
            return Err(io::Error::other("pidns has ended"));
        }
    }
    let mask = raw_signals::mask(mask.parse().map_err(io::Error::other)?);
    Ok(mask.thread_set_mask()?)
}

/// Executes a command. Unlike the standard library's `exec`, keeps the disposition of SIGPIPE.
fn execute(command: &[OsString]) -> io::Error {
    let words: Result<Vec<_>, _> =
        command.iter().map(|word| CString::new(word.clone().into_vec())).collect();
    match words {
        Ok(words) => match words.first().map(|program| execvp(program, &words)) {
            Some(Err(errno)) => errno.into(),
            _ => io::Error::other("no command"),
        },
        Err(error) => error.into(),
    }
}
