//! Lists PID namespaces in kernel memory, and finds the holders of namespaces without a living
//! init.
//!
//! The module `search` decides which results to report.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::OFlags;

use super::words::{long, words};
use crate::collect::bpf::loader::{
    Array, IteratorProgram, KernelTypes, LoadError, LoadedObject, ProgramSpec, create_hash,
};
use crate::collect::bpf::permission::{check_address_space, check_capabilities, check_lockdown};
use crate::collect::bpf::unavailable::BpfUnavailable;
use crate::collect::holder_list::MAX_HOLDERS;
use crate::collect::kernel::nsfs::compare_descriptor_tables;
use crate::model::Pid;

/// The object file that tests/bpf/build compiles from `namespaces.bpf.c`.
const OBJECT: &[u8] = include_bytes!("namespaces.bpf.o");

/// Initial capacity of the list of namespaces, in elements.
const CAPACITY: u32 = 4096;

/// Maximum capacity of the list of namespaces. No host has enough memory for this many.
const MAX_CAPACITY: u32 = 1 << 20;

/// Size in bytes of each element in the list of namespaces (`struct listed` in `namespaces.bpf.c`).
const LISTED: usize = 16;

/// Size in bytes of a record about a holder (`struct kept` in `namespaces.bpf.c`).
const KEPT: usize = 40;

/// Size in bytes of the record with the length of the list (`walk.length` in `namespaces.bpf.c`).
const LENGTH: usize = 8;

/// Key size in bytes of the maps that record visited objects (`struct object` in
/// `namespaces.bpf.c`).
const OBJECT_KEY: u32 = 16;

/// Maximum number of descriptor tables or sockets that a BPF program remembers as searched.
const MAX_OBJECTS: u32 = 1 << 16;

/// Maximum number of descriptors in [`FoundHolders::sharing`].
const MAX_SHARING: usize = 100_000;

/// The state of a namespace's init.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InitState {
    Living,
    Terminated,
    /// No process has been created in the namespace yet.
    NotYet,
}

/// A namespace in kernel memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemoryNamespace {
    /// The 64-bit ID of the namespace, which is never reused.
    pub ns_id: u64,
    pub inode: u64,
    pub init: InitState,
}

/// How a task or descriptor keeps a namespace alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FoundHolderKind {
    /// The descriptor refers to the namespace itself.
    Namespace,
    /// The descriptor is a pidfd of a process in the namespace.
    Pidfd,
    /// The descriptor is a UNIX socket with a peer that is or was in the namespace.
    Socket,
    /// The descriptor is a UNIX socket on which a process of the namespace called listen(2).
    Listener,
    /// The descriptor is a UNIX socket. An unread message in the socket carries another descriptor
    /// (`SCM_RIGHTS`) that keeps the namespace alive.
    InFlight,
    /// The descriptor is a UNIX socket with an unread message whose sender is or was in the
    /// namespace.
    Message,
    /// The descriptor refers to the namespace's procfs, or to a member's /proc directory.
    Procfs,
    /// The task is in the namespace.
    Member,
    /// The task creates its children in the namespace.
    ForChildren,
}

/// A task or descriptor that keeps a namespace alive, not yet confirmed through /proc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FoundHolder {
    pub ns_id: u64,
    pub inode: u64,
    pub kind: FoundHolderKind,
    /// PID of the task's process, or of the process that has the descriptor open.
    pub pid: Pid,
    /// ID of the task, or of a thread that has the descriptor open.
    pub tid: Pid,
    /// File descriptor number, or 0 if the holder is a task.
    pub fd: u32,
    /// Inode of the open file, or 0 if the holder is a task.
    pub file: u64,
}

/// The tasks and descriptors that keep alive a namespace without a living init.
#[derive(Debug, Default)]
pub struct FoundHolders {
    pub found: Vec<FoundHolder>,
    /// Descriptors of sockets whose queue was already searched through another descriptor.
    sharing: Vec<SocketDescriptor>,
    /// Tasks whose descriptor table was already searched through another task.
    table_sharers: Vec<TableSharer>,
    /// Number of holders that were found but not added to `found`, because a limit was reached.
    pub left_out: usize,
    /// Number of holders in `found`, by namespace and kind.
    counts: HashMap<(u64, FoundHolderKind), usize>,
}

