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
    let or = |advice: &[String]| if advice.is_empty() { "" } else { "or " };
    // The advice on another namespace's `pid_max` already says to end a process.
    let is_foreign = limit.kind == LimitKind::PidMax && limit.file.is_none();
    if let Some(end) = end_tasks(adviser, limit).filter(|_| !is_foreign) {
        advice.push(format!("{}{end}", or(&advice)));
    }
    if let Some(raise) = raise_hard_nproc(adviser, limit) {
        advice.push(format!("{}{raise}", or(&advice)));
    }
    advice
}

/// Returns the advice to end as many tasks as needed, with a command that shows these tasks.
/// Returns `None` if this would not help.
fn end_tasks(adviser: &Adviser<'_>, limit: &Limit) -> Option<String> {
    let is_possible = limit.kind.counts_tasks() && limit.max != Some(0);
    let scope = Sanitized(scope_text(&limit.scope));
    let shown = tasks_command(adviser, limit);
    let shown = shown.map_or(String::new(), |command| format!(" ({command} shows them)"));
    if limit.kind == LimitKind::PidMax {
        return Some(format!("end a process in {scope}{}{shown}", which_pids(adviser, limit)));
    }
    let excess = limit.used.zip(limit.max).map_or(0, |(used, max)| used.saturating_sub(max));
    let tasks = match excess {
        0 => "a task".to_owned(),
        _ => format!("{} tasks", Count(number(excess.saturating_add(1)))),
    };
    is_possible.then(|| format!("end {tasks} of {scope}{shown}"))
}

/// Returns a phrase that says which processes to end if a `pid_max` is reached.
fn which_pids(adviser: &Adviser<'_>, limit: &Limit) -> String {
    // Below the maximum, all PIDs except 0 are in use or free, unless the kernel assigns only PIDs
    // from 300 on (RESERVED_PIDS).
    let counted = limit.used.zip(limit.free).map(|(used, free)| used.saturating_add(free));
    if counted.zip(limit.max).is_some_and(|(counted, max)| counted.saturating_add(1) < max) {
        return " whose PID there is 300 or higher".to_owned();
    }
    // Ending the init would end all other processes of the namespace.
    let namespace = limit.scope.namespace.and_then(|id| adviser.graph.namespace(id));
    let init = namespace.and_then(|it| it.init);
    init.map_or(String::new(), |init| format!(" other than its init {init}"))
}

/// Returns a command that shows the tasks that count towards a limit, or those of its main consumer.
/// Returns `None` if no command shows them, or if the main consumer has only one task, which the
/// line about the limit names.
fn tasks_command(adviser: &Adviser<'_>, limit: &Limit) -> Option<String> {
    // The command shows the PID namespace of the shell in which it runs.
    if !adviser.graph.snapshot().procfs.own {
        return None;
    }
    let live = adviser.live;
    let is_here = |pid: &Pid| Some(*pid) != live.own_pid && !live.ended.contains(pid);
    let user = |scope: &LimitScope| {
        let name = scope.user.as_ref().map(ToString::to_string);
        let name = name.or_else(|| scope.uid.map(|it| it.to_string()))?;
        Some(format!("pidns --user {} --tree", shell_word(&name)))
    };
    let main = limit.main_consumer();
    match (limit.scope.namespace, main) {
        (_, Some(Consumer { tasks: 1, pid: Some(_), .. })) => None,
        (Some(id), _) if limit.file.is_none() => {
            Some(format!("pidns --root {} --no-fold", id.inode()?))
        }
        (_, Some(Consumer { pid: Some(pid), .. })) if is_here(pid) => {
            Some(format!("pidns --tree {pid}"))
        }
        (_, Some(Consumer { container: Some(container), .. })) => {
            Some(format!("pidns --container {} --tree", shell_word(&container.id)))
        }
        (_, Some(Consumer { uid, user: name, pid: None, .. })) => {
            user(&LimitScope { uid: *uid, user: name.clone(), ..LimitScope::default() })
        }
        // In another user namespace, the same user has other tasks, too.
        _ => {
            let own = live.own_pid.and_then(|pid| live.user_namespaces.get(&pid).copied());
            let inode = limit.scope.user_namespace;
            let is_whole =
                inode == Some(INITIAL_USER_NAMESPACE) || (inode.is_some() && inode == own);
            user(&limit.scope).filter(|_| is_whole)
        }
    }
}

