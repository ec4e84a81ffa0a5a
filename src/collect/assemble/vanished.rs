//! Namespaces that went away while they were looked at.

use std::collections::HashSet;

use crate::model::{Lineage, Namespace, Process};

/// Leaves out namespaces that nothing leads to any more, as whoever did has
/// vanished since: only pidns itself holds them.
pub fn leave_out_vanished(namespaces: &mut Vec<Namespace>, processes: &[Process]) {
    let alone = |it: &&Namespace| it.init.is_none() && it.holders.is_empty();
    let mut vanished: HashSet<_> = namespaces.iter().filter(alone).map(|it| it.id).collect();
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
