//! Writes the text for the members of a namespace. Similar processes share a row.

use std::fmt;

use super::line::{Emphasis, Line};
use super::phrase::{Count, Symbols};
use super::subject::{Comm, Pids, ProcessRef};
use crate::graph::PidGraph;
use crate::model::{Container, Detail, FilterOption, Namespace, Process};
use crate::query::fold::{
    Condition, Drawn, Folding, Kinship, MemberRow, Relation, TreeRow, relation,
};

/// Describes the processes of one graph.
#[derive(Clone, Copy)]
pub struct MemberText<'a> {
    graph: &'a PidGraph,
    folds: bool,
    symbols: Symbols,
}

impl<'a> MemberText<'a> {
    pub fn new(folding: &Folding<'a>, symbols: Symbols) -> Self {
        Self { graph: folding.graph(), folds: folding.folds(), symbols }
    }

    /// Adds a row to `line`. If the row stands for similar processes in several namespaces
    /// (`of_each`), leaves out the PIDs.
    pub fn row(&self, row: &MemberRow<'a>, of_each: bool, line: &mut Line) {
        self.describe(row, Drawn::Listed, of_each, false, line);
    }

    /// Adds a tree row to `line`. If the row stands for similar processes in several namespaces
    /// (`of_each`), leaves out the PIDs.
    pub fn tree_row(&self, row: &TreeRow<'a>, of_each: bool, line: &mut Line) {
        self.describe(&row.row, row.drawn, of_each || row.of_each, row.has_children, line);
    }

    fn describe(
        &self,
        row: &MemberRow<'a>,
        drawn: Drawn,
        of_each: bool,
        has_children: bool,
        line: &mut Line,
    ) {
        let Some(first) = row.processes().first() else { return };
        let (count, comm) = (Count(row.processes().len()), Comm(&first.comm));
        let times = self.symbols.times;
        match row {
            MemberRow::KernelThreads(_) => {
                line.plain("", format_args!("{count} kernel threads"));
            }
            MemberRow::One(_) if of_each => {
                line.plain("", format_args!("{comm}"));
                self.notice(row, drawn, of_each, line);
                Self::args(first, line);
            }
            MemberRow::One(process) => {
                let pids = self.pids(process);
                if process.kernel_thread {
                    line.plain("", format_args!("{pids} [{comm}]"));
                } else {
                    line.plain("", format_args!("{pids} {comm}"));
                }
                self.notice(row, drawn, of_each, line);
                self.details(process, line);
            }
            MemberRow::Alike(processes) => {
                line.plain("", format_args!("{count} {times} {comm}"));
                Self::args(first, line);
                if has_children {
                    line.plain(" ", format_args!("like this"));
                }
                self.notice(row, drawn, of_each, line);
                if !of_each {
                    line.list(": ", processes.iter().map(|process| self.pids(process)));
                }
            }
        }
    }

    fn notice(&self, row: &MemberRow<'a>, drawn: Drawn, of_each: bool, line: &mut Line) {
        let (Some(first), count) = (row.processes().first(), row.processes().len()) else { return };
        let named = relation(first, drawn, |pid| self.graph.known_process(pid));
        let mut warn = |text: fmt::Arguments<'_>| line.part(", ", Emphasis::Warning, text);
        match Condition::of(first) {
            Condition::Ordinary => {}
            Condition::Frozen => warn(format_args!("frozen")),
            Condition::Uninterruptible => warn(format_args!("uninterruptible")),
            Condition::Stopped => warn(format_args!("stopped")),
            Condition::LeaderExited => warn(format_args!("leader thread exited")),
            Condition::Zombie => {
                let zombie = if count == 1 { "zombie" } else { "zombies" };
                match named.map(|it| (it.kinship, self.relative(row, it, of_each))) {
                    Some((Kinship::TracedBy, tracer)) => {
                        warn(format_args!("{zombie} traced by {tracer}"));
                    }
                    Some((_, parent)) => warn(format_args!("{zombie} of {parent}")),
                    None => warn(format_args!("{zombie}")),
                }
                return;
            }
        }
        self.guest(first, drawn, of_each, line);
        let Some(named) = named else { return };
        let parent = self.relative(row, named, of_each);
        match named.kinship {
            Kinship::ReparentedTo => {
                let text = format_args!("entered, reparented to {parent}");
                line.part(", ", Emphasis::Entered, text);
            }
            Kinship::ChildOf if count > 1 => line.plain(", ", format_args!("children of {parent}")),
            Kinship::ChildOf => line.plain(", ", format_args!("child of {parent}")),
            Kinship::EnteredBy | Kinship::ZombieOf | Kinship::TracedBy => {
                line.part(", ", Emphasis::Entered, format_args!("entered by {parent}"));
            }
        }
    }