#[derive(Clone, Copy, Debug)]
struct SocketDescriptor {
    pid: Pid,
    tid: Pid,
    fd: u32,
    /// The socket's inode.
    file: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Task {
    pid: Pid,
    tid: Pid,
}

/// A task whose descriptor table was already searched through the task `searched`.
#[derive(Clone, Copy, Debug)]
struct TableSharer {
    task: Task,
    searched: Task,
}

/// A task and its descriptor table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TableUser {
    /// ID of the first task with this descriptor table. This ID identifies the table.
    first: Pid,
    task: Task,
}

impl FoundHolders {
    /// Adds a holder, unless its namespace already has the maximum number of holders of this kind.
    fn add(&mut self, holder: FoundHolder) {
        let count = self.counts.entry((holder.ns_id, holder.kind)).or_default();
        if *count < MAX_HOLDERS {
            *count += 1;
            self.found.push(holder);
        } else {
            self.left_out += 1;
        }
    }

    /// If a socket's queue keeps a namespace alive, adds a holder for every additional descriptor
    /// of that socket.
    pub fn share_queues(&mut self) {
        let mut in_queues: HashMap<u64, Vec<FoundHolder>> = HashMap::new();
        let is_queued = |it: &&FoundHolder| {
            matches!(it.kind, FoundHolderKind::InFlight | FoundHolderKind::Message)
        };
        for holder in self.found.iter().filter(is_queued) {
            in_queues.entry(holder.file).or_default().push(*holder);
        }
        let sharing = std::mem::take(&mut self.sharing);
        self.copy(sharing.into_iter().map(|SocketDescriptor { pid, tid, fd, file }| {
            let holders = in_queues.get(&file).map(Vec::as_slice).unwrap_or_default();
            (holders, move |holder| FoundHolder { pid, tid, fd, ..holder })
        }));
    }

    /// Copies the holders found in a shared descriptor table to each other task that shares the
    /// table.
    pub fn share_tables(&mut self) {
        let mut in_tables: HashMap<Pid, Vec<FoundHolder>> = HashMap::new();
        let is_task = |it: &FoundHolder| {
            matches!(it.kind, FoundHolderKind::Member | FoundHolderKind::ForChildren)
        };
        for holder in self.found.iter().filter(|it| !is_task(it)) {
            in_tables.entry(holder.tid).or_default().push(*holder);
        }
        let sharers = std::mem::take(&mut self.table_sharers);
        self.copy(sharers.iter().map(|&TableSharer { task: Task { pid, tid }, searched }| {
            let holders = in_tables.get(&searched.tid).map(Vec::as_slice).unwrap_or_default();
            (holders, move |holder| FoundHolder { pid, tid, ..holder })
        }));
        self.table_sharers = sharers;
    }

    /// Maps each process that shares a descriptor table to the process through which that table was
    /// searched.
    pub fn same_tables(&self) -> HashMap<Pid, Pid> {
        let is_leader = |task: Task| task.pid == task.tid;
        let sharers = self.table_sharers.iter();
        let leaders = sharers.filter(|it| is_leader(it.task) && is_leader(it.searched));
        leaders.map(|it| (it.task.pid, it.searched.pid)).collect()
    }

    /// Adds modified copies of found holders to the result, at most [`MAX_HOLDERS`] per call.
    ///
    /// Each item of `copies` pairs a list of holders with the function that modifies each copy.
    fn copy<'a, F: Fn(FoundHolder) -> FoundHolder>(
        &mut self,
        copies: impl Iterator<Item = (&'a [FoundHolder], F)>,
    ) {
        let mut left = MAX_HOLDERS;
        for (holders, change) in copies {
            let added = left.min(holders.len());
            for holder in holders.iter().take(added) {
                self.add(change(*holder));
            }
            self.left_out += holders.len() - added;
            left -= added;
        }
    }
}

/// The loaded BPF programs, and the list of namespaces that one of these programs fills.
pub struct KernelMemory {
    object: LoadedObject,
    types: KernelTypes,
    list: Array,
    namespaces: IteratorProgram,
    tasks: IteratorProgram,
    descriptors: IteratorProgram,
}

