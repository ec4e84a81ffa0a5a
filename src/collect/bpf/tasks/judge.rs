//! From what the program saw to what a walk over /proc would have found: plain
//! processes are taken as they were seen, and whatever is odd is read through
//! /proc, which decides.
//!
//! The record of a process is of one moment, and the reading of /proc comes
//! after it, while the others are still being seen. So what is taken from it
//! must not hang on anything that may be another's by then: a namespace's inode
//! number stands for it only if the namespace that is pinned by now is the same
//! one, or else its members are read through /proc, too. An init is taken as it
//! was seen if it still is the init of the same namespace, and who has a namespace for its
//! children if that one is.

use std::collections::{BTreeSet, HashMap};

use rustix::io::Result as SysResult;

use super::record::Record;
use crate::collect::proc::findings::ScanFindings;
use crate::collect::proc::scan::{Scan, SeenInit, Target, searches_holders};
use crate::collect::proc::status::start_time_now;
use crate::collect::proc::walk;
use crate::model::{Holder, NamespaceId, Pid, SearchScope};

/// What the program saw.
pub struct Seen<'a> {
    /// What it was to search.
    search: &'a BTreeSet<SearchScope>,
    /// All PIDs, in ascending order once they are sorted.
    pids: Vec<Pid>,
    /// Processes of which all is known, and who is in each mount namespace.
    plain: ScanFindings,
    /// Those whose children are born in another namespace: its inode and the
    /// kernel's number for it, and how they hold it.
    for_children: Vec<(u64, u64, Holder)>,
    /// Those of which it turned out later that it is not.
    odd: BTreeSet<Pid>,
    /// The namespaces that processes are in, by inode.
    namespaces: HashMap<u64, SeenNamespace>,
    /// That which the last process is in.
    last: (Option<NamespaceId>, Option<u64>),
}

/// A namespace, as the processes in it told.
#[derive(Default)]
struct SeenNamespace {
    ns_id: Option<u64>,
    /// Its init, and when that started.
    init: Option<(Pid, Option<u64>)>,
    /// Whether the number was that of another namespace within one reading.
    is_torn: bool,
}

impl<'a> Seen<'a> {
    /// Nothing yet, of such a search, with room for so many processes.
    pub fn new(search: &'a BTreeSet<SearchScope>, count: usize) -> Self {
        Self {
            search,
            pids: Vec::with_capacity(count),
            plain: ScanFindings { processes: Vec::with_capacity(count), ..ScanFindings::default() },
            for_children: Vec::new(),
            odd: BTreeSet::new(),
            namespaces: HashMap::new(),
            last: (None, None),
        }
    }

    /// Takes a record. Returns its process if that is to be read through /proc.
    pub fn take(&mut self, record: Record) -> Option<Target> {
        let searches_holders = searches_holders(self.search);
        let Record {
            mut process,
            ns_id,
            for_children,
            mount_namespace,
            is_init,
            has_memory,
            is_odd,
            may_hold,
            has_none_open,
        } = record;
        self.pids.push(process.pid);
        let in_namespace = (process.namespace, ns_id);
        // Members of one namespace often come one after the other.
        if let Some(NamespaceId::Inode(inode)) = process.namespace
            && (self.last != in_namespace || process.nspid.last() == Some(&Pid::INIT))
        {
            self.last = in_namespace;
            let is_new = !self.namespaces.contains_key(&inode);
            let namespace = self.namespaces.entry(inode).or_default();
            namespace.is_torn |= !is_new && namespace.ns_id != ns_id;
            namespace.ns_id = ns_id;
            if process.nspid.last() == Some(&Pid::INIT) {
                namespace.init = Some((process.pid, process.start_time));
            }
        }
        let pid = process.pid;
        let searches = |scope| self.search.contains(&scope);
        let for_children = for_children.filter(|_| searches(SearchScope::Children));
        let mount_namespace = mount_namespace.filter(|_| searches(SearchScope::Mounts));
        // What hangs on a namespace needs the number of it that is never reused.
        let is_numbered = if is_init {
            ns_id.is_some() && has_memory && for_children.is_none()
        } else {
            for_children.is_none_or(|(_, ns_id)| ns_id.is_some())
        };
        if is_odd || !is_numbered || (searches_holders && may_hold) {
            let none_open_since = process.start_time.filter(|_| has_none_open);
            return Some(Target { pid, none_open_since, init: None });
        }
        if !searches_holders {
            process.start_time = None;
        }
        if let Some(ns_id) = ns_id.filter(|_| is_init) {
            let init = SeenInit { process, ns_id, mount_namespace };
            return Some(Target { pid, none_open_since: None, init: Some(Box::new(init)) });
        }
        if let Some((inode, Some(ns_id))) = for_children {
            let comm = Some(process.comm.clone());
            let holder = Holder::PidForChildren { pid, comm, tid: pid };
            self.for_children.push((inode, ns_id, holder));
        }
        self.plain.add_reader(mount_namespace.filter(|_| !process.kernel_thread), pid, pid);
        self.plain.processes.push(process);
        None
    }

