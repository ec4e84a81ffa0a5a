//! From two graphs to what differs between them.
//!
//! A process is the same in both if its boot, PID and start time are: PIDs are
//! given again, start times with them are not. A namespace is the same if the
//! kernel's number for it is or, before Linux 6.18, if its inode and its init
//! are: inodes are given again, too. Where a graph does not have what tells
//! this exactly, less has to do, and is counted.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use crate::graph::PidGraph;
use crate::model::{Namespace, NamespaceId, NamespaceState, Pid, Process, Snapshot};

/// What differs between two graphs.
#[derive(Debug)]
pub struct Diff {
    /// The one.
    pub before: PidGraph,
    /// The other.
    pub after: PidGraph,
    /// How they belong together.
    pub relation: Relation,
    /// The namespaces that came, went or changed, by ID.
    pub namespaces: Vec<NamespaceChange>,
    /// The processes that came, went or changed, by PID; of two with one PID the
    /// one that went comes first.
    pub processes: Vec<ProcessChange>,
    /// How many were taken for the same, or for another, by less than what
    /// tells that exactly.
    pub weak: Weak,
    counterparts: HashMap<NamespaceId, NamespaceId>,
}

/// How two graphs belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They are of one boot of one host.
    SameBoot,
    /// They are taken to be, but do not say it.
    BootUnknown,
    /// They are of different boots of a host: all in the second is new.
    OtherBoot,
    /// They are of different hosts: all in the second is new.
    OtherHost,
    /// Their PIDs are numbers of different namespaces, so that they cannot be compared.
    OtherProcfs,
}

impl Relation {
    /// Whether something may be in both.
    fn is_comparable(self) -> bool {
        matches!(self, Self::SameBoot | Self::BootUnknown)
    }
}

/// How many were compared by less than what tells them apart exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weak {
    /// Namespaces: by their inode alone, or an init without a start time.
    pub namespaces: usize,
    /// Processes: by their PIDs and namespace, without a start time.
    pub processes: usize,
}

/// A process that is not the same in both graphs. With no `before` it came,
/// with no `after` it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessChange {
    /// Its PID before.
    pub before: Option<Pid>,
    /// Its PID after.
    pub after: Option<Pid>,
    /// What changed of one that is in both.
    pub fields: Vec<ProcessField>,
}

/// A namespace that is not the same in both graphs. With no `before` it came,
/// with no `after` it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceChange {
    /// Its ID before.
    pub before: Option<NamespaceId>,
    /// Its ID after.
    pub after: Option<NamespaceId>,
    /// What changed of one that is in both.
    pub fields: Vec<NamespaceField>,
    /// Its members that were not before, by PID.
    pub members_came: Vec<Pid>,
    /// Its members that are no more, by PID.
    pub members_went: Vec<Pid>,
}

/// What can change of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProcessField {
    /// Its namespace: nothing can change it, but a graph may not know it.
    Namespace,
    /// Its parent, as when that has ended.
    Parent,
    /// Its name, as when it executes a program.
    Comm,
    /// Its real user ID.
    User,
    /// Whether it goes on, is stopped, or has terminated.
    State,
}

impl ProcessField {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Namespace, Self::Parent, Self::Comm, Self::User, Self::State];
}

/// What can change of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceField {
    /// Live, dead and so on.
    State,
    /// The namespace that it was made in: nothing can change it, but a graph
    /// may not know it.
    Parent,
    /// Who is in it.
    Members,
}

impl NamespaceField {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::State, Self::Parent, Self::Members];
}

/// What happened to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Happened {
    /// It is only in the second graph.
    Came,
    /// It is only in the first.
    Went,
    /// It is in both, and not the same.
    Changed,
}

impl Happened {
    fn of<T>(before: Option<T>, after: Option<T>) -> Self {
        match (before, after) {
            (None, _) => Self::Came,
            (Some(_), None) => Self::Went,
            (Some(_), Some(_)) => Self::Changed,
        }
    }
}

impl ProcessChange {
    /// What happened to it.
    #[must_use]
    pub fn happened(&self) -> Happened {
        Happened::of(self.before, self.after)
    }
}

impl NamespaceChange {
    /// What happened to it.
    #[must_use]
    pub fn happened(&self) -> Happened {
        Happened::of(self.before, self.after)
    }
}

/// A reason why a difference may be none, or be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiffCaveat {
    /// A graph is incomplete.
    Incomplete,
    /// They were searched in different places.
    OtherSearch,
    /// They were cut down differently.
    OtherSelection,
    /// They do not say which boot they are of.
    BootUnknown,
    /// Some namespaces were compared by less than what tells them apart exactly.
    WeakNamespaces,
    /// Some processes were.
    WeakProcesses,
}

