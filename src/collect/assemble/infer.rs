//! Places processes whose namespace link may not be read, and finds the parents
//! of namespaces whose parent the kernel does not name. It uses only what every
//! viewer may read: PIDs in every level, parents, and the leaders of sessions
//! and process groups. Nothing is read or asked here, but whether a process is
//! still there.
//!
//! Processes that must share a namespace are gathered in *groups*. The rules
//! join groups that must be the same namespace (a union-find, in which joining
//! two groups joins their parents as well):
//!
//! 1. A process with one PID is in the namespace of the /proc mount.
//! 2. The namespace of a process's parent is the process's own or an ancestor
//!    of it: only the process itself or its ancestors can have put it there,
//!    and whoever adopts it when its parent exits is never deeper. So its
//!    namespace, or the ancestor at the parent's level, is the parent's namespace.
//! 3. A leader of a process's session or process group that is of the same
//!    level, and has a PID in the process's own namespace, is in that namespace.
//! 4. Every namespace has an init, which has PID 1 in it. So a group without
//!    an init is a part of another group: one of the same level whose parents
//!    agree, whose init is not a zombie without other threads (which the kernel
//!    makes of an init only when all others have gone), and that uses none of
//!    the same PIDs. If there is just one such group, the two are joined. If
//!    there are several, the processes are ambiguous. This rule holds only if no
//!    process is hidden and no init has vanished during the scan.
//! 5. A group with an init, but without a known inode, is a namespace of its
//!    own, named after its init. But it is ambiguous if it may be the rest of a
//!    group with an inode and without an init: one namespace would be shown as two.
//!
//! No rule contradicts what the kernel did say: two groups that are known to be
//! different namespaces are never joined.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;

use super::describe::RefusedParents;
use rustix::io::Errno;

use crate::collect::discovery::INITIAL_PID_NAMESPACE;
use crate::collect::log::DiagnosticLog;
use crate::collect::parse::Leaders;
use crate::model::{DiagnosticCode, Evidence, Namespace, NamespaceId, Pid, Process};

/// What the rules use beside the processes and namespaces themselves.
pub struct Known<'a> {
    /// The namespace whose numbers the /proc speaks in, where that was read.
    pub mount: Option<NamespaceId>,
    /// Leaders of processes whose namespace was not read.
    pub leaders: &'a HashMap<Pid, Leaders>,
    /// Inits that have terminated.
    pub terminated: &'a HashSet<Pid>,
    /// Whether no process is hidden, so that an init that was not seen has vanished.
    pub all_seen: bool,
    /// Namespaces whose parents the kernel refused to name.
    pub refused_parents: &'a RefusedParents,
    /// Whether a process is still there, after all were read. The kernel keeps
    /// an init until every other process of its namespace has gone. So if a
    /// member is still there, its init did not vanish during the scan.
    pub is_there: &'a dyn Fn(&Process) -> bool,
}

/// Fills in `namespace` of processes and `parent` of namespaces where the
/// kernel left them open, and adds the namespaces that were not read.
///
/// Returns the namespace of the /proc mount, named after a process if need be.
pub fn infer(
    processes: &mut [Process],
    namespaces: &mut Vec<Namespace>,
    known: &Known<'_>,
    log: &mut DiagnosticLog,
) -> Option<NamespaceId> {
    let open_parents = |namespace: &Namespace| {
        namespace.parent.is_none() && known.mount.is_some_and(|mount| mount != namespace.id)
    };
    let members_open = processes.iter().any(|process| process.namespace.is_none());
    if !members_open && !namespaces.iter().any(open_parents) {
        return known.mount;
    }
    let mut groups = Groups::new(processes, namespaces, known);
    groups.join_relatives(known.leaders);
    if known.all_seen {
        groups.join_groups_without_init(known);
    }
    groups.conclude(known, namespaces, log)
}

/// A namespace, as far as it is known.
#[derive(Debug, Default)]
struct Group {
    /// Where it was joined to another: the group to ask instead.
    joined: Option<usize>,
    /// Its level below the namespace of the /proc mount; `None` where no
    /// process tells.
    level: Option<usize>,
    parent: Option<usize>,
    inode: Option<u64>,
    init: Option<Pid>,
    lowest: Option<Pid>,
    /// Its init is a zombie without other threads, so no other process is left
    /// in it. Of an init with threads, the leader may be a zombie while the last
    /// thread still waits for the members.
    has_zombie_init: bool,
    /// The parent of a member was not seen, so a process that rule 4 would have
    /// to know of may be missing.
    has_unseen_parent: bool,
    /// PIDs in use in it, by its members and those of its descendants.
    numbers: HashSet<Pid>,
}

