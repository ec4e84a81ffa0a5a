//! Advice on problems, usually shell commands that users can copy as whole lines.

use std::collections::{BTreeSet, HashSet};

use super::engine;
use super::shell::{guarded, shell_comment, shell_path, shell_word};
use super::subject::{Comm, part_of};
use super::unmount::{MOUNTS, Unmount, unmount};
use crate::graph::PidGraph;
use crate::model::{
    BlockReason, FrozenCgroup, Holder, HoldingFile, INITIAL_USER_NAMESPACE, LiveFacts, Namespace,
    NamespaceId, NamespaceState, Pid, Process, SearchScope, StoppedBy,
};

/// The advice for an init that does not reap its children.
pub const USE_REAPING_INIT: &str = "use an init that reaps its children, such as docker run --init";

/// The advice for a namespace whose state pidns cannot determine.
const RUN_ON_HOST: &str = "run pidns as root on the host, with the host's /proc";

/// The advice for root on the host if the state of a namespace is unknown.
const SEARCH_KERNEL: &str = "run pidns with --search kernel";

/// Maximum number of commands to suggest for one namespace.
const COMMANDS: usize = 10;

/// If a suggested command ends an init, it may also end other processes. A comment after the
/// command names at most this many of them.
const OTHERS: usize = 3;

/// Gives advice about the processes and namespaces of a graph.
pub struct Adviser<'a> {
    /// The graph that contains the processes and namespaces.
    pub graph: &'a PidGraph,
    /// Facts about the live host, or an empty value for a saved document.
    pub live: &'a LiveFacts,
}

/// The reason why killing a process would solve a problem.
#[derive(Clone, Copy)]
enum Cause<'a> {
    /// The process does not reap its child or tracee with this PID.
    Unreaped(Pid),
    /// The process has this descriptor open, which keeps the namespace alive.
    Holds(&'a Namespace, u32),
    /// The process keeps a namespace alive because its children would start there.
    PidForChildren,
}

/// Commands that solve a problem, at least in part.
pub enum Step {
    /// Commands that kill this process.
    Kill(Pid, Vec<String>),
    /// A warning to end this process only if its user does not need it.
    EndIfUnneeded(Pid, String),
    /// Commands that do not kill a process.
    Other(Vec<String>),
}

impl Step {
    /// Returns the suggested shell commands, or the warning of [`Step::EndIfUnneeded`].
    pub fn commands(self) -> Vec<String> {
        match self {
            Self::Kill(_, commands) | Self::Other(commands) => commands,
            Self::EndIfUnneeded(_, warning) => vec![warning],
        }
    }
}

