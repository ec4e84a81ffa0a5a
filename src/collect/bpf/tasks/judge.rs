//! Decides which records of the BPF program can be trusted.
//!
//! Every process without a trusted record is read through /proc. The result is the same as if all
//! processes had been read through /proc.
//!
//! A record identifies a namespace by its inode number. The kernel may reuse the number as soon as
//! the namespace is gone. Therefore, pidns pins one namespace per inode number. Pinning a namespace
//! means keeping it open. A record is trusted only if its namespaces are certainly the pinned
//! namespaces:
//!
//! - The record of a member must contain the 64-bit ID of the pinned namespace. Before Linux 6.18,
//!   namespaces have no 64-bit ID, and pidns compares the start time of the namespace's init.
//! - If a process creates its children in another namespace, the 64-bit ID of that namespace must
//!   match, too. Before Linux 6.18, the record of the process is never trusted.
//! - The record of an init is verified by the /proc reader, which opens the init's namespace.

use std::collections::{BTreeSet, HashMap, HashSet};

use rustix::io::Result as SysResult;

use super::record::Record;
use crate::collect::proc::findings::ScanFindings;
use crate::collect::proc::scan::{Scan, SeenInit, Target, searches_holders};
use crate::collect::proc::status::start_time_now;
use crate::collect::proc::walk;
use crate::model::{Holder, NamespaceId, Pid, Process, SearchScope};

/// The records of a scan, and the verification results so far.
pub struct TaskScan<'a> {
    search: &'a BTreeSet<SearchScope>,
    /// The PIDs of all records.
    pids: Vec<Pid>,
    /// The findings about processes that need not be read through /proc.
    trusted: ScanFindings,
    /// The processes that create their children in a namespace other than their own.
    for_children: Vec<ForChildren>,
    /// The processes that `add` has returned.
    targets: HashSet<Pid>,
    /// The processes to read through /proc although their records seemed sufficient.
    retry: BTreeSet<Pid>,
    /// The namespaces that have members, keyed by inode.
    namespaces: HashMap<u64, RecordedNamespace>,
    /// The [`NamespaceId`] and the 64-bit ID of the previous record's namespace.
    previous: (Option<NamespaceId>, Option<u64>),
}

/// A process that creates its children in a namespace other than its own.
struct ForChildren {
    /// Inode of the PID namespace in which the process creates its children (`pid_for_children`).
    inode: u64,
    /// 64-bit ID of the `pid_for_children` namespace.
    ns_id: u64,
    holder: Holder,
}

/// Facts about a namespace, collected from the records of its members.
#[derive(Default)]
struct RecordedNamespace {
    ns_id: Option<u64>,
    /// The PID of the namespace's init, and the init's start time.
    init: Option<(Pid, Option<u64>)>,
    /// `true` if two namespaces had this inode number during the scan.
    was_reused: bool,
}

impl<'a> TaskScan<'a> {
    /// Creates a scan with memory for `capacity` records.
    pub fn new(search: &'a BTreeSet<SearchScope>, capacity: usize) -> Self {
        let trusted =
            ScanFindings { processes: Vec::with_capacity(capacity), ..ScanFindings::default() };
        Self {
            search,
            pids: Vec::with_capacity(capacity),
            trusted,
            for_children: Vec::new(),
            targets: HashSet::new(),
            retry: BTreeSet::new(),
            namespaces: HashMap::new(),
            previous: (None, None),
        }
    }

    /// Adds a record, and returns the process if it must be read through /proc.
    pub fn add(&mut self, record: Record) -> Option<Target> {
        let searches_holders = searches_holders(self.search);
        let pid = record.process.pid;
        self.pids.push(pid);
        self.add_namespace(&record.process, record.ns_id);
        let searches = |scope| self.search.contains(&scope);
        let for_children = record.for_children.filter(|_| searches(SearchScope::Children));
        let mount_namespace = record.mount_namespace.filter(|_| searches(SearchScope::Mounts));
        // For an init or a `pid_for_children` link, only the 64-bit namespace ID (Linux 6.18) shows
        // that the inode number was not reused.
        let is_verifiable = if record.is_init {
            record.ns_id.is_some() && record.has_memory && for_children.is_none()
        } else {
            for_children.is_none_or(|(_, ns_id)| ns_id.is_some())
        };
        if record.needs_proc || !is_verifiable || (searches_holders && record.may_hold) {
            // A process can have several records, but must be read through /proc only once.
            if !self.targets.insert(pid) {
                return None;
            }
            let start_time = record.process.start_time;
            let none_open_since = start_time.filter(|_| record.has_no_namespace_open);
            return Some(Target { pid, none_open_since, init: None });
        }
        let mut process = record.process;
        if !searches_holders {
            process.start_time = None;
        }
        if let Some(ns_id) = record.ns_id.filter(|_| record.is_init) {
            let init = SeenInit { process, ns_id, mount_namespace };
            return Some(Target { pid, none_open_since: None, init: Some(Box::new(init)) });
        }
        if let Some((inode, Some(ns_id))) = for_children {
            let comm = Some(process.comm.clone());
            let holder = Holder::PidForChildren { pid, comm, tid: pid };
            self.for_children.push(ForChildren { inode, ns_id, holder });
        }
        self.trusted.add_reader(mount_namespace.filter(|_| !process.kernel_thread), pid, pid);
        self.trusted.processes.push(process);
        None
    }