impl DiffCaveat {
    /// What it is, for people.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Incomplete => "a view is incomplete, so what seems to come or go may be unseen",
            Self::OtherSearch => {
                "the views were searched in different places, so what seems to come or go may \
                 not have been looked for"
            }
            Self::OtherSelection => "the documents are different parts of their views",
            Self::BootUnknown => {
                "a document does not say which boot it is of; they are taken to be of one"
            }
            Self::WeakNamespaces => {
                "namespaces are told apart by inode alone where the kernel has no number for \
                 them (Linux 6.18) and no start time of their init is known; inodes are reused"
            }
            Self::WeakProcesses => {
                "processes are told apart by PID and namespace alone where no start time is \
                 known (--search processes); PIDs are reused"
            }
        }
    }
}

impl Diff {
    /// Compares two graphs.
    #[must_use]
    pub fn new(before: PidGraph, after: PidGraph) -> Self {
        let mut comparison = Comparison::new(&before, &after);
        comparison.compare_processes();
        comparison.compare_namespaces();
        let Comparison { relation, namespaces, processes, weak, counterparts, .. } = comparison;
        Self { before, after, relation, namespaces, processes, weak, counterparts }
    }

    /// Whether there is a difference.
    #[must_use]
    pub fn differs(&self) -> bool {
        !self.relation.is_comparable() || !self.namespaces.is_empty() || !self.processes.is_empty()
    }

    /// What a namespace of the first graph is in the second.
    #[must_use]
    pub fn counterpart(&self, before: NamespaceId) -> Option<NamespaceId> {
        self.counterparts.get(&before).copied()
    }

    /// Why the differences may not be all, or not be real.
    #[must_use]
    pub fn caveats(&self) -> BTreeSet<DiffCaveat> {
        let (before, after) = (self.before.snapshot(), self.after.snapshot());
        [
            (!before.complete || !after.complete, DiffCaveat::Incomplete),
            (before.searched != after.searched, DiffCaveat::OtherSearch),
            (before.selected != after.selected, DiffCaveat::OtherSelection),
            (self.relation == Relation::BootUnknown, DiffCaveat::BootUnknown),
            (self.weak.namespaces > 0, DiffCaveat::WeakNamespaces),
            (self.weak.processes > 0, DiffCaveat::WeakProcesses),
        ]
        .into_iter()
        .filter_map(|(holds, caveat)| holds.then_some(caveat))
        .collect()
    }
}

/// Takes out of a snapshot what is no part of a comparison: threads of the
/// kernel, which come and go at any time, unless they are wanted, and the one
/// process of pidns itself that took it. `viewer` is that process where it is
/// known. In a saved document it is the youngest that is called pidns, as its
/// scan begins with its life: another of that name stays in.
pub fn leave_out(snapshot: &mut Snapshot, kernel_threads: bool, viewer: Option<Pid>) {
    let named = snapshot.processes.iter().filter(|it| it.comm == env!("CARGO_PKG_NAME"));
    let youngest = named.max_by_key(|it| (it.start_time, it.pid)).map(|it| it.pid);
    let itself = viewer.or(youngest);
    snapshot.processes.retain(|it| Some(it.pid) != itself && (kernel_threads || !it.kernel_thread));
}

/// Whether two are the same, and how surely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sameness {
    Other,
    Weak,
    Exact,
}

impl Sameness {
    fn exactly(holds: bool) -> Self {
        if holds { Self::Exact } else { Self::Other }
    }

    fn weakly(holds: bool) -> Self {
        if holds { Self::Weak } else { Self::Other }
    }
}

struct Comparison<'a> {
    before: &'a PidGraph,
    after: &'a PidGraph,
    relation: Relation,
    /// By ID before, what the namespace is after.
    counterparts: HashMap<NamespaceId, NamespaceId>,
    weak: Weak,
    /// Members of namespaces that are in both, by ID after.
    members_came: HashMap<NamespaceId, Vec<Pid>>,
    /// Members of all namespaces, by ID before.
    members_went: HashMap<NamespaceId, Vec<Pid>>,
    namespaces: Vec<NamespaceChange>,
    processes: Vec<ProcessChange>,
}

