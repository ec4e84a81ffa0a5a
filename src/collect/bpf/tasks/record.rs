//! One record of the program, as `struct record` of `task.bpf.c` has it, made a
//! process in the way in which /proc shows one. Whether that is all there is to
//! know of the process is said, and decided elsewhere.

use std::num::NonZeroU32;

use crate::collect::parse;
use crate::model::{NamespaceId, Nspid, Pid, Process};

/// PIDs that a record has room for, `LEVELS`.
const LEVELS: usize = 8;

/// The longest name of a task, without the NUL at its end.
const LONGEST_NAME: usize = 15;

/// Size of a record.
pub const SIZE: usize = 128;

/// Flags of a task, `PF_…` of the kernel; `proc_pid_stat(5)` shows them.
mod flag {
    pub const EXITING: u32 = 0x4;
    pub const WORKER: u32 = 0x20;
    pub const KERNEL_THREAD: u32 = 0x20_0000;
}

/// What more there is to be read, as `task.bpf.c` has it.
mod more {
    pub const DESCRIPTOR: u32 = 1;
    pub const CHANGED: u32 = 2;
}

/// States of a task, `TASK_…` and `EXIT_…` of the kernel, each one bit.
mod state {
    /// What `State` shows is among these, by its highest bit.
    pub const SHOWN: u32 = 0x7f;
    pub const UNINTERRUPTIBLE: u32 = 0x2;
    pub const ZOMBIE: u32 = 0x20;
    pub const WAKES_TO_DIE: u32 = 0x100;
    pub const NO_LOAD: u32 = 0x400;
    pub const WAITS_FOR_LOCK: u32 = 0x1000;
    pub const MAY_FREEZE: u32 = 0x2000;
    pub const FROZEN: u32 = 0x8000;
    /// All that are known here.
    pub const KNOWN: u32 = SHOWN | WAKES_TO_DIE | NO_LOAD | WAITS_FOR_LOCK | MAY_FREEZE | FROZEN;
}

/// A process, as the program saw it.
#[derive(Debug)]
pub struct Record {
    /// What /proc would show of it; its start time, too.
    pub process: Process,
    /// The kernel's number for its namespace, never reused (since Linux 6.18).
    pub ns_id: Option<u64>,
    /// Inode of the namespace that its children are born in, and the kernel's
    /// number for that, if it is another one and that was asked for.
    pub for_children: Option<(u64, Option<u64>)>,
    /// Inode of its mount namespace, if it has one and that was asked for.
    pub mount_namespace: Option<u64>,
    /// Whether it is the init of a namespace below the viewer's.
    pub is_init: bool,
    /// Whether it has not given up its memory, as a process does that exits.
    pub has_memory: bool,
    /// Whether it has to be read through /proc, whatever is searched.
    pub is_odd: bool,
    /// Whether it has to be read through /proc where holders are searched.
    pub may_hold: bool,
    /// Whether its descriptors were looked at, where that was asked for, and no
    /// namespace was among them.
    pub has_none_open: bool,
}

