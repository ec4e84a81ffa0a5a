//! What is said of a namespace or a process to people, whatever the format:
//! the English that text and pictures share. Unescaped, so that each format
//! makes it safe in its own way.

use std::cell::Cell;
use std::fmt::Write as _;

use super::line::{Emphasis, Line};
use crate::graph::PidGraph;
use crate::model::{
    BlockReason, Blocker, Evidence, FilterOption, Namespace, NamespaceState, Pid, Process,
    SearchScope, Snapshot,
};
use crate::query::fold::{Condition, Folding, Row, Siblings, entered_by, keeping};

pub use super::phrase::{Clipped, Count, KeptBy, Of, Pids, Symbols};
use super::phrase::{Comm, ContainerText, OwnerText, ProcessRef, processes};

/// PIDs, and IDs of namespaces, that a line lists; the rest are counted.
const LISTED: usize = 8;

/// What people are told of a graph, line by line.
#[derive(Clone, Copy)]
pub struct Describe<'a> {
    graph: &'a PidGraph,
    folds: bool,
    symbols: Symbols,
}

impl<'a> Describe<'a> {
    /// Of what a folding shows, in those characters.
    pub fn new(folding: &Folding<'a>, symbols: Symbols) -> Self {
        Self { graph: folding.graph(), folds: folding.folds(), symbols }
    }

    /// Says what a namespace, or many alike, are: what is wrong first, then
    /// what is asked first. `of_each` where it stands for one in each of many.
    pub fn heading(&self, siblings: &Siblings<'a>, of_each: bool, line: &mut Line) {
        match siblings {
            Siblings::One(namespace) if of_each => {
                line.plain("", format_args!("in each"));
                self.summary(namespace, ": ", line);
            }
            Siblings::One(namespace) => {
                line.plain("", format_args!("{}", namespace.id));
                self.summary(namespace, "  ", line);
            }
            Siblings::Alike(namespaces) => self.alike(namespaces, of_each, line),
        }
    }

    /// Says what a namespace is, without its ID.
    fn summary(&self, namespace: &'a Namespace, separator: &'static str, line: &mut Line) {
        let separators = Cell::new(separator);
        let next = || separators.replace(", ");
        let init = namespace.init.and_then(|init| self.graph.process(init));
        match namespace.state {
            NamespaceState::Live => {}
            NamespaceState::Dead => {
                let of = namespace.init;
                let separator = next();
                match of {
                    None => line.part(
                        separator,
                        Emphasis::Dead,
                        format_args!("DEAD: its init has exited"),
                    ),
                    Some(init) => line.part(
                        separator,
                        Emphasis::Dead,
                        format_args!("DEAD: its init {init} has exited"),
                    ),
                }
                self.stuck(namespace, next, line);
            }
            NamespaceState::Nascent => line.part(
                next(),
                Emphasis::Warning,
                format_args!("not started yet (nascent): no process in it"),
            ),
            NamespaceState::Unknown => line.part(
                next(),
                Emphasis::Warning,
                format_args!("state unknown: cannot tell whether its init runs"),
            ),
        }
        if namespace.state != NamespaceState::Live {
            // What follows is not a part of what is wrong.
            separators.set("; ");
        }
        // That of the namespace whose /proc was read is its PID 1.
        match (init, namespace.init) {
            (Some(init), _) if init.nspid.len() > 1 => {
                line.part(next(), Emphasis::Name, format_args!("{}", Comm(&init.comm)));
            }
            // Not selected.
            (None, Some(init)) if init != Pid::INIT && namespace.state == NamespaceState::Live => {
                line.plain(next(), format_args!("init {init}"));
            }
            _ => {}
        }
        if let Some(container) = &namespace.container {
            line.plain(next(), format_args!("{}", ContainerText(container)));
            if let Some(pod) = &container.pod {
                line.plain(" ", format_args!("of pod {pod}"));
            }
        }
        self.population(namespace, next, line);
        if let Some(owner) = self.owner(namespace) {
            line.plain(next(), format_args!("{owner}"));
        }
        if namespace.evidence == Evidence::Inferred {
            line.part(next(), Emphasis::Inferred, format_args!("inferred"));
        }
        if namespace.parent_unknown {
            line.part(", ", Emphasis::Warning, format_args!("parent unknown"));
        }
    }