struct Groups<'a> {
    all: Vec<Group>,
    /// The group of the /proc mount's namespace.
    mount: usize,
    processes: &'a mut [Process],
    /// The group of each process; `None` where its level is unknown.
    of_process: Vec<Option<usize>>,
    by_inode: HashMap<u64, usize>,
    /// In the end, groups with processes in or below them that have an inode,
    /// but no init: it was not read, or not seen.
    without_init: Vec<usize>,
}

impl<'a> Groups<'a> {
    fn new(processes: &'a mut [Process], namespaces: &[Namespace], known: &Known<'_>) -> Self {
        let mount = Group { level: Some(0), ..Group::default() };
        let mut groups = Self {
            all: vec![mount],
            mount: 0,
            of_process: Vec::with_capacity(processes.len()),
            processes,
            by_inode: HashMap::new(),
            without_init: Vec::new(),
        };
        if let Some(inode) = known.mount.and_then(NamespaceId::inode) {
            groups.all[0].inode = Some(inode);
            groups.by_inode.insert(inode, 0);
        }
        for namespace in namespaces {
            let Some(child) = namespace.id.inode() else { continue };
            let child = groups.of_inode(child);
            if let Some(parent) = namespace.parent.and_then(NamespaceId::inode) {
                groups.all[child].parent = Some(groups.of_inode(parent));
            }
        }
        for index in 0..groups.processes.len() {
            let process = &groups.processes[index];
            let (pid, is_init) = (process.pid, process.nspid.last() == Some(&Pid::INIT));
            let is_last = process.is_zombie() && process.threads == Some(NonZeroU32::MIN);
            let level = process.nspid.len().checked_sub(1);
            let inode = process.namespace.and_then(NamespaceId::inode);
            let group = match (level, inode) {
                (None, _) => None,
                (Some(0), inode) => {
                    if let Some(inode) = inode {
                        groups.all[0].inode.get_or_insert(inode);
                        groups.by_inode.insert(inode, 0);
                    }
                    Some(0)
                }
                (Some(_), Some(inode)) => Some(groups.of_inode(inode)),
                (Some(_), None) => Some(groups.add(Group::default())),
            };
            if let Some(group) = group {
                let group = &mut groups.all[group];
                group.level = level;
                group.lowest = Some(group.lowest.map_or(pid, |lowest| lowest.min(pid)));
                if is_init {
                    group.init = Some(pid);
                    group.has_zombie_init = is_last && known.terminated.contains(&pid);
                }
            }
            groups.of_process.push(group);
        }
        groups
    }

    fn add(&mut self, group: Group) -> usize {
        self.all.push(group);
        self.all.len() - 1
    }

    fn of_inode(&mut self, inode: u64) -> usize {
        if let Some(&group) = self.by_inode.get(&inode) {
            return group;
        }
        let group = self.add(Group { inode: Some(inode), ..Group::default() });
        self.by_inode.insert(inode, group);
        group
    }

    /// The group that this one was joined to in the end.
    fn find(&mut self, group: usize) -> usize {
        let mut top = group;
        while let Some(next) = self.all[top].joined {
            top = next;
        }
        // Shortens the way for the next time.
        let mut step = group;
        while let Some(next) = self.all[step].joined {
            self.all[step].joined = Some(top);
            step = next;
        }
        top
    }

    /// The group of the namespace that this one was made in, even where
    /// nothing is known of it but its level; `None` at the top.
    fn parent(&mut self, group: usize) -> Option<usize> {
        let group = self.find(group);
        if let Some(parent) = self.all[group].parent {
            return Some(self.find(parent));
        }
        let level = self.all[group].level?.checked_sub(1)?;
        let parent = match level {
            0 => self.mount,
            _ => self.add(Group { level: Some(level), ..Group::default() }),
        };
        self.all[group].parent = Some(parent);
        Some(parent)
    }

    fn ancestor(&mut self, group: usize, level: usize) -> Option<usize> {
        let mut group = self.find(group);
        while self.all[group].level? > level {
            let below = self.all[group].level?;
            group = self.parent(group)?;
            // A namespace without members has no level of its own yet.
            self.all[group].level.get_or_insert(below - 1);
        }
        Some(group)
    }

    /// Whether two groups can be one namespace, and so their parents.
    fn agree(&mut self, one: usize, other: usize) -> bool {
        let (mut one, mut other) = (self.find(one), self.find(other));
        loop {
            if one == other {
                return true;
            }
            let (a, b) = (&self.all[one], &self.all[other]);
            let differ = |a: Option<u64>, b: Option<u64>| a.is_some() && b.is_some() && a != b;
            if differ(a.inode, b.inode)
                || differ(a.init.map(pid), b.init.map(pid))
                || differ(a.level.map(|level| level as u64), b.level.map(|level| level as u64))
            {
                return false;
            }
            let (Some(a), Some(b)) = (a.parent, b.parent) else { return true };
            (one, other) = (self.find(a), self.find(b));
        }
    }

