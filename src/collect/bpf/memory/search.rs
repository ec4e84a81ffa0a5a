//! Searches kernel memory for PID namespaces that cannot be found through /proc.
//!
//! The search also finds holders: tasks and descriptors that keep a namespace alive.
//!
//! Kernel memory also contains two kinds of namespaces that must be left out: unused namespaces
//! that the kernel is about to free, and new namespaces without a visible process. The search
//! leaves them out in four steps:
//!
//! 1. Before reading /proc, list the candidates: all namespaces without a living init.
//! 2. After reading /proc, drop the candidates that were found there. Close pidns's own descriptors
//!    of the other candidates, so that the kernel can free unused namespaces.
//! 3. List the holders, and wait until the kernel has freed unused namespaces. List the namespaces
//!    again, and drop each candidate that has changed.
//! 4. Check in /proc that each holder still exists. An exiting process fails this check, although
//!    it keeps its namespaces alive until it has ended.

use std::collections::{HashMap, HashSet};
use std::thread;

use rustix::io::Errno;

use super::namespaces::{
    FoundHolder, FoundHolderKind, FoundHolders, InitState, KernelMemory, MemoryNamespace,
};
use crate::collect::bpf::unavailable::BpfUnavailable;
use crate::collect::direct::hidden::FREEING;
use crate::collect::discovery::Discovery;
use crate::collect::kernel::nsfs;
use crate::collect::kernel::viewer;
use crate::collect::proc::ProcSource;
use crate::collect::registry::{InitHistory, NamespaceRegistry};
use crate::model::{DiagnosticCode, Holder, HoldingFile, NamespaceId, Process};

/// A running search of kernel memory.
pub struct KernelSearch<'a> {
    proc: &'a ProcSource,
    memory: KernelMemory,
    /// The namespaces without a living init, listed before /proc was read.
    before: Vec<MemoryNamespace>,
}

impl<'a> KernelSearch<'a> {
    /// Starts the search before /proc is read.
    pub fn begin(proc: &'a ProcSource) -> Result<Self, BpfUnavailable> {
        if !proc.is_own() {
            return Err(BpfUnavailable::OtherProcfs);
        }
        // Opening a namespace by its 64-bit ID requires CAP_SYS_ADMIN in the owning user namespace.
        if !viewer::may_administer() {
            return Err(BpfUnavailable::MissingCapability("CAP_SYS_ADMIN"));
        }
        let mut memory = KernelMemory::open()?;
        let mut before = memory.list()?;
        // Find pidns's own namespace, to test if namespaces can be opened by their ID.
        let own = before.iter().find(|it| Some(it.inode) == proc.viewer_namespace());
        let own = own.ok_or(BpfUnavailable::WrongOwnRecord("namespace"))?;
        nsfs::open_by_handle(own.ns_id, own.inode).map_err(BpfUnavailable::NoOpenById)?;
        before.retain(|it| it.init != InitState::Living);
        Ok(Self { proc, memory, before })
    }

    /// Finishes the search after /proc has been read, and adds the results to `discovery`.
    pub fn finish(
        mut self,
        registry: &NamespaceRegistry,
        discovery: &mut Discovery,
    ) -> Result<(), BpfUnavailable> {
        if self.before.is_empty() {
            return Ok(());
        }
        let reachable = reachable_namespaces(discovery);
        let is_new = |it: &MemoryNamespace| {
            !reachable.contains(&it.inode) || registry.ns_id(it.inode) != Some(Ok(it.ns_id))
        };
        let candidates: Vec<_> = self.before.iter().copied().filter(is_new).collect();
        if !candidates.is_empty() {
            registry.retain(&reachable);
        }
        let mut holders = self.memory.holders()?;
        if !candidates.is_empty() {
            thread::sleep(FREEING);
        }
        let now = self.memory.list()?;
        check_members_are_listed(&now, registry, &discovery.processes)?;
        let now = now.into_iter().filter(|it| it.init != InitState::Living);
        let now: HashMap<u64, MemoryNamespace> = now.map(|it| (it.ns_id, it)).collect();
        // Drop namespaces that have changed since the scan of /proc began, because the scan may
        // have missed their members.
        let unchanged = candidates.into_iter().filter(|it| now.get(&it.ns_id) == Some(it));
        self.add_namespaces(unchanged.collect(), registry, discovery)?;
        let is_shown = |it: &FoundHolder| {
            let shows = |listed: &MemoryNamespace| {
                listed.inode == it.inode
                    && (discovery.in_kernel.contains(&it.inode)
                        || registry.ns_id(it.inode) == Some(Ok(it.ns_id)))
            };
            now.get(&it.ns_id).is_some_and(shows)
        };
        holders.found.retain(is_shown);
        holders.share_queues();
        holders.share_tables();
        self.add_holders(holders, discovery);
        Ok(())
    }

