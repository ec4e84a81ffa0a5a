//! The PID namespaces that are in the kernel's memory, and the tasks and
//! descriptors that keep those of them there which have no living init: what the
//! programs of `namespaces.bpf.c` tell. What is to be believed of it is decided
//! elsewhere.

use std::os::fd::{AsFd as _, OwnedFd};

use crate::collect::bpf::loader::object::{self, Section};
use crate::collect::bpf::loader::syscall::{Array, Types};
use crate::collect::bpf::unusable::Unusable;
use crate::collect::bpf::{ITERATOR, Programs, check_capabilities, check_lockdown, read_records};
use crate::model::Pid;

/// Namespaces that the list has room for at first.
const ROOM: u32 = 4096;

/// More of them than any host has memory for.
const MOST_ROOM: u32 = 1 << 20;

/// Size of an element of the list, and of a record of what keeps a namespace.
const LISTED: usize = 16;
const KEPT: usize = 40;

/// Size of what is written of the list as a whole.
const LENGTH: usize = 8;

/// What there is of a namespace's init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// It lives.
    Lives,
    /// It has terminated.
    HasGone,
    /// There was none yet.
    IsToCome,
}

/// A namespace, by both of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The one that is never reused.
    pub ns_id: u64,
    /// Its inode.
    pub inode: u64,
    /// Whether it has an init.
    pub init: Init,
}

/// By what a namespace is kept: a descriptor, or a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// It is a descriptor of the namespace.
    Itself,
    /// It is a pidfd of a process that was in it.
    Pidfd,
    /// It is a UNIX socket whose peer was in it.
    Socket,
    /// Such a descriptor waits in its socket to be received.
    InFlight,
    /// It is a file of its procfs, or of a process that was in it.
    Procfs,
    /// It is a task that is in it.
    Member,
    /// It is a task that has it for its children.
    ForChildren,
}

/// A descriptor or a task that keeps a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The namespace.
    pub ns_id: u64,
    pub inode: u64,
    /// By what.
    pub by: By,
    /// The task, or whose descriptor it is.
    pub pid: Pid,
    pub tid: Pid,
    /// The number of the descriptor, and the inode number of the open file; 0
    /// where it is none.
    pub fd: u32,
    pub file: u64,
}

/// The programs, which the kernel has verified.
pub struct KernelMemory {
    programs: Programs,
    types: Types,
    list: Array,
    namespaces: OwnedFd,
    tasks: OwnedFd,
    descriptors: OwnedFd,
}

impl KernelMemory {
    /// Has the kernel take the programs.
    ///
    /// # Errors
    /// It does not; or it has no list of namespaces, as before Linux 6.18.
    pub fn open() -> Result<Self, Unusable> {
        check_capabilities()?;
        check_lockdown()?;
        let programs = Programs::new(object::NAMESPACES)?;
        let types = Types::open().map_err(Unusable::NoTypes)?;
        let load = |name, called_as, as_name: &str| {
            programs.load(Section { name, called_as, map: None }, &types, as_name)
        };
        let tasks = load("tasks", ITERATOR, "pidns_keepers")?;
        let descriptors = load("descriptors", b"bpf_iter_task_file", "pidns_files")?;
        let (list, namespaces) = load_list(&programs, &types, ROOM)?;
        Ok(Self { programs, types, list, namespaces, tasks, descriptors })
    }

    /// The viewer's namespace and all below it that are in memory at this moment.
    ///
    /// # Errors
    /// The kernel does not tell, or nothing that makes sense.
    pub fn list(&mut self) -> Result<Vec<Listed>, Unusable> {
        loop {
            let count = self.fill_list()?;
            let elements = self.list.copy()?;
            let count_there = usize::try_from(count).unwrap_or(usize::MAX);
            if let Some(elements) = elements.get(..count_there.saturating_mul(LISTED)) {
                let listed = elements.chunks_exact(LISTED).map(Listed::read);
                return listed.collect::<Option<_>>().ok_or(Unusable::Senseless);
            }
            // Some may come meanwhile.
            let room = count.saturating_mul(2).next_multiple_of(ROOM);
            if room > MOST_ROOM {
                return Err(Unusable::Senseless);
            }
            (self.list, self.namespaces) = load_list(&self.programs, &self.types, room)?;
        }
    }

    /// Lists the namespaces, as many as there is room for; how many there are.
    fn fill_list(&self) -> Result<u32, Unusable> {
        let mut count = None;
        read_records(&self.namespaces, LENGTH, |record| {
            let [found, is_whole] = words(record).ok_or(Unusable::Senseless)?;
            count = (is_whole == 1).then_some(found);
            Ok(())
        })?;
        count.ok_or(Unusable::Senseless)
    }

