//! Phrases for limits: how full they are, and what to do about a full one.

use std::fmt::Write as _;

use super::advice::{Adviser, shell_word};
use super::phrase::{Count, Counted};
use super::subject::Comm;
use crate::graph::PidGraph;
use crate::model::{Consumer, INITIAL_USER_NAMESPACE, Limit, LimitKind, LimitScope};
use crate::query::LimitReport;

/// The highest value that `kernel.pid_max` accepts.
const MAX_PID_MAX: u64 = 1 << 22;

/// Returns a phrase that says which call fails, and with which error, if a limit of this kind is
/// full.
pub fn failure(kind: LimitKind) -> String {
    let call = if kind.refuses_forks() { "fork" } else { "unshare" };
    let error = match kind.error() {
        "ENOMEM" => "Cannot allocate memory",
        "ENOSPC" => "No space left on device",
        _ => "Resource temporarily unavailable",
    };
    format!("{call} fails with \"{error}\"")
}

/// Describes how full a limit is, and what uses it up.
pub fn limit_text(limit: &Limit) -> String {
    let mut text = numbers_text(limit);
    // Writing to a String cannot fail.
    if let Some(refused @ 1..) = limit.refused {
        let times = if refused == 1 { "once".to_owned() } else { format!("{refused} times") };
        let _ = write!(text, " (refused {times})");
    }
    match (limit.zombies, &limit.reaper, &limit.largest) {
        (Some(zombies @ 1..), reaper, _) => {
            let zombies = Counted(number(zombies), "zombie", "zombies");
            let _ = write!(text, "; {zombies}");
            if let Some(reaper) = reaper {
                let _ = write!(text, " of {}", consumer_text(reaper));
            }
        }
        (_, _, Some(largest)) if limit.percent().is_some_and(|it| it >= 50) => {
            let tasks = Counted(number(largest.tasks), "task", "tasks");
            let _ = write!(text, "; {tasks} of {}", consumer_text(largest));
        }
        _ => {}
    }
    text
}

fn number(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Describes the scope, the current value and the maximum of a limit.
fn numbers_text(limit: &Limit) -> String {
    let who = scope_text(&limit.scope);
    let count = |number: Option<u64>| number.map_or("?".to_owned(), |it| it.to_string());
    let (used, max) = (count(limit.used), count(limit.max));
    let of = match (limit.full, limit.max) {
        (Some(false), None) => used.clone(),
        _ => format!("{used} of {max}"),
    };
    match limit.kind {
        LimitKind::Nproc => match limit.scope.inherited_by {
            Some(inode) => {
                format!("{who} has {of} tasks (RLIMIT_NPROC at the creation of user:[{inode}])")
            }
            None => format!("{who} has {of} tasks (RLIMIT_NPROC)"),
        },
        LimitKind::ThreadsMax => format!("the host has {of} tasks (kernel.threads-max)"),
        LimitKind::PidsCgroup => format!("{who} has {of} tasks"),
        LimitKind::Nesting => format!("{who} is at level {of}"),
        LimitKind::MaxPidNamespaces => {
            format!("{who} has {of} PID namespaces (user.max_pid_namespaces)")
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
            // If more than a tenth of the PIDs are neither in use nor free, explain why.
            let numbers = limit.used.zip(limit.free).zip(limit.max);
            if numbers.is_some_and(|((used, free), max)| {
                used.saturating_add(free).saturating_add(max / 10) < max
            }) {
                text.push_str("; PIDs below 300 are handed out only once");
            }
            text + ")"
        }
    }
}

fn scope_text(scope: &LimitScope) -> String {
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

/// Returns advice for a full limit: how to get its zombies reaped, if it has any, and how to raise
/// the limit.
pub fn limit_advice(adviser: &Adviser<'_>, limit: &Limit) -> Vec<String> {
    let reaper = limit.reaper.as_ref().filter(|_| limit.zombies.is_some_and(|it| it > 0));
    let reaper = reaper.and_then(|it| adviser.graph.process(it.pid?));
    let mut advice = reaper.map_or(Vec::new(), |reaper| {
        let mut children = adviser.graph.child_processes(reaper).into_iter();
        let zombie = children.find(|it| it.is_unreaped());
        zombie.map_or(Vec::new(), |zombie| adviser.make_reap(reaper.pid, zombie.pid))
    });
    advice.extend(raise(adviser.graph, limit));
    advice
}

/// Returns advice on raising a limit: usually a command that doubles it.
fn raise(graph: &PidGraph, limit: &Limit) -> Option<String> {
    let doubled = limit.max.map(|max| max.saturating_mul(2).max(1));
    let pid = limit.pids.first().copied();
    match (limit.kind, &limit.file, doubled) {
        (LimitKind::InitTerminated, ..) => {
            Some(format!("start the process from another shell: children of {} cannot start", pid?))
        }
        (LimitKind::Nesting, ..) => Some("start it from a namespace above".to_owned()),
        (LimitKind::Nproc, _, Some(value)) => {
            if let Some(inode) = limit.scope.inherited_by {
                return Some(format!(
                    "user:[{inode}] keeps this limit; start the process outside, or in a new user \
                     namespace with prlimit --nproc={value} unshare --user"
                ));
            }
            // The first command fails if the hard limit is lower than `value`. The second command
            // also raises the hard limit, which needs CAP_SYS_RESOURCE.
            let soft = format!("prlimit --pid {} --nproc={value}:", pid?);
            Some(format!("{soft} 2>/dev/null || {soft}{value}"))
        }
        (LimitKind::PidMax, None, Some(value)) => {
            let init = graph.namespace(limit.scope.namespace?)?.init?;
            let value = value.min(MAX_PID_MAX);
            let write = format!("sh -c 'echo {value} > /proc/sys/kernel/pid_max'");
            Some(format!("end a process in it, then nsenter --target {init} --pid {write}"))
        }
        // Only a process in the user namespace can raise the limit. Do not suggest an nsenter
        // command, because the owner of the user namespace could read and control the process that
        // nsenter starts.
        (LimitKind::MaxPidNamespaces, None, Some(value)) => {
            let inode = limit.scope.user_namespace?;
            Some(format!(
                "ask root of user:[{inode}] to write {value} to /proc/sys/user/max_pid_namespaces"
            ))
        }
        (kind, Some(file), Some(value)) => {
            let value = if kind == LimitKind::PidMax { value.min(MAX_PID_MAX) } else { value };
            Some(format!("echo {value} > {}", shell_word(file)))
        }
        _ => None,
    }
}

/// Returns a sentence with the number of full limits and of unknown limits.
pub fn limits_summary(report: &LimitReport) -> String {
    let (full, unknown) = (report.full(), report.unknown);
    let unknown = match unknown {
        0 => String::new(),
        1 => "; 1 limit is unknown".to_owned(),
        _ => format!("; {} limits are unknown", Count(unknown)),
    };
    let known = match full {
        0 if !report.asked.is_empty() || !report.limits.is_empty() => "No limit is full",
        0 if unknown.is_empty() => "Nothing is close to a limit",
        0 => "Nothing that could be read is close to a limit",
        1 => "1 limit is full",
        _ => return format!("{} limits are full{unknown}.", Count(full)),
    };
    format!("{known}{unknown}.")
}
