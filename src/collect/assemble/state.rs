//! Whether a namespace is live, dead or nascent, by proof; what cannot be
//! proved is unknown. Why a dead one does not go is not decided here.
//!
//! A namespace has one init in its life, and is dead once that has terminated:
//! from then on the kernel gives out no PID in it (`zap_pid_ns_processes`). A
//! namespace below a dead one may live: one that was made before and is
//! entered from outside (`setns(2)`) gets its init all the same. So each is
//! judged by its own init.
//!
//! An init that was listed decides: it was seen to live, or all of its threads
//! to be exiting, for ever. One that was not listed need not be gone: it may
//! have been born after /proc was listed, or be hidden. So of such a namespace
//!
//! 1. it is asked first whether it ever had an init, and
//! 2. last whether it has one now. If it has none although it had one before,
//!    that has gone, and no other can come.

use std::collections::{HashMap, HashSet};

use crate::collect::discovery::{INITIAL_PID_NAMESPACE, InitNow, ListedInit, Source};
use crate::collect::log::DiagnosticLog;
use crate::collect::registry::{InitHistory, Registered};
use crate::model::{DiagnosticCode, Lineage, Namespace, NamespaceId, NamespaceState, Pid, Process};

/// What the proofs are made from.
pub struct StateInputs<'a> {
    /// The source, which is asked where the discovery does not tell.
    pub source: &'a dyn Source,
    /// The namespace of the /proc whose numbers the processes are in.
    pub mount: Option<NamespaceId>,
    /// The namespaces met, by inode.
    pub registered: &'a HashMap<u64, Registered>,
    /// The processes, by PID.
    pub processes: &'a [Process],
    /// Inits that have terminated.
    pub terminated: &'a HashSet<Pid>,
    /// Inits of which it could not be told whether they have.
    pub undecided: &'a HashSet<Pid>,
}

/// Sets the state of every namespace; their inits are known. `hides_inits`
/// tells whether this /proc may have inits that it does not show as such.
///
/// Returns the dead ones whose inits have gone altogether. The kernel keeps an
/// init until every other process of its namespace is reaped, so no member of
/// these is left.
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

/// Notes every namespace whose state is unknown.
pub fn note_unproved(namespaces: &[Namespace], log: &mut DiagnosticLog) {
    for namespace in namespaces.iter().filter(|it| it.state == NamespaceState::Unknown) {
        let said = format!("cannot prove whether the init of {} lives", namespace.id);
        log.note_as(DiagnosticCode::StateUnproved, said, None);
    }
}

/// Sets the states of the namespaces at `open`, whose inits were not listed;
/// returns the dead ones that have none any more.
fn prove(
    namespaces: &mut [Namespace],
    open: &[usize],
    inputs: &StateInputs<'_>,
    hides_inits: bool,
) -> HashSet<NamespaceId> {
    let lineage = Lineage::new(namespaces);
    let registered = |index: usize| inputs.registered.get(&namespaces[index].id.inode()?);
    // For all of them, before any of them is looked for: one listing then
    // serves as the last look at each.
    let had: Vec<_> = open.iter().map(|&at| had_init(registered(at), inputs.source)).collect();
    let now = |&at: &usize| {
        let fd = registered(at).and_then(|registered| registered.fd.as_ref());
        fd.map_or(InitNow::Unknown, |fd| inputs.source.init_now(fd))
    };
    let mut now: Vec<_> = open.iter().map(now).collect();
    let may_be_listed = |at: usize| namespaces[at].id.inode().is_some();
    if open.iter().zip(&now).any(|(&at, &now)| now == InitNow::Unknown && may_be_listed(at)) {
        let listing = Listing {
            inits: inputs.source.list_inits().ok(),
            is_whole: !hides_inits,
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
    doubt_those_with_members(namespaces, &mut without_init, inputs);
    without_init.into_keys().collect()
}

/// Whether a namespace has had an init; `None` where that cannot be told.
fn had_init(registered: Option<&Registered>, source: &dyn Source) -> Option<bool> {
    let registered = registered?;
    if registered.init_history == InitHistory::Existed {
        return Some(true);
    }
    // One may have come since it was met, and have gone again.
    let told = registered.fd.as_ref().and_then(|fd| source.had_init(fd));
    told.or((registered.init_history == InitHistory::NoneYet).then_some(false))
}

/// The state of a namespace by whether it had an init and, later, has one.
fn conclude(had: Option<bool>, now: InitNow) -> NamespaceState {
    match (had, now) {
        (_, InitNow::Living) => NamespaceState::Live,
        (_, InitNow::Terminated) | (Some(true), InitNow::Absent) => NamespaceState::Dead,
        (Some(false), InitNow::Absent | InitNow::Unknown) => NamespaceState::Nascent,
        (None, InitNow::Absent) | (None | Some(true), InitNow::Unknown) => NamespaceState::Unknown,
    }
}

/// The inits that a second listing of /proc found.
struct Listing<'a> {
    /// `None` where it could not be read whole.
    inits: Option<Vec<ListedInit>>,
    /// Whether /proc hides none.
    is_whole: bool,
    lineage: &'a Lineage,
    inputs: &'a StateInputs<'a>,
}

impl Listing<'_> {
    /// What the listing tells of the init of a namespace.
    fn init_of(&self, id: NamespaceId) -> InitNow {
        let Some(inits) = &self.inits else { return InitNow::Unknown };
        if let Some(init) = inits.iter().find(|it| it.namespace == id.inode()) {
            return init.now;
        }
        if self.is_whole && self.shows(id) && !inits.iter().any(|it| self.may_be_of(it, id)) {
            InitNow::Absent
        } else {
            InitNow::Unknown
        }
    }

    /// Whether the init of a namespace would be listed: those below the
    /// namespace of /proc are.
    fn shows(&self, id: NamespaceId) -> bool {
        let Some(mount) = self.inputs.mount.filter(|&mount| mount != id) else { return false };
        mount == NamespaceId::Inode(INITIAL_PID_NAMESPACE) || self.lineage.is_within(id, mount)
    }

    /// Whether an init may be that of a namespace, as its own is not known.
    fn may_be_of(&self, init: &ListedInit, id: NamespaceId) -> bool {
        if init.namespace.is_some() {
            return false;
        }
        let level = self.lineage.climb(id).position(|it| Some(it) == self.inputs.mount);
        if level.is_some_and(|level| level + 1 != init.nspid.len()) {
            return false;
        }
        // Its place may have been inferred.
        let placed = init.nspid.first().and_then(|pid| self.process(*pid));
        let placed = placed.filter(|it| it.nspid == init.nspid).and_then(|it| it.namespace);
        placed.is_none_or(|placed| placed == id)
    }

    fn process(&self, pid: Pid) -> Option<&Process> {
        let index = self.inputs.processes.binary_search_by_key(&pid, |it| it.pid).ok()?;
        self.inputs.processes.get(index)
    }
}

/// Takes back that a namespace is dead and its init gone where a member of it
/// is still there. That cannot be, so one of the two is not as it seems: the
/// member may only be inferred to be one, or the init be kept from view.
fn doubt_those_with_members(
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
