//! What the kernel says of every namespace met, by its open descriptor. What
//! it does not say is not concluded here.

use std::collections::HashMap;

use rustix::io::Errno;

use crate::collect::discovery::Source;
use crate::collect::log::DiagnosticLog;
use crate::collect::nsfs::NamespaceFd;
use crate::collect::registry::Registered;
use crate::model::{
    DiagnosticCode, Evidence, Namespace, NamespaceId, NamespaceState, Owner, Pid, Process,
};

/// Every namespace met, as the kernel describes it.
pub fn describe(
    registered: &HashMap<u64, Registered>,
    parents: &HashMap<u64, rustix::io::Result<u64>>,
    log: &mut DiagnosticLog,
) -> Vec<Namespace> {
    let describe = |(&inode, registered): (&u64, &Registered)| {
        let fd = registered.fd.as_ref();
        let parent = match parents.get(&inode) {
            Some(Ok(parent)) => Some(NamespaceId::Inode(*parent)),
            // It is a topmost visible one: the kernel does not tell whether it
            // has no parent, or one that is out of sight.
            Some(Err(Errno::PERM)) | None => None,
            Some(Err(errno)) => {
                log.note(DiagnosticCode::ParentUnreadable, Some(*errno), None);
                None
            }
        };
        let owner = fd.and_then(|fd| fd.user_namespace().ok()).map(|user| Owner {
            user_namespace: user.inode(),
            uid: user.owner_uid().ok(),
            user: None,
        });
        Namespace {
            id: NamespaceId::Inode(inode),
            device: fd.map(NamespaceFd::device),
            ns_id: fd.and_then(|fd| fd.ns_id().ok()),
            parent,
            state: NamespaceState::Live,
            init: None,
            member_count: None,
            owner,
            holders: Vec::new(),
            blocked_by: Vec::new(),
            container: None,
            evidence: Evidence::Kernel,
        }
    };
    registered.iter().map(describe).collect()
}

/// Places inits whose links may not be read, but whose namespace is pinned, as
/// a descriptor or a mount led to it. The kernel names a namespace's PID 1 to
/// anyone who can open the namespace (`NS_GET_TGID_FROM_PIDNS`, since Linux 6.11).
pub fn place_inits(
    source: &dyn Source,
    registered: &HashMap<u64, Registered>,
    processes: &mut [Process],
) {
    for (&inode, registered) in registered {
        let Some(init) = registered.fd.as_ref().and_then(|fd| source.init_of(fd).ok()) else {
            continue;
        };
        let index = processes.binary_search_by_key(&init, |process| process.pid);
        if let Some(process) = index.ok().map(|index| &mut processes[index])
            && process.namespace.is_none()
            && process.nspid.last() == Some(&Pid::INIT)
        {
            process.namespace = Some(NamespaceId::Inode(inode));
        }
    }
}
