//! The files of one process, and the directories of its threads: names and
//! descriptors. What the files say is for others to use.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::RawDir;
use rustix::io::{Errno, Result};

use crate::collect::kernel::sys::{is_gone, namespace_link, open_base, open_dir, read};
use crate::collect::parse;
use crate::model::{NamespaceId, Pid};

/// The directory `/proc/PID`, opened or only by its path.
pub struct ProcessDir<'a> {
    /// Where it was opened, names are relative to it, and what is read through
    /// it belongs to this process, whenever it is read.
    opened: Option<OwnedFd>,
    /// Its directory `ns`, where that was opened.
    namespaces: Option<OwnedFd>,
    procfs: BorrowedFd<'a>,
    /// `PID/`, and room for the name of a file.
    path: [u8; 64],
    /// Length of `PID/`.
    base: usize,
}

impl<'a> ProcessDir<'a> {
    /// Its files by path: each time they are those of whatever process has
    /// the PID then.
    pub fn by_path(procfs: BorrowedFd<'a>, pid: Pid) -> Self {
        let mut path = [0; 64];
        let mut number = itoa::Buffer::new();
        let number = number.format(pid.as_u32()).as_bytes();
        path[..number.len()].copy_from_slice(number);
        path[number.len()] = b'/';
        Self { opened: None, namespaces: None, procfs, path, base: number.len() + 1 }
    }

    /// Opens it: its files are then those of the process that has the PID now.
    ///
    /// # Errors
    /// As of opening a directory.
    pub fn open(procfs: BorrowedFd<'a>, pid: Pid) -> Result<Self> {
        let mut dir = Self::by_path(procfs, pid);
        let (base, name) = dir.file(c"");
        let opened = open_base(base, name)?;
        dir.opened = Some(opened);
        Ok(dir)
    }

    /// A file of the process, as `openat(2)` takes it.
    pub fn file<'s>(&'s mut self, file: &'s CStr) -> (BorrowedFd<'s>, &'s CStr) {
        if let Some(dir) = &self.opened {
            return (dir.as_fd(), file);
        }
        let file = file.to_bytes_with_nul();
        let end = self.base + file.len();
        // The longest name in use is far shorter. A longer one would become
        // the empty name, which `openat(2)` refuses.
        if let Some(room) = self.path.get_mut(self.base..end) {
            room.copy_from_slice(file);
        }
        let path = self.path.get(..end).and_then(|path| CStr::from_bytes_with_nul(path).ok());
        (self.procfs, path.unwrap_or(c""))
    }

    /// Opens `ns`, where others may have mounted something over it: links are
    /// then read in the directory itself.
    ///
    /// # Errors
    /// As of opening a directory; `EXDEV` where something is mounted there.
    pub fn open_namespaces(&mut self) -> Result<()> {
        let (base, name) = self.file(c"ns");
        let opened = open_base(base, name)?;
        self.namespaces = Some(opened);
        Ok(())
    }

    /// Where `ns/pid` leads; `None` where that is no PID namespace.
    ///
    /// # Errors
    /// As of reading a link.
    pub fn pid_namespace(&mut self) -> Result<Option<NamespaceId>> {
        if let Some(namespaces) = &self.namespaces {
            return Ok(namespace_link(namespaces.as_fd(), c"pid", "pid")?.map(NamespaceId::Inode));
        }
        let (base, name) = self.file(c"ns/pid");
        Ok(namespace_link(base, name, "pid")?.map(NamespaceId::Inode))
    }
}

impl AsFd for ProcessDir<'_> {
    /// The directory itself where it was opened, else that of the procfs.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.opened.as_ref().map_or(self.procfs, AsFd::as_fd)
    }
}

/// Fails with `ESRCH` once the process that a status file was opened for is gone.
///
/// # Errors
/// As of reading that file.
pub fn still_there(status_file: &OwnedFd) -> Result<()> {
    rustix::io::pread(status_file, &mut [0; 1], 0).map(drop)
}

/// Looks at a process, and where it is not there once more: while a thread that
/// is not the leader executes another program (`execve(2)`), it takes over the
/// leader's number, and what was just opened under that may be the old leader's.
///
/// # Errors
/// As of the second look, where there was one.
pub fn look<T>(mut look: impl FnMut() -> Result<T>) -> Result<T> {
    match look() {
        Err(errno) if is_gone(errno) => look(),
        looked => looked,
    }
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
/// Its `stat` cannot be read, or makes no sense.
pub fn task_is_exiting(task: BorrowedFd<'_>) -> Result<bool> {
    let mut stat = Vec::new();
    match read(task, c"stat", &mut stat) {
        Ok(()) => parse::stat(&stat).map(|stat| stat.is_exiting()).ok_or(Errno::INVAL),
        Err(errno) if is_gone(errno) => Ok(true),
        Err(errno) => Err(errno),
    }
}
