//! Simulates the processes and PID namespaces of a host, and an unprivileged view of them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZeroU32;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{namespace, process};
use crate::collect::parse::Leaders;
use crate::model::{Namespace, NamespaceId, Pid, Process};

/// Low limits keep the tests fast. They also make it likely that several namespaces have the same
/// level and contain the same PIDs, so the tests cover such namespaces.
const MAX_TASKS: usize = 40; // at most 64, so that one u64 has a bit for each task
const MAX_NAMESPACES: usize = 12;
const MAX_DEPTH: usize = 5;

/// A system call of a process, or its exit.
///
/// `by` selects the calling process, and `of` the process that the call refers to. `skip` is the
/// number of PIDs that the kernel skips. A call that the kernel would refuse has no effect.
#[derive(Clone, Debug)]
pub enum Call {
    /// `fork(2)`.
    Fork { by: u8, skip: u8 },
    /// `clone(2)` with `CLONE_NEWPID`.
    CloneNewPid { by: u8, skip: u8 },
    /// `clone(2)` with `CLONE_PARENT`, which creates a sibling of the caller.
    CloneParent { by: u8, skip: u8 },
    /// `unshare(2)` with `CLONE_NEWPID`, which affects the caller's next children.
    Unshare { by: u8 },
    /// `setns(2)` to the PID namespace of process `of`, and then `fork(2)`, as in `nsenter(1)`.
    Enter { by: u8, of: u8, skip: u8 },
    /// `setsid(2)`.
    SetSid { by: u8 },
    /// `setpgid(2)` to join the process group of process `of`, or to start a new group.
    SetPgid { by: u8, of: u8, leads: u8 },
    /// `PR_SET_CHILD_SUBREAPER` of `prctl(2)`.
    SetSubreaper { by: u8 },
    /// The leader thread of the process exits, but other threads continue.
    ExitLeader { by: u8 },
    /// The process exits.
    Exit { by: u8 },
    /// `wait(2)` for one child.
    Wait { by: u8 },
}

/// Generates up to `count` random calls.
///
/// `injecting` is the weight of calls that can inject a process into a namespace.
pub fn calls(count: usize, injecting: u8) -> impl Strategy<Value = Vec<Call>> {
    let play = move |all: Vec<u32>| all.into_iter().map(|raw| call(raw, injecting)).collect();
    vec(any::<u32>(), 1..=count).prop_map(play)
}