    /// Says what keeps a terminated init, and who could end that.
    fn stuck(&self, namespace: &Namespace, next: impl Fn() -> &'static str, line: &mut Line) {
        let Some(blocker) = namespace.blocked_by.first() else {
            if namespace.init.is_some() {
                line.part(next(), Emphasis::Dead, format_args!("not gone yet"));
            }
            return;
        };
        let Blocker { pid, comm, reason, reaper } = blocker;
        let is_init = Some(*pid) == namespace.init;
        let reaper = reaper.map(|reaper| ProcessRef::new(self.graph, reaper, None));
        match (reason, reaper) {
            (BlockReason::Zombie, Some(reaper)) if is_init => {
                line.part(next(), Emphasis::Dead, format_args!("stuck until {reaper} reaps it"));
            }
            (BlockReason::Zombie, None) if is_init => {
                line.part(next(), Emphasis::Dead, format_args!("stuck until it is reaped"));
            }
            (BlockReason::Zombie, Some(reaper)) => line.part(
                next(),
                Emphasis::Dead,
                format_args!("stuck until {reaper} reaps zombie {pid}"),
            ),
            (BlockReason::Zombie, None) => line.part(
                next(),
                Emphasis::Dead,
                format_args!("stuck until zombie {pid} is reaped"),
            ),
            (BlockReason::Uninterruptible, _) => line.part(
                next(),
                Emphasis::Dead,
                format_args!("stuck until {pid} {} leaves uninterruptible sleep", Comm(comm)),
            ),
        }
        if let more @ 1.. = namespace.blocked_by.len() - 1 {
            line.part(" ", Emphasis::Dead, format_args!("(and {} more)", Count(more)));
        }
    }

    /// Says how many members there are.
    fn population(&self, namespace: &Namespace, next: impl Fn() -> &'static str, line: &mut Line) {
        let members = self.graph.members(namespace);
        let shown = members.len();
        let of_kernel = members.iter().filter(|member| member.kernel_thread).count();
        match namespace.member_count.unwrap_or(shown) {
            0 if namespace.state != NamespaceState::Live => {}
            0 => line.plain(next(), format_args!("no visible process")),
            count if count != shown && shown > 0 => {
                line.plain(next(), format_args!("{} ({} shown)", processes(count), Count(shown)));
            }
            count if count != shown || of_kernel == 0 => {
                line.plain(next(), format_args!("{}", processes(count)));
            }
            count => line.plain(
                next(),
                format_args!(
                    "{} and {}",
                    processes(count - of_kernel),
                    Of(of_kernel, "kernel thread", "kernel threads")
                ),
            ),
        }
    }

