//! Looks up the ancestors of namespaces.

use std::collections::HashMap;
use std::iter::successors;

use super::{Namespace, NamespaceId};

/// Maps each namespace to its parent.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    parents: HashMap<NamespaceId, NamespaceId>,
}

impl Lineage {
    /// Creates a `Lineage` from the parents of these namespaces.
    #[must_use]
    pub fn new(namespaces: &[Namespace]) -> Self {
        let parents = namespaces.iter().filter_map(|it| Some((it.id, it.parent?))).collect();
        Self { parents }
    }

    /// Iterates over a namespace and its ancestors, innermost first.
    pub fn climb(&self, id: NamespaceId) -> impl Iterator<Item = NamespaceId> {
        // The iterator ends, because pidns rejects documents with parent cycles.
        successors(Some(id), |id| self.parents.get(id).copied())
    }

    /// Returns `true` if the namespace `id` is `ancestor` or one of its descendants.
    #[must_use]
    pub fn is_within(&self, id: NamespaceId, ancestor: NamespaceId) -> bool {
        self.climb(id).any(|it| it == ancestor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::namespace;

    fn id(inode: u64) -> NamespaceId {
        NamespaceId::Inode(inode)
    }

    #[test]
    fn ancestors_come_innermost_first() {
        let namespaces =
            [namespace(1, None), namespace(2, Some(1)), namespace(3, Some(2)), namespace(4, None)];
        let lineage = Lineage::new(&namespaces);
        assert_eq!(lineage.climb(id(3)).collect::<Vec<_>>(), [id(3), id(2), id(1)]);
        assert!(lineage.is_within(id(3), id(1)) && lineage.is_within(id(3), id(3)));
        assert!(!lineage.is_within(id(1), id(3)) && !lineage.is_within(id(3), id(4)));
    }

    proptest! {
        #[test]
        fn climbing_visits_the_same_ancestors_as_a_linear_search(
            parents in proptest::collection::vec(any::<u8>(), 1..33),
            order in any::<u64>(),
        ) {
            // Each namespace is either a root or a child of an earlier namespace.
            let node = |(at, parent): (u64, u8)| {
                namespace(at, (parent % 4 != 0 && at > 0).then(|| u64::from(parent) % at))
            };
            let mut namespaces: Vec<_> = (0..).zip(parents).map(node).collect();
            namespaces.sort_by_key(|it| it.ns_id.map(|id| id ^ order));
            let lineage = Lineage::new(&namespaces);
            for from in &namespaces {
                let mut expected = vec![from.id];
                let mut at = from;
                while let Some(parent) = at.parent {
                    expected.push(parent);
                    at = namespaces.iter().find(|it| it.id == parent).unwrap();
                }
                for above in &namespaces {
                    let is_above = expected.contains(&above.id);
                    prop_assert_eq!(lineage.is_within(from.id, above.id), is_above);
                }
                prop_assert_eq!(lineage.climb(from.id).collect::<Vec<_>>(), expected);
            }
        }
    }
}
