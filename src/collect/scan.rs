//! The walk over /proc: every process once, by as many threads as help.
//!
//! A process may vanish, and its PID be given to another, between any two
//! system calls. Two things keep what is read together: a descriptor of
//! `/proc/PID/status` or of `/proc/PID` is bound to the process that it was
//! opened for and answers `ESRCH` or `ENOENT` when that is gone; so whatever was read by
//! path between opening and reading such a descriptor belongs to that process.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::fs::RawDir;
use rustix::io::{Errno, Result as SysResult};

use super::container;
use super::diagnose::{Code, DiagnosticLog};
use super::holders::{HolderSearch, MountTableReaders, Searches, for_each_task, task_is_exiting};
use super::parse::{self, Leaders, Status};
use super::procfs::{
    Procfs, is_gone, namespace_link, open, open_base, open_namespace, read, read_record,
};
use super::registry::{InitHistory, NamespaceRegistry};
use crate::error::Error;
use crate::model::{Container, Evidence, Holder, NamespaceId, Pid, Process};

/// PIDs handed to a thread at a time: large enough that taking them costs
/// nothing, small enough that one slow batch does not idle the rest.
const BATCH: usize = 128;

/// What one thread found, and in the end what all of them did.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The processes; `namespace` still `None` where its link may not be read.
    pub processes: Vec<Process>,
    /// Of processes whose link may not be read: what else tells where they are.
    pub leaders: HashMap<Pid, Leaders>,
    /// The containers of inits.
    pub containers: HashMap<Pid, Container>,
    /// Inits that have terminated: all of their threads have.
    pub terminated: Vec<Pid>,
    /// Holders, by the inode of what they hold.
    pub holders: Vec<(u64, Holder)>,
    /// Who can read the mount table of each mount namespace.
    pub readers: MountTableReaders,
    /// What could not be read.
    pub log: DiagnosticLog,
    /// What could not be read of the process that is being read, which may
    /// yet vanish and be left out.
    pub pending: DiagnosticLog,
}

impl Discovery {
    fn merge(&mut self, other: Self) {
        self.processes.extend(other.processes);
        self.leaders.extend(other.leaders);
        self.containers.extend(other.containers);
        self.terminated.extend(other.terminated);
        self.holders.extend(other.holders);
        for (inode, readers) in other.readers {
            self.readers.entry(inode).or_default().extend(readers);
        }
        self.log.merge(other.log);
    }
}

/// What the threads of a scan share.
pub struct Scan<'a> {
    /// The /proc to read.
    pub procfs: &'a Procfs,
    /// The namespace whose numbers it speaks in, where that is known beforehand.
    pub namespace: Option<NamespaceId>,
    /// Where else than in `ns/pid` to look.
    pub searches: Searches,
    /// The namespaces met.
    pub registry: &'a NamespaceRegistry,
}

impl Scan<'_> {
    /// Reads every process.
    ///
    /// # Errors
    /// /proc cannot be listed.
    pub fn run(&self) -> Result<Discovery, Error> {
        let failed = |source: Errno| Error::Read {
            path: self.procfs.path.clone(),
            source: io::Error::from(source),
        };
        let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
        let listing = Mutex::new(Listing(RawDir::new(self.procfs.fd(), &mut buffer)));
        let mut batch = Vec::with_capacity(BATCH);
        let next = |batch: &mut Vec<Pid>| {
            listing.lock().unwrap_or_else(PoisonError::into_inner).next_batch(batch)
        };
        next(&mut batch).map_err(failed)?;
        if batch.len() < BATCH {
            // Not worth a thread.
            let mut worker = Worker::new(self);
            worker.batch(&batch);
            return Ok(worker.found);
        }
        let work = |mut batch: Vec<Pid>| {
            let mut worker = Worker::new(self);
            while !batch.is_empty() {
                worker.batch(&batch);
                next(&mut batch)?;
            }
            Ok(worker.found)
        };
        let work = &work;
        let mut found = thread::scope(|scope| {
            let helpers: Vec<_> = (1..threads())
                .filter_map(|_| {
                    let start = move || {
                        let mut batch = Vec::with_capacity(BATCH);
                        next(&mut batch)?;
                        work(batch)
                    };
                    // A thread that cannot be had is not needed either.
                    thread::Builder::new().spawn_scoped(scope, start).ok()
                })
                .collect();
            let mut found = work(batch).map_err(failed)?;
            for helper in helpers {
                // Unreachable: a panic ends the program.
                let Ok(theirs) = helper.join() else { continue };
                found.merge(theirs.map_err(failed)?);
            }
            Ok(found)
        })?;
        // Each thread met its own in order: the stable sort merges such runs.
        found.processes.sort_by_key(|process| process.pid);
        Ok(found)
    }
}

