//! Describes namespaces and their members. The output formats must escape the text.

use std::cell::Cell;
use std::fmt::{self, Write as _};

use super::holder::{KeptBy, kept_by};
use super::line::{Emphasis, Line};
use super::member::{MemberText, OtherContainer};
use super::phrase::{Count, Counted, Symbols, namespaces, processes};
use super::subject::{Comm, Pids, ProcessRef};
use crate::graph::PidGraph;
use crate::model::{
    BlockReason, Blocker, Container, Evidence, Namespace, NamespaceState, Owner, Pid, Process,
    Snapshot,
};
use crate::query::fold::{Folding, MemberRow, Siblings, TreeRow, keeping};

/// Maximum number of holders that a line names for one namespace.
const HOLDERS: usize = 3;

/// The explanation of the arrow between two PIDs of a process (`a → b`).
pub const ARROW_MEANS: &str = "its PID here → in its own namespace";

/// The explanation of the word `DEAD`.
pub const DEAD_MEANS: &str =
    "starting a process in it fails with \"Cannot allocate memory\" (ENOMEM)";

/// The explanation of the word `inferred`.
pub const INFERRED_MEANS: &str = "derived from PIDs, because the kernel did not report it";

/// Returns `true` if the view is incomplete, a namespace is not live, or the namespace of a process
/// is unknown.
pub fn is_wrong(snapshot: &Snapshot) -> bool {
    !snapshot.complete
        || snapshot.namespaces.iter().any(|it| it.state != NamespaceState::Live)
        || snapshot.processes.iter().any(|it| it.namespace.is_none())
}

/// Describes the namespaces and processes of one graph.
///
/// One line of output can stand for several similar namespaces (folding). The text below such a
/// line applies to all these namespaces, so it must not contain the ID or the PIDs of any one of
/// them. For such text, callers pass `true` for `in_each` (text about a namespace) or `of_each`
/// (text about processes).
#[derive(Clone, Copy)]
pub struct Describe<'a> {
    graph: &'a PidGraph,
    symbols: Symbols,
    members: MemberText<'a>,
}

impl<'a> Describe<'a> {
    pub fn new(folding: &Folding<'a>, symbols: Symbols) -> Self {
        Self { graph: folding.graph(), symbols, members: MemberText::new(folding, symbols) }
    }

    /// Adds the heading of one namespace, or of several folded namespaces, to `line`.
    ///
    /// If `in_each` is `true`, the heading stands for child namespaces of several parents. It then
    /// contains no IDs, because the children of each parent have different IDs.
    pub fn heading(&self, siblings: &Siblings<'a>, in_each: bool, line: &mut Line) {
        match siblings {
            Siblings::One(namespace) if in_each => {
                line.plain("", format_args!("in each"));
                self.summary(namespace, ": ", line);
            }
            Siblings::One(namespace) => {
                line.plain("", format_args!("{}", namespace.id));
                self.summary(namespace, "  ", line);
            }
            Siblings::Alike(namespaces) => self.folded(namespaces, in_each, line),
        }
    }

