//! Advice for a limit that has been reached: how to raise the limit, or which tasks to end.

use super::advice::Adviser;
use super::limit::{number, scope_text};
use super::phrase::Count;
use super::sanitize::Sanitized;
use super::shell::{guarded, shell_comment, shell_word};
use super::subject::ProcessRef;
use crate::model::{Consumer, INITIAL_USER_NAMESPACE, Limit, LimitKind, LimitScope, Pid};
use crate::query::main_process;

/// The highest value that `kernel.pid_max` accepts.
const MAX_PID_MAX: u64 = 1 << 22;

/// New maximum to suggest for a limit if its current usage is unknown.
const FALLBACK_MAX: u64 = 1024;

/// Returns advice for a limit that has been reached: how to raise it, or how to use less of the
/// resource.
pub fn limit_advice(adviser: &Adviser<'_>, limit: &Limit) -> Vec<String> {
    let reaper = limit.reaper.as_ref().filter(|_| limit.zombies.is_some_and(|it| it > 0));
    let reaper = reaper.and_then(|it| adviser.graph.process(it.pid?));
    let mut advice = reaper.map_or(Vec::new(), |reaper| {
        let mut children = adviser.graph.child_processes(reaper).into_iter();
        let zombie = children.find(|it| it.is_unreaped());
        zombie.map_or(Vec::new(), |zombie| adviser.make_reap(reaper.pid, zombie.pid).commands())
    });
    advice.extend(raise(adviser, limit));
    let or = |advice: &[String]| if advice.is_empty() { "" } else { "or " };
    // For the `pid_max` of another PID namespace, `raise` already suggests commands. If one of them
    // needs a free PID, `raise` also suggests ending a process. Do not repeat that here.
    let is_foreign = limit.kind == LimitKind::PidMax && limit.file.is_none();
    if let Some(end) = end_tasks(adviser, limit).filter(|_| !is_foreign) {
        advice.push(format!("{}{end}", or(&advice)));
    }
    if let Some(raise) = raise_hard_nproc(adviser, limit) {
        advice.push(format!("{}{raise}", or(&advice)));
    }
    advice
}

/// Returns the advice to end tasks that count towards a limit, and a command that lists them.
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

/// Returns a phrase that says which processes to end if `pid_max` is reached.
fn which_pids(adviser: &Adviser<'_>, limit: &Limit) -> String {
    // The used and the free PIDs usually add up to the maximum minus 1, because no process has
    // PID 0.
    let counted = limit.used.zip(limit.free).map(|(used, free)| used.saturating_add(free));
    if counted.zip(limit.max).is_some_and(|(counted, max)| counted.saturating_add(1) < max) {
        // After a wraparound, the kernel skips PIDs below 300 (RESERVED_PIDS).
        return " whose PID there is 300 or higher".to_owned();
    }
    let namespace = limit.scope.namespace.and_then(|id| adviser.graph.namespace(id));
    let init = namespace.and_then(|it| it.init);
    // Ending the init would end all other processes of the namespace.
    init.map_or(String::new(), |init| format!(" other than its init {init}"))
}

/// Returns a command that lists all tasks that count towards a limit, or only the tasks of the main
/// consumer.
fn tasks_command(adviser: &Adviser<'_>, limit: &Limit) -> Option<String> {
    // A suggested pidns command would show the PID namespace of the user's shell. So do not suggest
    // the command if the procfs shows a different PID namespace.
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
        // The line about the limit already names this process.
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
        _ => {
            let own = live.own_pid.and_then(|pid| live.user_namespaces.get(&pid).copied());
            let inode = limit.scope.user_namespace;
            // `pidns --user` lists all tasks of a user, but a limit in a foreign user namespace
            // counts only some of them. So suggest the command only for a limit in the initial user
            // namespace or in pidns's own.
            let is_whole =
                inode == Some(INITIAL_USER_NAMESPACE) || (inode.is_some() && inode == own);
            user(&limit.scope).filter(|_| is_whole)
        }
    }
}

/// Returns the maximum to suggest for a limit, usually twice the current maximum.
fn raised(limit: &Limit) -> Option<u64> {
    let doubled = limit.max.map(|max| match limit.used {
        Some(used) => max.max(used).saturating_mul(2).max(1),
        None => FALLBACK_MAX,
    });
    let is_pid_max = limit.kind == LimitKind::PidMax;
    doubled.map(|value| if is_pid_max { value.min(MAX_PID_MAX) } else { value })
}

