//! Phrases for the usage of limits, and for the calls that fail when a limit is reached.

use std::fmt::Write as _;

use super::phrase::{Count, Counted};
use super::subject::{Comm, ProcessRef};
use crate::graph::PidGraph;
use crate::model::{
    Consumer, INITIAL_USER_NAMESPACE, Keyword as _, Limit, LimitKind, LimitScope, Pid, Process,
};
use crate::query::{LimitReport, namesakes};

/// Maximum number of processes that [`namesake_text`] names.
const NAMESAKES: usize = 3;

/// Returns a phrase that says what happens when a limit is reached.
///
/// For example: `fork fails with "Cannot allocate memory"`.
pub fn failure(kind: LimitKind) -> String {
    let call = if kind.refuses_forks() { "fork" } else { "unshare" };
    let error = match kind.error() {
        "ENOMEM" => "Cannot allocate memory",
        "ENOSPC" => "No space left on device",
        _ => "Resource temporarily unavailable",
    };
    format!("{call} fails with \"{error}\"")
}

/// Returns a phrase such as "cgroup /a has 9 of 10 tasks; 7 sh has 6 of them".
pub fn limit_text(graph: &PidGraph, limit: &Limit) -> String {
    let mut text = numbers_text(limit);
    if let Some(refused @ 1..) = limit.refused {
        let times = if refused == 1 { "once".to_owned() } else { format!("{refused} times") };
        // Writing to a `String` cannot fail, here and below.
        let _ = write!(text, " (refused {times})");
    }
    match (limit.zombies, &limit.reaper, limit.main_consumer()) {
        (Some(zombies @ 1..), reaper, _) => {
            let zombies = Counted(number(zombies), "zombie", "zombies");
            let _ = write!(text, "; {zombies}");
            if let Some(reaper) = reaper {
                let _ = write!(text, " of {}", consumer_text(reaper));
            }
        }
        (_, _, Some(largest)) if limit.percent().is_some_and(|it| it >= 50) => {
            let _ = write!(text, "; {}", share_text(graph, largest));
        }
        _ => {}
    }
    text
}

/// Returns a phrase with one consumer's share of the tasks that a limit counts.
///
/// For example, `7 sh has 6 of them` means that process 7 has 6 of the tasks. A consumer can also
/// be a container or a user.
fn share_text(graph: &PidGraph, consumer: &Consumer) -> String {
    let process = consumer.pid.and_then(|pid| graph.known_process(pid));
    let own = process.map(|it| it.threads.map_or(1, |threads| threads.get().into()));
    let (who, tasks) = (consumer_text(consumer), Count(number(consumer.tasks)));
    if consumer.pid.is_some() && own != Some(consumer.tasks) {
        format!("{who} and its children have {tasks} of them")
    } else {
        format!("{who} has {tasks} of them")
    }
}