    /// Adds a description of a namespace, without its ID, to `line`.
    fn summary(&self, namespace: &'a Namespace, separator: &'static str, line: &mut Line) {
        let separators = Cell::new(separator);
        let next = || separators.replace(", ");
        // A problem comes first in the line.
        if namespace.state != NamespaceState::Live {
            self.state(namespace, next, line);
            separators.set("; ");
        }
        let init = namespace.init.and_then(|init| self.graph.process(init));
        // The init of the outermost namespace is always PID 1, so do not name it.
        match (init, namespace.init) {
            (Some(init), _) if init.nspid.len() > 1 => {
                line.part(next(), Emphasis::Name, format_args!("{}", Comm(&init.comm)));
            }
            // If a filter removed the init from the graph, only the PID of the init is known.
            (None, Some(init)) if init != Pid::INIT && namespace.state == NamespaceState::Live => {
                line.plain(next(), format_args!("init {init}"));
            }
            _ => {}
        }
        if let Some(container) = &namespace.container {
            line.plain(next(), format_args!("{container}"));
            if let Some(pod) = container.pod.as_ref().filter(|pod| pod.name.is_none()) {
                line.plain(" ", format_args!("of pod {}", pod.uid));
            }
        }
        self.population(namespace, next, line);
        self.guests(namespace, next, line);
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

    /// Adds the state of a namespace to `line`, unless the namespace is live.
    fn state(&self, namespace: &Namespace, next: impl Fn() -> &'static str, line: &mut Line) {
        match (namespace.state, namespace.init) {
            (NamespaceState::Live, _) => {}
            (NamespaceState::Dead, None) => {
                line.part(next(), Emphasis::Dead, format_args!("DEAD: its init has exited"));
            }
            (NamespaceState::Dead, Some(init)) => {
                line.part(next(), Emphasis::Dead, format_args!("DEAD: its init {init} has exited"));
                self.stuck(namespace, init, next(), line);
            }
            (NamespaceState::Nascent, _) => line.part(
                next(),
                Emphasis::Warning,
                format_args!("not started yet (nascent): no process in it"),
            ),
            (NamespaceState::Unknown, _) => line.part(
                next(),
                Emphasis::Warning,
                format_args!("state unknown: cannot tell whether its init runs"),
            ),
        }
    }

    /// Adds to `line` the reason why a terminated init cannot finish exiting.
    fn stuck(&self, namespace: &Namespace, init: Pid, separator: &'static str, line: &mut Line) {
        let mut dead = |separator, text: fmt::Arguments<'_>| {
            line.part(separator, Emphasis::Dead, text);
        };
        let Some(blocker) = namespace.blocked_by.first() else {
            dead(separator, format_args!("not gone yet"));
            return;
        };
        let Blocker { pid, comm, reason, reaper } = blocker;
        let reaper = reaper.map(|reaper| ProcessRef::new(self.graph, reaper, None));
        let is_frozen = self.graph.known_process(*pid).is_some_and(Process::is_frozen);
        match (reason, reaper) {
            (BlockReason::Zombie, Some(reaper)) if *pid == init => {
                dead(separator, format_args!("stuck until {reaper} reaps it"));
            }
            (BlockReason::Zombie, None) if *pid == init => {
                dead(separator, format_args!("stuck until it is reaped"));
            }
            (BlockReason::Zombie, Some(reaper)) => {
                dead(separator, format_args!("stuck until {reaper} reaps zombie {pid}"));
            }
            (BlockReason::Zombie, None) => {
                dead(separator, format_args!("stuck until zombie {pid} is reaped"));
            }
            (BlockReason::Uninterruptible, _) if is_frozen => {
                dead(separator, format_args!("stuck until {pid} {} is thawed", Comm(comm)));
            }
            (BlockReason::Uninterruptible, _) => dead(
                separator,
                format_args!("stuck until {pid} {} leaves uninterruptible sleep", Comm(comm)),
            ),
            (BlockReason::Traced, Some(reaper)) => dead(
                separator,
                format_args!("stuck until {reaper}, its tracer, lets {pid} {} exit", Comm(comm)),
            ),
            (BlockReason::Traced, None) => dead(
                separator,
                format_args!("stuck until the tracer of {pid} {} lets it exit", Comm(comm)),
            ),
        }
        if let more @ 1.. = namespace.blocked_by.len() - 1 {
            dead(" ", format_args!("(and {} more)", Count(more)));
        }
    }

