//! Lists the PID namespaces in kernel memory, and the keepers of namespaces without a living init:
//! the tasks and descriptors that keep such a namespace alive. `search` decides which of these
//! results to trust.

use std::os::fd::AsFd as _;

use super::words::{long, words};
use crate::collect::bpf::loader::{
    Array, IteratorProgram, KernelTypes, LoadError, LoadedObject, ProgramSpec,
};
use crate::collect::bpf::permission::{check_capabilities, check_lockdown};
use crate::collect::bpf::unavailable::BpfUnavailable;
use crate::model::Pid;

/// The object file that tests/bpf/build compiles from `namespaces.bpf.c`.
const OBJECT: &[u8] = include_bytes!("namespaces.bpf.o");

/// Initial capacity of the list of namespaces, in elements.
const CAPACITY: u32 = 4096;

/// Maximum capacity of the list of namespaces. No host has enough memory for more namespaces.
const MAX_CAPACITY: u32 = 1 << 20;

/// Size in bytes of each element in the list of namespaces (`struct listed` in `namespaces.bpf.c`).
const LISTED: usize = 16;

/// Size in bytes of a record about a task or descriptor that keeps a namespace alive (`struct kept`
/// in `namespaces.bpf.c`).
const KEPT: usize = 40;

/// Size in bytes of the record that contains the number of listed namespaces (`walk.length` in
/// `namespaces.bpf.c`).
const LENGTH: usize = 8;

/// The state of a namespace's init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitState {
    Living,
    Terminated,
    /// No process has been created in the namespace yet.
    NotYet,
}

/// A namespace in kernel memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryNamespace {
    /// The 64-bit ID of the namespace, which is never reused.
    pub ns_id: u64,
    pub inode: u64,
    pub init: InitState,
}

/// How a task or descriptor keeps a namespace alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeeperKind {
    /// The descriptor refers to the namespace itself.
    Namespace,
    /// The descriptor is a pidfd of a process in the namespace.
    Pidfd,
    /// The descriptor is a UNIX socket whose peer process is or was in the namespace.
    Socket,
    /// The descriptor is a UNIX socket with an unread message. The message contains a descriptor
    /// that keeps the namespace alive, or its sender is or was in the namespace.
    InFlight,
    /// The descriptor is a file in the namespace's procfs, or in the /proc directory of a process
    /// in the namespace.
    Procfs,
    /// The task is in the namespace.
    Member,
    /// The task creates its children in the namespace.
    ForChildren,
}