/// Returns the value to which to raise the maximum of a limit: twice its value or, if this is
/// larger, twice the number in use.
fn raised(limit: &Limit) -> Option<u64> {
    let doubled = limit.max.map(|max| match limit.used {
        Some(used) => max.max(used).saturating_mul(2).max(1),
        None => AMPLE,
    });
    let is_pid_max = limit.kind == LimitKind::PidMax;
    doubled.map(|value| if is_pid_max { value.min(MAX_PID_MAX) } else { value })
}

/// Returns the process whose limit to raise; `None` if it has ended.
fn main_of(adviser: &Adviser<'_>, limit: &Limit) -> Option<Pid> {
    let main = main_process(adviser.graph, limit, adviser.live.own_pid);
    main.filter(|pid| !adviser.live.ended.contains(pid))
}

/// Returns the PID and the name of a process, safe for a terminal.
fn name(adviser: &Adviser<'_>, pid: Pid) -> Sanitized<String> {
    Sanitized(ProcessRef::new(adviser.graph, pid, None).to_string())
}

/// Returns advice on raising the maximum of a limit. Returns other advice for limits that cannot be
/// raised.
fn raise(adviser: &Adviser<'_>, limit: &Limit) -> Vec<String> {
    match (limit.kind, &limit.file, raised(limit)) {
        (LimitKind::InitTerminated, ..) => start_elsewhere(adviser, limit),
        (LimitKind::Nesting, ..) => vec!["start it from a namespace above".to_owned()],
        (LimitKind::Nproc, _, Some(value)) => match limit.scope.inherited_by {
            Some(inode) => vec![format!(
                "user:[{inode}] keeps this limit; start the process outside, or in a new user \
                 namespace with prlimit --nproc={value} unshare --user"
            )],
            None => raise_nproc(adviser, limit, value),
        },
        (LimitKind::PidMax, None, Some(value)) => raise_foreign_pid_max(adviser, limit, value),
        (LimitKind::MaxPidNamespaces, None, Some(value)) => {
            raise_foreign_namespaces(adviser, limit, value).into_iter().collect()
        }
        (_, Some(file), Some(value)) => vec![format!("echo {value} > {}", shell_word(file))],
        _ => Vec::new(),
    }
}

/// Returns advice for processes whose children would start in a namespace whose init has
/// terminated.
fn start_elsewhere(adviser: &Adviser<'_>, limit: &Limit) -> Vec<String> {
    let own = adviser.live.own_pid;
    let other = limit.pids.iter().find(|pid| Some(**pid) != own);
    let who = other.map_or("this shell".to_owned(), |&pid| name(adviser, pid).to_string());
    vec![
        format!("start the process from another shell: children of {who} cannot start"),
        // The shell replaces itself with nsenter, which sets the namespace for children back to
        // the shell's own namespace and then, without a fork, becomes a shell.
        "or in a shell with this limit, as root: exec nsenter --pid=/proc/self/ns/pid --no-fork sh"
            .to_owned(),
    ]
}

/// Returns advice on raising the `pid_max` of a PID namespace other than pidns's own.
fn raise_foreign_pid_max(adviser: &Adviser<'_>, limit: &Limit, value: u64) -> Vec<String> {
    let Some(id) = limit.scope.namespace else { return Vec::new() };
    let write = format!("echo {value} > /proc/sys/kernel/pid_max");
    // In a shell, `echo` is a builtin, so the command works even if the shell cannot fork.
    let mut advice = vec![format!("in a shell in {id}, as root: {write}")];
    let init = adviser.graph.namespace(id).and_then(|it| it.init.zip(it.id.inode()));
    if let (Some((init, inode)), Some(end)) = (init, end_tasks(adviser, limit)) {
        let enter = format!("nsenter --target {init} --pid sh -c '{write}'");
        advice
            .push(adviser.with_pid(&format!("or {end}, because nsenter needs a free PID; then:")));
        advice.push(guarded(init, "pid", inode, &enter));
    }
    advice
}

