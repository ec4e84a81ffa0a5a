//! Leaves out namespaces that went away during the scan. What is left of them
//! is known before; nothing is asked here.

use std::collections::HashSet;

use crate::model::{Lineage, Namespace, Process};

/// Leaves out namespaces without a member, a holder, or a namespace below that
/// has one. Whatever led to them has vanished during the scan, and only
/// pidns's own descriptor still keeps them alive.
pub fn leave_out_vanished(namespaces: &mut Vec<Namespace>, processes: &[Process]) {
    let is_unheld = |it: &&Namespace| it.init.is_none() && it.holders.is_empty();
    let mut vanished: HashSet<_> = namespaces.iter().filter(is_unheld).map(|it| it.id).collect();
    if vanished.is_empty() {
        return;
    }
    for id in processes.iter().filter_map(|process| process.namespace) {
        vanished.remove(&id);
    }
    let lineage = Lineage::new(namespaces);
    for namespace in namespaces.iter() {
        if vanished.contains(&namespace.id) {
            continue;
        }
        for above in lineage.climb(namespace.id) {
            vanished.remove(&above);
        }
    }
    namespaces.retain(|namespace| !vanished.contains(&namespace.id));
}
