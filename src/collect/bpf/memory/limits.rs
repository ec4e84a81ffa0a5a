//! Reads counters of PIDs, tasks and PID namespaces from kernel memory.

use std::collections::HashMap;
use std::os::fd::AsFd as _;

use rustix::fs::OFlags;

use super::words::{long, words};
use crate::collect::bpf::loader::{KernelTypes, LoadError, LoadedObject, ProgramSpec, create_hash};
use crate::collect::bpf::permission::{check_address_space, check_capabilities, check_lockdown};
use crate::collect::bpf::unavailable::BpfUnavailable;

/// The object file that tests/bpf/build compiles from `limits.bpf.c`.
const OBJECT: &[u8] = include_bytes!("limits.bpf.o");

/// Size in bytes of a record about a PID namespace (`struct numbers` in `limits.bpf.c`).
const NUMBERS: usize = 32;

/// Size in bytes of a record about a user (`struct user_count` in `limits.bpf.c`).
const USER_COUNT: usize = 48;

/// Size in bytes of the map key for a namespace (an inode number).
const NAMESPACE: u32 = 4;

/// Size in bytes of the map key for a user (`struct user` in `limits.bpf.c`).
const USER: u32 = 8;

/// Maximum number of namespaces or users that a BPF program records.
const MAX_RECORDED: u32 = 1 << 16;

/// The counters that the kernel compares with its limits.
#[derive(Debug, Default)]
pub struct KernelCounters {
    /// Maps the inode of each PID namespace to the counters of its PIDs.
    pub numbers: HashMap<u64, PidNumbers>,
    /// Maps each user (inode of a user namespace, and UID) to a list of counters. Empty before
    /// Linux 5.19.
    ///
    /// Each list starts with the counters of the user. Then come the counters of the creator of the
    /// user namespace, of the creator of its parent namespace, and so on outwards.
    pub users: HashMap<(u64, u32), Vec<UserCount>>,
}

/// The kernel's counters of the PIDs in a PID namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PidNumbers {
    /// Nesting level, 0 for the initial namespace.
    pub level: u32,
    /// Number of PIDs in use.
    pub allocated: u32,
    /// The namespace's own `kernel.pid_max` (Linux 6.14 or later).
    pub pid_max: Option<u32>,
    /// The lowest PID that the kernel may allocate.
    first: u32,
    /// Number of PIDs in use that are `first` or higher.
    used: u32,
    /// The highest PID in use.
    highest: u32,
    /// `true` if all PIDs were counted.
    is_whole: bool,
}

impl PidNumbers {
    /// Returns the number of free PIDs below `pid_max`, or `None` if unknown.
    pub fn free(&self, pid_max: u32) -> Option<u32> {
        let is_known = self.is_whole && self.highest < pid_max;
        is_known.then(|| pid_max.saturating_sub(self.first).saturating_sub(self.used))
    }

    /// Decodes a record about a PID namespace.
    fn read(bytes: &[u8]) -> Option<(u64, Self)> {
        let [inode, level, allocated, pid_max, first, used, highest, is_whole] = words(bytes)?;
        let pid_max = Some(pid_max).filter(|&it| it != 0);
        let is_whole = is_whole == 1;
        let this = Self { level, allocated, pid_max, first, used, highest, is_whole };
        Some((inode.into(), this))
    }
}

/// The kernel's counters and limits of one user in one user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserCount {
    /// Inode of the user namespace.
    pub user_namespace: u64,
    /// UID in the initial user namespace.
    pub uid: u32,
    /// Number of the user's tasks, as counted for `RLIMIT_NPROC`.
    pub tasks: u64,
    /// Maximum for `tasks`. If `above` is 0, the process's own `RLIMIT_NPROC` applies instead.
    pub most_tasks: u64,
    /// Number of PID namespaces charged to the user.
    pub namespaces: u64,
    /// Maximum number of PID namespaces (`user.max_pid_namespaces`).
    pub most_namespaces: u64,
    /// Number of levels from the user namespace of the process up to `user_namespace`.
    above: u32,
}

