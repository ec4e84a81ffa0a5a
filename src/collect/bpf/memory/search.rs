//! The search of the kernel's memory: PID namespaces to which nothing in /proc
//! leads, and what keeps them. The programs of `bpf` tell what may be there;
//! what is there is what can be opened.
//!
//! Whatever is shown has been without a living init since before /proc was
//! read. So whoever keeps it in a way that /proc shows was found, and a namespace
//! that has only just ended, or has just been made, is none of these. What is
//! left may be one that the kernel is about to free, so it is waited for. No
//! descriptor of pidns must keep it meanwhile, and whoever else did before must
//! still do so afterwards: a process that is ending shows nothing any more, and
//! may keep a namespace until it has ended.

use std::collections::{HashMap, HashSet};
use std::thread;

use rustix::io::Errno;

use super::namespaces::{By, Init, Kept, KernelMemory, Listed};
use crate::collect::bpf::unusable::Unusable;
use crate::collect::direct::hidden::FREEING;
use crate::collect::discovery::Discovery;
use crate::collect::kernel::nsfs;
use crate::collect::kernel::viewer;
use crate::collect::proc::ProcSource;
use crate::collect::registry::{InitHistory, NamespaceRegistry};
use crate::model::{DiagnosticCode, Holder, HoldingFile, NamespaceId, Process};

/// A search that has begun.
pub struct KernelSearch<'a> {
    proc: &'a ProcSource,
    memory: KernelMemory,
    /// Namespaces that had no living init before /proc was read.
    before: Vec<Listed>,
}

impl<'a> KernelSearch<'a> {
    /// Begins, before anything else is read.
    ///
    /// # Errors
    /// The kernel cannot be asked so.
    pub fn begin(proc: &'a ProcSource) -> Result<Self, Unusable> {
        if !proc.is_own() {
            return Err(Unusable::Elsewhere);
        }
        // Namespaces of other users are opened by their numbers.
        if !viewer::may_administer() {
            return Err(Unusable::Capability("CAP_SYS_ADMIN"));
        }
        let mut memory = KernelMemory::open()?;
        let mut before = memory.list()?;
        // That this can be done shows that the others can be opened so, too.
        let own = before.iter().find(|it| Some(it.inode) == proc.viewer_namespace());
        let own = own.ok_or(Unusable::Wrong("namespace"))?;
        nsfs::open_by_handle(own.ns_id, own.inode).map_err(Unusable::Unopened)?;
        before.retain(|it| it.init != Init::Lives);
        Ok(Self { proc, memory, before })
    }

    /// Finds what is still there although nothing that was discovered leads to
    /// it, and what keeps namespaces without a living init.
    ///
    /// # Errors
    /// The kernel does not tell any more, or nothing that makes sense.
    pub fn finish(
        mut self,
        registry: &NamespaceRegistry,
        discovery: &mut Discovery,
    ) -> Result<(), Unusable> {
        if self.before.is_empty() {
            return Ok(());
        }
        let led_to = led_to(discovery);
        let is_new = |it: &Listed| {
            !led_to.contains(&it.inode) || registry.ns_id(it.inode) != Some(Ok(it.ns_id))
        };
        let candidates: Vec<_> = self.before.iter().copied().filter(is_new).collect();
        if !candidates.is_empty() {
            registry.retain(&led_to);
        }
        let mut kept = self.memory.tasks()?;
        kept.append(&mut self.memory.descriptors()?);
        if !candidates.is_empty() {
            thread::sleep(FREEING);
        }
        let now = self.memory.list()?;
        check(&now, registry, &discovery.processes)?;
        let now: HashMap<u64, Listed> =
            now.into_iter().filter(|it| it.init != Init::Lives).map(|it| (it.ns_id, it)).collect();
        // What had no init yet may have had one since, whose members have been seen
        // by nobody.
        let there: Vec<_> =
            candidates.into_iter().filter(|it| now.get(&it.ns_id) == Some(it)).collect();
        let unopened: Vec<_> =
            there.into_iter().filter(|&it| !open(it, registry, discovery)).collect();
        if !unopened.is_empty() {
            let still = self.memory.list()?;
            for it in unopened.into_iter().filter(|it| still.contains(it)) {
                registry.meet(it.inode, it.history());
                let code = DiagnosticCode::NamespaceUnopened;
                discovery.log.note(code, Some(Errno::STALE), None);
                discovery.in_kernel.insert(it.inode);
            }
        }
        let is_shown = |it: &Kept| {
            let shows = |listed: &Listed| {
                listed.inode == it.inode
                    && (discovery.in_kernel.contains(&it.inode)
                        || registry.ns_id(it.inode) == Some(Ok(it.ns_id)))
            };
            now.get(&it.ns_id).is_some_and(shows)
        };
        kept.retain(is_shown);
        let mut changing = HashSet::new();
        // What pidns has open keeps nothing once it has ended.
        for it in kept.into_iter().filter(|it| Some(it.pid) != self.proc.viewer()) {
            match self.holder(&it, &discovery.processes) {
                Some(holder) => discovery.holders.push((it.inode, holder)),
                None => {
                    changing.insert(it.inode);
                }
            }
        }
        discovery.in_kernel.retain(|inode| !changing.contains(inode));
        Ok(())
    }