/// Decodes a call from one random number, because a proptest strategy with many parts is slower.
fn call(raw: u32, injecting: u8) -> Call {
    let [kind, by, with, skip] = raw.to_be_bytes();
    match kind % (20 + injecting) {
        0..8 => Call::Fork { by, skip: with },
        8..12 => Call::CloneNewPid { by, skip: with },
        12 => Call::SetSid { by },
        13 | 14 => Call::SetPgid { by, of: with, leads: skip },
        15 => Call::SetSubreaper { by },
        16 => Call::ExitLeader { by },
        17 | 18 => Call::Exit { by },
        19 => Call::Wait { by },
        // After the calls below, a process that is not an init can have a parent outside its PID
        // namespace.
        20 => Call::Unshare { by },
        21 => Call::CloneParent { by, skip },
        _ => Call::Enter { by, of: with, skip },
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Running,
    /// A terminated init that waits for the rest of its namespace (`zap_pid_ns_processes`).
    Waiting,
    Zombie,
    Reaped,
}

/// A process in the forest.
#[derive(Debug)]
pub struct Task {
    /// The process's PIDs, from the initial namespace to its own namespace.
    numbers: Vec<u32>,
    /// Index of the process's own namespace.
    pub namespace: usize,
    /// Index of the namespace in which new children of the process start.
    for_children: usize,
    pub parent: Option<usize>,
    session: usize,
    group: usize,
    fate: Fate,
    is_subreaper: bool,
    leader_exited: bool,
}

/// A PID namespace in the forest.
#[derive(Debug)]
pub struct PidNamespace {
    pub parent: Option<usize>,
    level: usize,
    /// Index of the namespace's first process, if any has been started.
    pub init: Option<usize>,
    last_number: u32,
    /// `true` if the init has terminated, so the kernel assigns no more PIDs.
    is_dead: bool,
}

/// A simulated host with all its processes and namespaces.
#[derive(Debug)]
pub struct Forest {
    pub namespaces: Vec<PidNamespace>,
    pub tasks: Vec<Task>,
}

impl Forest {
    /// Creates a forest with the initial namespace and its init, and applies the calls to it.
    pub fn grow(calls: &[Call]) -> Self {
        let initial =
            PidNamespace { parent: None, level: 0, init: Some(0), last_number: 1, is_dead: false };
        let init = Task {
            numbers: vec![1],
            namespace: 0,
            for_children: 0,
            parent: None,
            session: 0,
            group: 0,
            fate: Fate::Running,
            is_subreaper: false,
            leader_exited: false,
        };
        let mut forest = Self { namespaces: vec![initial], tasks: vec![init] };
        for call in calls {
            forest.play(call);
        }
        forest
    }

    /// Returns `true` if `namespace` is `ancestor` or one of the descendants of `ancestor`.
    pub fn is_within(&self, namespace: usize, ancestor: usize) -> bool {
        let mut at = Some(namespace);
        while let Some(namespace) = at {
            if namespace == ancestor {
                return true;
            }
            at = self.namespaces[namespace].parent;
        }
        false
    }

    fn play(&mut self, call: &Call) {
        match *call {
            Call::Fork { by, skip } => {
                let by = self.running(by);
                self.fork(by, Some(by), self.tasks[by].for_children, skip);
            }
            Call::CloneNewPid { by, skip } => {
                let by = self.running(by);
                if let Some(made) = self.make_namespace(by) {
                    self.fork(by, Some(by), made, skip);
                }
            }
            Call::CloneParent { by, skip } => {
                let by = self.running(by);
                // The kernel does not allow an init to use CLONE_PARENT.
                if self.namespaces[self.tasks[by].namespace].init != Some(by) {
                    self.fork(by, self.tasks[by].parent, self.tasks[by].for_children, skip);
                }
            }
            Call::Unshare { by } => {
                let by = self.running(by);
                if let Some(made) = self.make_namespace(by) {
                    self.tasks[by].for_children = made;
                }
            }
            Call::Enter { by, of, skip } => {
                let (by, of) = (self.running(by), self.running(of));
                let into = self.tasks[of].namespace;
                // `setns(2)` allows the caller's own namespace and its descendants.
                if self.is_within(into, self.tasks[by].namespace) {
                    self.tasks[by].for_children = into;
                    self.fork(by, Some(by), into, skip);
                }
            }
            Call::SetSid { by } => {
                let by = self.running(by);
                if !self.tasks.iter().any(|task| task.group == by) {
                    (self.tasks[by].session, self.tasks[by].group) = (by, by);
                }
            }
            Call::SetPgid { by, of, leads } => {
                let by = self.running(by);
                let of = self.running(of);
                let (group, session) = (self.tasks[of].group, self.tasks[by].session);
                if session != by {
                    let joins = of != by && leads % 2 == 0 && self.tasks[of].session == session;
                    self.tasks[by].group = if joins { group } else { by };
                }
            }
            Call::SetSubreaper { by } => {
                let by = self.running(by);
                self.tasks[by].is_subreaper = true;
            }
            Call::ExitLeader { by } => {
                let by = self.running(by);
                self.tasks[by].leader_exited = true;
            }
            Call::Exit { by } => {
                let by = self.running(by);
                // The init of the initial namespace (index 0) never exits.
                if by != 0 {
                    self.exit(by);
                }
            }
            Call::Wait { by } => {
                let by = self.running(by);
                let is_child = |task: &Task| task.parent == Some(by) && task.fate == Fate::Zombie;
                if let Some(child) = self.tasks.iter().position(is_child) {
                    self.tasks[child].fate = Fate::Reaped;
                    self.end_waiting();
                }
            }
        }
    }

    /// Returns the running process that `choice` selects.
    fn running(&self, choice: u8) -> usize {
        let is_running = |&it: &usize| self.tasks[it].fate == Fate::Running;
        // The init of the initial namespace is always running, so the count is at least 1.
        let count = (0..self.tasks.len()).filter(is_running).count();
        // An odd `choice` selects one of the newest processes, so that namespaces become deeply
        // nested.
        let number = usize::from(choice / 2);
        let nth = match choice % 2 {
            0 => number % count,
            _ => count - 1 - number % count.min(4),
        };
        (0..self.tasks.len()).filter(is_running).nth(nth).unwrap()
    }

    /// Creates a namespace, like `copy_pid_ns` in the kernel, unless the forest is full.
    fn make_namespace(&mut self, by: usize) -> Option<usize> {
        let task = &self.tasks[by];
        let level = self.namespaces[task.namespace].level + 1;
        // The kernel rejects CLONE_NEWPID if the caller's next child would already start in a
        // namespace other than the caller's own.
        if task.for_children != task.namespace
            || level > MAX_DEPTH
            || self.namespaces.len() == MAX_NAMESPACES
            || self.tasks.len() == MAX_TASKS
        {
            return None;
        }
        let parent = Some(task.namespace);
        self.namespaces.push(PidNamespace {
            parent,
            level,
            init: None,
            last_number: 0,
            is_dead: false,
        });
        Some(self.namespaces.len() - 1)
    }

    /// Creates a process, like `copy_process` in the kernel.
    fn fork(&mut self, by: usize, parent: Option<usize>, namespace: usize, skip: u8) {
        if self.namespaces[namespace].is_dead || self.tasks.len() == MAX_TASKS {
            return;
        }
        let child = self.tasks.len();
        let mut numbers = Vec::new();
        let mut at = Some(namespace);
        while let Some(here) = at {
            let here = &mut self.namespaces[here];
            let gap = if here.init.is_none() { 1 } else { 1 + u32::from(skip % 3) };
            here.init.get_or_insert(child);
            here.last_number += gap;
            numbers.insert(0, here.last_number);
            at = here.parent;
        }
        let (session, group) = (self.tasks[by].session, self.tasks[by].group);
        self.tasks.push(Task {
            numbers,
            namespace,
            for_children: namespace,
            parent,
            session,
            group,
            fate: Fate::Running,
            is_subreaper: false,
            leader_exited: false,
        });
    }

    fn exit(&mut self, task: usize) {
        let namespace = self.tasks[task].namespace;
        if self.namespaces[namespace].init == Some(task) {
            self.zap(namespace);
            self.tasks[task].fate = Fate::Waiting;
        } else {
            self.tasks[task].fate = Fate::Zombie;
            let reaper = self.reaper(task);
            for child in &mut self.tasks {
                if child.parent == Some(task) {
                    child.parent = Some(reaper);
                }
            }
        }
        self.end_waiting();
    }

    /// Returns the process that adopts the children of process `of`, like the kernel's
    /// `find_new_reaper`.
    fn reaper(&self, of: usize) -> usize {
        let namespace = self.tasks[of].namespace;
        let mut at = self.tasks[of].parent;
        while let Some(above) = at.filter(|&it| self.tasks[it].namespace == namespace) {
            if self.tasks[above].is_subreaper && self.tasks[above].fate == Fate::Running {
                return above;
            }
            at = self.tasks[above].parent;
        }
        self.namespaces[namespace].init.unwrap()
    }

    /// Terminates all processes in a namespace and its descendants (`zap_pid_ns_processes`).
    fn zap(&mut self, namespace: usize) {
        for task in 0..self.tasks.len() {
            if self.tasks[task].fate == Fate::Reaped
                || !self.is_within(self.tasks[task].namespace, namespace)
            {
                continue;
            }
            let own = self.tasks[task].namespace;
            let parent = self.tasks[task].parent;
            let parent_inside = parent
                .map(|it| self.tasks[it].namespace)
                .filter(|&it| self.is_within(it, namespace));
            if let Some(inside) = parent_inside {
                self.tasks[task].parent = self.namespaces[inside].init;
            }
            self.tasks[task].fate = match parent_inside {
                _ if self.namespaces[own].init == Some(task) => Fate::Waiting,
                Some(_) => Fate::Reaped,
                // The parent is outside the terminated namespaces, so this process stays a zombie
                // until the parent reaps it.
                None => Fate::Zombie,
            };
        }
        for below in 0..self.namespaces.len() {
            if self.is_within(below, namespace) {
                self.namespaces[below].is_dead = true;
            }
        }
    }

    /// Finishes the exit of each terminated init if no other process is left in its namespace.
    fn end_waiting(&mut self) {
        let waits = |tasks: &[Task], it: usize| tasks[it].fate == Fate::Waiting;
        loop {
            let done = (0..self.tasks.len()).find(|&task| {
                waits(&self.tasks, task)
                    && !self.is_populated(self.tasks[task].namespace, Some(task))
            });
            let Some(done) = done else { return };
            // A waiting init reaps its children.
            let reaped = self.tasks[done].parent.is_some_and(|it| waits(&self.tasks, it));
            self.tasks[done].fate = if reaped { Fate::Reaped } else { Fate::Zombie };
        }
    }

    fn is_populated(&self, namespace: usize, but_for: Option<usize>) -> bool {
        self.tasks.iter().enumerate().any(|(index, task)| {
            Some(index) != but_for
                && task.fate != Fate::Reaped
                && self.is_within(task.namespace, namespace)
        })
    }
}

/// Defines which part of a forest the viewer (a simulated pidns process) can see.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Selects the running process whose PID namespace the mounted procfs shows.
    mount: u8,
    /// Selects the running process that shares its PID namespace with the viewer (the simulated
    /// pidns). With `None`, the viewer is alone in its namespace, and `NS_GET_PARENT` always fails.
    viewer: Option<u8>,
    /// A bit for each process, set if the viewer cannot read the process's namespace link.
    refused: u64,
    /// A bit for each namespace, set if the scan finds an open descriptor of the namespace.
    held: u64,
    /// A bit for each process, set if the procfs hides the process.
    unseen: u64,
    /// `true` if the kernel reports the init of a namespace (`NS_GET_TGID_FROM_PIDNS`).
    tells_inits: bool,
}