impl KernelMemory {
    /// Loads the BPF programs, which need the kernel's list of namespaces (since Linux 6.18).
    pub fn open() -> Result<Self, BpfUnavailable> {
        check_capabilities()?;
        check_lockdown()?;
        check_address_space()?;
        let object = LoadedObject::load(OBJECT)?;
        let types = KernelTypes::open()?;
        let load = |section, iterator, name, map: Option<BorrowedFd<'_>>| {
            object.program(ProgramSpec { section, name, iterator, map }, &types)
        };
        let tables = create_hash(OBJECT_KEY, MAX_OBJECTS)?;
        let tables = Some(tables.as_fd());
        let tasks = load("tasks", "bpf_iter_task", "pidns_keepers", tables)?;
        let sockets = create_hash(OBJECT_KEY, MAX_OBJECTS)?;
        let sockets = Some(sockets.as_fd());
        let descriptors = load("descriptors", "bpf_iter_task_file", "pidns_files", sockets)?;
        let (list, namespaces) = load_list(&object, &types, CAPACITY)?;
        Ok(Self { object, types, list, namespaces, tasks, descriptors })
    }

    /// Lists pidns's PID namespace and all of its descendants.
    pub fn list(&mut self) -> Result<Vec<MemoryNamespace>, BpfUnavailable> {
        loop {
            let count = self.fill_list()?;
            let elements = self.list.copy()?;
            let length = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(LISTED);
            if let Some(elements) = elements.get(..length) {
                let namespaces = elements.chunks_exact(LISTED).map(MemoryNamespace::read);
                return namespaces.collect::<Option<_>>().ok_or(BpfUnavailable::Inconsistent);
            }
            // More namespaces may be created before the next attempt, so double the capacity.
            let capacity = count.saturating_mul(2).next_multiple_of(CAPACITY);
            if capacity > MAX_CAPACITY {
                return Err(BpfUnavailable::Inconsistent);
            }
            (self.list, self.namespaces) = load_list(&self.object, &self.types, capacity)?;
        }
    }

    /// Fills the list and returns the number of namespaces, which may exceed the capacity.
    fn fill_list(&self) -> Result<u32, BpfUnavailable> {
        let mut count = None;
        self.namespaces.read_records(LENGTH, |record| {
            let [found, is_whole] = words(record).ok_or(BpfUnavailable::Inconsistent)?;
            count = (is_whole == 1).then_some(found);
            Ok::<_, BpfUnavailable>(())
        })?;
        count.ok_or(BpfUnavailable::Inconsistent)
    }

    /// Lists the tasks and descriptors that keep alive a namespace without a living init.
    ///
    /// Must not be called twice, because the BPF programs skip socket queues that they have already
    /// searched.
    pub fn holders(&self) -> Result<FoundHolders, BpfUnavailable> {
        let mut holders = FoundHolders::default();
        let mut tables = Vec::new();
        self.tasks.read_records(KEPT, |record| {
            match HolderRecord::read(record).ok_or(BpfUnavailable::Inconsistent)? {
                HolderRecord::FoundHolder(holder) => holders.add(holder),
                HolderRecord::HasTable(user) => tables.push(user),
                HolderRecord::SameQueue(_) | HolderRecord::SearchedQueue => {}
            }
            Ok::<_, BpfUnavailable>(())
        })?;
        tables.sort_unstable();
        for users in tables.chunk_by(|one, other| one.first == other.first) {
            let mut searched = None;
            for &TableUser { task, .. } in users {
                // A task may have replaced its descriptor table since the BPF program ran.
                match searched {
                    Some(searched) if have_same_table(searched, task) => {
                        holders.table_sharers.push(TableSharer { task, searched });
                    }
                    _ => {
                        self.search_table(task, &mut holders)?;
                        searched = Some(task);
                    }
                }
            }
        }
        Ok(holders)
    }

    /// Searches a task's descriptor table, and adds the holders to `holders`.
    fn search_table(&self, task: Task, holders: &mut FoundHolders) -> Result<(), BpfUnavailable> {
        // Search one socket queue per read, because signals are handled only between reads.
        self.descriptors.open(OFlags::empty(), Some(task.tid.as_u32()))?.read(KEPT, 1, |record| {
            match HolderRecord::read(record).ok_or(BpfUnavailable::Inconsistent)? {
                HolderRecord::FoundHolder(holder) => holders.add(holder),
                HolderRecord::SameQueue(it) if holders.sharing.len() < MAX_SHARING => {
                    holders.sharing.push(it);
                }
                HolderRecord::SameQueue(_)
                | HolderRecord::SearchedQueue
                | HolderRecord::HasTable(_) => {}
            }
            Ok(())
        })
    }
}

