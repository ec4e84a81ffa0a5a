//! One process, read wholly or not at all.
//!
//! A process may vanish, and its PID be given to another, between any two
//! system calls. Two things keep what is read together: a descriptor of
//! `/proc/PID/status` or of `/proc/PID` is bound to the process that it was
//! opened for and answers `ESRCH` or `ENOENT` when that is gone; so whatever was read by
//! path between opening and reading such a descriptor belongs to that process.

use std::os::fd::AsFd;

use rustix::io::Result as SysResult;

use super::holders::HolderSearch;
use super::mount::Procfs;
use super::process_dir::{ProcessDir, for_each_task, own_link, task_is_exiting};
use super::walk::Scan;
use crate::collect::assemble::containers;
use crate::collect::discovery::Discovery;
use crate::collect::log::DiagnosticLog;
use crate::collect::nsfs::open_namespace;
use crate::collect::parse::{self, Status};
use crate::collect::registry::InitHistory;
use crate::collect::sys::{is_gone, namespace_link, open, read, read_record};
use crate::model::{DiagnosticCode, Evidence, NamespaceId, Pid, Process};

/// One thread of a scan, with its buffers.
pub struct Worker<'a> {
    scan: &'a Scan<'a>,
    /// What it found.
    pub found: Discovery,
    buffer: Vec<u8>,
    /// Whether the last process was nested, as the next one then often is.
    nested: bool,
}

impl<'a> Worker<'a> {
    /// One that has found nothing yet.
    pub fn new(scan: &'a Scan<'a>) -> Self {
        Self { scan, found: Discovery::default(), buffer: Vec::with_capacity(4096), nested: false }
    }

    /// Reads some processes.
    pub fn batch(&mut self, pids: &[Pid]) {
        for &pid in pids {
            match self.process(pid) {
                Ok(()) => self.found.log.merge(std::mem::take(&mut self.found.pending)),
                Err(errno) => {
                    self.found.pending = DiagnosticLog::default();
                    if !is_gone(errno) {
                        self.found.log.note(
                            DiagnosticCode::ProcessUnreadable,
                            Some(errno),
                            Some(pid),
                        );
                    }
                }
            }
        }
    }

