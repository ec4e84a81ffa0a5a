//! What is read of a process only where it is asked for: its command line, its
//! namespaces of other types, its cgroup. What is always read is not here.
//!
//! All of it is read through the process's open directory, so that it belongs
//! to that process, whenever it is read.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

use rustix::io::{Errno, Result as SysResult};
use smol_str::SmolStr;

use super::process_dir::still_there;
use crate::collect::kernel::sys::{is_gone, namespace_link, read, read_at_most};
use crate::collect::log::DiagnosticLog;
use crate::collect::parse;
use crate::model::{Detail, DiagnosticCode, Process, ProcessDetails, container};

/// The most that is read of a command line. Linux takes up to 6 MiB from
/// whoever starts a program, and a process may make any part of its memory its
/// command line (`PR_SET_MM_ARG_START`, `prctl(2)`): many such processes would
/// otherwise fill the memory of who reads them.
const MAX_ARGS: usize = 32 * 1024;

/// The namespaces of other types: the link in `/proc/PID/ns`, and its kind.
const LINKS: [(&CStr, &str); 7] = [
    (c"ns/cgroup", "cgroup"),
    (c"ns/ipc", "ipc"),
    (c"ns/mnt", "mnt"),
    (c"ns/net", "net"),
    (c"ns/time", "time"),
    (c"ns/user", "user"),
    (c"ns/uts", "uts"),
];

/// How long to wait before each further look at a command line that is empty and
/// should not be. On a busy host a program is not loaded at once.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(1), Duration::from_millis(4), Duration::from_millis(16)];

/// Reads the details of one process.
pub struct DetailReader<'a> {
    /// `/proc/PID`, opened.
    pub dir: BorrowedFd<'a>,
    /// `/proc/PID/status`, which tells whether the process is still there.
    pub status_file: &'a OwnedFd,
}

impl DetailReader<'_> {
    /// Reads what is asked for. What may not be read is absent, and noted in `log`.
    ///
    /// # Errors
    /// The process has vanished.
    pub fn read(
        &self,
        asked: &BTreeSet<Detail>,
        process: &Process,
        has_memory: bool,
        log: &mut DiagnosticLog,
    ) -> SysResult<ProcessDetails> {
        let mut details = ProcessDetails::default();
        let mut note = |code, errno: Option<Errno>| log.note(code, errno, Some(process.pid));
        for detail in asked {
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
            }
        }
        Ok(details)
    }

    /// The command line, which the kernel reads from the memory of the process. A
    /// process that is stuck with its memory locked keeps the reader waiting, as
    /// it does `ps(1)`; one more reason not to read this unasked.
    fn args(&self, has_memory: bool) -> SysResult<SysResult<Args>> {
        let mut bytes = Vec::new();
        let mut pauses = PAUSES.into_iter();
        loop {
            let read = || read_at_most(self.dir, c"cmdline", MAX_ARGS, &mut bytes);
            let is_whole = match read_again(self.status_file, read)? {
                Ok(is_whole) => is_whole,
                Err(errno) => return Ok(Err(errno)),
            };
            let told = Args { list: parse::cmdline(&bytes), is_cut: !is_whole };
            // A zombie and a kernel thread have no memory, and so no arguments.
            if !bytes.is_empty() || !has_memory {
                return Ok(Ok(told));
            }
            // It has vanished, or it executes another program, whose arguments
            // the kernel shows only once it is loaded.
            still_there(self.status_file)?;
            let Some(pause) = pauses.next() else { return Ok(Ok(told)) };
            thread::sleep(pause);
        }
    }

    /// The namespaces of other types. A kernel that has no such type has no such
    /// link, and a process that has terminated has lost most of them.
    fn namespaces(&self) -> SysResult<SysResult<BTreeMap<SmolStr, u64>>> {
        let mut namespaces = BTreeMap::new();
        for (name, kind) in LINKS {
            match read_again(self.status_file, || namespace_link(self.dir, name, kind))? {
                Ok(inode) => {
                    namespaces.extend(inode.map(|inode| (SmolStr::new_static(kind), inode)));
                }
                Err(errno) if is_gone(errno) => {}
                Err(errno) => return Ok(Err(errno)),
            }
        }
        Ok(Ok(namespaces))
    }

    /// The path of the cgroup; `None` where the kernel has none.
    fn cgroup(&self) -> SysResult<SysResult<Option<String>>> {
        let mut bytes = Vec::new();
        match read_again(self.status_file, || read(self.dir, c"cgroup", &mut bytes))? {
            Ok(()) => Ok(Ok(container::cgroup_path(&bytes))),
            Err(errno) if is_gone(errno) => Ok(Ok(None)),
            Err(errno) => Ok(Err(errno)),
        }
    }
}

/// A command line.
struct Args {
    list: Vec<SmolStr>,
    /// Whether there is more of it. The last argument may then end anywhere, be
    /// it within a character.
    is_cut: bool,
}

/// Reads something of a process, and where that fails once more: while a
/// process executes another program, the kernel may for a moment refuse what
/// it shows before and after. The inner result is that of a process which is
/// still there.
///
/// # Errors
/// The process has vanished.
pub fn read_again<T>(
    status_file: &OwnedFd,
    mut read: impl FnMut() -> SysResult<T>,
) -> SysResult<SysResult<T>> {
    if let Ok(value) = read() {
        return Ok(Ok(value));
    }
    still_there(status_file)?;
    let again = read();
    if again.is_err() {
        // A process that is gone may answer EACCES even to root; its status
        // then says that it is gone.
        still_there(status_file)?;
    }
    Ok(again)
}