fn have_same_table(one: Task, other: Task) -> bool {
    compare_descriptor_tables(one.tid, other.tid).is_ok_and(Ordering::is_eq)
}

/// Creates an empty list of namespaces, and loads the BPF program that fills it.
fn load_list(
    object: &LoadedObject,
    types: &KernelTypes,
    capacity: u32,
) -> Result<(Array, IteratorProgram), LoadError> {
    let list = Array::new(LISTED, capacity)?;
    let spec = ProgramSpec {
        section: "namespaces",
        name: "pidns_list",
        iterator: "bpf_iter_task",
        map: Some(list.as_fd()),
    };
    let program = object.program(spec, types)?;
    Ok((list, program))
}

impl MemoryNamespace {
    /// Decodes an element of the list of namespaces.
    fn read(bytes: &[u8]) -> Option<Self> {
        let [low, high, inode, init] = words(bytes)?;
        let init = match init {
            0 => InitState::Living,
            1 => InitState::Terminated,
            2 => InitState::NotYet,
            _ => return None,
        };
        Some(Self { ns_id: long(low, high), inode: inode.into(), init })
    }
}

/// A record from the BPF programs that search for holders.
#[derive(Debug)]
enum HolderRecord {
    FoundHolder(FoundHolder),
    /// A descriptor whose socket queue was already searched.
    SameQueue(SocketDescriptor),
    /// A record that makes `read(2)` return after a queue has been searched, so that signals are
    /// handled between queues.
    SearchedQueue,
    HasTable(TableUser),
}