    /// Reads one process, wholly or not at all.
    ///
    /// # Errors
    /// It has vanished, or may not be read.
    fn process(&mut self, pid: Pid) -> SysResult<()> {
        let procfs = self.scan.procfs;
        // With much to read a directory descriptor keeps it together; with
        // little, the open status file does.
        let mut place = if self.scan.searches.any() {
            ProcessDir::bound(procfs.fd(), pid)?
        } else {
            ProcessDir::new(procfs.fd(), pid)
        };
        let (dir, name) = place.name(c"status");
        let file = open(dir, name)?;
        let guess = (self.nested || !procfs.own).then(|| own_link(&mut place));
        read_record(&file, &mut self.buffer)?;
        let mut status = parse::status(&self.buffer);
        self.nested = status.nspid.len() > 1;
        // One number in the viewer's own /proc: it is a member there.
        let outermost = status.nspid.len() == 1 && self.scan.namespace.is_some();
        let link = match guess {
            _ if outermost => Ok(self.scan.namespace),
            Some(link) => link,
            None => {
                let link = own_link(&mut place);
                // Read again, so that the link stands between open and read.
                read_record(&file, &mut self.buffer)?;
                status = parse::status(&self.buffer);
                link
            }
        };
        let namespace = match link {
            Ok(namespace) => namespace,
            // Refused, as status shows that it is still there.
            Err(errno) => {
                self.found.pending.note(
                    DiagnosticCode::NamespaceUnreadable,
                    Some(errno),
                    Some(pid),
                );
                self.found.leaders.insert(pid, parse::leaders(&self.buffer));
                None
            }
        };
        let mut is_pinned = outermost;
        if let Some(NamespaceId::Inode(inode)) = namespace
            && !outermost
        {
            let (dir, name) = place.name(c"ns/pid");
            // What is gone may answer EACCES even to root.
            let settled = |errno| rustix::io::pread(&file, &mut [0; 1], 0).err().unwrap_or(errno);
            let open = || open_namespace(dir, name).map_err(settled);
            // The link cannot lead elsewhere: an open status file keeps the
            // process's struct pid, and that the namespace.
            match self.scan.registry.pin(inode, InitHistory::Existed, open, || true) {
                Ok(()) => is_pinned = true,
                Err(errno) if is_gone(errno) => return Err(errno),
                Err(errno) => {
                    self.found.pending.note(
                        DiagnosticCode::NamespaceUnopened,
                        Some(errno),
                        Some(pid),
                    );
                }
            }
        }
        if status.nspid.is_empty() {
            self.found.pending.note(DiagnosticCode::NspidUnavailable, None, Some(pid));
        }
        let is_init = status.nspid.last() == Some(&Pid::INIT);
        let has_memory = status.has_memory;
        let process = process(pid, status, namespace);
        if is_init {
            let container = containers::of_process(&mut place, &mut self.buffer);
            // A kernel thread apart, only what is on its way out has no memory.
            let suspect = !process.kernel_thread && (process.is_zombie() || !has_memory);
            let terminated = suspect && is_terminated(procfs, pid);
            // What was read by name is this process's only if it still is. While
            // its namespace is held, nothing else can have that PID there.
            if !is_pinned || own_link(&mut place) != Ok(namespace) {
                read_record(&file, &mut self.buffer)?;
            }
            self.found.containers.extend(container.map(|container| (pid, container)));
            self.found.terminated.extend(terminated.then_some(pid));
        }
        if Some(pid) == procfs.viewer {
            // pidns holds nothing that counts, but may be alone in its mount
            // namespace.
            if self.scan.searches.mounts {
                let inode = namespace_link(place.dir(), c"ns/mnt", "mnt").ok().flatten();
                self.found.add_reader(inode, pid, pid);
            }
        } else if self.scan.searches.any() && !process.kernel_thread {
            let subject = HolderSearch {
                process: &process,
                dir: place.dir(),
                status: &file,
                procfs,
                registry: self.scan.registry,
            };
            let before = self.found.holders.len();
            let searched = subject.search(self.scan.searches, &mut self.found);
            if searched.is_err() {
                self.found.holders.truncate(before);
            }
            searched?;
        }
        self.found.processes.push(process);
        Ok(())
    }
}

/// Whether all threads of a process have exited or are exiting: a leader may
/// do so long before the others, and an init lives as long as any of them.
fn is_terminated(procfs: &Procfs, pid: Pid) -> bool {
    let mut all = true;
    ProcessDir::bound(procfs.fd(), pid)
        .and_then(|place| {
            for_each_task(place.dir(), |_, task| {
                all &= task_is_exiting(task.as_fd()).is_ok_and(|exiting| exiting);
            })
        })
        .is_ok_and(|()| all)
}

/// Whether a process that was read is still there.
pub fn is_there(procfs: &Procfs, process: &Process) -> bool {
    let mut buffer = Vec::new();
    let mut place = ProcessDir::new(procfs.fd(), process.pid);
    let (dir, name) = place.name(c"status");
    read(dir, name, &mut buffer).is_ok() && parse::status(&buffer).nspid == process.nspid
}

fn process(pid: Pid, status: Status, namespace: Option<NamespaceId>) -> Process {
    // Before `Kthread` a thread of the kernel was a child of kthreadd, which
    // is PID 2 and has no parent.
    let kernel_thread = status.kernel_thread.unwrap_or_else(|| {
        !status.has_memory
            && !matches!(status.state, 'Z' | 'X')
            && status.ppid.map_or(pid.as_u32() == 2, |ppid| ppid.as_u32() == 2)
    });
    Process {
        pid,
        ppid: status.ppid,
        namespace,
        nspid: status.nspid,
        comm: status.comm,
        state: status.state,
        // Every kernel shows it; nobody's is the honest word for an unknown one.
        uid: status.uid.unwrap_or(65534),
        user: None,
        threads: None,
        start_time: None,
        kernel_thread,
        evidence: Evidence::Kernel,
        details: None,
    }
}
