//! From what the program saw to what a walk over /proc would have found: plain
//! processes are taken as they were seen, and whatever is odd is read through
//! /proc, which decides.
//!
//! The records are of one moment, and the reading of /proc comes after it. So
//! what is taken from them must not hang on anything that may be another's by
//! then: a namespace's inode number stands for it only if the namespace that is
//! pinned by now is the same one, or else its members are read through /proc,
//! too.

use std::collections::{BTreeSet, HashMap};

use rustix::io::Result as SysResult;

use super::record::Record;
use crate::collect::proc::findings::{Findings, MountTableReaders};
use crate::collect::proc::scan::{Scan, searches_holders};
use crate::collect::proc::status::start_time_now;
use crate::collect::proc::walk;
use crate::model::{NamespaceId, Pid, Process, SearchScope};

/// What the program saw.
pub struct Seen<'a> {
    /// What it was to search.
    search: &'a BTreeSet<SearchScope>,
    /// All PIDs, in ascending order once they are sorted.
    pids: Vec<Pid>,
    /// Processes of which all is known.
    plain: Vec<Process>,
    /// Who is in each mount namespace.
    readers: MountTableReaders,
    /// Those of which it is not.
    odd: BTreeSet<Pid>,
    /// Those of them that have no namespace open, with their start times.
    none_open: HashMap<Pid, u64>,
    /// The namespaces that processes are in, by inode.
    namespaces: HashMap<u64, SeenNamespace>,
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
    /// Nothing yet, of such a search.
    pub fn new(search: &'a BTreeSet<SearchScope>) -> Self {
        Self {
            search,
            pids: Vec::new(),
            plain: Vec::new(),
            readers: MountTableReaders::new(),
            odd: BTreeSet::new(),
            none_open: HashMap::new(),
            namespaces: HashMap::new(),
        }
    }

    /// Takes a record.
    pub fn take(&mut self, record: Record) {
        let searches_holders = searches_holders(self.search);
        let Record { mut process, ns_id, mount_namespace, is_odd, may_hold, has_none_open } =
            record;
        self.pids.push(process.pid);
        if let Some(NamespaceId::Inode(inode)) = process.namespace {
            let is_new = !self.namespaces.contains_key(&inode);
            let namespace = self.namespaces.entry(inode).or_default();
            namespace.is_torn |= !is_new && namespace.ns_id != ns_id;
            namespace.ns_id = ns_id;
            if process.nspid.last() == Some(&Pid::INIT) {
                namespace.init = Some((process.pid, process.start_time));
            }
        }
        if is_odd || (searches_holders && may_hold) {
            self.odd.insert(process.pid);
            if searches_holders && has_none_open {
                self.none_open.extend(process.start_time.map(|start| (process.pid, start)));
            }
            return;
        }
        if !searches_holders {
            process.start_time = None;
        }
        if self.search.contains(&SearchScope::Mounts)
            && let Some(inode) = mount_namespace.filter(|_| !process.kernel_thread)
        {
            self.readers.entry(inode).or_default().push((process.pid, process.pid));
        }
        self.plain.push(process);
    }

    /// What a walk over /proc would have found. `counted` is how many processes
    /// /proc counted just before and just after they were seen.
    ///
    /// # Errors
    /// /proc cannot be listed.
    pub fn judge(mut self, scan: Scan<'_>, counted: [Option<u64>; 2]) -> SysResult<Findings> {
        // The program goes through them in this order; nothing but that is
        // relied on if it did not.
        self.pids.sort_unstable();
        self.pids.dedup();
        self.doubt_orphans();
        self.odd.extend(scan.procfs.viewer);
        let mut found = self.read(scan);
        self.doubt_members(scan);
        found.merge(self.read(scan));
        // Some may not have been shown.
        let unseen = found.processes.iter().filter(|it| self.pids.binary_search(&it.pid).is_err());
        let count = u64::try_from(self.pids.len() + unseen.count()).ok();
        if counted.iter().any(|&counted| counted.is_none() || counted != count) {
            let known: BTreeSet<Pid> = found.processes.iter().map(|it| it.pid).collect();
            let is_unseen =
                |pid: &Pid| self.pids.binary_search(pid).is_err() && !known.contains(pid);
            self.odd.extend(walk::list(scan.procfs)?.into_iter().filter(is_unseen));
            found.merge(self.read(scan));
        }
        found.merge(Findings {
            processes: std::mem::take(&mut self.plain),
            readers: std::mem::take(&mut self.readers),
            ..Findings::default()
        });
        found.processes.sort_by_key(|process| process.pid);
        found.processes.dedup_by_key(|process| process.pid);
        Ok(found)
    }

    /// Reads what is odd through /proc. It is plain no more.
    fn read(&mut self, scan: Scan<'_>) -> Findings {
        let odd = std::mem::take(&mut self.odd);
        if odd.is_empty() {
            return Findings::default();
        }
        self.plain.retain(|process| !odd.contains(&process.pid));
        let scan = Scan { none_open: Some(&self.none_open), ..scan };
        walk::read(scan, &Vec::from_iter(odd))
    }

    /// A parent that was not seen is one that the kernel does not show, or is
    /// just being replaced by one of its threads, or gone, so that its children
    /// have another by now.
    fn doubt_orphans(&mut self) {
        let mut last = None;
        for process in &self.plain {
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

    /// The members of namespaces that are not surely those which are pinned.
    fn doubt_members(&mut self, scan: Scan<'_>) {
        let is_doubted = |(&inode, seen): (&u64, &SeenNamespace)| {
            (!seen.is_pinned(inode, scan)).then_some(NamespaceId::Inode(inode))
        };
        let doubted: BTreeSet<_> = self.namespaces.iter().filter_map(is_doubted).collect();
        if doubted.is_empty() {
            return;
        }
        let members =
            self.plain.iter().filter(|it| it.namespace.is_none_or(|id| doubted.contains(&id)));
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
