//! Namespaces that no scan shows any more, and that are in the kernel all the
//! same: kept by a descriptor in flight, a pidfd, a socket or the like.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use crate::collect::kernel::nsfs;
use crate::model::{Namespace, NamespaceId};

/// How long the kernel may take to free a namespace whose last user has gone.
pub const FREEING: Duration = Duration::from_millis(200);

/// Those of these namespaces, which a scan of this boot has shown, that are
/// still in the kernel, as far as it says so: since Linux 6.18, with permission
/// (`CAP_SYS_ADMIN` in the user namespaces that own them), and since Linux 6.19
/// only of those that a descriptor of theirs keeps, such as one in flight.
#[must_use]
pub fn still_in_kernel<'a>(
    namespaces: impl IntoIterator<Item = &'a Namespace>,
) -> BTreeSet<NamespaceId> {
    let mut found: Vec<_> = namespaces.into_iter().filter(|it| is_there(it)).collect();
    if !found.is_empty() {
        thread::sleep(FREEING);
        found.retain(|it| is_there(it));
    }
    found.into_iter().map(|namespace| namespace.id).collect()
}

/// Whether it can be opened by its number, which is never given to another.
fn is_there(namespace: &Namespace) -> bool {
    let opened = |(ns_id, inode)| nsfs::open_by_handle(ns_id, inode).and_then(|it| it.ns_id());
    let name = namespace.ns_id.zip(namespace.id.inode());
    name.is_some_and(|name| opened(name) == Ok(name.0))
}
