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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Holder, NamespaceId, Pid};
    use crate::testing::{namespace, process};

    /// A namespace of a random graph: its parent is one before it, if any.
    #[derive(Clone, Debug)]
    struct Node {
        parent: Option<u64>,
        has_init: bool,
        is_held: bool,
        has_member: bool,
    }

    fn nodes() -> impl Strategy<Value = Vec<Node>> {
        proptest::collection::vec(any::<(u8, u8)>(), 1..16).prop_map(|all| {
            let node = |(at, (parent, reasons)): (u64, (u8, u8))| Node {
                // One root in four, and the first.
                parent: (parent % 4 != 0 && at > 0).then(|| u64::from(parent / 4) % at),
                has_init: reasons % 8 == 0,
                is_held: reasons / 8 % 8 == 0,
                has_member: reasons / 64 == 0,
            };
            (0..).zip(all).map(node).collect()
        })
    }

    /// Those that something leads to and, over and over, their parents.
    fn shown(nodes: &[Node]) -> BTreeSet<NamespaceId> {
        let numbered = || (0..).zip(nodes);
        let has_reason = |node: &Node| node.has_init || node.is_held || node.has_member;
        let mut shown: BTreeSet<u64> =
            numbered().filter(|(_, node)| has_reason(node)).map(|(at, _)| at).collect();
        loop {
            let parents = numbered().filter(|(at, _)| shown.contains(at));
            let parents: Vec<_> = parents.filter_map(|(_, node)| node.parent).collect();
            let before = shown.len();
            shown.extend(parents);
            if shown.len() == before {
                return shown.into_iter().map(NamespaceId::Inode).collect();
            }
        }
    }

    proptest! {
        #[test]
        fn only_what_nothing_leads_to_is_left_out(nodes in nodes()) {
            let mut namespaces = Vec::new();
            let mut processes = Vec::new();
            for (at, node) in (0..).zip(&nodes) {
                let mut namespace = namespace(at, node.parent);
                namespace.init = node.has_init.then_some(Pid::INIT);
                if node.is_held {
                    namespace.holders = vec![Holder::Fd { pid: Pid::INIT, comm: None, fd: 3 }];
                }
                if node.has_member {
                    processes.push(process(&[7, 2], Some(at)));
                }
                namespaces.push(namespace);
            }
            let before = namespaces.clone();
            leave_out_vanished(&mut namespaces, &processes);
            let shown = shown(&nodes);
            let expected: Vec<_> =
                before.into_iter().filter(|it| shown.contains(&it.id)).collect();
            prop_assert_eq!(namespaces, expected);
        }
    }
}