impl HolderRecord {
    /// Decodes a record (`struct kept` in `namespaces.bpf.c`).
    fn read(bytes: &[u8]) -> Option<Self> {
        let [low, high, file_low, file_high, inode, pid, tid, fd, kind, _] = words(bytes)?;
        let (pid, tid, file) = (Pid::new(pid)?, Pid::new(tid)?, long(file_low, file_high));
        let kind = match kind {
            0 => FoundHolderKind::Namespace,
            1 => FoundHolderKind::Pidfd,
            2 => FoundHolderKind::Socket,
            3 => FoundHolderKind::InFlight,
            4 => FoundHolderKind::Procfs,
            5 => FoundHolderKind::Member,
            6 => FoundHolderKind::ForChildren,
            7 => FoundHolderKind::Listener,
            8 => FoundHolderKind::Message,
            9 => return Some(Self::SameQueue(SocketDescriptor { pid, tid, fd, file })),
            10 => return Some(Self::SearchedQueue),
            11 => {
                return Some(Self::HasTable(TableUser {
                    first: Pid::new(fd)?,
                    task: Task { pid, tid },
                }));
            }
            _ => return None,
        };
        let (ns_id, inode) = (long(low, high), inode.into());
        Some(Self::FoundHolder(FoundHolder { ns_id, inode, kind, pid, tid, fd, file }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn decodes_an_element_of_the_list() {
        let read = |init| MemoryNamespace::read(&bytes(&[7, 1, 0xf000_0001, init]));
        let expected =
            |init| Some(MemoryNamespace { ns_id: 1 << 32 | 7, inode: 0xf000_0001, init });
        assert_eq!(read(0), expected(InitState::Living));
        assert_eq!(read(1), expected(InitState::Terminated));
        assert_eq!(read(2), expected(InitState::NotYet));
        assert_eq!(read(3), None);
        assert_eq!(MemoryNamespace::read(&bytes(&[7, 1, 2])), None);
    }

    fn task(pid: u32, tid: u32) -> Task {
        Task { pid: Pid::new(pid).unwrap(), tid: Pid::new(tid).unwrap() }
    }

    fn kept(pid: u32, kind: u32) -> Option<HolderRecord> {
        HolderRecord::read(&bytes(&[7, 1, 9, 2, 0xf000_0001, pid, 43, 5, kind, 0]))
    }

    #[test]
    fn decodes_a_holder() {
        let expected = |kind| FoundHolder {
            ns_id: 1 << 32 | 7,
            inode: 0xf000_0001,
            kind,
            pid: Pid::new(42).unwrap(),
            tid: Pid::new(43).unwrap(),
            fd: 5,
            file: 2 << 32 | 9,
        };
        let all = [
            FoundHolderKind::Namespace,
            FoundHolderKind::Pidfd,
            FoundHolderKind::Socket,
            FoundHolderKind::InFlight,
            FoundHolderKind::Procfs,
            FoundHolderKind::Member,
            FoundHolderKind::ForChildren,
            FoundHolderKind::Listener,
            FoundHolderKind::Message,
        ];
        for (number, kind) in (0..).zip(all) {
            let Some(HolderRecord::FoundHolder(holder)) = kept(42, number) else {
                panic!("{kind:?}")
            };
            assert_eq!(holder, expected(kind));
        }
        assert!(matches!(kept(42, 9), Some(HolderRecord::SameQueue(_))));
        assert!(matches!(kept(42, 10), Some(HolderRecord::SearchedQueue)));
        let Some(HolderRecord::HasTable(user)) = kept(42, 11) else { panic!("has a table") };
        assert_eq!((user.first, user.task), (Pid::new(5).unwrap(), task(42, 43)));
        assert!(kept(42, 12).is_none() && kept(0, 1).is_none());
        assert!(HolderRecord::read(&bytes(&[0; 9])).is_none());
    }

    #[test]
    fn descriptors_of_one_socket_keep_the_same_namespaces() {
        let mut holders = FoundHolders::default();
        for (pid, kind) in [(42, 3), (43, 2), (44, 9), (45, 9)] {
            match kept(pid, kind).unwrap() {
                HolderRecord::FoundHolder(holder) => holders.add(holder),
                HolderRecord::SameQueue(it) => holders.sharing.push(it),
                HolderRecord::SearchedQueue | HolderRecord::HasTable(_) => {}
            }
        }
        holders.share_queues();
        let found = holders.found.iter().map(|it| (it.pid.as_u32(), it.kind));
        let expected = [
            (42, FoundHolderKind::InFlight),
            (43, FoundHolderKind::Socket),
            (44, FoundHolderKind::InFlight),
            (45, FoundHolderKind::InFlight),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert_eq!(holders.left_out, 0);
    }

    #[test]
    fn processes_that_share_a_table_keep_the_same_namespaces() {
        let mut holders = FoundHolders::default();
        for kind in [1, 5] {
            let Some(HolderRecord::FoundHolder(holder)) = kept(42, kind) else { panic!("{kind}") };
            holders.add(holder);
        }
        for (sharer, searched) in [(task(50, 50), task(42, 43)), (task(51, 51), task(44, 44))] {
            holders.table_sharers.push(TableSharer { task: sharer, searched });
        }
        holders.share_tables();
        let same_tables = holders.same_tables().into_iter();
        let same_tables = same_tables.map(|(pid, searched)| (pid.as_u32(), searched.as_u32()));
        assert_eq!(same_tables.collect::<Vec<_>>(), [(51, 44)]);
        let found = holders.found.iter().map(|it| (it.pid.as_u32(), it.tid.as_u32(), it.kind));
        let expected = [
            (42, 43, FoundHolderKind::Pidfd),
            (42, 43, FoundHolderKind::Member),
            (50, 50, FoundHolderKind::Pidfd),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn too_many_holders_of_a_namespace_are_only_counted() {
        let mut holders = FoundHolders::default();
        let Some(HolderRecord::FoundHolder(holder)) = kept(42, 3) else { panic!("is a holder") };
        for fd in 0..100 {
            holders.add(FoundHolder { fd, ..holder });
        }
        let Some(HolderRecord::SameQueue(other)) = kept(44, 9) else { panic!("is a descriptor") };
        holders.sharing = vec![other; 200];
        holders.share_queues();
        assert_eq!(
            (holders.found.len(), holders.left_out),
            (MAX_HOLDERS, 100 + 200 * 100 - MAX_HOLDERS)
        );
    }
}
