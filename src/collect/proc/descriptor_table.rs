//! Lists the namespace descriptors of a process, and detects other pidns processes that are running
//! a scan.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{OFlags, RawDir};
use rustix::io::{Errno, Result};

use super::process_dir::ProcessDir;
use super::procfs::Procfs;
use super::scan_mark;
use crate::collect::kernel::nsfs;
use crate::collect::kernel::sys::{FileId, open_dir, read};
use crate::collect::parse;

/// The descriptors of a process that refer to namespaces (files on nsfs).
#[derive(Debug, Default)]
pub struct DescriptorTable {
    /// Number and file of each descriptor that refers to a namespace.
    pub namespaces: Vec<(u32, FileId)>,
    /// `true` if the process is running a pidns scan (see `scan_mark`).
    pub has_scan_mark: bool,
    /// `false` if the process may have released the table during the read.
    pub is_intact: bool,
}

impl DescriptorTable {
    /// Lists a descriptor table, given the directory `/proc/PID/fd`.
    pub fn list(table: BorrowedFd<'_>) -> Result<Self> {
        let nsfs = nsfs::device()?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut entries = RawDir::new(table, &mut buffer);
        let mut this = Self::default();
        let (mut is_empty, mut has_lost_one) = (true, false);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            let Some(fd) = parse::entry(name.to_bytes()) else { continue };
            match FileId::of(table, name) {
                Ok(file) => {
                    is_empty = false;
                    if file.device == nsfs {
                        this.namespaces.push((fd, file));
                    }
                    this.has_scan_mark |= scan_mark::is_mark(table, name, file);
                }
                Err(errno @ (Errno::ACCESS | Errno::PERM | Errno::NOMEM)) => return Err(errno),
                // Apart from the errors above, looking up an open descriptor of a namespace never
                // fails. So this descriptor was closed, or it refers to another type of file.
                // Assume that it was closed, because the process may have released the whole table.
                Err(_) => has_lost_one = true,
            }
        }
        this.is_intact = !is_empty && !has_lost_one;
        Ok(this)
    }

    /// Returns the descriptors in `fds` that are still open in the table `/proc/PID/fd`.
    pub fn of(table: BorrowedFd<'_>, fds: &[u32]) -> Self {
        let file = |&fd: &u32| Some((fd, FileId::of(table, &*file_name(fd)).ok()?));
        let namespaces = fds.iter().filter_map(file).collect();
        Self { namespaces, is_intact: true, has_scan_mark: false }
    }
}

/// Returns the name of a descriptor in `/proc/PID/fd`.
pub fn file_name(fd: u32) -> CString {
    CString::new(fd.to_string()).unwrap_or_default()
}

/// Returns `true` if the process of this `/proc/PID` directory is running a pidns scan.
pub fn is_scanning(process: BorrowedFd<'_>) -> bool {
    let table = open_dir(process, c"fd").and_then(|table| DescriptorTable::list(table.as_fd()));
    table.is_ok_and(|table| table.has_scan_mark)
}

/// Returns `true` if `execve(2)` closes this descriptor of the process or thread.
pub fn is_close_on_exec(process: BorrowedFd<'_>, fd: u32) -> bool {
    let mut text = Vec::new();
    let name = CString::new(format!("fdinfo/{fd}")).unwrap_or_default();
    let flags = read(process, &name, &mut text).ok().and_then(|()| parse::descriptor_flags(&text));
    flags.is_some_and(|flags| flags & OFlags::CLOEXEC.bits() != 0)
}

/// Returns the namespace descriptors that pidns inherited. Call this before any scan.
pub fn inherited(procfs: &Procfs) -> Vec<u32> {
    let list = || {
        let process = ProcessDir::open(procfs.fd(), procfs.viewer.ok_or(Errno::SRCH)?)?;
        let table = DescriptorTable::list(open_dir(process.as_fd(), c"fd")?.as_fd())?;
        let fds = table.namespaces.into_iter().map(|(fd, _)| fd);
        Ok::<_, Errno>(fds.filter(|&fd| !is_close_on_exec(process.as_fd(), fd)).collect())
    };
    // If pidns cannot list its own descriptors, the scan cannot list them either. So an empty list
    // is harmless.
    list().unwrap_or_default()
}
