//! Union-find structure for groups of processes in the same namespace.

use std::collections::{HashMap, HashSet};

use crate::model::Pid;

/// Index of the group for the PID namespace that the procfs shows.
pub const MOUNT: usize = 0;

/// Processes in the same namespace, and the known facts about this namespace.
#[derive(Debug, Default)]
pub struct Group {
    /// Index of the group that this group was merged into, if any.
    pub joined: Option<usize>,
    /// Level of the namespace, counted from the namespace that the procfs shows.
    pub level: Option<usize>,
    pub parent: Option<usize>,
    pub inode: Option<u64>,
    pub init: Option<Pid>,
    /// The lowest PID among the group's members.
    pub lowest: Option<Pid>,
    /// `true` if the init is a zombie without other threads. Such an init has outlived all other
    /// members of the namespace.
    pub has_zombie_init: bool,
    /// `true` if the scan did not find the parent of a member.
    pub has_unseen_parent: bool,
    /// The PIDs in use in the namespace, by its own members or by members of its descendants.
    pub pids_in_use: HashSet<Pid>,
}

/// A union-find collection that merges groups of processes in the same namespace.
pub struct Groups {
    pub all: Vec<Group>,
    by_inode: HashMap<u64, usize>,
}

impl Groups {
    /// Creates a collection with a single group, for the PID namespace that the procfs shows.
    pub fn new() -> Self {
        let mount = Group { level: Some(0), ..Group::default() };
        Self { all: vec![mount], by_inode: HashMap::new() }
    }

    /// Sets the inode of the PID namespace that the procfs shows, unless it was already set.
    pub fn set_mount_inode(&mut self, inode: u64) {
        self.all[MOUNT].inode.get_or_insert(inode);
        self.by_inode.insert(inode, MOUNT);
    }

    pub fn add(&mut self, group: Group) -> usize {
        self.all.push(group);
        self.all.len() - 1
    }

    /// Returns or creates the group with this inode.
    pub fn with_inode(&mut self, inode: u64) -> usize {
        if let Some(&group) = self.by_inode.get(&inode) {
            return group;
        }
        let group = self.add(Group { inode: Some(inode), ..Group::default() });
        self.by_inode.insert(inode, group);
        group
    }

    /// Returns the representative of this group (union-find).
    pub fn find(&mut self, group: usize) -> usize {
        let mut top = group;
        while let Some(next) = self.all[top].joined {
            top = next;
        }
        // Link every group on the path directly to the representative (path compression).
        let mut step = group;
        while let Some(next) = self.all[step].joined {
            self.all[step].joined = Some(top);
            step = next;
        }
        top
    }

    /// Returns the group of the parent namespace, and creates the group if needed. Returns `None`
    /// if neither the parent nor the nesting level of the namespace is known.
    pub fn parent(&mut self, group: usize) -> Option<usize> {
        let group = self.find(group);
        if let Some(parent) = self.all[group].parent {
            return Some(self.find(parent));
        }
        // The group `MOUNT` has level 0, and thus no parent.
        let level = self.all[group].level?.checked_sub(1)?;
        let parent = match level {
            0 => MOUNT,
            _ => self.add(Group { level: Some(level), ..Group::default() }),
        };
        self.all[group].parent = Some(parent);
        Some(parent)
    }

    /// Returns the group of the ancestor namespace at this level.
    pub fn ancestor(&mut self, group: usize, level: usize) -> Option<usize> {
        let mut group = self.find(group);
        while self.all[group].level? > level {
            let below = self.all[group].level?;
            group = self.parent(group)?;
            // An ancestor without members has no level yet, so derive the level from the child's
            // level.
            self.all[group].level.get_or_insert(below - 1);
        }
        Some(group)
    }

    /// Returns `false` if two groups are known to be in different namespaces.
    pub fn agree(&mut self, one: usize, other: usize) -> bool {
        fn differ<T: PartialEq + Copy>(a: Option<T>, b: Option<T>) -> bool {
            a.is_some() && b.is_some() && a != b
        }
        let (mut one, mut other) = (self.find(one), self.find(other));
        loop {
            if one == other {
                return true;
            }
            let (a, b) = (&self.all[one], &self.all[other]);
            if differ(a.inode, b.inode) || differ(a.init, b.init) || differ(a.level, b.level) {
                return false;
            }
            let (Some(a), Some(b)) = (a.parent, b.parent) else { return true };
            (one, other) = (self.find(a), self.find(b));
        }
    }

    /// Merges two groups, and the groups of their ancestor namespaces. Does nothing if the two
    /// groups are known to be in different namespaces.
    pub fn join(&mut self, one: usize, other: usize) {
        if !self.agree(one, other) {
            return;
        }
        let (mut one, mut other) = (self.find(one), self.find(other));
        while one != other {
            let (kept, gone) = if other == MOUNT { (other, one) } else { (one, other) };
            let from = std::mem::take(&mut self.all[gone]);
            self.all[gone].joined = Some(kept);
            let into = &mut self.all[kept];
            into.inode = into.inode.or(from.inode);
            into.init = into.init.or(from.init);
            into.level = into.level.or(from.level);
            into.lowest = [into.lowest, from.lowest].into_iter().flatten().min();
            into.has_unseen_parent |= from.has_unseen_parent;
            into.has_zombie_init |= from.has_zombie_init;
            into.pids_in_use.extend(from.pids_in_use);
            match (into.parent, from.parent) {
                (Some(a), Some(b)) => (one, other) = (self.find(a), self.find(b)),
                (a, b) => {
                    into.parent = a.or(b);
                    return;
                }
            }
        }
    }

    /// Returns `true` if the two groups have no PID in common.
    pub fn have_distinct_pids(&mut self, one: usize, other: usize) -> bool {
        let (one, other) = (self.find(one), self.find(other));
        self.all[one].pids_in_use.is_disjoint(&self.all[other].pids_in_use)
    }
}
