//! From a discovery to a snapshot. Nothing here reads a file: what a
//! discovery, the pinned namespaces and the questions of [`Source`] do not
//! tell is unknown here.
//!
//! - `describe` what the kernel says of each namespace
//! - `infer` places what may not be read
//! - `containers` cgroups to containers
//! - `vanished` leaves out what went away meanwhile
//! - `state` live, dead or nascent
//! - `blockers` what keeps a terminated init from going
//! - `users` names of users

mod blockers;
pub mod containers;
mod describe;
mod infer;
mod state;
mod users;
mod vanished;

use std::collections::{BTreeSet, HashMap};

use super::discovery::{Discovery, Source};
use super::registry::{self, NamespaceRegistry};
use crate::model::{Holder, Namespace, NamespaceId, Pid, Process, Procfs, Snapshot};

/// Makes a snapshot of what a source has discovered, beginning at `captured_at`.
pub fn assemble(
    source: &dyn Source,
    registry: NamespaceRegistry,
    discovery: Discovery,
    captured_at: String,
) -> Snapshot {
    let Discovery { mut processes, mut log, .. } = discovery;
    let mut registered = registry.into_registered();
    let parents = registry::climb(&mut registered);
    let mut namespaces = describe::describe(&registered, &parents, &mut log);
    describe::place_inits(source, &registered, &mut processes);

    let lone = || processes.iter().find(|it| it.nspid.len() == 1 && it.namespace.is_some());
    let known = infer::Known {
        mount: discovery.procfs.namespace.or_else(|| lone()?.namespace),
        leaders: &discovery.leaders,
        terminated: &discovery.terminated,
        all_seen: !log.hides_inits(),
        is_there: &|process| source.is_there(process),
    };
    let mount = infer::infer(&mut processes, &mut namespaces, &known, &mut log);

    namespaces.sort_unstable_by_key(|namespace| namespace.id);
    attach_inits(&mut namespaces, &processes, &discovery.cgroups);
    attach_holders(&mut namespaces, discovery.holders);
    vanished::leave_out_vanished(&mut namespaces, &processes);
    let inputs = state::StateInputs {
        source,
        mount,
        registered: &registered,
        terminated: &discovery.terminated,
    };
    state::determine_states(&mut namespaces, &inputs, &mut log);
    blockers::find_blockers(&mut namespaces, &processes);
    blockers::note_blocked_inits(&namespaces, &processes, &mut log);
    users::name_users(&mut processes, &mut namespaces);

    // How to see what was refused.
    let permission = if discovery.viewer_may_trace_all {
        "refused even to CAP_SYS_PTRACE, as a security module may do"
    } else {
        "run as root of the host, or with CAP_SYS_PTRACE, to see it"
    };
    Snapshot {
        generator: (env!("CARGO_PKG_NAME").to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        captured_at,
        host: discovery.host,
        procfs: Procfs { namespace: mount, ..discovery.procfs },
        searched: discovery.searched,
        details: BTreeSet::new(),
        selected: Vec::new(),
        complete: log.is_complete(),
        namespaces,
        processes,
        diagnostics: log.into_diagnostics(permission),
    }
}

/// The place of a namespace among those sorted by ID.
fn index(namespaces: &[Namespace], id: NamespaceId) -> Option<usize> {
    namespaces.binary_search_by_key(&id, |namespace| namespace.id).ok()
}

/// Tells every namespace its init, and the container that the init is in.
fn attach_inits(
    namespaces: &mut [Namespace],
    processes: &[Process],
    cgroups: &HashMap<Pid, Vec<u8>>,
) {
    for init in processes.iter().filter(|it| it.nspid.last() == Some(&Pid::INIT)) {
        let Some(index) = init.namespace.and_then(|id| index(namespaces, id)) else { continue };
        let cgroup = cgroups.get(&init.pid);
        namespaces[index].init = Some(init.pid);
        namespaces[index].container = cgroup.and_then(|bytes| containers::of_cgroups(bytes));
    }
}

/// Tells every namespace its holders, sorted and each once: threads share
/// descriptors, and a chroot shows some mounts again.
fn attach_holders(namespaces: &mut [Namespace], holders: Vec<(u64, Holder)>) {
    for (inode, holder) in holders {
        if let Some(index) = index(namespaces, NamespaceId::Inode(inode)) {
            namespaces[index].holders.push(holder);
        }
    }
    for namespace in namespaces {
        namespace.holders.sort_unstable();
        namespace.holders.dedup();
    }
}
