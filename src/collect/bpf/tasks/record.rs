//! Decodes the records about processes that the BPF program writes (`struct record` in
//! `task.bpf.c`).

use std::num::NonZeroU32;

use crate::collect::parse;
use crate::model::{NamespaceId, Nspid, Pid, Process};

/// Maximum number of PIDs in a record (`LEVELS` in `task.bpf.c`).
const LEVELS: usize = 8;

/// Maximum length of a task's name, without the terminating NUL.
const MAX_NAME: usize = 15;

/// Size of a record in bytes.
pub const SIZE: usize = 128;

/// Nanoseconds per clock tick, the unit of start times in /proc.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

/// Flags of a task (`PF_...` in the kernel), which `/proc/PID/stat` also shows.
mod flag {
    pub const EXITING: u32 = 0x4;
    pub const WORKER: u32 = 0x20;
    pub const KERNEL_THREAD: u32 = 0x20_0000;
}

/// Bits of the field `more`, each a reason to read the process through /proc.
mod more {
    pub const HOLDS_DESCRIPTOR: u32 = 1;
    pub const CHANGED: u32 = 2;
}

/// Bits of a task's state (`TASK_...` and `EXIT_...` in the kernel).
mod state {
    /// Mask of the states that have a letter in `/proc/PID/status`.
    pub const SHOWN: u32 = 0x7f;
    pub const UNINTERRUPTIBLE: u32 = 0x2;
    pub const ZOMBIE: u32 = 0x20;
    pub const WAKEKILL: u32 = 0x100;
    pub const NOLOAD: u32 = 0x400;
    pub const RTLOCK_WAIT: u32 = 0x1000;
    pub const FREEZABLE: u32 = 0x2000;
    pub const FROZEN: u32 = 0x8000;
    pub const KNOWN: u32 = SHOWN | WAKEKILL | NOLOAD | RTLOCK_WAIT | FREEZABLE | FROZEN;
}

/// A process as the BPF program saw it.
#[derive(Debug)]
pub struct Record {
    /// The same fields that a scan of /proc reads, including the start time.
    pub process: Process,
    /// The 64-bit ID of the process's PID namespace (since Linux 6.18).
    pub ns_id: Option<u64>,
    /// Inode and 64-bit ID of the `pid_for_children` namespace, if it is not the process's own.
    pub for_children: Option<(u64, Option<u64>)>,
    /// Inode of the process's mount namespace, if the scan searches for holders.
    pub mount_namespace: Option<u64>,
    /// `true` if the process is the init of a descendant of pidns's namespace.
    pub is_init: bool,
    /// `true` if the process still has an address space.
    pub has_memory: bool,
    /// `true` if the record is insufficient, so the process must be read through /proc.
    pub needs_proc: bool,
    /// `true` if the process may keep another namespace alive.
    pub may_hold: bool,
    /// `true` if the BPF program found no open descriptor of a namespace.
    pub has_no_namespace_open: bool,
}

/// The numeric fields of a record, in the order of `struct record`.
struct Fields {
    ns_id: u64,
    children_ns_id: u64,
    start: u64,
    pid: u32,
    parent: u32,
    uid: u32,
    state: u32,
    exit_state: u32,
    flags: u32,
    living_threads: u32,
    threads: u32,
    namespace: u32,
    children_namespace: u32,
    mount_namespace: u32,
    has_memory: u32,
    more: u32,
    levels: usize,
    nspid: Nspid,
}

impl Fields {
    fn read(bytes: &[u8]) -> Option<Self> {
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
            living_threads,
            threads,
            namespace,
            children_namespace,
            mount_namespace,
            has_memory,
            more,
            levels,
            nspid @ ..,
        ] = words.map(u32::from_ne_bytes);
        let long = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        let levels = usize::try_from(levels).ok().filter(|&levels| levels > 0)?;
        Some(Self {
            ns_id: long(id_low, id_high),
            children_ns_id: long(children_id_low, children_id_high),
            start: long(start_low, start_high),
            pid,
            parent,
            uid,
            state,
            exit_state,
            flags,
            living_threads,
            threads,
            namespace,
            children_namespace,
            mount_namespace,
            has_memory,
            more,
            levels,
            nspid: nspid.into_iter().take(levels.min(LEVELS)).map_while(Pid::new).collect(),
        })
    }
}