impl Adviser<'_> {
    /// Returns the commands that kill a process, or an empty list if none is suitable.
    pub fn end(&self, pid: Pid) -> Vec<String> {
        let process = self.graph.known_process(pid);
        let has_ended = self.live.ended.contains(&pid);
        let is_own = self.live.own_pid == Some(pid);
        if is_own || has_ended || process.is_some_and(|it| it.kernel_thread) {
            return Vec::new();
        }
        if pid == Pid::INIT {
            let warning = format!("{pid} is the init here: killing it would end every process");
            return vec![self.with_pid(&warning)];
        }
        if process.is_some_and(engine::is_engine) {
            let warning = format!("stop the engine {pid} only if its containers may end, too");
            return vec![self.with_pid(&warning)];
        }
        // SIGKILL has no effect on a process in unkillable sleep.
        if self.live.unkillable.contains(&pid) {
            return self.wake(pid);
        }
        let needs_kill = self.live.ignore_sigterm.contains(&pid)
            // A stopped process handles SIGTERM only after it is continued.
            || self.stopped_by(pid).is_some()
            // The kernel drops SIGTERM for an init without a handler.
            || process.is_some_and(Process::is_init)
            || engine::passes_signals_on(self.graph, pid);
        let signal = if needs_kill { "-KILL " } else { "" };
        // Users should usually stop the whole service or container instead of killing one of its
        // processes.
        let kill = match process.and_then(|it| part_of(self.graph, it)) {
            Some(whole) => format!("kill {signal}{pid} # part of {}", shell_comment(&whole)),
            None => format!("kill {signal}{pid}"),
        };
        let mut commands = self.thaw(pid);
        commands.push(self.with_pid(&self.with_others(kill, pid)));
        commands
    }

    /// Returns commands that end a leftover process.
    ///
    /// If the init of the process's container is also a leftover, the commands stop the whole
    /// container instead. To end the monitor of a container, the commands end the container.
    pub fn end_leftover(&self, pid: Pid, is_leftover: &dyn Fn(Pid) -> bool) -> Vec<String> {
        let end = self.end(pid);
        let is_endable = !end.is_empty() && !self.live.unkillable.contains(&pid);
        let Some(process) = self.graph.process(pid).filter(|_| is_endable) else { return end };
        match engine::ended_with(self.graph, process)[..] {
            // A filter may hide the processes of the container that the monitor would end.
            [] if !self.graph.snapshot().selected.is_empty() => Vec::new(),
            [] => end,
            [first] if first.pid != pid && !is_leftover(first.pid) => Vec::new(),
            [process] => match engine::stop(self.graph, process, is_leftover) {
                None => self.end(process.pid),
                Some((init, stop)) => {
                    let mut commands = self.thaw(process.pid);
                    commands.push(self.with_pid(&self.with_others(stop, init)));
                    commands
                }
            },
            // A monitor of several containers exits after its last container has ended, so suggest
            // no command that ends the monitor.
            [..] => Vec::new(),
        }
    }

    /// Appends a comment to `command` if ending `init` also ends other processes. The comment names
    /// these processes.
    fn with_others(&self, command: String, init: Pid) -> String {
        let others = self.graph.killed_with(init);
        if others.is_empty() {
            return command;
        }
        let name = |it: &Process| format!("{} {} of user {}", it.pid, Comm(&it.comm), user(it));
        let names = others.iter().take(OTHERS).map(name).collect::<Vec<_>>().join(", ");
        let names = match others.len().saturating_sub(OTHERS) {
            0 => names,
            more => format!("{names} and {more} more"),
        };
        // The command may already end with a comment.
        let separator = if command.contains(" # ") { ", " } else { " # " };
        format!("{command}{separator}also ends {}", shell_comment(&names))
    }

    /// Prefixes `advice` with the PID namespace in which the PIDs in `advice` are valid, unless
    /// pidns is in that namespace.
    pub fn with_pid(&self, advice: &str) -> String {
        let procfs = &self.graph.snapshot().procfs;
        match procfs.namespace {
            _ if procfs.own => advice.to_owned(),
            Some(namespace) => format!("in {namespace}: {advice}"),
            None => format!("in the PID namespace of {}: {advice}", procfs.path),
        }
    }

    /// Returns commands that kill a process, or a warning if killing it may be wrong.
    fn end_unless_in_doubt(&self, pid: Pid, cause: Cause<'_>) -> Step {
        let commands = self.end(pid);
        if commands.is_empty() || pid == Pid::INIT || self.live.unkillable.contains(&pid) {
            return Step::Other(commands);
        }
        let process = self.graph.known_process(pid);
        let observer = self.graph.snapshot().observer.as_ref();
        if let Cause::Holds(_, fd) = cause
            && observer.is_some_and(|it| it.attendants.contains(&pid))
        {
            let name = process.map_or_else(String::new, |it| format!(" {}", Comm(&it.comm)));
            let close =
                format!("close descriptor {fd} of {pid}{name}, which belongs to this check");
            return Step::Other(vec![self.with_pid(&close)]);
        }
        let is_older =
            || self.graph.is_older(pid).then(|| "it may be older than the job".to_owned());
        let Some(why) = self.doubt(pid, cause).or_else(is_older) else {
            return Step::Kill(pid, commands);
        };
        let whole = process.and_then(|it| part_of(self.graph, it));
        let whole = whole.map_or_else(String::new, |it| format!(" (part of {it})"));
        let user = process.map_or_else(|| "its user".to_owned(), |it| format!("user {}", user(it)));
        let warning = format!("end {pid}{whole} only if {user} does not need it: {why}");
        Step::EndIfUnneeded(pid, self.with_pid(&warning))
    }

    /// Returns a phrase that says why killing the process could be a mistake.
    ///
    /// For example, a user can make a daemon appear to cause the problem, to trick an administrator
    /// into killing the daemon.
    fn doubt(&self, pid: Pid, cause: Cause<'_>) -> Option<String> {
        let process = self.graph.known_process(pid);
        match cause {
            // A user can start a process whose parent (CLONE_PARENT) or tracer (PTRACE_TRACEME) is
            // another user's daemon, so compare the users of both processes.
            Cause::Unreaped(child) => {
                let uids = process.zip(self.graph.known_process(child));
                match uids {
                    Some((parent, child)) if child.uid == parent.uid && parent.uid != 0 => None,
                    Some((parent, it)) if it.uid != parent.uid && it.uid != 0 => {
                        Some(format!("{child} belongs to user {}", user(it)))
                    }
                    // The UID of a set-user-ID program does not show which user started the
                    // program.
                    _ => Some(format!("another user may have started {child}")),
                }
            }
            // A user can make a daemon hold a descriptor through SCM_RIGHTS or SO_PEERPIDFD.
            Cause::Holds(namespace, fd) => {
                let Some(owner) = &namespace.owner else {
                    return Some(format!("fd {fd} may come from another user"));
                };
                // Root created the PID namespace, but its processes can belong to any user.
                if owner.user_namespace == INITIAL_USER_NAMESPACE {
                    return Some(format!("fd {fd} may come from a process in the namespace"));
                }
                let is_inside = self.user_namespace(pid) == Some(owner.user_namespace);
                let is_of_owner =
                    process.is_some_and(|it| it.uid != 0 && owner.uid == Some(it.uid));
                if is_inside || is_of_owner {
                    return None;
                }
                let from = match (&owner.user, owner.uid) {
                    (_, None | Some(0)) => format!("user:[{}]", owner.user_namespace),
                    (Some(user), _) => format!("user {user}"),
                    (None, Some(uid)) => format!("user {uid}"),
                };
                Some(format!("fd {fd} may come from {from}"))
            }
            // A process that has prepared a PID namespace for its children may still be needed. For
            // example, a CI agent may start each of its jobs with unshare(2) and fork(2).
            Cause::PidForChildren => Some("it may also do other work".to_owned()),
        }
    }

    fn user_namespace(&self, pid: Pid) -> Option<u64> {
        let details = || self.graph.known_process(pid)?.details.as_ref()?.namespaces.as_ref();
        let in_details = || details()?.get("user").copied();
        self.live.user_namespaces.get(&pid).copied().or_else(in_details)
    }

    /// Returns commands that make `reaper` reap a zombie, or kill `reaper` as a last resort.
    pub fn make_reap(&self, reaper: Pid, zombie: Pid) -> Step {
        let thaw = self.thaw(reaper);
        if !thaw.is_empty() {
            return Step::Other(thaw);
        }
        if self.live.uninterruptible.contains(&reaper) {
            return Step::Other(self.wake(reaper));
        }
        let end = || self.end_unless_in_doubt(reaper, Cause::Unreaped(zombie));
        self.go_on(reaper).unwrap_or_else(end)
    }

    /// Returns the commands that continue a process, or `None` if it is not stopped.
    pub fn go_on(&self, pid: Pid) -> Option<Step> {
        let stopped_by = self.stopped_by(pid)?;
        if self.live.ended.contains(&pid) {
            return Some(Step::Other(Vec::new()));
        }
        Some(match stopped_by {
            StoppedBy::Tracer(None) => Step::Other(Vec::new()),
            // SIGCONT has no effect on a process that its tracer has stopped.
            StoppedBy::Tracer(Some(tracer)) => {
                self.end_unless_in_doubt(tracer, Cause::Unreaped(pid))
            }
            StoppedBy::Signal => Step::Other(vec![self.with_pid(&format!("kill -CONT {pid}"))]),
        })
    }

    /// Returns the reason why a process is stopped, or `None` if the process is not stopped.
    pub fn stopped_by(&self, pid: Pid) -> Option<StoppedBy> {
        let process = self.graph.known_process(pid)?;
        match process.state {
            'T' => Some(StoppedBy::Signal),
            't' => Some(StoppedBy::Tracer(process.tracer())),
            _ => self.live.stopped.get(&pid).copied(),
        }
    }

    /// Returns commands that wake a process in uninterruptible sleep, or show why it sleeps.
    pub fn wake(&self, pid: Pid) -> Vec<String> {
        let thaw = self.thaw(pid);
        if !thaw.is_empty() || self.live.ended.contains(&pid) {
            return thaw;
        }
        let leader_exited = self.graph.process(pid).is_some_and(Process::is_zombie);
        let tasks = match self.live.stuck_threads.get(&pid) {
            Some(tid) => format!("task/{tid}/"),
            None if leader_exited => "task/*/".to_owned(),
            None => String::new(),
        };
        let procfs = shell_word(&self.graph.snapshot().procfs.path);
        vec![format!("cat {procfs}/{pid}/{tasks}stack # the kernel function that it waits in")]
    }

    fn thaw(&self, pid: Pid) -> Vec<String> {
        let cgroups = self.live.frozen.get(&pid).into_iter().flatten();
        let command = |cgroup: &FrozenCgroup| match cgroup {
            FrozenCgroup::V1(dir) => {
                format!("echo THAWED > {}", shell_path(&dir.join("freezer.state")))
            }
            FrozenCgroup::V2(dir) => {
                format!("echo 0 > {}", shell_path(&dir.join("cgroup.freeze")))
            }
        };
        let unpause =
            |cgroup: &FrozenCgroup| Some(self.with_pid(&engine::unpause(self.graph, pid, cgroup)?));
        let mut commands: Vec<_> =
            cgroups.map(|it| unpause(it).unwrap_or_else(|| command(it))).collect();
        commands.dedup();
        commands
    }

    /// Returns the commands that unblock an init that cannot finish exiting.
    pub fn unblock(&self, namespace: &Namespace) -> Vec<String> {
        combine(self.unblock_steps(namespace))
    }

    fn unblock_steps(&self, namespace: &Namespace) -> Vec<Step> {
        let steps = namespace.blocked_by.iter().map(|it| match (it.reason, it.reaper) {
            (BlockReason::Uninterruptible, _) => Step::Other(self.wake(it.pid)),
            (BlockReason::Zombie | BlockReason::Traced, Some(reaper)) => {
                self.make_reap(reaper, it.pid)
            }
            (BlockReason::Zombie | BlockReason::Traced, None) => Step::Other(Vec::new()),
        });
        steps.collect()
    }

    /// Returns the command that starts a shell in the namespaces of `process`.
    ///
    /// Uses the init of `namespace` if `process` is `None`, or if nsenter(1) can't enter the
    /// namespaces of `process`.
    pub fn enter(&self, namespace: NamespaceId, process: Option<Pid>) -> Option<String> {
        let own = self.graph.snapshot().procfs.namespace;
        let namespace = self.graph.namespace(namespace).filter(|it| Some(it.id) != own)?;
        if namespace.state == NamespaceState::Dead {
            return None;
        }
        let mut candidates = process.into_iter().chain(namespace.init);
        let (pid, keeps_user) =
            candidates.find_map(|pid| Some((pid, *self.live.enterable.get(&pid)?)))?;
        let keep = if keeps_user { "--preserve-credentials " } else { "" };
        // Without `sh`, nsenter would start $SHELL, which containers often do not have.
        let command = format!("nsenter -t {pid} -a {keep}sh");
        Some(guarded(pid, "pid", namespace.id.inode()?, &command))
    }

    /// Returns the commands that free a namespace by removing its members and holders.
    pub fn release(
        &self,
        namespace: &Namespace,
        attendants: &BTreeSet<Pid>,
        is_leftover: impl Fn(Pid) -> bool,
    ) -> Vec<String> {
        let mut steps = match (namespace.state, namespace.init) {
            // A terminated init ignores signals.
            (NamespaceState::Dead, Some(_)) => self.unblock_steps(namespace),
            (_, Some(_)) => self.end_members(namespace, attendants, &is_leftover),
            (_, None) => Vec::new(),
        };
        // If the namespace has an init, the steps above end all processes in the namespace. So a
        // holder in the namespace needs no step of its own.
        let is_needed = |pid| {
            // Attendants are processes that run only because the snapshot is taken, such as pidns
            // itself. The advice needs no step to end them, because they end soon anyway.
            !attendants.contains(&pid)
                && (namespace.init.is_none() || !self.is_within(pid, namespace))
        };
        let holders = namespace.holders.iter();
        let holders = holders.filter(|it| it.pid().is_none_or(is_needed));
        steps.extend(holders.map(|holder| match holder {
            Holder::PidForChildren { pid, .. } if is_leftover(*pid) => {
                Step::Kill(*pid, self.end_leftover(*pid, &is_leftover))
            }
            Holder::PidForChildren { pid, .. } => {
                self.end_unless_in_doubt(*pid, Cause::PidForChildren)
            }
            Holder::Fd { pid, fd, .. } => {
                self.end_unless_in_doubt(*pid, Cause::Holds(namespace, *fd))
            }
            Holder::File { file, pid, fd, .. } => self.close(namespace, *file, *pid, *fd),
            Holder::Mount { .. } => {
                let mount = namespace.mount(holder);
                let advice = mount.and_then(|it| unmount(&it, self.live));
                Step::Other(advice.map(Unmount::text).into_iter().collect())
            }
        }));
        combine(steps)
    }

    /// Returns the advice for a namespace whose state is unknown.
    pub fn find_state(&self, namespace: &Namespace) -> Vec<String> {
        let snapshot = self.graph.snapshot();
        let has_searched = snapshot.searched.contains(&SearchScope::Kernel);
        let is_host_root = self.live.is_host_root && snapshot.procfs.own;
        let run = if is_host_root && !has_searched { SEARCH_KERNEL } else { RUN_ON_HOST };
        // No command can remove a bind mount that another mount covers.
        let covered = namespace.mounts().filter(|it| self.live.covered.contains_key(it));
        let notes = covered.filter_map(|it| unmount(&it, self.live)).map(Unmount::text);
        std::iter::once(run.to_owned()).chain(notes.take(MOUNTS)).collect()
    }

    /// Returns the steps that kill the members of a namespace, except `attendants`.
    fn end_members(
        &self,
        namespace: &Namespace,
        attendants: &BTreeSet<Pid>,
        is_leftover: &dyn Fn(Pid) -> bool,
    ) -> Vec<Step> {
        let (mut steps, mut todo) = (Vec::new(), vec![namespace]);
        let end = |pid| Step::Kill(pid, self.end_leftover(pid, is_leftover));
        while let Some(namespace) = todo.pop() {
            // The kernel kills all members when the init ends (see pid_namespaces(7)).
            if let Some(init) = namespace.init.filter(|it| !attendants.contains(it)) {
                steps.push(end(init));
                continue;
            }
            let others = self.graph.members(namespace).into_iter();
            let others = others.filter(|it| !it.is_unreaped() && !attendants.contains(&it.pid));
            steps.extend(others.map(|it| end(it.pid)));
            todo.extend(self.graph.children(namespace));
        }
        steps
    }

    /// Returns `true` if a process is in `namespace` or in one of its descendants.
    fn is_within(&self, pid: Pid, namespace: &Namespace) -> bool {
        let process = self.graph.known_process(pid);
        let own = process.and_then(|it| self.graph.namespace(it.namespace?));
        std::iter::successors(own, |it| self.graph.parent(it)).any(|it| it.id == namespace.id)
    }

    /// Returns advice on how to make a process close a file.
    fn close(&self, namespace: &Namespace, file: HoldingFile, pid: Pid, fd: u32) -> Step {
        if self.live.ended.contains(&pid) {
            return Step::Other(Vec::new());
        }
        match file {
            // Any user can make a daemon hold a namespace by connecting to the daemon's socket, so
            // never suggest killing the daemon.
            HoldingFile::Socket => Step::Other(vec![self.with_pid(&format!(
                "end the process at the other end of socket {fd} of {pid} (ss -xp shows both ends)"
            ))]),
            // Any user can make a daemon hold a namespace by sending a message to the daemon, so
            // never suggest killing the daemon.
            HoldingFile::Message | HoldingFile::InFlight => {
                let advice = format!("let {pid} read its socket {fd} empty, or close it");
                Step::Other(vec![self.with_pid(&advice)])
            }
            HoldingFile::Pidfd | HoldingFile::Listener | HoldingFile::Procfs => {
                self.end_unless_in_doubt(pid, Cause::Holds(namespace, fd))
            }
        }
    }
}

