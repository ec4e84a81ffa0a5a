//! Infers facts that the kernel hides: the namespaces of processes, and the parents of namespaces.
//!
//! The inference uses facts that every user may read. These are PIDs at every level, parent
//! processes, and the leaders of sessions and process groups.
//!
//! Processes that are known to be in the same namespace form a *group*. These rules join groups:
//!
//! 1. A process with a single PID in `NSpid` is in the namespace that the procfs shows.
//! 2. A parent is in its child's namespace or in an ancestor of that namespace. The parent's level
//!    identifies the namespace. (Only a process or one of its ancestors can choose the namespace of
//!    the process. If a parent exits, the kernel chooses a new parent in the same namespace or in
//!    an ancestor.)
//! 3. A process can see the leader of its session or process group only if the leader is in the
//!    process's namespace or in a descendant. If the leader has the same level, both are in the
//!    same namespace.
//! 4. Every process is in a namespace with an init (PID 1). A group without an init joins the group
//!    with an init that may be in the same namespace. If there are several of these groups, the
//!    processes are ambiguous.
//! 5. A group with an init, but without an inode, is in a separate namespace. If it may be in the
//!    same namespace as a group with an inode, but without an init, the processes are ambiguous.
//!
//! Groups are never joined if the kernel reports that their namespaces differ.

mod groups;

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;

use rustix::io::Errno;

use self::groups::{Group, Groups, MOUNT};
use super::namespaces::RefusedParents;
use crate::collect::discovery::INITIAL_PID_NAMESPACE;
use crate::collect::log::DiagnosticLog;
use crate::collect::parse::Leaders;
use crate::model::{DiagnosticCode, Evidence, Namespace, NamespaceId, Pid, Process};

/// The facts that the inference uses, besides the processes and namespaces themselves.
pub struct Known<'a> {
    /// The PID namespace that the procfs shows, if known.
    pub mount: Option<NamespaceId>,
    /// Maps each process in an unknown namespace to its session leader and process group leader.
    pub leaders: &'a HashMap<Pid, Leaders>,
    /// The PIDs of terminated inits.
    pub terminated: &'a HashSet<Pid>,
    /// `true` if the scan is known to have found every init.
    pub all_seen: bool,
    /// Namespaces whose parents the kernel refused to reveal.
    pub refused_parents: &'a RefusedParents,
    /// Returns `true` if the process still exists after the scan.
    pub is_there: &'a dyn Fn(&Process) -> bool,
}

/// Fills in the missing namespaces of processes and the missing parents of namespaces. Returns the
/// PID namespace that the procfs belongs to, if known.
pub fn infer(
    processes: &mut [Process],
    namespaces: &mut Vec<Namespace>,
    known: &Known<'_>,
    log: &mut DiagnosticLog,
) -> Option<NamespaceId> {
    let has_open_parent = |namespace: &Namespace| {
        namespace.parent.is_none() && known.mount.is_some_and(|mount| mount != namespace.id)
    };
    let has_open_process = processes.iter().any(|process| process.namespace.is_none());
    if !has_open_process && !namespaces.iter().any(has_open_parent) {
        return known.mount;
    }
    let mut inference = Inference::new(processes, namespaces, known);
    inference.join_relatives();
    // Rule 4 is valid only if the scan has found every init.
    if known.all_seen {
        inference.join_groups_without_init();
    }
    inference.find_inodes_without_init();
    inference.place_processes(log);
    inference.place_namespaces(namespaces, log);
    inference.name(MOUNT)
}

/// Maps each level to the indices of the groups whose namespaces are at that level.
type GroupsByLevel = HashMap<usize, Vec<usize>>;