/// Returns advice on raising the `max_pid_namespaces` of a user namespace other than pidns's own.
///
/// Only a process in the user namespace can raise the limit. The advice contains no nsenter command,
/// because the owner of the user namespace could read and control the process that nsenter starts.
fn raise_foreign_namespaces(adviser: &Adviser<'_>, limit: &Limit, value: u64) -> Option<String> {
    let inode = limit.scope.user_namespace?;
    let file = "/proc/sys/user/max_pid_namespaces";
    let main = main_of(adviser, limit);
    let live = adviser.live;
    let may_raise = |pid: &Pid| {
        live.user_namespaces.get(pid) == Some(&inode) && live.container_roots.contains(pid)
    };
    if let Some(pid) = main.filter(may_raise) {
        let who = name(adviser, pid);
        let advice =
            format!("as root of user:[{inode}], for example in {who}: echo {value} > {file}");
        return Some(adviser.with_pid(&advice));
    }
    let which = main.map_or(String::new(), |pid| format!(", which limits {},", name(adviser, pid)));
    Some(format!("ask root of user:[{inode}]{which} to write {value} to {file}"))
}

/// Returns the process to which to apply a command that raises `RLIMIT_NPROC`, the hard limit of
/// that process, and the command itself. Returns `None` if no such process is known.
fn prlimit(adviser: &Adviser<'_>, limit: &Limit) -> Option<(Pid, Option<u64>, String)> {
    let pid = main_of(adviser, limit)?;
    let hard = adviser.live.hard_nproc.get(&pid).copied();
    Some((pid, hard, format!("prlimit --pid {pid} --nproc={}", raised(limit)?)))
}

/// Returns advice on raising `RLIMIT_NPROC` to `value`. Users may raise the soft limits of their own
/// processes up to the hard limits.
fn raise_nproc(adviser: &Adviser<'_>, limit: &Limit, value: u64) -> Vec<String> {
    let live = adviser.live;
    let mut advice = Vec::new();
    let own = live.own_pid.filter(|own| limit.pids.contains(own));
    if own.is_some_and(|own| live.hard_nproc.get(&own).is_some_and(|hard| value <= *hard)) {
        advice.push(format!(
            "in a shell with this limit: ulimit -S -u {value} # -p instead of -u in dash and ash"
        ));
    }
    let Some((pid, hard, prlimit)) = prlimit(adviser, limit) else { return advice };
    let (name, who) = (name(adviser, pid), Sanitized(scope_text(&limit.scope)));
    let command = match hard {
        Some(hard) if value > hard && !live.may_raise_hard_limits => return advice,
        Some(hard) if value > hard => format!(
            "{prlimit} # for {name}; raising the hard limit of {hard} needs CAP_SYS_RESOURCE"
        ),
        Some(_) => format!("{prlimit}: # for {name}; as {who}, or with CAP_SYS_RESOURCE"),
        None => format!("{prlimit}: # for {name}; fails above the hard limit"),
    };
    advice.push(adviser.with_pid(&command));
    advice
}

/// Returns advice on raising a hard limit `RLIMIT_NPROC` if pidns, and so probably the user, lacks
/// the capability that this needs.
fn raise_hard_nproc(adviser: &Adviser<'_>, limit: &Limit) -> Option<String> {
    if limit.kind != LimitKind::Nproc
        || limit.scope.inherited_by.is_some()
        || adviser.live.may_raise_hard_limits
    {
        return None;
    }
    let (pid, hard, prlimit) = prlimit(adviser, limit)?;
    let is_above = raised(limit)? > hard?;
    let command = adviser.with_pid(&format!("{prlimit} # for {}", name(adviser, pid)));
    is_above.then(|| format!("with CAP_SYS_RESOURCE, which pidns lacks: {command}"))
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