    /// Takes what another thread saw of the other processes.
    pub fn merge(&mut self, mut other: Self) {
        self.pids.extend(other.pids);
        self.plain.merge(other.plain);
        self.for_children.append(&mut other.for_children);
        self.odd.extend(other.odd);
        for (inode, theirs) in other.namespaces {
            self.namespaces
                .entry(inode)
                .and_modify(|namespace| {
                    namespace.is_torn |= theirs.is_torn || namespace.ns_id != theirs.ns_id;
                    namespace.init = namespace.init.or(theirs.init);
                })
                .or_insert(theirs);
        }
    }

    /// Whether a process was seen.
    pub fn has(&self, pid: Pid) -> bool {
        self.pids.contains(&pid)
    }

    /// What a walk over /proc would have found. `found` is what was read of the
    /// processes that were to be read, and `counted` how many processes /proc
    /// counted just before they were seen, and just after each share of them was.
    ///
    /// # Errors
    /// /proc cannot be listed.
    pub fn judge(
        mut self,
        scan: Scan<'_>,
        mut found: ScanFindings,
        counted: &[Option<u64>],
    ) -> SysResult<ScanFindings> {
        // The program goes through them in this order; nothing but that is
        // relied on if it did not.
        self.pids.sort_unstable();
        self.pids.dedup();
        self.doubt_orphans();
        found.merge(self.read(scan));
        self.doubt_members(scan);
        self.doubt_holders(scan);
        found.merge(self.read(scan));
        // Some may not have been shown.
        let unseen = found.processes.iter().filter(|it| self.pids.binary_search(&it.pid).is_err());
        let count = u64::try_from(self.pids.len() + unseen.count()).ok();
        if counted.iter().any(|&counted| counted.is_none() || counted != count) {
            let known: BTreeSet<Pid> = found.processes.iter().map(|it| it.pid).collect();
            let is_unseen =
                |pid: &Pid| self.pids.binary_search(pid).is_err() && !known.contains(pid);
            let listed: Vec<Pid> = scan.procfs.pids()?.collect::<SysResult<_>>()?;
            self.odd.extend(listed.into_iter().filter(is_unseen));
            found.merge(self.read(scan));
        }
        self.plain.holders = self.for_children.into_iter().map(|(at, _, it)| (at, it)).collect();
        found.merge(self.plain);
        found.processes.sort_by_key(|process| process.pid);
        found.processes.dedup_by_key(|process| process.pid);
        Ok(found)
    }

    /// Reads what is odd through /proc. It is plain no more.
    fn read(&mut self, scan: Scan<'_>) -> ScanFindings {
        let odd = std::mem::take(&mut self.odd);
        if odd.is_empty() {
            return ScanFindings::default();
        }
        self.plain.processes.retain(|process| !odd.contains(&process.pid));
        let is_plain = |holder: &Holder| holder.pid().is_none_or(|pid| !odd.contains(&pid));
        self.for_children.retain(|(.., holder)| is_plain(holder));
        walk::read(scan, &Vec::from_iter(odd))
    }

    /// A parent that was not seen is one that the kernel does not show, or is
    /// just being replaced by one of its threads, or gone, so that its children
    /// have another by now.
    fn doubt_orphans(&mut self) {
        let mut last = None;
        for process in &self.plain.processes {
            // Siblings often come one after the other.
            let parent = process.ppid.filter(|_| process.ppid != last);
            let Some(parent) = parent else { continue };
            if self.pids.binary_search(&parent).is_ok() {
                last = Some(parent);
            } else {
                self.odd.extend([parent, process.pid]);
            }
        }
    }

    /// Those whose children are born in a namespace of which it is not sure that
    /// it is pinned and has had an init.
    fn doubt_holders(&mut self, scan: Scan<'_>) {
        for (inode, ns_id, holder) in &self.for_children {
            if !scan.registry.is_pinned_as(*inode, *ns_id) {
                self.odd.extend(holder.pid());
            }
        }
    }

    /// The members of namespaces that are not surely those which are pinned.
    fn doubt_members(&mut self, scan: Scan<'_>) {
        let is_doubted = |(&inode, seen): (&u64, &SeenNamespace)| {
            (!seen.is_pinned(inode, scan)).then_some(NamespaceId::Inode(inode))
        };
        let doubted: BTreeSet<_> = self.namespaces.iter().filter_map(is_doubted).collect();
        if doubted.is_empty() {
            return;
        }
        let members = self
            .plain
            .processes
            .iter()
            .filter(|it| it.namespace.is_none_or(|id| doubted.contains(&id)));
        self.odd.extend(members.map(|process| process.pid));
    }
}

impl SeenNamespace {
    /// Whether the namespace that has the number now, and is pinned, is this one.
    fn is_pinned(&self, inode: u64, scan: Scan<'_>) -> bool {
        let Some(now) = scan.registry.ns_id(inode).filter(|_| !self.is_torn) else { return false };
        // pidns itself has been in it all the while.
        if scan.namespace == Some(NamespaceId::Inode(inode)) {
            return true;
        }
        if let Some(seen) = self.ns_id {
            return now == Ok(seen);
        }
        // Before Linux 6.18. Its init has been read meanwhile, and its link
        // then led to what is pinned. If the process that has that PID started
        // when the init did, it is the same one, and so was its namespace.
        let Some((init, started)) = self.init else { return false };
        started.is_some() && start_time_now(scan.procfs, init) == started
    }
}
