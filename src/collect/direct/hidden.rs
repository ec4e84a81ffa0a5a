//! Finds namespaces that still exist although a scan no longer finds them.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use crate::collect::kernel::nsfs;
use crate::model::{Namespace, NamespaceId};

/// Time within which the kernel normally frees an unused namespace.
pub const FREEING: Duration = Duration::from_millis(200);

/// Returns the namespaces that still exist in the kernel. All `namespaces` must come from scans
/// since the last boot.
///
/// Needs Linux 6.18, and `CAP_SYS_ADMIN` in the user namespaces that own the namespaces. Since
/// Linux 6.19, a namespace is found only if a descriptor refers to it. A descriptor in an unread
/// socket message (`SCM_RIGHTS`) is sufficient.
#[must_use]
pub fn still_in_kernel<'a>(
    namespaces: impl IntoIterator<Item = &'a Namespace>,
) -> BTreeSet<NamespaceId> {
    let mut found: Vec<_> = namespaces.into_iter().filter(|it| exists(it)).collect();
    if !found.is_empty() {
        thread::sleep(FREEING);
        found.retain(|it| exists(it));
    }
    found.into_iter().map(|namespace| namespace.id).collect()
}

/// Returns `true` if the namespace can be opened by its 64-bit ID, which is never reused.
fn exists(namespace: &Namespace) -> bool {
    let Some((ns_id, inode)) = namespace.ns_id.zip(namespace.id.inode()) else { return false };
    nsfs::open_by_handle(ns_id, inode).and_then(|it| it.ns_id()) == Ok(ns_id)
}
