//! The states that `pidns check` does not report, because they probably end soon.

use std::collections::BTreeSet;

use crate::model::{NamespaceId, Pid};

/// The processes and namespaces whose states are not reported as problems (see
/// [`Transients`](super::Transients)).
#[derive(Clone, Debug, Default)]
pub struct Unsettled {
    /// Processes whose state is probably transient, that SIGKILL can still terminate, or whose
    /// leader thread alone is stopped.
    pub processes: BTreeSet<Pid>,
    /// Dead namespaces that were not yet dead in the first scan.
    pub dead: BTreeSet<NamespaceId>,
    /// Namespaces whose init waits for other processes, but did not in the first scan.
    pub blocked: BTreeSet<NamespaceId>,
}
