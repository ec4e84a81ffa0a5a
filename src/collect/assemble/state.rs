//! Proves whether each namespace is live, dead or nascent. Without a proof, its state is unknown.
//!
//! A namespace has one init in its lifetime. Once the init has terminated, the namespace is dead:
//! the kernel assigns no PID in it any more (`zap_pid_ns_processes`). A descendant of a dead
//! namespace can be live: if it was created before and is entered from outside (setns(2)), it still
//! gets its init. So each namespace is judged by its own init only.
//!
//! If the init was listed in /proc, that decides: it was found living, or all its threads were
//! exiting, which is irreversible. If it was not listed, it need not be gone: it may be hidden, or
//! it was born after /proc was listed. So two questions are asked, in this order:
//!
//! 1. Has the namespace ever had an init?
//! 2. Does it have one now? If it has none now and had one before, the init is gone for good, and
//!    the namespace is dead.
//!
//! In the other order, an init born between the two questions would look like one that is gone.

use std::collections::{HashMap, HashSet};

use crate::collect::discovery::{FollowUp, INITIAL_PID_NAMESPACE, InitNow, ListedInit};
use crate::collect::log::DiagnosticLog;
use crate::collect::registry::{InitHistory, Registered};
use crate::model::{DiagnosticCode, Lineage, Namespace, NamespaceId, NamespaceState, Pid, Process};

/// The facts that the proofs use.
pub struct StateInputs<'a> {
    /// Answers what the discovery leaves open.
    pub source: &'a dyn FollowUp,
    /// The procfs's own namespace.
    pub mount: Option<NamespaceId>,
    /// All namespaces met, by inode.
    pub registered: &'a HashMap<u64, Registered>,
    /// The processes, sorted by PID.
    pub processes: &'a [Process],
    /// Terminated inits.
    pub terminated: &'a HashSet<Pid>,
    /// Inits for which the source could not tell whether they have terminated.
    pub undecided: &'a HashSet<Pid>,
}

/// Sets the state of every namespace. `init` of each must be filled in. `hides_inits` says whether
/// this procfs may have inits that it does not show as such.
///
/// Returns the dead namespaces whose init is gone. The kernel keeps an init until every other
/// process of its namespace is reaped, so these namespaces have no members left.
pub fn determine_states(
    namespaces: &mut [Namespace],
    inputs: &StateInputs<'_>,
    hides_inits: bool,
) -> HashSet<NamespaceId> {
    let mut open = Vec::new();
    for (index, namespace) in namespaces.iter_mut().enumerate() {
        namespace.state = match namespace.init {
            Some(init) if inputs.terminated.contains(&init) => NamespaceState::Dead,
            Some(init) if inputs.undecided.contains(&init) => NamespaceState::Unknown,
            Some(_) => NamespaceState::Live,
            None => {
                open.push(index);
                NamespaceState::Unknown
            }
        };
    }
    if open.is_empty() {
        return HashSet::new();
    }
    prove(namespaces, &open, inputs, hides_inits)
}

/// Reports every namespace whose state is unknown.
pub fn note_unproved(namespaces: &[Namespace], log: &mut DiagnosticLog) {
    for namespace in namespaces.iter().filter(|it| it.state == NamespaceState::Unknown) {
        let message = format!("cannot prove whether the init of {} lives", namespace.id);
        log.note_as(DiagnosticCode::StateUnproved, message, None);
    }
}

/// Sets the states of the namespaces at the indices `open`, whose inits were not listed. Returns
/// the dead ones.
fn prove(
    namespaces: &mut [Namespace],
    open: &[usize],
    inputs: &StateInputs<'_>,
    hides_inits: bool,
) -> HashSet<NamespaceId> {
    let lineage = Lineage::new(namespaces);
    let registered = |index: usize| inputs.registered.get(&namespaces[index].id.inode()?);
    // The first question for all namespaces before the second for any of them, so that one new
    // listing of /proc can answer the second question for all.
    let had: Vec<_> = open.iter().map(|&at| had_init(registered(at), inputs.source)).collect();
    let now = |&at: &usize| {
        let fd = registered(at).and_then(|registered| registered.fd.as_ref());
        fd.map_or(InitNow::Unknown, |fd| inputs.source.init_now(fd))
    };
    let mut now: Vec<_> = open.iter().map(now).collect();
    let may_be_listed = |at: usize| namespaces[at].id.inode().is_some();
    if open.iter().zip(&now).any(|(&at, &now)| now == InitNow::Unknown && may_be_listed(at)) {
        let listing = InitListing {
            inits: inputs.source.list_inits().ok(),
            shows_all: !hides_inits,
            lineage: &lineage,
            inputs,
        };
        for (&at, now) in open.iter().zip(&mut now).filter(|(_, now)| **now == InitNow::Unknown) {
            *now = listing.init_of(namespaces[at].id);
        }
    }
    let mut without_init = HashMap::new();
    for ((&at, had), now) in open.iter().zip(had).zip(now) {
        let namespace = &mut namespaces[at];
        namespace.state = conclude(had, now);
        if namespace.state == NamespaceState::Dead && now == InitNow::Absent {
            without_init.insert(namespace.id, at);
        }
    }
    doubt_namespaces_with_members(namespaces, &mut without_init, inputs);
    without_init.into_keys().collect()
}

