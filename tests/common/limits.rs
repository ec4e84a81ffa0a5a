//! Helpers for tests of `pidns limits`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::{PIDNS, pidns, run, stdout, until};

/// Returns the limits in the output of `pidns limits -f json`.
pub fn rows(output: &Output) -> Vec<Value> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let document: Value = serde_json::from_slice(&output.stdout).expect(&stderr);
    document["limits"].as_array().expect("a list").clone()
}

/// Returns the limit of this kind whose scope has these values.
pub fn find<'a>(rows: &'a [Value], kind: &str, scope: &[(&str, Value)]) -> &'a Value {
    let is_meant = |it: &&Value| {
        it["limit"] == kind && scope.iter().all(|(name, value)| it["scope"][*name] == *value)
    };
    rows.iter().find(is_meant).unwrap_or_else(|| panic!("no {kind} of {scope:?}: {rows:#?}"))
}

/// Returns the text about limits, one of which is full.
pub fn stdout_of_full(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stdout.clone()).expect("is text")
}

/// Returns the lines of advice in the output of `pidns limits` about a limit. `part` is a part of
/// the line about the limit.
pub fn advice_in(text: &str, part: &str) -> Vec<String> {
    let after = text.lines().skip_while(|line| !line.contains(part)).skip(1);
    after.map_while(|line| line.strip_prefix("  ")).map(str::to_owned).collect()
}

/// Returns the advice of `pidns limits` about the first limit of a process.
pub fn advice(pid: u32) -> Vec<String> {
    let text = stdout_of_full(&pidns(&["limits", "-q", &pid.to_string()]));
    advice_in(&text, " fails with ")
}

/// Runs an advised command.
pub fn follow(command: &str) {
    let followed = run(std::process::Command::new("sh").args(["-c", command]));
    assert!(followed.status.success(), "{command}: {followed:?}");
}

/// Follows the advice to show some tasks, and returns the output of pidns.
pub fn shown_by(advice: &str) -> String {
    let (_, command) = advice.split_once("(pidns ").unwrap_or_else(|| panic!("{advice}"));
    let (arguments, _) = command.split_once(" shows them)").unwrap_or_else(|| panic!("{advice}"));
    let command = format!("'{PIDNS}' -q {arguments}");
    stdout(&run(std::process::Command::new("sh").args(["-c", &command])))
}

/// A cgroup with the pids controller, in version 1 or 2, whichever has it. Removed on drop, with
/// the cgroups in it.
pub struct PidsCgroup(pub PathBuf);

static CGROUPS: AtomicU32 = AtomicU32::new(0);

impl PidsCgroup {
    /// Makes a cgroup, or returns `None` if the controller is not mounted.
    pub fn new() -> Option<Self> {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mount = table.lines().find_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            let point = Path::new(mount.split(' ').nth(4)?);
            let is_v1 =
                kind.starts_with("cgroup ") && kind.split([' ', ',']).any(|it| it == "pids");
            let controllers = std::fs::read_to_string(point.join("cgroup.controllers"));
            let is_v2 = kind.starts_with("cgroup2 ")
                && controllers.is_ok_and(|it| it.split_whitespace().any(|it| it == "pids"));
            (is_v1 || is_v2).then(|| point.to_owned())
        })?;
        let control = |dir: &Path| {
            let _ = std::fs::write(dir.join("cgroup.subtree_control"), "+pids");
        };
        control(&mount);
        let count = CGROUPS.fetch_add(1, Ordering::Relaxed);
        let dir = mount.join(format!("pidns-limits-{}-{count}", std::process::id()));
        std::fs::create_dir(&dir).expect("is made");
        control(&dir);
        std::fs::create_dir(dir.join("job")).expect("is made");
        Some(Self(dir))
    }

    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    pub fn path(&self, below: &str) -> Value {
        format!("/{}{below}", self.0.file_name().unwrap().to_str().unwrap()).into()
    }
}

impl Drop for PidsCgroup {
    fn drop(&mut self) {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let dirs = entries.map(|it| it.path()).filter(|it| it.is_dir());
        for dir in dirs.chain([self.0.clone()]) {
            until("the cgroup is removed", || std::fs::remove_dir(&dir).is_ok() || !dir.exists());
        }
    }
}

/// Runs a program as a user who has no other processes.
pub fn as_user(uid: u32) -> String {
    format!("setpriv --reuid={uid} --regid={uid} --clear-groups")
}
