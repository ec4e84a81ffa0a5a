//! Reads the pipes and FIFOs that a process has open.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::ops::Range;
use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, Dir, statat};
use rustix::io::Result as SysResult;

use crate::collect::kernel::sys::{FileId, open_dir, read_link};
use crate::collect::parse;
use crate::collect::proc::descriptor_table::is_close_on_exec;
use crate::collect::proc::process_dir::ProcessDir;
use crate::collect::proc::procfs::Procfs;
use crate::model::Pid;

/// The descriptors that connect a process to its pipeline.
const STANDARD: [&CStr; 3] = [c"fd/0", c"fd/1", c"fd/2"];

/// Descriptor numbers at which shells save the descriptors that they redirect. Bash uses higher
/// numbers for coprocesses.
const SAVED: Range<u32> = 10..48;

/// Maximum number of descriptors to read per process.
const MAX_DESCRIPTORS: usize = 256;

/// The pipes and FIFOs that a process has open.
#[derive(Clone, Default)]
pub struct Pipes {
    /// The pipes that the process reads from.
    pub read: HashSet<FileId>,
    /// The pipes that the process writes to.
    pub written: HashSet<FileId>,
    /// `true` if the process may be a daemon that inherited a pipe of the pipeline.
    pub may_be_daemon: bool,
    /// The pipes that this process writes to, and that an earlier sibling reads from.
    pub late: HashSet<FileId>,
}

impl Pipes {
    /// Finds the pipes among the standard input, output and error of a process.
    pub fn of(procfs: &Procfs, pid: Pid) -> Self {
        Self::of_descriptors(procfs, pid, |_| Ok(STANDARD.map(CString::from).into()))
    }

    /// Returns the pipe that a process has as its standard input.
    pub fn input(procfs: &Procfs, pid: Pid) -> Option<FileId> {
        // Use `ProcessDir`, because it records which process is being read. If the read blocks,
        // pidns then knows which process is the cause.
        let mut dir = ProcessDir::by_path(procfs.fd(), pid);
        let (base, name) = dir.file(c"fd/0");
        FileId::of_pipe(base, name).ok()?
    }

    /// Finds the pipes among all open descriptors of a process.
    pub fn of_all(procfs: &Procfs, pid: Pid) -> Self {
        Self::of_descriptors(procfs, pid, |dir| Ok(paths(descriptors(dir)?)))
    }

    /// Finds the pipes among a process's descriptors above 2.
    pub fn of_others(procfs: &Procfs, pid: Pid) -> Self {
        let is_other = |fd: &u32| *fd > 2;
        Self::of_descriptors(procfs, pid, |dir| {
            Ok(paths(descriptors(dir)?.into_iter().filter(is_other)))
        })
    }

    /// Finds the pipes that can connect pidns or a shell to the other commands of a pipeline.
    pub fn of_shell(procfs: &Procfs, pid: Pid) -> Self {
        Self::of_descriptors(procfs, pid, |dir| {
            let is_passed_on = |fd: &u32| {
                let link = CString::new(format!("fd/{fd}")).unwrap_or_default();
                let is_pipe = read_link(dir.as_fd(), &link, &mut [0; 32])
                    .is_ok_and(|target| target.starts_with(b"pipe:"));
                let is_written = statat(dir.as_fd(), &link, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|it| it.st_mode & 0o200 != 0);
                // For descriptors above 2, use only the write ends of pipes. If such a descriptor
                // is a read end, the writer can be a server that is not part of the pipeline, as in
                // `exec 3< <(server)`.
                *fd < 3 || is_pipe && is_written && !is_close_on_exec(dir.as_fd(), *fd)
            };
            Ok(paths(descriptors(dir)?.into_iter().filter(is_passed_on)))
        })
    }

    /// Finds the pipes whose descriptors a shell has saved for the duration of a redirection, as in
    /// `{ true; } > file`.
    pub fn saved(procfs: &Procfs, pid: Pid) -> Self {
        Self::of_descriptors(procfs, pid, |dir| {
            let is_saved = |fd: &u32| SAVED.contains(fd) && is_close_on_exec(dir.as_fd(), *fd);
            Ok(paths(descriptors(dir)?.into_iter().filter(is_saved)))
        })
    }