/// Returns the process to name in advice on a limit, or `None` if the process has ended.
fn running_main_process(adviser: &Adviser<'_>, limit: &Limit) -> Option<Pid> {
    let main = main_process(adviser.graph, limit, adviser.live.own_pid);
    main.filter(|pid| !adviser.live.ended.contains(pid))
}

fn name(adviser: &Adviser<'_>, pid: Pid) -> String {
    shell_comment(&ProcessRef::new(adviser.graph, pid, None).to_string())
}

/// Returns advice on how to raise a limit, or how to start a process to which the limit does not
/// apply.
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

/// Returns advice for processes that cannot fork because their children would start in a dead PID
/// namespace.
fn start_elsewhere(adviser: &Adviser<'_>, limit: &Limit) -> Vec<String> {
    let own = adviser.live.own_pid;
    let other = limit.pids.iter().find(|pid| Some(**pid) != own);
    let who = other.map_or("this shell".to_owned(), |&pid| name(adviser, pid));
    vec![
        format!("start the process from another shell: children of {who} cannot start"),
        // The shell cannot fork, because its children would start in a PID namespace whose init has
        // terminated. So `exec` replaces the shell with nsenter. nsenter then sets
        // `pid_for_children` back to the shell's own PID namespace, because children can start
        // there.
        "or in a shell with this limit, as root (replaces the shell): \
         exec nsenter --pid=/proc/self/ns/pid --no-fork sh"
            .to_owned(),
    ]
}

/// Returns advice on raising the `pid_max` of a PID namespace other than pidns's own.
fn raise_foreign_pid_max(adviser: &Adviser<'_>, limit: &Limit, value: u64) -> Vec<String> {
    let Some(id) = limit.scope.namespace else { return Vec::new() };
    // `echo` is a shell builtin, so this command works even in a shell that cannot fork.
    let write = format!("echo {value} > /proc/sys/kernel/pid_max");
    let init = adviser.graph.namespace(id).and_then(|it| it.init.zip(it.id.inode()));
    let which = match init {
        Some((init, _)) if adviser.graph.snapshot().procfs.own => {
            format!(" (where {} is PID 1)", name(adviser, init))
        }
        _ => String::new(),
    };
    let mut advice = vec![format!("in a shell in {id}{which}, as root: {write}")];
    if let (Some((init, inode)), Some(end)) = (init, end_tasks(adviser, limit)) {
        let enter = format!("nsenter --target {init} --pid sh -c '{write}'");
        advice.push(
            adviser.with_pid(&format!(
                "or {end}, because the next command (nsenter) needs a free PID"
            )),
        );
        advice.push(guarded(init, "pid", inode, &enter));
    }
    advice
}

/// Returns advice on raising `max_pid_namespaces` of another user namespace.
fn raise_foreign_namespaces(adviser: &Adviser<'_>, limit: &Limit, value: u64) -> Option<String> {
    let inode = limit.scope.user_namespace?;
    let file = "/proc/sys/user/max_pid_namespaces";
    let main = running_main_process(adviser, limit);
    let live = adviser.live;
    // Only a process in the user namespace can write its `max_pid_namespaces`.
    let may_raise = |pid: &Pid| {
        live.user_namespaces.get(pid) == Some(&inode) && live.container_roots.contains(pid)
    };
    if let Some(pid) = main.filter(may_raise) {
        // Do not suggest nsenter, because the owner of the user namespace could take control of the
        // nsenter process.
        let who = name(adviser, pid);
        let advice =
            format!("as root of user:[{inode}], for example in {who}: echo {value} > {file}");
        return Some(adviser.with_pid(&advice));
    }
    let which = main.map_or(String::new(), |pid| format!(", which limits {},", name(adviser, pid)));
    Some(format!("ask root of user:[{inode}]{which} to write {value} to {file}"))
}

/// Returns the process that needs a higher `RLIMIT_NPROC`, its hard limit, and the command that
/// raises the limit.
fn prlimit(adviser: &Adviser<'_>, limit: &Limit) -> Option<(Pid, Option<u64>, String)> {
    let pid = running_main_process(adviser, limit)?;
    let hard = adviser.live.hard_nproc.get(&pid).copied();
    Some((pid, hard, format!("prlimit --pid {pid} --nproc={}", raised(limit)?)))
}

/// Returns advice on raising `RLIMIT_NPROC` to `value`.
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

/// Returns advice on raising the hard limit of `RLIMIT_NPROC` with CAP_SYS_RESOURCE.
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
    is_above.then(|| format!("with CAP_SYS_RESOURCE (pidns runs without it): {command}"))
}
