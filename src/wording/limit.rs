//! Phrases for limits: how much of a limit is in use, and what to do if the limit is reached.

use std::fmt::Write as _;

use super::advice::{Adviser, guarded, shell_word};
use super::phrase::{Count, Counted};
use super::sanitize::Sanitized;
use super::subject::{Comm, ProcessRef};
use crate::graph::PidGraph;
use crate::model::{Consumer, INITIAL_USER_NAMESPACE, Limit, LimitKind, LimitScope, Pid, Process};
use crate::query::{LimitReport, main_process, namesakes};

/// The highest value that `kernel.pid_max` accepts.
const MAX_PID_MAX: u64 = 1 << 22;

/// The maximum to suggest if the number in use is unknown.
const AMPLE: u64 = 1024;

/// Maximum number of [`namesakes`] of a PID that a line names.
const NAMESAKES: usize = 3;

/// Returns a phrase that says which call fails, and with which error, if a limit of this kind is
/// reached.
pub fn failure(kind: LimitKind) -> String {
    let call = if kind.refuses_forks() { "fork" } else { "unshare" };
    let error = match kind.error() {
        "ENOMEM" => "Cannot allocate memory",
        "ENOSPC" => "No space left on device",
        _ => "Resource temporarily unavailable",
    };
    format!("{call} fails with \"{error}\"")
}

