//! A process as its status describes it, and those that were read looked at once more.

use rustix::io::{Errno, Result as SysResult};

use super::mount::Procfs;
use super::process_dir::{ProcessDir, look};
use crate::collect::kernel::sys::read;
use crate::collect::parse::{self, Status};
use crate::model::{NamespaceId, Pid, Process};

/// Whether a process that was read is still there, with the same PIDs in every level.
pub fn is_there(procfs: &Procfs, process: &Process) -> bool {
    status_of(procfs, process).is_some()
}

/// Whether a process that was read is there and a zombie.
pub fn is_zombie(procfs: &Procfs, process: &Process) -> bool {
    status_of(procfs, process).is_some_and(|status| matches!(status.state, 'Z' | 'X'))
}

/// The status of a process that was read, unless it is gone.
fn status_of(procfs: &Procfs, process: &Process) -> Option<Status> {
    let mut buffer = Vec::new();
    let mut dir = ProcessDir::by_path(procfs.fd(), process.pid);
    let read = || {
        let (base, name) = dir.file(c"status");
        read(base, name, &mut buffer)?;
        let status = parse::status(&buffer);
        // Without NSpid the one number is known that /proc itself lists.
        let is_same =
            status.nspid == process.nspid || (status.nspid.is_empty() && process.nspid.len() <= 1);
        if is_same { Ok(status) } else { Err(Errno::SRCH) }
    };
    look(read).ok()
}

/// A process as /proc shows it now, with its start time, but without its namespace.
///
/// # Errors
/// It is gone, or may not be read.
pub fn now(procfs: &Procfs, pid: Pid) -> SysResult<Process> {
    let mut buffer = Vec::new();
    let mut dir = ProcessDir::open(procfs.fd(), pid)?;
    let (base, name) = dir.file(c"status");
    read(base, name, &mut buffer)?;
    let process = described(pid, parse::status(&buffer), None);
    let (base, name) = dir.file(c"stat");
    read(base, name, &mut buffer)?;
    Ok(Process { start_time: parse::stat_start_time(&buffer), ..process })
}

/// When the process that has a PID now started, if it can be told.
pub fn start_time_now(procfs: &Procfs, pid: Pid) -> Option<u64> {
    now(procfs, pid).ok()?.start_time
}

/// A process, as its status describes it.
pub fn described(pid: Pid, status: Status, namespace: Option<NamespaceId>) -> Process {
    // Before `Kthread` (Linux 6.8) a thread of the kernel was known as a child
    // of kthreadd, which is PID 2 and has no parent.
    let kernel_thread = status.kernel_thread.unwrap_or_else(|| {
        !status.has_memory
            && !matches!(status.state, 'Z' | 'X')
            && status.ppid.map_or(pid.as_u32() == 2, |ppid| ppid.as_u32() == 2)
    });
    Process {
        ppid: status.ppid,
        namespace,
        nspid: status.nspid,
        comm: status.comm,
        state: status.state,
        // Every kernel shows it. Should one not, `nobody` is the user that the
        // kernel itself shows in place of one that it cannot name.
        uid: status.uid.unwrap_or(65534),
        threads: status.threads,
        kernel_thread,
        ..Process::unread(pid)
    }
}
