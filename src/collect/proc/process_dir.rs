//! Opens the files and thread directories of one process.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::RawDir;
use rustix::io::{Errno, Result};

use crate::collect::kernel::blocked::Reading;
use crate::collect::kernel::sys::{is_gone, namespace_link, open_base, open_dir, read};
use crate::collect::parse;
use crate::model::{NamespaceId, Pid};

/// The directory `/proc/PID`, accessed by its path or through an open descriptor.
pub struct ProcessDir<'a> {
    /// The open directory `/proc/PID`, if it was opened.
    opened: Option<OwnedFd>,
    /// The open directory `ns`, if it was opened.
    namespaces: Option<OwnedFd>,
    procfs: BorrowedFd<'a>,
    /// Buffer for the text `PID/` and a file name.
    path: [u8; 64],
    /// Length of the text `PID/`.
    base: usize,
    _reading: Reading,
}

impl<'a> ProcessDir<'a> {
    /// Accesses the files of a process by path, so a reused PID leads to the new process.
    pub fn by_path(procfs: BorrowedFd<'a>, pid: Pid) -> Self {
        let mut path = [0; 64];
        let mut number = itoa::Buffer::new();
        let number = number.format(pid.as_u32()).as_bytes();
        path[..number.len()].copy_from_slice(number);
        path[number.len()] = b'/';
        let base = number.len() + 1;
        Self { opened: None, namespaces: None, procfs, path, base, _reading: Reading::of(pid) }
    }

    /// Opens the directory `/proc/PID`.
    ///
    /// It stays bound to this process, even if a new process gets the same PID later.
    pub fn open(procfs: BorrowedFd<'a>, pid: Pid) -> Result<Self> {
        let mut dir = Self::by_path(procfs, pid);
        let (base, name) = dir.file(c"");
        let opened = open_base(base, name)?;
        dir.opened = Some(opened);
        Ok(dir)
    }

    /// Returns the directory descriptor and the path to pass to `openat(2)` for `file`.
    pub fn file<'s>(&'s mut self, file: &'s CStr) -> (BorrowedFd<'s>, &'s CStr) {
        if let Some(dir) = &self.opened {
            return (dir.as_fd(), file);
        }
        let file = file.to_bytes_with_nul();
        let end = self.base + file.len();
        // The buffer is large enough for each file name that pidns uses.
        if let Some(space) = self.path.get_mut(self.base..end) {
            space.copy_from_slice(file);
        }
        let path = self.path.get(..end).and_then(|path| CStr::from_bytes_with_nul(path).ok());
        (self.procfs, path.unwrap_or(c""))
    }

    /// Opens the directory `ns`, or fails with `EXDEV` if another mount covers it.
    pub fn open_namespaces(&mut self) -> Result<()> {
        let (base, name) = self.file(c"ns");
        let opened = open_base(base, name)?;
        self.namespaces = Some(opened);
        Ok(())
    }

    /// Reads the link `ns/pid`, or returns `None` if its target is not a PID namespace.
    pub fn pid_namespace(&mut self) -> Result<Option<NamespaceId>> {
        if let Some(namespaces) = &self.namespaces {
            return Ok(namespace_link(namespaces.as_fd(), c"pid", "pid")?.map(NamespaceId::Inode));
        }
        let (base, name) = self.file(c"ns/pid");
        Ok(namespace_link(base, name, "pid")?.map(NamespaceId::Inode))
    }
}

impl AsFd for ProcessDir<'_> {
    /// Returns the open directory `/proc/PID`, or the root of the procfs if `/proc/PID` was not
    /// opened.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.opened.as_ref().map_or(self.procfs, AsFd::as_fd)
    }
}

/// Fails with `ESRCH` if the process of this status file is gone.
pub fn still_there(status_file: &OwnedFd) -> Result<()> {
    rustix::io::pread(status_file, &mut [0; 1], 0).map(drop)
}

/// Runs `attempt`, and repeats it once if the process seems to be gone.
pub fn try_twice<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    match attempt() {
        // During `execve(2)` in a thread, a living process can seem to be gone.
        Err(errno) if is_gone(errno) => attempt(),
        other => other,
    }
}

/// Calls `read`, and retries once if it fails. Fails with `ESRCH` if the process is gone. Otherwise
/// returns `Ok` with the result of the last call.
pub fn read_twice<T>(
    status_file: &OwnedFd,
    mut read: impl FnMut() -> Result<T>,
) -> Result<Result<T>> {
    if let Ok(value) = read() {
        return Ok(Ok(value));
    }
    still_there(status_file)?;
    // During `execve(2)`, the kernel can briefly deny access.
    let again = read();
    if again.is_err() {
        // If the process is gone, the kernel can return EACCES, even to root.
        still_there(status_file)?;
    }
    Ok(again)
}

/// Calls `visit` with the TID and directory of every thread under `/proc/PID/task`.
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

/// Returns `ESRCH` if the thread is gone, or `errno` otherwise.
pub fn real_cause(errno: Errno, task: BorrowedFd<'_>) -> Errno {
    let is_gone = || read(task, c"stat", &mut Vec::new()).is_err_and(is_gone);
    // If the thread is gone, the kernel can return EACCES, even to root.
    if errno == Errno::ACCESS && is_gone() { Errno::SRCH } else { errno }
}

/// Returns `true` if a thread is exiting (`PF_EXITING`) or gone.
pub fn task_is_exiting(task: BorrowedFd<'_>) -> Result<bool> {
    let mut stat = Vec::new();
    match read(task, c"stat", &mut stat) {
        Ok(()) => parse::stat(&stat).map(|stat| stat.is_exiting()).ok_or(Errno::INVAL),
        Err(errno) if is_gone(errno) => Ok(true),
        Err(errno) => Err(errno),
    }
}

/// Returns the TID and the directory of a thread that is not exiting.
pub fn living_thread(dir: BorrowedFd<'_>) -> Result<Option<(Pid, OwnedFd)>> {
    let mut living = Ok(None);
    for_each_task(dir, |tid, task| match (task_is_exiting(task.as_fd()), &living) {
        (Ok(false), Ok(None)) => living = Ok(Some((tid, task))),
        (Err(errno), Ok(None)) => living = Err(errno),
        _ => {}
    })?;
    living
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use rustix::thread::gettid;

    use super::*;

    #[test]
    fn access_is_not_denied_by_a_thread_that_is_gone() {
        let (tell, tids) = channel();
        let (end, wait) = channel::<()>();
        let thread = thread::spawn(move || {
            tell.send(gettid().as_raw_nonzero().get()).unwrap();
            wait.recv().unwrap_err();
        });
        let name = format!("/proc/self/task/{}", tids.recv().unwrap());
        let task = std::fs::File::open(name).unwrap();
        assert_eq!(real_cause(Errno::ACCESS, task.as_fd()), Errno::ACCESS);
        drop(end);
        thread.join().unwrap();
        // After `join`, the thread can still be in /proc for a moment.
        while read(task.as_fd(), c"stat", &mut Vec::new()).is_ok() {
            thread::yield_now();
        }
        assert_eq!(real_cause(Errno::ACCESS, task.as_fd()), Errno::SRCH);
        assert_eq!(real_cause(Errno::MFILE, task.as_fd()), Errno::MFILE);
    }
}