/// Generates values of [`Sight`] in which the procfs shows all processes.
pub fn sights() -> impl Strategy<Value = Sight> {
    let viewer = prop_oneof![1 => Just(None), 2 => Just(Some(0)), 2 => any::<u8>().prop_map(Some)];
    let mount = prop_oneof![2 => Just(0), 1 => any::<u8>()];
    let refused = prop_oneof![any::<u64>(), few().prop_map(|few| !few), Just(u64::MAX)];
    let held = prop_oneof![2 => Just(0), 1 => few()];
    (mount, viewer, refused, held, any::<bool>()).prop_map(
        |(mount, viewer, refused, held, tells_inits)| Sight {
            mount,
            viewer,
            refused,
            held,
            unseen: 0,
            tells_inits,
        },
    )
}

/// Generates values of [`Sight`] in which the procfs hides some processes.
pub fn sights_of_some() -> impl Strategy<Value = Sight> {
    (sights(), few()).prop_map(|(sight, unseen)| Sight { unseen, ..sight })
}

/// Generates numbers in which, on average, one in eight bits is set.
fn few() -> impl Strategy<Value = u64> {
    any::<[u64; 3]>().prop_map(|[a, b, c]| a & b & c)
}

fn has(bits: u64, index: usize) -> bool {
    bits >> index & 1 == 1
}

