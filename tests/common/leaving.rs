//! A job that leaves behind what jobs leave.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::{comm, start_command, status, until};

/// A script for bash that leaves a daemon, a zombie, a stopped process and,
/// mounted at its first argument, a dead PID namespace. It prints who they are
/// in lines of `NAME PID`.
pub const JOB: &str = r#"
    (setsid sleep 601 & echo daemon $!)
    bash -c '(until [ "$(</proc/$$/comm)" = sleep ]; do :; done) &
        echo zombie $!; echo parent $$; exec sleep 602' &
    until [ "$(</proc/$!/comm)" = sleep ]; do :; done
    sleep 603 & until [ "$(</proc/$!/comm)" = sleep ]; do :; done
    kill -STOP $!; echo stopped $!
    touch "$1"; unshare --pid="$1" --fork true
"#;

/// What [`JOB`] has left, by PIDs in the /proc of the test.
#[derive(Debug)]
pub struct Left {
    /// A `sleep` that was forked twice and has a session of its own.
    pub daemon: u32,
    /// A process that has ended, and
    pub zombie: u32,
    /// the `sleep` that does not reap it.
    pub parent: u32,
    /// A `sleep` that was stopped.
    pub stopped: u32,
}

impl Left {
    /// Those with these names in what the job has printed.
    pub fn of(pids: &BTreeMap<String, u32>) -> Self {
        let pid = |name: &str| pids[name];
        Self {
            daemon: pid("daemon"),
            zombie: pid("zombie"),
            parent: pid("parent"),
            stopped: pid("stopped"),
        }
    }

    /// All of the processes.
    pub fn all(&self) -> [u32; 4] {
        [self.daemon, self.zombie, self.parent, self.stopped]
    }
}

/// Runs [`JOB`] to its end, its dead namespace mounted at `namespace`. For a
/// test in namespaces of its own, which take all of that along when it ends.
pub fn leave(namespace: &Path) -> Left {
    let script = format!("{JOB}\necho ready");
    let mut command = Command::new("bash");
    let (mut job, pids) = start_command(command.args(["-c", &script, "job"]).arg(namespace));
    assert!(job.0.wait().unwrap().success());
    // Its process group is what it left.
    std::mem::forget(job);
    let left = Left::of(&pids);
    until("all sleep", || {
        [left.daemon, left.parent, left.stopped].iter().all(|&pid| comm(pid) == "sleep")
    });
    until("the zombie is one", || status(left.zombie, "State").first().is_some_and(|it| it == "Z"));
    left
}
