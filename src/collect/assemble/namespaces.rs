//! Asks the kernel for properties of namespaces, such as the parent and the owner.

use std::collections::{HashMap, HashSet};

use rustix::io::Errno;

use crate::collect::discovery::{FollowUp, INITIAL_PID_NAMESPACE};
use crate::collect::kernel::nsfs::NamespaceFd;
use crate::collect::log::DiagnosticLog;
use crate::collect::registry::Registered;
use crate::model::{
    DiagnosticCode, Evidence, Namespace, NamespaceId, NamespaceState, Owner, Pid, Process,
};

/// The parent's inode or the error of `NS_GET_PARENT`, keyed by the namespace's inode.
pub type Parents = HashMap<u64, rustix::io::Result<u64>>;

/// pidns's own PID namespace and permissions.
pub struct Viewer {
    /// pidns's own namespace, if known.
    pub namespace: Option<NamespaceId>,
    /// `true` if the procfs belongs to pidns's own namespace.
    pub is_in_own_proc: bool,
    /// `true` if pidns has `CAP_SYS_PTRACE` in the initial user namespace.
    pub may_trace_all: bool,
}

impl Viewer {
    /// Returns `true` if pidns is in the initial PID namespace.
    fn is_initial(&self) -> bool {
        self.namespace == Some(NamespaceId::Inode(INITIAL_PID_NAMESPACE))
    }
}

/// Namespaces whose parent may have been hidden by a seccomp filter.
#[derive(Debug, Default)]
pub struct RefusedParents {
    /// Inodes of the namespaces for which `NS_GET_PARENT` failed with `EPERM`.
    pub inodes: HashSet<u64>,
    /// `true` if pidns is in the initial namespace, so every other namespace has a visible parent.
    pub all_have_parents: bool,
    /// `true` if the kernel reveals the parent of every descendant of the PID namespace that the
    /// procfs shows.
    ///
    /// If `NS_GET_PARENT` fails with `EPERM` for such a descendant, the cause must be a seccomp
    /// filter.
    pub is_certain: bool,
}

/// Finds the namespaces whose parent may have been hidden by a seccomp filter.
pub fn refused_parents(parents: &Parents, viewer: &Viewer) -> RefusedParents {
    // If the kernel has reported any parent, no seccomp filter blocks `NS_GET_PARENT`. So `EPERM`
    // means that the namespace is a root: it has no parent that pidns is allowed to see.
    if !viewer.is_initial() && parents.values().any(Result::is_ok) {
        return RefusedParents::default();
    }
    let is_refused = |&(&inode, parent): &(&u64, &rustix::io::Result<u64>)| {
        *parent == Err(Errno::PERM)
            // `EPERM` is the normal answer for the initial namespace and for pidns's own.
            && inode != INITIAL_PID_NAMESPACE
            && viewer.namespace != Some(NamespaceId::Inode(inode))
    };
    RefusedParents {
        inodes: parents.iter().filter(is_refused).map(|(&inode, _)| inode).collect(),
        all_have_parents: viewer.is_initial(),
        // The kernel reveals the parents of all descendants of pidns's own namespace.
        is_certain: viewer.is_initial() || viewer.is_in_own_proc,
    }
}

/// Asks the kernel for the properties of each namespace in the registry.
pub fn describe(
    registered: &HashMap<u64, Registered>,
    parents: &Parents,
    viewer: &Viewer,
    log: &mut DiagnosticLog,
) -> Vec<Namespace> {
    let describe = |(&inode, it)| namespace(inode, it, parents, viewer, log);
    registered.iter().map(describe).collect()
}

fn namespace(
    inode: u64,
    registered: &Registered,
    parents: &Parents,
    viewer: &Viewer,
    log: &mut DiagnosticLog,
) -> Namespace {
    let fd = registered.fd.as_ref();
    let parent = match parents.get(&inode) {
        Some(Ok(parent)) => Some(NamespaceId::Inode(*parent)),
        // The module `infer` decides later if this namespace is a root.
        Some(Err(Errno::PERM)) | None => None,
        Some(Err(errno)) => {
            log.note(DiagnosticCode::ParentUnreadable, Some(*errno), None);
            None
        }
    };
    Namespace {
        id: NamespaceId::Inode(inode),
        device: fd.map(NamespaceFd::device),
        ns_id: fd.and_then(|fd| answer_or_note(fd.ns_id(), DiagnosticCode::NsIdUnreadable, log)),
        parent,
        parent_unknown: false,
        state: NamespaceState::Unknown,
        init: None,
        member_count: None,
        owner: fd.and_then(|fd| owner(fd, viewer, log)),
        holders: Vec::new(),
        blocked_by: Vec::new(),
        container: None,
        evidence: Evidence::Kernel,
    }
}

/// Returns the user namespace that owns a PID namespace, if readable.
fn owner(fd: &NamespaceFd, viewer: &Viewer, log: &mut DiagnosticLog) -> Option<Owner> {
    let user = match fd.user_namespace() {
        // Without `may_trace_all`, `EPERM` is expected, because the owning user namespace may be
        // outside of pidns's user namespace.
        Err(Errno::PERM) if !viewer.may_trace_all => return None,
        user => answer_or_note(user, DiagnosticCode::OwnerUnreadable, log)?,
    };
    let uid = answer_or_note(user.owner_uid(), DiagnosticCode::OwnerUidUnreadable, log);
    Some(Owner { user_namespace: user.inode(), uid, user: None })
}

/// Returns the result of an ioctl, or reports the error.
fn answer_or_note<T>(
    answer: rustix::io::Result<T>,
    code: DiagnosticCode,
    log: &mut DiagnosticLog,
) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        // The kernel is too old to support the ioctl.
        Err(Errno::NOTTY | Errno::INVAL) => None,
        Err(errno) => {
            log.note(code, Some(errno), None);
            None
        }
    }
}

/// Returns the index of a namespace in a list sorted by ID.
pub fn index(namespaces: &[Namespace], id: NamespaceId) -> Option<usize> {
    namespaces.binary_search_by_key(&id, |namespace| namespace.id).ok()
}

/// Fills in missing namespaces of inits (`NS_GET_TGID_FROM_PIDNS`, since Linux 6.11).
pub fn place_inits(
    source: &dyn FollowUp,
    registered: &HashMap<u64, Registered>,
    processes: &mut [Process],
) {
    let is_unplaced = |it: &Process| it.namespace.is_none() && it.nspid.last() == Some(&Pid::INIT);
    if !processes.iter().any(is_unplaced) {
        return;
    }
    for (&inode, registered) in registered {
        let Some(init) = registered.fd.as_ref().and_then(|fd| source.init_of(fd).ok()) else {
            continue;
        };
        let index = processes.binary_search_by_key(&init, |process| process.pid);
        if let Some(process) = index.ok().map(|index| &mut processes[index])
            && is_unplaced(process)
            // Another process may have reused the PID since the scan.
            && source.is_there(process)
        {
            process.namespace = Some(NamespaceId::Inode(inode));
        }
    }
}
