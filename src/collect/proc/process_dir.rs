//! The files of one process, and of its threads.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::RawDir;
use rustix::io::{Errno, Result};

use crate::collect::parse;
use crate::collect::sys::{is_gone, namespace_link, open_base, open_dir, read};
use crate::model::{NamespaceId, Pid};

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
    /// Names of the process that has the PID when they are used.
    pub fn new(procfs: BorrowedFd<'a>, pid: Pid) -> Self {
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
    pub fn bound(procfs: BorrowedFd<'a>, pid: Pid) -> Result<Self> {
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

/// Where `ns/pid` leads.
pub fn own_link(place: &mut ProcessDir<'_>) -> Result<Option<NamespaceId>> {
    let (dir, name) = place.name(c"ns/pid");
    Ok(namespace_link(dir, name, "pid")?.map(NamespaceId::Inode))
}

/// Calls `visit` with every thread's directory under `/proc/PID/task`.
///
/// # Errors
/// As of reading that directory.
pub fn for_each_task(dir: BorrowedFd<'_>, mut visit: impl FnMut(Pid, OwnedFd)) -> Result<()> {
    let tasks = open_dir(dir, c"task")?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(&tasks, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let tid = parse::entry(entry.file_name().to_bytes()).and_then(Pid::new);
        let Some(tid) = tid else { continue };
        match open_dir(tasks.as_fd(), entry.file_name()) {
            Ok(task) => visit(tid, task),
            Err(errno) if is_gone(errno) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Whether a thread, given its directory, is on its way out (`PF_EXITING`),
/// or gone.
///
/// # Errors
/// That cannot be read, or makes no sense.
pub fn task_is_exiting(task: BorrowedFd<'_>) -> Result<bool> {
    let mut stat = Vec::new();
    match read(task, c"stat", &mut stat) {
        Ok(()) => parse::stat_is_exiting(&stat).ok_or(Errno::INVAL),
        Err(errno) if is_gone(errno) => Ok(true),
        Err(errno) => Err(errno),
    }
}