impl UserCount {
    /// Decodes a record about a user.
    fn read(bytes: &[u8]) -> Option<Self> {
        let [t0, t1, l0, l1, n0, n1, m0, m1, uid, inode, above, _] = words(bytes)?;
        Some(Self {
            user_namespace: inode.into(),
            uid,
            tasks: long(t0, t1),
            most_tasks: long(l0, l1),
            namespaces: long(n0, n1),
            most_namespaces: long(m0, m1),
            above,
        })
    }
}

impl KernelCounters {
    /// Reads the counters of pidns's PID namespace, its ancestors and its descendants.
    pub fn read() -> Result<Self, BpfUnavailable> {
        check_capabilities()?;
        check_lockdown()?;
        check_address_space()?;
        let object = LoadedObject::load(OBJECT)?;
        let types = KernelTypes::open()?;
        let load = |section, name, key| {
            let written = create_hash(key, MAX_RECORDED)?;
            let map = Some(written.as_fd());
            object.program(ProgramSpec { section, name, iterator: "bpf_iter_task", map }, &types)
        };
        let mut this = Self::default();
        let numbers = load("numbers", "pidns_numbers", NAMESPACE)?;
        // Count one namespace per read, because signals are handled only between reads.
        numbers.open(OFlags::empty(), None)?.read(NUMBERS, 1, |record| {
            let (inode, numbers) = PidNumbers::read(record).ok_or(BpfUnavailable::Inconsistent)?;
            this.numbers.insert(inode, numbers);
            Ok::<_, BpfUnavailable>(())
        })?;
        let users = match load("users", "pidns_users", USER) {
            Err(LoadError::Missing(_)) => return Ok(this),
            users => users?,
        };
        // The records for one user are consecutive, and `above` is 0 in the first record.
        let mut key = (0, 0);
        users.read_records(USER_COUNT, |record| {
            let count = UserCount::read(record).ok_or(BpfUnavailable::Inconsistent)?;
            if count.above == 0 {
                key = (count.user_namespace, count.uid);
            }
            this.users.entry(key).or_default().push(count);
            Ok::<_, BpfUnavailable>(())
        })?;
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn counts_the_free_pids_of_a_namespace() {
        let read = |words: &[u32]| PidNumbers::read(&bytes(words)).unwrap().1;
        let wrapped = read(&[0xf000_0001, 1, 11, 310, 300, 10, 309, 1]);
        assert_eq!((wrapped.pid_max, wrapped.free(310)), (Some(310), Some(0)));
        assert_eq!(read(&[0xf000_0001, 1, 10, 310, 300, 9, 309, 1]).free(310), Some(1));
        let fresh = read(&[0xf000_0001, 1, 11, 0, 1, 11, 11, 1]);
        assert_eq!((fresh.pid_max, fresh.free(310)), (None, Some(298)));
        // `used` also counts PIDs that are 11 or higher, so the number of used PIDs below 11 is
        // unknown.
        assert_eq!(fresh.free(11), None);
        assert_eq!(read(&[0xf000_0001, 1, 11, 310, 1, 11, 11, 0]).free(310), None);
        assert!(PidNumbers::read(&[0; 31]).is_none());
    }

    #[test]
    fn decodes_the_counts_of_a_user() {
        let words = [5, 1, u32::MAX, u32::MAX, 2, 0, 100, 0, 1000, 0xf000_0002, 1, 0];
        let count = UserCount::read(&bytes(&words)).unwrap();
        assert_eq!((count.user_namespace, count.uid, count.above), (0xf000_0002, 1000, 1));
        assert_eq!((count.tasks, count.most_tasks), (1 << 32 | 5, u64::MAX));
        assert_eq!((count.namespaces, count.most_namespaces), (2, 100));
        assert_eq!(UserCount::read(&bytes(&words[1..])), None);
    }
}
