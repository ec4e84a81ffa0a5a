//! Determines whether each namespace is live, dead or nascent (without any init so far).
//!
//! A namespace has at most one init in its lifetime. Once the init has terminated, the kernel
//! assigns no more PIDs, so the namespace is dead (`zap_pid_ns_processes`).
//!
//! A descendant of a dead namespace can be live. A process from outside can enter the descendant
//! (setns(2)) and start its init.
//!
//! If the scan did not find an init, the init may be hidden or new. So pidns asks two questions:
//!
//! 1. Has the namespace ever had an init?
//! 2. Does the namespace have an init now?

use std::collections::{HashMap, HashSet};

use crate::collect::discovery::{FollowUp, INITIAL_PID_NAMESPACE, InitNow, ListedInit};
use crate::collect::log::DiagnosticLog;
use crate::collect::registry::{InitHistory, Registered};
use crate::model::{DiagnosticCode, Lineage, Namespace, NamespaceId, NamespaceState, Pid, Process};

/// The facts that [`determine_states`] uses, besides the namespaces themselves.
pub struct StateInputs<'a> {
    /// Answers questions about processes and namespaces after the scan.
    pub source: &'a dyn FollowUp,
    /// The PID namespace that the procfs shows.
    pub mount: Option<NamespaceId>,
    /// All discovered namespaces, keyed by inode.
    pub registered: &'a HashMap<u64, Registered>,
    /// The processes, sorted by PID.
    pub processes: &'a [Process],
    /// The PIDs of terminated inits.
    pub terminated: &'a HashSet<Pid>,
    /// The PIDs of inits that may have terminated.
    pub undecided: &'a HashSet<Pid>,
}

/// Sets the state of every namespace, and returns the dead namespaces without an init.
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

/// Adds a diagnostic for every namespace whose state is unknown.
pub fn note_unproved(namespaces: &[Namespace], log: &mut DiagnosticLog) {
    for namespace in namespaces.iter().filter(|it| it.state == NamespaceState::Unknown) {
        let message = format!("cannot prove whether the init of {} lives", namespace.id);
        log.note_as(DiagnosticCode::StateUnproved, message, None);
    }
}

/// Sets the states of the namespaces that have no known init. `open` contains their indices.
///
/// Returns the dead namespaces without an init.
fn prove(
    namespaces: &mut [Namespace],
    open: &[usize],
    inputs: &StateInputs<'_>,
    hides_inits: bool,
) -> HashSet<NamespaceId> {
    let lineage = Lineage::new(namespaces);
    let registered = |index: usize| inputs.registered.get(&namespaces[index].id.inode()?);
    // Check for a past init before checking for a current init. In the reverse order, an init that
    // starts between the two checks would look like a past init that is gone.
    let had: Vec<_> = open.iter().map(|&at| had_init(registered(at), inputs.source)).collect();
    let now = |&at: &usize| {
        let fd = registered(at).and_then(|registered| registered.fd.as_ref());
        fd.map_or(InitNow::Unknown, |fd| inputs.source.init_now(fd))
    };
    let mut now: Vec<_> = open.iter().map(now).collect();
    let may_be_listed = |at: usize| namespaces[at].id.inode().is_some();
    // If it is still unknown whether a namespace has an init now, list /proc once more. One listing
    // is enough for all of these namespaces.
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
        // An init outlives all other members, so this namespace has no members.
        if namespace.state == NamespaceState::Dead && now == InitNow::Absent {
            without_init.insert(namespace.id, at);
        }
    }
    doubt_namespaces_with_members(namespaces, &mut without_init, inputs);
    without_init.into_keys().collect()
}

/// Returns `true` if a namespace has ever had an init, or `None` if unknown.
fn had_init(registered: Option<&Registered>, source: &dyn FollowUp) -> Option<bool> {
    let registered = registered?;
    if registered.init_history == InitHistory::Existed {
        return Some(true);
    }
    // An init may have started and ended since the namespace was discovered, so ask again.
    let answer = registered.fd.as_ref().and_then(|fd| source.had_init(fd));
    answer.or((registered.init_history == InitHistory::NoneYet).then_some(false))
}

/// Derives the state of a namespace from whether it ever had an init (`had`) and whether it has one
/// now (`now`).
fn conclude(had: Option<bool>, now: InitNow) -> NamespaceState {
    match (had, now) {
        (_, InitNow::Living) => NamespaceState::Live,
        (_, InitNow::Terminated) | (Some(true), InitNow::Absent) => NamespaceState::Dead,
        (Some(false), InitNow::Absent | InitNow::Unknown) => NamespaceState::Nascent,
        (None, InitNow::Absent) | (None | Some(true), InitNow::Unknown) => NamespaceState::Unknown,
    }
}

/// The inits found by a second listing of /proc.
struct InitListing<'a> {
    /// The listed inits, unless the listing failed.
    inits: Option<Vec<ListedInit>>,
    /// `false` if the listing may have missed an init.
    shows_all: bool,
    lineage: &'a Lineage,
    inputs: &'a StateInputs<'a>,
}

impl InitListing<'_> {
    /// Returns the state of a namespace's init, as found by the second listing of /proc.
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

    /// Returns `true` if the namespace is known to be below the namespace that the procfs shows.
    fn shows(&self, id: NamespaceId) -> bool {
        let Some(mount) = self.inputs.mount.filter(|&mount| mount != id) else { return false };
        mount == NamespaceId::Inode(INITIAL_PID_NAMESPACE) || self.lineage.is_within(id, mount)
    }

    /// Returns `true` if an init with an unknown namespace may be the init of namespace `id`.
    fn may_be_init(&self, init: &ListedInit, id: NamespaceId) -> bool {
        if init.namespace.is_some() {
            return false;
        }
        let level = self.lineage.climb(id).position(|it| Some(it) == self.inputs.mount);
        if level.is_some_and(|level| level + 1 != init.nspid.len()) {
            return false;
        }
        // An init whose namespace was inferred cannot be the init of another namespace.
        let placed = init.nspid.first().and_then(|pid| self.process(*pid));
        let placed = placed.filter(|it| it.nspid == init.nspid).and_then(|it| it.namespace);
        placed.is_none_or(|placed| placed == id)
    }

    fn process(&self, pid: Pid) -> Option<&Process> {
        let index = self.inputs.processes.binary_search_by_key(&pid, |it| it.pid).ok()?;
        self.inputs.processes.get(index)
    }
}

/// Sets the state to unknown for each namespace in `without_init` that has a living member, and
/// removes the namespace from `without_init`.
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
            // A namespace without a visible init has members. Its init may be hidden, or pidns has
            // inferred the namespace of a member incorrectly.
            namespaces[at].state = NamespaceState::Unknown;
            without_init.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests;