    /// Adds the container of a process to `line`, if it is not the namespace's container.
    fn guest(&self, process: &Process, drawn: Drawn, of_each: bool, line: &mut Line) {
        let Some(container) = process.other_container() else { return };
        let above = match drawn {
            Drawn::Below(above) => above.and_then(|pid| self.graph.process(pid)),
            Drawn::Listed => None,
        };
        // In a tree, the row above already names the container.
        if above.and_then(Process::other_container).is_some_and(|it| it.is_same(container)) {
            return;
        }
        match process.namespace.and_then(|id| self.graph.namespace(id)) {
            Some(namespace) if !of_each => {
                let other = OtherContainer { container, namespace };
                line.part(", ", Emphasis::Entered, format_args!("of {other}"));
            }
            _ => line.part(", ", Emphasis::Entered, format_args!("of another container")),
        }
    }

    /// Returns the PID and name of the parent or tracer of a row's processes.
    ///
    /// If there are several parents or tracers, returns only the name that they have in common.
    fn relative(&self, row: &MemberRow<'a>, named: Relation<'a>, of_each: bool) -> String {
        let is_named = |it: &&Process| [it.ppid, it.tracer()].contains(&Some(named.pid));
        match named.process {
            Some(process) if of_each || !row.processes().iter().all(is_named) => {
                Comm(&process.comm).to_string()
            }
            _ => ProcessRef::new(self.graph, named.pid, None).to_string(),
        }
    }

    /// Adds the arguments, unusual namespaces and cgroup of a process to `line`.
    fn details(&self, process: &Process, line: &mut Line) {
        Self::args(process, line);
        let Some(details) = &process.details else { return };
        // Leave out the namespaces that the process shares with its init.
        let usual =
            self.compared_to(process).and_then(|init| init.details.as_ref()?.namespaces.as_ref());
        for (name, inode) in details.namespaces.iter().flatten() {
            if usual.and_then(|usual| usual.get(name)) != Some(inode) {
                line.plain(", ", format_args!("{name}:[{inode}]"));
            }
        }
        let selected = &self.graph.snapshot().selected;
        // With `--container`, pidns reads cgroups only to select processes, so show a cgroup only
        // if `--details cgroup` is also given.
        let is_by_container =
            selected.iter().any(|criterion| criterion.by == FilterOption::Container);
        let is_shown = !is_by_container || self.graph.snapshot().details.contains(&Detail::Cgroup);
        if let Some(cgroup) = details.cgroup.as_ref().filter(|_| is_shown) {
            line.plain(", ", format_args!("cgroup {cgroup}"));
        }
    }

    /// Returns the init of a process's PID namespace or, for an init, of the parent namespace.
    fn compared_to(&self, process: &Process) -> Option<&'a Process> {
        let namespace = self.graph.namespace(process.namespace?)?;
        let init = namespace.init.filter(|&init| init != process.pid);
        let init = init.or_else(|| self.graph.parent(namespace)?.init)?;
        self.graph.known_process(init)
    }

    /// Adds the arguments of a process to `line`, in parentheses. Each argument becomes a separate
    /// part of the line.
    fn args(process: &Process, line: &mut Line) {
        let args = process.details.as_ref().and_then(|details| details.args.as_deref());
        let args = args.unwrap_or_default();
        for (index, arg) in args.iter().enumerate() {
            let open = if index == 0 { "(" } else { "" };
            let close = if index + 1 == args.len() { ")" } else { "" };
            line.plain(" ", format_args!("{open}{arg}{close}"));
        }
    }

    /// Returns the PIDs of a process for display.
    pub fn pids(&self, process: &'a Process) -> Pids<'a> {
        Pids { process, symbols: self.symbols, all: !self.folds }
    }
}

/// Displays the container of a process that is in the PID namespace of a different container.
pub struct OtherContainer<'a> {
    pub container: &'a Container,
    pub namespace: &'a Namespace,
}

impl fmt::Display for OtherContainer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { container, namespace } = self;
        let pod_of = |container: &Container| container.pod.as_ref().map(|pod| pod.uid.clone());
        let pod = namespace.container.as_ref().and_then(pod_of);
        // Leave out the pod if both containers are in the same pod.
        match container.name.as_ref().filter(|_| pod.is_some() && pod == pod_of(container)) {
            Some(name) => write!(f, "{name} ({} {})", container.runtime, container.short_id()),
            None => container.fmt(f),
        }
    }
}