/// The groups of processes and the intermediate results of the inference.
struct Inference<'a> {
    known: &'a Known<'a>,
    groups: Groups,
    processes: &'a mut [Process],
    /// The group of each process, if the level of the process is known.
    of_process: Vec<Option<usize>>,
    /// Indices of the groups with a known inode and level, but without a known init.
    inodes_without_init: Vec<usize>,
    /// Cache of the results of `name`, keyed by group index.
    names: HashMap<usize, Option<NamespaceId>>,
}

impl<'a> Inference<'a> {
    /// Creates a group for each known namespace, and adds the processes to groups.
    fn new(processes: &'a mut [Process], namespaces: &[Namespace], known: &'a Known<'a>) -> Self {
        let mut groups = Groups::new();
        if let Some(inode) = known.mount.and_then(NamespaceId::inode) {
            groups.set_mount_inode(inode);
        }
        for namespace in namespaces {
            let Some(child) = namespace.id.inode() else { continue };
            let child = groups.with_inode(child);
            if let Some(parent) = namespace.parent.and_then(NamespaceId::inode) {
                groups.all[child].parent = Some(groups.with_inode(parent));
            }
        }
        let add = |process: &Process| add_process(&mut groups, process, known.terminated);
        let of_process = processes.iter().map(add).collect();
        Self {
            known,
            groups,
            processes,
            of_process,
            inodes_without_init: Vec::new(),
            names: HashMap::new(),
        }
    }

    /// Returns the index of a process's group, and the number of PIDs of the process.
    fn group_of(&self, pid: Pid) -> Option<(usize, usize)> {
        let index = self.processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        Some((self.of_process[index]?, self.processes[index].nspid.len()))
    }

    /// Joins each process with its parent and its leaders (rules 2 and 3).
    fn join_relatives(&mut self) {
        for index in 0..self.processes.len() {
            let Some(group) = self.of_process[index] else { continue };
            let process = &self.processes[index];
            let (pid, levels) = (process.pid, process.nspid.len());
            if let Some(ppid) = process.ppid {
                match self.group_of(ppid) {
                    Some((parent, parent_levels)) if parent_levels <= levels => {
                        if let Some(ancestor) = self.groups.ancestor(group, parent_levels - 1) {
                            self.groups.join(ancestor, parent);
                        }
                    }
                    _ => {
                        let group = self.groups.find(group);
                        self.groups.all[group].has_unseen_parent = true;
                    }
                }
            }
            let Some(leaders) = self.known.leaders.get(&pid) else { continue };
            for leader in [leaders.session, leaders.group].into_iter().flatten() {
                if let Some((leader, leader_levels)) = self.group_of(leader)
                    && leader_levels == levels
                {
                    self.groups.join(group, leader);
                }
            }
        }
    }