/// The result of a simulated scan.
///
/// Tests use `mount` and `task_of` to compare the result with the forest.
#[derive(Clone, Debug)]
pub struct View {
    pub processes: Vec<Process>,
    pub namespaces: Vec<Namespace>,
    /// The PID namespace that the procfs shows, if the scan can determine it.
    pub known_mount: Option<NamespaceId>,
    pub leaders: HashMap<Pid, Leaders>,
    pub terminated: HashSet<Pid>,
    /// Index in [`Forest::namespaces`] of the PID namespace that the procfs shows.
    pub mount: usize,
    /// Maps each PID to the index of the process in [`Forest::tasks`].
    pub task_of: HashMap<Pid, usize>,
}

impl View {
    /// Simulates a scan of `forest` by a viewer that can see only the part defined by `sight`.
    pub fn of(forest: &Forest, sight: &Sight) -> Self {
        let alive = |choice: u8| forest.tasks[forest.running(choice)].namespace;
        let mount = alive(sight.mount);
        let viewer = sight.viewer.map(alive);
        let level = forest.namespaces[mount].level;
        let is_own = viewer == Some(mount);
        let is_visible = |task: usize| {
            forest.tasks[task].fate != Fate::Reaped
                && forest.is_within(forest.tasks[task].namespace, mount)
        };
        let pid = |task: usize| Pid::new(forest.tasks[task].numbers[level]).unwrap();

        let mut view = Self {
            processes: Vec::new(),
            namespaces: Vec::new(),
            known_mount: is_own.then_some(inode(mount)),
            leaders: HashMap::new(),
            terminated: HashSet::new(),
            mount,
            task_of: HashMap::new(),
        };
        for (index, task) in forest.tasks.iter().enumerate() {
            if !is_visible(index) || has(sight.unseen, index) {
                continue;
            }
            let outermost = task.namespace == mount;
            let is_told = !has(sight.refused, index) || (outermost && is_own);
            let mut seen = process(&task.numbers[level..], None);
            seen.namespace = is_told.then_some(inode(task.namespace));
            seen.ppid = task.parent.filter(|&it| is_visible(it)).map(pid);
            if task.fate == Fate::Zombie || task.leader_exited {
                seen.state = 'Z';
            }
            // If the leader thread has exited but the process has not, another thread still exists.
            // In a terminated init, for example, the remaining thread waits for the rest of the
            // namespace to exit.
            let has_others = task.fate != Fate::Zombie && task.leader_exited;
            seen.threads = NonZeroU32::new(if has_others { 2 } else { 1 });
            if !is_told {
                // The ID of a session or group is its leader's PID, even after the leader's exit.
                let shared = |leader: usize| {
                    let has_number =
                        forest.is_within(forest.tasks[leader].namespace, task.namespace);
                    has_number.then(|| pid(leader))
                };
                let leaders = Leaders { session: shared(task.session), group: shared(task.group) };
                view.leaders.insert(seen.pid, leaders);
            }
            let is_init = seen.nspid.last() == Some(&Pid::INIT);
            if is_init && matches!(task.fate, Fate::Waiting | Fate::Zombie) {
                view.terminated.insert(seen.pid);
            }
            view.task_of.insert(seen.pid, index);
            view.processes.push(seen);
        }
        view.processes.sort_by_key(|process| process.pid);
        view.describe(forest, viewer, |index| has(sight.held, index));
        if sight.tells_inits && is_own {
            view.place_inits(forest);
        }
        let lone = view.processes.iter().find(|it| it.nspid.len() == 1 && it.namespace.is_some());
        view.known_mount = view.known_mount.or_else(|| lone?.namespace);
        view
    }