impl Record {
    /// Decodes a record, or returns `None` if the record is invalid.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let fields = Fields::read(bytes)?;
        let name = bytes.get(SIZE - MAX_NAME - 1..)?;
        let name = name.get(..name.iter().position(|&byte| byte == 0).unwrap_or(MAX_NAME))?;
        let pid = Pid::new(fields.pid).filter(|pid| fields.nspid.first() == Some(pid))?;
        let letter = letter(fields.state, fields.exit_state);
        let kernel_thread = fields.flags & flag::KERNEL_THREAD != 0;
        let is_zombie = fields.exit_state == state::ZOMBIE;
        // A record contains at most 15 bytes of a name, but /proc may show a longer name for a
        // kernel thread.
        let has_longer_name =
            kernel_thread && (fields.flags & flag::WORKER != 0 || name.len() == MAX_NAME);
        let is_exiting = fields.exit_state != 0 || fields.flags & flag::EXITING != 0;
        let has_all_levels = fields.nspid.len() == fields.levels;
        let id = |id: u64| Some(id).filter(|&id| id != 0);
        let for_children = (fields.children_namespace.into(), id(fields.children_ns_id));
        let has_other_for_children =
            fields.children_namespace != 0 && fields.children_namespace != fields.namespace;
        let more = fields.more;
        Some(Self {
            ns_id: id(fields.ns_id),
            for_children: has_other_for_children.then_some(for_children),
            mount_namespace: id(fields.mount_namespace.into()),
            is_init: fields.levels > 1 && has_all_levels && fields.nspid.last() == Some(&Pid::INIT),
            has_memory: fields.has_memory != 0,
            needs_proc: !has_all_levels
                || has_longer_name
                || letter.is_none()
                || more & more::CHANGED != 0
                || (fields.exit_state == 0 && fields.flags & flag::EXITING != 0),
            // If the leader has exited, only /proc shows the namespaces that the other threads keep
            // alive.
            may_hold: !kernel_thread && (more != 0 || (is_zombie && fields.living_threads != 0)),
            has_no_namespace_open: !is_exiting
                && more & (more::HOLDS_DESCRIPTOR | more::CHANGED) == 0,
            process: Process {
                ppid: Pid::new(fields.parent),
                namespace: Some(NamespaceId::Inode(fields.namespace.into())),
                nspid: fields.nspid,
                comm: parse::name(name),
                state: letter.unwrap_or('?'),
                uid: fields.uid,
                threads: NonZeroU32::new(fields.threads),
                start_time: Some(fields.start / NANOSECONDS_PER_TICK),
                kernel_thread,
                ..Process::unread(pid)
            },
        })
    }
}

/// Returns the state letter in `/proc/PID/status` (see `task_state_index()` in the kernel).
fn letter(state: u32, exit_state: u32) -> Option<char> {
    if state & !state::KNOWN != 0 {
        // A zombie keeps the state TASK_DEAD (0x80), which is not in `KNOWN`.
        return (exit_state == state::ZOMBIE).then_some('Z');
    }
    let idle = state::UNINTERRUPTIBLE | state::NOLOAD;
    if state & idle == idle {
        return (exit_state == 0).then_some('I');
    }
    if state & (state::RTLOCK_WAIT | state::FROZEN) != 0 {
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

    /// Encodes a record with the given words, PIDs and name.
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
    fn decodes_all_fields_of_a_process() {
        let read = Record::read(&record(WORDS, NSPID, b"a\xff\nb")).unwrap();
        assert_eq!(read.ns_id, Some(1 << 32 | 7));
        assert_eq!(read.mount_namespace, Some(9));
        assert!(!read.needs_proc && !read.may_hold);
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
    fn unusual_processes_are_read_through_proc() {
        let with = |at: usize, value: u32| {
            let mut words = WORDS;
            words[at] = value;
            let read = Record::read(&record(words, NSPID, b"sleep")).unwrap();
            (read.needs_proc, read.may_hold)
        };
        assert_eq!(with(19, 2), (false, false));
        // In order: too many PIDs for a record, a state that /proc does not show (TASK_WAKING),
        // EXIT_DEAD, PF_EXITING, and a kernel worker thread.
        for (at, value) in [(19, 9), (9, 0x200), (10, 0x10), (11, 0x4), (11, 0x20_0020)] {
            assert_eq!(with(at, value), (true, false), "{at} {value}");
        }
        // Word 18 is the field `more` (1 is HOLDS_DESCRIPTOR, and 2 is CHANGED).
        assert_eq!(with(18, 1), (false, true));
        assert_eq!(with(18, 2), (true, true));
        // In both cases, the leader has exited. In the first case, another thread is still running.
        for (living, may_hold) in [(1, true), (0, false)] {
            let mut words = WORDS;
            (words[9], words[10], words[12]) = (0x80, 0x20, living);
            let read = Record::read(&record(words, NSPID, b"sleep")).unwrap();
            assert_eq!(
                (read.process.state, read.needs_proc, read.may_hold),
                ('Z', false, may_hold)
            );
        }
    }

    #[test]
    fn decodes_inits_and_namespaces_for_children() {
        let read = Record::read(&record(WORDS, NSPID, b"sh")).unwrap();
        assert!(!read.is_init && read.for_children.is_none());
        let mut words = WORDS;
        (words[2], words[3], words[15], words[17]) = (8, 1, 61_442, 1);
        let read = Record::read(&record(words, [42, 1, 0, 0, 0, 0, 0, 0], b"sh")).unwrap();
        assert!(read.is_init && read.has_memory && !read.needs_proc);
        assert_eq!(read.for_children, Some((61_442, Some(1 << 32 | 8))));
        (words[2], words[3], words[19]) = (0, 0, 1);
        let read = Record::read(&record(words, [1, 0, 0, 0, 0, 0, 0, 0], b"sh"));
        assert!(read.is_none(), "the first level is not PID 42");
        words[6] = 1;
        let read = Record::read(&record(words, [1, 0, 0, 0, 0, 0, 0, 0], b"sh")).unwrap();
        assert!(!read.is_init, "the init of the viewer's own namespace does not count");
        assert_eq!(read.for_children, Some((61_442, None)));
    }

    #[test]
    fn rejects_invalid_records() {
        let bytes = record(WORDS, NSPID, b"sleep");
        assert!(Record::read(&bytes[1..]).is_none());
        for (at, value) in [(6, 43), (6, 0), (19, 0), (6, u32::MAX)] {
            let mut words = WORDS;
            words[at] = value;
            assert!(Record::read(&record(words, NSPID, b"sleep")).is_none(), "{at} {value}");
        }
    }

    #[test]
    fn states_have_the_same_letters_as_in_proc() {
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
