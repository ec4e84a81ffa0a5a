//! What a scan of /proc looks for, and where.

use std::collections::{BTreeSet, HashMap};

use super::mount::Procfs;
use crate::collect::registry::NamespaceRegistry;
use crate::model::{Detail, NamespaceId, Pid, SearchScope};

/// What the threads of a walk share.
#[derive(Clone, Copy)]
pub struct Scan<'a> {
    /// The /proc to read.
    pub procfs: &'a Procfs,
    /// The namespace whose numbers it speaks in, pinned, where that is known beforehand.
    pub namespace: Option<NamespaceId>,
    /// Where to look for namespaces; every process's own is always read.
    pub search: &'a BTreeSet<SearchScope>,
    /// What to read of every process beside what always is.
    pub details: &'a BTreeSet<Detail>,
    /// The namespaces met.
    pub registry: &'a NamespaceRegistry,
    /// Processes whose descriptors need not be searched, as somebody has seen
    /// that none of them is of a namespace, with their start times.
    pub none_open: Option<&'a HashMap<Pid, u64>>,
}

/// Whether anything but a process's own namespace is searched.
pub fn searches_holders(search: &BTreeSet<SearchScope>) -> bool {
    search.iter().any(|&scope| scope != SearchScope::Processes)
}