    /// Adds the namespaces in `found` to the result, and opens them if possible.
    fn add_namespaces(
        &mut self,
        found: Vec<MemoryNamespace>,
        registry: &NamespaceRegistry,
        discovery: &mut Discovery,
    ) -> Result<(), BpfUnavailable> {
        let unopened: Vec<_> =
            found.into_iter().filter(|&it| !pin(it, registry, discovery)).collect();
        if unopened.is_empty() {
            return Ok(());
        }
        // The kernel may have freed the unopened namespaces, so check that it still lists them.
        let still = self.memory.list()?;
        for it in still_listed(unopened, still) {
            registry.meet(it.inode, history(&it));
            discovery.log.note(DiagnosticCode::NamespaceUnopened, Some(Errno::STALE), None);
            discovery.in_kernel.insert(it.inode);
        }
        Ok(())
    }

    /// Adds holders to `discovery`, except those that belong to a pidns scan or an exiting process.
    fn add_holders(&self, holders: FoundHolders, discovery: &mut Discovery) {
        let (mut going, mut held, mut of_scans) = (HashSet::new(), HashSet::new(), HashSet::new());
        discovery.holders.leave_out(holders.left_out);
        let same_tables = holders.same_tables();
        let mut scanners = HashMap::new();
        let mut is_scanner = |pid| {
            let pid = *same_tables.get(&pid).unwrap_or(&pid);
            *scanners.entry(pid).or_insert_with(|| self.proc.is_scanner(pid))
        };
        for it in holders.found {
            if self.is_temporary(&it) && is_scanner(it.pid) {
                of_scans.insert(it.inode);
            } else if let Some(holder) = self.confirm(&it, &discovery.processes) {
                discovery.holders.push(it.inode, holder);
                held.insert(it.inode);
            } else {
                going.insert(it.inode);
            }
        }
        // Drop the namespaces that are held only by pidns scans or exiting processes, because the
        // kernel is about to free them.
        discovery.in_kernel.retain(|inode| {
            held.contains(inode) || (!going.contains(inode) && !of_scans.contains(inode))
        });
    }

    /// Returns `true` if a pidns process may have created this holder for a scan.
    fn is_temporary(&self, holder: &FoundHolder) -> bool {
        let FoundHolder { kind, pid, tid, fd, .. } = *holder;
        match kind {
            FoundHolderKind::Member => false,
            // A pidns scan never changes `pid_for_children` of its main thread, only of other
            // threads (with setns(2)).
            FoundHolderKind::ForChildren => pid != tid,
            // Every descriptor that a pidns scan opens is close-on-exec, so no other descriptor can
            // belong to a scan.
            _ => self.proc.is_close_on_exec(pid, fd),
        }
    }

