//! Reads the optional details of a process, such as its command line and its cgroup.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

use rustix::io::{Errno, Result as SysResult};
use smol_str::SmolStr;

use super::process_dir::{read_twice, still_there};
use crate::collect::kernel::sys::{is_gone, namespace_link, read};
use crate::collect::kernel::wait_limit::{WaitLimit, read_at_most};
use crate::collect::log::DiagnosticLog;
use crate::collect::parse;
use crate::model::{Detail, DiagnosticCode, Process, ProcessDetails, cgroup};

/// Maximum number of bytes to read from a command line.
const MAX_BYTES: usize = 32 * 1024;

/// Maximum number of arguments to read.
///
/// It limits the memory for arguments, because even an empty argument takes 24 bytes.
const MAX_ARGS: usize = 2048;

/// The namespace links in `/proc/PID` except `ns/pid`, with their type names.
const NAMESPACE_LINKS: [(&CStr, &str); 7] = [
    (c"ns/cgroup", "cgroup"),
    (c"ns/ipc", "ipc"),
    (c"ns/mnt", "mnt"),
    (c"ns/net", "net"),
    (c"ns/time", "time"),
    (c"ns/user", "user"),
    (c"ns/uts", "uts"),
];

/// If a command line is unexpectedly empty, pidns pauses this long before each retry.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(1), Duration::from_millis(4), Duration::from_millis(16)];

/// Once this many command lines have stayed empty, the reading thread stops retrying.
pub const PATIENCE: u32 = 16;

/// Reads the details of one process.
pub struct DetailReader<'a> {
    /// The open directory `/proc/PID`.
    pub dir: BorrowedFd<'a>,
    /// The open file `/proc/PID/status`, which is unreadable once the process is gone.
    pub status_file: &'a OwnedFd,
    /// A counter that starts at [`PATIENCE`].
    ///
    /// The counter decreases by one if a command line is still empty after retries. At zero, this
    /// thread stops retrying.
    pub patience: &'a Cell<u32>,
    /// Limit on the total time that all threads wait for process memory.
    pub memory_waits: &'a WaitLimit,
    /// Limit on the total time that all threads wait for `/proc/PID/cgroup`.
    pub cgroup_waits: &'a WaitLimit,
}

impl DetailReader<'_> {
    /// Reads the requested details, or fails with `ESRCH` if the process is gone.
    pub fn read(
        &self,
        requested: &BTreeSet<Detail>,
        process: &Process,
        has_memory: bool,
        log: &mut DiagnosticLog,
    ) -> SysResult<ProcessDetails> {
        let mut details = ProcessDetails::default();
        let mut note = |code, errno: Option<Errno>| log.note(code, errno, Some(process.pid));
        for detail in requested {
            match detail {
                Detail::Args => match self.args(has_memory)? {
                    Ok(args) => {
                        if args.is_cut {
                            note(DiagnosticCode::ArgsCut, None);
                        }
                        details.args = Some(args.list);
                    }
                    Err(errno) => note(DiagnosticCode::ArgsUnreadable, Some(errno)),
                },
                Detail::Namespaces => match self.namespaces()? {
                    Ok(namespaces) => details.namespaces = Some(namespaces),
                    Err(errno) => note(DiagnosticCode::OtherNamespacesUnreadable, Some(errno)),
                },
                Detail::Cgroup => match self.cgroup()? {
                    Ok(cgroup) => details.cgroup = cgroup,
                    Err(errno) => note(DiagnosticCode::CgroupUnreadable, Some(errno)),
                },
                // `collect::limits` reads the limits of all processes together.
                Detail::Limits => {}
            }
        }
        Ok(details)
    }

    /// Reads the command line from the memory of the process. This read can block pidns.
    fn args(&self, has_memory: bool) -> SysResult<SysResult<Args>> {
        let mut bytes = Vec::new();
        let mut pauses = PAUSES.into_iter();
        loop {
            let waits = self.memory_waits;
            // Limit the length, because a process can declare any part of its memory to be its
            // command line (`PR_SET_MM_ARG_START`).
            let read = || read_at_most(self.dir, c"cmdline", MAX_BYTES, &mut bytes, waits);
            let is_whole = match read_twice(self.status_file, read)? {
                Ok(is_whole) => is_whole,
                Err(errno) => return Ok(Err(errno)),
            };
            let end = memchr::memchr_iter(0, &bytes).nth(MAX_ARGS - 1);
            let end = end.map_or(bytes.len(), |nul| nul + 1);
            let is_cut = !is_whole || end < bytes.len();
            let args = Args { list: parse::cmdline(&bytes[..end]), is_cut };
            // Zombies and kernel threads have no memory, so their command line is always empty.
            if !bytes.is_empty() || !has_memory {
                return Ok(Ok(args));
            }
            // An empty command line can mean that `execve(2)` is still loading the new program.
            still_there(self.status_file)?;
            // Retries are limited, because a process can keep its command line empty forever.
            let patience = self.patience.get();
            let Some(pause) = pauses.next().filter(|_| patience > 0) else {
                self.patience.set(patience.saturating_sub(1));
                return Ok(Ok(args));
            };
            thread::sleep(pause);
        }
    }

    /// Reads the process's namespaces of all types except PID.
    fn namespaces(&self) -> SysResult<SysResult<BTreeMap<SmolStr, u64>>> {
        let mut namespaces = BTreeMap::new();
        for (name, kind) in NAMESPACE_LINKS {
            match read_twice(self.status_file, || namespace_link(self.dir, name, kind))? {
                Ok(inode) => {
                    namespaces.extend(inode.map(|inode| (SmolStr::new_static(kind), inode)));
                }
                Err(errno) if is_gone(errno) => {}
                Err(errno) => return Ok(Err(errno)),
            }
        }
        Ok(Ok(namespaces))
    }

    /// Reads the cgroup path, or returns `None` if the kernel has no cgroups.
    fn cgroup(&self) -> SysResult<SysResult<Option<String>>> {
        let mut bytes = Vec::new();
        let read = || self.cgroup_waits.call(|| read(self.dir, c"cgroup", &mut bytes));
        match read_twice(self.status_file, read)? {
            Ok(()) => Ok(Ok(cgroup::cgroup_path(&bytes))),
            Err(errno) if is_gone(errno) => Ok(Ok(None)),
            Err(errno) => Ok(Err(errno)),
        }
    }
}

/// The command line of a process.
struct Args {
    list: Vec<SmolStr>,
    /// `true` if only the beginning of the command line was read, because it was too long.
    is_cut: bool,
}