    /// Adds the number of members of a namespace to `line`.
    fn population(&self, namespace: &Namespace, next: impl Fn() -> &'static str, line: &mut Line) {
        let members = self.graph.members(namespace);
        let shown = members.len();
        let threads = members.iter().filter(|member| member.kernel_thread).count();
        match namespace.member_count.unwrap_or(shown) {
            0 if namespace.state != NamespaceState::Live => {}
            0 => line.plain(next(), format_args!("no visible process")),
            count if count != shown && shown > 0 => {
                line.plain(next(), format_args!("{} ({} shown)", processes(count), Count(shown)));
            }
            count if count != shown || threads == 0 => {
                line.plain(next(), format_args!("{}", processes(count)));
            }
            count => line.plain(
                next(),
                format_args!(
                    "{} and {}",
                    processes(count - threads),
                    Counted(threads, "kernel thread", "kernel threads")
                ),
            ),
        }
    }

    /// Adds to `line` the number of members whose container differs from the init's container.
    fn guests(&self, namespace: &Namespace, next: impl Fn() -> &'static str, line: &mut Line) {
        let members = self.graph.members(namespace);
        let mut containers: Vec<&Container> =
            members.iter().filter_map(|it| it.other_container()).collect();
        let count = containers.len();
        containers.sort_unstable_by_key(|it| (&it.runtime, &it.id));
        containers.dedup_by(|a, b| a.is_same(b));
        match containers.as_slice() {
            [] => {}
            [only] => {
                let only = OtherContainer { container: only, namespace };
                line.plain(next(), format_args!("{} of {only}", Count(count)));
            }
            _ => line.plain(next(), format_args!("{} of other containers", Count(count))),
        }
    }