/// Converts a count to `usize`, or to `usize::MAX` if it does not fit.
pub(super) fn number(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Returns a phrase with the scope of a limit, the number in use, and the maximum.
fn numbers_text(limit: &Limit) -> String {
    let who = scope_text(&limit.scope);
    let count = |number: Option<u64>| number.map_or("?".to_owned(), |it| it.to_string());
    let (used, max) = (count(limit.used), count(limit.max));
    let has = match (limit.full, limit.used, limit.max) {
        (Some(false), _, None) => format!("has {used}"),
        (_, None, Some(0)) => "may have 0".to_owned(),
        _ => format!("has {used} of {max}"),
    };
    match limit.kind {
        LimitKind::Nproc => match limit.scope.inherited_by {
            Some(inode) => {
                format!("{who} {has} tasks (RLIMIT_NPROC at the creation of user:[{inode}])")
            }
            None => format!("{who} {has} tasks (RLIMIT_NPROC)"),
        },
        LimitKind::ThreadsMax => format!("the host {has} tasks (kernel.threads-max)"),
        LimitKind::PidsCgroup => format!("{who} {has} tasks"),
        LimitKind::Nesting => format!("{who} is at level {used} of {max}"),
        LimitKind::MaxPidNamespaces => {
            format!("{who} {has} PID namespaces (user.max_pid_namespaces)")
        }
        LimitKind::InitTerminated => match limit.full {
            Some(true) => format!("children would start in {who}, whose init has terminated"),
            Some(false) => format!("children would start in {who}, whose init is running"),
            None => format!("children would start in {who}, whose init may have terminated"),
        },
        LimitKind::PidMax => {
            let mut text = format!("{who} has {used} PIDs in use");
            // Writing to a String cannot fail.
            let _ = match limit.free {
                Some(free) => write!(text, " and {} free", Count(number(free))),
                None => Ok(()),
            };
            let _ = write!(text, " (kernel.pid_max {max}");
            let numbers = limit.used.zip(limit.free).zip(limit.max);
            if let Some(((used, free), max)) = numbers
                && used.saturating_add(free).saturating_add(max / 10) < max
            {
                let last = max.saturating_sub(1);
                // After a wraparound, the kernel skips PIDs below 300 (RESERVED_PIDS).
                let _ = write!(text, "; the kernel now assigns only PIDs 300 to {last}");
            }
            text + ")"
        }
    }
}

/// Returns the name of the namespace, cgroup or user that a limit applies to.
pub(super) fn scope_text(scope: &LimitScope) -> String {
    let inside = match scope.user_namespace {
        Some(inode) if inode != INITIAL_USER_NAMESPACE => format!(" in user:[{inode}]"),
        _ => String::new(),
    };
    match scope {
        LimitScope { namespace: Some(id), .. } => id.to_string(),
        LimitScope { cgroup: Some(path), .. } => format!("cgroup {path}"),
        LimitScope { user: Some(user), .. } => format!("user {user}{inside}"),
        LimitScope { uid: Some(uid), .. } => format!("user {uid}{inside}"),
        LimitScope { .. } => "the host".to_owned(),
    }
}

fn consumer_text(consumer: &Consumer) -> String {
    match consumer {
        Consumer { pid: Some(pid), comm: Some(comm), .. } => format!("{pid} {}", Comm(comm)),
        Consumer { pid: Some(pid), .. } => pid.to_string(),
        Consumer { container: Some(container), .. } => container.to_string(),
        Consumer { user: Some(user), .. } => format!("user {user}"),
        Consumer { uid, .. } => format!("user {}", uid.unwrap_or_default()),
    }
}

/// Returns a summary that says how many limits are full and how many are unknown.
pub fn limits_summary(report: &LimitReport) -> String {
    let of = asked_text(report).map_or(String::new(), |who| format!(" of {who}"));
    if !of.is_empty() && report.limits.is_empty() {
        return format!("No limit applies to{}.", of.trim_start_matches(" of"));
    }
    let full = report.full();
    // A fork in the user's shell may also fail because of a limit that pidns cannot read. So if no
    // known limit is reached, mention the unknown limits that apply to the shell.
    let of_shell = shell_text(report).filter(|_| full == 0 && report.asked.is_empty());
    let unknown = report.unknown;
    let rest = match unknown {
        0 => String::new(),
        _ if of_shell.is_some() => String::new(),
        _ => format!("; {} {} unknown", limits(unknown), are(unknown)),
    };
    let known = match full {
        0 if report.unknown == 0 && (!of.is_empty() || !report.limits.is_empty()) => {
            format!("No limit{of} is full")
        }
        0 if !of.is_empty() || !report.limits.is_empty() => {
            format!("No limit{of} is known to be full")
        }
        0 if report.unknown == 0 => "Nothing is close to a limit".to_owned(),
        0 => "Nothing that could be read is close to a limit".to_owned(),
        _ => format!("{}{of} {} full", limits(full), are(full)),
    };
    format!("{}{known}{rest}.", of_shell.unwrap_or_default())
}

/// Returns a sentence about the unknown limits that apply to the user's shell, if any.
fn shell_text(report: &LimitReport) -> Option<String> {
    // The user's shell started pidns, so the same limits apply to both. The unknown limits of pidns
    // are therefore also the unknown limits of the shell.
    let mut kinds: Vec<_> = report.unknown_own.iter().map(|it| it.keyword()).collect();
    kinds.dedup();
    let (all, own, kinds) = (report.unknown, report.unknown_own.len(), kinds.join(", "));
    let unknown = are(all);
    Some(match own {
        0 => return None,
        _ if own == all => format!("{} of this shell {unknown} unknown ({kinds}). ", limits(all)),
        1 => format!(
            "{} {unknown} unknown; 1 of them applies to this shell ({kinds}). ",
            limits(all)
        ),
        _ => format!(
            "{} {unknown} unknown; {} of them apply to this shell ({kinds}). ",
            limits(all),
            Count(own)
        ),
    })
}

/// Returns a hint on how to read more limits, unless pidns runs as root on the host.
pub fn unknown_hint(report: &LimitReport) -> Option<&'static str> {
    report.own.filter(|_| !report.live.is_host_root)?;
    Some(if report.asked.is_empty() {
        "run 'pidns limits' as root on the host to see more"
    } else {
        "run 'pidns limits PID' as root on the host to see more, with the PID that the process has \
         there"
    })
}

