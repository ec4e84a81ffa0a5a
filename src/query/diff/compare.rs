//! Matches the processes and namespaces of two graphs, and compares each pair.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use super::change::{
    Incomparable, NamespaceChange, NamespaceField, ProcessChange, ProcessField, Relation,
    WeakMatches,
};
use crate::graph::PidGraph;
use crate::model::{
    LimitKind, Namespace, NamespaceId, NamespaceState, Pid, Process, ProcessStart, Snapshot,
};
use crate::query::observer::{attendants, namespaces_used_only_by};

/// The result of comparing the identity of two processes or namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sameness {
    /// The two entries are different processes or namespaces.
    Other,
    /// Probably the same process or namespace, but there is not enough data to prove it.
    Weak,
    /// The two entries are certainly the same process or namespace.
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

/// Start time and PID of the pidns process that took the first snapshot, and the end of its scan.
#[derive(Clone, Copy, Debug)]
pub struct Begin {
    start: ProcessStart,
    scan_end: Option<u64>,
    pid_max: Option<u32>,
}

impl Begin {
    /// Returns `true` if `process` is older than the pidns process that took the first snapshot, or
    /// `None` if unknown.
    pub fn predates(self, process: &Process) -> Option<bool> {
        process.start()?.is_before(self.start, self.pid_max)
    }

    /// Returns `true` if `process` started before the scan had ended, so that the first snapshot may
    /// lack it.
    pub fn may_have_missed(self, process: &Process) -> bool {
        process.start_time.zip(self.scan_end).is_some_and(|(start, end)| start < end)
    }
}

/// The state of a comparison, and its results.
pub struct Comparison<'a> {
    before: &'a PidGraph,
    after: &'a PidGraph,
    pub relation: Relation,
    /// Maps each namespace of the first graph to the same namespace in the second graph.
    pub counterparts: HashMap<NamespaceId, NamespaceId>,
    pub weak: WeakMatches,
    /// Start time and PID of the pidns process that took the first snapshot.
    pub begin: Option<Begin>,
    /// For each graph, the processes that a comparison ignores ([`attendants`]).
    pub attendants: [BTreeSet<Pid>; 2],
    /// Maps the ID of a namespace in the second graph to its new members.
    members_came: HashMap<NamespaceId, Vec<Pid>>,
    /// Maps the ID of a namespace in the first graph to its former members.
    members_went: HashMap<NamespaceId, Vec<Pid>>,
    pub namespaces: Vec<NamespaceChange>,
    pub processes: Vec<ProcessChange>,
}

impl<'a> Comparison<'a> {
    /// Compares two graphs.
    pub fn of(before: &'a PidGraph, after: &'a PidGraph) -> Result<Self, Incomparable> {
        let mut this = Self::new(before, after)?;
        this.compare_processes();
        this.compare_namespaces();
        Ok(this)
    }

    fn new(before: &'a PidGraph, after: &'a PidGraph) -> Result<Self, Incomparable> {
        let mut this = Self {
            before,
            after,
            relation: host_relation(before.snapshot(), after.snapshot())?,
            counterparts: HashMap::new(),
            weak: WeakMatches::default(),
            begin: begin(before.snapshot(), after.snapshot()),
            attendants: [BTreeSet::new(), BTreeSet::new()],
            members_came: HashMap::new(),
            members_went: HashMap::new(),
            namespaces: Vec::new(),
            processes: Vec::new(),
        };
        this.match_namespaces();
        if !this.is_one_procfs() {
            return Err(Incomparable::OtherProcfs);
        }
        this.attendants = [
            attendants(before.snapshot(), |pid| this.is_alone(pid)),
            attendants(after.snapshot(), |pid| {
                let predates = after.process(pid).is_some_and(|it| this.predates(it));
                this.is_alone(pid) && !predates
            }),
        ];
        Ok(this)
    }

    /// Returns `true` unless the same process has this PID in both graphs.
    fn is_alone(&self, pid: Pid) -> bool {
        let both = self.before.process(pid).zip(self.after.process(pid));
        both.is_none_or(|(one, other)| self.same_process(one, other) == Sameness::Other)
    }