/// Returns a phrase that says how much of a limit is in use, how often the kernel has refused a
/// fork because of it, and how many zombies it includes or which consumer is the largest.
pub fn limit_text(graph: &PidGraph, limit: &Limit) -> String {
    let mut text = numbers_text(limit);
    // Writing to a String cannot fail.
    if let Some(refused @ 1..) = limit.refused {
        let times = if refused == 1 { "once".to_owned() } else { format!("{refused} times") };
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

/// Returns a phrase with a consumer and the number of its tasks. Says so if the number includes the
/// tasks of child processes.
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

fn number(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Returns a phrase that says what a limit applies to, how much of it is in use, and what its
/// maximum is.
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
            // If more than a tenth of the PIDs are neither in use nor free, explain why: once PIDs
            // have passed 300 (RESERVED_PIDS), the kernel assigns no lower PID any more.
            let numbers = limit.used.zip(limit.free).zip(limit.max);
            if let Some(((used, free), max)) = numbers
                && used.saturating_add(free).saturating_add(max / 10) < max
            {
                let last = max.saturating_sub(1);
                let _ = write!(text, "; the kernel now assigns only PIDs 300 to {last}");
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

/// Returns advice for a limit that is reached: how to get its zombies reaped, if it has any, how to
/// raise the limit, and which tasks to end otherwise.
pub fn limit_advice(adviser: &Adviser<'_>, limit: &Limit) -> Vec<String> {
    let reaper = limit.reaper.as_ref().filter(|_| limit.zombies.is_some_and(|it| it > 0));
    let reaper = reaper.and_then(|it| adviser.graph.process(it.pid?));
    let mut advice = reaper.map_or(Vec::new(), |reaper| {
        let mut children = adviser.graph.child_processes(reaper).into_iter();
        let zombie = children.find(|it| it.is_unreaped());
        zombie.map_or(Vec::new(), |zombie| adviser.make_reap(reaper.pid, zombie.pid))
    });
    advice.extend(raise(adviser, limit));
    // The advice on another namespace's `pid_max` already says to end a process.
    if limit.kind.counts_tasks() && !(limit.kind == LimitKind::PidMax && limit.file.is_none()) {
        let or = if advice.is_empty() { "" } else { "or " };
        advice.push(format!("{or}end a task of {}", scope_text(&limit.scope)));
    }
    advice
}

/// Returns advice on raising the maximum of a limit to twice its value or, if this is larger, twice
/// the number in use. Returns other advice for limits that cannot be raised.
fn raise(adviser: &Adviser<'_>, limit: &Limit) -> Vec<String> {
    let doubled = limit.max.map(|max| match limit.used {
        Some(used) => max.max(used).saturating_mul(2).max(1),
        None => AMPLE,
    });
    let main = main_process(adviser.graph, limit, adviser.live.own_pid);
    let main = main.filter(|pid| !adviser.live.ended.contains(pid));
    match (limit.kind, &limit.file, doubled) {
        (LimitKind::InitTerminated, ..) => limit.pids.first().map_or(Vec::new(), |pid| {
            vec![format!("start the process from another shell: children of {pid} cannot start")]
        }),
        (LimitKind::Nesting, ..) => vec!["start it from a namespace above".to_owned()],
        (LimitKind::Nproc, _, Some(value)) => match limit.scope.inherited_by {
            Some(inode) => vec![format!(
                "user:[{inode}] keeps this limit; start the process outside, or in a new user \
                 namespace with prlimit --nproc={value} unshare --user"
            )],
            None => raise_nproc(adviser, limit, main, value),
        },
        (LimitKind::PidMax, None, Some(value)) => {
            let namespace = limit.scope.namespace.and_then(|id| adviser.graph.namespace(id));
            let write = format!("echo {} > /proc/sys/kernel/pid_max", value.min(MAX_PID_MAX));
            let init = namespace.and_then(|it| it.init.zip(it.id.inode()));
            let enter = init.map(|(init, inode)| {
                let enter = format!("nsenter --target {init} --pid sh -c '{write}'");
                let enter = guarded(init, "pid", inode, &enter);
                adviser.with_pid(&format!("or end a process in it, then {enter}"))
            });
            // In a shell, `echo` is a builtin, so the command works even if the shell cannot fork.
            [format!("in a shell there, as root: {write}")].into_iter().chain(enter).collect()
        }
        // Only a process in the user namespace can raise the limit. Do not suggest an nsenter
        // command, because the owner of the user namespace could read and control the process that
        // nsenter starts.
        (LimitKind::MaxPidNamespaces, None, Some(value)) => {
            let name = main.map(|pid| ProcessRef::new(adviser.graph, pid, None));
            let which = name.map_or(String::new(), |it| format!(", which limits {it},"));
            limit.scope.user_namespace.map_or(Vec::new(), |inode| {
                vec![format!(
                    "ask root of user:[{inode}]{which} to write {value} to \
                     /proc/sys/user/max_pid_namespaces"
                )]
            })
        }
        (kind, Some(file), Some(value)) => {
            let value = if kind == LimitKind::PidMax { value.min(MAX_PID_MAX) } else { value };
            vec![format!("echo {value} > {}", shell_word(file))]
        }
        _ => Vec::new(),
    }
}

/// Returns advice on raising `RLIMIT_NPROC` to `value`. Users may raise the soft limits of their own
/// processes up to the hard limits.
fn raise_nproc(adviser: &Adviser<'_>, limit: &Limit, main: Option<Pid>, value: u64) -> Vec<String> {
    let Adviser { graph, live } = adviser;
    let hard = |pid| live.hard_nproc.get(&pid).copied();
    let mut advice = Vec::new();
    let own = live.own_pid.filter(|own| limit.pids.contains(own));
    if own.and_then(hard).is_some_and(|hard| value <= hard) {
        advice.push(format!(
            "in a shell with this limit: ulimit -S -u {value} # -p instead of -u in dash and ash"
        ));
    }
    let Some(pid) = main else { return advice };
    let prlimit = format!("prlimit --pid {pid} --nproc={value}");
    let name = Sanitized(ProcessRef::new(graph, pid, None).to_string());
    let who = scope_text(&limit.scope);
    advice.push(adviser.with_pid(&match hard(pid) {
        Some(hard) if value > hard => format!(
            "{prlimit} # for {name}; raising the hard limit of {hard} needs CAP_SYS_RESOURCE"
        ),
        Some(_) => format!("{prlimit}: # for {name}; as {who}, or with CAP_SYS_RESOURCE"),
        None => format!("{prlimit}: # for {name}; fails above the hard limit"),
    }));
    advice
}

/// Returns a sentence that says how many limits are reached, and how many are unknown. Unknown
/// limits of pidns itself come first, because one of them may be the reason why the user called
/// pidns.
pub fn limits_summary(report: &LimitReport) -> String {
    let of = asked_text(report).map_or(String::new(), |who| format!(" of {who}"));
    if !of.is_empty() && report.limits.is_empty() {
        return format!("No limit applies to{}.", of.trim_start_matches(" of"));
    }
    let full = report.full();
    let own = if full == 0 && report.asked.is_empty() { report.unknown_own } else { 0 };
    let own_text = match own {
        0 => String::new(),
        _ => format!("{} of this shell {} unknown. ", limits(own), are(own)),
    };
    let rest = report.unknown.saturating_sub(own);
    let more = if own > 0 { "more " } else { "" };
    let rest_text = match rest {
        0 => String::new(),
        1 => format!("; 1 {more}limit is unknown"),
        _ => format!("; {} {more}limits are unknown", Count(rest)),
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
    format!("{own_text}{known}{rest_text}.")
}

fn limits(count: usize) -> Counted {
    Counted(count, "limit", "limits")
}

fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// Returns a phrase that names the processes whose limits were requested, or gives their number if
/// there are several. Returns `None` if the limits of the whole host were requested.
fn asked_text(report: &LimitReport) -> Option<String> {
    match report.asked.len() {
        0 => None,
        1 => report.asked.first().map(|&pid| ProcessRef::new(&report.graph, pid, None).to_string()),
        count => Some(format!("these {} processes", Count(count))),
    }
}

/// For each requested PID that has [`namesakes`], returns a line that names them.
pub fn namesake_lines(report: &LimitReport) -> Vec<String> {
    let line = |&pid| namesake_text(pid, "also ", report.graph.processes());
    report.asked.iter().filter_map(line).collect()
}

/// Returns a phrase that names the [`namesakes`] of a PID, which are the processes with this PID in
/// their own PID namespaces; `None` if there are none. The user may have meant one of them, because
/// a shell shows its PID in its own namespace (`$$`). `also` is inserted before "the PID of".
pub fn namesake_text(pid: Pid, also: &str, processes: &[Process]) -> Option<String> {
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