impl Record {
    /// Reads a record; `None` where it makes no sense.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<4>();
        let words: &[[u8; 4]; SIZE / 4] = words.try_into().ok().filter(|_| rest.is_empty())?;
        let [
            id_low,
            id_high,
            children_id_low,
            children_id_high,
            start_low,
            start_high,
            pid,
            parent,
            uid,
            state,
            exit_state,
            flags,
            living,
            threads,
            namespace,
            children_namespace,
            mount_namespace,
            has_memory,
            more,
            levels,
            numbers @ ..,
        ] = words.map(u32::from_ne_bytes);
        let long = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        let id = |low, high| Some(long(low, high)).filter(|&id| id != 0);
        let name = bytes.get(SIZE - LONGEST_NAME - 1..)?;
        let name = name.get(..name.iter().position(|&byte| byte == 0).unwrap_or(LONGEST_NAME))?;
        let levels = usize::try_from(levels).ok().filter(|&levels| levels > 0)?;
        let nspid: Nspid =
            numbers.iter().take(levels.min(LEVELS)).map_while(|&raw| Pid::new(raw)).collect();
        let pid = Pid::new(pid).filter(|pid| nspid.first() == Some(pid))?;
        let letter = letter(state, exit_state);
        let kernel_thread = flags & flag::KERNEL_THREAD != 0;
        let is_zombie = exit_state == state::ZOMBIE;
        // /proc shows what a worker works at, and names of threads of the
        // kernel that are cut off here.
        let has_other_name =
            kernel_thread && (flags & flag::WORKER != 0 || name.len() == LONGEST_NAME);
        let is_exiting = exit_state != 0 || flags & flag::EXITING != 0;
        let is_init = levels > 1 && nspid.len() == levels && nspid.last() == Some(&Pid::INIT);
        let is_odd = nspid.len() != levels
            || has_other_name
            || letter.is_none()
            || more & more::CHANGED != 0
            || (exit_state == 0 && flags & flag::EXITING != 0);
        Some(Self {
            process: Process {
                ppid: Pid::new(parent),
                namespace: Some(NamespaceId::Inode(namespace.into())),
                nspid,
                comm: parse::name(name),
                state: letter.unwrap_or('?'),
                uid,
                threads: NonZeroU32::new(threads),
                // In clock ticks.
                start_time: Some(long(start_low, start_high) / 10_000_000),
                kernel_thread,
                ..Process::unread(pid)
            },
            ns_id: id(id_low, id_high),
            for_children: Some((children_namespace.into(), id(children_id_low, children_id_high)))
                .filter(|&(inode, _)| inode != 0 && inode != u64::from(namespace)),
            mount_namespace: Some(mount_namespace.into()).filter(|&inode| inode != 0),
            is_init,
            has_memory: has_memory != 0,
            is_odd,
            // Threads of the kernel hold nothing. A leader that has exited shows
            // nothing of what the other threads hold.
            may_hold: !kernel_thread && (more != 0 || (is_zombie && living != 0)),
            has_none_open: !is_exiting && more & (more::DESCRIPTOR | more::CHANGED) == 0,
        })
    }
}