    /// Returns `true` if both procfs mounts show the same PID namespace, or if that is unknown.
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
            // If an inode could not be read, match the namespaces by their init.
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
            // A dead namespace never gets a new init, so it cannot match a namespace with an init.
            (None, Some(_)) => Sameness::weakly(before.state != NamespaceState::Dead),
            (_, None) => Sameness::Weak,
        }
    }

    fn compare_processes(&mut self) {
        let (mut before, mut after) =
            (self.before.processes().iter().peekable(), self.after.processes().iter().peekable());
        // Both graphs sort processes by PID, so merging them finds the common PIDs.
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
        match same_lifetime(before, after) {
            Sameness::Weak => Sameness::weakly(self.is_in_same_namespace(before, after)),
            sameness => sameness,
        }
    }

    /// Returns `true` if both processes are in the same namespace, or if a namespace is unknown.
    fn is_in_same_namespace(&self, before: &Process, after: &Process) -> bool {
        match (before.namespace, after.namespace) {
            (Some(before), Some(after)) => self.counterparts.get(&before) == Some(&after),
            _ => true,
        }
    }

    /// Returns `true` if a process is older than the pidns process that took the first snapshot.
    fn predates(&self, process: &Process) -> bool {
        self.begin.is_some_and(|begin| begin.predates(process) == Some(true))
    }

    fn came(&mut self, process: &Process) {
        // A process older than the first snapshot is not new, even if that snapshot lacks it.
        if self.predates(process) || self.attendants[1].contains(&process.pid) {
            return;
        }
        if let Some(namespace) = process.namespace {
            self.members_came.entry(namespace).or_default().push(process.pid);
        }
        let after = Some(process.pid);
        self.processes.push(ProcessChange { before: None, after, fields: Vec::new() });
    }

    fn went(&mut self, process: &Process) {
        if self.attendants[0].contains(&process.pid) {
            return;
        }
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
        let [attended_before, attended_after] =
            [(self.before, 0), (self.after, 1)].map(|(graph, index)| {
                namespaces_used_only_by(graph, |pid| self.attendants[index].contains(&pid))
            });
        let mut is_new: HashMap<NamespaceId, bool> =
            self.after.snapshot().namespaces.iter().map(|it| (it.id, true)).collect();
        for before in &self.before.snapshot().namespaces {
            let after = self.counterparts.get(&before.id).and_then(|&id| self.after.namespace(id));
            match after {
                Some(after) => {
                    is_new.insert(after.id, false);
                    self.namespace_stayed(before, after);
                }
                None if attended_before.contains(&before.id) => {}
                None => self.push_namespace(Some(before.id), None, Vec::new()),
            }
        }
        for after in &self.after.snapshot().namespaces {
            let init = after.init.and_then(|init| self.after.process(init));
            let predates = init.is_some_and(|init| self.predates(init));
            let is_left_out = predates || attended_after.contains(&after.id);
            if is_new.get(&after.id) == Some(&true) && !is_left_out {
                self.push_namespace(None, Some(after.id), Vec::new());
            }
        }
        self.namespaces.sort_by_key(|it| (it.after.or(it.before), it.after.is_some()));
    }

    fn namespace_stayed(&mut self, before: &Namespace, after: &Namespace) {
        let parent = before.parent.map(|id| self.counterparts.get(&id).copied());
        let members_changed =
            self.members_came.contains_key(&after.id) || self.members_went.contains_key(&before.id);
        let changed = |field: &NamespaceField| match field {
            NamespaceField::State => before.state != after.state,
            NamespaceField::Parent => parent != after.parent.map(Some),
            NamespaceField::Members => members_changed,
        };
        let fields: Vec<_> = NamespaceField::ALL.into_iter().filter(changed).collect();
        if !fields.is_empty() {
            self.push_namespace(Some(before.id), Some(after.id), fields);
        }
    }

    fn push_namespace(
        &mut self,
        before: Option<NamespaceId>,
        after: Option<NamespaceId>,
        fields: Vec<NamespaceField>,
    ) {
        let members_came = after.and_then(|id| self.members_came.remove(&id)).unwrap_or_default();
        let members_went = before.and_then(|id| self.members_went.remove(&id)).unwrap_or_default();
        let hidden = false;
        let change = NamespaceChange { before, after, fields, members_came, members_went, hidden };
        self.namespaces.push(change);
    }
}

/// Returns the start time and PID of the pidns process that took `before`, if known, and the end of
/// its scan.
fn begin(before: &Snapshot, after: &Snapshot) -> Option<Begin> {
    let start = |snapshot: &Snapshot| snapshot.observer.as_ref()?.start();
    let pid_max = pid_max(after);
    let scan_end = before.observer.as_ref().and_then(|it| it.scan_end);
    let (before, after) = (start(before)?, start(after)?);
    // If `after` may be the older snapshot, start times do not prove that a process is new.
    let is_later = after.is_before(before, pid_max) == Some(false);
    is_later.then_some(Begin { start: before, scan_end, pid_max })
}

/// Returns the `pid_max` of the PID namespace that the procfs shows, if known.
fn pid_max(snapshot: &Snapshot) -> Option<u32> {
    let namespace = Some(snapshot.procfs.namespace?);
    let mut limits = snapshot.limits.iter().flatten();
    let limit =
        limits.find(|it| it.kind == LimitKind::PidMax && it.scope.namespace == namespace)?;
    u32::try_from(limit.max?).ok()
}

/// Compares the hosts and boots of two snapshots.
fn host_relation(before: &Snapshot, after: &Snapshot) -> Result<Relation, Incomparable> {
    let (one, other) = (&before.host, &after.host);
    // If the boot IDs differ but the host names are equal, assume that the host was rebooted.
    let is_one_host = one.hostname.is_none() || one.hostname == other.hostname;
    match (&one.boot_id, &other.boot_id) {
        // Ignore the host names, because a container can have a different host name than its host.
        (Some(one), Some(other)) if one == other => Ok(Relation::SameBoot),
        (Some(_), Some(_)) if is_one_host => Err(Incomparable::OtherBoot),
        (Some(_), Some(_)) => Err(Incomparable::OtherHost),
        _ => Ok(Relation::BootUnknown),
    }
}

/// Decides whether two processes with the same PID are the same process.
///
/// Compares their start times, and their PIDs in inner namespaces.
fn same_lifetime(before: &Process, after: &Process) -> Sameness {
    let is_known = !before.nspid.is_empty() && !after.nspid.is_empty();
    if is_known && before.nspid != after.nspid {
        return Sameness::Other;
    }
    match (before.start_time, after.start_time) {
        (Some(before), Some(after)) => Sameness::exactly(before == after),
        _ => Sameness::Weak,
    }
}

/// Returns the process state, or `R` for a state that changes frequently.
fn phase(process: &Process) -> char {
    match process.state {
        _ if process.is_unreaped() => 'Z',
        _ if process.has_exited_leader() => 'L',
        stopped @ ('T' | 't') => stopped,
        // Processes switch between running, sleeping and waiting all the time.
        _ => 'R',
    }
}
