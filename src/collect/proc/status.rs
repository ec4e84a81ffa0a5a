//! Builds a `Process` from a status file, and reads the status of known processes again.

use std::ffi::CStr;

use rustix::io::{Errno, Result as SysResult};

use super::process_dir::{ProcessDir, try_twice};
use super::procfs::Procfs;
use crate::collect::kernel::clock;
use crate::collect::kernel::sys::{namespace_link, read};
use crate::collect::parse::{self, Status};
use crate::model::{NamespaceId, Pid, Process};

/// UID that the kernel shows for an unmapped user (`overflowuid`).
const NOBODY: u32 = 65534;

/// PID of kthreadd, the parent of all kernel threads, in the initial PID namespace.
const KTHREADD: u32 = 2;

/// Returns `true` if a process still exists.
pub fn is_there(procfs: &Procfs, process: &Process) -> bool {
    current_status(procfs, process).is_some()
}

/// Returns `true` if a process still exists and is a zombie.
pub fn is_zombie(procfs: &Procfs, process: &Process) -> bool {
    current_status(procfs, process).is_some_and(|status| matches!(status.state, 'Z' | 'X'))
}

/// Reads the status of a process again, if the process still exists.
fn current_status(procfs: &Procfs, process: &Process) -> Option<Status> {
    text_now(procfs, process).map(|text| parse::status(&text))
}

/// Reads `/proc/PID/status` of a process again, if the process still exists.
pub fn text_now(procfs: &Procfs, process: &Process) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    let mut dir = ProcessDir::by_path(procfs.fd(), process.pid);
    let read = || {
        let (base, name) = dir.file(c"status");
        read(base, name, &mut buffer)?;
        let status = parse::status(&buffer);
        // Before Linux 4.1, the status file has no NSpid line, so rely on the path /proc/PID to
        // identify the process.
        let is_same =
            status.nspid == process.nspid || (status.nspid.is_empty() && process.nspid.len() <= 1);
        if is_same { Ok(()) } else { Err(Errno::SRCH) }
    };
    try_twice(read).ok()?;
    Some(buffer)
}

/// Reads the status and start time of the process that now has this PID.
pub fn read_now(procfs: &Procfs, pid: Pid) -> SysResult<Process> {
    let mut buffer = Vec::new();
    let mut dir = ProcessDir::open(procfs.fd(), pid)?;
    let (base, name) = dir.file(c"status");
    read(base, name, &mut buffer)?;
    let process = described(pid, parse::status(&buffer), None);
    let (base, name) = dir.file(c"stat");
    read(base, name, &mut buffer)?;
    Ok(Process { start_time: clock::start_time_in(&buffer), ..process })
}

/// Returns the start time of the process that now has this PID, if known.
pub fn start_time_now(procfs: &Procfs, pid: Pid) -> Option<u64> {
    read_now(procfs, pid).ok()?.start_time
}

/// Builds a process from its parsed status.
pub fn described(pid: Pid, status: Status, namespace: Option<NamespaceId>) -> Process {
    // Before Linux 6.8, the status has no Kthread line, so look for kthreadd and its children.
    let kernel_thread = status.kernel_thread.unwrap_or_else(|| {
        !status.has_memory
            && !matches!(status.state, 'Z' | 'X')
            && status.ppid.map_or(pid.as_u32() == KTHREADD, |ppid| ppid.as_u32() == KTHREADD)
    });
    Process {
        ppid: status.ppid,
        namespace,
        nspid: status.nspid,
        comm: status.comm,
        state: status.state,
        // Every known kernel shows the UID, so this fallback is not used.
        uid: status.uid.unwrap_or(NOBODY),
        threads: status.threads,
        kernel_thread,
        ..Process::unread(pid)
    }
}

/// Returns the inode of the namespace that a link in `/proc/PID/ns` points to, if readable.
///
/// `link`: path of the link relative to `/proc/PID`, such as `ns/mnt`.
pub fn namespace_of(
    procfs: &Procfs,
    process: &Process,
    link: &'static CStr,
    kind: &str,
) -> Option<u64> {
    let mut dir = ProcessDir::open(procfs.fd(), process.pid).ok()?;
    let (base, name) = dir.file(link);
    let inode = namespace_link(base, name, kind).ok()??;
    is_there(procfs, process).then_some(inode)
}
