//! Finds the heartbeat of a CI step, a background loop that updates a file every few seconds.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use memchr::memmem;

use crate::collect::kernel::wait_limit::WaitLimit;
use crate::collect::proc::procfs::Procfs;
use crate::collect::proc::relatives::{
    add_descendants, arguments, file_name, has_ended, has_shell_name, is_shell, is_subshell,
    siblings,
};
use crate::model::{Pid, Process};

/// Longest `sleep` in a heartbeat loop, in seconds (Jenkins uses `sleep 3`).
const MAX_SLEEP: f64 = 10.0;

/// Maximum number of reads of a command line, and the time between them.
const MAX_READS: usize = 20;
const PAUSE: Duration = Duration::from_millis(1);

/// An assignment that the Jenkins plugin `durable-task` writes into the command of a step's outer
/// shell.
const JENKINS: &str = "JENKINS_SERVER_COOKIE=";

/// A CI step that has a heartbeat.
///
/// The heartbeat is a background loop that shows the CI agent that the step is still running.
pub struct Step {
    /// PID of the outer shell (see [`Observer::step`](crate::model::Observer::step)).
    pub shell: Pid,
    /// PIDs of the subshells that run the heartbeat loop, and of their descendants.
    pub heartbeat: BTreeSet<Pid>,
}

/// Finds the CI step in which pidns runs, if the step has a heartbeat.
///
/// A CI agent such as Jenkins starts an outer shell with two children. One child is the heartbeat,
/// which shows the agent that the step is still running. The other child is an inner shell, which
/// runs the step's script.
///
/// pidns can mistake a similar loop in a job (`sh -c 'LOOP & sh check.sh'`) for a heartbeat.
pub fn step(
    procfs: &Procfs,
    processes: &[Process],
    ancestry: &[&Process],
    waits: &WaitLimit,
) -> Option<Step> {
    // The first entry of `ancestry` is pidns itself. Each later entry may be the inner shell
    // (`script`). Its parent, the next entry, may then be the outer shell (`shell`).
    let scripts = ancestry.iter().skip(1);
    let shells = ancestry.iter().skip(2);
    shells.zip(scripts).find_map(|(shell, script)| {
        let runs_script = is_shell(procfs, script, waits)
            && is_shell(procfs, shell, waits)
            // Skip an init, because its children may be adopted orphans.
            && !shell.is_init()
            && arguments(procfs, shell.pid, waits).is_some_and(|it| starts_heartbeat(&it))
            && !is_subshell(procfs, script.pid, shell.pid, waits);
        if !runs_script {
            return None;
        }
        let copies =
            siblings(processes, script).filter(|it| is_subshell(procfs, it.pid, shell.pid, waits));
        let heartbeat: BTreeSet<Pid> =
            copies.filter_map(|copy| heartbeat(procfs, processes, copy, waits)).flatten().collect();
        (!heartbeat.is_empty()).then_some(Step { shell: shell.pid, heartbeat })
    })
}

/// Returns the heartbeats of all Jenkins steps, and the outer shells of scripts that have ended.
pub fn of_jenkins(procfs: &Procfs, processes: &[Process], waits: &WaitLimit) -> BTreeSet<Pid> {
    let shells = processes.iter().filter(|it| has_shell_name(it) && !it.is_zombie());
    // A heartbeat runs in a subshell, that is, in a forked copy of the outer shell. So an outer
    // shell with a heartbeat is the parent of another shell. Collect the parents of all shells to
    // find the outer shells.
    let parents: BTreeSet<Pid> = shells.clone().filter_map(|it| it.ppid).collect();
    let outer = shells.filter(|it| parents.contains(&it.pid));
    let outer = outer.filter(|it| {
        let text = arguments(procfs, it.pid, waits).unwrap_or_default();
        starts_heartbeat(&text) && memmem::find(&text, JENKINS.as_bytes()).is_some()
    });
    let harmless = outer.flat_map(|shell| {
        let children = processes.iter().filter(|it| it.ppid == Some(shell.pid));
        let copies = children.filter(|it| is_subshell(procfs, it.pid, shell.pid, waits));
        // When the script of a CI step has ended, the outer shell only waits for the background
        // loop (the heartbeat), and then exits. Treat this shell as part of the heartbeat if all
        // its descendants are part of the heartbeat.
        copies.chain([shell]).filter_map(|it| heartbeat(procfs, processes, it, waits))
    });
    harmless.flatten().collect()
}

