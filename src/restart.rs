//! Starts pidns again if a process blocks it (see [`collect::when_blocked`]).
//!
//! `execve(2)` ends all blocked threads. The new program does not repeat the reads that blocked the
//! old program, so it shows everything except some facts about a few processes.

use std::collections::BTreeSet;
use std::env;
use std::os::unix::process::CommandExt as _;
use std::process;

use crate::cli::Command;
use crate::collect;
use crate::commands;
use crate::error::Error;
use crate::model::Pid;
use crate::output;

/// The environment variable that lists the processes that have blocked pidns before. pidns sets it
/// for itself only.
const BLOCKED_BY: &str = "PIDNS_BLOCKED_BY";

/// Maximum number of processes in [`BLOCKED_BY`]. With this maximum, all restarts together take
/// about a minute.
const MAX_BLOCKED: usize = 16;

/// Sets what pidns does if a process blocks it: pidns starts again, or ends with an error if it
/// can't.
pub fn when_blocked(command: Option<&Command>) {
    let is_run = matches!(command, Some(Command::Run(_)));
    // `run` and `watch` cannot start again: `run` has a child to wait for, and `watch` has already
    // printed changes.
    let is_one_shot = !is_run && !matches!(command, Some(Command::Watch(_)));
    let avoided = blocked_before();
    collect::when_blocked(avoided.clone(), move |blocked| {
        let all: BTreeSet<Pid> = avoided.union(&blocked).copied().collect();
        let is_new = all.len() > avoided.len() && all.len() <= MAX_BLOCKED;
        let will_restart = is_one_shot && is_new && !commands::has_read_pipe();
        let error = Error::from(collect::Error::Blocked { by: blocked, will_restart });
        let error = if is_run { error.of_run() } else { error };
        output::warn(error.one_line());
        if will_restart {
            restart(&all);
        }
        // Ends the blocked threads too.
        process::exit(error.exit().status().into());
    });
}

/// Returns the processes that have blocked pidns before it restarted.
fn blocked_before() -> BTreeSet<Pid> {
    let list = env::var(BLOCKED_BY).unwrap_or_default();
    list.split(',').filter_map(|pid| Pid::new(pid.parse().ok()?)).collect()
}

/// Executes pidns with the same arguments. Returns only if that fails.
fn restart(blocked_by: &BTreeSet<Pid>) {
    let list: Vec<String> = blocked_by.iter().map(Pid::to_string).collect();
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_else(|| "pidns".into());
    // The link refers to the running program even if its file has been replaced.
    let mut program = process::Command::new("/proc/self/exe");
    let error = program.arg0(name).args(arguments).env(BLOCKED_BY, list.join(",")).exec();
    output::warn(format_args!("cannot execute /proc/self/exe: {error}"));
}