impl<'a> Comparison<'a> {
    fn new(before: &'a PidGraph, after: &'a PidGraph) -> Self {
        let mut this = Self {
            before,
            after,
            relation: boots(before.snapshot(), after.snapshot()),
            counterparts: HashMap::new(),
            weak: Weak::default(),
            members_came: HashMap::new(),
            members_went: HashMap::new(),
            namespaces: Vec::new(),
            processes: Vec::new(),
        };
        if this.relation.is_comparable() {
            this.match_namespaces();
        }
        if this.relation.is_comparable() && !this.is_one_procfs() {
            this.relation = Relation::OtherProcfs;
            this.counterparts.clear();
            this.weak = Weak::default();
        }
        this
    }

    /// Whether the PIDs of both are numbers of one namespace. Where that is not
    /// in a graph, as it was not selected, its ID has to do.
    fn is_one_procfs(&self) -> bool {
        let procfs = |graph: &PidGraph| graph.snapshot().procfs.namespace;
        let (Some(before), Some(after)) = (procfs(self.before), procfs(self.after)) else {
            return true;
        };
        match (self.before.namespace(before), self.after.namespace(after)) {
            (Some(_), Some(_)) => self.counterparts.get(&before) == Some(&after),
            _ => before == after,
        }
    }

    fn match_namespaces(&mut self) {
        let after = &self.after.snapshot().namespaces;
        let by_number: HashMap<u64, &Namespace> =
            after.iter().filter_map(|it| Some((it.ns_id?, it))).collect();
        let by_init: HashMap<Pid, &Namespace> =
            after.iter().filter_map(|it| Some((it.init?, it))).collect();
        for namespace in &self.before.snapshot().namespaces {
            let number = namespace.ns_id.and_then(|number| by_number.get(&number));
            // One whose inode could not be read in one of the graphs is known
            // by its init.
            let same_init = || {
                let other = *by_init.get(&namespace.init?)?;
                let unread = namespace.id.inode().is_none() || other.id.inode().is_none();
                unread.then_some(other)
            };
            let candidate =
                number.copied().or_else(|| self.after.namespace(namespace.id)).or_else(same_init);
            let Some(candidate) = candidate else { continue };
            let sameness = self.same_namespace(namespace, candidate);
            if sameness != Sameness::Other {
                self.counterparts.insert(namespace.id, candidate.id);
            }
            self.weak.namespaces += usize::from(sameness == Sameness::Weak);
        }
    }

    fn same_namespace(&self, before: &Namespace, after: &Namespace) -> Sameness {
        if let (Some(before), Some(after)) = (before.ns_id, after.ns_id) {
            return Sameness::exactly(before == after);
        }
        match (before.init, after.init) {
            (Some(one), Some(other)) => {
                if one != other {
                    return Sameness::Other;
                }
                match (self.before.process(one), self.after.process(other)) {
                    (Some(one), Some(other)) => same_lifetime(one, other),
                    _ => Sameness::Weak,
                }
            }
            // Nothing is ever born in a dead namespace.
            (None, Some(_)) => Sameness::weakly(before.state != NamespaceState::Dead),
            (_, None) => Sameness::Weak,
        }
    }