/// Returns `true` for a shell command (`sh -c`) that calls `touch` and `sleep`.
fn starts_heartbeat(arguments: &[u8]) -> bool {
    let mut arguments = arguments.split(|&byte| byte == 0).skip(1);
    let (option, text) = (arguments.next(), arguments.next().unwrap_or_default());
    let calls = |command: &[u8]| text.windows(command.len()).any(|it| it == command);
    option == Some(b"-c") && calls(b"touch ") && calls(b"sleep ")
}

/// Returns the PIDs of the subshell `copy` and its descendants if they run only `touch` and short
/// `sleep`s, as a heartbeat does.
fn heartbeat(
    procfs: &Procfs,
    processes: &[Process],
    copy: &Process,
    waits: &WaitLimit,
) -> Option<BTreeSet<Pid>> {
    let mut family = BTreeSet::from([copy.pid]);
    add_descendants(processes, &mut family);
    let is_harmless = |&pid: &Pid| {
        is_subshell(procfs, pid, copy.pid, waits)
            || has_ended(procfs, pid)
            || loaded_arguments(procfs, pid, waits).is_some_and(|it| is_brief(&it))
            // The process may have ended in the meantime.
            || has_ended(procfs, pid)
    };
    family.iter().all(is_harmless).then_some(family)
}

/// Reads the command line of a process, and retries while it is empty.
///
/// The command line is empty during `execve(2)`, until the kernel has loaded the program.
fn loaded_arguments(procfs: &Procfs, pid: Pid, waits: &WaitLimit) -> Option<Vec<u8>> {
    for _ in 1..MAX_READS {
        let text = arguments(procfs, pid, waits)?;
        if !text.is_empty() {
            return Some(text);
        }
        thread::sleep(PAUSE);
    }
    arguments(procfs, pid, waits)
}

/// Returns `true` for the command lines of `touch` and of a short `sleep`.
fn is_brief(arguments: &[u8]) -> bool {
    let arguments: Vec<&[u8]> = arguments.split(|&byte| byte == 0).collect();
    match arguments[..] {
        [program, time, b""] if file_name(program) == b"sleep" => {
            let seconds = std::str::from_utf8(time).map(|it| it.trim_end_matches('s').parse());
            seconds.is_ok_and(|it| it.is_ok_and(|it: f64| it <= MAX_SLEEP))
        }
        [program, ..] => file_name(program) == b"touch",
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{is_brief, starts_heartbeat};

    #[test]
    fn only_a_shell_whose_text_has_touch_and_sleep_starts_a_heartbeat() {
        assert!(starts_heartbeat(b"sh\0-c\0{ while :; do touch log; sleep 3; done; } & sh s\0"));
        for other in
            ["", "sh\0-c\0", "sh\0-c\0(sleep 3; server) & sh s\0", "sh\0touch a; sleep 3\0"]
        {
            assert!(!starts_heartbeat(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn only_touch_and_short_sleeps_are_brief() {
        for brief in ["sleep\x003\0", "/bin/sleep\x000.5s\0", "touch\0a\0b\0"] {
            assert!(is_brief(brief.as_bytes()), "{brief:?}");
        }
        for other in [
            "",
            "sleep\0",
            "sleep\x0011\0",
            "sleep\x001m\0",
            "sleep\x001\x009\0",
            "sleep\0inf\0",
            "server\x003\0",
        ] {
            assert!(!is_brief(other.as_bytes()), "{other:?}");
        }
    }
}