    /// Makes two groups one, and their parents, unless they are known to differ.
    fn join(&mut self, one: usize, other: usize) {
        if !self.agree(one, other) {
            return;
        }
        let (mut one, mut other) = (self.find(one), self.find(other));
        while one != other {
            // The group of the mount keeps its index.
            let (kept, gone) = if other == self.mount { (other, one) } else { (one, other) };
            let from = std::mem::take(&mut self.all[gone]);
            self.all[gone].joined = Some(kept);
            let into = &mut self.all[kept];
            into.inode = into.inode.or(from.inode);
            into.init = into.init.or(from.init);
            into.level = into.level.or(from.level);
            into.lowest = [into.lowest, from.lowest].into_iter().flatten().min();
            into.has_unseen_parent |= from.has_unseen_parent;
            into.has_zombie_init |= from.has_zombie_init;
            into.numbers.extend(from.numbers);
            match (into.parent, from.parent) {
                (Some(a), Some(b)) => (one, other) = (self.find(a), self.find(b)),
                (a, b) => {
                    into.parent = a.or(b);
                    return;
                }
            }
        }
    }

    fn group_of(&self, pid: Pid) -> Option<(usize, usize)> {
        let index = self.processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        Some((self.of_process[index]?, self.processes[index].nspid.len()))
    }

    /// Rules 2 and 3.
    fn join_relatives(&mut self, leaders: &HashMap<Pid, Leaders>) {
        for index in 0..self.processes.len() {
            let Some(group) = self.of_process[index] else { continue };
            let process = &self.processes[index];
            let (pid, levels) = (process.pid, process.nspid.len());
            if let Some(ppid) = process.ppid {
                match self.group_of(ppid) {
                    Some((parent, parent_levels)) if parent_levels <= levels => {
                        if let Some(ancestor) = self.ancestor(group, parent_levels - 1) {
                            self.join(ancestor, parent);
                        }
                    }
                    _ => {
                        let group = self.find(group);
                        self.all[group].has_unseen_parent = true;
                    }
                }
            }
            let Some(known) = leaders.get(&pid) else { continue };
            for leader in [known.session, known.group].into_iter().flatten() {
                if let Some((leader, leader_levels)) = self.group_of(leader)
                    && leader_levels == levels
                {
                    self.join(group, leader);
                }
            }
        }
    }

