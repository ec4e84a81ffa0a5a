//! Finds namespaces that still exist in the kernel although a scan no longer finds them. Such a
//! namespace is kept alive by a pidfd, a socket, or a descriptor in an unreceived socket message
//! (`SCM_RIGHTS`).

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use crate::collect::kernel::nsfs;
use crate::model::{Namespace, NamespaceId};

/// Time within which the kernel normally frees an unused namespace. A namespace that still exists
/// after this time is considered to be in use.
pub const FREEING: Duration = Duration::from_millis(200);

/// Returns the namespaces that still exist in the kernel. All `namespaces` must come from scans
/// since the last boot.
///
/// The check needs Linux 6.18, and `CAP_SYS_ADMIN` in the user namespaces that own the namespaces.
/// Since Linux 6.19, a namespace is found only if it is kept alive by a descriptor that refers to
/// the namespace itself, for example a descriptor in an unreceived socket message.
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
