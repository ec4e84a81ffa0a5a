//! Enumerates all possible assignments of a few processes to namespaces, by brute force.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;

use crate::model::{NamespaceId, Pid, Process};
use crate::testing::forest::View;

/// A namespace, identified by the index of its init. `None` is the namespace that the procfs shows.
pub type Home = Option<usize>;

/// An assignment of a namespace to each process, and of a parent to each namespace.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The namespace of each process, in the order of the processes.
    pub home: Vec<Home>,
    /// Maps the index of each init to the parent of the init's namespace.
    pub above: BTreeMap<usize, Home>,
    /// Maps each known inode to the namespace with that inode.
    pub by_inode: HashMap<u64, Home>,
}

impl World {
    /// Returns the namespace with this ID, if this world has one.
    pub fn meant(&self, view: &View, id: NamespaceId) -> Option<Home> {
        match id {
            NamespaceId::Inode(inode) => self.by_inode.get(&inode).copied(),
            NamespaceId::Unread(pid) => Some(self.home[index(view, pid)?]),
        }
    }

    /// Returns the inode of a namespace, if known.
    pub fn inode(&self, home: Home) -> Option<u64> {
        self.by_inode.iter().find(|&(_, &named)| named == home).map(|(&inode, _)| inode)
    }

    /// Returns a namespace and its ancestors, innermost first.
    fn climb(&self, home: Home) -> Vec<Home> {
        let mut homes = vec![home];
        while let Some(Some(init)) = homes.last() {
            homes.push(self.above[init]);
        }
        homes
    }

    /// Records the inode of a namespace, and returns `false` on a contradiction.
    fn name(&mut self, inode: u64, home: Home) -> bool {
        let is_taken = |(&other, &named): (&u64, &Home)| named == home && other != inode;
        !self.by_inode.iter().any(is_taken) && *self.by_inode.entry(inode).or_insert(home) == home
    }

    /// Fills in `by_inode` from the view, and returns `false` on a contradiction.
    fn name_all(&mut self, view: &View) -> bool {
        let links = view.processes.iter().zip(self.home.clone());
        let mut links = links.filter_map(|(it, home)| Some((it.namespace?.inode()?, home)));
        let known_mount = view.known_mount.and_then(NamespaceId::inode);
        if !links.all(|(inode, home)| self.name(inode, home))
            || !known_mount.is_none_or(|inode| self.name(inode, None))
        {
            return false;
        }
        // Each pass adds the inodes of the parents of known namespaces. These parents can have
        // parents, too, so repeat until a pass adds no inode.
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

    /// Returns `true` if the kernel's rules for PID namespaces allow this assignment.
    fn is_possible(&self, view: &View) -> bool {
        let mut numbers = HashSet::new();
        view.processes.iter().enumerate().all(|(at, process)| {
            let homes = self.climb(self.home[at]);
            // A parent process is in the same namespace as its child, or in an ancestor of that
            // namespace.
            let parent = process.ppid.and_then(|ppid| index(view, ppid));
            let is_below_parent = parent.is_none_or(|it| homes.contains(&self.home[it]));
            // If a process can see the leader of its session or process group, the leader is in the
            // process's namespace or in a descendant of this namespace.
            let leaders = view.leaders.get(&process.pid).copied().unwrap_or_default();
            let leaders_are_inside = [leaders.session, leaders.group]
                .into_iter()
                .flatten()
                .filter_map(|leader| index(view, leader))
                .all(|leader| self.climb(self.home[leader]).contains(&self.home[at]));
            // Each PID is used only once in a namespace.
            let are_unique = homes
                .iter()
                .zip(process.nspid.iter().rev())
                .all(|(&home, &number)| numbers.insert((home, number)));
            // An init becomes a zombie only after all other members are gone.
            let is_alone = |init: usize| {
                let init = &view.processes[init];
                init.is_zombie()
                    && init.threads == Some(NonZeroU32::MIN)
                    && view.terminated.contains(&init.pid)
            };
            let may_have_members =
                homes.iter().flatten().all(|&init| init == at || !is_alone(init));
            is_below_parent && leaders_are_inside && are_unique && may_have_members
        })
    }
}

/// Returns the index of the process with this PID in the view.
pub fn index(view: &View, pid: Pid) -> Option<usize> {
    view.processes.iter().position(|it| it.pid == pid)
}

fn is_init(process: &Process) -> bool {
    process.nspid.last() == Some(&Pid::INIT)
}

/// Returns every [`World`] that is consistent with `view`, or `None` if there are more than `limit`
/// candidates.
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