    /// Finds the pipes among the descriptors that `list` returns.
    fn of_descriptors(
        procfs: &Procfs,
        pid: Pid,
        list: impl FnOnce(&ProcessDir<'_>) -> SysResult<Vec<CString>>,
    ) -> Self {
        let mut pipes = Self::default();
        let Ok(dir) = ProcessDir::open(procfs.fd(), pid) else { return pipes };
        for name in list(&dir).unwrap_or_default() {
            let name = name.as_c_str();
            let Ok(Some(pipe)) = FileId::of_pipe(dir.as_fd(), name) else { continue };
            // The permissions of the link show which end of the pipe is open.
            let Ok(link) = statat(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if link.st_mode & 0o400 != 0 {
                pipes.read.insert(pipe);
            }
            if link.st_mode & 0o200 != 0 {
                pipes.written.insert(pipe);
            }
        }
        pipes
    }

    /// Adds the pipes that `other` reads from and writes to.
    pub fn extend(&mut self, other: &Self) {
        self.read.extend(&other.read);
        self.written.extend(&other.written);
    }

    /// Adds the other end of each pipe in `pipes`, except the pipes in `inherited`.
    pub fn add_other_ends(
        &mut self,
        pipes: &Self,
        inherited: Option<&Self>,
        is_younger: Option<bool>,
    ) {
        let is_new = |pipe: &&_| {
            inherited.is_none_or(|it| !it.read.contains(pipe) && !it.written.contains(pipe))
        };
        // A shell starts the writer of a pipe before the reader.
        if is_younger != Some(false) {
            self.read.extend(pipes.written.iter().filter(is_new));
        }
        if is_younger != Some(true) {
            self.written.extend(pipes.read.iter().filter(is_new));
        }
    }

    /// Removes the pipe ends that are also in `inherited`.
    pub fn without(mut self, inherited: &Self) -> Self {
        self.read.retain(|pipe| !inherited.read.contains(pipe));
        self.written.retain(|pipe| !inherited.written.contains(pipe));
        self
    }

    /// Returns `true` if the two processes share a pipe, whichever ends they hold.
    pub fn has_pipe_of(&self, other: &Self) -> bool {
        let mut pipes = self.read.union(&self.written);
        pipes.any(|pipe| other.read.contains(pipe) || other.written.contains(pipe))
    }

    pub fn is_empty(&self) -> bool {
        self.read.is_empty() && self.written.is_empty()
    }

    /// If a pipe connects `other` with `self`, adds the pipes of `other` and returns `true`.
    pub fn follow(&mut self, other: &Self) -> bool {
        let is_reader = !self.written.is_disjoint(&other.read);
        // A writer that was started after the reader may be a daemon that inherited the pipe.
        let mut written = other.written.difference(&other.late);
        let is_writer = !other.may_be_daemon && written.any(|pipe| self.read.contains(pipe));
        if is_reader {
            self.written.extend(&other.written);
        }
        if is_writer {
            self.read.extend(&other.read);
        }
        is_reader || is_writer
    }
}

/// Returns the numbers of the lowest [`MAX_DESCRIPTORS`] descriptors of a process.
fn descriptors(dir: &ProcessDir<'_>) -> SysResult<Vec<u32>> {
    let entries = Dir::new(open_dir(dir.as_fd(), c"fd")?)?.flatten();
    let numbers = entries.filter_map(|entry| parse::entry(entry.file_name().to_bytes()));
    Ok(numbers.take(MAX_DESCRIPTORS).collect())
}

/// Returns the path of each descriptor relative to `/proc/PID`, such as `fd/3`.
fn paths(descriptors: impl IntoIterator<Item = u32>) -> Vec<CString> {
    let path = |fd| CString::new(format!("fd/{fd}")).ok();
    descriptors.into_iter().filter_map(path).collect()
}
