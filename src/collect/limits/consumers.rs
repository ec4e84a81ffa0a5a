//! For each limit, finds the largest consumer, and counts the zombies.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::read_limit::{ReadLimit, Tasks};
use crate::model::{Consumer, Container, Limit, Lineage, NamespaceId, Pid, Process, Snapshot};

/// Finds the largest consumer of each limit among the processes of a snapshot.
pub struct Consumers<'a> {
    processes: HashMap<Pid, &'a Process>,
    /// The processes that have terminated, but have not been reaped.
    unreaped: Vec<&'a Process>,
    /// The container of each namespace, or of its nearest ancestor that has a container.
    containers: HashMap<NamespaceId, &'a Container>,
    /// For each UID, the user's process with the most tasks, and the number of the user's zombies.
    users: HashMap<u32, Consumed>,
}

/// The largest consumer of a limit, and the zombies that count towards the limit.
#[derive(Clone)]
struct Consumed {
    /// The process, container or user with the most tasks.
    largest: Option<Consumer>,
    zombies: u64,
    /// The process that has to reap the most zombies.
    reaper: Option<Consumer>,
}

impl<'a> Consumers<'a> {
    /// Collects the processes of a snapshot, and the container of each namespace.
    pub fn new(snapshot: &'a Snapshot) -> Self {
        let lineage = Lineage::new(&snapshot.namespaces);
        let own: HashMap<NamespaceId, &Container> = snapshot
            .namespaces
            .iter()
            .filter_map(|it| Some((it.id, it.container.as_ref()?)))
            .collect();
        let container = |id| lineage.climb(id).find_map(|id| own.get(&id).copied());
        let namespaces = snapshot.namespaces.iter();
        Self {
            processes: snapshot.processes.iter().map(|it| (it.pid, it)).collect(),
            unreaped: snapshot.processes.iter().filter(|it| it.is_unreaped()).collect(),
            containers: namespaces.filter_map(|it| Some((it.id, container(it.id)?))).collect(),
            users: HashMap::new(),
        }
    }

    /// Adds the largest consumer and the number of zombies to a limit.
    pub fn complete(&mut self, read: ReadLimit<'a>) -> Limit {
        let limit = read.limit;
        let consumed = match read.tasks {
            Tasks::None => return limit,
            Tasks::OfHost(tasks) => self.consumed(&tasks, self.largest_group(&tasks)),
            Tasks::OfGroup(tasks) => self.consumed(&tasks, self.largest_process(&tasks)),
            Tasks::OfUser(uid, tasks) => {
                let known = self.users.get(&uid).cloned();
                known.unwrap_or_else(|| {
                    let consumed = self.consumed(&tasks, self.largest_process(&tasks));
                    self.users.insert(uid, consumed.clone());
                    consumed
                })
            }
            Tasks::WithoutZombies(tasks) => {
                let Some(tasks) = limit.used.and_then(|used| self.with_zombies(tasks, used)) else {
                    return limit;
                };
                self.consumed(&tasks, self.largest_process(&tasks))
            }
        };
        let Consumed { largest, zombies, reaper } = consumed;
        Limit { largest, zombies: Some(zombies), reaper, ..limit }
    }

    /// Counts the zombies among `tasks`, and finds the process that has to reap the most.
    fn consumed(&self, tasks: &[&Process], largest: Option<Consumer>) -> Consumed {
        let zombies = tasks.iter().filter(|it| it.is_unreaped());
        let reaper = most(zombies.clone().filter_map(|it| Some((it.reaper()?, 1))));
        Consumed {
            largest,
            zombies: zombies.map(|_| 1).sum(),
            reaper: reaper.map(|(pid, tasks)| self.process(pid, tasks)),
        }
    }

    /// Adds the cgroup's zombies to `tasks`. Returns `None` if the threads of these processes do
    /// not total `used`.
    fn with_zombies(&self, mut tasks: Vec<&'a Process>, used: u64) -> Option<Vec<&'a Process>> {
        let pids: HashSet<Pid> = tasks.iter().map(|it| it.pid).collect();
        let count = |tasks: &[&Process]| tasks.iter().map(|it| threads(it)).sum::<u64>();
        if count(&tasks) == used {
            return Some(tasks);
        }
        // Assume that a zombie is in the cgroup of its parent.
        let is_child = |it: &&&Process| it.ppid.is_some_and(|parent| pids.contains(&parent));
        tasks.extend(self.unreaped.iter().filter(is_child));
        (count(&tasks) == used).then_some(tasks)
    }

    /// Returns the process with the most tasks, counting the tasks of its direct children too.
    fn largest_process(&self, tasks: &[&Process]) -> Option<Consumer> {
        let own = tasks.iter().map(|it| (it.pid, threads(it)));
        let of_parents = tasks.iter().filter_map(|it| Some((it.ppid?, threads(it))));
        let pids: HashSet<Pid> = tasks.iter().map(|it| it.pid).collect();
        let of_parents = of_parents.filter(|(parent, _)| pids.contains(parent));
        most(own.chain(of_parents)).map(|(pid, tasks)| self.process(pid, tasks))
    }

    fn process(&self, pid: Pid, tasks: u64) -> Consumer {
        let comm = self.processes.get(&pid).map(|it| it.comm.clone());
        Consumer { pid: Some(pid), comm, tasks, ..Consumer::default() }
    }

    /// Returns the container or user with the most tasks. For a user, counts only tasks outside of
    /// containers.
    fn largest_group(&self, tasks: &[&Process]) -> Option<Consumer> {
        let groups = tasks.iter().map(|&it| {
            let of_namespace = || self.containers.get(&it.namespace?).copied();
            let container = it.other_container().or_else(of_namespace);
            let key = container.map(|it| (&it.runtime, &it.id));
            ((key, container.is_none().then_some(it.uid)), threads(it))
        });
        let ((key, uid), count) = most(groups)?;
        let user = uid.and_then(|uid| tasks.iter().find(|it| it.uid == uid)?.user.clone());
        let others = tasks.iter().filter_map(|it| it.other_container());
        let mut containers = self.containers.values().copied().chain(others);
        let container = containers.find(|it| key == Some((&it.runtime, &it.id))).cloned();
        Some(Consumer { container, uid, user, tasks: count, ..Consumer::default() })
    }
}

/// Returns the number of tasks of a process, or 1 if the number is unknown.
pub fn threads(process: &Process) -> u64 {
    process.threads.map_or(1, |threads| threads.get().into())
}

/// Adds up the numbers of each key, and returns the key with the largest sum.
fn most<K: Ord + Hash + Copy>(numbers: impl Iterator<Item = (K, u64)>) -> Option<(K, u64)> {
    let mut sums: HashMap<K, u64> = HashMap::new();
    for (key, number) in numbers {
        *sums.entry(key).or_default() += number;
    }
    // `Reverse` selects the lowest key on a tie.
    sums.into_iter().max_by_key(|&(key, sum)| (sum, Reverse(key)))
}