/// Returns `true` if a namespace has ever had an init; `None` if unknown.
fn had_init(registered: Option<&Registered>, source: &dyn FollowUp) -> Option<bool> {
    let registered = registered?;
    if registered.init_history == InitHistory::Existed {
        return Some(true);
    }
    // Even if it had none when it was met, one may have come and gone since.
    let answer = registered.fd.as_ref().and_then(|fd| source.had_init(fd));
    answer.or((registered.init_history == InitHistory::NoneYet).then_some(false))
}

/// The state that follows from the answers to both questions.
fn conclude(had: Option<bool>, now: InitNow) -> NamespaceState {
    match (had, now) {
        (_, InitNow::Living) => NamespaceState::Live,
        (_, InitNow::Terminated) | (Some(true), InitNow::Absent) => NamespaceState::Dead,
        (Some(false), InitNow::Absent | InitNow::Unknown) => NamespaceState::Nascent,
        (None, InitNow::Absent) | (None | Some(true), InitNow::Unknown) => NamespaceState::Unknown,
    }
}

/// The inits that a second listing of /proc has found.
struct InitListing<'a> {
    /// `None` if the listing failed.
    inits: Option<Vec<ListedInit>>,
    /// `true` if this procfs shows every init as one.
    shows_all: bool,
    lineage: &'a Lineage,
    inputs: &'a StateInputs<'a>,
}

impl InitListing<'_> {
    /// The state of a namespace's init.
    fn init_of(&self, id: NamespaceId) -> InitNow {
        let Some(inits) = &self.inits else { return InitNow::Unknown };
        if let Some(init) = inits.iter().find(|it| it.namespace == id.inode()) {
            return init.now;
        }
        if self.shows_all && self.shows(id) && !inits.iter().any(|it| self.may_be_init(it, id)) {
            InitNow::Absent
        } else {
            InitNow::Unknown
        }
    }

    /// Returns `true` if the init of this namespace would be listed: the namespace is below the
    /// procfs's own.
    fn shows(&self, id: NamespaceId) -> bool {
        let Some(mount) = self.inputs.mount.filter(|&mount| mount != id) else { return false };
        mount == NamespaceId::Inode(INITIAL_PID_NAMESPACE) || self.lineage.is_within(id, mount)
    }

    /// Returns `true` if a listed init whose namespace is unknown may be the init of this one.
    fn may_be_init(&self, init: &ListedInit, id: NamespaceId) -> bool {
        if init.namespace.is_some() {
            return false;
        }
        let level = self.lineage.climb(id).position(|it| Some(it) == self.inputs.mount);
        if level.is_some_and(|level| level + 1 != init.nspid.len()) {
            return false;
        }
        // Its namespace may have been inferred.
        let placed = init.nspid.first().and_then(|pid| self.process(*pid));
        let placed = placed.filter(|it| it.nspid == init.nspid).and_then(|it| it.namespace);
        placed.is_none_or(|placed| placed == id)
    }

    fn process(&self, pid: Pid) -> Option<&Process> {
        let index = self.inputs.processes.binary_search_by_key(&pid, |it| it.pid).ok()?;
        self.inputs.processes.get(index)
    }
}

/// Sets a dead namespace to unknown if a member still exists. The kernel would have kept the init
/// then, so one of the two is wrong: the member may have been placed by inference, or the init may
/// be hidden.
fn doubt_namespaces_with_members(
    namespaces: &mut [Namespace],
    without_init: &mut HashMap<NamespaceId, usize>,
    inputs: &StateInputs<'_>,
) {
    for process in inputs.processes {
        if without_init.is_empty() {
            return;
        }
        let Some(id) = process.namespace else { continue };
        if let Some(&at) = without_init.get(&id)
            && inputs.source.is_there(process)
        {
            namespaces[at].state = NamespaceState::Unknown;
            without_init.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests;