/// A task or descriptor that keeps a namespace alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeper {
    pub ns_id: u64,
    pub inode: u64,
    pub kind: KeeperKind,
    /// PID of the task's process, or of the process that has the descriptor open.
    pub pid: Pid,
    /// The task's ID, or the ID of a thread that has the descriptor open.
    pub tid: Pid,
    /// The descriptor's number; 0 for a task.
    pub fd: u32,
    /// The open file's inode; 0 for a task.
    pub file: u64,
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
    /// Loads the BPF programs. Fails before Linux 6.18, because older kernels have no list of
    /// namespaces.
    pub fn open() -> Result<Self, BpfUnavailable> {
        check_capabilities()?;
        check_lockdown()?;
        let object = LoadedObject::load(OBJECT)?;
        let types = KernelTypes::open()?;
        let load = |section, iterator, name| {
            object.program(ProgramSpec { section, name, iterator, map: None }, &types)
        };
        let tasks = load("tasks", "bpf_iter_task", "pidns_keepers")?;
        let descriptors = load("descriptors", "bpf_iter_task_file", "pidns_files")?;
        let (list, namespaces) = load_list(&object, &types, CAPACITY)?;
        Ok(Self { object, types, list, namespaces, tasks, descriptors })
    }

    /// Lists the viewer's PID namespace and all of its descendants.
    pub fn list(&mut self) -> Result<Vec<MemoryNamespace>, BpfUnavailable> {
        loop {
            let count = self.fill_list()?;
            let elements = self.list.copy()?;
            let length = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(LISTED);
            if let Some(elements) = elements.get(..length) {
                let namespaces = elements.chunks_exact(LISTED).map(MemoryNamespace::read);
                return namespaces.collect::<Option<_>>().ok_or(BpfUnavailable::Inconsistent);
            }
            // The list was too short. The new list has room for twice as many namespaces, because
            // more may be created before the next attempt.
            let capacity = count.saturating_mul(2).next_multiple_of(CAPACITY);
            if capacity > MAX_CAPACITY {
                return Err(BpfUnavailable::Inconsistent);
            }
            (self.list, self.namespaces) = load_list(&self.object, &self.types, capacity)?;
        }
    }

    /// Runs the BPF program that fills the list of namespaces. Returns the number of namespaces,
    /// which may exceed the capacity of the list.
    fn fill_list(&self) -> Result<u32, BpfUnavailable> {
        let mut count = None;
        self.namespaces.read_records(LENGTH, |record| {
            let [found, is_whole] = words(record).ok_or(BpfUnavailable::Inconsistent)?;
            count = (is_whole == 1).then_some(found);
            Ok::<_, BpfUnavailable>(())
        })?;
        count.ok_or(BpfUnavailable::Inconsistent)
    }

    /// Lists the tasks that keep a namespace alive, including exiting tasks. Leaves out namespaces
    /// with a living init.
    pub fn tasks(&self) -> Result<Vec<Keeper>, BpfUnavailable> {
        read_keepers(&self.tasks)
    }

    /// Lists the descriptors, in all processes, that keep a namespace alive. Leaves out namespaces
    /// with a living init.
    pub fn descriptors(&self) -> Result<Vec<Keeper>, BpfUnavailable> {
        read_keepers(&self.descriptors)
    }
}

fn read_keepers(program: &IteratorProgram) -> Result<Vec<Keeper>, BpfUnavailable> {
    let mut keepers = Vec::new();
    program.read_records(KEPT, |record| {
        keepers.push(Keeper::read(record).ok_or(BpfUnavailable::Inconsistent)?);
        Ok::<_, BpfUnavailable>(())
    })?;
    Ok(keepers)
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
    /// Decodes an element of the list of namespaces; `None` if the element is invalid.
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

impl Keeper {
    /// Decodes a record about a task or descriptor that keeps a namespace alive; `None` if the
    /// record is invalid.
    fn read(bytes: &[u8]) -> Option<Self> {
        let [low, high, file_low, file_high, inode, pid, tid, fd, kind, _] = words(bytes)?;
        let kind = match kind {
            0 => KeeperKind::Namespace,
            1 => KeeperKind::Pidfd,
            2 => KeeperKind::Socket,
            3 => KeeperKind::InFlight,
            4 => KeeperKind::Procfs,
            5 => KeeperKind::Member,
            6 => KeeperKind::ForChildren,
            _ => return None,
        };
        Some(Self {
            ns_id: long(low, high),
            inode: inode.into(),
            kind,
            pid: Pid::new(pid)?,
            tid: Pid::new(tid)?,
            fd,
            file: long(file_low, file_high),
        })
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

    #[test]
    fn decodes_a_keeper() {
        let read =
            |pid, kind| Keeper::read(&bytes(&[7, 1, 9, 2, 0xf000_0001, pid, 43, 5, kind, 0]));
        let expected = |kind| Keeper {
            ns_id: 1 << 32 | 7,
            inode: 0xf000_0001,
            kind,
            pid: Pid::new(42).unwrap(),
            tid: Pid::new(43).unwrap(),
            fd: 5,
            file: 2 << 32 | 9,
        };
        let all = [
            KeeperKind::Namespace,
            KeeperKind::Pidfd,
            KeeperKind::Socket,
            KeeperKind::InFlight,
            KeeperKind::Procfs,
            KeeperKind::Member,
            KeeperKind::ForChildren,
        ];
        for (number, kind) in (0..).zip(all) {
            assert_eq!(read(42, number), Some(expected(kind)));
        }
        assert_eq!(read(42, 7), None);
        assert_eq!(read(0, 1), None);
        assert_eq!(Keeper::read(&bytes(&[0; 9])), None);
    }
}