    /// Adds the namespaces that the scan discovers.
    fn describe(
        &mut self,
        forest: &Forest,
        viewer: Option<usize>,
        is_held: impl Fn(usize) -> bool,
    ) {
        let mut met: BTreeSet<usize> =
            (0..forest.namespaces.len()).filter(|&it| is_held(it)).collect();
        met.extend(self.processes.iter().filter(|it| it.namespace.is_some()).map(|it| {
            let task = self.task_of[&it.pid];
            forest.tasks[task].namespace
        }));
        met.extend(self.known_mount.map(|_| self.mount));
        let told = |of: usize| {
            let parent = forest.namespaces[of].parent?;
            // The kernel reports a parent only if the parent is the viewer's namespace or one of
            // its descendants (`pidns_get_parent`).
            forest.is_within(parent, viewer?).then_some(parent)
        };
        let mut todo: Vec<usize> = met.iter().copied().collect();
        while let Some(parent) = todo.pop().map(told) {
            todo.extend(parent.filter(|&it| met.insert(it)));
        }
        let number = |namespace| inode(namespace).inode().unwrap();
        self.namespaces =
            met.iter().map(|&it| namespace(number(it), told(it).map(number))).collect();
    }

    /// Assigns inits to their namespaces, like `assemble::namespaces::place_inits` in a scan.
    fn place_inits(&mut self, forest: &Forest) {
        for process in &mut self.processes {
            let task = self.task_of[&process.pid];
            let id = inode(forest.tasks[task].namespace);
            let is_met = self.namespaces.iter().any(|it| it.id == id);
            if is_met && process.nspid.last() == Some(&Pid::INIT) {
                process.namespace = Some(id);
            }
        }
    }

    /// Returns the index in `forest` of the namespace with this ID.
    pub fn meant(&self, forest: &Forest, id: NamespaceId) -> usize {
        match id {
            NamespaceId::Inode(inode) => usize::try_from(inode - FIRST_INODE).unwrap(),
            NamespaceId::Unread(pid) => forest.tasks[self.task_of[&pid]].namespace,
        }
    }

    /// Returns `true` if a visible process was injected into its namespace from outside.
    pub fn has_injected(&self, forest: &Forest) -> bool {
        self.processes.iter().any(|process| {
            let task = &forest.tasks[self.task_of[&process.pid]];
            let own = &forest.namespaces[task.namespace];
            let is_init = process.nspid.last() == Some(&Pid::INIT);
            let expected = if is_init { own.parent } else { Some(task.namespace) };
            task.namespace != self.mount
                && task.parent.map(|it| forest.tasks[it].namespace) != expected
        })
    }
}

const FIRST_INODE: u64 = 1000;

fn inode(namespace: usize) -> NamespaceId {
    NamespaceId::Inode(FIRST_INODE + namespace as u64)
}
