//! The states that `pidns check` does not report, because they probably end soon.

use std::collections::BTreeSet;

use crate::model::{NamespaceId, Pid};

/// The processes and namespaces whose states are not reported as problems (see
/// [`Transients`](super::Transients)).
#[derive(Clone, Debug, Default)]
pub struct Unsettled {
    /// Processes whose state is probably transient, that SIGKILL would still terminate, or of which
    /// only the leader thread is stopped.
    pub processes: BTreeSet<Pid>,
    /// Namespaces that were not dead yet in the first scan.
    pub dead: BTreeSet<NamespaceId>,
    /// Namespaces whose inits did not wait for other processes in the first scan.
    pub blocked: BTreeSet<NamespaceId>,
}