    fn compare_processes(&mut self) {
        let (mut before, mut after) =
            (self.before.processes().iter().peekable(), self.after.processes().iter().peekable());
        // Both are sorted by PID.
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) => one.pid.cmp(&other.pid),
            };
            let one = before.next_if(|_| order.is_le());
            let other = after.next_if(|_| order.is_ge());
            match (one, other) {
                (Some(one), Some(other)) => match self.same_process(one, other) {
                    Sameness::Other => {
                        self.went(one);
                        self.came(other);
                    }
                    sameness => {
                        self.weak.processes += usize::from(sameness == Sameness::Weak);
                        self.stayed(one, other);
                    }
                },
                (Some(one), None) => self.went(one),
                (None, Some(other)) => self.came(other),
                (None, None) => break,
            }
        }
    }

    fn same_process(&self, before: &Process, after: &Process) -> Sameness {
        if !self.relation.is_comparable() {
            return Sameness::Other;
        }
        match same_lifetime(before, after) {
            Sameness::Weak => Sameness::weakly(self.is_in_same_namespace(before, after)),
            sameness => sameness,
        }
    }

    /// Whether two are in one namespace, as far as that is known.
    fn is_in_same_namespace(&self, before: &Process, after: &Process) -> bool {
        match (before.namespace, after.namespace) {
            (Some(before), Some(after)) => self.counterparts.get(&before) == Some(&after),
            _ => true,
        }
    }

    fn came(&mut self, process: &Process) {
        if let Some(namespace) = process.namespace {
            self.members_came.entry(namespace).or_default().push(process.pid);
        }
        let after = Some(process.pid);
        self.processes.push(ProcessChange { before: None, after, fields: Vec::new() });
    }

    fn went(&mut self, process: &Process) {
        if let Some(namespace) = process.namespace {
            self.members_went.entry(namespace).or_default().push(process.pid);
        }
        let before = Some(process.pid);
        self.processes.push(ProcessChange { before, after: None, fields: Vec::new() });
    }

    fn stayed(&mut self, before: &Process, after: &Process) {
        let namespace = before.namespace.map(|id| self.counterparts.get(&id).copied());
        let moved = namespace != after.namespace.map(Some);
        if moved {
            if let Some(namespace) = before.namespace {
                self.members_went.entry(namespace).or_default().push(before.pid);
            }
            if let Some(namespace) = after.namespace {
                self.members_came.entry(namespace).or_default().push(after.pid);
            }
        }
        let changed = |field: &ProcessField| match field {
            ProcessField::Namespace => moved,
            ProcessField::Parent => before.ppid != after.ppid,
            ProcessField::Comm => before.comm != after.comm,
            ProcessField::User => before.uid != after.uid,
            ProcessField::State => phase(before) != phase(after),
        };
        let fields: Vec<_> = ProcessField::ALL.into_iter().filter(changed).collect();
        if !fields.is_empty() {
            let (before, after) = (Some(before.pid), Some(after.pid));
            self.processes.push(ProcessChange { before, after, fields });
        }
    }

    fn compare_namespaces(&mut self) {
        let mut is_new: HashMap<NamespaceId, bool> =
            self.after.snapshot().namespaces.iter().map(|it| (it.id, true)).collect();
        for before in &self.before.snapshot().namespaces {
            let members_went = self.members_went.remove(&before.id).unwrap_or_default();
            let after = self.counterparts.get(&before.id).and_then(|&id| self.after.namespace(id));
            let Some(after) = after else {
                self.namespaces.push(NamespaceChange {
                    before: Some(before.id),
                    after: None,
                    fields: Vec::new(),
                    members_came: Vec::new(),
                    members_went,
                });
                continue;
            };
            is_new.insert(after.id, false);
            let members_came = self.members_came.remove(&after.id).unwrap_or_default();
            let parent = before.parent.map(|id| self.counterparts.get(&id).copied());
            let changed = |field: &NamespaceField| match field {
                NamespaceField::State => before.state != after.state,
                NamespaceField::Parent => parent != after.parent.map(Some),
                NamespaceField::Members => !members_came.is_empty() || !members_went.is_empty(),
            };
            let fields: Vec<_> = NamespaceField::ALL.into_iter().filter(changed).collect();
            if !fields.is_empty() {
                let (before, after) = (Some(before.id), Some(after.id));
                let change = NamespaceChange { before, after, fields, members_came, members_went };
                self.namespaces.push(change);
            }
        }
        for after in &self.after.snapshot().namespaces {
            if is_new.get(&after.id) == Some(&true) {
                self.namespaces.push(NamespaceChange {
                    before: None,
                    after: Some(after.id),
                    fields: Vec::new(),
                    members_came: self.members_came.remove(&after.id).unwrap_or_default(),
                    members_went: Vec::new(),
                });
            }
        }
        self.namespaces.sort_by_key(|it| (it.after.or(it.before), it.after.is_some()));
    }
}

/// How the boots and hosts of two snapshots belong together.
fn boots(before: &Snapshot, after: &Snapshot) -> Relation {
    let (one, other) = (&before.host, &after.host);
    // Host names alone tell no hosts apart: a container may have one of its own.
    let is_one_host = one.hostname.is_none() || one.hostname == other.hostname;
    match (&one.boot_id, &other.boot_id) {
        (Some(one), Some(other)) if one == other => Relation::SameBoot,
        (Some(_), Some(_)) if is_one_host => Relation::OtherBoot,
        (Some(_), Some(_)) => Relation::OtherHost,
        _ => Relation::BootUnknown,
    }
}

/// Whether two with one PID are one process, where that can be told without
/// their namespaces. Its PIDs in inner namespaces never change.
fn same_lifetime(before: &Process, after: &Process) -> Sameness {
    let is_told = !before.nspid.is_empty() && !after.nspid.is_empty();
    if is_told && before.nspid != after.nspid {
        return Sameness::Other;
    }
    match (before.start_time, after.start_time) {
        (Some(before), Some(after)) => Sameness::exactly(before == after),
        _ => Sameness::Weak,
    }
}

/// What of a process's state lasts: whether it runs, sleeps or waits changes
/// from one moment to the next.
fn phase(process: &Process) -> char {
    match process.state {
        _ if process.is_zombie() => 'Z',
        stopped @ ('T' | 't') => stopped,
        _ => 'R',
    }
}

#[cfg(test)]
mod tests;