/// Returns the name of the user of a process, or the UID if the user has no name.
fn user(process: &Process) -> String {
    process.user.as_ref().map_or_else(|| process.uid.to_string(), ToString::to_string)
}

/// Returns the commands of all steps without duplicates, but at most [`COMMANDS`].
fn combine(steps: Vec<Step>) -> Vec<String> {
    let in_doubt = steps.iter().filter_map(|step| match step {
        Step::EndIfUnneeded(pid, _) => Some(*pid),
        Step::Kill(..) | Step::Other(_) => None,
    });
    let in_doubt: HashSet<Pid> = in_doubt.collect();
    let mut warned = HashSet::new();
    let mut commands: Vec<String> = Vec::new();
    for step in steps {
        // A warning about a process replaces the commands that kill the process.
        let is_left_out = match &step {
            Step::Kill(pid, _) => in_doubt.contains(pid),
            Step::EndIfUnneeded(pid, _) => !warned.insert(*pid),
            Step::Other(_) => false,
        };
        for command in step.commands() {
            if !is_left_out && commands.len() < COMMANDS && !commands.contains(&command) {
                commands.push(command);
            }
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Snapshot;
    use crate::testing::farm;

    /// Returns the advice for two processes of [`farm`]: the container's first process and its
    /// monitor.
    ///
    /// `cgroup` is the cgroup of the first process, in which `ID` and `OTHER` stand for the IDs of
    /// this container and another one. `oldest` is the lowest PID among the leftover processes.
    /// `change` edits the snapshot first.
    fn advice(cgroup: &str, oldest: u32, change: impl FnOnce(&mut Snapshot)) -> [String; 2] {
        let mut host = farm();
        let id = host.namespaces[1].container.as_ref().unwrap().id.clone();
        let cgroup = cgroup.replace("ID", &id).replace("OTHER", &"1".repeat(64));
        host.processes[3].details.get_or_insert_default().cgroup = Some(cgroup);
        change(&mut host);
        let (graph, live) = (&PidGraph::new(host), &LiveFacts::default());
        let adviser = Adviser { graph, live };
        let is_leftover = |pid: Pid| pid >= Pid::new(oldest).unwrap();
        [6, 4].map(|pid| adviser.end_leftover(Pid::new(pid).unwrap(), &is_leftover).join("; "))
    }

    #[test]
    fn stops_a_container_only_if_it_is_certainly_a_leftover_of_the_host_s_engine() {
        let own = "/docker/ID";
        let stop = ["docker stop 3f2a1b9c04de"; 2];
        assert_eq!(advice(own, 4, |_| {}), stop);
        let kill = ["kill -KILL 6 # part of docker 3f2a1b9c04de"; 2];
        // The container's init (PID 6) is not a leftover, so do not stop the container.
        assert_eq!(advice(own, 7, |_| {}), [kill[0], ""]);
        // Root in another container has created a cgroup with the name of this container.
        assert_eq!(advice("/docker/OTHER/docker/ID", 4, |_| {}), kill);
        // The engine belongs to another user, or runs in another container.
        assert_eq!(advice(own, 4, |host| host.processes[2].uid = 1000), kill);
        let inner = |host: &mut Snapshot| {
            host.processes[2].nspid = [4, 2].into_iter().filter_map(Pid::new).collect();
        };
        assert_eq!(advice(own, 4, inner), kill);
        // The cgroup path says docker, but the parent process is bash instead of containerd-shim.
        let no_shim = |host: &mut Snapshot| host.processes[2].comm = "bash".into();
        assert_eq!(advice(own, 4, no_shim), [kill[0], "kill 4"]);
        // The container can end with its engine, and can get SIGTERM through its client.
        let engine = |host: &mut Snapshot| host.processes[2].comm = "dockerd".into();
        let stop = "stop the engine 4 only if its containers may end, too";
        assert_eq!(advice(own, 4, engine), [kill[0], stop]);
        let client = |host: &mut Snapshot| host.processes[2].comm = "docker".into();
        assert_eq!(advice(own, 4, client), [kill[0], "kill -KILL 4"]);
    }
}
