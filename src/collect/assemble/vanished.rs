//! Removes namespaces and processes that vanished during the scan.

use std::collections::HashSet;

use crate::model::{Lineage, Namespace, NamespaceId, Process};

/// Removes namespaces that only pidns's own descriptors keep alive.
///
/// Keeps the namespaces that were found in kernel memory, because they are in use. `in_kernel`
/// contains the inodes of these namespaces.
pub fn leave_out_vanished(
    namespaces: &mut Vec<Namespace>,
    processes: &[Process],
    in_kernel: &HashSet<u64>,
) {
    let is_unheld = |it: &&Namespace| {
        it.init.is_none()
            && it.holders.is_empty()
            && it.id.inode().is_none_or(|inode| !in_kernel.contains(&inode))
    };
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
        // A namespace keeps its ancestors alive.
        for above in lineage.climb(namespace.id) {
            vanished.remove(&above);
        }
    }
    namespaces.retain(|namespace| !vanished.contains(&namespace.id));
}

/// Removes all processes of namespaces that lost their last member during the scan.
pub fn leave_out_members(
    without_members: &HashSet<NamespaceId>,
    namespaces: &mut Vec<Namespace>,
    processes: &mut Vec<Process>,
    in_kernel: &HashSet<u64>,
) {
    if without_members.is_empty() {
        return;
    }
    let mut vanished = HashSet::new();
    processes.retain(|process| {
        let is_left = process.namespace.is_none_or(|id| !without_members.contains(&id));
        if !is_left {
            vanished.insert(process.pid);
        }
        is_left
    });
    if vanished.is_empty() {
        return;
    }
    for namespace in namespaces.iter_mut() {
        namespace.holders.retain(|it| it.pid().is_none_or(|pid| !vanished.contains(&pid)));
    }
    leave_out_vanished(namespaces, processes, in_kernel);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Holder, NamespaceId, Pid};
    use crate::testing::{namespace, process};

    /// A namespace in a random tree of namespaces.
    #[derive(Clone, Debug)]
    struct Node {
        /// The index of the parent, which is lower than the index of this namespace.
        parent: Option<u64>,
        has_init: bool,
        is_held: bool,
        has_member: bool,
        is_in_kernel: bool,
    }

    fn nodes() -> impl Strategy<Value = Vec<Node>> {
        proptest::collection::vec(any::<(u8, u16)>(), 1..16).prop_map(|all| {
            let node = |(at, (parent, reasons)): (u64, (u8, u16))| Node {
                // The first namespace and about a quarter of the others are roots.
                parent: (parent % 4 != 0 && at > 0).then(|| u64::from(parent / 4) % at),
                has_init: reasons % 8 == 0,
                is_held: reasons / 8 % 8 == 0,
                has_member: reasons / 64 % 4 == 0,
                is_in_kernel: reasons / 256 % 8 == 0,
            };
            (0..).zip(all).map(node).collect()
        })
    }

    /// Returns the namespaces that are kept alive, and all of their ancestors.
    fn shown(nodes: &[Node]) -> BTreeSet<NamespaceId> {
        let numbered = || (0..).zip(nodes);
        let has_reason =
            |node: &Node| node.has_init || node.is_held || node.has_member || node.is_in_kernel;
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

    #[test]
    fn vanished_members_are_removed_with_their_holders_and_namespaces() {
        let pid = |raw| Pid::new(raw).unwrap();
        let fd = |raw| Holder::Fd { pid: pid(raw), comm: None, fd: 3 };
        let mut namespaces = vec![namespace(1, None), namespace(2, Some(1)), namespace(3, Some(1))];
        namespaces.push(namespace(4, Some(1)));
        namespaces[0].init = Some(Pid::INIT);
        // Process 7 is in namespace 2 and holds namespaces 3 and 4.
        namespaces[2].holders = vec![fd(7)];
        namespaces[3].holders = vec![fd(5), fd(7)];
        let mut processes = vec![process(&[5], Some(1)), process(&[7, 2], Some(2))];
        let without_members = [2, 4].map(NamespaceId::Inode).into();
        leave_out_members(&without_members, &mut namespaces, &mut processes, &HashSet::new());
        assert_eq!(processes, [process(&[5], Some(1))]);
        let ids: Vec<_> = namespaces.iter().map(|it| it.id).collect();
        assert_eq!(ids, [1, 4].map(NamespaceId::Inode));
        assert_eq!(namespaces[1].holders, [fd(5)]);
    }

    proptest! {
        #[test]
        fn removes_only_namespaces_that_nothing_keeps_alive(nodes in nodes()) {
            let mut namespaces = Vec::new();
            let (mut processes, mut in_kernel) = (Vec::new(), HashSet::new());
            for (at, node) in (0..).zip(&nodes) {
                let mut namespace = namespace(at, node.parent);
                namespace.init = node.has_init.then_some(Pid::INIT);
                if node.is_held {
                    namespace.holders = vec![Holder::Fd { pid: Pid::INIT, comm: None, fd: 3 }];
                }
                if node.is_in_kernel {
                    in_kernel.insert(at);
                }
                if node.has_member {
                    processes.push(process(&[7, 2], Some(at)));
                }
                namespaces.push(namespace);
            }
            let before = namespaces.clone();
            leave_out_vanished(&mut namespaces, &processes, &in_kernel);
            let shown = shown(&nodes);
            let expected: Vec<_> =
                before.into_iter().filter(|it| shown.contains(&it.id)).collect();
            prop_assert_eq!(namespaces, expected);
        }
    }
}
