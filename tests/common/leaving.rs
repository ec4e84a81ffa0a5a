//! Runs a shell script that leaves processes and a PID namespace behind.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::{comm, start_command, status, until};

/// Bash script that leaves a daemon, a zombie, a stopped process and a dead PID namespace
/// behind. The namespace stays mounted at the file `$1`. The script prints a line `NAME PID`
/// for each process.
pub const JOB: &str = r#"
    (setsid sleep 601 & echo daemon $!)
    bash -c '(until [ "$(</proc/$$/comm)" = sleep ]; do :; done) &
        echo zombie $!; echo parent $$; exec sleep 602' &
    until [ "$(</proc/$!/comm)" = sleep ]; do :; done
    sleep 603 & until [ "$(</proc/$!/comm)" = sleep ]; do :; done
    kill -STOP $!; echo stopped $!
    touch "$1"; unshare --pid="$1" --fork true
"#;

/// PIDs of the processes that [`JOB`] leaves behind, in the PID namespace of the test.
#[derive(Debug)]
pub struct Left {
    /// An orphaned `sleep` that leads its own session.
    pub daemon: u32,
    /// An exited process that its parent does not reap.
    pub zombie: u32,
    /// The parent of the zombie, a `sleep`.
    pub parent: u32,
    /// A stopped `sleep`.
    pub stopped: u32,
}

impl Left {
    /// Looks up the PIDs in the map that was parsed from the output of [`JOB`].
    pub fn of(pids: &BTreeMap<String, u32>) -> Self {
        let pid = |name: &str| pids[name];
        Self {
            daemon: pid("daemon"),
            zombie: pid("zombie"),
            parent: pid("parent"),
            stopped: pid("stopped"),
        }
    }

    pub fn all(&self) -> [u32; 4] {
        [self.daemon, self.zombie, self.parent, self.stopped]
    }
}

/// Runs [`JOB`], waits for its end, and returns the processes that it leaves behind. Only for
/// tests in their own PID namespace: the kernel kills these processes when the test ends.
pub fn leave(namespace: &Path) -> Left {
    let script = format!("{JOB}\necho ready");
    let mut command = Command::new("bash");
    let (mut job, pids) = start_command(command.args(["-c", &script, "job"]).arg(namespace));
    assert!(job.0.wait().unwrap().success());
    // Dropping the job would kill its process group, which includes the processes left behind.
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