    /// Rule 4.
    fn join_groups_without_init(&mut self, known: &Known<'_>) {
        self.count_numbers();
        loop {
            let mut by_level: HashMap<usize, Vec<usize>> = HashMap::new();
            let mut orphans = Vec::new();
            for group in 0..self.all.len() {
                let it = &self.all[group];
                if it.joined.is_some()
                    || it.has_zombie_init
                    || it.level.is_none_or(|level| level == 0)
                {
                    continue;
                }
                if it.init.is_none() {
                    orphans.push(group);
                    continue;
                }
                by_level.entry(it.level.unwrap_or_default()).or_default().push(group);
            }
            let mut changed = false;
            for orphan in orphans {
                if self.all[orphan].joined.is_some() || self.all[orphan].has_unseen_parent {
                    continue;
                }
                let Some(level) = self.all[orphan].level else { continue };
                let candidates = by_level.get(&level).map_or(&[][..], Vec::as_slice);
                let mut meant = None;
                let mut several = false;
                for &candidate in candidates {
                    if self.agree(orphan, candidate) && self.is_free_of(orphan, candidate) {
                        several |= meant.is_some();
                        meant = Some(candidate);
                    }
                    if several {
                        break;
                    }
                }
                let meant = meant.filter(|_| !several && self.is_there(orphan, known));
                if let Some(candidate) = meant {
                    self.join(candidate, orphan);
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// Whether a process of a group is still there.
    fn is_there(&self, group: usize, known: &Known<'_>) -> bool {
        let index = |pid| self.processes.binary_search_by_key(&pid, |process| process.pid).ok();
        let member = self.all[group].lowest.and_then(index);
        member.is_some_and(|member| (known.is_there)(&self.processes[member]))
    }

    /// Notes the numbers in use at every level.
    fn count_numbers(&mut self) {
        for index in 0..self.processes.len() {
            let Some(group) = self.of_process[index] else { continue };
            let mut group = self.find(group);
            for level in (1..self.processes[index].nspid.len()).rev() {
                let number = self.processes[index].nspid[level];
                self.all[group].numbers.insert(number);
                let Some(parent) = self.parent(group) else { break };
                self.all[parent].level.get_or_insert(level - 1);
                group = parent;
            }
        }
    }

    /// Whether no number is in use in both.
    fn is_free_of(&mut self, one: usize, other: usize) -> bool {
        let (one, other) = (self.find(one), self.find(other));
        self.all[one].numbers.is_disjoint(&self.all[other].numbers)
    }

    /// The name of a group that is known well enough to be a namespace.
    fn id(&mut self, group: usize, known: &Known<'_>) -> Option<NamespaceId> {
        let group = self.find(group);
        let it = &self.all[group];
        if let Some(inode) = it.inode {
            return Some(NamespaceId::Inode(inode));
        }
        if let Some(init) = it.init {
            return (!self.may_be_read(group)).then_some(NamespaceId::Unread(init));
        }
        let (level, lowest) = (it.level?, it.lowest?);
        if group == self.mount {
            return Some(NamespaceId::Unread(lowest));
        }
        // The group has no init. If every process was seen, it is therefore a
        // part of one of several other groups, and ambiguous. If some are hidden,
        // it is a namespace of its own, provided that it can be no other group.
        let alone = !known.all_seen
            && !(0..self.all.len()).any(|other| {
                other != group
                    && self.all[other].joined.is_none()
                    && self.all[other].level == Some(level)
                    && self.all[other].lowest.is_some()
                    && self.agree(group, other)
            });
        alone.then_some(NamespaceId::Unread(lowest))
    }

    /// Whether a group whose inode is unknown may be a namespace that is known
    /// by its inode, and of which members were read and the init was not.
    fn may_be_read(&mut self, group: usize) -> bool {
        if self.all[group].has_zombie_init {
            return false;
        }
        (0..self.without_init.len()).any(|index| {
            let other = self.without_init[index];
            self.all[other].level == self.all[group].level
                && self.agree(group, other)
                && self.is_free_of(group, other)
        })
    }

    fn conclude(
        mut self,
        known: &Known<'_>,
        namespaces: &mut Vec<Namespace>,
        log: &mut DiagnosticLog,
    ) -> Option<NamespaceId> {
        let is_without_init = |group: &usize| {
            let group = &self.all[*group];
            group.joined.is_none()
                && group.inode.is_some()
                && group.init.is_none()
                && group.level.is_some_and(|level| level > 0)
        };
        self.without_init = (0..self.all.len()).filter(is_without_init).collect();
        let mut names: HashMap<usize, Option<NamespaceId>> = HashMap::new();
        let mut name = |groups: &mut Self, group: usize| {
            let group = groups.find(group);
            *names.entry(group).or_insert_with(|| groups.id(group, known))
        };
        for index in 0..self.processes.len() {
            let process = &self.processes[index];
            if process.namespace.is_some() {
                continue;
            }
            let (pid, outermost) = (process.pid, process.nspid.len() == 1);
            let id = self.of_process[index].and_then(|group| name(&mut self, group));
            let process = &mut self.processes[index];
            process.namespace = id;
            if !outermost || id.is_some_and(|id| id.inode().is_none()) {
                process.evidence = Evidence::Inferred;
            }
            if id.is_none() {
                log.note(DiagnosticCode::ProcessesAmbiguous, None, Some(pid));
            }
        }
        let mount = self.mount;
        let mount = name(&mut self, mount);
        let mut seen: HashMap<NamespaceId, usize> =
            namespaces.iter().enumerate().map(|(index, it)| (it.id, index)).collect();
        for group in 0..self.all.len() {
            if self.all[group].joined.is_some() {
                continue;
            }
            let Some(id) = name(&mut self, group) else { continue };
            let index = *seen.entry(id).or_insert_with(|| {
                namespaces.push(Namespace::unread(id));
                namespaces.len() - 1
            });
            let namespace = &mut namespaces[index];
            if namespace.parent.is_some() || Some(id) == mount {
                continue;
            }
            let level = self.all[group].level;
            let parent = level.and_then(|_| self.parent(group));
            namespace.parent = parent.and_then(|parent| name(&mut self, parent));
            if namespace.parent.is_some() {
                namespace.evidence = Evidence::Inferred;
                // Another diagnostic tells of one that was not read at all.
                if id.inode().is_some() {
                    log.note(DiagnosticCode::ParentsInferred, None, None);
                }
                continue;
            }
            let refused = known.refused_parents;
            namespace.parent_unknown = level.is_some()
                || (refused.all_have_parents && id.inode() != Some(INITIAL_PID_NAMESPACE));
            let is_refused = id.inode().is_some_and(|inode| refused.inodes.contains(&inode));
            if is_refused && (refused.is_certain || level.is_none()) {
                log.note(DiagnosticCode::ParentUnreadable, Some(Errno::PERM), None);
            } else if level.is_some() {
                log.note(DiagnosticCode::ParentsUnknown, None, None);
            }
        }
        mount
    }
}

fn pid(pid: Pid) -> u64 {
    pid.as_u32().into()
}

#[cfg(test)]
mod tests;
