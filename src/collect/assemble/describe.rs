//! What the kernel says of every namespace met, by its open descriptor. What
//! it does not say is not concluded here.

use std::collections::{HashMap, HashSet};
use std::thread;

use rustix::io::Errno;

use crate::collect::discovery::{INITIAL_PID_NAMESPACE, Source};
use crate::collect::kernel::nsfs::NamespaceFd;
use crate::collect::log::DiagnosticLog;
use crate::collect::registry::Registered;
use crate::model::{
    DiagnosticCode, Evidence, Namespace, NamespaceId, NamespaceState, Owner, Pid, Process,
};

/// The inode of every namespace's parent, as `NS_GET_PARENT` answered.
type Parents = HashMap<u64, rustix::io::Result<u64>>;

/// Namespaces from which on a second thread saves more time than it takes.
const WORTH_IT: usize = 64;

/// What the viewer is to the namespaces that it asks the kernel for.
pub struct Viewer {
    /// Its own namespace, where that is known.
    pub namespace: Option<NamespaceId>,
    /// Whether the /proc that was read is that of its namespace.
    pub is_in_own_proc: bool,
    /// Whether it has `CAP_SYS_PTRACE` over every process, which takes being
    /// in the initial user namespace.
    pub may_trace_all: bool,
}

impl Viewer {
    /// Whether it is in the initial PID namespace, which every other is below.
    fn is_initial(&self) -> bool {
        self.namespace == Some(NamespaceId::Inode(INITIAL_PID_NAMESPACE))
    }
}

/// Namespaces whose parents the kernel refuses to name although they have
/// parents that the viewer may know of.
///
/// `NS_GET_PARENT` answers `EPERM` of the viewer's own namespace and of those
/// outside of it, which are topmost visible ones. But a seccomp filter may say
/// the same of all. In the initial namespace none is outside. Elsewhere the
/// answer is believed if any other namespace's parent was named.
#[derive(Debug, Default)]
pub struct RefusedParents {
    /// By their inodes.
    pub inodes: HashSet<u64>,
    /// Whether every namespace but the initial one has a parent in the viewer's
    /// sight: it is in the initial one.
    pub all_have_parents: bool,
    /// Whether those that have a level in /proc are surely not topmost: it is
    /// the viewer's own /proc, which shows nothing outside of its namespace.
    pub is_certain: bool,
}

/// The parents that were refused, by what the kernel answered for each namespace.
pub fn refused_parents(parents: &Parents, viewer: &Viewer) -> RefusedParents {
    if !viewer.is_initial() && parents.values().any(Result::is_ok) {
        return RefusedParents::default();
    }
    let is_refused = |&(&inode, parent): &(&u64, &rustix::io::Result<u64>)| {
        *parent == Err(Errno::PERM)
            && inode != INITIAL_PID_NAMESPACE
            && viewer.namespace != Some(NamespaceId::Inode(inode))
    };
    RefusedParents {
        inodes: parents.iter().filter(is_refused).map(|(&inode, _)| inode).collect(),
        all_have_parents: viewer.is_initial(),
        is_certain: viewer.is_initial() || viewer.is_in_own_proc,
    }
}

/// Every namespace met, as the kernel describes it. Where there are many, a
/// second thread asks for half of them.
pub fn describe(
    registered: &HashMap<u64, Registered>,
    parents: &Parents,
    viewer: &Viewer,
    log: &mut DiagnosticLog,
) -> Vec<Namespace> {
    let met: Vec<_> = registered.iter().map(|(&inode, registered)| (inode, registered)).collect();
    let (here, there) = met.split_at(if met.len() < WORTH_IT { met.len() } else { met.len() / 2 });
    let describe = |some: &[(u64, &Registered)]| {
        let mut log = DiagnosticLog::default();
        let all = some.iter().map(|(inode, it)| namespace(*inode, it, parents, viewer, &mut log));
        (all.collect::<Vec<_>>(), log)
    };
    thread::scope(|scope| {
        let spawn = || thread::Builder::new().spawn_scoped(scope, || describe(there)).ok();
        let helper = if there.is_empty() { None } else { spawn() };
        let (mut namespaces, noted) = describe(here);
        log.merge(noted);
        // Where a thread cannot be had, this one does its work.
        let answered = helper.and_then(|helper| helper.join().ok());
        let (others, noted) = answered.unwrap_or_else(|| describe(there));
        namespaces.extend(others);
        log.merge(noted);
        namespaces
    })
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
        // It may be a topmost visible one. Whether it is not, and what
        // follows, is known once its level is.
        Some(Err(Errno::PERM)) | None => None,
        Some(Err(errno)) => {
            log.note(DiagnosticCode::ParentUnreadable, Some(*errno), None);
            None
        }
    };
    Namespace {
        id: NamespaceId::Inode(inode),
        device: fd.map(NamespaceFd::device),
        ns_id: fd.and_then(|fd| told(fd.ns_id(), DiagnosticCode::NsIdUnreadable, log)),
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

/// The user namespace that owns a namespace, where it is in reach.
fn owner(fd: &NamespaceFd, viewer: &Viewer, log: &mut DiagnosticLog) -> Option<Owner> {
    let user = match fd.user_namespace() {
        // It is not the viewer's own user namespace, nor below that; but all
        // are below the initial one.
        Err(Errno::PERM) if !viewer.may_trace_all => return None,
        user => told(user, DiagnosticCode::OwnerUnreadable, log)?,
    };
    let uid = told(user.owner_uid(), DiagnosticCode::OwnerUidUnreadable, log);
    Some(Owner { user_namespace: user.inode(), uid, user: None })
}

/// What an ioctl told. That it did not is noted, unless this kernel is too old
/// to know it.
fn told<T>(
    answer: rustix::io::Result<T>,
    code: DiagnosticCode,
    log: &mut DiagnosticLog,
) -> Option<T> {
    match answer {
        Ok(told) => Some(told),
        Err(Errno::NOTTY | Errno::INVAL) => None,
        Err(errno) => {
            log.note(code, Some(errno), None);
            None
        }
    }
}

/// Places inits whose links may not be read, but whose namespace is pinned, as
/// a descriptor or a mount led to it. The kernel names a namespace's PID 1 to
/// anyone who can open the namespace (`NS_GET_TGID_FROM_PIDNS`, since Linux 6.11).
pub fn place_inits(
    source: &dyn Source,
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
            // Else its number may be another's by now.
            && source.is_there(process)
        {
            process.namespace = Some(NamespaceId::Inode(inode));
        }
    }
}