    /// Adds the namespace of a process to `namespaces`.
    fn add_namespace(&mut self, process: &Process, ns_id: Option<u64>) {
        let Some(NamespaceId::Inode(inode)) = process.namespace else { return };
        let is_init = process.nspid.last() == Some(&Pid::INIT);
        // Skip a namespace that was just added for the previous process.
        if self.previous == (process.namespace, ns_id) && !is_init {
            return;
        }
        self.previous = (process.namespace, ns_id);
        let is_new = !self.namespaces.contains_key(&inode);
        let namespace = self.namespaces.entry(inode).or_default();
        namespace.was_reused |= !is_new && namespace.ns_id != ns_id;
        namespace.ns_id = ns_id;
        if is_init {
            namespace.init = Some((process.pid, process.start_time));
        }
    }

    /// Adds the records that another thread has read.
    pub fn merge(&mut self, mut other: Self) {
        self.pids.extend(other.pids);
        self.trusted.merge(other.trusted);
        self.for_children.append(&mut other.for_children);
        self.retry.extend(other.retry);
        for (inode, theirs) in other.namespaces {
            self.namespaces
                .entry(inode)
                .and_modify(|namespace| {
                    namespace.was_reused |= theirs.was_reused || namespace.ns_id != theirs.ns_id;
                    namespace.init = namespace.init.or(theirs.init);
                })
                .or_insert(theirs);
        }
    }

    /// Verifies the records, and uses /proc to read each process that has no trusted record.
    ///
    /// - `found`: the processes that were already read through /proc.
    /// - `counts`: the number of processes in /proc, counted once before the scan, and again each
    ///   time that a thread finished its part of the scan.
    pub fn judge(
        mut self,
        scan: Scan<'_>,
        mut found: ScanFindings,
        counts: &[Option<u64>],
    ) -> SysResult<ScanFindings> {
        // Sort the PIDs, because the kernel does not guarantee the order of a BPF iterator.
        self.pids.sort_unstable();
        self.pids.dedup();
        self.retry_members(scan);
        self.retry_for_children(scan);
        found.merge(self.read_retries(scan));
        // A BPF iterator can miss processes, so also count the processes that only /proc showed.
        let others = found.processes.iter().filter(|it| self.pids.binary_search(&it.pid).is_err());
        let count = u64::try_from(self.pids.len() + others.count()).ok();
        // If any of the `counts` is unknown or differs from `count`, list /proc, and read each
        // process that has not been found yet.
        if counts.iter().any(|&counted| counted.is_none() || counted != count) {
            let known: BTreeSet<Pid> = found.processes.iter().map(|it| it.pid).collect();
            let is_missing =
                |pid: &Pid| self.pids.binary_search(pid).is_err() && !known.contains(pid);
            let listed: Vec<Pid> = scan.procfs.pids()?.collect::<SysResult<_>>()?;
            self.retry.extend(listed.into_iter().filter(is_missing));
            found.merge(self.read_retries(scan));
        }
        for it in self.for_children {
            self.trusted.holders.push(it.inode, it.holder);
        }
        found.merge(self.trusted);
        found.processes.sort_by_key(|process| process.pid);
        found.processes.dedup_by_key(|process| process.pid);
        Ok(found)
    }

    /// Reads the processes in `retry` through /proc, and discards their BPF records.
    fn read_retries(&mut self, scan: Scan<'_>) -> ScanFindings {
        let retry = std::mem::take(&mut self.retry);
        if retry.is_empty() {
            return ScanFindings::default();
        }
        self.trusted.processes.retain(|process| !retry.contains(&process.pid));
        self.for_children.retain(|it| it.holder.pid().is_none_or(|pid| !retry.contains(&pid)));
        walk::read(scan, &Vec::from_iter(retry))
    }

    /// Adds processes with an unverified `pid_for_children` namespace to `retry`.
    fn retry_for_children(&mut self, scan: Scan<'_>) {
        for it in &self.for_children {
            if !scan.registry.is_pinned_as(it.inode, it.ns_id) {
                self.retry.extend(it.holder.pid());
            }
        }
    }

    /// Adds processes in an unverified namespace to `retry`.
    fn retry_members(&mut self, scan: Scan<'_>) {
        let unverified = |(&inode, namespace): (&u64, &RecordedNamespace)| {
            (!namespace.is_pinned(inode, scan)).then_some(NamespaceId::Inode(inode))
        };
        let unverified: BTreeSet<_> = self.namespaces.iter().filter_map(unverified).collect();
        if unverified.is_empty() {
            return;
        }
        let is_member = |it: &&Process| it.namespace.is_none_or(|id| unverified.contains(&id));
        let members = self.trusted.processes.iter().filter(is_member);
        self.retry.extend(members.map(|process| process.pid));
    }
}

impl RecordedNamespace {
    /// Returns `true` if pidns certainly keeps the recorded namespace open.
    fn is_pinned(&self, inode: u64, scan: Scan<'_>) -> bool {
        if self.was_reused {
            return false;
        }
        let Some(pinned_id) = scan.registry.ns_id(inode) else { return false };
        // pidns itself is a member, so the namespace existed during the whole scan.
        if scan.namespace == Some(NamespaceId::Inode(inode)) {
            return true;
        }
        if let Some(recorded_id) = self.ns_id {
            return pinned_id == Ok(recorded_id);
        }
        // Before Linux 6.18, namespaces have no 64-bit ID, so check the init's start time.
        let Some((init, started)) = self.init else { return false };
        // If the start time is unchanged, the PID still belongs to the same init. So the namespace
        // that pidns opened through `/proc/PID` is the recorded namespace.
        started.is_some() && start_time_now(scan.procfs, init) == started
    }
}