    /// Returns the owner of a namespace, unless the parent namespace has the same owner.
    fn owner(&self, namespace: &'a Namespace) -> Option<OwnerText<'a>> {
        let owner = namespace.owner.as_ref()?;
        let Some(parent) = self.graph.parent(namespace) else {
            // Root is the usual owner of a namespace without a parent.
            return (owner.uid != Some(0)).then_some(OwnerText { owner, user_namespace: false });
        };
        let above = parent.owner.as_ref();
        let same_user =
            above.is_some_and(|above| (above.uid, &above.user) == (owner.uid, &owner.user));
        let apart = above.is_some_and(|above| above.user_namespace != owner.user_namespace);
        (!same_user || apart).then_some(OwnerText { owner, user_namespace: same_user })
    }

    /// Adds to `line` the number, common properties and IDs of several folded namespaces.
    fn folded(&self, namespaces: &[&'a Namespace], in_each: bool, line: &mut Line) {
        let Some(first) = namespaces.first() else { return };
        let (count, times) = (Count(namespaces.len()), self.symbols.times);
        match first.init.and_then(|init| self.graph.process(init)) {
            Some(init) => {
                line.part("", Emphasis::Name, format_args!("{} {times} {count}", Comm(&init.comm)));
            }
            None => line.part("", Emphasis::Name, format_args!("{count} namespaces")),
        }
        line.plain(" ", format_args!("like this"));
        // With `in_each`, the line describes the children of several namespaces at once.
        if !in_each {
            line.list(": ", namespaces.iter().map(|namespace| NamedId(namespace)));
        }
        let mut separators = std::iter::once("; ").chain(std::iter::repeat(", "));
        let mut next = || separators.next().unwrap_or(", ");
        if let Some(container) = &first.container {
            line.plain(next(), format_args!("{}", container.runtime));
        }
        let count = first.member_count.unwrap_or_else(|| self.graph.members(first).len());
        line.plain(next(), format_args!("{} each", processes(count)));
        if let Some(owner) = self.owner(first) {
            line.plain(", ", format_args!("{}", OwnerText { user_namespace: false, ..owner }));
        }
        if first.evidence == Evidence::Inferred {
            line.part(", ", Emphasis::Inferred, format_args!("inferred"));
        }
        let held = namespaces.iter().flat_map(|namespace| keeping(self.graph, namespace)).count();
        if held > 0 {
            let held = Counted(held, "fd or mount", "fds and mounts");
            line.plain(", ", format_args!("kept by {held}"));
        }
    }

    /// Adds a description of the row's processes to `line` (see [`MemberText::row`]).
    pub fn row(&self, row: &MemberRow<'a>, of_each: bool, line: &mut Line) {
        self.members.row(row, of_each, line);
    }

    /// Adds the text of a process-tree row to `line` (see [`MemberText::tree_row`]).
    pub fn tree_row(&self, row: &TreeRow<'a>, of_each: bool, line: &mut Line) {
        self.members.tree_row(row, of_each, line);
    }

    /// Returns all known reasons why a namespace still exists (see [`kept_by()`]).
    pub fn kept_by(&self, namespace: &'a Namespace) -> Vec<KeptBy<'a>> {
        kept_by(self.graph, namespace)
    }

    /// Returns a phrase with the number of namespaces (by state) and of processes.
    pub fn counts(&self) -> String {
        let snapshot = self.graph.snapshot();
        let mut text = namespaces(snapshot.namespaces.len()).to_string();
        for state in [NamespaceState::Dead, NamespaceState::Nascent, NamespaceState::Unknown] {
            let count = snapshot.namespaces.iter().filter(|it| it.state == state).count();
            if count > 0 {
                // Writing to a String cannot fail.
                let _ = write!(text, ", {} {}", Count(count), state.name());
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

    /// Returns the PIDs of a process with several PIDs, as an example to explain the arrow (`→`).
    pub fn example(&self) -> Option<Pids<'a>> {
        let process = self.graph.processes().iter().find(|process| process.nspid.len() > 1)?;
        Some(self.members.pids(process))
    }
}

/// Displays the ID of a namespace, and the name or ID of its container.
struct NamedId<'a>(&'a Namespace);

impl fmt::Display for NamedId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Namespace { id, container, .. } = self.0;
        match container {
            Some(container) => match container.full_name() {
                Some(name) => write!(f, "{id} {name}"),
                None => write!(f, "{id} {}", container.short_id()),
            },
            None => write!(f, "{id}"),
        }
    }
}

/// Returns a phrase such as "in pid:[4026532180]", followed by the container if there is one.
pub fn location(namespace: &Namespace) -> String {
    match &namespace.container {
        Some(container) => format!("in {}, {container}", namespace.id),
        None => format!("in {}", namespace.id),
    }
}

/// The owner of a namespace, for display.
pub struct OwnerText<'a> {
    pub owner: &'a Owner,
    /// `true` if the output also names the user namespace.
    pub user_namespace: bool,
}

impl fmt::Display for OwnerText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner { user, uid, user_namespace } = self.owner;
        match (user, uid) {
            (Some(user), _) => write!(f, "owner {user}")?,
            (None, Some(uid)) => write!(f, "owner uid {uid}")?,
            (None, None) => write!(f, "owner unknown")?,
        }
        if self.user_namespace { write!(f, " in user:[{user_namespace}]") } else { Ok(()) }
    }
}

/// Adds to `line` a namespace's ID, its state, and the reasons why it still exists.
pub fn namespace_line(graph: &PidGraph, namespace: &Namespace, line: &mut Line) {
    line.plain("", format_args!("{}", namespace.id));
    let (emphasis, state) = match namespace.state {
        NamespaceState::Live => (Emphasis::Plain, "live"),
        NamespaceState::Dead => (Emphasis::Dead, "DEAD: its init has exited"),
        NamespaceState::Nascent => (Emphasis::Warning, "nascent: no first process yet"),
        NamespaceState::Unknown => (Emphasis::Warning, "state unknown"),
    };
    line.part("  ", emphasis, format_args!("{state}"));
    if let Some(container) = namespace.container.as_ref().filter(|it| !it.is_unit()) {
        line.plain("; ", format_args!("{container}"));
    }
    let reasons = kept_by(graph, namespace);
    for reason in reasons.iter().take(HOLDERS) {
        reason.describe("; ", line);
    }
    if let Some(more @ 1..) = reasons.len().checked_sub(HOLDERS) {
        line.plain("; ", format_args!("kept by {} more", Count(more)));
    }
}
