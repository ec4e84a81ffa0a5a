//! A job that leaves processes and a namespace behind.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::{comm, start_command, status, until};

/// Bash script that leaves a daemon, a zombie, a stopped process and a dead PID
/// namespace, which is mounted at the script's first argument. It prints their PIDs in
/// lines of `NAME PID`.
pub const JOB: &str = r#"
    (setsid sleep 601 & echo daemon $!)
    bash -c '(until [ "$(</proc/$$/comm)" = sleep ]; do :; done) &
        echo zombie $!; echo parent $$; exec sleep 602' &
    until [ "$(</proc/$!/comm)" = sleep ]; do :; done
    sleep 603 & until [ "$(</proc/$!/comm)" = sleep ]; do :; done
    kill -STOP $!; echo stopped $!
    touch "$1"; unshare --pid="$1" --fork true
"#;

/// PIDs of the leftovers of [`JOB`], as the test's /proc shows them.
#[derive(Debug)]
pub struct Left {
    /// A `sleep` that was forked twice and leads a session.
    pub daemon: u32,
    /// An exited process that is not reaped.
    pub zombie: u32,
    /// The zombie's parent, a `sleep`.
    pub parent: u32,
    /// A stopped `sleep`.
    pub stopped: u32,
}

impl Left {
    /// The PIDs that the job has printed.
    pub fn of(pids: &BTreeMap<String, u32>) -> Self {
        let pid = |name: &str| pids[name];
        Self {
            daemon: pid("daemon"),
            zombie: pid("zombie"),
            parent: pid("parent"),
            stopped: pid("stopped"),
        }
    }

    /// All processes.
    pub fn all(&self) -> [u32; 4] {
        [self.daemon, self.zombie, self.parent, self.stopped]
    }
}

/// Runs [`JOB`] to its end, with its dead namespace mounted at `namespace`. For tests in
/// their own namespaces, whose end cleans up.
pub fn leave(namespace: &Path) -> Left {
    let script = format!("{JOB}\necho ready");
    let mut command = Command::new("bash");
    let (mut job, pids) = start_command(command.args(["-c", &script, "job"]).arg(namespace));
    assert!(job.0.wait().unwrap().success());
    // Dropping it would kill its process group, which the leftovers are in.
    std::mem::forget(job);
    let left = Left::of(&pids);
    until("all processes sleep", || {
        [left.daemon, left.parent, left.stopped].iter().all(|&pid| comm(pid) == "sleep")
    });
    until("the process is a zombie", || {
        status(left.zombie, "State").first().is_some_and(|it| it == "Z")
    });
    left
}