    /// Joins each group without an init to the only matching group with an init (rule 4).
    fn join_groups_without_init(&mut self) {
        self.collect_pids_in_use();
        loop {
            // Joining two groups can rule out candidates for other groups, so find the candidates
            // again.
            let (orphans, with_init) = self.orphans_and_candidates();
            let mut changed = false;
            for (orphan, level) in orphans {
                let group = &self.groups.all[orphan];
                if group.joined.is_some() || group.has_unseen_parent {
                    continue;
                }
                let same_level = with_init.get(&level).map_or(&[][..], Vec::as_slice);
                let mut candidates = same_level.iter().copied().filter(|&candidate| {
                    self.groups.agree(orphan, candidate)
                        && self.groups.have_distinct_pids(orphan, candidate)
                });
                let only = candidates.next().filter(|_| candidates.next().is_none());
                if let Some(candidate) = only
                    // A living member proves that its init has not vanished during the scan.
                    && self.has_living_member(orphan)
                {
                    self.groups.join(candidate, orphan);
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// Returns two sets of groups: those without an init, each with its level, and those with an
    /// init, keyed by level. A group of the first set may join a group of the second.
    fn orphans_and_candidates(&self) -> (Vec<(usize, usize)>, GroupsByLevel) {
        let (mut orphans, mut with_init) = (Vec::new(), GroupsByLevel::new());
        for (index, group) in self.groups.all.iter().enumerate() {
            let Some(level) = group.level.filter(|&level| level > 0) else { continue };
            // A zombie init without other threads is the last member of its namespace.
            if group.joined.is_some() || group.has_zombie_init {
                continue;
            }
            match group.init {
                Some(_) => with_init.entry(level).or_default().push(index),
                None => orphans.push((index, level)),
            }
        }
        (orphans, with_init)
    }

    /// Returns `true` if the group's member with the lowest PID still exists.
    fn has_living_member(&self, group: usize) -> bool {
        let index = |pid| self.processes.binary_search_by_key(&pid, |process| process.pid).ok();
        let member = self.groups.all[group].lowest.and_then(index);
        member.is_some_and(|member| (self.known.is_there)(&self.processes[member]))
    }

    /// Fills in `pids_in_use` of all groups.
    fn collect_pids_in_use(&mut self) {
        for index in 0..self.processes.len() {
            let Some(group) = self.of_process[index] else { continue };
            let mut group = self.groups.find(group);
            // A process uses a PID in its own namespace and in each ancestor.
            for level in (1..self.processes[index].nspid.len()).rev() {
                let pid = self.processes[index].nspid[level];
                self.groups.all[group].pids_in_use.insert(pid);
                let Some(parent) = self.groups.parent(group) else { break };
                self.groups.all[parent].level.get_or_insert(level - 1);
                group = parent;
            }
        }
    }

    fn find_inodes_without_init(&mut self) {
        let is_without_init = |group: &Group| {
            group.joined.is_none()
                && group.inode.is_some()
                && group.init.is_none()
                && group.level.is_some_and(|level| level > 0)
        };
        let all = self.groups.all.iter().enumerate();
        self.inodes_without_init =
            all.filter(|(_, group)| is_without_init(group)).map(|(index, _)| index).collect();
    }

    /// Returns the ID of a group's namespace, or `None` if the namespace is ambiguous.
    fn name(&mut self, group: usize) -> Option<NamespaceId> {
        let group = self.groups.find(group);
        if let Some(&name) = self.names.get(&group) {
            return name;
        }
        let name = self.identify(group);
        self.names.insert(group, name);
        name
    }

    /// Determines the ID of a group's namespace, unless the namespace is ambiguous (rule 5).
    fn identify(&mut self, group: usize) -> Option<NamespaceId> {
        let it = &self.groups.all[group];
        if let Some(inode) = it.inode {
            return Some(NamespaceId::Inode(inode));
        }
        if let Some(init) = it.init {
            return (!self.may_have_inode(group)).then_some(NamespaceId::Unread(init));
        }
        let (level, lowest) = (it.level?, it.lowest?);
        if group == MOUNT {
            return Some(NamespaceId::Unread(lowest));
        }
        // Every namespace with members has an init. So if the scan has found every init, a group
        // without a known init shares its namespace with another group.
        let is_separate = !self.known.all_seen
            && !(0..self.groups.all.len()).any(|other| {
                other != group
                    && self.groups.all[other].joined.is_none()
                    && self.groups.all[other].level == Some(level)
                    && self.groups.all[other].lowest.is_some()
                    && self.groups.agree(group, other)
            });
        is_separate.then_some(NamespaceId::Unread(lowest))
    }

    /// Returns `true` if the group may be in a namespace that has a known inode, but no known init.
    fn may_have_inode(&mut self, group: usize) -> bool {
        if self.groups.all[group].has_zombie_init {
            return false;
        }
        (0..self.inodes_without_init.len()).any(|index| {
            let other = self.inodes_without_init[index];
            self.groups.all[other].level == self.groups.all[group].level
                && self.groups.agree(group, other)
                && self.groups.have_distinct_pids(group, other)
        })
    }

    fn place_processes(&mut self, log: &mut DiagnosticLog) {
        for index in 0..self.processes.len() {
            if self.processes[index].namespace.is_some() {
                continue;
            }
            let id = self.of_process[index].and_then(|group| self.name(group));
            let process = &mut self.processes[index];
            process.namespace = id;
            // A single PID in `NSpid` proves that the process is in the PID namespace that the
            // procfs shows.
            if process.nspid.len() != 1 || id.is_some_and(|id| id.inode().is_none()) {
                process.evidence = Evidence::Inferred;
            }
            if id.is_none() {
                log.note(DiagnosticCode::ProcessesAmbiguous, None, Some(process.pid));
            }
        }
    }

    /// Adds the namespaces that could not be read, and fills in the missing parents.
    fn place_namespaces(&mut self, namespaces: &mut Vec<Namespace>, log: &mut DiagnosticLog) {
        let mount = self.name(MOUNT);
        let indices = namespaces.iter().enumerate();
        let mut indices: HashMap<NamespaceId, usize> =
            indices.map(|(index, it)| (it.id, index)).collect();
        for group in 0..self.groups.all.len() {
            if self.groups.all[group].joined.is_none()
                && let Some(id) = self.name(group)
            {
                let index = *indices.entry(id).or_insert_with(|| {
                    namespaces.push(Namespace::unread(id));
                    namespaces.len() - 1
                });
                if namespaces[index].parent.is_none() && Some(id) != mount {
                    self.place_namespace(group, &mut namespaces[index], log);
                }
            }
        }
    }

    /// Fills in the parent of a namespace, or reports that the parent is unknown.
    fn place_namespace(
        &mut self,
        group: usize,
        namespace: &mut Namespace,
        log: &mut DiagnosticLog,
    ) {
        let inode = namespace.id.inode();
        let has_level = self.groups.all[group].level.is_some();
        let parent = if has_level { self.groups.parent(group) } else { None };
        namespace.parent = parent.and_then(|parent| self.name(parent));
        if namespace.parent.is_some() {
            namespace.evidence = Evidence::Inferred;
            // A namespace without a known inode already has a diagnostic.
            if inode.is_some() {
                log.note(DiagnosticCode::ParentsInferred, None, None);
            }
            return;
        }
        let refused = self.known.refused_parents;
        namespace.parent_unknown =
            has_level || (refused.all_have_parents && inode != Some(INITIAL_PID_NAMESPACE));
        let is_refused = inode.is_some_and(|inode| refused.inodes.contains(&inode));
        if is_refused && (refused.is_certain || !has_level) {
            log.note(DiagnosticCode::ParentUnreadable, Some(Errno::PERM), None);
        } else if has_level {
            log.note(DiagnosticCode::ParentsUnknown, None, None);
        }
    }
}

/// Adds a process to the group of its namespace, or to a new group if the namespace is unknown.
/// Returns the index of the group, or `None` if the nesting level of the namespace is unknown.
fn add_process(groups: &mut Groups, process: &Process, terminated: &HashSet<Pid>) -> Option<usize> {
    let level = process.nspid.len().checked_sub(1)?;
    let index = match (level, process.namespace.and_then(NamespaceId::inode)) {
        (0, inode) => {
            if let Some(inode) = inode {
                groups.set_mount_inode(inode);
            }
            MOUNT
        }
        (_, Some(inode)) => groups.with_inode(inode),
        (_, None) => groups.add(Group::default()),
    };
    let pid = process.pid;
    let group = &mut groups.all[index];
    group.level = Some(level);
    group.lowest = Some(group.lowest.map_or(pid, |lowest| lowest.min(pid)));
    if process.nspid.last() == Some(&Pid::INIT) {
        let is_alone = process.is_zombie() && process.threads == Some(NonZeroU32::MIN);
        group.init = Some(pid);
        group.has_zombie_init = is_alone && terminated.contains(&pid);
    }
    Some(index)
}

#[cfg(test)]
mod tests;
