//! The comparison itself: which of one graph is which of the other, and what
//! changed of it.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{NamespaceChange, NamespaceField, ProcessChange, ProcessField, Relation, Weak};
use crate::graph::PidGraph;
use crate::model::{Namespace, NamespaceId, NamespaceState, Pid, Process, Snapshot};

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

/// Two graphs, and what was found out about them so far.
pub struct Comparison<'a> {
    before: &'a PidGraph,
    after: &'a PidGraph,
    pub relation: Relation,
    /// By ID before, what the namespace is after.
    pub counterparts: HashMap<NamespaceId, NamespaceId>,
    pub weak: Weak,
    /// Members of namespaces that are in both, by ID after.
    members_came: HashMap<NamespaceId, Vec<Pid>>,
    /// Members of all namespaces, by ID before.
    members_went: HashMap<NamespaceId, Vec<Pid>>,
    pub namespaces: Vec<NamespaceChange>,
    pub processes: Vec<ProcessChange>,
}

impl<'a> Comparison<'a> {
    /// Compares all of two graphs.
    pub fn of(before: &'a PidGraph, after: &'a PidGraph) -> Self {
        let mut this = Self::new(before, after);
        this.compare_processes();
        this.compare_namespaces();
        this
    }

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
                    hidden: false,
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
                self.namespaces.push(NamespaceChange {
                    before,
                    after,
                    fields,
                    members_came,
                    members_went,
                    hidden: false,
                });
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
                    hidden: false,
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
