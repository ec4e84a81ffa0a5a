//! Whether a namespace is live, dead or nascent, by proof. Why a dead one does
//! not go is not decided here.
//!
//! A namespace is dead once its init has terminated: from then on the kernel
//! gives out no PID in it (`zap_pid_ns_processes`). Three cases look different
//! from outside:
//!
//! - The init is listed, and all of its threads have `PF_EXITING`: it is a
//!   zombie that has not been reaped yet, or (not a zombie) it still waits for
//!   the last members of the namespace to be reaped.
//! - The init is not listed, though this /proc shows every process of the
//!   namespace, and the namespace is known to have had an init.
//! - The init is not listed, and nothing says whether the namespace ever had
//!   one. The source may be able to find that out.

use std::collections::{HashMap, HashSet};

use rustix::io::Errno;

use crate::collect::discovery::Source;
use crate::collect::log::DiagnosticLog;
use crate::collect::registry::{InitHistory, Registered};
use crate::model::{DiagnosticCode, Lineage, Namespace, NamespaceId, NamespaceState, Pid};

/// Inode of the initial PID namespace (`PROC_PID_INIT_INO` of the kernel,
/// fixed since Linux 3.8): a /proc of it shows every process.
const INITIAL: NamespaceId = NamespaceId::Inode(0xEFFF_FFFC);

/// What the proofs are made from.
pub struct StateInputs<'a> {
    /// The source, which is asked where the discovery does not tell.
    pub source: &'a dyn Source,
    /// The namespace of the /proc whose numbers the processes are in.
    pub mount: Option<NamespaceId>,
    /// The namespaces met, by inode.
    pub registered: &'a HashMap<u64, Registered>,
    /// Inits that have terminated.
    pub terminated: &'a HashSet<Pid>,
}

/// Sets the state of every namespace; their inits are known.
pub fn determine_states(
    namespaces: &mut [Namespace],
    inputs: &StateInputs<'_>,
    log: &mut DiagnosticLog,
) {
    let lineage = Lineage::new(namespaces);
    let hides_inits = log.hides_inits();
    let mut live = HashSet::new();
    for namespace in namespaces.iter_mut().filter(|it| it.init.is_some()) {
        let init = namespace.init.filter(|init| inputs.terminated.contains(init));
        if init.is_some() {
            namespace.state = NamespaceState::Dead;
        } else {
            // Every ancestor lives, too: when an init terminates, the kernel
            // kills all processes in the namespaces below.
            live.extend(lineage.climb(namespace.id));
        }
    }
    live.extend(inputs.mount.into_iter().flat_map(|mount| lineage.climb(mount)));
    for namespace in namespaces.iter_mut() {
        if namespace.init.is_some() || live.contains(&namespace.id) {
            continue;
        }
        let registered = namespace.id.inode().and_then(|inode| inputs.registered.get(&inode));
        let shown = Some(INITIAL) == inputs.mount
            || inputs.mount.is_some_and(|mount| lineage.is_within(namespace.id, mount));
        match registered.map(|registered| prove(registered, shown, hides_inits, inputs.source)) {
            Some(Some(state)) => namespace.state = state,
            Some(None) => {
                let said = format!("cannot prove whether the init of {} is gone", namespace.id);
                log.note_as(DiagnosticCode::StateUnproved, said, None);
            }
            // It was inferred, so it has members, and diagnostics tell of it.
            None => {}
        }
    }
}

/// The state of a namespace whose init is not listed; `None` without a proof.
fn prove(
    registered: &Registered,
    shown: bool,
    hides_inits: bool,
    source: &dyn Source,
) -> Option<NamespaceState> {
    let init = registered.fd.as_ref().map(|fd| source.init_of(fd));
    if matches!(init, Some(Ok(_))) {
        return Some(NamespaceState::Live);
    }
    let absent = shown && (!hides_inits || init == Some(Err(Errno::SRCH)));
    if !absent {
        return None;
    }
    match registered.init_history {
        InitHistory::Existed => Some(NamespaceState::Dead),
        // An init may have come and gone since it was met.
        InitHistory::NoneYet | InitHistory::Unknown => {
            match source.had_init(registered.fd.as_ref()?) {
                Some(true) => Some(NamespaceState::Dead),
                Some(false) => Some(NamespaceState::Nascent),
                None => (registered.init_history == InitHistory::NoneYet)
                    .then_some(NamespaceState::Nascent),
            }
        }
    }
}

#[cfg(test)]
mod tests;
