//! The last step before a command: a child of pidns that is still pidns, puts
//! back what pidns changed for itself, and becomes the command.
//!
//! Between `fork(2)` and `execve(2)` the standard library runs nothing of ours
//! but by an unsafe hook (`pre_exec`). So pidns starts itself once more: here
//! ordinary code may do what the hook would.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

use super::signals::{self, Signals};
use crate::error::Error;

/// The name that pidns is started by where it is to become a command.
const NAME: &str = "pidns-launch";

/// Starts a command with the signal mask that pidns was started with. With
/// `dies_with_us` it is killed if pidns, or the thread that calls this, ends
/// before it (`PR_SET_PDEATHSIG`).
///
/// # Errors
/// There can be no more processes, or there is no /proc.
pub fn spawn(command: &[OsString], signals: &Signals, dies_with_us: bool) -> Result<Child, Error> {
    let parent = if dies_with_us { getpid().as_raw_nonzero().get() } else { 0 };
    // The link leads to the program that runs now, also where its file has
    // been replaced meanwhile.
    Command::new("/proc/self/exe")
        .arg0(NAME)
        .args([signals.unblocked(), parent.to_string()])
        .args(command)
        .spawn()
        .map_err(|source| Error::Run { what: "start a process by /proc/self/exe", source })
}

/// Whether these arguments are those of [`spawn`].
#[must_use]
pub fn is_asked_for(arguments: &[OsString]) -> bool {
    arguments.first().is_some_and(|name| name == NAME)
}

/// Becomes the command. Returns where that fails.
#[must_use]
pub fn launch(arguments: &[OsString]) -> Error {
    let [_, unblocked, parent, command, rest @ ..] = arguments else {
        return Error::Usage(format!("{NAME} is for pidns alone"));
    };
    if let Err(source) = prepare(&unblocked.to_string_lossy(), &parent.to_string_lossy()) {
        return Error::Run { what: "prepare the command", source };
    }
    let source = Command::new(command).args(rest).exec();
    Error::Exec { command: command.clone(), source }
}

fn prepare(unblocked: &str, parent: &str) -> io::Result<()> {
    let parent: i32 = parent.parse().map_err(io::Error::other)?;
    if parent != 0 {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before the kernel knew that this matters.
        if getppid().is_none_or(|pid| pid.as_raw_nonzero().get() != parent) {
            return Err(io::Error::other("pidns has ended"));
        }
    }
    signals::unblock(unblocked)
}