    /// Converts a found holder to a [`Holder`], if /proc shows that the holder still exists.
    fn confirm(&self, found: &FoundHolder, processes: &[Process]) -> Option<Holder> {
        let FoundHolder { inode, kind, pid, tid, fd, file, .. } = *found;
        let process = processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        let comm = Some(processes.get(process)?.comm.clone());
        let file_holder = |file| Holder::File { file, pid, comm: comm.clone(), fd };
        let holder = match kind {
            FoundHolderKind::Member => return None,
            FoundHolderKind::ForChildren => Holder::PidForChildren { pid, comm, tid },
            FoundHolderKind::Namespace => Holder::Fd { pid, comm, fd },
            FoundHolderKind::Pidfd => file_holder(HoldingFile::Pidfd),
            FoundHolderKind::Socket => file_holder(HoldingFile::Socket),
            FoundHolderKind::Listener => file_holder(HoldingFile::Listener),
            FoundHolderKind::InFlight => file_holder(HoldingFile::InFlight),
            FoundHolderKind::Message => file_holder(HoldingFile::Message),
            FoundHolderKind::Procfs => file_holder(HoldingFile::Procfs),
        };
        let is_there = match kind {
            FoundHolderKind::ForChildren => self.proc.has_for_children(pid, tid, inode),
            _ => self.proc.has_open(pid, tid, fd, file),
        };
        is_there.then_some(holder)
    }
}

/// Returns the inodes of the namespaces that have a member or a known holder.
fn reachable_namespaces(discovery: &Discovery) -> HashSet<u64> {
    let members = discovery.processes.iter().filter_map(|it| it.namespace?.inode());
    members.chain(discovery.holders.iter().map(|(inode, _)| *inode)).collect()
}

/// Returns an error if the kernel's list lacks the namespace of a process.
fn check_members_are_listed(
    now: &[MemoryNamespace],
    registry: &NamespaceRegistry,
    processes: &[Process],
) -> Result<(), BpfUnavailable> {
    let listed: HashSet<(u64, u64)> = now.iter().map(|it| (it.inode, it.ns_id)).collect();
    let mut previous = None;
    for process in processes {
        // Skip a namespace that was just checked for the previous process.
        let Some(NamespaceId::Inode(inode)) =
            process.namespace.filter(|_| previous != process.namespace)
        else {
            continue;
        };
        previous = process.namespace;
        // pidns keeps this namespace open, so a correct list contains it.
        if let Some(Ok(ns_id)) = registry.ns_id(inode)
            && !listed.contains(&(inode, ns_id))
        {
            return Err(BpfUnavailable::Inconsistent);
        }
    }
    Ok(())
}

/// Returns the namespaces that are in both `wanted` and `listed` with the same init state.
fn still_listed(
    wanted: Vec<MemoryNamespace>,
    listed: Vec<MemoryNamespace>,
) -> impl Iterator<Item = MemoryNamespace> {
    let listed: HashSet<_> = listed.into_iter().collect();
    wanted.into_iter().filter(move |it| listed.contains(it))
}

fn history(it: &MemoryNamespace) -> InitHistory {
    match it.init {
        InitState::Terminated => InitHistory::Existed,
        // The init may have started after the inits were listed.
        InitState::Living | InitState::NotYet => InitHistory::Unknown,
    }
}

/// Opens a namespace and adds it to the result, or returns `false` after `ESTALE`.
fn pin(it: MemoryNamespace, registry: &NamespaceRegistry, discovery: &mut Discovery) -> bool {
    let opened = nsfs::open_by_handle(it.ns_id, it.inode);
    match opened.and_then(|fd| registry.keep(fd, history(&it))) {
        Ok(()) => {}
        // Since Linux 6.19, ESTALE can mean that the namespace has no task, descriptor or mount.
        Err(Errno::STALE) => return false,
        Err(errno) => {
            registry.meet(it.inode, history(&it));
            discovery.log.note(DiagnosticCode::NamespaceUnopened, Some(errno), None);
        }
    }
    discovery.in_kernel.insert(it.inode);
    true
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn hundred_thousand_namespaces_are_looked_up_in_no_time() {
        let namespace = |ns_id| MemoryNamespace { ns_id, inode: 1, init: InitState::Terminated };
        let listed = |from: u64| (from..from + 100_000).map(namespace).collect::<Vec<_>>();
        let started = Instant::now();
        assert_eq!(still_listed(listed(0), listed(50_000)).count(), 50_000);
        // Comparing every pair of namespaces would take ten seconds.
        assert!(started.elapsed() < Duration::from_secs(2));
    }
}