/// The letter that `State` of `/proc/PID/status` has for these, as
/// `task_state_index()` of the kernel finds it; `None` for what a task is in
/// only for a moment, or what is not known here.
fn letter(state: u32, exit_state: u32) -> Option<char> {
    if state & !state::KNOWN != 0 {
        // A task that has ended stays in a state of its own (TASK_DEAD).
        return (exit_state == state::ZOMBIE).then_some('Z');
    }
    let idle = state::UNINTERRUPTIBLE | state::NO_LOAD;
    if state & idle == idle {
        return (exit_state == 0).then_some('I');
    }
    if state & (state::WAITS_FOR_LOCK | state::FROZEN) != 0 {
        return (exit_state == 0).then_some('D');
    }
    match (state | exit_state) & state::SHOWN {
        0 => Some('R'),
        0x1 => Some('S'),
        state::UNINTERRUPTIBLE => Some('D'),
        0x4 => Some('T'),
        0x8 => Some('t'),
        state::ZOMBIE => Some('Z'),
        0x40 => Some('P'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of these words, whose name is `sleep` unless they say more.
    fn record(words: [u32; 20], nspid: [u32; 8], name: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            words.iter().chain(&nspid).flat_map(|word| word.to_ne_bytes()).collect();
        bytes.extend(name);
        bytes.resize(SIZE, 0);
        bytes
    }

    const WORDS: [u32; 20] =
        [7, 1, 0, 0, 50_000_000, 2, 42, 6, 1000, 1, 0, 0x40_0000, 1, 3, 61_441, 0, 9, 0, 0, 2];
    const NSPID: [u32; 8] = [42, 5, 0, 0, 0, 0, 0, 0];

    #[test]
    fn a_record_is_the_process_that_proc_shows() {
        let read = Record::read(&record(WORDS, NSPID, b"a\xff\nb")).unwrap();
        assert_eq!(read.ns_id, Some(1 << 32 | 7));
        assert_eq!(read.mount_namespace, Some(9));
        assert!(!read.is_odd && !read.may_hold);
        let process = read.process;
        assert_eq!(process.pid, Pid::new(42).unwrap());
        assert_eq!(process.ppid, Pid::new(6));
        assert_eq!(process.namespace, Some(NamespaceId::Inode(61_441)));
        assert_eq!(process.nspid.iter().map(|pid| pid.as_u32()).collect::<Vec<_>>(), [42, 5]);
        assert_eq!(process.comm, "a\u{fffd}\nb");
        assert_eq!((process.state, process.uid, process.kernel_thread), ('S', 1000, false));
        assert_eq!(process.threads, NonZeroU32::new(3));
        assert_eq!(process.start_time, Some(((2 << 32) + 50_000_000) / 10_000_000));
    }

    #[test]
    fn what_proc_has_more_to_say_of_is_odd() {
        let odd = |at: usize, value: u32| {
            let mut words = WORDS;
            words[at] = value;
            let read = Record::read(&record(words, NSPID, b"sleep")).unwrap();
            (read.is_odd, read.may_hold)
        };
        assert_eq!(odd(19, 2), (false, false));
        // More levels than there is room for; a state of a moment; exiting.
        for (at, value) in [(19, 9), (9, 0x200), (10, 0x10), (11, 0x4), (11, 0x20_0020)] {
            assert_eq!(odd(at, value), (true, false), "{at} {value}");
        }
        // It has a namespace open; it changed meanwhile.
        assert_eq!(odd(18, 1), (false, true));
        assert_eq!(odd(18, 2), (true, true));
        // Its leader has exited, and a thread has not, or all have.
        for (living, may_hold) in [(1, true), (0, false)] {
            let mut words = WORDS;
            (words[9], words[10], words[12]) = (0x80, 0x20, living);
            let read = Record::read(&record(words, NSPID, b"sleep")).unwrap();
            assert_eq!((read.process.state, read.is_odd, read.may_hold), ('Z', false, may_hold));
        }
    }

    #[test]
    fn inits_and_namespaces_for_children_are_told() {
        let read = Record::read(&record(WORDS, NSPID, b"sh")).unwrap();
        assert!(!read.is_init && read.for_children.is_none());
        let mut words = WORDS;
        (words[2], words[3], words[15], words[17]) = (8, 1, 61_442, 1);
        let read = Record::read(&record(words, [42, 1, 0, 0, 0, 0, 0, 0], b"sh")).unwrap();
        assert!(read.is_init && read.has_memory && !read.is_odd);
        assert_eq!(read.for_children, Some((61_442, Some(1 << 32 | 8))));
        (words[2], words[3], words[19]) = (0, 0, 1);
        let read = Record::read(&record(words, [1, 0, 0, 0, 0, 0, 0, 0], b"sh"));
        assert!(read.is_none(), "it is not PID 42");
        words[6] = 1;
        let read = Record::read(&record(words, [1, 0, 0, 0, 0, 0, 0, 0], b"sh")).unwrap();
        assert!(!read.is_init, "it is that of the viewer's own namespace");
        assert_eq!(read.for_children, Some((61_442, None)));
    }

    #[test]
    fn a_record_that_makes_no_sense_is_none() {
        let bytes = record(WORDS, NSPID, b"sleep");
        assert!(Record::read(&bytes[1..]).is_none());
        for (at, value) in [(6, 43), (6, 0), (19, 0), (6, u32::MAX)] {
            let mut words = WORDS;
            words[at] = value;
            assert!(Record::read(&record(words, NSPID, b"sleep")).is_none(), "{at} {value}");
        }
    }

    #[test]
    fn states_have_the_letters_that_proc_has_for_them() {
        for (state, exit_state, expected) in [
            (0, 0, Some('R')),
            (0x1, 0, Some('S')),
            (0x2001, 0, Some('S')),
            (0x102, 0, Some('D')),
            (0x402, 0, Some('I')),
            (0x2402, 0, Some('I')),
            (0x8000, 0, Some('D')),
            (0x104, 0, Some('T')),
            (0x8, 0, Some('t')),
            (0x40, 0, Some('P')),
            (0x80, 0x20, Some('Z')),
            (0, 0x20, Some('Z')),
            (0x80, 0x10, None),
            (0, 0x30, None),
            (0x200, 0, None),
            (0x800, 0, None),
            (0x10_0000, 0, None),
        ] {
            assert_eq!(letter(state, exit_state), expected, "{state:#x} {exit_state:#x}");
        }
    }
}