    /// The owner, where it is worth a word: another than the parent's, or not root's.
    fn owner(&self, namespace: &'a Namespace) -> Option<OwnerText<'a>> {
        let owner = namespace.owner.as_ref()?;
        let Some(parent) = self.graph.parent(namespace) else {
            return (owner.uid != Some(0)).then_some(OwnerText { owner, apart: false });
        };
        let same_user = parent
            .owner
            .as_ref()
            .is_some_and(|above| (above.uid, &above.user) == (owner.uid, &owner.user));
        let apart =
            parent.owner.as_ref().is_some_and(|above| above.user_namespace != owner.user_namespace);
        (!same_user || apart).then_some(OwnerText { owner, apart: same_user })
    }

    /// Says which namespaces share the line, and what is true of all.
    fn alike(&self, namespaces: &[&'a Namespace], of_each: bool, line: &mut Line) {
        let Some(first) = namespaces.first() else { return };
        let (count, times) = (Count(namespaces.len()), self.symbols.times);
        match first.init.and_then(|init| self.graph.process(init)) {
            Some(init) => {
                line.part("", Emphasis::Name, format_args!("{} {times} {count}", Comm(&init.comm)));
            }
            None => line.part("", Emphasis::Name, format_args!("{count} namespaces")),
        }
        line.plain(" ", format_args!("like this"));
        // In each of many they have other IDs.
        let listed = if of_each { &[] } else { namespaces };
        for (index, namespace) in listed.iter().take(LISTED).enumerate() {
            line.plain(if index == 0 { ": " } else { ", " }, format_args!("{}", namespace.id));
        }
        if let Some(more @ 1..) = listed.len().checked_sub(LISTED) {
            line.plain(", ", format_args!("and {} more", Count(more)));
        }
        let mut separators = std::iter::once("; ").chain(std::iter::repeat(", "));
        let mut next = || separators.next().unwrap_or(", ");
        if let Some(container) = &first.container {
            line.plain(next(), format_args!("{}", container.runtime));
        }
        let count = first.member_count.unwrap_or_else(|| self.graph.members(first).len());
        line.plain(next(), format_args!("{} each", processes(count)));
        if let Some(owner) = self.owner(first) {
            line.plain(", ", format_args!("{}", OwnerText { apart: false, ..owner }));
        }
        if first.evidence == Evidence::Inferred {
            line.part(", ", Emphasis::Inferred, format_args!("inferred"));
        }
        let held = namespaces.iter().flat_map(|namespace| keeping(self.graph, namespace)).count();
        if held > 0 {
            line.plain(", ", format_args!("kept by {}", Of(held, "fd or mount", "fds and mounts")));
        }
    }

    /// Says which processes a row is of, and what is to be noticed about them.
    /// `of_each` where it stands for such a row in each of many namespaces.
    pub fn row(&self, row: &Row<'a>, of_each: bool, line: &mut Line) {
        match row {
            _ if of_each => self.row_of_each(row, line),
            Row::One(process) => {
                let pids = self.pids(process);
                if process.kernel_thread {
                    line.plain("", format_args!("{pids} [{}]", Comm(&process.comm)));
                } else {
                    line.plain("", format_args!("{pids} {}", Comm(&process.comm)));
                }
                self.notice(row, line);
                self.details(process, line);
            }
            Row::KernelThreads(threads) => {
                line.plain("", format_args!("{} kernel threads", Count(threads.len())));
            }
            Row::Alike(processes) => {
                let Some(first) = processes.first() else { return };
                let (count, times) = (Count(processes.len()), self.symbols.times);
                line.plain("", format_args!("{count} {times} {}", Comm(&first.comm)));
                Self::args(first, line);
                self.notice(row, line);
                for (index, process) in processes.iter().take(LISTED).enumerate() {
                    let separator = if index == 0 { ": " } else { ", " };
                    line.plain(separator, format_args!("{}", self.pids(process)));
                }
                if let Some(more @ 1..) = processes.len().checked_sub(LISTED) {
                    line.plain(", ", format_args!("and {} more", Count(more)));
                }
            }
        }
    }

    /// Says the same of a row that stands for many namespaces, whose PIDs differ.
    fn row_of_each(&self, row: &Row<'a>, line: &mut Line) {
        let Some(first) = row.processes().first() else { return };
        let times = self.symbols.times;
        match row {
            Row::KernelThreads(threads) => {
                line.plain("", format_args!("{} kernel threads", Count(threads.len())));
            }
            Row::One(_) => line.plain("", format_args!("{}", Comm(&first.comm))),
            Row::Alike(processes) => line.plain(
                "",
                format_args!("{} {times} {}", Count(processes.len()), Comm(&first.comm)),
            ),
        }
        self.notice(row, line);
        Self::args(first, line);
    }

    fn notice(&self, row: &Row<'a>, line: &mut Line) {
        let (Some(first), count) = (row.processes().first(), row.processes().len()) else { return };
        // Who it is where one process is to blame for all; else those of a name.
        let one = |parent: &Process| {
            let same = row.processes().iter().all(|process| process.ppid == Some(parent.pid));
            same.then_some(parent.pid)
        };
        match Condition::of(first) {
            Condition::Ordinary => {}
            Condition::Uninterruptible => {
                line.part(", ", Emphasis::Warning, format_args!("uninterruptible"));
            }
            Condition::Stopped => line.part(", ", Emphasis::Warning, format_args!("stopped")),
            Condition::Zombie => {
                let zombie = if count == 1 { "zombie" } else { "zombies" };
                let parent = first.ppid.and_then(|parent| self.graph.process(parent));
                match parent.map(|parent| (one(parent), Comm(&parent.comm))) {
                    None => line.part(", ", Emphasis::Warning, format_args!("{zombie}")),
                    Some((None, comm)) => {
                        line.part(", ", Emphasis::Warning, format_args!("{zombie} of {comm}"));
                    }
                    Some((Some(pid), comm)) => {
                        let of = format_args!("{zombie} of {pid} {comm}");
                        line.part(", ", Emphasis::Warning, of);
                    }
                }
                return;
            }
        }
        if let Some(parent) = entered_by(self.graph, first) {
            let comm = Comm(&parent.comm);
            match one(parent) {
                Some(pid) => {
                    line.part(", ", Emphasis::Entered, format_args!("entered by {pid} {comm}"));
                }
                None => line.part(", ", Emphasis::Entered, format_args!("entered by {comm}")),
            }
        }
    }

    /// What `--details` asked for. Cgroups that were read to find those of a
    /// container (`--container`) are not meant to be shown.
    fn details(&self, process: &Process, line: &mut Line) {
        Self::args(process, line);
        let Some(details) = &process.details else { return };
        for (name, inode) in details.namespaces.iter().flatten() {
            line.plain(", ", format_args!("{name}:[{inode}]"));
        }
        let selected = &self.graph.snapshot().selected;
        let is_by_container =
            selected.iter().any(|criterion| criterion.by == FilterOption::Container);
        if let Some(cgroup) = details.cgroup.as_ref().filter(|_| !is_by_container) {
            line.plain(", ", format_args!("cgroup {cgroup}"));
        }
    }

    /// Its arguments, each a part, in parentheses.
    fn args(process: &Process, line: &mut Line) {
        let args = process.details.as_ref().and_then(|details| details.args.as_deref());
        let args = args.unwrap_or_default();
        for (index, arg) in args.iter().enumerate() {
            let open = if index == 0 { "(" } else { "" };
            let close = if index + 1 == args.len() { ")" } else { "" };
            line.plain(" ", format_args!("{open}{arg}{close}"));
        }
    }

    /// What keeps a namespace alive beside its members, as [`kept_by()`] has it.
    pub fn kept_by(&self, namespace: &'a Namespace) -> Vec<KeptBy<'a>> {
        kept_by(self.graph, namespace)
    }

    /// A process's PIDs, outermost first.
    pub fn pids(&self, process: &'a Process) -> Pids<'a> {
        Pids { process, symbols: self.symbols, all: !self.folds }
    }

    /// How many of what there are.
    pub fn counts(&self) -> String {
        let snapshot = self.graph.snapshot();
        let mut text = Of(snapshot.namespaces.len(), "PID namespace", "PID namespaces").to_string();
        for (state, name) in [
            (NamespaceState::Dead, "dead"),
            (NamespaceState::Nascent, "nascent"),
            (NamespaceState::Unknown, "unknown"),
        ] {
            let count = snapshot.namespaces.iter().filter(|it| it.state == state).count();
            if count > 0 {
                let _ = write!(text, ", {} {name}", Count(count));
            }
        }
        let shown = snapshot.processes.len();
        let left_out = |namespace: &Namespace| {
            namespace
                .member_count
                .map_or(0, |all| all.saturating_sub(self.graph.members(namespace).len()))
        };
        let left_out: usize = snapshot.namespaces.iter().map(left_out).sum();
        let _ = write!(text, "; {}", processes(shown + left_out));
        if left_out > 0 {
            let _ = write!(text, " ({} shown)", Count(shown));
        }
        text
    }

    /// A process that is shown with its PIDs in more than one level, as an
    /// example to explain them by.
    pub fn example(&self) -> Option<Pids<'a>> {
        let process = self.graph.processes().iter().find(|process| process.nspid.len() > 1)?;
        Some(self.pids(process))
    }
}

/// What keeps a namespace alive beside its members, one line for each holder.
/// Of a live one only what outlasts its members is worth a word.
pub fn kept_by<'a>(graph: &'a PidGraph, namespace: &'a Namespace) -> Vec<KeptBy<'a>> {
    let holders = keeping(graph, namespace);
    let mut lines: Vec<KeptBy<'a>> = holders.map(|it| KeptBy::holder(graph, it)).collect();
    // Each namespace keeps the one that it was made in.
    if lines.is_empty() && namespace.state != NamespaceState::Live {
        if !graph.children(namespace).is_empty() {
            lines.push(KeptBy::Children);
        } else if is_held_unseen(graph, namespace) {
            lines.push(KeptBy::Unseen);
        }
    }
    lines
}

/// Whether a namespace without holders was found in the kernel's memory. Of a
/// selection some of what was made in it may be left out.
fn is_held_unseen(graph: &PidGraph, namespace: &Namespace) -> bool {
    let snapshot = graph.snapshot();
    let has_ended = matches!(namespace.state, NamespaceState::Dead | NamespaceState::Nascent);
    has_ended
        && namespace.init.is_none()
        && snapshot.selected.is_empty()
        && snapshot.searched.contains(&SearchScope::Kernel)
}

/// What `a → b` means.
pub const ARROW_MEANS: &str = "its PID here → in its own namespace";

/// What a dead namespace means for those who use it.
pub const DEAD_MEANS: &str =
    "starting a process in it fails with \"Cannot allocate memory\" (ENOMEM)";

/// What it means that something is inferred.
pub const INFERRED_MEANS: &str = "concluded from PIDs, as the kernel would not say";

/// Whether a snapshot shows anything that is not as it should be.
pub fn is_wrong(snapshot: &Snapshot) -> bool {
    !snapshot.complete
        || snapshot.namespaces.iter().any(|it| it.state != NamespaceState::Live)
        || snapshot.processes.iter().any(|it| it.namespace.is_none())
}
