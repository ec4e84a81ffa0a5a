//! Which namespace was made in which.

use std::collections::HashMap;
use std::iter::successors;

use super::{Namespace, NamespaceId};

/// The parent of every namespace that has one, to climb from any of them.
///
/// A snapshot's parents never form a circle: the kernel nests namespaces at
/// most [`MAX_LEVEL`](super::MAX_LEVEL) deep, and a document whose parents do
/// not come before their children is refused when it is read.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    parents: HashMap<NamespaceId, NamespaceId>,
}

impl Lineage {
    /// The parents that these namespaces name.
    #[must_use]
    pub fn new(namespaces: &[Namespace]) -> Self {
        let parents = namespaces.iter().filter_map(|it| Some((it.id, it.parent?))).collect();
        Self { parents }
    }

    /// A namespace and its ancestors, innermost first.
    pub fn climb(&self, id: NamespaceId) -> impl Iterator<Item = NamespaceId> {
        successors(Some(id), |id| self.parents.get(id).copied())
    }

    /// Whether a namespace is `above` itself or nested in it.
    #[must_use]
    pub fn is_within(&self, id: NamespaceId, above: NamespaceId) -> bool {
        self.climb(id).any(|ancestor| ancestor == above)
    }
}

#[cfg(test)]
mod tests {
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
}
