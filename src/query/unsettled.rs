//! The states that `pidns check` does not report, because they probably end soon.

use std::collections::BTreeSet;

use crate::model::{NamespaceId, Pid};

/// The processes and namespaces whose states are not reported as problems (see
/// [`Transients`](super::Transients)).
#[derive(Clone, Debug, Default)]
pub struct Unsettled {
    /// Processes in a state that is probably transient, processes that SIGKILL can still terminate,
    /// and processes in which only the leader thread is stopped.
    pub processes: BTreeSet<Pid>,
    /// Dead namespaces that were not yet dead in the first scan.
    pub dead: BTreeSet<NamespaceId>,
    /// Namespaces whose init waits for other processes, but did not yet wait in the first scan.
    pub blocked: BTreeSet<NamespaceId>,
}