    /// The tasks that keep a namespace without a living init, also those that are
    /// on their way out.
    ///
    /// # Errors
    /// The kernel does not tell, or nothing that makes sense.
    pub fn tasks(&self) -> Result<Vec<Kept>, Unusable> {
        read_kept(&self.tasks)
    }

    /// The descriptors of all processes that keep one.
    ///
    /// # Errors
    /// As of [`Self::tasks`].
    pub fn descriptors(&self) -> Result<Vec<Kept>, Unusable> {
        read_kept(&self.descriptors)
    }
}

fn read_kept(program: &OwnedFd) -> Result<Vec<Kept>, Unusable> {
    let mut found = Vec::new();
    read_records(program, KEPT, |record| {
        found.push(Kept::read(record).ok_or(Unusable::Senseless)?);
        Ok(())
    })?;
    Ok(found)
}

/// Makes room for so many namespaces, and has the kernel take the program that
/// lists them there.
fn load_list(programs: &Programs, types: &Types, room: u32) -> Result<(Array, OwnedFd), Unusable> {
    let list = Array::new(LISTED, room)?;
    let section = Section { name: "namespaces", called_as: ITERATOR, map: Some(list.as_fd()) };
    let program = programs.load(section, types, "pidns_list")?;
    Ok((list, program))
}

impl Listed {
    /// Reads an element of the list; `None` where it makes no sense.
    fn read(bytes: &[u8]) -> Option<Self> {
        let [low, high, inode, init] = words(bytes)?;
        let init = match init {
            0 => Init::Lives,
            1 => Init::HasGone,
            2 => Init::IsToCome,
            _ => return None,
        };
        Some(Self { ns_id: long(low, high), inode: inode.into(), init })
    }
}

impl Kept {
    /// Reads a record; `None` where it makes no sense.
    fn read(bytes: &[u8]) -> Option<Self> {
        let [low, high, file_low, file_high, inode, pid, tid, fd, by, _] = words(bytes)?;
        let by = match by {
            0 => By::Itself,
            1 => By::Pidfd,
            2 => By::Socket,
            3 => By::InFlight,
            4 => By::Procfs,
            5 => By::Member,
            6 => By::ForChildren,
            _ => return None,
        };
        Some(Self {
            ns_id: long(low, high),
            inode: inode.into(),
            by,
            pid: Pid::new(pid)?,
            tid: Pid::new(tid)?,
            fd,
            file: long(file_low, file_high),
        })
    }
}

/// So many numbers of 32 bits; `None` where there are more or less.
fn words<const N: usize>(bytes: &[u8]) -> Option<[u32; N]> {
    let (words, rest) = bytes.as_chunks::<4>();
    let words: &[[u8; 4]; N] = words.try_into().ok().filter(|_| rest.is_empty())?;
    Some(words.map(u32::from_ne_bytes))
}

/// A number of 64 bits, which stands as two.
fn long(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn an_element_of_the_list_has_both_numbers_and_what_there_is_of_the_init() {
        let listed = |init| Listed::read(&bytes(&[7, 1, 0xf000_0001, init]));
        let expected = |init| Some(Listed { ns_id: 1 << 32 | 7, inode: 0xf000_0001, init });
        assert_eq!(listed(0), expected(Init::Lives));
        assert_eq!(listed(1), expected(Init::HasGone));
        assert_eq!(listed(2), expected(Init::IsToCome));
        assert_eq!(listed(3), None);
        assert_eq!(Listed::read(&bytes(&[7, 1, 2])), None);
    }

    #[test]
    fn a_record_says_whose_descriptor_keeps_which_namespace_by_what() {
        let kept = |pid, by| Kept::read(&bytes(&[7, 1, 9, 2, 0xf000_0001, pid, 43, 5, by, 0]));
        let expected = |by| Kept {
            ns_id: 1 << 32 | 7,
            inode: 0xf000_0001,
            by,
            pid: Pid::new(42).unwrap(),
            tid: Pid::new(43).unwrap(),
            fd: 5,
            file: 2 << 32 | 9,
        };
        let all = [
            By::Itself,
            By::Pidfd,
            By::Socket,
            By::InFlight,
            By::Procfs,
            By::Member,
            By::ForChildren,
        ];
        for (number, by) in (0..).zip(all) {
            assert_eq!(kept(42, number), Some(expected(by)));
        }
        assert_eq!(kept(42, 7), None);
        assert_eq!(kept(0, 1), None);
        assert_eq!(Kept::read(&bytes(&[0; 9])), None);
    }
}