fn limits(count: usize) -> Counted {
    Counted(count, "limit", "limits")
}

fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// Returns a phrase with the name of the requested process, or with the number of requested
/// processes if there are several.
fn asked_text(report: &LimitReport) -> Option<String> {
    match report.asked.len() {
        0 => None,
        1 => report.asked.first().map(|&pid| ProcessRef::new(&report.graph, pid, None).to_string()),
        count => Some(format!("these {} processes", Count(count))),
    }
}

/// Returns a line for each requested PID that has [`namesakes`] in other PID namespaces.
pub fn namesake_lines(report: &LimitReport) -> Vec<String> {
    let line = |&pid| namesake_text(pid, "also ", report.graph.processes());
    report.asked.iter().filter_map(line).collect()
}

/// Returns a phrase that lists the processes with the same PID in other PID namespaces (see
/// [`namesakes`]), if there are any.
pub fn namesake_text(pid: Pid, also: &str, processes: &[Process]) -> Option<String> {
    // The user may mean a process with the same PID in a container, for example if the PID is the
    // value of `$$` in a shell there.
    let namesakes = namesakes(processes, pid);
    let shown = namesakes.get(..NAMESAKES).unwrap_or(&namesakes);
    let name = |it: &&Process| {
        let inside = it.namespace.map_or(String::new(), |id| format!(" in {id}"));
        format!("{} {}{inside}", it.pid, Comm(&it.comm))
    };
    let mut names: Vec<String> = shown.iter().map(name).collect();
    if namesakes.len() > shown.len() {
        names.push(format!("{} more", Count(namesakes.len() - shown.len())));
    }
    let last = names.pop()?;
    let and = if names.is_empty() { "" } else { " and " };
    let pids: Vec<String> = shown.iter().map(|it| it.pid.to_string()).collect();
    let (names, pids) = (names.join(", "), pids.join(" "));
    Some(format!("{pid} is {also}the PID of {names}{and}{last}; pidns limits {pids}"))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::testing::{namespace, process, snapshot};

    #[test]
    fn only_the_tasks_of_children_are_called_so() {
        let java = Process { threads: NonZeroU32::new(6), ..process(&[7], Some(10)) };
        let graph = PidGraph::new(snapshot(vec![namespace(10, None)], vec![java]));
        let share = |tasks| {
            let pid = Pid::new(7);
            share_text(&graph, &Consumer { pid, tasks, ..Consumer::default() })
        };
        assert_eq!(share(6), "7 has 6 of them");
        assert_eq!(share(9), "7 and its children have 9 of them");
        let user = Consumer { uid: Some(4), tasks: 1200, ..Consumer::default() };
        assert_eq!(share_text(&graph, &user), "user 4 has 1,200 of them");
    }
}