/// How many threads read: more than a few wait for each other in the kernel.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(8))
}

/// The numbers in /proc.
struct Listing<'a>(RawDir<'a, BorrowedFd<'a>>);

impl Listing<'_> {
    /// The next few; none at the end.
    fn next_batch(&mut self, batch: &mut Vec<Pid>) -> SysResult<()> {
        batch.clear();
        while batch.len() < BATCH
            && let Some(entry) = self.0.next()
        {
            batch.extend(parse::entry(entry?.file_name().to_bytes()).and_then(Pid::new));
        }
        Ok(())
    }
}

/// One thread of a scan, with its buffers.
struct Worker<'a> {
    scan: &'a Scan<'a>,
    found: Discovery,
    buffer: Vec<u8>,
    /// Whether the last process was nested, as the next one then often is.
    nested: bool,
}

/// The files of one process.
pub struct ProcessDir<'a> {
    /// `/proc/PID`, where it was opened: names are then relative to it, and
    /// what is read through it belongs to this process, whenever it is read.
    pub bound: Option<OwnedFd>,
    procfs: BorrowedFd<'a>,
    /// `PID/`, and room for the name of a file.
    path: [u8; 64],
    /// Length of `PID/`.
    base: usize,
}

impl<'a> ProcessDir<'a> {
    fn new(procfs: BorrowedFd<'a>, pid: Pid) -> Self {
        let mut path = [0; 64];
        let mut number = itoa::Buffer::new();
        let number = number.format(pid.as_u32()).as_bytes();
        path[..number.len()].copy_from_slice(number);
        path[number.len()] = b'/';
        Self { bound: None, procfs, path, base: number.len() + 1 }
    }

    /// Binds names to the process that has the PID now.
    ///
    /// # Errors
    /// As of opening a directory.
    pub fn bound(procfs: BorrowedFd<'a>, pid: Pid) -> SysResult<Self> {
        let mut place = Self::new(procfs, pid);
        let (dir, name) = place.name(c"");
        let opened = open_base(dir, name)?;
        place.bound = Some(opened);
        Ok(place)
    }

    /// The directory that names are relative to.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.bound.as_ref().map_or(self.procfs, AsFd::as_fd)
    }

    /// A file of the process, as `openat` takes it.
    pub fn name<'s>(&'s mut self, file: &'s CStr) -> (BorrowedFd<'s>, &'s CStr) {
        if let Some(dir) = &self.bound {
            return (dir.as_fd(), file);
        }
        let file = file.to_bytes_with_nul();
        let end = self.base + file.len();
        // The longest name here is far shorter; one that is not names no file.
        if let Some(room) = self.path.get_mut(self.base..end) {
            room.copy_from_slice(file);
        }
        let path = self.path.get(..end).and_then(|path| CStr::from_bytes_with_nul(path).ok());
        (self.procfs, path.unwrap_or(c""))
    }
}

impl<'a> Worker<'a> {
    fn new(scan: &'a Scan<'a>) -> Self {
        Self { scan, found: Discovery::default(), buffer: Vec::with_capacity(4096), nested: false }
    }

    fn batch(&mut self, pids: &[Pid]) {
        for &pid in pids {
            match self.process(pid) {
                Ok(()) => self.found.log.merge(std::mem::take(&mut self.found.pending)),
                Err(errno) => {
                    self.found.pending = DiagnosticLog::default();
                    if !is_gone(errno) {
                        self.found.log.note(Code::ProcessUnreadable, Some(errno), Some(pid));
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
                self.found.pending.note(Code::NamespaceUnreadable, Some(errno), Some(pid));
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
                    self.found.pending.note(Code::NamespaceUnopened, Some(errno), Some(pid));
                }
            }
        }
        if status.nspid.is_empty() {
            self.found.pending.note(Code::NspidUnavailable, None, Some(pid));
        }
        let is_init = status.nspid.last() == Some(&Pid::INIT);
        let has_memory = status.has_memory;
        let process = process(pid, status, namespace);
        if is_init {
            let container = container::of_process(&mut place, &mut self.buffer);
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

/// Where `ns/pid` leads.
fn own_link(place: &mut ProcessDir<'_>) -> SysResult<Option<NamespaceId>> {
    let (dir, name) = place.name(c"ns/pid");
    Ok(namespace_link(dir, name, "pid")?.map(NamespaceId::Inode))
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