    /// The holder, if /proc shows it, too.
    fn holder(&self, it: &Kept, processes: &[Process]) -> Option<Holder> {
        let Kept { inode, by, pid, tid, fd, file, .. } = *it;
        let process = processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        let comm = Some(processes.get(process)?.comm.clone());
        let of_file = |file| Holder::File { file, pid, comm: comm.clone(), fd };
        let holder = match by {
            By::Member => return None,
            By::ForChildren => Holder::PidForChildren { pid, comm, tid },
            By::Itself => Holder::Fd { pid, comm, fd },
            By::Pidfd => of_file(HoldingFile::Pidfd),
            By::Socket => of_file(HoldingFile::Socket),
            By::InFlight => of_file(HoldingFile::InFlight),
            By::Procfs => of_file(HoldingFile::Procfs),
        };
        let is_there = match by {
            By::ForChildren => self.proc.has_for_children(pid, tid, inode),
            _ => self.proc.has_open(pid, tid, fd, file),
        };
        is_there.then_some(holder)
    }
}

/// The inodes of the namespaces that a discovery leads to: somebody is in them,
/// or holds them.
fn led_to(discovery: &Discovery) -> HashSet<u64> {
    let members = discovery.processes.iter().filter_map(|it| it.namespace?.inode());
    members.chain(discovery.holders.iter().map(|(inode, _)| *inode)).collect()
}

/// Whether the kernel's list has the namespaces that processes are in. They are
/// held open, so they must be there.
fn check(
    now: &[Listed],
    registry: &NamespaceRegistry,
    processes: &[Process],
) -> Result<(), Unusable> {
    let listed: HashSet<(u64, u64)> = now.iter().map(|it| (it.inode, it.ns_id)).collect();
    let mut last = None;
    for process in processes {
        // Members of one often come one after the other.
        let Some(NamespaceId::Inode(inode)) =
            process.namespace.filter(|_| last != process.namespace)
        else {
            continue;
        };
        last = process.namespace;
        if let Some(Ok(ns_id)) = registry.ns_id(inode)
            && !listed.contains(&(inode, ns_id))
        {
            return Err(Unusable::Senseless);
        }
    }
    Ok(())
}

impl Listed {
    fn history(&self) -> InitHistory {
        match self.init {
            Init::HasGone => InitHistory::Existed,
            Init::Lives | Init::IsToCome => InitHistory::Unknown,
        }
    }
}

/// Opens a namespace, and has it shown; `false` where there is none any more. Since
/// Linux 6.19 the kernel says so, too, of those that no task, descriptor or mount
/// has: it keeps them in its list, and lets nobody open them.
fn open(it: Listed, registry: &NamespaceRegistry, discovery: &mut Discovery) -> bool {
    let opened = nsfs::open_by_handle(it.ns_id, it.inode);
    match opened.and_then(|fd| registry.keep(fd, it.history())) {
        Ok(()) => {}
        Err(Errno::STALE) => return false,
        Err(errno) => {
            registry.meet(it.inode, it.history());
            discovery.log.note(DiagnosticCode::NamespaceUnopened, Some(errno), None);
        }
    }
    discovery.in_kernel.insert(it.inode);
    true
}
