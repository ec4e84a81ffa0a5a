//! Every truth that a view leaves possible, one after the other: slow, obvious
//! and good for a handful of processes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;

use crate::model::{NamespaceId, Pid, Process};
use crate::testing::forest::View;

/// A namespace of a [`World`]: that of /proc (`None`), or the one whose init is
/// the process with this index. There are no others with processes, as every
/// process is seen and an init stays until all else in its namespace is gone.
pub type Home = Option<usize>;

/// A possible truth.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The namespace of each process.
    pub home: Vec<Home>,
    /// The namespace in which that of each init was made.
    pub above: BTreeMap<usize, Home>,
    /// The namespaces whose inode is known.
    pub by_inode: HashMap<u64, Home>,
}

impl World {
    /// The namespace that an ID means in this world, if it has processes.
    pub fn meant(&self, view: &View, id: NamespaceId) -> Option<Home> {
        match id {
            NamespaceId::Inode(inode) => self.by_inode.get(&inode).copied(),
            NamespaceId::Unread(pid) => Some(self.home[index(view, pid)?]),
        }
    }

    /// The inode of a namespace, where it is known.
    pub fn inode(&self, home: Home) -> Option<u64> {
        self.by_inode.iter().find(|&(_, &named)| named == home).map(|(&inode, _)| inode)
    }

    /// A namespace and those above it, innermost first.
    fn climb(&self, home: Home) -> Vec<Home> {
        let mut homes = vec![home];
        while let Some(Some(init)) = homes.last() {
            homes.push(self.above[init]);
        }
        homes
    }

    /// Notes that an inode is that of a namespace, unless either has another.
    fn name(&mut self, inode: u64, home: Home) -> bool {
        let is_taken = |(&other, &named): (&u64, &Home)| named == home && other != inode;
        !self.by_inode.iter().any(is_taken) && *self.by_inode.entry(inode).or_insert(home) == home
    }

    /// Names namespaces by what links and the kernel told; `false` where that
    /// cannot be so.
    fn name_all(&mut self, view: &View) -> bool {
        let links = view.processes.iter().zip(self.home.clone());
        let mut links = links.filter_map(|(it, home)| Some((it.namespace?.inode()?, home)));
        let known_mount = view.known_mount.and_then(NamespaceId::inode);
        if !links.all(|(inode, home)| self.name(inode, home))
            || !known_mount.is_none_or(|inode| self.name(inode, None))
        {
            return false;
        }
        // From a namespace to its parent, until no more is named that way.
        loop {
            let before = self.by_inode.len();
            for namespace in &view.namespaces {
                let inodes = (namespace.id.inode(), namespace.parent.and_then(NamespaceId::inode));
                if let (Some(child), Some(parent)) = inodes
                    && let Some(&Some(init)) = self.by_inode.get(&child)
                    && !self.name(parent, self.above[&init])
                {
                    return false;
                }
            }
            if self.by_inode.len() == before {
                return true;
            }
        }
    }

    /// Whether the rules of the kernel allow it.
    fn is_possible(&self, view: &View) -> bool {
        let mut numbers = HashSet::new();
        view.processes.iter().enumerate().all(|(at, process)| {
            let homes = self.climb(self.home[at]);
            // A process's parent is in the same namespace or an ancestor.
            let parent = process.ppid.and_then(|ppid| index(view, ppid));
            let is_below_parent = parent.is_none_or(|it| homes.contains(&self.home[it]));
            // A leader that has a number in a process's namespace is in it or below.
            let leaders = view.leaders.get(&process.pid).copied().unwrap_or_default();
            let leaders_are_inside = [leaders.session, leaders.group]
                .into_iter()
                .flatten()
                .filter_map(|leader| index(view, leader))
                .all(|leader| self.climb(self.home[leader]).contains(&self.home[at]));
            // No number is used twice in a namespace.
            let are_unique = homes
                .iter()
                .zip(process.nspid.iter().rev())
                .all(|(&home, &number)| numbers.insert((home, number)));
            // The kernel makes a zombie of an init when all else is gone.
            let is_alone = |init: usize| {
                let init = &view.processes[init];
                init.is_zombie()
                    && init.threads == Some(NonZeroU32::MIN)
                    && view.terminated.contains(&init.pid)
            };
            let has_company = homes.iter().flatten().all(|&init| init == at || !is_alone(init));
            is_below_parent && leaders_are_inside && are_unique && has_company
        })
    }
}

/// The index of a process.
pub fn index(view: &View, pid: Pid) -> Option<usize> {
    view.processes.iter().position(|it| it.pid == pid)
}

fn is_init(process: &Process) -> bool {
    process.nspid.last() == Some(&Pid::INIT)
}

/// Every world that the view leaves possible; `None` where there are too many
/// to look at.
pub fn possible_worlds(view: &View, limit: usize) -> Option<Vec<World>> {
    let inits_of_level = |level: usize| -> Vec<Home> {
        let is_of_level = |it: &Process| is_init(it) && it.nspid.len() == level + 1;
        match level {
            0 => vec![None],
            _ => (0..view.processes.len())
                .filter(|&at| is_of_level(&view.processes[at]))
                .map(Some)
                .collect(),
        }
    };
    let mut worlds = vec![World::default()];
    for (at, process) in view.processes.iter().enumerate() {
        let level = process.nspid.len() - 1;
        let is_nested_init = is_init(process) && level > 0;
        let choices = inits_of_level(if is_nested_init { level - 1 } else { level });
        let choose = |world: &World, choice: Home| {
            let mut world = world.clone();
            world.home.push(if is_nested_init { Some(at) } else { choice });
            if is_nested_init {
                world.above.insert(at, choice);
            }
            world
        };
        worlds = worlds
            .iter()
            .flat_map(|world| choices.iter().map(|&choice| choose(world, choice)))
            .collect();
        if worlds.len() > limit {
            return None;
        }
    }
    worlds.retain_mut(|world| world.name_all(view) && world.is_possible(view));
    Some(worlds)
}
